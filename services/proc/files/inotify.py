"""inotify(7): events that the file system queues, read as records.

The queue is kept by fs; readiness is therefore `remote`. A task waits at fs on behalf of whoever
polls or blocks here, and wakes `queue`.
"""

from __future__ import annotations

import contextlib
import struct
from errno import EAGAIN, EINVAL
from typing import TYPE_CHECKING

import trio

from bus.census import kind as charge_kind
from bus.errors import PosixError, ServiceUnavailable
from services.fs.api import DropQueue, TakeEvents
from services.proc.abi import O_NONBLOCK, O_RDONLY, POLLIN, POLLRDNORM
from services.proc.files.anon import (
    INT_IOCTL_BYTES,
    AnonFile,
    scatter,
    total,
    wait_holding,
)
from services.proc.park import WaitQueue

if TYPE_CHECKING:
    from bus.core import Port
    from services.drivers.ram.api import Extent
    from services.fs.api import Watched
    from services.proc.kernel import Kernel
    from services.proc.task import Thread

FIONREAD = 0x541B
HEAD_BYTES = 16
MANY = 1 << 14
_HEAD = struct.Struct("<iIII")


def pack_event(event: Watched) -> bytes:
    """struct inotify_event: the name is padded with NULs to a multiple of the head's size."""
    if not event.name:
        return _HEAD.pack(event.watch, event.mask, event.cookie, 0)
    length = (len(event.name) + HEAD_BYTES) & ~(HEAD_BYTES - 1)
    head = _HEAD.pack(event.watch, event.mask, event.cookie, length)
    return head + event.name.ljust(length, b"\0")


class InotifyFile(AnonFile):
    """`number` is the queue at fs."""

    __slots__ = ("_fs", "_ready", "_scope", "number")
    kind = "inotify"
    heap = charge_kind("proc", "inotify")
    remote = True

    def __init__(self, fs: Port, number: int, flags: int) -> None:
        super().__init__(O_RDONLY | flags)
        self._fs = fs
        self.number = number
        self.queue: WaitQueue = WaitQueue()
        self._ready = 0
        self._scope: trio.CancelScope | None = None
        """Around the task that waits at fs, while there is one."""

    async def _events(self, count: int, peek: bool) -> tuple[Watched, ...]:
        try:
            return await self._fs.call(TakeEvents(self.number, count, wait=False, peek=peek))
        except PosixError as error:
            if error.errno != EAGAIN:
                raise
            return ()

    async def refresh(self, thread: Thread) -> None:
        """Whether there are events."""
        self._ready = POLLIN | POLLRDNORM if await self._events(1, True) else 0

    def watch(self, kernel: Kernel) -> None:
        """Wait at fs in a task of its own, unless one does."""
        if self._scope is None:
            assert kernel.nursery is not None
            self._scope = trio.CancelScope()
            kernel.nursery.start_soon(self._wait_at_fs, self._scope, name="inotify")

    async def _wait_at_fs(self, scope: trio.CancelScope) -> None:
        with scope, contextlib.suppress(ServiceUnavailable):
            await trio.lowlevel.checkpoint_if_cancelled()  # closed before this task first ran
            await self._fs.call(TakeEvents(self.number, 1, wait=True, peek=True))
        self._scope = None
        if not scope.cancelled_caught:
            self._ready = POLLIN | POLLRDNORM
            self.queue.wake(self._ready)

    def poll(self) -> int:
        """As of the last `refresh` or wake-up."""
        return self._ready

    async def read(self, thread: Thread, extents: list[Extent], offset: int | None) -> int:
        """As many whole events as fit; EINVAL if not even one does; waits for the first."""
        room = total(extents)
        while not (events := await self._events(MANY, True)):
            if self.flags & O_NONBLOCK:
                raise PosixError(EAGAIN)
            self._ready = 0
            self.watch(thread.kernel)
            await wait_holding(thread, self, self.queue, self.poll)
        records: list[bytes] = []
        for event in events:
            record = pack_event(event)
            if len(record) > room:
                break
            records.append(record)
            room -= len(record)
        if not records:
            raise PosixError(EINVAL)
        await self._events(len(records), False)
        self._ready = 0
        if len(records) == len(events) and self.queue.entries:
            self.watch(thread.kernel)
        data = b"".join(records)
        scatter(thread.kernel.ram.bytes, extents, data)
        return len(data)

    async def ioctl(self, thread: Thread, command: int, argument: int) -> int:
        """FIONREAD: bytes that a large enough read would give."""
        if command == FIONREAD:
            events = await self._events(MANY, True)
            size = sum(len(pack_event(event)) for event in events)
            await thread.copyout(argument, size.to_bytes(INT_IOCTL_BYTES, "little"))
            return 0
        return await super().ioctl(thread, command, argument)

    async def closed(self, thread: Thread | None) -> None:
        """Drop the queue at fs."""
        if self._scope is not None:
            self._scope.cancel()
        await self._fs.call(DropQueue(self.number))

    async def path(self) -> bytes:
        """Without the brackets that its relatives have."""
        return b"anon_inode:inotify"
