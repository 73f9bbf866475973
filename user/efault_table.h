/*
 * The rows that efault.c tries, and the things they name: well-known
 * descriptors, one object of each type, a scratch directory.
 *
 * A fixture that cannot be made is said so on stderr and left out: its rows
 * then show EBADF, and the rest is still tried.
 */
#include <linux/capability.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/times.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <utime.h>

/* Descriptors, at numbers of our own so that the table is constant. */
enum {
    FILE_FD = 100, VICTIM_FD, DIR_FD, EMPTY_DIR_FD, PIPE_R, PIPE_W, SOCK, SOCK_PEER, LISTEN, CLIENT,
    EPOLL, EVENT, TIMER, INOTIFY, ZERO, NULL_FD, FDS
};

enum { BYTES = 64, PIPED = 32, SIGSET = 8, SIGACTION = 32, SELECT_BYTES = 16, ARCH_GET_FS_CODE = 0x1003 };

static char buffer[4096], second_buffer[4096], file_path[] = "file", new_path[] = "new", victim_path[] = "victim",
    link_path[] = "link", dir_path[] = "dir", here_path[] = ".", root_path[] = "/", thread_name[] = "efault",
    self_path[4096];
static char scratch[] = "/tmp/efault.XXXXXX";
static struct iovec iov[2] = {{buffer, BYTES}, {second_buffer, BYTES}};
static struct iovec message_iov[1] = {{buffer, 16}};
static struct mmsghdr message = {.msg_hdr = {.msg_iov = message_iov, .msg_iovlen = 1}};
static struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"};
static struct sockaddr_un name_out;
static socklen_t name_length, option_length;
static int number, second_number, third_number, zero, one = 1;
static long offset, second_offset;
static struct stat st;
static struct statx stx;
static struct statfs sfs;
static struct pollfd poll_one = {.fd = FILE_FD, .events = POLLIN};
static struct epoll_event epoll_one = {.events = EPOLLIN}, epoll_out;
static unsigned char set[128], second_set[128], third_set[128], signals[SIGSET], old_signals[SIGSET];
static struct { const unsigned char *set; size_t size; } pselect_mask = {signals, SIGSET};
static unsigned long action[4], old_action[4];
static stack_t stack = {.ss_flags = SS_DISABLE}, old_stack;
static struct timespec instant = {0, 1}, remaining, no_time, time_pair[2];
static struct timeval value, no_value, value_pair[2];
static struct timezone zone;
static struct utimbuf times_pair;
static struct itimerval interval, old_interval;
static struct itimerspec interval_spec, old_interval_spec;
static struct rusage usage;
static struct rlimit limit, old_limit;
static struct utsname system_name;
static struct sysinfo system_info;
static struct tms ticks;
static struct sched_param parameters;
static siginfo_t info;
static struct __user_cap_header_struct capability_header;
static struct __user_cap_data_struct capabilities[2];
static char *child_argv[] = {"efault-child", NULL}, *child_env[] = {"A=1", NULL};

/* The pointers of a row. */
#define NO .nullable = 1
#define ARG(i, way, bytes, ...) {.name = "arg" #i, .argument = i, .direction = way, .size = bytes, __VA_ARGS__}
#define FIELD(label, place, way, bytes, ...) \
    {.name = label, .argument = -1, .field = (uintptr_t *)&(place), .direction = way, .size = bytes, __VA_ARGS__}
#define STR(i, text) ARG(i, STRING, sizeof(text))
#define V(x) ((long)(x))

static const struct row rows[] = {
    /* bytes */
    {"read", SYS_read, {FILE_FD, V(buffer), BYTES}, {ARG(1, OUT, BYTES)}, COUNT, HERE},
    {"read-pipe", SYS_read, {PIPE_R, V(buffer), PIPED}, {ARG(1, OUT, PIPED)}, COUNT, HERE},
    {"read-socket", SYS_read, {SOCK, V(buffer), PIPED}, {ARG(1, OUT, PIPED)}, COUNT, HERE},
    {"read-zero", SYS_read, {ZERO, V(buffer), BYTES}, {ARG(1, OUT, BYTES)}, COUNT, HERE},
    {"read-eventfd", SYS_read, {EVENT, V(buffer), 8}, {ARG(1, OUT, 8)}, COUNT, HERE},
    {"write", SYS_write, {FILE_FD, V(buffer), BYTES}, {ARG(1, IN, BYTES)}, COUNT, HERE},
    {"write-pipe", SYS_write, {PIPE_W, V(buffer), PIPED}, {ARG(1, IN, PIPED)}, COUNT, HERE},
    {"write-socket", SYS_write, {SOCK, V(buffer), PIPED}, {ARG(1, IN, PIPED)}, COUNT, HERE},
    {"write-null", SYS_write, {NULL_FD, V(buffer), BYTES}, {ARG(1, IN, BYTES)}, COUNT, HERE},
    {"write-eventfd", SYS_write, {EVENT, V(&instant), 8}, {ARG(1, IN, 8)}, COUNT, HERE},
    {"pread64", SYS_pread64, {FILE_FD, V(buffer), BYTES, 8}, {ARG(1, OUT, BYTES)}, COUNT, HERE},
    {"pwrite64", SYS_pwrite64, {FILE_FD, V(buffer), BYTES, 8}, {ARG(1, IN, BYTES)}, COUNT, HERE},
    {"readv", SYS_readv, {FILE_FD, V(iov), 2},
     {ARG(1, IN, sizeof iov), FIELD("base0", iov[0].iov_base, OUT, BYTES), FIELD("base1", iov[1].iov_base, OUT, BYTES)}, COUNT, HERE},
    {"writev", SYS_writev, {FILE_FD, V(iov), 2},
     {ARG(1, IN, sizeof iov), FIELD("base0", iov[0].iov_base, IN, BYTES), FIELD("base1", iov[1].iov_base, IN, BYTES)}, COUNT, HERE},
    {"writev-pipe", SYS_writev, {PIPE_W, V(iov), 2},
     {FIELD("base0", iov[0].iov_base, IN, BYTES), FIELD("base1", iov[1].iov_base, IN, BYTES)}, COUNT, HERE},
    {"preadv", SYS_preadv, {FILE_FD, V(iov), 2, 0, 0}, {ARG(1, IN, sizeof iov), FIELD("base0", iov[0].iov_base, OUT, BYTES)}, COUNT, HERE},
    {"pwritev", SYS_pwritev, {FILE_FD, V(iov), 2, 0, 0}, {ARG(1, IN, sizeof iov), FIELD("base0", iov[0].iov_base, IN, BYTES)}, COUNT, HERE},
    {"sendfile", SYS_sendfile, {NULL_FD, FILE_FD, V(&offset), 16}, {ARG(2, INOUT, 8, NO)}, COUNT, HERE},
    {"copy_file_range", SYS_copy_file_range, {FILE_FD, V(&offset), VICTIM_FD, V(&second_offset), 16, 0},
     {ARG(1, INOUT, 8, NO), ARG(3, INOUT, 8, NO)}, COUNT, HERE},
    {"splice", SYS_splice, {FILE_FD, V(&offset), PIPE_W, 0, 16, 0}, {ARG(1, INOUT, 8, NO)}, COUNT, HERE},
    {"getrandom", SYS_getrandom, {V(buffer), BYTES, 0}, {ARG(0, OUT, BYTES)}, COUNT, HERE},
    /* paths */
    {"open", SYS_open, {V(file_path), O_RDONLY}, {STR(0, file_path)}, FD, HERE},
    {"openat", SYS_openat, {AT_FDCWD, V(file_path), O_RDONLY}, {STR(1, file_path)}, FD, HERE},
    {"creat", SYS_creat, {V(new_path), 0600}, {STR(0, new_path)}, FD, HERE},
    {"stat", SYS_stat, {V(file_path), V(&st)}, {STR(0, file_path), ARG(1, OUT, sizeof st)}, OK, HERE},
    {"lstat", SYS_lstat, {V(file_path), V(&st)}, {STR(0, file_path), ARG(1, OUT, sizeof st)}, OK, HERE},
    {"fstat", SYS_fstat, {FILE_FD, V(&st)}, {ARG(1, OUT, sizeof st)}, OK, HERE},
    {"newfstatat", SYS_newfstatat, {AT_FDCWD, V(file_path), V(&st), 0}, {STR(1, file_path), ARG(2, OUT, sizeof st)}, OK, HERE},
    {"statx", SYS_statx, {AT_FDCWD, V(file_path), 0, STATX_ALL, V(&stx)}, {STR(1, file_path), ARG(4, OUT, sizeof stx)}, OK, HERE},
    {"statfs", SYS_statfs, {V(file_path), V(&sfs)}, {STR(0, file_path), ARG(1, OUT, sizeof sfs)}, OK, HERE},
    {"fstatfs", SYS_fstatfs, {FILE_FD, V(&sfs)}, {ARG(1, OUT, sizeof sfs)}, OK, HERE},
    {"access", SYS_access, {V(file_path), R_OK}, {STR(0, file_path)}, OK, HERE},
    {"faccessat", SYS_faccessat, {AT_FDCWD, V(file_path), R_OK}, {STR(1, file_path)}, OK, HERE},
    {"faccessat2", SYS_faccessat2, {AT_FDCWD, V(file_path), R_OK, 0}, {STR(1, file_path)}, OK, HERE},
    {"truncate", SYS_truncate, {V(victim_path), 10}, {STR(0, victim_path)}, OK, HERE},
    {"chdir", SYS_chdir, {V(here_path)}, {STR(0, here_path)}, OK, HERE},
    {"chroot", SYS_chroot, {V(root_path)}, {STR(0, root_path)}, OK, CHILD},
    {"chmod", SYS_chmod, {V(victim_path), 0600}, {STR(0, victim_path)}, OK, HERE},
    {"fchmodat", SYS_fchmodat, {AT_FDCWD, V(victim_path), 0600}, {STR(1, victim_path)}, OK, HERE},
    {"chown", SYS_chown, {V(victim_path), -1, -1}, {STR(0, victim_path)}, OK, HERE},
    {"lchown", SYS_lchown, {V(victim_path), -1, -1}, {STR(0, victim_path)}, OK, HERE},
    {"fchownat", SYS_fchownat, {AT_FDCWD, V(victim_path), -1, -1, 0}, {STR(1, victim_path)}, OK, HERE},
    {"mkdir", SYS_mkdir, {V(new_path), 0700}, {STR(0, new_path)}, OK, HERE},
    {"mkdirat", SYS_mkdirat, {AT_FDCWD, V(new_path), 0700}, {STR(1, new_path)}, OK, HERE},
    {"rmdir", SYS_rmdir, {V(dir_path)}, {STR(0, dir_path)}, OK, HERE},
    {"mknod", SYS_mknod, {V(new_path), S_IFIFO | 0600, 0}, {STR(0, new_path)}, OK, HERE},
    {"mknodat", SYS_mknodat, {AT_FDCWD, V(new_path), S_IFIFO | 0600, 0}, {STR(1, new_path)}, OK, HERE},
    {"link", SYS_link, {V(file_path), V(new_path)}, {STR(0, file_path), STR(1, new_path)}, OK, HERE},
    {"linkat", SYS_linkat, {AT_FDCWD, V(file_path), AT_FDCWD, V(new_path), 0}, {STR(1, file_path), STR(3, new_path)}, OK, HERE},
    {"symlink", SYS_symlink, {V(file_path), V(new_path)}, {STR(0, file_path), STR(1, new_path)}, OK, HERE},
    {"symlinkat", SYS_symlinkat, {V(file_path), AT_FDCWD, V(new_path)}, {STR(0, file_path), STR(2, new_path)}, OK, HERE},
    {"readlink", SYS_readlink, {V(link_path), V(buffer), BYTES}, {STR(0, link_path), ARG(1, OUT, 4)}, COUNT, HERE},
    {"readlinkat", SYS_readlinkat, {AT_FDCWD, V(link_path), V(buffer), BYTES}, {STR(1, link_path), ARG(2, OUT, 4)}, COUNT, HERE},
    {"unlink", SYS_unlink, {V(victim_path)}, {STR(0, victim_path)}, OK, HERE},
    {"unlinkat", SYS_unlinkat, {AT_FDCWD, V(victim_path), 0}, {STR(1, victim_path)}, OK, HERE},
    {"rename", SYS_rename, {V(victim_path), V(new_path)}, {STR(0, victim_path), STR(1, new_path)}, OK, HERE},
    {"renameat", SYS_renameat, {AT_FDCWD, V(victim_path), AT_FDCWD, V(new_path)}, {STR(1, victim_path), STR(3, new_path)}, OK, HERE},
    {"renameat2", SYS_renameat2, {AT_FDCWD, V(victim_path), AT_FDCWD, V(new_path), 0}, {STR(1, victim_path), STR(3, new_path)}, OK, HERE},
    {"utime", SYS_utime, {V(victim_path), V(&times_pair)}, {STR(0, victim_path), ARG(1, IN, sizeof times_pair, NO)}, OK, HERE},
    {"utimes", SYS_utimes, {V(victim_path), V(value_pair)}, {STR(0, victim_path), ARG(1, IN, sizeof value_pair, NO)}, OK, HERE},
    {"futimesat", SYS_futimesat, {AT_FDCWD, V(victim_path), V(value_pair)}, {STR(1, victim_path), ARG(2, IN, sizeof value_pair, NO)}, OK, HERE},
    {"utimensat", SYS_utimensat, {AT_FDCWD, V(victim_path), V(time_pair), 0}, {STR(1, victim_path), ARG(2, IN, sizeof time_pair, NO)}, OK, HERE},
    {"getcwd", SYS_getcwd, {V(buffer), BYTES}, {ARG(0, OUT, 16)}, COUNT, HERE},
    {"getdents64", SYS_getdents64, {EMPTY_DIR_FD, V(buffer), 1024}, {ARG(1, OUT, 48)}, COUNT, HERE},
    {"execve", SYS_execve, {V(self_path), V(child_argv), V(child_env)},
     {STR(0, "/directory"), ARG(1, IN, sizeof child_argv), ARG(2, IN, sizeof child_env),
      FIELD("argv0", child_argv[0], STRING, sizeof "efault-child"), FIELD("env0", child_env[0], STRING, sizeof "A=1")}, OK, CHILD},
    {"memfd_create", SYS_memfd_create, {V(thread_name), 0}, {STR(0, thread_name)}, FD, HERE},
    {"inotify_add_watch", SYS_inotify_add_watch, {INOTIFY, V(file_path), IN_OPEN}, {STR(1, file_path)}, OK, HERE},
    /* descriptors */
    {"pipe", SYS_pipe, {V(set)}, {ARG(0, OUT, 8)}, OK, CHILD},
    {"pipe2", SYS_pipe2, {V(set), 0}, {ARG(0, OUT, 8)}, OK, CHILD},
    {"ioctl-fionread", SYS_ioctl, {PIPE_R, FIONREAD, V(&number)}, {ARG(2, OUT, 4)}, OK, HERE},
    {"ioctl-fionbio", SYS_ioctl, {PIPE_R, FIONBIO, V(&one)}, {ARG(2, IN, 4)}, OK, CHILD},
    {"poll", SYS_poll, {V(&poll_one), 1, 0}, {ARG(0, INOUT, sizeof poll_one)}, COUNT, HERE},
    {"ppoll", SYS_ppoll, {V(&poll_one), 1, V(&no_time), V(signals), SIGSET},
     {ARG(0, INOUT, sizeof poll_one), ARG(2, INOUT, sizeof no_time, NO), ARG(3, IN, SIGSET, NO)}, COUNT, HERE},
    {"select", SYS_select, {FDS, V(set), V(second_set), V(third_set), V(&no_value)},
     {ARG(1, INOUT, SELECT_BYTES, NO), ARG(2, INOUT, SELECT_BYTES, NO), ARG(3, INOUT, SELECT_BYTES, NO), ARG(4, INOUT, sizeof no_value, NO)}, COUNT, HERE},
    {"pselect6", SYS_pselect6, {FDS, V(set), V(second_set), V(third_set), V(&no_time), V(&pselect_mask)},
     {ARG(1, INOUT, SELECT_BYTES, NO), ARG(4, INOUT, sizeof no_time, NO), ARG(5, IN, sizeof pselect_mask, NO), FIELD("mask", pselect_mask.set, IN, SIGSET, NO)}, COUNT, HERE},
    {"epoll_ctl", SYS_epoll_ctl, {EPOLL, EPOLL_CTL_MOD, EVENT, V(&epoll_one)}, {ARG(3, IN, 12)}, OK, HERE},
    {"epoll_wait", SYS_epoll_wait, {EPOLL, V(&epoll_out), 1, 0}, {ARG(1, OUT, 12)}, COUNT, HERE},
    {"epoll_pwait", SYS_epoll_pwait, {EPOLL, V(&epoll_out), 1, 0, V(signals), SIGSET}, {ARG(1, OUT, 12), ARG(4, IN, SIGSET, NO)}, COUNT, HERE},
    {"signalfd4", SYS_signalfd4, {-1, V(signals), SIGSET, 0}, {ARG(1, IN, SIGSET)}, FD, HERE},
    {"timerfd_settime", SYS_timerfd_settime, {TIMER, 0, V(&interval_spec), V(&old_interval_spec)},
     {ARG(2, IN, sizeof interval_spec), ARG(3, OUT, sizeof interval_spec, NO)}, OK, HERE},
    {"timerfd_gettime", SYS_timerfd_gettime, {TIMER, V(&interval_spec)}, {ARG(1, OUT, sizeof interval_spec)}, OK, HERE},
    /* sockets */
    {"socketpair", SYS_socketpair, {AF_UNIX, SOCK_STREAM, 0, V(set)}, {ARG(3, OUT, 8)}, OK, CHILD},
    {"bind", SYS_bind, {LISTEN, V(&address), sizeof address}, {ARG(1, IN, sizeof address)}, OK, HERE},
    {"connect", SYS_connect, {CLIENT, V(&address), sizeof address}, {ARG(1, IN, sizeof address)}, OK, HERE},
    {"accept", SYS_accept, {LISTEN, V(&name_out), V(&name_length)}, {ARG(1, OUT, 2, NO), ARG(2, INOUT, 4)}, FD, HERE},
    {"accept4", SYS_accept4, {LISTEN, V(&name_out), V(&name_length), 0}, {ARG(1, OUT, 2, NO), ARG(2, INOUT, 4)}, FD, HERE},
    {"getsockname", SYS_getsockname, {LISTEN, V(&name_out), V(&name_length)}, {ARG(1, OUT, 8), ARG(2, INOUT, 4)}, OK, HERE},
    {"getpeername", SYS_getpeername, {CLIENT, V(&name_out), V(&name_length)}, {ARG(1, OUT, 8), ARG(2, INOUT, 4)}, OK, HERE},
    {"getsockopt", SYS_getsockopt, {SOCK, SOL_SOCKET, SO_TYPE, V(&number), V(&option_length)}, {ARG(3, OUT, 4), ARG(4, INOUT, 4)}, OK, HERE},
    {"setsockopt", SYS_setsockopt, {SOCK, SOL_SOCKET, SO_PASSCRED, V(&zero), 4}, {ARG(3, IN, 4)}, OK, HERE},
    {"sendto", SYS_sendto, {SOCK, V(buffer), 16, MSG_DONTWAIT, 0, 0}, {ARG(1, IN, 16)}, COUNT, HERE},
    {"recvfrom", SYS_recvfrom, {SOCK, V(buffer), 16, MSG_DONTWAIT, V(&name_out), V(&name_length)},
     {ARG(1, OUT, 16), ARG(4, OUT, 8, NO), ARG(5, INOUT, 4)}, COUNT, HERE},
    {"sendmsg", SYS_sendmsg, {SOCK, V(&message), MSG_DONTWAIT},
     {ARG(1, IN, sizeof message.msg_hdr), FIELD("iov", message.msg_hdr.msg_iov, IN, sizeof message_iov), FIELD("base", message_iov[0].iov_base, IN, 16)}, COUNT, HERE},
    {"recvmsg", SYS_recvmsg, {SOCK, V(&message), MSG_DONTWAIT},
     {ARG(1, INOUT, sizeof message.msg_hdr), FIELD("iov", message.msg_hdr.msg_iov, IN, sizeof message_iov), FIELD("base", message_iov[0].iov_base, OUT, 16)}, COUNT, HERE},
    {"sendmmsg", SYS_sendmmsg, {SOCK, V(&message), 1, MSG_DONTWAIT}, {ARG(1, INOUT, sizeof message)}, COUNT, HERE},
    {"recvmmsg", SYS_recvmmsg, {SOCK, V(&message), 1, MSG_DONTWAIT, 0}, {ARG(1, INOUT, sizeof message)}, COUNT, HERE},
    /* signals, time */
    {"rt_sigaction", SYS_rt_sigaction, {SIGUSR1, V(action), V(old_action), SIGSET}, {ARG(1, IN, SIGACTION, NO), ARG(2, OUT, SIGACTION, NO)}, OK, HERE},
    {"rt_sigprocmask", SYS_rt_sigprocmask, {SIG_BLOCK, V(signals), V(old_signals), SIGSET}, {ARG(1, IN, SIGSET, NO), ARG(2, OUT, SIGSET, NO)}, OK, HERE},
    {"rt_sigpending", SYS_rt_sigpending, {V(old_signals), SIGSET}, {ARG(0, OUT, SIGSET)}, OK, HERE},
    {"rt_sigtimedwait", SYS_rt_sigtimedwait, {V(signals), V(&info), V(&no_time), SIGSET}, {ARG(0, IN, SIGSET), ARG(2, IN, sizeof no_time, NO)}, OK, HERE},
    {"sigaltstack", SYS_sigaltstack, {V(&stack), V(&old_stack)}, {ARG(0, IN, sizeof stack, NO), ARG(1, OUT, sizeof stack, NO)}, OK, HERE},
    {"nanosleep", SYS_nanosleep, {V(&instant), V(&remaining)}, {ARG(0, IN, sizeof instant), ARG(1, OUT, sizeof instant, NO)}, OK, HERE},
    {"clock_nanosleep", SYS_clock_nanosleep, {CLOCK_MONOTONIC, 0, V(&instant), V(&remaining)}, {ARG(2, IN, sizeof instant), ARG(3, OUT, sizeof instant, NO)}, OK, HERE},
    {"clock_gettime", SYS_clock_gettime, {CLOCK_MONOTONIC, V(&remaining)}, {ARG(1, OUT, sizeof remaining)}, OK, HERE},
    {"clock_getres", SYS_clock_getres, {CLOCK_MONOTONIC, V(&remaining)}, {ARG(1, OUT, sizeof remaining, NO)}, OK, HERE},
    {"gettimeofday", SYS_gettimeofday, {V(&value), V(&zone)}, {ARG(0, OUT, sizeof value, NO), ARG(1, OUT, sizeof zone, NO)}, OK, HERE},
    {"time", SYS_time, {V(&offset)}, {ARG(0, OUT, 8, NO)}, OK, HERE},
    {"times", SYS_times, {V(&ticks)}, {ARG(0, OUT, sizeof ticks, NO)}, OK, HERE},
    {"getitimer", SYS_getitimer, {ITIMER_REAL, V(&interval)}, {ARG(1, OUT, sizeof interval)}, OK, HERE},
    {"setitimer", SYS_setitimer, {ITIMER_REAL, V(&interval), V(&old_interval)}, {ARG(1, IN, sizeof interval, NO), ARG(2, OUT, sizeof interval, NO)}, OK, HERE},
    {"timer_create", SYS_timer_create, {CLOCK_MONOTONIC, 0, V(&number)}, {ARG(2, OUT, 4)}, OK, CHILD},
    /* processes */
    {"wait4", SYS_wait4, {-1, V(&number), 0, V(&usage)}, {ARG(1, OUT, 4, NO), ARG(3, OUT, sizeof usage, NO)}, OK, ZOMBIE},
    {"waitid", SYS_waitid, {0, 0, V(&info), WEXITED, V(&usage)}, {ARG(2, OUT, sizeof info, NO), ARG(4, OUT, sizeof usage, NO)}, OK, ZOMBIE},
    {"uname", SYS_uname, {V(&system_name)}, {ARG(0, OUT, sizeof system_name)}, OK, HERE},
    {"sysinfo", SYS_sysinfo, {V(&system_info)}, {ARG(0, OUT, sizeof system_info)}, OK, HERE},
    {"getrusage", SYS_getrusage, {RUSAGE_SELF, V(&usage)}, {ARG(1, OUT, sizeof usage)}, OK, HERE},
    {"getrlimit", SYS_getrlimit, {RLIMIT_NOFILE, V(&old_limit)}, {ARG(1, OUT, sizeof limit)}, OK, HERE},
    {"setrlimit", SYS_setrlimit, {RLIMIT_NOFILE, V(&limit)}, {ARG(1, IN, sizeof limit)}, OK, HERE},
    {"prlimit64", SYS_prlimit64, {0, RLIMIT_NOFILE, V(&limit), V(&old_limit)}, {ARG(2, IN, sizeof limit, NO), ARG(3, OUT, sizeof limit, NO)}, OK, HERE},
    {"getresuid", SYS_getresuid, {V(&number), V(&second_number), V(&third_number)}, {ARG(0, OUT, 4), ARG(1, OUT, 4), ARG(2, OUT, 4)}, OK, HERE},
    {"getresgid", SYS_getresgid, {V(&number), V(&second_number), V(&third_number)}, {ARG(0, OUT, 4), ARG(1, OUT, 4), ARG(2, OUT, 4)}, OK, HERE},
    {"capget", SYS_capget, {V(&capability_header), V(capabilities)}, {ARG(0, INOUT, sizeof capability_header), ARG(1, OUT, sizeof capabilities, NO)}, OK, HERE},
    {"sched_getparam", SYS_sched_getparam, {0, V(&parameters)}, {ARG(1, OUT, 4)}, OK, HERE},
    {"sched_setparam", SYS_sched_setparam, {0, V(&zero)}, {ARG(1, IN, 4)}, OK, HERE},
    {"sched_setscheduler", SYS_sched_setscheduler, {0, SCHED_OTHER, V(&zero)}, {ARG(2, IN, 4)}, OK, HERE},
    {"sched_rr_get_interval", SYS_sched_rr_get_interval, {0, V(&remaining)}, {ARG(1, OUT, sizeof remaining)}, OK, HERE},
    {"sched_getaffinity", SYS_sched_getaffinity, {0, sizeof third_set, V(third_set)}, {ARG(2, OUT, 8)}, OK, HERE},
    {"prctl-set-name", SYS_prctl, {PR_SET_NAME, V(thread_name)}, {STR(1, thread_name)}, OK, HERE},
    {"prctl-get-name", SYS_prctl, {PR_GET_NAME, V(buffer)}, {ARG(1, OUT, 16)}, OK, HERE},
    {"arch_prctl-get-fs", SYS_arch_prctl, {ARCH_GET_FS_CODE, V(buffer)}, {ARG(1, OUT, 8)}, OK, HERE},
    {"getcpu", SYS_getcpu, {V(&number), V(&second_number), 0}, {ARG(0, OUT, 4, NO), ARG(1, OUT, 4, NO)}, OK, HERE},
    {"get_robust_list", SYS_get_robust_list, {0, V(&offset), V(&second_offset)}, {ARG(1, OUT, 8), ARG(2, OUT, 8)}, OK, HERE},
    {"futex-wake", SYS_futex, {V(&zero), FUTEX_WAKE_PRIVATE, 1}, {ARG(0, IN, 4)}, COUNT, HERE},
    {"futex-wait", SYS_futex, {V(&zero), FUTEX_WAIT_PRIVATE, 1, V(&instant)}, {ARG(0, IN, 4), ARG(3, IN, sizeof instant, NO)}, OK, HERE},
    {"futex-wake-shared", SYS_futex, {V(&zero), FUTEX_WAKE, 1}, {ARG(0, IN, 4)}, COUNT, HERE},
    {"futex-cmp-requeue", SYS_futex, {V(&zero), FUTEX_CMP_REQUEUE_PRIVATE, 1, 1, V(&second_number), 0}, {ARG(0, IN, 4), ARG(4, IN, 4)}, COUNT, HERE},
    /* address space: the address is the argument */
    {"munmap", SYS_munmap, {GOOD, PAGE}, {ARG(0, IN, PAGE)}, OK, CHILD},
    {"mprotect", SYS_mprotect, {GOOD, PAGE, PROT_READ}, {ARG(0, IN, PAGE)}, OK, CHILD},
    {"madvise", SYS_madvise, {GOOD, PAGE, MADV_DONTNEED}, {ARG(0, IN, PAGE)}, OK, CHILD},
    {"msync", SYS_msync, {GOOD, PAGE, MS_ASYNC}, {ARG(0, IN, PAGE)}, OK, CHILD},
    {"mremap", SYS_mremap, {GOOD, PAGE, 2 * PAGE, MREMAP_MAYMOVE}, {ARG(0, IN, PAGE)}, OK, CHILD},
    {"mincore", SYS_mincore, {GOOD, PAGE, V(buffer)}, {ARG(0, IN, PAGE), ARG(2, OUT, 1)}, OK, CHILD},
};
