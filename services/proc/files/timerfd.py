"""timerfd_create(2): a timer whose expirations are read from a file.

As in Linux, a timer that has expired is not armed again until somebody looks (read, settime,
gettime): then the periods that went by are counted in one step. So a short interval that nobody
reads costs nothing.

Deadlines are kept in MONOTONIC. One given as an absolute REALTIME is converted when it is set; a
later step of the time of day does not move it, and TFD_TIMER_CANCEL_ON_SET never cancels.
"""

from __future__ import annotations

from errno import EAGAIN, EINVAL
from typing import TYPE_CHECKING

from bus.census import kind as charge_kind
from bus.errors import PosixError
from services.drivers.clock.api import MONOTONIC, Now
from services.proc.abi import O_NONBLOCK, O_RDWR, POLLIN
from services.proc.files.anon import AnonFile, scatter, total, wait_holding
from services.proc.park import WaitQueue

if TYPE_CHECKING:
    from services.drivers.ram.api import Extent
    from services.proc.kernel import Kernel
    from services.proc.park import Timer
    from services.proc.task import Thread

WORD_BYTES = 8
FAR_NS = (1 << 63) - 1


class TimerFile(AnonFile):
    """`clock` is the clock driver's number of the clock it counts by."""

    __slots__ = ("_due_ns", "_expired", "_interval_ns", "_kernel", "_ticks", "_timer", "clock")
    kind = "timerfd"
    heap = charge_kind("proc", "timerfd")

    def __init__(self, kernel: Kernel, clock: int, flags: int) -> None:
        super().__init__(O_RDWR | flags)
        self._kernel = kernel
        self.clock = clock
        self.queue: WaitQueue = WaitQueue()
        self._timer: Timer | None = None
        self._due_ns = 0
        """When it expires, or did; 0 while it is disarmed."""
        self._interval_ns = 0
        self._ticks = 0
        self._expired = False

    def _arm(self) -> None:
        self._expired = False
        self._timer = self._kernel.timers.at(self._due_ns, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self._expired = True
        self._ticks += 1
        self.queue.wake(POLLIN)

    def _look(self) -> None:
        """Expire now, if it is time: a program that computes keeps the timers' task waiting."""
        timer = self._timer
        if timer is not None and self._due_ns <= self._kernel.timers.read():
            timer.cancel()
            self._fire()

    async def _catch_up(self) -> None:
        """Count the periods since the expiration that `_fire` saw, and arm for the next."""
        if not self._expired or not self._interval_ns:
            return
        now = await self._kernel.timers.now()
        periods = (now - self._due_ns) // self._interval_ns + 1
        self._ticks += periods - 1
        self._due_ns += periods * self._interval_ns
        self._arm()

    async def set(self, value_ns: int, interval_ns: int, absolute: bool) -> tuple[int, int]:
        """timerfd_settime(2): replies with what was left, and the interval, before."""
        old = await self.get()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._ticks = self._due_ns = 0
        self._expired = False
        self._interval_ns = interval_ns
        if value_ns:
            now = await self._kernel.timers.now()
            if absolute and self.clock != MONOTONIC:
                value_ns -= await self._kernel.clock.call(Now(self.clock))
                self._due_ns = min(max(now + value_ns, 1), FAR_NS)
            else:
                self._due_ns = min(value_ns if absolute else now + value_ns, FAR_NS)
            self._arm()
        return old

    async def get(self) -> tuple[int, int]:
        """timerfd_gettime(2): nanoseconds to the next expiration (0: disarmed) and interval."""
        self._look()
        await self._catch_up()
        if self._timer is None:
            return 0, self._interval_ns
        left = self._due_ns - await self._kernel.timers.now()
        return max(left, 1), self._interval_ns

    async def read(self, thread: Thread, extents: list[Extent], offset: int | None) -> int:
        """The number of expirations since the last read; waits for one."""
        if total(extents) < WORD_BYTES:
            raise PosixError(EINVAL)
        self._look()
        if not self._ticks:
            if self.flags & O_NONBLOCK:
                raise PosixError(EAGAIN)
            await wait_holding(thread, self, self.queue, lambda: self._ticks)
        await self._catch_up()
        ticks, self._ticks = self._ticks, 0
        self._expired = False
        scatter(thread.kernel.ram.bytes, extents, ticks.to_bytes(WORD_BYTES, "little"))
        return WORD_BYTES

    def poll(self) -> int:
        """POLLIN after an expiration."""
        self._look()
        return POLLIN if self._ticks else 0

    async def closed(self, thread: Thread | None) -> None:
        """Disarm."""
        if self._timer is not None:
            self._timer.cancel()
