"""The caller's standard streams, where they are no terminal (`console` driver)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.drivers.console.api import DescribeStream, ReadStream, StreamReady, WriteStream
from services.fs.api import Attr
from services.proc.abi import POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM, S_IFIFO, S_IFMT
from services.proc.descriptors import OpenFile
from services.proc.park import WaitQueue

if TYPE_CHECKING:
    from bus.core import Port
    from services.drivers.ram.api import Extent
    from services.proc.task import Thread

CHUNK_BYTES = 65536


class StreamFile(OpenFile):
    """Standard input, output or error of the `hardtack` command, shown as a pipe."""

    __slots__ = ("_console", "_mode", "stream")
    kind = "stream"

    def __init__(self, console: Port, stream: int, flags: int) -> None:
        super().__init__(flags)
        self._console = console
        self.stream = stream
        self._mode = S_IFIFO | 0o600
        self.queue = WaitQueue()

    async def describe(self) -> None:
        """Learn from the host what the stream is."""
        info = await self._console.call(DescribeStream(self.stream))
        if info.mode & S_IFMT:
            self._mode = info.mode

    async def read(self, thread: Thread, extents: list[Extent], offset: int | None) -> int:
        """Wait for bytes; 0 at the end."""
        wanted = min(sum(length for _, length in extents), CHUNK_BYTES)
        if not wanted:
            return 0
        data = await thread.interruptible(self._console.call(ReadStream(self.stream, wanted)))
        memory, at = thread.kernel.ram.bytes, 0
        for paddr, length in extents:
            piece = data[at : at + length]
            memory[paddr : paddr + len(piece)] = piece
            at += len(piece)
        return len(data)

    async def write(self, thread: Thread, extents: list[Extent], offset: int | None) -> int:
        """Hand everything to the host."""
        memory = thread.kernel.ram.bytes
        data = b"".join(bytes(memory[paddr : paddr + length]) for paddr, length in extents)
        if not data:
            return 0
        return await thread.interruptible(self._console.call(WriteStream(self.stream, data)))

    async def stat(self, thread: Thread) -> Attr:
        """A pipe (or whatever the host's stream is)."""
        now = thread.kernel.boot_realtime_ns
        return Attr(self.stream + 1, 13, self._mode, 1, 0, 0, 0, 0, 0, 4096, now, now, now, now)

    def poll(self) -> int:
        """Readiness is asked of the driver by `refresh`; output is taken as ready."""
        return POLLOUT | POLLWRNORM if self.writable else POLLIN | POLLRDNORM

    async def refresh(self) -> int:
        """Readiness now."""
        readable, writable = await self._console.call(StreamReady(self.stream))
        ready = 0
        if readable:
            ready |= POLLIN | POLLRDNORM
        if writable and self.writable:
            ready |= POLLOUT | POLLWRNORM
        return ready

    async def path(self) -> bytes:
        """As for a pipe."""
        return b"pipe:[%d]" % (self.stream + 1)
