/* Waiting, cloning, pidfds, and reaching into other processes. */
#include "corners.h"

#include <linux/futex.h>
#include <linux/kcmp.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <sys/uio.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

static void waiting(void)
{
    siginfo_t info;
    int status = 0;
    pid_t child;

    TELL(SYS_wait4, -1, &status, 0, NULL);
    TELL(SYS_wait4, NO_SUCH_PID, &status, 0, NULL);
    TELL(SYS_wait4, 1, &status, 0, NULL);
    TELL(SYS_wait4, 0x80000000, &status, 0, NULL);
    TELL(SYS_wait4, -1, &status, 0x10, NULL);
    TELL(SYS_waitid, P_ALL, 0, &info, 0, NULL);
    TELL(SYS_waitid, P_ALL, 0, &info, WNOHANG, NULL);
    TELL(SYS_waitid, P_ALL, 0, &info, WEXITED | 0x10, NULL);
    TELL(SYS_waitid, P_ALL, 0, &info, WEXITED, NULL);
    TELL(SYS_waitid, P_PID, 0, &info, WEXITED, NULL);
    TELL(SYS_waitid, P_PID, -1, &info, WEXITED, NULL);
    TELL(SYS_waitid, P_PGID, -1, &info, WEXITED, NULL);
    TELL(SYS_waitid, P_PIDFD, -1, &info, WEXITED, NULL);
    TELL(SYS_waitid, P_PIDFD, 1, &info, WEXITED, NULL);
    TELL(SYS_waitid, P_PIDFD, 999, &info, WEXITED, NULL);
    TELL(SYS_waitid, 9, 0, &info, WEXITED, NULL);
    child = begin_sleeper();
    TELL(SYS_wait4, child, &status, WNOHANG, NULL);
    info.si_pid = 5;
    TELL(SYS_waitid, P_PID, child, &info, WEXITED | WNOHANG, NULL);
    SHOW(info.si_pid);
    TELL(SYS_wait4, child, &status, WNOHANG | __WCLONE, NULL);
    TELL(SYS_wait4, 0, &status, WNOHANG, NULL);
    TELL(SYS_wait4, -getpgrp(), &status, WNOHANG, NULL);
    kill(child, SIGSTOP);
    TELL(SYS_waitid, P_PID, child, &info, WSTOPPED | WNOWAIT, NULL);
    SHOW(info.si_code);
    SHOW(info.si_status);
    TRY(SYS_wait4, child, &status, WUNTRACED, NULL);
    SHOW(status);
    TELL(SYS_wait4, child, &status, WUNTRACED | WNOHANG, NULL);
    kill(child, SIGCONT);
    TRY(SYS_wait4, child, &status, WCONTINUED, NULL);
    SHOW(status);
    kill(child, SIGKILL);
    TELL(SYS_waitid, P_PID, child, BAD, WEXITED | WNOWAIT, NULL);
    TELL(SYS_waitid, P_ALL, 0, &info, WEXITED | WNOWAIT, NULL);
    SHOW(info.si_code);
    TELL(SYS_wait4, child, BAD, 0, NULL);
    TELL(SYS_wait4, child, &status, 0, NULL);
}

static void pidfds(void)
{
    siginfo_t info;
    int fd, same, pipe_ends[2];
    pid_t child = begin_sleeper();
    struct pollfd poll_for;

    TELL(SYS_pidfd_open, NO_SUCH_PID, 0);
    TELL(SYS_pidfd_open, 0, 0);
    TELL(SYS_pidfd_open, -1, 0);
    TELL(SYS_pidfd_open, child, 1);
    TELL(SYS_pidfd_open, child, O_APPEND);
    fd = (int)syscall(SYS_pidfd_open, child, 0);
    SHOW(fcntl(fd, F_GETFD));
    SHOW(fcntl(fd, F_GETFL) & O_ACCMODE);
    TELL(SYS_pidfd_send_signal, fd, 0, NULL, 0);
    TELL(SYS_pidfd_send_signal, fd, 65, NULL, 0);
    TELL(SYS_pidfd_send_signal, fd, -1, NULL, 0);
    TELL(SYS_pidfd_send_signal, fd, 0, NULL, 1u << 30);
    TELL(SYS_pidfd_send_signal, 1, 0, NULL, 0);
    TELL(SYS_pidfd_send_signal, 999, 0, NULL, 0);
    TELL(SYS_pidfd_send_signal, fd, 0, BAD, 0);
    memset(&info, 0, sizeof info);
    info.si_signo = SIGUSR1;
    TELL(SYS_pidfd_send_signal, fd, SIGUSR2, &info, 0);
    info.si_code = SI_USER;
    TELL(SYS_pidfd_send_signal, fd, SIGUSR1, &info, 0);
    TELL(SYS_pidfd_getfd, fd, 1, 1);
    TELL(SYS_pidfd_getfd, fd, 999, 0);
    TELL(SYS_pidfd_getfd, 1, 1, 0);
    if (pipe(pipe_ends))
        return;
    same = (int)syscall(SYS_pidfd_getfd, fd, 1, 0);
    SHOW(same > 0 && fcntl(same, F_GETFD) == FD_CLOEXEC);
    TELL(SYS_kcmp, getpid(), child, KCMP_FILE, same, 1);
    SHOW(syscall(SYS_kcmp, getpid(), child, KCMP_FILES, 0, 0) > 0);
    TELL(SYS_kcmp, getpid(), getpid(), KCMP_FILES, 0, 0);
    TELL(SYS_kcmp, getpid(), getpid(), KCMP_VM, 0, 0);
    TELL(SYS_kcmp, getpid(), getpid(), KCMP_FILE, 1, 999);
    TELL(SYS_kcmp, getpid(), getpid(), 99, 0, 0);
    TELL(SYS_kcmp, getpid(), NO_SUCH_PID, KCMP_VM, 0, 0);
    close(same);
    TELL(SYS_read, fd, &info, 4);
    poll_for = (struct pollfd){fd, POLLIN, 0};
    TELL(SYS_poll, &poll_for, 1, 0);
    APART { become_nobody(); TELL(SYS_pidfd_send_signal, fd, 0, NULL, 0); TELL(SYS_pidfd_getfd, fd, 1, 0); TRY(SYS_pidfd_open, child, 0); }
    TELL(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
    TELL(SYS_poll, &poll_for, 1, 5000);
    SHOW(poll_for.revents);
    TELL(SYS_pidfd_open, child, 0);
    TELL(SYS_waitid, P_PIDFD, fd, &info, WEXITED, NULL);
    SHOW(info.si_pid == child);
    SHOW(info.si_status);
    TELL(SYS_waitid, P_PIDFD, fd, &info, WEXITED, NULL);
    TELL(SYS_pidfd_send_signal, fd, 0, NULL, 0);
    TELL(SYS_pidfd_open, child, 0);
    close(fd);
}

static void cloning(void)
{
    struct clone_args arguments;
    int pidfd = -1, tid = 0;
    siginfo_t info;
    long child;

    memset(&arguments, 0, sizeof arguments);
    TELL(SYS_clone3, &arguments, 63);
    TELL(SYS_clone3, &arguments, 5000);
    TELL(SYS_clone3, BAD, 64);
    arguments.flags = CLONE_THREAD;
    TELL(SYS_clone3, &arguments, 88);
    arguments.flags = CLONE_SIGHAND;
    TELL(SYS_clone3, &arguments, 88);
    arguments.flags = 1ull << 50;
    TELL(SYS_clone3, &arguments, 88);
    arguments.flags = 17;
    TELL(SYS_clone3, &arguments, 88);
    arguments.flags = 0;
    arguments.exit_signal = 99;
    TELL(SYS_clone3, &arguments, 88);
    arguments.exit_signal = SIGCHLD;
    arguments.stack = 4096;
    TELL(SYS_clone3, &arguments, 88);
    arguments.stack = 0;
    arguments.stack_size = 4096;
    TELL(SYS_clone3, &arguments, 88);
    arguments.stack_size = 0;
    arguments.flags = CLONE_FS | CLONE_NEWNS;
    TELL(SYS_clone3, &arguments, 88);
    arguments.flags = CLONE_PIDFD | CLONE_PARENT_SETTID | CLONE_CLEAR_SIGHAND;
    arguments.pidfd = (uintptr_t)&pidfd;
    arguments.parent_tid = (uintptr_t)&tid;
    signal(SIGUSR1, SIG_IGN);
    fflush(stdout);
    child = syscall(SYS_clone3, &arguments, 88);
    if (child == 0) {
        struct sigaction action;

        sigaction(SIGUSR1, NULL, &action);
        _exit(action.sa_handler == SIG_IGN ? 7 : 7);
    }
    SHOW(child > 0 && child == tid);
    SHOW(pidfd > 2);
    TELL(SYS_waitid, P_PIDFD, pidfd, &info, WEXITED, NULL);
    SHOW(info.si_status);
    close(pidfd);
    TELL(SYS_clone, CLONE_THREAD | SIGCHLD, 0, NULL, NULL, 0);
    TELL(SYS_clone, CLONE_SIGHAND | SIGCHLD, 0, NULL, NULL, 0);
    TELL(SYS_clone, CLONE_FS | CLONE_NEWNS | SIGCHLD, 0, NULL, NULL, 0);
    pidfd = -1;
    child = syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, &pidfd, NULL, 0);
    if (child == 0)
        _exit(3);
    SHOW(pidfd > 2);
    TELL(SYS_waitid, P_PIDFD, pidfd, &info, WEXITED, NULL);
    SHOW(info.si_status);
    close(pidfd);
    signal(SIGUSR1, SIG_DFL);
}

static void memory_of_others(void)
{
    char mine[16] = "", theirs[16] = "secret";
    struct iovec local = {mine, 7}, remote = {theirs, 7}, bad = {BAD, 7}, short_one = {mine, 3};
    struct iovec parts[2] = {{theirs, 7}, {BAD, 7}}, room = {mine, 14};
    pid_t child = begin_sleeper();

    TELL(SYS_process_vm_readv, child, &local, 1, &remote, 1, 0);
    SHOW(strcmp(mine, "secret"));
    TELL(SYS_process_vm_readv, child, &local, 1, &remote, 1, 1);
    TELL(SYS_process_vm_readv, NO_SUCH_PID, &local, 1, &remote, 1, 0);
    TELL(SYS_process_vm_readv, child, &local, 1, &bad, 1, 0);
    TELL(SYS_process_vm_readv, child, &bad, 1, &remote, 1, 0);
    TELL(SYS_process_vm_readv, child, BAD, 1, &remote, 1, 0);
    TELL(SYS_process_vm_readv, child, &local, 1, BAD, 1, 0);
    TELL(SYS_process_vm_readv, child, &short_one, 1, &remote, 1, 0);
    TELL(SYS_process_vm_readv, child, &room, 1, parts, 2, 0);
    TELL(SYS_process_vm_readv, child, &local, 1, &remote, 0, 0);
    TELL(SYS_process_vm_readv, child, &local, 1, &remote, 1025, 0);
    TELL(SYS_process_vm_writev, child, &local, 1, &remote, 1, 0);
    TELL(SYS_process_vm_writev, child, &local, 1, &bad, 1, 0);
    TELL(SYS_process_vm_writev, child, &bad, 1, &remote, 1, 0);
    APART { become_nobody(); TELL(SYS_process_vm_readv, child, &local, 1, &remote, 1, 0);
            TELL(SYS_process_vm_readv, getpid(), &local, 1, &remote, 1, 0); }
    end_sleeper(child);
}

static void threads_and_files(void)
{
    struct robust_list_head *head = NULL;
    size_t size = 0;
    int fds[3];

    TELL(SYS_set_robust_list, NULL, 23);
    TELL(SYS_get_robust_list, 0, &head, &size);
    SHOW(size);
    TELL(SYS_get_robust_list, NO_SUCH_PID, &head, &size);
    TELL(SYS_get_robust_list, -1, &head, &size);
    TELL(SYS_get_robust_list, 0, BAD, &size);
    TELL(SYS_get_robust_list, 0, &head, BAD);
    APART { become_nobody(); TELL(SYS_get_robust_list, getppid(), &head, &size); }
    APART {
        for (int i = 0; i < 3; i++)
            fds[i] = dup(1);
        TELL(SYS_close_range, 5, 4, 0);
        TELL(SYS_close_range, fds[0], fds[2], 8);
        TELL(SYS_close_range, fds[0], fds[1], 4);
        SHOW(fcntl(fds[0], F_GETFD));
        TELL(SYS_close_range, fds[0], fds[1], 0);
        SHOW(fcntl(fds[0], F_GETFD));
        SHOW(fcntl(fds[2], F_GETFD));
        TELL(SYS_close_range, fds[2], -1u, 2);
        SHOW(fcntl(fds[2], F_GETFD));
        TELL(SYS_close_range, 500, -1u, 6);
    }
    TELL(SYS_tgkill, getpid(), getpid(), 0);
    TELL(SYS_tgkill, 0, getpid(), 0);
    TELL(SYS_tgkill, getpid(), 0, 0);
    TELL(SYS_tgkill, getpid(), 1, 0);
    TELL(SYS_tgkill, getpid(), NO_SUCH_PID, 0);
    TELL(SYS_tkill, -1, 0);
    TELL(SYS_tkill, NO_SUCH_PID, 0);
    TELL(SYS_tkill, getpid(), 65);
}

void corners_process(void)
{
    waiting();
    pidfds();
    cloning();
    memory_of_others();
    threads_and_files();
}
