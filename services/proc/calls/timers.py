"""Timers that send signals: setitimer, alarm, timer_create."""

from __future__ import annotations

import struct
from errno import EINVAL
from typing import TYPE_CHECKING

import attrs

from bus.errors import PosixError
from services.drivers.clock.api import MONOTONIC
from services.proc.abi import SI_TIMER, SIGALRM, SIGPROF, SIGVTALRM, s32
from services.proc.calls.clock import (
    DRIVER_CLOCK,
    NS,
    TIMER_ABSTIME,
    pack_timespec,
    read_clock,
    read_timespec,
)
from services.proc.signals import send
from services.proc.signals.core import SigInfo
from services.proc.table import PARTIAL, syscall

if TYPE_CHECKING:
    from services.proc.park import Timer
    from services.proc.task import Process, Thread

_ITIMER_SIGNAL = {0: SIGALRM, 1: SIGVTALRM, 2: SIGPROF}


@attrs.define(eq=False)
class IntervalTimer:
    """setitimer(2) or timer_create(2): fires at `next_ns`, then every `interval_ns`."""

    process: Process
    info: SigInfo
    target: Thread | None = None
    clock: int = MONOTONIC
    interval_ns: int = 0
    next_ns: int = 0
    timer: Timer | None = None
    overrun: int = 0

    def arm(self, at_ns: int, interval_ns: int) -> None:
        """Start, or stop where `at_ns` is 0; MONOTONIC time."""
        self.cancel()
        self.interval_ns, self.next_ns = interval_ns, at_ns
        if at_ns:
            self.timer = self.process.kernel.timers.at(at_ns, self._fire)

    def cancel(self) -> None:
        """Stop."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def _fire(self) -> None:
        if self.interval_ns:
            self.next_ns += self.interval_ns
            self.timer = self.process.kernel.timers.at(self.next_ns, self._fire)
        else:
            self.next_ns, self.timer = 0, None
        if self.info.signal:
            if self.target is not None:
                send.to_thread(self.target, self.info)
            else:
                send.to_process(self.process, self.info)

    def remaining(self, now_ns: int) -> int:
        """Ns until it fires, 0 if it is not armed."""
        return max(self.next_ns - now_ns, 1) if self.timer is not None else 0


def _itimer(t: Thread, which: int) -> IntervalTimer:
    if which not in _ITIMER_SIGNAL:
        raise PosixError(EINVAL)
    timers = t.process.itimers
    if which not in timers:
        timers[which] = IntervalTimer(t.process, send.kernel_info(_ITIMER_SIGNAL[which]))
    found: IntervalTimer = timers[which]
    return found


def _pack_itimer(timer: IntervalTimer, now: int) -> bytes:
    value, interval = timer.remaining(now) // 1000, timer.interval_ns // 1000
    return struct.pack("<4q", *divmod(interval, 1_000_000), *divmod(value, 1_000_000))


@syscall(36, "getitimer")
async def sys_getitimer(t: Thread, which: int, where: int) -> int:
    """getitimer(2)."""
    timer = _itimer(t, which)
    await t.copyout(where, _pack_itimer(timer, await t.kernel.timers.now()))
    return 0


@syscall(38, "setitimer", support=PARTIAL, note="VIRTUAL and PROF count elapsed time")
async def sys_setitimer(t: Thread, which: int, new: int, old: int) -> int:
    """setitimer(2)."""
    timer, now = _itimer(t, which), await t.kernel.timers.now()
    interval = value = 0
    if new:
        i_s, i_us, v_s, v_us = struct.unpack("<4q", await t.copyin(new, 32))
        if not (0 <= i_us < 1_000_000 and 0 <= v_us < 1_000_000) or i_s < 0 or v_s < 0:
            raise PosixError(EINVAL)
        interval, value = i_s * NS + i_us * 1000, v_s * NS + v_us * 1000
    before = _pack_itimer(timer, now)
    timer.arm(now + value if value else 0, interval)
    if old:
        await t.copyout(old, before)
    return 0


@syscall(37, "alarm")
async def sys_alarm(t: Thread, seconds: int) -> int:
    """alarm(2): whole seconds left of the previous one, rounded up."""
    timer, now = _itimer(t, 0), await t.kernel.timers.now()
    left = timer.remaining(now)
    seconds &= 0xFFFF_FFFF
    timer.arm(now + seconds * NS if seconds else 0, 0)
    return (left + NS - 1) // NS


# POSIX timers ---------------------------------------------------------------------------------

SIGEV_SIGNAL, SIGEV_NONE, SIGEV_THREAD_ID = 0, 1, 4


@syscall(222, "timer_create")
async def sys_timer_create(t: Thread, clock: int, event: int, where: int) -> int:
    """timer_create(2) on the clocks of the clock driver."""
    if s32(clock) not in DRIVER_CLOCK:
        raise PosixError(EINVAL)
    process = t.process
    number = process.next_timer
    value, signal, kind, tid = number, SIGALRM, SIGEV_SIGNAL, 0
    if event:
        value, signal, kind, tid = struct.unpack("<Qiii", await t.copyin(event, 20))
    target = None
    if kind == SIGEV_THREAD_ID:
        target = process.threads.get(tid)
        if target is None:
            raise PosixError(EINVAL)
    elif kind not in (SIGEV_SIGNAL, SIGEV_NONE):
        raise PosixError(EINVAL)
    if kind != SIGEV_NONE and not 0 < signal <= 64:
        raise PosixError(EINVAL)
    fields = struct.pack("<iiQ", number, 0, value)
    info = SigInfo(0 if kind == SIGEV_NONE else signal, SI_TIMER, 0, fields)
    await t.copyout(where, struct.pack("<i", number))
    process.next_timer += 1
    process.timers[number] = IntervalTimer(process, info, target, s32(clock))
    return 0


def _timer(t: Thread, number: int) -> IntervalTimer:
    timer = t.process.timers.get(s32(number))
    if timer is None:
        raise PosixError(EINVAL)
    found: IntervalTimer = timer
    return found


def _pack_spec(timer: IntervalTimer, now: int) -> bytes:
    return pack_timespec(timer.interval_ns) + pack_timespec(timer.remaining(now))


@syscall(223, "timer_settime")
async def sys_timer_settime(t: Thread, number: int, flags: int, new: int, old: int) -> int:
    """timer_settime(2)."""
    timer = _timer(t, number)
    if not new:
        raise PosixError(EINVAL)
    interval, value = await read_timespec(t, new), await read_timespec(t, new + 16)
    now = await t.kernel.timers.now()
    before = _pack_spec(timer, now)
    at = 0
    if value:
        at = now + value
        if flags & TIMER_ABSTIME:
            at = now + max(value - await read_clock(t, timer.clock), 0)
    timer.arm(at, interval)
    if old:
        await t.copyout(old, before)
    return 0


@syscall(224, "timer_gettime")
async def sys_timer_gettime(t: Thread, number: int, where: int) -> int:
    """timer_gettime(2)."""
    timer = _timer(t, number)
    await t.copyout(where, _pack_spec(timer, await t.kernel.timers.now()))
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
