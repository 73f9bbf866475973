"""Does every call print as strace prints it, whatever its arguments and its memory hold?"""

from __future__ import annotations

import random
import struct

import pytest

from services.proc.strace import SIGNATURES

from .oracle import ARENA, Arena, Call, check, known_calls, needs_strace, our_line, strace_lines

pytestmark = needs_strace

PLAINER = ("shmctl", "semctl", "msgctl", "socket", "socketpair", "recvmmsg", "prctl")
WORD = (1 << 64) - 1


def _arena() -> tuple[Arena, int, int, int]:
    arena = Arena()
    longs = arena.put(struct.pack("<16Q", *range(1, 17)) + b"abcdefgh" * 8)
    ints = arena.put(struct.pack("<40I", *range(1, 41)))
    return arena, longs, ints, arena.put(bytes(512))


@pytest.mark.parametrize("result", [0, 1, 8, -1, -4])
def test_every_call_with_pointers_numbers_and_nonsense(result: int) -> None:
    arena, longs, ints, zeros = _arena()
    for words in (
        (longs, ints) * 3,
        (3, ints, 5, longs, 7, longs),
        (zeros,) * 6,
        (0,) * 6,
        (WORD,) * 6,
        (1, 2, 3, 4, 5, 6),
        (0x1_0000_0003,) * 6,
    ):
        check(arena, result, *[(name, *words) for name in known_calls(*PLAINER)])


def test_every_listed_call_has_a_signature() -> None:
    names = LISTED.split()
    assert [name for name in names if name not in SIGNATURES] == []


def _word(chance: random.Random) -> int:
    """Give a word that is likely to mean something: a pointer, a small number, a few flags."""
    kind = chance.random()
    if kind < 0.4:
        return ARENA + 8 * chance.randrange(500)
    if kind < 0.75:
        return chance.choice([0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 10, 16, 20, 24, 48, 56, 64, 128])
    if kind < 0.85:
        return 1 << chance.randrange(33) | 1 << chance.randrange(33)
    if kind < 0.95:
        return chance.getrandbits(chance.choice([32, 64]))
    return WORD - chance.randrange(110)


@pytest.mark.parametrize("seed", range(4))
def test_hardly_a_line_differs_over_random_memory(seed: int) -> None:
    chance = random.Random(seed)
    arena = Arena()
    arena.put(struct.pack("<500Q", *[_word(chance) for _ in range(500)]))
    result = chance.choice([0, 1, 3, 20, 64, -22, -514])
    calls: list[Call] = [
        (name, *[_word(chance) for _ in range(6)])
        for name in known_calls(*PLAINER)
        for _ in range(3)
    ]
    expected = strace_lines(arena, result, calls)
    ours = [our_line(arena, result, call) for call in calls]
    differing = [pair for pair in zip(ours, expected, strict=True) if pair[0] != pair[1]]
    assert len(differing) <= len(calls) // 200, differing


LISTED = """
    read write open close stat fstat lstat poll lseek mmap mprotect munmap brk rt_sigaction
    rt_sigprocmask rt_sigreturn ioctl pread64 pwrite64 readv writev access pipe select sched_yield
    mremap msync mincore madvise dup dup2 pause nanosleep getitimer alarm setitimer getpid
    sendfile socket connect accept sendto recvfrom sendmsg recvmsg shutdown bind listen
    getsockname getpeername socketpair setsockopt getsockopt clone fork vfork execve exit wait4
    kill uname fcntl flock fsync fdatasync truncate ftruncate getdents getdents64 getcwd chdir
    fchdir rename mkdir rmdir creat link unlink symlink readlink chmod fchmod chown fchown lchown
    umask gettimeofday getrlimit getrusage sysinfo times getuid getgid setuid setgid geteuid
    getegid setpgid getppid getpgrp setsid setreuid setregid getgroups setgroups setresuid
    getresuid setresgid getresgid getpgid setfsuid setfsgid getsid capget capset rt_sigpending
    rt_sigtimedwait rt_sigqueueinfo rt_sigsuspend sigaltstack utime mknod personality statfs
    fstatfs sysfs getpriority setpriority sched_setparam sched_getparam sched_setscheduler
    sched_getscheduler sched_get_priority_max sched_get_priority_min mlock munlock mlockall
    munlockall prctl arch_prctl setrlimit chroot sync mount umount2 sethostname reboot gettid
    readahead setxattr lsetxattr fsetxattr getxattr lgetxattr fgetxattr listxattr llistxattr
    flistxattr removexattr lremovexattr fremovexattr tkill time futex sched_setaffinity
    sched_getaffinity epoll_create set_tid_address fadvise64 timer_create timer_settime
    timer_gettime timer_getoverrun timer_delete clock_settime clock_gettime clock_getres
    clock_nanosleep exit_group epoll_wait epoll_ctl tgkill utimes waitid inotify_init
    inotify_add_watch inotify_rm_watch openat mkdirat mknodat fchownat futimesat newfstatat
    unlinkat renameat linkat symlinkat readlinkat fchmodat faccessat pselect6 ppoll unshare
    set_robust_list get_robust_list splice tee sync_file_range vmsplice utimensat epoll_pwait
    signalfd timerfd_create eventfd fallocate timerfd_settime timerfd_gettime accept4 signalfd4
    eventfd2 epoll_create1 dup3 pipe2 inotify_init1 preadv pwritev prlimit64 recvmmsg sendmmsg
    getcpu sched_setattr sched_getattr renameat2 seccomp getrandom memfd_create execveat
    membarrier copy_file_range preadv2 pwritev2 statx rseq clone3 close_range openat2 faccessat2
    epoll_pwait2 process_vm_readv
"""
