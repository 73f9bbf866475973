/*
 * patterns ROUNDS: the same work by plain system calls and by scripts, and what each took.
 *
 * Every pattern is prepared afresh for each round, outside of the clock; what it did is checked
 * afterwards. Prints a line of JSON for each: calls and microseconds of one round, plain and
 * scripted, and how many inner calls the script made.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"
#include "script/scripts.h"

enum { BATCH = 16, BLOCKS = 64, BLOCK = 128, FILES = 16, NAME = 28, DATAGRAM = 1024 };

static char buffers[BATCH][DATAGRAM], addresses[BATCH][NAME], text[1 << 16];
static unsigned address_lengths[BATCH];
static int received[BATCH], lengths[FILES], ended[BATCH], ended_count, calls;
static const char *paths[FILES];
static struct stat found[FILES];
static int from[2], to[2], server, client, listener, epoll, near_ends[BATCH], far_ends[BATCH];
static int accepted[BATCH], dialled[BATCH];
static struct sockaddr_in server_name, listener_name;
static struct epoll_event events[BATCH];

static void check(int right, const char *what)
{
    if (!right) {
        fprintf(stderr, "patterns: %s went wrong: %s\n", what, strerror(errno));
        exit(1);
    }
}

/* Datagrams: figure 1 of the paper. */

static void send_datagrams(void)
{
    for (int i = 0; i < BATCH; i++) {
        check(sendto(client, "sixteen bytes...", 16, 0, (struct sockaddr *)&server_name,
                     sizeof server_name) == 16, "sendto");
        address_lengths[i] = NAME;
    }
}

static int receive_plainly(void)
{
    int n = 0;
    while (n < BATCH) {
        calls++;
        received[n] = (int)recvfrom(server, buffers[n], DATAGRAM, 0,
                                    (struct sockaddr *)addresses[n], &address_lengths[n]);
        if (received[n] < 0)
            break;
        n++;
    }
    return n == BATCH;
}

static int receive_by_script(void)
{
    calls++;
    return script_receive(server, buffers[0], addresses[0], address_lengths, received, BATCH) == BATCH;
}

/* A filter between two pipes. */

static void fill_pipe(void)
{
    for (int i = 0; i < BLOCKS; i++)
        check(write(from[1], text, BLOCK) == BLOCK, "write");
}

static void empty_pipe(void)
{
    for (int left = BLOCKS * BLOCK; left > 0;)
        left -= (int)read(to[0], text, (size_t)left);
}

static int copy_plainly(void)
{
    for (int i = 0; i < BLOCKS; i++, calls += 2)
        if (read(from[0], text, BLOCK) != BLOCK || write(to[1], text, BLOCK) != BLOCK)
            return 0;
    return 1;
}

static int copy_by_script(void)
{
    calls++;
    return script_copy(from[0], to[1], text, BLOCK, BLOCKS) == BLOCKS * BLOCK;
}

/* Small files, and names. */

static int read_plainly(void)
{
    size_t at = 0;
    for (int i = 0; i < FILES; i++, calls += 3) {
        int fd = open(paths[i], O_RDONLY);
        ssize_t n = fd < 0 ? -1 : read(fd, text + at, sizeof text - at);
        if (n < 0 || close(fd))
            return 0;
        at += (size_t)n;
    }
    return at == FILES * 100;
}

static int read_by_script(void)
{
    calls++;
    return script_read_files(paths, FILES, text, sizeof text, lengths) == FILES * 100;
}

static int stat_plainly(void)
{
    int n = 0;
    for (int i = 0; i < FILES; i++, calls++)
        n += stat(paths[i], &found[i]) == 0;
    return n == FILES && found[FILES - 1].st_size == 100;
}

static int stat_by_script(void)
{
    calls++;
    return script_stat_many(paths, FILES, found) == FILES && found[FILES - 1].st_size == 100;
}

/* An event loop that answers on sixteen connections. */

static void ask_all(void)
{
    for (int i = 0; i < BATCH; i++)
        check(write(far_ends[i], "question", 8) == 8, "write");
}

static void hear_all(void)
{
    for (int i = 0; i < BATCH; i++)
        check(read(far_ends[i], text, 99) == 8, "read");
}

static int answer_plainly(void)
{
    int n = epoll_wait(epoll, events, BATCH, -1);
    calls++;
    for (int i = 0; i < n; i++, calls += 2) {
        ssize_t got = read(events[i].data.fd, text, 4096);
        if (got <= 0 || write(events[i].data.fd, text, (size_t)got) != got)
            return 0;
    }
    return n == BATCH;
}

static int answer_by_script(void)
{
    calls++;
    return script_echo(epoll, events, BATCH, -1, text, 4096, ended, &ended_count) == BATCH &&
           !ended_count;
}

/* Connections that wait to be accepted. */

static void dial_all(void)
{
    for (int i = 0; i < BATCH; i++) {
        dialled[i] = socket(AF_INET, SOCK_STREAM, 0);
        check(!connect(dialled[i], (struct sockaddr *)&listener_name, sizeof listener_name), "connect");
    }
}

static void hang_up(void)
{
    for (int i = 0; i < BATCH; i++) {
        close(dialled[i]);
        check(!close(accepted[i]), "close");
    }
}

static int accept_plainly(void)
{
    for (int i = 0; i < BATCH; i++, calls++)
        if ((accepted[i] = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) < 0)
            return 0;
    return 1;
}

static int accept_by_script(void)
{
    calls++;
    return script_accept_many(listener, accepted, BATCH, SOCK_NONBLOCK) == BATCH;
}

static void nothing(void)
{
}

static const struct {
    const char *name, *title;
    void (*prepare)(void);
    int (*plain)(void), (*script)(void);
    void (*finish)(void);
    int inner;
} patterns[] = {
    {"receive", "16 datagrams received (figure 1)", send_datagrams, receive_plainly,
     receive_by_script, nothing, BATCH},
    {"copy", "64 blocks from pipe to pipe", fill_pipe, copy_plainly, copy_by_script, empty_pipe,
     2 * BLOCKS},
    {"files", "16 small files read", nothing, read_plainly, read_by_script, nothing, 3 * FILES},
    {"stat", "16 names looked up", nothing, stat_plainly, stat_by_script, nothing, FILES},
    {"epoll", "16 requests answered by an event loop", ask_all, answer_plainly, answer_by_script,
     hear_all, 2 * BATCH + 1},
    {"accept", "16 connections accepted", dial_all, accept_plainly, accept_by_script, hang_up, BATCH},
};

static double time_of(int pattern, int scripted, int rounds)
{
    double total = 0;
    calls = 0;
    for (int i = 0; i < rounds; i++) {
        patterns[pattern].prepare();
        double start = now();
        int right = scripted ? patterns[pattern].script() : patterns[pattern].plain();
        total += now() - start;
        check(right, patterns[pattern].title);
        patterns[pattern].finish();
    }
    return total / rounds * 1e6;
}

static int bound(int type, struct sockaddr_in *name)
{
    socklen_t length = sizeof *name;
    int fd = socket(AF_INET, type, 0);
    *name = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    check(fd >= 0 && !bind(fd, (struct sockaddr *)name, length) &&
          !getsockname(fd, (struct sockaddr *)name, &length), "bind");
    return fd;
}

static void set_up(void)
{
    static char names[FILES][32];
    struct sockaddr_in unused;

    check(!pipe(from) && !pipe(to), "pipe");
    server = bound(SOCK_DGRAM | SOCK_NONBLOCK, &server_name);
    client = bound(SOCK_DGRAM, &unused);
    listener = bound(SOCK_STREAM | SOCK_NONBLOCK, &listener_name);
    epoll = epoll_create1(0);
    check(!listen(listener, 64) && epoll >= 0, "listen");
    for (int i = 0; i < BATCH; i++) {
        int ends[2];
        check(!socketpair(AF_UNIX, SOCK_STREAM, 0, ends), "socketpair");
        near_ends[i] = ends[0];
        far_ends[i] = ends[1];
        struct epoll_event event = {.events = EPOLLIN, .data.fd = near_ends[i]};
        check(!epoll_ctl(epoll, EPOLL_CTL_ADD, near_ends[i], &event), "epoll_ctl");
    }
    check(!mkdir("/tmp/patterns", 0700) || errno == EEXIST, "mkdir");
    for (int i = 0; i < FILES; i++) {
        snprintf(names[i], sizeof names[i], "/tmp/patterns/file%02d", i);
        paths[i] = names[i];
        int fd = open(names[i], O_CREAT | O_TRUNC | O_WRONLY, 0600);
        check(write(fd, text, 100) == 100 && !close(fd), "write");
    }
}

int main(int argc, char **argv)
{
    int rounds = (int)iterations(argc, argv);

    set_up();
    for (int i = 0; i < (int)(sizeof patterns / sizeof *patterns); i++) {
        time_of(i, 0, 3);
        time_of(i, 1, 20);
        double plain = time_of(i, 0, rounds);
        int plain_calls = calls / rounds;
        double script = time_of(i, 1, rounds);
        printf("{\"name\": \"%s\", \"title\": \"%s\", \"plain_calls\": %d, \"script_calls\": %d, "
               "\"inner_calls\": %d, \"plain_us\": %.2f, \"script_us\": %.2f}\n",
               patterns[i].name, patterns[i].title, plain_calls, calls / rounds, patterns[i].inner,
               plain, script);
    }
    return 0;
}
