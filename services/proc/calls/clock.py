"""Time: clocks and sleeping."""

from __future__ import annotations

import struct
from errno import EINVAL, EOPNOTSUPP, EPERM
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.drivers.clock.api import BOOTTIME, MONOTONIC, REALTIME, Now, SetRealtime
from services.proc import cpuclock
from services.proc.abi import s32
from services.proc.capabilities import CAP_SYS_TIME
from services.proc.park import Interrupted, WaitQueue
from services.proc.signals.core import RESTART_NOHAND
from services.proc.table import PARTIAL, syscall

if TYPE_CHECKING:
    from services.proc.cpuclock import CpuClock
    from services.proc.task import Thread

NS = 1_000_000_000
TICK_NS = 4_000_000
"""What the coarse clocks are said to be precise to."""
DRIVER_CLOCK = {
    0: REALTIME, 1: MONOTONIC, 4: MONOTONIC, 5: REALTIME, 6: MONOTONIC, 7: BOOTTIME,
    8: REALTIME, 9: BOOTTIME, 11: REALTIME,
}  # fmt: skip
COARSE, RAW = (5, 6), 4
SLEEPING = frozenset(DRIVER_CLOCK) - {RAW, *COARSE}
"""Clocks of the driver that one can sleep by and set timers on."""
TIMER_ABSTIME = 1
DYNAMIC = 3
"""Ends the ids of clocks that are devices, of which there is none."""


async def read_clock(t: Thread, clock: int) -> int:
    """clock_gettime(2) in nanoseconds; EINVAL."""
    driver = DRIVER_CLOCK.get(clock & 0xFFFF_FFFF)
    if driver is not None:
        return await t.kernel.clock.call(Now(driver))
    return cpu_clock(t, clock).read(t)


def cpu_clock(t: Thread, clock: int) -> CpuClock:
    """The CPU-time clock of that id; EINVAL."""
    found = cpuclock.find(t, s32(clock))
    if found is None:
        raise PosixError(EINVAL)
    return found


def pack_timespec(ns: int) -> bytes:
    """struct timespec."""
    return struct.pack("<qq", *divmod(ns, NS))


async def read_timespec(t: Thread, vaddr: int) -> int:
    """struct timespec as ns; EINVAL, EFAULT."""
    seconds, ns = struct.unpack("<qq", await t.copyin(vaddr, 16))
    if seconds < 0 or not 0 <= ns < NS:
        raise PosixError(EINVAL)
    return int(min(seconds * NS + ns, 1 << 62))


@syscall(228, "clock_gettime", bound=0)
async def sys_clock_gettime(t: Thread, clock: int, where: int) -> int:
    """clock_gettime(2)."""
    await t.copyout(where, pack_timespec(await read_clock(t, clock)))
    return 0


@syscall(229, "clock_getres", bound=0)
async def sys_clock_getres(t: Thread, clock: int, where: int) -> int:
    """clock_getres(2)."""
    number = s32(clock)
    exact = number not in COARSE if number in DRIVER_CLOCK else cpu_clock(t, clock).exact
    if where:
        await t.copyout(where, pack_timespec(1 if exact else TICK_NS))
    return 0


@syscall(227, "clock_settime")
async def sys_clock_settime(t: Thread, clock: int, where: int) -> int:
    """clock_settime(2): the guest's time of day; the host's stays."""
    number = s32(clock)
    if number > REALTIME:
        raise PosixError(EINVAL)
    if number < 0:
        await t.copyin(where, 16)
        raise PosixError(EINVAL if cpuclock.find(t, number) is None else EPERM)
    ns = await read_timespec(t, where)
    if not t.process.credentials.can(CAP_SYS_TIME):
        raise PosixError(EPERM)
    await _set_realtime(t, ns)
    return 0


async def _set_realtime(t: Thread, ns: int) -> None:
    await t.kernel.clock.call(SetRealtime(ns))
    if t.kernel.time_page is not None:
        await t.kernel.time_page.update(now=True)


@syscall(164, "settimeofday", support=PARTIAL, note="a time zone is checked and not kept")
async def sys_settimeofday(t: Thread, where: int, zone: int) -> int:
    """settimeofday(2): the guest's time of day; the host's stays."""
    ns = None
    if where:
        seconds, us = struct.unpack("<qq", await t.copyin(where, 16))
        if seconds < 0 or not 0 <= us < 1_000_000:
            raise PosixError(EINVAL)
        ns = seconds * NS + us * 1000
    if zone:
        (west,) = struct.unpack("<i", (await t.copyin(zone, 8))[:4])
        if abs(west) > 15 * 60:
            raise PosixError(EINVAL)
    if not t.process.credentials.can(CAP_SYS_TIME):
        raise PosixError(EPERM)
    if ns is not None:
        await _set_realtime(t, ns)
    return 0


@syscall(96, "gettimeofday", bound=0)
async def sys_gettimeofday(t: Thread, where: int, zone: int) -> int:
    """gettimeofday(2)."""
    if where:
        seconds, ns = divmod(await t.kernel.clock.call(Now(REALTIME)), NS)
        await t.copyout(where, struct.pack("<qq", seconds, ns // 1000))
    if zone:
        await t.copyout(zone, bytes(8))
    return 0


@syscall(201, "time", bound=0)
async def sys_time(t: Thread, where: int) -> int:
    """time(2)."""
    seconds = await t.kernel.clock.call(Now(REALTIME)) // NS
    if where:
        await t.copyout(where, struct.pack("<q", seconds))
    return seconds


async def sleep_until(t: Thread, deadline_ns: int) -> None:
    """Sleep to a MONOTONIC time; Interrupted."""
    while await t.wait(deadline_ns=deadline_ns):
        pass


async def _sleep(t: Thread, duration_ns: int, remain: int) -> int:
    deadline = t.restart_deadline
    if deadline is None:
        deadline = await t.kernel.timers.now() + duration_ns
    t.restart_deadline = None
    try:
        await sleep_until(t, deadline)
    except Interrupted:
        t.restart_deadline = deadline
        if remain:
            left = max(deadline - await t.kernel.timers.now(), 0)
            await t.copyout(remain, pack_timespec(left))
        raise
    return 0


@syscall(35, "nanosleep", restart=RESTART_NOHAND)
async def sys_nanosleep(t: Thread, request: int, remain: int) -> int:
    """nanosleep(2)."""
    return await _sleep(t, await read_timespec(t, request), remain)


@syscall(230, "clock_nanosleep", restart=RESTART_NOHAND)
async def sys_clock_nanosleep(t: Thread, clock: int, flags: int, request: int, remain: int) -> int:
    """clock_nanosleep(2)."""
    number = s32(clock)
    if number not in SLEEPING:
        return await _sleep_cpu(t, number, flags, request)
    wanted = await read_timespec(t, request)
    if not flags & TIMER_ABSTIME:
        return await _sleep(t, wanted, remain)
    now = await read_clock(t, number)
    deadline = await t.kernel.timers.now() + max(wanted - now, 0)
    await sleep_until(t, deadline)
    return 0


async def _sleep_cpu(t: Thread, number: int, flags: int, request: int) -> int:
    """Sleep until a process, of which other threads run, or another one has used some time."""
    dynamic = number < 0 and number & 7 == DYNAMIC
    if number in DRIVER_CLOCK or number == cpuclock.THREAD_CPUTIME or dynamic:
        raise PosixError(EOPNOTSUPP)
    if number > 0 and number != cpuclock.PROCESS_CPUTIME:
        raise PosixError(EINVAL)
    wanted = await read_timespec(t, request)
    clock = cpu_clock(t, number)
    if clock.thread is t:
        raise PosixError(EINVAL)
    until = wanted if flags & TIMER_ABSTIME else clock.read(t) + wanted
    due = WaitQueue()
    timer = clock.at(until, due.wake)
    try:
        while clock.read(t) < until:
            await t.wait(due)
    finally:
        timer.cancel()
    return 0
