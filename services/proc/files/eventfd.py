"""eventfd(2): a counter as a file."""

from __future__ import annotations

from errno import EAGAIN, EINVAL
from typing import TYPE_CHECKING

from bus.census import kind as charge_kind
from bus.errors import PosixError
from services.proc.abi import O_NONBLOCK, O_RDWR, POLLERR, POLLIN, POLLOUT, U64
from services.proc.descriptors import drop
from services.proc.files.anon import AnonFile, first_bytes, scatter, total, wait_holding
from services.proc.park import WaitQueue

if TYPE_CHECKING:
    from services.drivers.ram.api import Extent
    from services.proc.task import Thread

WORD_BYTES = 8


class EventFile(AnonFile):
    """The counter; a read takes all of it, or 1 of a semaphore."""

    __slots__ = ("_semaphore", "_writers", "count")
    kind = "eventfd"
    whole = True
    heap = charge_kind("proc", "eventfd")

    def __init__(self, count: int, flags: int, semaphore: bool) -> None:
        super().__init__(O_RDWR | flags)
        self.count = count
        self._semaphore = semaphore
        self.queue: WaitQueue = WaitQueue()
        self._writers = WaitQueue()

    async def read(self, thread: Thread, extents: list[Extent], offset: int | None) -> int:
        """Eight bytes; waits while the counter is 0."""
        if total(extents) < WORD_BYTES:
            raise PosixError(EINVAL)
        if not self.count:
            if self.flags & O_NONBLOCK:
                raise PosixError(EAGAIN)
            await wait_holding(thread, self, self.queue, lambda: self.count)
        taken = 1 if self._semaphore else self.count
        self.count -= taken
        scatter(thread.kernel.ram.bytes, extents, taken.to_bytes(WORD_BYTES, "little"))
        self._wake(POLLOUT)
        return WORD_BYTES

    async def write(self, thread: Thread, extents: list[Extent], offset: int | None) -> int:
        """Add eight bytes' worth; waits while the counter would pass 2**64 - 2."""
        word = first_bytes(thread.kernel.ram.bytes, extents, WORD_BYTES)
        value = int.from_bytes(word, "little")
        if value == U64:
            raise PosixError(EINVAL)
        if value >= U64 - self.count:
            await self._wait_for_room(thread, value)
        self.count += value
        self._wake(POLLIN)
        return WORD_BYTES

    async def _wait_for_room(self, thread: Thread, value: int) -> None:
        self.holders += 1
        try:
            while value >= U64 - self.count:
                if self.flags & O_NONBLOCK:
                    raise PosixError(EAGAIN)
                await thread.wait(self._writers)
        finally:
            await drop(self, thread)

    def _wake(self, events: int) -> None:
        if self.queue.entries:
            self.queue.wake(events)
        if self._writers.entries and events == POLLOUT:
            self._writers.wake(events)

    def poll(self) -> int:
        """POLLIN above 0, POLLOUT while a 1 fits."""
        count = self.count
        ready = POLLIN if count else 0
        if count == U64:
            ready |= POLLERR
        if count < U64 - 1:
            ready |= POLLOUT
        return ready
