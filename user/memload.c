/*
 * Load on a memcached, by its text protocol (memcached's doc/protocol.txt).
 *
 *   memload get|set COUNT CONNECTIONS PORT [VALUE_BYTES]
 *
 * CONNECTIONS connections to 127.0.0.1, by epoll, each with one request under
 * way; COUNT requests in all over a hundred keys, which are stored first and
 * not counted. Every reply is compared, byte for byte, with what it must be.
 * Prints one line of JSON as bench.h says; any fault is a message and status 1.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"

enum { KEYS = 100, VALUE_LIMIT = 8192, MESSAGE_LIMIT = VALUE_LIMIT + 128, EVENTS = 256 };

struct message {
    int length;
    char text[MESSAGE_LIMIT];
};

struct connection {
    int fd, got; /* bytes of the reply so far */
    const struct message *expected;
    char reply[MESSAGE_LIMIT];
};

static struct message set_requests[KEYS], get_requests[KEYS], values[KEYS];
static const struct message stored = {8, "STORED\r\n"};

static void fail(const char *what)
{
    fprintf(stderr, "memload: %s\n", what);
    exit(1);
}

static void make_messages(int value_bytes)
{
    static char value[VALUE_LIMIT + 1];

    for (int k = 0; k < KEYS; k++) {
        memset(value, 'a' + k % 26, (size_t)value_bytes);
        set_requests[k].length = snprintf(set_requests[k].text, MESSAGE_LIMIT,
                                          "set key:%03d 0 0 %d\r\n%s\r\n", k, value_bytes, value);
        get_requests[k].length = snprintf(get_requests[k].text, MESSAGE_LIMIT, "get key:%03d\r\n", k);
        values[k].length = snprintf(values[k].text, MESSAGE_LIMIT,
                                    "VALUE key:%03d 0 %d\r\n%s\r\nEND\r\n", k, value_bytes, value);
    }
}

static int dial(int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0)
        die("socket");
    if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
        die("connect");
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0)
        die("TCP_NODELAY");
    return fd;
}

static void ask(struct connection *c, const struct message *request, const struct message *expected)
{
    c->got = 0;
    c->expected = expected;
    if (write(c->fd, request->text, (size_t)request->length) != request->length)
        die("write");
}

/* Take what has come; 1 when the reply is whole. */
static int listen_to(struct connection *c)
{
    ssize_t n = read(c->fd, c->reply + c->got, (size_t)(MESSAGE_LIMIT - c->got));

    if (n < 0 && errno == EAGAIN)
        return 0;
    if (n < 0)
        die("read");
    if (n == 0)
        fail("the server closed a connection");
    c->got += (int)n;
    if (c->got > c->expected->length || memcmp(c->reply, c->expected->text, (size_t)c->got) != 0) {
        fprintf(stderr, "memload: wrong reply: %.*s\n", c->got < 60 ? c->got : 60, c->reply);
        exit(1);
    }
    return c->got == c->expected->length;
}

static void ask_nth(struct connection *c, long n, int setting)
{
    int k = (int)(n % KEYS);

    if (setting)
        ask(c, &set_requests[k], &stored);
    else
        ask(c, &get_requests[k], &values[k]);
}

static void store_all(struct connection *c)
{
    for (int k = 0; k < KEYS; k++) {
        ask(c, &set_requests[k], &stored);
        while (!listen_to(c))
            ;
    }
}

static void drive(struct connection *all, int connections, long count, int setting, int epoll)
{
    struct epoll_event events[EVENTS];
    long sent = 0, done = 0;

    for (int i = 0; i < connections && sent < count; i++)
        ask_nth(&all[i], sent++, setting);
    while (done < count) {
        int n = epoll_wait(epoll, events, EVENTS, 10000);
        if (n < 0 && errno != EINTR)
            die("epoll_wait");
        if (n == 0)
            fail("no reply for ten seconds");
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            if (!listen_to(c))
                continue;
            done++;
            if (sent < count)
                ask_nth(c, sent++, setting);
        }
    }
}

static long number(const char *text, long low, long high)
{
    char *end;
    long n = strtol(text, &end, 10);

    if (*text == '\0' || *end != '\0' || n < low || n > high) {
        fprintf(stderr, "memload: %s is not within %ld..%ld\n", text, low, high);
        exit(2);
    }
    return n;
}

int main(int argc, char **argv)
{
    if (argc < 5 || argc > 6 || (strcmp(argv[1], "get") != 0 && strcmp(argv[1], "set") != 0)) {
        fprintf(stderr, "usage: memload get|set COUNT CONNECTIONS PORT [VALUE_BYTES]\n");
        return 2;
    }
    int setting = argv[1][0] == 's';
    long count = number(argv[2], 1, 1L << 40);
    int connections = (int)number(argv[3], 1, 10000), port = (int)number(argv[4], 1, 65535);
    struct connection *all = calloc((size_t)connections, sizeof *all);
    int epoll = epoll_create1(EPOLL_CLOEXEC);

    if (all == NULL || epoll < 0)
        die("start");
    make_messages(argc == 6 ? (int)number(argv[5], 1, VALUE_LIMIT) : 100);
    for (int i = 0; i < connections; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[i]};
        all[i].fd = dial(port);
        if (i == 0)
            store_all(&all[0]);
        if (fcntl(all[i].fd, F_SETFL, O_NONBLOCK) != 0 ||
            epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].fd, &event) != 0)
            die("epoll_ctl");
    }
    double start = now();
    drive(all, connections, count, setting, epoll);
    return report(setting ? "memcached_set" : "memcached_get", count, now() - start, "request");
}
