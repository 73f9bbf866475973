/*
 * CMailbench, after section 7.2 of the Biscuit thesis: four servers, four
 * clients. For each message the client forks and execs a helper, which sends
 * 1660 bytes to its server over a UNIX socket; the server forks and execs a
 * delivery agent, which writes the message to a new file, makes it last and
 * renames it into the server's mailbox. The client picks it up: it renames,
 * checks and unlinks it.
 */
#include "fsbench.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

enum { PAIRS = 4, BYTES = 1660 };

static const char *self;

static void full(char *text, int fd)
{
    for (ssize_t done = 0, count; done < BYTES; done += count)
        if ((count = read(fd, text + done, BYTES - done)) <= 0)
            die("cmail: read");
}

static int well(pid_t child)
{
    int status;

    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

static struct sockaddr_un address(const char *box)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};

    snprintf(to.sun_path, sizeof to.sun_path, "%s/socket", box);
    return to;
}

/* The helper: the message goes to the server, and its answer is awaited. */
static int send_one(const char *box)
{
    static char text[BYTES];
    struct sockaddr_un to = address(box);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    char answer;

    memset(text, 'm', sizeof text);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
        die("cmail: connect");
    if (write(fd, text, BYTES) != BYTES || read(fd, &answer, 1) != 1 || answer != 'y')
        die("cmail: send");
    return 0;
}

/* The delivery agent: the message comes on standard input. */
static int deliver(const char *box)
{
    static char text[BYTES];
    char from[64], to[64];
    struct stat st;

    full(text, 0);
    snprintf(from, sizeof from, "%s/tmp", box);
    snprintf(to, sizeof to, "%s/new", box);
    put(from, text, BYTES, 1);
    if (rename(from, to) != 0 || stat(to, &st) != 0 || st.st_size != BYTES)
        die("cmail: deliver");
    return 0;
}

static void serve(const char *box, int listening, long messages)
{
    while (messages-- > 0) {
        int fd = accept(listening, NULL, NULL);
        pid_t agent = fd < 0 ? -1 : fork();

        if (agent == 0) {
            dup2(fd, 0);
            execl(self, self, "deliver", box, (char *)NULL);
            _exit(127);
        }
        if (write(fd, well(agent) ? "y" : "n", 1) != 1 || close(fd) != 0)
            die("cmail: serve");
    }
    _exit(0);
}

static void pick_up(const char *box)
{
    char from[64], to[64], text[BYTES];
    int fd;

    snprintf(from, sizeof from, "%s/new", box);
    snprintf(to, sizeof to, "%s/cur", box);
    if (rename(from, to) != 0 || (fd = open(to, O_RDONLY)) < 0)
        die("cmail: pick up");
    full(text, fd);
    if (text[0] != 'm' || text[BYTES - 1] != 'm' || close(fd) != 0 || unlink(to) != 0)
        die("cmail: pick up");
}

static void client(const char *box, long messages)
{
    while (messages-- > 0) {
        pid_t helper = fork();

        if (helper == 0) {
            execl(self, self, "send", box, (char *)NULL);
            _exit(127);
        }
        if (!well(helper))
            die("cmail: helper");
        pick_up(box);
    }
    _exit(0);
}

static pid_t listen_and_serve(const char *box, long messages)
{
    struct sockaddr_un at = address(box);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    pid_t child;

    if (mkdir(box, 0700) != 0 || fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 8) != 0)
        die("cmail: listen");
    child = fork();
    if (child == 0)
        serve(box, fd, messages);
    close(fd);
    return child;
}

int main(int argc, char **argv)
{
    static char path[4096];
    pid_t children[2 * PAIRS];
    int good = 1;

    if (argc == 3 && strcmp(argv[1], "send") == 0)
        return send_one(argv[2]);
    if (argc == 3 && strcmp(argv[1], "deliver") == 0)
        return deliver(argv[2]);
    long n = iterations(argc, argv), each = (n + PAIRS - 1) / PAIRS;
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);

    if (length < 0)
        die("/proc/self/exe");
    self = path;
    scratch_begin();
    double start = now();
    for (int i = 0; i < PAIRS; i++) {
        char box[16];

        snprintf(box, sizeof box, "box%d", i);
        children[i] = listen_and_serve(box, each);
        children[PAIRS + i] = fork();
        if (children[PAIRS + i] == 0)
            client(box, each);
    }
    for (int i = 0; i < 2 * PAIRS; i++)
        good &= well(children[i]);
    double seconds = now() - start;

    scratch_end();
    if (!good) {
        fprintf(stderr, "cmail: a message was lost\n");
        return 1;
    }
    return report("cmail", each * PAIRS, seconds, "message delivered and picked up");
}
