/*
 * A bad citizen: fills the kernel's heap with objects of one kind, in children
 * that it forks and waits for, one after the other (section 7.2.7 of the
 * Biscuit thesis).
 *
 *   abuser KIND SECONDS
 *
 * KIND: mmap (regions that are no neighbours), pipe, socket, file, unix
 * (datagrams with passed descriptors), epoll, timer, thread.
 *
 * A child makes objects until a limit of its own stops it (then it waits to be
 * killed) or it dies. Prints how many children were killed and how many ended
 * by themselves, and ends with 0; 1 where a child met an error that is none
 * of its limits.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, SPOILT = 3, FILES = 1000000 };

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

/* A limit of this process, or of the system: no more of the same. */
static int limited(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOMEM || error == EAGAIN || error == ENOSPC
           || error == ETOOMANYREFS || error == ENOBUFS;
}

static int one_region(void)
{
    static char *at;

    if (!at)
        at = (char *)(uintptr_t)0x100000000000;
    at += 2 * PAGE;
    return mmap(at, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED ? -1 : 0;
}

static int one_pipe(void)
{
    int ends[2];
    char data[PAGE];

    if (pipe(ends))
        return -1;
    memset(data, 1, sizeof data);
    return write(ends[1], data, sizeof data) == sizeof data ? 0 : -1;
}

static int one_socket(void)
{
    return socket(AF_INET, SOCK_STREAM, 0) < 0 ? -1 : 0;
}

static int one_file(void)
{
    char name[64];

    snprintf(name, sizeof name, "/tmp/abuse-%d-%d", getpid(), rand());
    int fd = open(name, O_CREAT | O_RDWR, 0600);

    if (fd >= 0)
        unlink(name);
    return fd < 0 ? -1 : 0;
}

static int one_datagram(void)
{
    int pair[2];
    char space[CMSG_SPACE(2 * sizeof(int))];
    struct iovec vector = {"x", 1};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    struct cmsghdr *control = CMSG_FIRSTHDR(&message);

    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair))
        return -1;
    control->cmsg_level = SOL_SOCKET;
    control->cmsg_type = SCM_RIGHTS;
    control->cmsg_len = CMSG_LEN(sizeof pair);
    memcpy(CMSG_DATA(control), pair, sizeof pair);
    return sendmsg(pair[0], &message, MSG_DONTWAIT) < 0 ? -1 : 0;
}

static int one_interest(void)
{
    static int epoll = -1;
    int fd = eventfd(100000, 0);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 100000 + fd};

    if (epoll < 0)
        epoll = epoll_create1(0);
    if (fd < 0 || epoll < 0)
        return -1;
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static int one_timer(void)
{
    timer_t timer;
    struct sigevent silent = {.sigev_notify = SIGEV_NONE, .sigev_value.sival_int = 100000};
    struct itimerspec when = {.it_value.tv_sec = 100000, .it_interval.tv_sec = 1000};

    return timer_create(CLOCK_MONOTONIC, &silent, &timer) || timer_settime(timer, 0, &when, NULL) ? -1 : 0;
}

static void *sleep_on(void *nothing)
{
    for (;;)
        pause();
    return nothing;
}

static int one_thread(void)
{
    pthread_t thread;
    pthread_attr_t small;

    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 4 * PAGE);
    errno = pthread_create(&thread, &small, sleep_on, NULL);
    return errno ? -1 : 0;
}

static const struct {
    const char *name;
    int (*one)(void);
} kinds[] = {
    {"mmap", one_region}, {"pipe", one_pipe},      {"socket", one_socket}, {"file", one_file},
    {"unix", one_datagram}, {"epoll", one_interest}, {"timer", one_timer},   {"thread", one_thread},
};

static int abuse(int (*one)(void))
{
    struct rlimit many = {FILES, FILES};

    setrlimit(RLIMIT_NOFILE, &many);
    while (one() == 0)
        ;
    if (!limited(errno)) {
        perror("abuser");
        return SPOILT;
    }
    for (int round = 0; round < 20; round++)
        usleep(100000);
    return 0;
}

int main(int count, char **words)
{
    int (*one)(void) = NULL;
    int killed = 0, ended = 0;

    for (size_t i = 0; count == 3 && i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(words[1], kinds[i].name) == 0)
            one = kinds[i].one;
    if (!one) {
        fprintf(stderr, "usage: abuser KIND SECONDS\n");
        return 2;
    }
    double until = now() + atof(words[2]);
    do {
        int status;
        pid_t child = fork();

        if (child < 0) {
            perror("abuser: fork");
            return 1;
        }
        if (child == 0)
            _exit(abuse(one));
        if (waitpid(child, &status, 0) != child) {
            perror("abuser: waitpid");
            return 1;
        }
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
            killed++;
        else if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
            ended++;
        else {
            fprintf(stderr, "abuser: a child ended with %#x\n", status);
            return 1;
        }
    } while (now() < until);
    printf("abuser: %d killed, %d ended\n", killed, ended);
    return 0;
}
