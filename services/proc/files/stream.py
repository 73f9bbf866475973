"""The caller's standard streams, where they are no terminal (`console` driver).

The host's stream is ready when the host says so: readiness is `remote`. A task waits at the
driver on behalf of whoever polls or blocks here, and wakes `queue`.
"""

from __future__ import annotations

import contextlib
from errno import EAGAIN, EPIPE
from typing import TYPE_CHECKING, Any, Protocol

from bus.errors import PosixError, ServiceUnavailable
from services.drivers.console.api import (
    DescribeStream,
    ReadStream,
    StreamReady,
    WaitStream,
    WriteStream,
)
from services.fs.api import Attr
from services.proc.abi import (
    O_NONBLOCK,
    POLLIN,
    POLLOUT,
    POLLRDNORM,
    POLLWRNORM,
    S_IFIFO,
    S_IFMT,
    S_IFREG,
    SIGPIPE,
)
from services.proc.descriptors import OpenFile
from services.proc.files.anon import gather, scatter, total, wait_holding
from services.proc.park import WaitQueue
from services.proc.signals import send

if TYPE_CHECKING:
    from services.drivers.ram.api import Extent
    from services.proc.kernel import Kernel
    from services.proc.task import Thread

CHUNK_BYTES = 65536
IN, OUT = POLLIN | POLLRDNORM, POLLOUT | POLLWRNORM


class Driver(Protocol):
    """Takes the console's requests, as a port does."""

    async def call(self, request: Any) -> Any:
        """The reply."""


class StreamFile(OpenFile):
    """Standard input, output or error of the `hardtack` command, shown as what it is."""

    __slots__ = ("_console", "_mode", "_ready", "_watching", "stream")
    kind = "stream"
    remote = True

    def __init__(self, console: Driver, stream: int, flags: int) -> None:
        super().__init__(flags)
        self._console = console
        self.stream = stream
        self._mode = S_IFIFO | 0o600
        self.queue = WaitQueue()
        self._ready = 0
        self._watching = 0
        """Directions (IN, OUT) that a task waits for."""

    async def describe(self) -> None:
        """Learn from the host what the stream is; epoll(7) refuses files that never wait."""
        info = await self._console.call(DescribeStream(self.stream))
        if info.mode & S_IFMT:
            self._mode = info.mode
        if info.mode & S_IFMT == S_IFREG:
            self.queue = None

    async def read(self, thread: Thread, extents: list[Extent], offset: int | None) -> int:
        """Wait for bytes; 0 at the end."""
        wanted = min(total(extents), CHUNK_BYTES)
        if not wanted:
            return 0
        await self.refresh(thread)
        while not self._ready & IN:
            if self.flags & O_NONBLOCK:
                raise PosixError(EAGAIN)
            assert self.queue is not None  # a regular file is always ready
            self.watch(thread.kernel)
            await wait_holding(thread, self, self.queue, lambda: self._ready & IN)
            await self.refresh(thread)
        data = await thread.interruptible(self._console.call(ReadStream(self.stream, wanted)))
        scatter(thread.kernel.ram.bytes, extents, data)
        self._ready &= ~IN
        if self.queue is not None and self.queue.entries:
            self.watch(thread.kernel)
        return len(data)

    async def write(self, thread: Thread, extents: list[Extent], offset: int | None) -> int:
        """Hand everything to the host."""
        length = total(extents)
        if not length:
            return 0
        if self.flags & O_NONBLOCK:
            _, writable = await self._console.call(StreamReady(self.stream))
            if not writable:
                raise PosixError(EAGAIN)
        data = bytes(gather(thread.kernel.ram.bytes, extents, 0, length))
        try:
            return await thread.interruptible(self._console.call(WriteStream(self.stream, data)))
        except PosixError as error:
            if error.errno == EPIPE:
                send.to_thread(thread, send.user_info(SIGPIPE, thread.process))
            raise

    async def stat(self, thread: Thread) -> Attr:
        """A pipe (or whatever the host's stream is)."""
        now = thread.kernel.boot_realtime_ns
        return Attr(self.stream + 1, 13, self._mode, 1, 0, 0, 0, 0, 0, 4096, now, now, now, now)

    def poll(self) -> int:
        """As of the last `refresh` or wake-up."""
        return self._ready

    async def refresh(self, thread: Thread) -> None:
        """Ask the driver."""
        readable, writable = await self._console.call(StreamReady(self.stream))
        self._ready = (IN if readable and self.readable else 0) | (
            OUT if writable and self.writable else 0
        )

    def watch(self, kernel: Kernel) -> None:
        """Wait at the driver, in a task for each direction that is open and not ready."""
        assert kernel.nursery is not None
        wanted = (IN if self.readable else 0) | (OUT if self.writable else 0)
        wanted &= ~(self._ready | self._watching)
        self._watching |= wanted
        if wanted & IN:
            kernel.nursery.start_soon(self._wait_at_host, False, IN, name="stream")
        if wanted & OUT:
            kernel.nursery.start_soon(self._wait_at_host, True, OUT, name="stream")

    async def _wait_at_host(self, write: bool, events: int) -> None:
        with contextlib.suppress(ServiceUnavailable):
            await self._console.call(WaitStream(self.stream, write))
        self._watching &= ~events
        self._ready |= events
        if self.queue is not None:
            self.queue.wake(events)

    async def path(self) -> bytes:
        """As for a pipe."""
        return b"pipe:[%d]" % (self.stream + 1)
