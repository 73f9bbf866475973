"""Timers that send signals: setitimer, alarm, timer_create."""

from __future__ import annotations

import struct
from errno import EAGAIN, EINVAL, EOPNOTSUPP
from typing import TYPE_CHECKING

import attrs

from bus.errors import PosixError
from services.drivers.clock.api import MONOTONIC
from services.proc import cpuclock, cputimers
from services.proc.abi import (
    NSIG,
    RLIMIT_SIGPENDING,
    SI_KERNEL,
    SI_TIMER,
    SIGALRM,
    SIGPROF,
    SIGVTALRM,
    s32,
)
from services.proc.alarms import Alarm, PosixTimer, TickingAlarm
from services.proc.calls.clock import (
    DRIVER_CLOCK,
    NS,
    SLEEPING,
    TIMER_ABSTIME,
    cpu_clock,
    pack_timespec,
    read_clock,
    read_timespec,
)
from services.proc.table import syscall

if TYPE_CHECKING:
    from services.proc.task import Process, Thread

ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF = 0, 1, 2


def _make_itimer(process: Process, which: int) -> Alarm:
    if which == ITIMER_REAL:
        alarm = Alarm(process)
        alarm.notify(SIGALRM, SI_KERNEL)
        return alarm
    virtual = which == ITIMER_VIRTUAL
    kind = cputimers.VIRTUAL if virtual else cputimers.PROFILE
    ticking = TickingAlarm(process, cpuclock.CpuClock(process, None, kind))
    ticking.notify(SIGVTALRM if virtual else SIGPROF, SI_KERNEL)
    return ticking


def _itimer(t: Thread, which: int) -> Alarm:
    number, alarms = which & 0xFFFF_FFFF, t.process.itimers
    if number > ITIMER_PROF:
        raise PosixError(EINVAL)
    if number not in alarms:
        alarms[number] = _make_itimer(t.process, number)
    found: Alarm = alarms[number]
    return found


def _pack_itimer(timer: Alarm, now: int) -> bytes:
    value, interval = timer.remaining(now) // 1000, timer.interval_ns // 1000
    return struct.pack("<4q", *divmod(interval, 1_000_000), *divmod(value, 1_000_000))


@syscall(36, "getitimer")
async def sys_getitimer(t: Thread, which: int, where: int) -> int:
    """getitimer(2)."""
    timer = _itimer(t, which)
    await t.copyout(where, _pack_itimer(timer, timer.now_ns(t)))
    return 0


@syscall(38, "setitimer")
async def sys_setitimer(t: Thread, which: int, new: int, old: int) -> int:
    """setitimer(2)."""
    interval = value = 0
    if new:
        i_s, i_us, v_s, v_us = struct.unpack("<4q", await t.copyin(new, 32))
        if not (0 <= i_us < 1_000_000 and 0 <= v_us < 1_000_000) or i_s < 0 or v_s < 0:
            raise PosixError(EINVAL)
        interval, value = i_s * NS + i_us * 1000, v_s * NS + v_us * 1000
    timer = _itimer(t, which)
    now = timer.now_ns(t)
    before = _pack_itimer(timer, now)
    timer.arm(now + value if value else 0, interval)
    if old:
        await t.copyout(old, before)
    return 0


@syscall(37, "alarm")
def sys_alarm(t: Thread, seconds: int) -> int:
    """alarm(2): whole seconds left of the previous one, rounded to the nearest, at least 1."""
    timer = _itimer(t, ITIMER_REAL)
    now = timer.now_ns(t)
    left = timer.remaining(now)
    seconds &= 0xFFFF_FFFF
    timer.arm(now + seconds * NS if seconds else 0, 0)
    return max((left + NS // 2) // NS, 1) if left else 0


# POSIX timers ---------------------------------------------------------------------------------

SIGEV_SIGNAL, SIGEV_NONE, SIGEV_THREAD, SIGEV_THREAD_ID = 0, 1, 2, 4


@attrs.frozen
class _Event:
    """struct sigevent, checked."""

    value: int
    signal: int
    kind: int
    target: Thread | None


async def _read_event(t: Thread, vaddr: int) -> _Event:
    value, signal, kind, tid = struct.unpack("<Qiii", (await t.copyin(vaddr, 64))[:20])
    target = None
    if kind == SIGEV_THREAD_ID | SIGEV_SIGNAL:
        target = t.process.threads.get(tid)
        if target is None:
            raise PosixError(EINVAL)
    elif kind not in (SIGEV_SIGNAL, SIGEV_NONE, SIGEV_THREAD):
        raise PosixError(EINVAL)
    if kind != SIGEV_NONE and not 0 < signal <= NSIG:
        raise PosixError(EINVAL)
    return _Event(value, signal, kind, target)


@syscall(222, "timer_create")
async def sys_timer_create(t: Thread, clock: int, event: int, where: int) -> int:
    """timer_create(2)."""
    process, counted = t.process, None
    if s32(clock) not in SLEEPING:
        if s32(clock) in DRIVER_CLOCK:
            raise PosixError(EOPNOTSUPP)
        counted = cpu_clock(t, clock)
    if len(process.timers) >= process.limit(RLIMIT_SIGPENDING):
        raise PosixError(EAGAIN)
    number = process.next_timer
    wanted = await _read_event(t, event) if event else _Event(number, SIGALRM, SIGEV_SIGNAL, None)
    await t.copyout(where, struct.pack("<i", number))
    timer = PosixTimer(process, counted, s32(clock), number, wanted.value)
    timer.target = wanted.target
    if wanted.kind != SIGEV_NONE:
        timer.notify(wanted.signal, SI_TIMER)
    process.add_timer(timer)
    return 0


def _timer(t: Thread, number: int) -> PosixTimer:
    timer = t.process.timers.get(s32(number))
    if timer is None:
        raise PosixError(EINVAL)
    found: PosixTimer = timer
    return found


def _pack_spec(timer: Alarm, now: int) -> bytes:
    return pack_timespec(timer.interval_ns) + pack_timespec(timer.remaining(now))


@syscall(223, "timer_settime")
async def sys_timer_settime(t: Thread, number: int, flags: int, new: int, old: int) -> int:
    """timer_settime(2)."""
    if not new:
        raise PosixError(EINVAL)
    interval, value = await read_timespec(t, new), await read_timespec(t, new + 16)
    timer = _timer(t, number)
    now = timer.now_ns(t)
    before = _pack_spec(timer, now)
    at = 0
    if value:
        at = now + value
        if flags & TIMER_ABSTIME:
            at = max(value, 1)
            if timer.clock is None and timer.by != MONOTONIC:
                at = now + max(value - await read_clock(t, timer.by), 0)
    timer.arm(at, interval)
    if old:
        await t.copyout(old, before)
    return 0


@syscall(224, "timer_gettime")
async def sys_timer_gettime(t: Thread, number: int, where: int) -> int:
    """timer_gettime(2)."""
    timer = _timer(t, number)
    await t.copyout(where, _pack_spec(timer, timer.now_ns(t)))
    return 0


@syscall(225, "timer_getoverrun")
def sys_timer_getoverrun(t: Thread, number: int) -> int:
    """timer_getoverrun(2)."""
    return _timer(t, number).overrun


@syscall(226, "timer_delete")
def sys_timer_delete(t: Thread, number: int) -> int:
    """timer_delete(2)."""
    _timer(t, number).cancel()
    del t.process.timers[s32(number)]
    return 0
