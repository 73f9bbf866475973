/*
 * A bad citizen: fills the kernel's heap with objects of one kind, in children
 * that it forks and waits for, one after the other (section 7.2.7 of the
 * Biscuit thesis).
 *
 *   abuser KIND SECONDS [CHILDREN]
 *
 * KIND: mmap (regions that are no neighbours), pipe, socket, file, unix
 * (datagrams with passed descriptors), epoll, timer, thread; tcp (connections
 * with data that nobody reads), udp (datagrams that nobody reads), netlink
 * (answers that nobody reads), listen, watch (inotify), lock (of records),
 * xattr, link (symbolic links that stay).
 *
 * CHILDREN (1) are there at a time. Each makes objects until a limit of its own
 * stops it (then it waits to be killed) or it dies. Prints how many children were killed and how many ended
 * by themselves, and ends with 0; 1 where a child met an error that is none
 * of its limits.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
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

static struct sockaddr_in loopback = {.sin_family = AF_INET};

/* A socket that others can send or connect to; it has its address in `loopback`. */
static int open_at_loopback(int type)
{
    int fd = socket(AF_INET, type, 0);
    socklen_t size = sizeof loopback;

    loopback.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    loopback.sin_port = 0;
    if (fd < 0 || bind(fd, (struct sockaddr *)&loopback, size) || getsockname(fd, (struct sockaddr *)&loopback, &size))
        return -1;
    return fd;
}

static int one_connection(void)
{
    static int listening = -1;
    char data[PAGE] = "x";

    if (listening < 0) {
        listening = open_at_loopback(SOCK_STREAM);
        if (listening < 0 || listen(listening, 64))
            return -1;
    }
    int near = socket(AF_INET, SOCK_STREAM, 0);

    if (near < 0 || connect(near, (struct sockaddr *)&loopback, sizeof loopback))
        return -1;
    return accept(listening, NULL, NULL) < 0 || write(near, data, sizeof data) != sizeof data ? -1 : 0;
}

static int one_listener(void)
{
    int fd = open_at_loopback(SOCK_STREAM);

    return fd < 0 ? -1 : listen(fd, 64);
}

static int one_received(void)
{
    char data[64] = "x";
    int fd = open_at_loopback(SOCK_DGRAM);

    for (int i = 0; i < 100 && fd >= 0; i++)
        if (sendto(fd, data, sizeof data, 0, (struct sockaddr *)&loopback, sizeof loopback) < 0)
            return -1;
    return fd < 0 ? -1 : 0;
}

static int one_answer(void)
{
    struct {
        struct nlmsghdr header;
        struct rtgenmsg body;
    } wanted = {{sizeof wanted, RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 1, 0}, {AF_UNSPEC}};
    int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);

    return fd < 0 || send(fd, &wanted, sizeof wanted, 0) < 0 ? -1 : 0;
}

static int one_watch(void)
{
    static int queue = -1, number;
    char name[64];

    if (queue < 0)
        queue = inotify_init();
    struct stat seen;

    snprintf(name, sizeof name, "/tmp/watch-%d-%d", getpid(), number++);
    return mkdir(name, 0700) || stat(name, &seen) || inotify_add_watch(queue, name, IN_ALL_EVENTS) < 0 ? -1 : 0;
}

static int one_lock(void)
{
    static int fd = -1;
    static off_t at;
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};

    if (fd < 0)
        fd = open("/tmp", O_TMPFILE | O_RDWR, 0600);
    lock.l_start = at += 2;
    return fcntl(fd, F_SETLK, &lock);
}

static int one_attribute(void)
{
    static int fd = -1, number;
    char name[64];

    if (number % 1000 == 0)
        fd = open("/tmp", O_TMPFILE | O_RDWR, 0600);
    snprintf(name, sizeof name, "user.abuse-%d", number++);
    return fsetxattr(fd, name, name, sizeof name, 0);
}

static int one_link(void)
{
    static int number;
    char name[64], target[1024];

    memset(target, 't', sizeof target);
    target[sizeof target - 1] = 0;
    snprintf(name, sizeof name, "/tmp/link-%d-%d", getpid(), number++);
    return symlink(target, name);
}

static const struct {
    const char *name;
    int (*one)(void);
} kinds[] = {
    {"mmap", one_region}, {"pipe", one_pipe},      {"socket", one_socket}, {"file", one_file},
    {"unix", one_datagram}, {"epoll", one_interest}, {"timer", one_timer},   {"thread", one_thread},
    {"tcp", one_connection}, {"udp", one_received}, {"netlink", one_answer}, {"listen", one_listener},
    {"watch", one_watch}, {"lock", one_lock}, {"xattr", one_attribute}, {"link", one_link},
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
    int killed = 0, ended = 0, running = 0, wanted = count == 4 ? atoi(words[3]) : 1;

    for (size_t i = 0; (count == 3 || count == 4) && i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(words[1], kinds[i].name) == 0)
            one = kinds[i].one;
    if (!one || wanted < 1) {
        fprintf(stderr, "usage: abuser KIND SECONDS [CHILDREN]\n");
        return 2;
    }
    double until = now() + atof(words[2]);
    while (running || now() < until) {
        int status;

        while (running < wanted && now() < until) {
            pid_t child = fork();

            if (child < 0) {
                perror("abuser: fork");
                return 1;
            }
            if (child == 0)
                _exit(abuse(one));
            running++;
        }
        if (waitpid(-1, &status, 0) < 0) {
            perror("abuser: waitpid");
            return 1;
        }
        running--;
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
            killed++;
        else if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
            ended++;
        else {
            fprintf(stderr, "abuser: a child ended with %#x\n", status);
            return 1;
        }
    }
    printf("abuser: %d killed, %d ended\n", killed, ended);
    return 0;
}
