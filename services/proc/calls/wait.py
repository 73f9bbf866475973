"""How processes end, and who is told: exit, wait4, waitid."""

from __future__ import annotations

import struct
from errno import EAGAIN, ECHILD, EINVAL, ESRCH
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc import lifecycle
from services.proc.abi import O_NONBLOCK, SIGCHLD, s32
from services.proc.calls.pidfd import pid_file
from services.proc.signals.deliver import pack_info
from services.proc.table import syscall
from services.proc.usage import Usage, total

if TYPE_CHECKING:
    from collections.abc import Iterable

    from services.proc.task import Process, Thread

WNOHANG, WUNTRACED, WEXITED, WCONTINUED, WNOWAIT = 1, 2, 4, 8, 0x01000000
WNOTHREAD, WALL, WCLONE = 0x20000000, 0x40000000, 0x80000000
P_ALL, P_PID, P_PGID, P_PIDFD = 0, 1, 2, 3
CHILD_INFO_BYTES = 28
"""siginfo_t up to si_status: all that waitid(2) writes."""


@syscall(60, "exit", bound=0, deferred=True)
async def sys_exit(t: Thread, status: int) -> None:
    """_exit(2) of one thread; the last one ends the process with its status."""
    if len(t.process.threads) == 1:
        lifecycle.exit_group(t.process, (status & 0xFF) << 8)
    lifecycle.kill_thread(t)


@syscall(231, "exit_group", bound=0, deferred=True)
async def sys_exit_group(t: Thread, status: int) -> None:
    """exit_group(2)."""
    lifecycle.exit_group(t.process, (status & 0xFF) << 8)


def _select(t: Thread, kind: int, number: int, options: int) -> Iterable[Process]:
    children = list(t.process.children.values())
    if kind == P_PID:
        children = [c for c in children if c.pid == number]
    elif kind == P_PGID:
        children = [c for c in children if c.pgid == (number or t.process.pgid)]
    if not options & WALL:
        wants_clone = bool(options & WCLONE)
        children = [c for c in children if (c.exit_signal != SIGCHLD) == wants_clone]
    return children


def _harvest(candidates: Iterable[Process], options: int) -> tuple[Process, int] | None:
    """A child with something to tell, and its wait status."""
    for child in candidates:
        if child.zombie:
            if options & WEXITED:
                return child, child.exit_status
        elif child.stop_report is not None:
            wanted = WCONTINUED if child.stop_report == 0xFFFF else WUNTRACED
            if options & wanted:
                return child, child.stop_report
    return None


async def _wait(t: Thread, kind: int, number: int, options: int) -> tuple[Process, int] | None:
    """Wait as asked; None for WNOHANG with nothing to tell; ECHILD."""
    while True:
        candidates = list(_select(t, kind, number, options))
        if not candidates:
            raise PosixError(ECHILD)
        found = _harvest(candidates, options)
        if found is not None or options & WNOHANG:
            return found
        await t.wait(t.process.child_wait)


def _add_reaped(parent: Process, child: Process) -> None:
    """The usage of a child that was waited for, and of its own, counts with its parent's."""
    reaped = parent.reaped
    if reaped is None:
        reaped = parent.reaped = Usage()
    for usage in (child.ended, child.reaped):
        if usage is not None:
            reaped.add(usage)
    reaped.peak_bytes = max(reaped.peak_bytes, child.peak_bytes)


def _pack_usage(child: Process) -> bytes:
    """What wait4(2) tells: the child and those that it had waited for."""
    usage = total(child.usage(), child.reaped)
    return usage.pack(max(child.peak_bytes, usage.peak_bytes))


def _consume(t: Thread, child: Process, options: int) -> None:
    if options & WNOWAIT:
        return
    if child.zombie:
        _add_reaped(t.process, child)
        lifecycle.reap(child)
    else:
        child.stop_report = None


@syscall(61, "wait4", bound=32 << 10)
async def sys_wait4(t: Thread, pid: int, status: int, options: int, usage: int) -> int:
    """wait4(2)."""
    number, options = s32(pid), options & 0xFFFF_FFFF
    if options & ~(WNOHANG | WUNTRACED | WCONTINUED | WNOTHREAD | WALL | WCLONE):
        raise PosixError(EINVAL)
    if number == -(1 << 31):
        raise PosixError(ESRCH)
    if number == -1:
        kind = P_ALL
    elif number > 0:
        kind = P_PID
    else:
        kind, number = P_PGID, -number
    found = await _wait(t, kind, number, options | WEXITED)
    if found is None:
        return 0
    child, value = found
    image = _pack_usage(child) if usage else b""
    _consume(t, child, options)  # it is gone even where the answer cannot be delivered
    if status:
        await t.copyout(status, struct.pack("<I", value))
    if usage:
        await t.copyout(usage, image)
    return child.pid


@syscall(247, "waitid", bound=32 << 10)
async def sys_waitid(t: Thread, kind: int, number: int, info: int, options: int, usage: int) -> int:
    """waitid(2)."""
    kind, number, options = s32(kind), s32(number), options & 0xFFFF_FFFF
    known = WNOHANG | WUNTRACED | WEXITED | WCONTINUED | WNOWAIT | WNOTHREAD | WALL | WCLONE
    if options & ~known or not options & (WUNTRACED | WEXITED | WCONTINUED):
        raise PosixError(EINVAL)
    if not P_ALL <= kind <= P_PIDFD or (kind == P_PID and number <= 0):
        raise PosixError(EINVAL)
    if kind in (P_PGID, P_PIDFD) and number < 0:
        raise PosixError(EINVAL)
    may_wait = options
    if kind == P_PIDFD:
        file = pid_file(t, number)
        kind, number = P_PID, file.process.pid if file.process.parent is t.process else 0
        if file.flags & O_NONBLOCK:
            may_wait |= WNOHANG
    found = await _wait(t, kind, number, may_wait)
    if found is None and not options & WNOHANG:
        raise PosixError(EAGAIN)
    shown, image = bytes(24), b""
    if found is not None:
        shown, image = pack_info(lifecycle.child_info(*found)), _pack_usage(found[0])
        _consume(t, found[0], options)
    if usage and found is not None:
        await t.copyout(usage, image)
    if info:
        await t.copyout(info, shown[:CHILD_INFO_BYTES])
    return 0
