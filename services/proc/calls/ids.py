"""Who a process is among others: pids, groups, sessions."""

from __future__ import annotations

from errno import EACCES, EINVAL, EPERM, ESRCH
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc.abi import s32
from services.proc.table import syscall
from services.proc.task import Session

if TYPE_CHECKING:
    from services.proc.task import Process, Thread


@syscall(39, "getpid", bound=0)
def sys_getpid(t: Thread) -> int:
    """getpid(2)."""
    return t.process.pid


@syscall(186, "gettid", bound=0)
def sys_gettid(t: Thread) -> int:
    """gettid(2)."""
    return t.tid


@syscall(110, "getppid", bound=0)
def sys_getppid(t: Thread) -> int:
    """getppid(2)."""
    parent = t.process.parent
    return parent.pid if parent else 0


def find_thread(t: Thread, pid: int) -> Thread:
    """A thread by tid (0: the caller), EINVAL, ESRCH."""
    number = s32(pid)
    if number < 0:
        raise PosixError(EINVAL)
    thread = t.kernel.threads.get(number) if number else t
    if thread is None:
        raise PosixError(ESRCH)
    return thread


def same_owner(t: Thread, target: Process) -> bool:
    """Whether the caller acts as the user that `target` acts for, or belongs to."""
    mine, theirs = t.process.credentials, target.credentials
    return mine.euid in (theirs.euid, theirs.ruid)


def find(t: Thread, pid: int) -> Process:
    """A process by pid (0: the caller's), or ESRCH."""
    number = s32(pid)
    if number == 0:
        return t.process
    process = t.kernel.processes.get(number)
    if process is None:
        thread = t.kernel.threads.get(number)
        if thread is None:
            raise PosixError(ESRCH)
        process = thread.process
    return process


@syscall(111, "getpgrp", bound=0)
def sys_getpgrp(t: Thread) -> int:
    """getpgrp(2)."""
    return t.process.pgid


@syscall(121, "getpgid", bound=0)
def sys_getpgid(t: Thread, pid: int) -> int:
    """getpgid(2)."""
    return find(t, pid).pgid


@syscall(124, "getsid", bound=0)
def sys_getsid(t: Thread, pid: int) -> int:
    """getsid(2)."""
    return find(t, pid).session.sid


@syscall(109, "setpgid")
def sys_setpgid(t: Thread, pid: int, pgid: int) -> int:
    """setpgid(2)."""
    me, group = t.process, s32(pgid) or s32(pid)
    if group < 0:
        raise PosixError(EINVAL)
    target = find(t, pid)
    if target is not me and target.parent is not me:
        raise PosixError(ESRCH)
    if target is not me:
        if target.execed:
            raise PosixError(EACCES)
        if target.session is not me.session:
            raise PosixError(EPERM)
    if target.session.sid == target.pid:
        raise PosixError(EPERM)
    group = group or target.pid
    if group != target.pid and not any(
        p.session is me.session for p in t.kernel.processes.values() if p.pgid == group
    ):
        raise PosixError(EPERM)
    target.pgid = group
    return 0


@syscall(112, "setsid")
def sys_setsid(t: Thread) -> int:
    """setsid(2)."""
    process = t.process
    if any(p.pgid == process.pid for p in t.kernel.processes.values()):
        raise PosixError(EPERM)
    process.session = Session(process.pid)
    process.pgid = process.pid
    return process.pid
