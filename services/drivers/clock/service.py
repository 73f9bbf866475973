"""The clock driver's service: three clocks, one sleep.

`Now` is on the path of every clock_gettime(2), so its handler is a closure over two readers of
host clocks and never checkpoints. The readers are parameters: tests drive them by hand, and a
virtual clock takes their place without a change here.

Invariants: MONOTONIC and BOOTTIME start near 0 at boot and never go back; `SetRealtime` moves
REALTIME alone, by an offset to the host's, so the guest follows the host's corrections.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from bus.errors import MalformedRequest
from services.drivers.clock.api import BOOTTIME, MONOTONIC, REALTIME, Now, SetRealtime, Sleep
from services.drivers.clock.faults import ClockFaults

ReadClock = Callable[[], int]


def host_boottime_ns() -> int:
    """The host's clock that goes on while it is suspended, ns (clock_gettime(2))."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


Kept = tuple[int, int, int, ClockFaults]


class ClockService:
    """Tells the time. Constructing it is the moment of boot."""

    def __init__(
        self,
        *,
        realtime_ns: ReadClock = time.time_ns,
        monotonic_ns: ReadClock = time.monotonic_ns,
        boottime_ns: ReadClock = host_boottime_ns,
        kept: Kept | None = None,
    ) -> None:
        self._host = realtime_ns, monotonic_ns, boottime_ns
        self._tune: Callable[[], None] = lambda: None
        self.injector = ClockFaults(monotonic_ns) if kept is None else kept[3]
        self.injector.on_change = self._read_anew
        self._read_anew()
        self._monotonic_boot, self._boottime_boot, self._realtime_offset = (
            (monotonic_ns(), boottime_ns(), 0) if kept is None else kept[:3]
        )
        self.handlers: dict[type[Any], Callable[[Any], Awaitable[Any]]] = {
            Now: self._make_now(),
            Sleep: self.sleep,
            SetRealtime: self.set_realtime,
        }

    def keep(self) -> Kept:
        """The moment of boot on two clocks, what set the time of day, and what faults did."""
        return self._monotonic_boot, self._boottime_boot, self._realtime_offset, self.injector

    def _read_anew(self) -> None:
        """Take the host's clocks as the faults show them, from now on."""
        realtime_ns, monotonic_ns, boottime_ns = self._host
        self._realtime_ns = self.injector.stepped(realtime_ns)
        self._monotonic_ns = self.injector.skewed(monotonic_ns)
        self._boottime_ns = self.injector.skewed(boottime_ns)
        self._tune()

    def _make_now(self) -> Callable[[Now], Awaitable[int]]:
        realtime_ns, monotonic_ns = self._realtime_ns, self._monotonic_ns
        realtime, monotonic, boot = REALTIME, MONOTONIC, self._monotonic_boot

        async def now(request: Now) -> int:
            clock = request.clock
            if clock == monotonic:
                return monotonic_ns() - boot
            if clock == realtime:
                return realtime_ns() + self._realtime_offset
            if clock == BOOTTIME:
                return self._boottime_ns() - self._boottime_boot
            raise MalformedRequest(f"clock {clock} is none of REALTIME, MONOTONIC, BOOTTIME")

        def tune() -> None:
            nonlocal realtime_ns, monotonic_ns
            realtime_ns, monotonic_ns = self._realtime_ns, self._monotonic_ns

        self._tune = tune
        return now

    async def sleep(self, request: Sleep) -> None:
        """Wait for a moment of MONOTONIC; one that has passed is no wait at all."""
        until_ns = request.until_ns + self._monotonic_boot
        while True:
            left_ns = until_ns - self._monotonic_ns()
            if left_ns <= 0:
                return
            await trio.sleep(math.ceil(left_ns / 1_000) / 1e6)

    async def set_realtime(self, request: SetRealtime) -> None:
        """Set the guest's time of day; the host's is left alone."""
        if request.realtime_ns < 0:
            raise MalformedRequest(f"time of day {request.realtime_ns} ns is before 1970")
        self._realtime_offset = request.realtime_ns - self._realtime_ns()
