"""What each system call may add to the kernel heap: the `s` of the Biscuit thesis, until maxlive
computes it.

One table, with a reason for each class of calls. It overrides what a row declares for itself;
calls that are not in it keep that, or the default. The numbers are held against what calls really
added (`audit.py`; the highest of each is in the reason, in bytes, over guest programs, Redis and
the abuser), with room for what lives during a call only. 0 is for calls that leave nothing, and
for those that end things and must always proceed; signals that they queue are bounded by
RLIMIT_SIGPENDING.

Not covered: a table of descriptors that doubles beyond some 6,000 of them adds more than
`TABLE_BYTES` at once. That happens once a doubling, and the next call waits for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.proc.table import Call

KIB = 1 << 10
TABLE_BYTES = 96 * KIB
"""Growth of a table of descriptors or regions; 77,336 and 55,056 were seen."""

_CLASSES: tuple[tuple[int, str, str], ...] = (
    (
        128 * KIB,
        "a descriptor's table grows by up to TABLE_BYTES; the object itself took 3,300 at most",
        "socket socketpair eventfd eventfd2 pipe pipe2 epoll_create epoll_create1 accept accept4"
        " dup dup2 dup3 fcntl memfd_create signalfd signalfd4 timerfd_create inotify_init"
        " inotify_init1 pidfd_open",
    ),
    (
        192 * KIB,
        "the same, and names, inodes and a directory's listing on the way: 75,560",
        "open openat openat2 creat getdents64",
    ),
    (
        64 * KIB,
        "lists of regions grow by an eighth: 55,056 at 50,000 regions",
        "mmap munmap mprotect mremap brk madvise mlock munlock",
    ),
    (
        96 * KIB,
        "names and inodes that a walk brings into the cache: 5,264; a directory's listing: 52,152",
        "stat lstat newfstatat statx access faccessat faccessat2 readlink readlinkat mkdir mkdirat"
        " mknod mknodat symlink symlinkat link linkat unlink unlinkat rmdir rename renameat"
        " renameat2 chdir chmod fchmodat truncate utimensat statfs",
    ),
    (
        256 * KIB,
        "a process, its space and its copies of tables: 16,720; descriptors are reserved for by"
        " their number (clone.py), regions are 16 bytes each",
        "clone clone3 fork vfork",
    ),
    (192 * KIB, "a new space and its regions, and the names walked: 10,760", "execve execveat"),
    (
        72 * KIB,
        "64 KiB into a pipe or a socket: 9,416; longer writes reserve more at once (files.py)",
        "write pwrite64 writev pwritev pwritev2 sendto sendmsg sendmmsg splice tee vmsplice"
        " sendfile copy_file_range",
    ),
    (
        32 * KIB,
        "descriptors of the pages that are read: 3,152; descriptors received: 253 of them",
        "read pread64 readv preadv preadv2 recvfrom recvmsg recvmmsg",
    ),
    (24 * KIB, "a connection and its buffers' heads: 7,896", "connect bind listen"),
    (
        8 * KIB,
        "a timer, an alarm or a wait's entry: 744",
        "futex timer_create timer_settime"
        " setitimer nanosleep clock_nanosleep poll ppoll select pselect6 epoll_wait epoll_pwait"
        " epoll_pwait2 epoll_ctl pause rt_sigsuspend rt_sigaction rt_sigtimedwait wait4 waitid",
    ),
)

BOUNDS: dict[str, tuple[int, str]] = {
    name: (bound, reason) for bound, reason, names in _CLASSES for name in names.split()
}
"""Bytes and the reason, by the name of the call."""


def apply(rows: list[Call | None]) -> None:
    """Give every row of the table that is named here its bound."""
    for row in rows:
        if row is not None and row.name in BOUNDS:
            row.bound = BOUNDS[row.name][0]
