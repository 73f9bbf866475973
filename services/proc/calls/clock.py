"""Time: clocks, sleeping, interval timers, POSIX timers, times and usage."""

from __future__ import annotations

import struct
from errno import EINVAL, EOPNOTSUPP, EPERM
from typing import TYPE_CHECKING

import attrs

from bus.errors import PosixError
from services.drivers.clock.api import BOOTTIME, MONOTONIC, REALTIME, Now, SetRealtime
from services.proc.abi import SI_TIMER, SIGALRM, SIGPROF, SIGVTALRM, s32
from services.proc.calls.process import rusage
from services.proc.park import Interrupted
from services.proc.signals import send
from services.proc.signals.core import RESTART_NOHAND, SigInfo
from services.proc.table import PARTIAL, syscall
from services.vm.api import Usage

if TYPE_CHECKING:
    from services.proc.park import Timer
    from services.proc.task import Process, Thread

NS = 1_000_000_000
TICK_NS = 10_000_000
PROCESS_CPUTIME, THREAD_CPUTIME = 2, 3
_DRIVER_CLOCK = {
    0: REALTIME, 1: MONOTONIC, 4: MONOTONIC, 5: REALTIME, 6: MONOTONIC, 7: BOOTTIME,
    8: REALTIME, 9: BOOTTIME, 11: REALTIME,
}  # fmt: skip
TIMER_ABSTIME = 1


async def read_clock(t: Thread, clock: int) -> int:
    """clock_gettime(2) in nanoseconds; EINVAL."""
    driver = _DRIVER_CLOCK.get(clock)
    if driver is not None:
        return await t.kernel.clock.call(Now(driver))
    number = s32(clock)
    if number in (PROCESS_CPUTIME, THREAD_CPUTIME) or number < 0:
        process = t.process
        if number < 0 and ~(number >> 3):
            found = t.kernel.processes.get(~(number >> 3))
            if found is None:
                raise PosixError(EINVAL)
            process = found
        return process.user_ns + process.system_ns
    raise PosixError(EINVAL)


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
    await read_clock(t, clock)
    if where:
        coarse = s32(clock) in (5, 6)
        await t.copyout(where, pack_timespec(4_000_000 if coarse else 1))
    return 0


@syscall(227, "clock_settime")
async def sys_clock_settime(t: Thread, clock: int, where: int) -> int:
    """clock_settime(2): the guest's time of day; the host's stays."""
    ns = await read_timespec(t, where)
    if s32(clock) != REALTIME:
        raise PosixError(EINVAL)
    if t.process.credentials.euid:
        raise PosixError(EPERM)
    await t.kernel.clock.call(SetRealtime(ns))
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
    """clock_nanosleep(2); CPU-time clocks are EOPNOTSUPP."""
    if s32(clock) not in _DRIVER_CLOCK:
        raise PosixError(EOPNOTSUPP if s32(clock) == PROCESS_CPUTIME else EINVAL)
    wanted = await read_timespec(t, request)
    if not flags & TIMER_ABSTIME:
        return await _sleep(t, wanted, remain)
    now = await read_clock(t, clock)
    deadline = await t.kernel.timers.now() + max(wanted - now, 0)
    await sleep_until(t, deadline)
    return 0


# Interval timers ------------------------------------------------------------------------------

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
    if s32(clock) not in _DRIVER_CLOCK:
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


# Usage ----------------------------------------------------------------------------------------


@syscall(98, "getrusage")
async def sys_getrusage(t: Thread, who: int, where: int) -> int:
    """getrusage(2)."""
    process, number = t.process, s32(who)
    if number == -1:
        user, system, minor, major = process.reaped_usage
        image = rusage(user, system, (minor, major))
    elif number in (0, 1):
        use = await t.kernel.vm.call(Usage(t.space.number))
        faults = (use.minor_faults, use.major_faults)
        image = rusage(process.user_ns, process.system_ns, faults)
        image = image[:32] + struct.pack("<q", use.resident_bytes >> 10) + image[40:]
    else:
        raise PosixError(EINVAL)
    await t.copyout(where, image)
    return 0


@syscall(100, "times")
async def sys_times(t: Thread, where: int) -> int:
    """times(2) in hundredths of a second."""
    process = t.process
    if where:
        reaped = process.reaped_usage
        ticks = [ns // TICK_NS for ns in (process.user_ns, process.system_ns, reaped[0], reaped[1])]
        await t.copyout(where, struct.pack("<4q", *ticks))
    return await t.kernel.timers.now() // TICK_NS
