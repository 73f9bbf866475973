"""Processes by descriptor: pidfd_open, pidfd_send_signal, pidfd_getfd; and kcmp."""

from __future__ import annotations

from errno import EBADF, EINVAL, EPERM, ESRCH
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc.abi import O_NONBLOCK, SI_TKILL, s32
from services.proc.calls.signals import read_siginfo, signal_number
from services.proc.files.pidfd import PidFile
from services.proc.procfs.access import may_trace
from services.proc.signals import send
from services.proc.table import PARTIAL, syscall

if TYPE_CHECKING:
    from services.proc.descriptors import OpenFile
    from services.proc.task import Process, Thread


@syscall(434, "pidfd_open")
def sys_pidfd_open(t: Thread, pid: int, flags: int) -> int:
    """pidfd_open(2)."""
    number, flags = s32(pid), flags & 0xFFFF_FFFF
    if flags & ~O_NONBLOCK or number <= 0:
        raise PosixError(EINVAL)
    process = t.kernel.processes.get(number)
    if process is None:
        raise PosixError(EINVAL if number in t.kernel.threads else ESRCH)
    return t.install(PidFile(process, flags), True)


def pid_file(t: Thread, fd: int) -> PidFile:
    """The pidfd behind a descriptor, or EBADF."""
    file = t.file(fd)
    if not isinstance(file, PidFile):
        raise PosixError(EBADF)
    return file


@syscall(424, "pidfd_send_signal")
async def sys_pidfd_send_signal(t: Thread, fd: int, signal: int, info: int, flags: int) -> int:
    """pidfd_send_signal(2)."""
    if flags & 0xFFFF_FFFF:
        raise PosixError(EINVAL)
    target = pid_file(t, fd).process
    if info:
        sent = await read_siginfo(t, signal, info, same=True)
        if target is not t.process and (sent.code >= 0 or sent.code == SI_TKILL):
            raise PosixError(EPERM)
    else:
        sent = send.user_info(signal_number(signal), t.process)
    target = pid_file(t, fd).target()
    if not send.may_signal(t.process, target, sent.signal):
        raise PosixError(EPERM)
    if sent.signal:
        send.to_process(target, sent)
    return 0


@syscall(438, "pidfd_getfd")
def sys_pidfd_getfd(t: Thread, pidfd: int, wanted: int, flags: int) -> int:
    """pidfd_getfd(2)."""
    if flags & 0xFFFF_FFFF:
        raise PosixError(EINVAL)
    target = pid_file(t, pidfd).target()
    if not may_trace(t.process, target):
        raise PosixError(EPERM)
    if target.descriptors is None:
        raise PosixError(ESRCH)
    return t.install(target.descriptors.get(wanted), True)


KCMP_FILE, KCMP_VM, KCMP_FILES, KCMP_FS, KCMP_SIGHAND, KCMP_IO, KCMP_SYSVSEM = range(7)


def _described(process: Process, fd: int) -> OpenFile:
    if process.descriptors is None:
        raise PosixError(EBADF)
    return process.descriptors.get(fd)


@syscall(312, "kcmp", support=PARTIAL, note="no epoll targets, no System V semaphores")
def sys_kcmp(t: Thread, first: int, second: int, kind: int, one: int, two: int) -> int:
    """kcmp(2): 0 where both share the thing, else 1 or 2, which orders them."""
    threads, kind = t.kernel.threads, s32(kind)
    pair = threads.get(s32(first)), threads.get(s32(second))
    if pair[0] is None or pair[1] is None:
        raise PosixError(ESRCH)
    a, b = pair[0].process, pair[1].process
    if not (may_trace(t.process, a) and may_trace(t.process, b)):
        raise PosixError(EPERM)
    things: dict[int, tuple[object, object]] = {
        KCMP_VM: (a.space, b.space),
        KCMP_FILES: (a.descriptors, b.descriptors),
        KCMP_FS: (a.directories, b.directories),
        KCMP_SIGHAND: (a.actions, b.actions),
        KCMP_IO: (pair[0], pair[1]),
    }
    if kind == KCMP_FILE:
        things[kind] = _described(a, one), _described(b, two)
    if kind not in things:
        raise PosixError(EINVAL)
    left, right = map(id, things[kind])
    return 0 if left == right else 1 if left < right else 2
