"""epoll_create(2), epoll_ctl(2), epoll_wait(2) and their variants.

Unlike poll(2), epoll_wait is never restarted after a signal or a stop (signal(7)).
"""

from __future__ import annotations

import struct
from errno import EFAULT, EINVAL
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc.abi import O_CLOEXEC, s32
from services.proc.calls.files import install
from services.proc.calls.poll import mask_at, time_at
from services.proc.descriptors import drop
from services.proc.files.epoll import EPOLLEXCLUSIVE, EPOLLWAKEUP, EpollFile, pollable
from services.proc.files.readiness import NS_PER_MS, deadline_after, restore_mask, swap_mask
from services.proc.park import Interrupted
from services.proc.signals.core import RESTART_NEVER
from services.proc.table import syscall

if TYPE_CHECKING:
    from services.proc.files.epoll import Event
    from services.proc.task import Thread

CTL_ADD, CTL_DEL, CTL_MOD = 1, 2, 3
EVENT_BYTES = 12
MAX_EVENTS = 0x7FFF_FFFF // EVENT_BYTES
_EVENT = struct.Struct("<IQ")
"""struct epoll_event, packed on x86-64."""


@syscall(291, "epoll_create1")
async def sys_epoll_create1(t: Thread, flags: int) -> int:
    """epoll_create1(2)."""
    flags &= 0xFFFF_FFFF
    if flags & ~O_CLOEXEC:
        raise PosixError(EINVAL)
    return await install(t, EpollFile(), bool(flags & O_CLOEXEC))


@syscall(213, "epoll_create")
async def sys_epoll_create(t: Thread, size: int) -> int:
    """epoll_create(2): the size is a hint that must be positive."""
    if s32(size) <= 0:
        raise PosixError(EINVAL)
    return await install(t, EpollFile(), False)


def _instance(t: Thread, fd: int) -> EpollFile:
    file = t.file(fd)
    if type(file) is not EpollFile:
        raise PosixError(EINVAL)
    return file


@syscall(233, "epoll_ctl")
async def sys_epoll_ctl(t: Thread, epfd: int, operation: int, fd: int, event: int) -> int:
    """epoll_ctl(2)."""
    operation = s32(operation)
    events = data = 0
    if operation != CTL_DEL:
        events, data = _EVENT.unpack(await t.copyin(event, EVENT_BYTES))
    epoll, file = t.file(epfd), t.file(fd)
    number = fd & 0xFFFF_FFFF
    pollable(file)
    if file is epoll or type(epoll) is not EpollFile:
        raise PosixError(EINVAL)
    events &= ~EPOLLWAKEUP
    if file.remote and operation != CTL_DEL:
        await file.refresh(t)
    if operation == CTL_ADD:
        epoll.add(file, number, events, data)
    elif operation == CTL_MOD:
        if events & EPOLLEXCLUSIVE:
            raise PosixError(EINVAL)
        epoll.change(file, number, events, data)
    elif operation == CTL_DEL:
        epoll.remove(epoll.item(file, number))
    else:
        raise PosixError(EINVAL)
    if file.remote:
        file.watch(t.kernel)
    return 0


async def _wait(t: Thread, epfd: int, where: int, limit: int, timeout_ns: int | None) -> int:
    limit = s32(limit)
    if not 0 < limit <= MAX_EVENTS:
        raise PosixError(EINVAL)
    epoll = _instance(t, epfd)
    if epoll.remotes:
        await epoll.refresh_ready(t)
    found = epoll.collect(limit, t.kernel)
    if not found:
        if timeout_ns == 0:
            return 0
        found = await _await_events(t, epoll, limit, timeout_ns)
    words: list[int] = []
    for event in found:
        words += event
    try:
        await t.copyout(where, struct.pack("<" + "IQ" * len(found), *words))
    except PosixError:
        epoll.give_back()
        raise PosixError(EFAULT) from None
    epoll.pass_on()
    return len(found)


async def _await_events(
    t: Thread, epoll: EpollFile, limit: int, timeout_ns: int | None
) -> list[Event]:
    """Sleep until there is something to tell; nothing at the deadline."""
    deadline = await deadline_after(t, timeout_ns)
    epoll.holders += 1
    try:
        while True:
            if epoll.remotes:
                await epoll.refresh_ready(t)
            found = epoll.collect(limit, t.kernel)
            if found or deadline == 0:
                return found
            if not await t.wait(epoll.waiters, deadline_ns=deadline):
                deadline = 0  # look once more
    except Interrupted:
        epoll.pass_on()
        raise
    finally:
        await drop(epoll, t)


@syscall(232, "epoll_wait", restart=RESTART_NEVER)
async def sys_epoll_wait(t: Thread, epfd: int, where: int, limit: int, timeout_ms: int) -> int:
    """epoll_wait(2)."""
    timeout = s32(timeout_ms)
    return await _wait(t, epfd, where, limit, None if timeout < 0 else timeout * NS_PER_MS)


async def _masked(
    t: Thread, epfd: int, where: int, limit: int, timeout_ns: int | None, mask: tuple[int, int]
) -> int:
    blocked = await mask_at(t, *mask)
    if blocked is not None:
        swap_mask(t, blocked)
    try:
        found = await _wait(t, epfd, where, limit, timeout_ns)
    except Interrupted:
        raise  # the mask stays until the handler has run
    except BaseException:
        restore_mask(t)
        raise
    restore_mask(t)
    return found


@syscall(281, "epoll_pwait", restart=RESTART_NEVER)
async def sys_epoll_pwait(
    t: Thread, epfd: int, where: int, limit: int, timeout_ms: int, mask: int, size: int
) -> int:
    """epoll_pwait(2)."""
    timeout = s32(timeout_ms)
    timeout_ns = None if timeout < 0 else timeout * NS_PER_MS
    return await _masked(t, epfd, where, limit, timeout_ns, (mask, size))


@syscall(441, "epoll_pwait2", restart=RESTART_NEVER)
async def sys_epoll_pwait2(
    t: Thread, epfd: int, where: int, limit: int, spec: int, mask: int, size: int
) -> int:
    """epoll_pwait2(2): the timeout is a struct timespec."""
    timeout_ns = await time_at(t, spec, 1)
    return await _masked(t, epfd, where, limit, timeout_ns, (mask, size))
