/* Chaos with descriptors that are no files: pipes, events, polls, sockets. */
#include "grind_chaos.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/timerfd.h>

enum { POLLED = 16 };

static struct pollfd polled[POLLED];

void controls(void)
{
    switch (rnd(7)) {
    case 0:
        adopt(call(SYS_fcntl, any_fd(), rnd(2) ? F_DUPFD : F_DUPFD_CLOEXEC, any_slot()));
        break;
    case 1:
        call(SYS_fcntl, any_fd(), F_SETFL, O_NONBLOCK | (rnd(2) ? O_APPEND : 0));
        break;
    case 2:
        call(SYS_fcntl, any_fd(), rnd(2) ? F_GETFL : F_GETFD);
        break;
    case 3:
        call(SYS_fcntl, any_fd(), F_SETFD, P(rnd(2)));
        break;
    case 4:
        call(SYS_ioctl, any_fd(), rnd(2) ? FIONREAD : TCGETS, any_pointer(64));
        break;
    case 5:
        call(SYS_fcntl, any_fd(), F_SETPIPE_SZ, P(rnd(1 << 17)));
        break;
    default:
        call(SYS_fcntl, any_fd(), 1000 + P(rnd(1000)), 0); /* no such command */
    }
}

void duplicates(void)
{
    if (rnd(2))
        adopt(call(SYS_dup, any_slot()));
    else
        call(SYS_dup2, any_slot(), any_slot());
}

void pipes(void)
{
    int pair[2];

    if (rnd(8))
        adopt_pair(call(SYS_pipe2, P(pair), O_NONBLOCK), pair);
    else
        call(SYS_pipe2, bad_pointer(sizeof pair, 0), O_NONBLOCK);
}

void events(void)
{
    static struct itimerspec alarm_soon;

    alarm_soon.it_value.tv_nsec = (long)rnd(100000);
    switch (rnd(6)) {
    case 0:
        adopt(call(SYS_eventfd2, P(rnd(4)), EFD_NONBLOCK));
        break;
    case 1:
        adopt(call(SYS_timerfd_create, CLOCK_MONOTONIC, TFD_NONBLOCK));
        break;
    case 2:
        call(SYS_timerfd_settime, any_fd(), 0, rnd(8) ? P(&alarm_soon) : bad_pointer(sizeof alarm_soon, 0), 0);
        break;
    case 3:
        adopt(call(SYS_signalfd4, -1, rnd(8) ? P(&harmless_signals) : bad_pointer(8, 0), 8, SFD_NONBLOCK));
        break;
    case 4:
        adopt(call(SYS_inotify_init1, IN_NONBLOCK));
        break;
    default:
        call(SYS_inotify_add_watch, any_fd(), any_path(), IN_ALL_EVENTS);
    }
}

void epolls(void)
{
    static struct epoll_event wanted;

    wanted.events = (uint32_t)rnd(32) | (rnd(4) ? 0 : (uint32_t)EPOLLET);
    switch (rnd(4)) {
    case 0:
        adopt(call(SYS_epoll_create1, P(rnd(2) ? EPOLL_CLOEXEC : 0)));
        break;
    case 1:
        call(SYS_epoll_wait, any_fd(), any_pointer(12 * POLLED), P(rnd(POLLED)), 0);
        break;
    default:
        call(SYS_epoll_ctl, any_fd(), P(rnd(5)), any_fd(), rnd(8) ? P(&wanted) : bad_pointer(12, 0));
    }
}

void polls(void)
{
    static struct timeval at_once;
    static unsigned char sets[3][16];
    long count = P(rnd(POLLED));

    for (long i = 0; i < count; i++)
        polled[i] = (struct pollfd){.fd = (int)any_fd(), .events = (short)rnd(256)};
    at_once = (struct timeval){0, 0};
    for (int i = 0; i < 3; i++)
        for (int fd = SLOT_BASE / 8; fd < 12; fd++)
            sets[i][fd] = (unsigned char)(rnd(256) & rnd(256));
    switch (rnd(3)) {
    case 0:
        call(SYS_poll, rnd(8) ? P(polled) : bad_pointer(sizeof polled, 0), count, 0);
        break;
    case 1:
        call(SYS_ppoll, P(polled), count, short_time(), 0, 8);
        break;
    default:
        call(SYS_select, SLOT_BASE + SLOTS, P(sets[0]), rnd(4) ? P(sets[1]) : bad_pointer(16, 0), P(sets[2]), P(&at_once));
    }
}

void sockets(void)
{
    static const long types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
    int pair[2];
    long length, pointer = any_span(&length);

    switch (rnd(6)) {
    case 0:
        adopt_pair(call(SYS_socketpair, AF_UNIX, CHOOSE(types) | SOCK_NONBLOCK, 0, P(pair)), pair);
        break;
    case 1:
    case 2:
        call(SYS_sendto, any_fd(), pointer, length, MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);
        break;
    case 3:
    case 4:
        call(SYS_recvfrom, any_fd(), pointer, length, MSG_DONTWAIT | (rnd(4) ? 0 : MSG_PEEK), 0, 0);
        break;
    default:
        call(SYS_shutdown, any_fd(), P(rnd(4)));
    }
}

void memory_files(void) { adopt(call(SYS_memfd_create, rnd(4) ? P("chaos") : bad_pointer(8, 0), P(rnd(4)))); }
