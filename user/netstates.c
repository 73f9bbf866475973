/* What calls on Internet sockets answer in every state: fresh, bound, listening, connecting,
 * refused, connected, half closed, reset, closed. One line for each step: what was done, what it
 * answered, and what poll(2) says then. Native output is the oracle. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static int family;            /* of the present round */
static const char *scenario;  /* for the lines */
static volatile int pipes;    /* SIGPIPEs since the last line */
static char buffer[70000];

static void on_pipe(int number) {
    (void)number;
    pipes++;
}

static const char *error_name(int error) {
    static char number[16];
    const char *name = strerrorname_np(error);
    snprintf(number, sizeof number, "errno %d", error);
    return name ? name : number;
}

/* One line; `fd` is polled, negative: not. */
static long say(const char *step, long result, int fd) {
    int error = errno;
    char answer[32], bits[16] = "-";
    if (result < 0)
        snprintf(answer, sizeof answer, "%s", error_name(error));
    else
        snprintf(answer, sizeof answer, "%ld", result);
    if (fd >= 0) {
        struct pollfd one = {fd, POLLIN | POLLPRI | POLLOUT | POLLRDHUP | POLLRDNORM | POLLWRNORM, 0};
        poll(&one, 1, 0);
        snprintf(bits, sizeof bits, "%x", one.revents & 0xffff);
    }
    printf("%s %s: %s -> %s, poll %s%s\n", family == AF_INET ? "v4" : "v6", scenario, step, answer,
           bits, pipes ? ", SIGPIPE" : "");
    pipes = 0;
    return result;
}

static socklen_t name_of(struct sockaddr_storage *name, const char *address, int port) {
    memset(name, 0, sizeof *name);
    if (strchr(address, ':')) {
        struct sockaddr_in6 *in6 = (void *)name;
        in6->sin6_family = AF_INET6;
        inet_pton(AF_INET6, address, &in6->sin6_addr);
        in6->sin6_port = htons(port);
        return sizeof *in6;
    }
    struct sockaddr_in *in = (void *)name;
    in->sin_family = AF_INET;
    inet_pton(AF_INET, address, &in->sin_addr);
    in->sin_port = htons(port);
    return sizeof *in;
}

static const char *lo(void) { return family == AF_INET ? "127.0.0.1" : "::1"; }
static const char *any(void) { return family == AF_INET ? "0.0.0.0" : "::"; }

static long do_bind(int fd, const char *address, int port) {
    struct sockaddr_storage name;
    socklen_t size = name_of(&name, address, port);
    return bind(fd, (void *)&name, size);
}

static long do_connect(int fd, const char *address, int port) {
    struct sockaddr_storage name;
    socklen_t size = name_of(&name, address, port);
    return connect(fd, (void *)&name, size);
}

static long do_send(int fd, const char *address, int port, size_t length) {
    struct sockaddr_storage name;
    socklen_t size = name_of(&name, address, port);
    return sendto(fd, buffer, length, 0, (void *)&name, size);
}

static int port_of(int fd) {
    struct sockaddr_storage name;
    socklen_t size = sizeof name;
    getsockname(fd, (void *)&name, &size);
    return ntohs(((struct sockaddr_in *)&name)->sin_port);
}

static long peer_of(int fd) {
    struct sockaddr_storage name;
    socklen_t size = sizeof name;
    return getpeername(fd, (void *)&name, &size) ? -1 : (long)size;
}

static long own_of(int fd) {
    struct sockaddr_storage name;
    socklen_t size = sizeof name;
    return getsockname(fd, (void *)&name, &size) ? -1 : (long)size;
}

static long pending(int fd) {
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size))
        return -1;
    errno = error;
    return error ? -1 : 0;
}

static long unspecified(int fd) {
    struct sockaddr name = {.sa_family = AF_UNSPEC};
    return connect(fd, &name, sizeof name);
}

static long take(int fd, size_t length, int flags) { return recv(fd, buffer, length, flags); }
static long give(int fd, size_t length, int flags) { return send(fd, buffer, length, flags); }
static int tcp(void) { return socket(family, SOCK_STREAM, 0); }
static int udp(void) { return socket(family, SOCK_DGRAM, 0); }
static void rest(void) { usleep(15000); }

static void nonblocking(int fd) { fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK); }

static void at_once(int fd) {
    struct linger linger = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

static int listener(int backlog) {
    int fd = tcp();
    do_bind(fd, lo(), 0);
    listen(fd, backlog);
    return fd;
}

/* A connection: ours, and the peer's in *peer. */
static int pair(int *peer) {
    int server = listener(5), fd = tcp();
    do_connect(fd, lo(), port_of(server));
    *peer = accept(server, 0, 0);
    close(server);
    return fd;
}

static int closed_port(int type) {
    int fd = socket(family, type, 0);
    do_bind(fd, lo(), 0);
    int port = port_of(fd);
    close(fd);
    return port;
}

/* Everything that can be asked of a socket, in one row. */
static void all_calls(int fd) {
    say("getsockname", own_of(fd), fd);
    say("getpeername", peer_of(fd), fd);
    say("SO_ERROR", pending(fd), fd);
    say("recv", take(fd, 10, MSG_DONTWAIT), fd);
    say("recv 0", take(fd, 0, MSG_DONTWAIT), fd);
    say("recv peek", take(fd, 10, MSG_DONTWAIT | MSG_PEEK), fd);
    say("recv oob", take(fd, 1, MSG_OOB | MSG_DONTWAIT), fd);
    say("send", give(fd, 10, MSG_DONTWAIT), fd);
    say("send 0", give(fd, 0, MSG_DONTWAIT), fd);
    say("send nosignal", give(fd, 10, MSG_DONTWAIT | MSG_NOSIGNAL), fd);
    int mark = 0;
    say("atmark", ioctl(fd, SIOCATMARK, &mark) ? -1 : mark, fd);
    say("FIONREAD", ioctl(fd, FIONREAD, &mark) ? -1 : mark, fd);
}

static void fresh(void) {
    scenario = "fresh";
    int fd = tcp();
    all_calls(fd);
    nonblocking(fd);
    say("accept", accept(fd, 0, 0), fd);
    for (int how = 0; how < 3; how++)
        say("shutdown", shutdown(fd, how), fd);
    say("connect unspec", unspecified(fd), fd);
    struct sockaddr_storage name;
    socklen_t size = name_of(&name, lo(), 9);
    say("connect short", connect(fd, (void *)&name, size - 1), fd);
    say("connect shorter", connect(fd, (void *)&name, 8), fd);
    say("connect nothing", connect(fd, (void *)&name, 1), fd);
    name.ss_family = AF_UNIX;
    say("connect unix", connect(fd, (void *)&name, size), fd);
    name.ss_family = 99;
    say("bind 99", bind(fd, (void *)&name, size), fd);
    size = name_of(&name, family == AF_INET ? "::1" : "127.0.0.1", 9);
    say("connect other family", connect(fd, (void *)&name, size), fd);
    say("bind other family", bind(fd, (void *)&name, size), fd);
    say("listen unbound", listen(fd, 5), fd);
    say("port", port_of(fd) > 0, fd);
    close(fd);
}

static void binding(void) {
    scenario = "bind";
    const char *addresses[2][7] = {
        {"0.0.0.0", "127.0.0.1", "127.9.9.9", "1.2.3.4", "224.0.0.1", "255.255.255.255", "240.0.0.1"},
        {"::", "::1", "fe80::1", "2001:db8::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:1.2.3.4"}};
    for (int type = SOCK_STREAM; type <= SOCK_RAW; type++)
        for (int i = 0; i < 7; i++) {
            const char *address = addresses[family != AF_INET][i];
            char step[80];
            int fd = socket(family, type, type == SOCK_RAW ? 253 : 0);
            snprintf(step, sizeof step, "type %d to %s", type, address);
            say(step, do_bind(fd, address, 0), fd);
            say("again", do_bind(fd, lo(), 0), -1);
            close(fd);
        }
    int fd = tcp(), other = tcp();
    struct sockaddr_storage name;
    socklen_t size = name_of(&name, lo(), 0);
    say("short", bind(fd, (void *)&name, size - 1), -1);
    say("eight bytes", bind(fd, (void *)&name, 8), -1);
    say("nothing", bind(fd, (void *)&name, 0), -1);
    name.ss_family = AF_UNSPEC;
    say("unspec", bind(other, (void *)&name, size), -1);
    close(fd), close(other);
}

static void conflicts(void) {
    scenario = "conflict";
    static const struct {
        const char *name, *first, *second;
        int reuse, listening;
    } rows[] = {
        {"same", "lo", "lo", 0, 0},       {"same, reuse", "lo", "lo", 1, 0},
        {"listening", "lo", "lo", 1, 1},  {"any first", "any", "lo", 0, 0},
        {"any second", "lo", "any", 0, 0}, {"any reuse", "any", "lo", 1, 0},
        {"reuseport", "lo", "lo", 2, 0},  {"reuseport listening", "lo", "lo", 2, 1},
        {"reuseport one", "lo", "lo", 3, 0},
    };
    for (int type = SOCK_STREAM; type <= SOCK_DGRAM; type++)
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            int a = socket(family, type, 0), b = socket(family, type, 0), on = 1;
            if (rows[i].reuse == 1)
                setsockopt(a, SOL_SOCKET, SO_REUSEADDR, &on, 4), setsockopt(b, SOL_SOCKET, SO_REUSEADDR, &on, 4);
            if (rows[i].reuse >= 2)
                setsockopt(a, SOL_SOCKET, SO_REUSEPORT, &on, 4);
            if (rows[i].reuse == 2)
                setsockopt(b, SOL_SOCKET, SO_REUSEPORT, &on, 4);
            do_bind(a, strcmp(rows[i].first, "lo") ? any() : lo(), 0);
            if (rows[i].listening && type == SOCK_STREAM)
                listen(a, 5);
            say(rows[i].name, do_bind(b, strcmp(rows[i].second, "lo") ? any() : lo(), port_of(a)), -1);
            if (type == SOCK_STREAM)
                say("then listen", listen(b, 5), -1);
            close(a), close(b);
        }
    int a = tcp(), b = tcp(), on = 1;
    setsockopt(a, SOL_SOCKET, SO_REUSEADDR, &on, 4), setsockopt(b, SOL_SOCKET, SO_REUSEADDR, &on, 4);
    do_bind(a, lo(), 0), do_bind(b, lo(), port_of(a));
    say("first listens", listen(a, 5), -1);
    say("second listens", listen(b, 5), -1);
    close(a), close(b);
}

static void refused(int patient) {
    scenario = patient ? "refused" : "refused, nonblocking";
    int fd = tcp(), port = closed_port(SOCK_STREAM);
    if (!patient)
        nonblocking(fd);
    long result = do_connect(fd, lo(), port);
    if (!patient && result < 0 && errno == EINPROGRESS)
        result = 0;
    if (patient)
        say("connect", result, fd);
    rest();
    say("later", 0, fd);
    if (!patient)
        say("getpeername", peer_of(fd), fd);
    say("connect again", do_connect(fd, lo(), port) < 0 && errno == EINPROGRESS ? 0 : -1, -1);
    rest();
    all_calls(fd);
    say("shutdown", shutdown(fd, SHUT_RDWR), fd);
    int server = listener(5);
    result = do_connect(fd, lo(), port_of(server));
    say("connect elsewhere", result < 0 && errno == EINPROGRESS ? 0 : result, -1);
    rest();
    say("then", pending(fd), fd);
    close(server), close(fd);
}

static void refused_order(void) {
    scenario = "refused, read first";
    int fd = tcp(), port = closed_port(SOCK_STREAM);
    nonblocking(fd);
    do_connect(fd, lo(), port);
    rest();
    say("recv", take(fd, 10, 0), fd);
    say("recv", take(fd, 10, 0), fd);
    say("send", give(fd, 10, 0), fd);
    close(fd);
    scenario = "refused, write first";
    fd = tcp();
    nonblocking(fd);
    do_connect(fd, lo(), port);
    rest();
    say("send", give(fd, 10, 0), fd);
    say("send", give(fd, 10, 0), fd);
    say("recv", take(fd, 10, 0), fd);
    close(fd);
}

static void connected(void) {
    scenario = "connected";
    int peer, fd = pair(&peer);
    say("start", 0, fd);
    say("connect again", do_connect(fd, lo(), 9), fd);
    say("bind", do_bind(fd, lo(), 0), fd);
    say("listen", listen(fd, 5), fd);
    say("accept", accept4(fd, 0, 0, SOCK_NONBLOCK), fd);
    all_calls(fd);
    rest();
    say("sendto elsewhere", do_send(fd, lo(), 9, 3), fd);
    rest();
    say("peer", 0, peer);
    say("peer recv trunc", take(peer, 5, MSG_TRUNC), peer);
    say("peer recv waitall", take(peer, 5, MSG_WAITALL), peer);
    say("peer recv peek", take(peer, 100, MSG_PEEK), peer);
    say("peer recv", take(peer, 100, 0), peer);
    say("peer recv again", take(peer, 100, MSG_DONTWAIT), peer);
    say("disconnect", unspecified(fd), fd);
    rest();
    all_calls(fd);
    say("peer", 0, peer);
    all_calls(peer);
    say("connect to port 0", do_connect(fd, lo(), 0), -1);
    close(fd), close(peer);
}

static void listening(void) {
    scenario = "listening";
    int fd = listener(5), port = port_of(fd);
    say("start", 0, fd);
    say("listen again", listen(fd, 1), fd);
    say("listen -1", listen(fd, -1), fd);
    say("connect", do_connect(fd, lo(), port), fd);
    say("bind", do_bind(fd, lo(), 0), fd);
    nonblocking(fd);
    say("accept", accept(fd, 0, 0), fd);
    all_calls(fd);
    int client = tcp();
    say("client", do_connect(client, lo(), port), client);
    say("now", 0, fd);
    say("shutdown wr", shutdown(fd, SHUT_WR), fd);
    int got = accept(fd, 0, 0);
    say("accept", got < 0 ? -1 : 0, fd);
    int second = tcp();
    do_connect(second, lo(), port);
    say("shutdown rd", shutdown(fd, SHUT_RD), fd);
    rest();
    say("second", 0, second);
    say("second recv", take(second, 5, MSG_DONTWAIT), second);
    say("accept after", accept(fd, 0, 0), fd);
    say("client refused", do_connect(tcp(), lo(), port), -1);
    say("listen anew", listen(fd, 5), fd);
    say("disconnect", unspecified(fd), fd);
    say("accept then", accept(fd, 0, 0), fd);
    close(fd), close(client), close(second), close(got);
}

static void closing_listener(void) {
    scenario = "listener closed";
    int fd = listener(5), client = tcp();
    do_connect(client, lo(), port_of(fd));
    give(client, 5, 0);
    close(fd);
    rest();
    all_calls(client);
    close(client);
    scenario = "reset before accept";
    fd = listener(5), client = tcp();
    do_connect(client, lo(), port_of(fd));
    at_once(client);
    close(client);
    rest();
    say("listener", 0, fd);
    nonblocking(fd);
    int got = accept(fd, 0, 0);
    say("accept", got < 0 ? -1 : 0, got);
    if (got >= 0)
        all_calls(got);
    close(fd), close(got);
}

static void half_closed(void) {
    scenario = "shut for writing";
    int peer, fd = pair(&peer);
    say("shutdown", shutdown(fd, SHUT_WR), fd);
    rest();
    say("send", give(fd, 5, 0), fd);
    say("send nosignal", give(fd, 5, MSG_NOSIGNAL), fd);
    say("send 0", give(fd, 0, 0), fd);
    say("peer", 0, peer);
    say("peer recv", take(peer, 5, 0), peer);
    say("peer recv again", take(peer, 5, MSG_DONTWAIT), peer);
    say("peer send", give(peer, 5, 0), peer);
    rest();
    say("recv", take(fd, 10, 0), fd);
    say("again", shutdown(fd, SHUT_WR), fd);
    say("peer shutdown", shutdown(peer, SHUT_WR), peer);
    rest();
    say("both", 0, fd);
    say("shutdown once more", shutdown(peer, SHUT_WR), peer);
    all_calls(fd);
    all_calls(peer);
    close(fd), close(peer);

    scenario = "shut for reading";
    fd = pair(&peer);
    say("shutdown", shutdown(fd, SHUT_RD), fd);
    say("recv", take(fd, 5, 0), fd);
    say("peer", 0, peer);
    say("peer send", give(peer, 5, 0), peer);
    rest();
    say("recv now", take(fd, 5, MSG_DONTWAIT), fd);
    say("recv then", take(fd, 5, MSG_DONTWAIT), fd);
    say("send", give(fd, 5, 0), fd);
    say("peer recv", take(peer, 10, 0), peer);
    close(fd), close(peer);

    scenario = "shut for both";
    fd = pair(&peer);
    give(peer, 7, 0);
    say("shutdown", shutdown(fd, SHUT_RDWR), fd);
    rest();
    all_calls(fd);
    say("peer", 0, peer);
    all_calls(peer);
    rest();
    say("later", 0, fd);
    say("peer later", 0, peer);
    close(fd), close(peer);
}

static void peer_ends(int how) {
    static const char *const names[] = {"peer closes", "peer closes, unread data", "peer resets",
                                        "peer resets, data here", "peer closes, we write"};
    scenario = names[how];
    int peer, fd = pair(&peer);
    if (how == 1)
        give(fd, 5, 0), rest();
    if (how == 3)
        give(peer, 5, 0), rest();
    if (how == 2 || how == 3)
        at_once(peer);
    close(peer);
    rest();
    say("seen", 0, fd);
    if (how == 4) {
        say("send", give(fd, 5, 0), fd);
        rest();
        say("seen then", 0, fd);
        say("send", give(fd, 5, 0), fd);
        say("send", give(fd, 5, 0), fd);
        say("recv", take(fd, 5, 0), fd);
    }
    all_calls(fd);
    say("shutdown", shutdown(fd, SHUT_WR), fd);
    say("connect", do_connect(fd, lo(), closed_port(SOCK_STREAM)), fd);
    close(fd);
}

static void reset_orders(void) {
    static const char *const names[] = {"reset: recv", "reset: send", "reset: SO_ERROR",
                                        "reset: connect", "reset: shutdown", "reset: peek"};
    for (int i = 0; i < 6; i++) {
        scenario = names[i];
        int peer, fd = pair(&peer);
        at_once(peer);
        close(peer);
        rest();
        long result = i == 0   ? take(fd, 5, 0)
                      : i == 1 ? give(fd, 5, 0)
                      : i == 2 ? pending(fd)
                      : i == 3 ? do_connect(fd, lo(), closed_port(SOCK_STREAM))
                      : i == 4 ? shutdown(fd, SHUT_RDWR)
                               : take(fd, 5, MSG_PEEK);
        say("first", result, fd);
        say("recv", take(fd, 5, 0), fd);
        say("send", give(fd, 5, 0), fd);
        say("SO_ERROR", pending(fd), fd);
        close(fd);
    }
}

static void urgent(void) {
    scenario = "urgent";
    int peer, fd = pair(&peer), mark = 0, on = 1;
    say("send", give(fd, 3, MSG_OOB), fd);
    rest();
    say("peer", 0, peer);
    say("recv oob peek", take(peer, 1, MSG_OOB | MSG_PEEK), peer);
    say("recv oob", take(peer, 5, MSG_OOB), peer);
    say("recv oob again", take(peer, 1, MSG_OOB), peer);
    say("recv", take(peer, 10, MSG_DONTWAIT), peer);
    say("atmark", ioctl(peer, SIOCATMARK, &mark) ? -1 : mark, peer);
    setsockopt(peer, SOL_SOCKET, SO_OOBINLINE, &on, 4);
    give(fd, 2, MSG_OOB), give(fd, 2, 0);
    rest();
    say("inline oob", take(peer, 1, MSG_OOB), peer);
    say("inline recv", take(peer, 10, MSG_DONTWAIT), peer);
    say("atmark", ioctl(peer, SIOCATMARK, &mark) ? -1 : mark, peer);
    say("inline recv", take(peer, 10, MSG_DONTWAIT), peer);
    close(fd), close(peer);
}

static void timeouts(void) {
    scenario = "timeouts";
    int peer, fd = pair(&peer);
    struct timeval soon = {0, 30000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof soon);
    say("recv", take(fd, 5, 0), fd);
    say("recv waitall", (give(peer, 3, 0), take(fd, 5, MSG_WAITALL)), fd);
    long result;
    do
        result = give(fd, sizeof buffer, 0);
    while (result > 0);
    say("send when full", result, fd);
    int server = listener(0);
    setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon);
    say("accept", accept(server, 0, 0), server);
    close(fd), close(peer), close(server);
}

static void targets(void) {
    scenario = "target";
    const char *addresses[2][6] = {
        {"0.0.0.0", "255.255.255.255", "224.0.0.9", "127.255.255.255", "240.0.0.1", "192.0.2.1"},
        {"::", "ff02::9", "2001:db8::1", "fe80::9", "::ffff:224.0.0.9", "::ffff:192.0.2.1"}};
    for (int type = SOCK_STREAM; type <= SOCK_DGRAM; type++)
        for (int i = 0; i < 6; i++) {
            const char *address = addresses[family != AF_INET][i];
            char step[80];
            int fd = socket(family, type, 0);
            nonblocking(fd);
            snprintf(step, sizeof step, "type %d connect %s", type, address);
            if (i || type == SOCK_DGRAM)
                say(step, do_connect(fd, address, 9), -1);
            close(fd);
            if (type == SOCK_DGRAM) {
                fd = udp();
                snprintf(step, sizeof step, "send %s", address);
                say(step, do_send(fd, address, 9, 3), -1);
                close(fd);
            }
        }
    int fd = udp();
    say("send to port 0", do_send(fd, lo(), 0, 3), fd);
    struct sockaddr_storage name;
    socklen_t size = name_of(&name, lo(), 9);
    say("send short name", sendto(fd, buffer, 3, 0, (void *)&name, size - 1), fd);
    say("send eight bytes", sendto(fd, buffer, 3, 0, (void *)&name, 8), fd);
    name.ss_family = AF_UNSPEC;
    say("send unspec", sendto(fd, buffer, 3, 0, (void *)&name, size), fd);
    name.ss_family = AF_UNIX;
    say("send unix", sendto(fd, buffer, 3, 0, (void *)&name, size), fd);
    size = name_of(&name, family == AF_INET ? "::1" : "127.0.0.1", 9);
    say("send other family", sendto(fd, buffer, 3, 0, (void *)&name, size), fd);
    say("connect other family", connect(fd, (void *)&name, size), fd);
    close(fd);
}

static void datagrams(void) {
    scenario = "udp fresh";
    int fd = udp();
    all_calls(fd);
    say("listen", listen(fd, 5), fd);
    say("accept", accept(fd, 0, 0), fd);
    for (int how = 0; how < 3; how++)
        say("shutdown", shutdown(fd, how), fd);
    say("then recv", take(fd, 5, MSG_DONTWAIT), fd);
    say("then sendto", do_send(fd, lo(), closed_port(SOCK_DGRAM), 3), fd);
    rest();
    say("later", pending(fd), fd);
    say("too long", do_send(fd, lo(), 9, 65508), fd);
    say("longest", do_send(fd, lo(), 9, 65507), fd);
    close(fd);

    scenario = "udp refused";
    int port = closed_port(SOCK_DGRAM);
    for (int i = 0; i < 4; i++) {
        fd = udp();
        do_connect(fd, lo(), port);
        say("send", give(fd, 5, 0), -1);
        rest();
        say("seen", 0, fd);
        say("call", i == 0 ? take(fd, 5, MSG_DONTWAIT) : i == 1 ? give(fd, 5, 0) : i == 2 ? pending(fd) : do_connect(fd, lo(), port), fd);
        say("call again", i == 0 ? take(fd, 5, MSG_DONTWAIT) : give(fd, 5, 0), -1);
        close(fd);
    }

    scenario = "udp connected";
    int peer = udp();
    fd = udp();
    do_bind(peer, lo(), 0);
    say("connect", do_connect(fd, lo(), port_of(peer)), fd);
    all_calls(fd);
    rest();
    say("peer recv", take(peer, 100, MSG_DONTWAIT), peer);
    say("peer recv", take(peer, 100, MSG_DONTWAIT), peer);
    say("peer recv", take(peer, 100, MSG_DONTWAIT), peer);
    say("peer recv", take(peer, 100, MSG_DONTWAIT), peer);
    say("sendto", do_send(fd, lo(), port_of(peer), 30), fd);
    rest();
    say("peer peek", take(peer, 10, MSG_PEEK), peer);
    say("peer trunc", take(peer, 10, MSG_TRUNC), peer);
    say("disconnect", unspecified(fd), fd);
    say("getpeername", peer_of(fd), fd);
    say("send", give(fd, 5, 0), fd);
    say("connect anew", do_connect(fd, lo(), port_of(peer)), fd);
    say("shutdown wr", shutdown(fd, SHUT_WR), fd);
    say("send", give(fd, 5, 0), fd);
    say("shutdown rd", shutdown(fd, SHUT_RD), fd);
    say("recv", take(fd, 5, 0), fd);
    close(fd), close(peer);
}

static void raw_sockets(void) {
    scenario = "raw";
    int fd = socket(family, SOCK_RAW, 253);
    all_calls(fd);
    say("listen", listen(fd, 5), fd);
    say("accept", accept(fd, 0, 0), fd);
    say("shutdown", shutdown(fd, SHUT_RDWR), fd);
    say("connect", do_connect(fd, lo(), 0), fd);
    say("getpeername", peer_of(fd), fd);
    say("send", give(fd, 5, 0), fd);
    rest();
    say("recv", take(fd, 100, MSG_DONTWAIT), fd);
    say("sendto", do_send(fd, lo(), 0, 7), fd);
    rest();
    say("recv", take(fd, 100, MSG_DONTWAIT), fd);
    say("disconnect", unspecified(fd), fd);
    say("send", give(fd, 5, 0), fd);
    say("bind", do_bind(fd, lo(), 0), fd);
    close(fd);
}

int main(void) {
    signal(SIGPIPE, on_pipe);
    for (int round = 0; round < 2; round++) {
        family = round ? AF_INET6 : AF_INET;
        fresh(), binding(), conflicts();
        refused(1), refused(0), refused_order();
        connected(), listening(), closing_listener(), half_closed();
        for (int how = 0; how < 5; how++)
            peer_ends(how);
        reset_orders(), urgent(), timeouts(), targets(), datagrams(), raw_sockets();
        fflush(stdout);
    }
    return 0;
}
