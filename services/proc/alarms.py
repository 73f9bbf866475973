"""Timers that send a signal: setitimer(2), alarm(2), timer_create(2).

As in Linux, a periodic timer is not started again while its signal is pending: whoever takes the
signal counts the periods that went by (the overrun) and starts it for the next one. So a short
interval cannot drown the kernel in work, and a blocked signal costs nothing. ITIMER_VIRTUAL and
ITIMER_PROF alone go on by themselves: they are looked at in ticks anyway.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from bus.census import kind
from services.proc.signals import send
from services.proc.signals.core import SigInfo

if TYPE_CHECKING:
    from services.proc.cpuclock import CpuClock
    from services.proc.park import Timer
    from services.proc.task import Process, Thread

OVERRUN_MAX = 0x7FFF_FFFF
ALARM = kind("proc", "interval timer")
NOTICE = kind("proc", "timer's signal")


class Alarm:
    """One timer; `clock` is a CPU-time clock, or None for those that run by MONOTONIC.

    It fires at `next_ns` of that clock, then every `interval_ns`.
    """

    __slots__ = (
        "_pending",
        "_timer",
        "clock",
        "info",
        "interval_ns",
        "next_ns",
        "overrun",
        "process",
        "target",
    )

    def __init__(self, process: Process, clock: CpuClock | None = None) -> None:
        ALARM.made()
        self.process = process
        self.info: SigInfo | None = None
        """What is sent; None: nothing (SIGEV_NONE)."""
        self.clock = clock
        self.target: Thread | None = None
        """Who gets it; None: the process."""
        self.interval_ns = 0
        self.next_ns = 0
        self.overrun = 0
        """Periods that went by unseen before the last signal was taken."""
        self._timer: Timer | None = None
        self._pending = False

    def __del__(self) -> None:
        if self.info is not None:
            NOTICE.freed()
        ALARM.freed()

    def notify(self, signal: int, code: int) -> None:
        """Set what is sent; once."""
        self.info = SigInfo(signal, code, source=self)
        NOTICE.made()

    def now_ns(self, caller: Thread) -> int:
        """What its clock shows."""
        return self.clock.read(caller) if self.clock else self.process.kernel.timers.read()

    def arm(self, at_ns: int, interval_ns: int) -> None:
        """Start, or stop where `at_ns` is 0."""
        self.cancel()
        self.interval_ns, self.next_ns, self.overrun = interval_ns, at_ns, 0
        if at_ns:
            self._start()

    def _start(self) -> None:
        start = self.clock.at if self.clock else self.process.kernel.timers.at
        self._timer = start(self.next_ns, self._fire)

    def cancel(self) -> None:
        """Stop; a signal that is pending stays."""
        self._pending = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        self._timer = None
        if self.info is None:
            return
        self._pending = bool(self.interval_ns)
        if self.target is not None:
            send.to_thread(self.target, self.info)
        else:
            send.to_process(self.process, self.info)

    def taken(self, info: SigInfo) -> SigInfo:
        """Its signal is being taken (a `Source`): count the periods, go on."""
        if not self._pending:
            return info
        self._pending = False
        self.overrun = min(self._skip(self._reading()), OVERRUN_MAX)
        self._start()
        return info

    def _reading(self) -> int:
        return self.clock.reading() if self.clock else self.process.kernel.timers.read()

    def _skip(self, now_ns: int) -> int:
        """Move `next_ns` past now; how many expirations lie between it and the one before."""
        passed = max(now_ns - self.next_ns, 0) // self.interval_ns
        self.next_ns += (passed + 1) * self.interval_ns
        return passed

    def remaining(self, now_ns: int) -> int:
        """Ns until it fires, 0 if it is not armed."""
        return max(self.next_ns - now_ns, 1) if self._timer is not None else 0


class PosixTimer(Alarm):
    """timer_create(2): its siginfo_t tells the number, the overrun and a value."""

    __slots__ = ("by", "number", "value")

    def __init__(
        self,
        process: Process,
        clock: CpuClock | None,
        by: int,
        number: int,
        value: int,
    ) -> None:
        super().__init__(process, clock)
        self.by = by
        """The id of the clock that absolute times are given in."""
        self.number = number
        self.value = value

    def taken(self, info: SigInfo) -> SigInfo:
        """Fill in the overrun."""
        super().taken(info)
        fields = struct.pack("<iiQ", self.number, self.overrun, self.value)
        return SigInfo(info.signal, info.code, 0, fields)

    def remaining(self, now_ns: int) -> int:
        """Unlike setitimer's, it goes on by itself for those who look."""
        if self._pending and self.interval_ns:
            return self.interval_ns - (now_ns - self.next_ns) % self.interval_ns
        if self.info is None and self.interval_ns and self.next_ns and self.next_ns <= now_ns:
            return self.interval_ns - (now_ns - self.next_ns) % self.interval_ns
        return super().remaining(now_ns)


class TickingAlarm(Alarm):
    """ITIMER_VIRTUAL and ITIMER_PROF: they go on without waiting for their signal to be taken."""

    __slots__ = ()

    def _fire(self) -> None:
        super()._fire()
        self._pending = False
        if self.interval_ns:
            self._skip(self._reading())
            self._start()
