"""The ends of pipes, and FIFOs (pipe(7), fifo(7)). The buffer between them is `pipe_core.Pipe`.

A small write to an empty pipe, and a read of all that is there, are one copy each, done right
here; everything else goes through the buffer's own methods.

A FIFO has one `Pipe`, in the kernel's table `extra["fifos"]` by device and inode, from the first
open(2) until no description is left. Each end of it owns one reference to a node.
"""

from __future__ import annotations

from errno import EAGAIN, EINVAL, ENXIO, EPIPE
from typing import TYPE_CHECKING

from bus.census import kind as charge_kind
from bus.errors import PosixError
from services.fs.api import Attr, Close, PathOf, Release, StatNode
from services.proc.abi import (
    O_ACCMODE,
    O_NONBLOCK,
    O_RDONLY,
    O_RDWR,
    O_WRONLY,
    POLLERR,
    POLLHUP,
    S_IFIFO,
    SIGPIPE,
)
from services.proc.descriptors import OpenFile, drop
from services.proc.files.anon import (
    INT_IOCTL_BYTES,
    PIPE_DEV,
    gather,
    new_attr,
    total,
    wait_holding,
)
from services.proc.files.pipe_core import IN, OUT, PAGE_BYTES, PAGE_SHIFT, Pipe
from services.proc.park import Interrupted, WaitQueue
from services.proc.signals import send

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bus.core import Port
    from services.drivers.ram.api import Extent
    from services.proc.task import Thread

FIONREAD = 0x541B


class PipeEnd(OpenFile):
    """The reading or writing end of a pipe, or (a FIFO opened O_RDWR) both.

    The end of a FIFO owns one reference to its node.
    """

    __slots__ = ("_attr", "_fs", "_node", "_quiet", "pipe")
    kind = "pipe"
    heap = charge_kind("proc", "pipe end")

    def __init__(
        self, pipe: Pipe, flags: int, attr: Attr, fs: Port, node: int | None = None
    ) -> None:
        super().__init__(flags)
        self.pipe = pipe
        self._attr = attr
        self._fs = fs
        self._node = node
        self._quiet = -1
        """POLLHUP stays off while `writers_seen` has this value: no writer came yet."""
        mode = flags & O_ACCMODE
        if mode != O_WRONLY:
            pipe.readers += 1
            pipe.readers_seen += 1
        if mode != O_RDONLY:
            pipe.writers += 1
            pipe.writers_seen += 1
        if mode == O_RDWR:
            if pipe.both is None:
                pipe.both = WaitQueue()
            self.queue = pipe.both
        else:
            self.queue = pipe.readable if mode == O_RDONLY else pipe.writable

    async def read(self, thread: Thread, extents: list[Extent], offset: int | None) -> int:
        """read(2)."""
        pipe = self.pipe
        chunks = pipe.chunks
        if len(chunks) == 1 and len(extents) == 1 and not pipe.head and pipe.used < pipe.limit:
            chunk = chunks[0]
            paddr, room = extents[0]
            size = len(chunk)
            if size <= room:
                pipe.memory[paddr : paddr + size] = chunk
                pipe.lost(chunk)
                chunks.clear()
                pipe.used = 0
                return size
        if not extents:
            return 0
        if not chunks:
            if not pipe.writers:
                return 0
            if self.flags & O_NONBLOCK:
                raise PosixError(EAGAIN)
            await wait_holding(thread, self, pipe.readable, self._readable_now)
        return pipe.take(extents)

    def _readable_now(self) -> bool:
        """A read need not wait: there are bytes, or no writer is left."""
        return bool(self.pipe.chunks) or not self.pipe.writers

    async def write(self, thread: Thread, extents: list[Extent], offset: int | None) -> int:
        """write(2)."""
        pipe = self.pipe
        if len(extents) == 1 and pipe.readers and not pipe.chunks:
            paddr, length = extents[0]
            if length <= PAGE_BYTES:
                chunk = bytearray(pipe.memory[paddr : paddr + length])
                pipe.chunks.append(chunk)
                pipe.gained(chunk)
                pipe.used = 1
                if pipe.readable.entries or pipe.both is not None:
                    pipe.wake(IN)
                return length
        if not extents:
            return 0
        if not pipe.readers:
            raise self._broken(thread)
        length = total(extents)
        done = pipe.put(extents, 0, length, True)
        if done == length:
            return done
        if self.flags & O_NONBLOCK:
            if done:
                return done
            raise PosixError(EAGAIN)
        return await self._write_rest(thread, extents, done, length)

    async def _write_rest(
        self, thread: Thread, extents: Sequence[Extent], done: int, length: int
    ) -> int:
        """Go on as room appears. What is left is copied: the buffer may move while we wait."""
        pipe = self.pipe
        rest = memoryview(gather(pipe.memory, extents, done, length - done))
        self.holders += 1
        try:
            while done < length:
                if not pipe.readers:
                    error = self._broken(thread)
                    if done:
                        return done
                    raise error
                count = pipe.append(rest)
                done += count
                rest = rest[count:]
                if rest:
                    if self.flags & O_NONBLOCK:
                        break
                    await thread.wait(pipe.writable)
        except Interrupted:
            if not done:
                raise
        finally:
            await drop(self, thread)
        if not done:
            raise PosixError(EAGAIN)
        return done

    @staticmethod
    def _broken(thread: Thread) -> PosixError:
        """Nobody can read any more: SIGPIPE, EPIPE."""
        send.to_thread(thread, send.user_info(SIGPIPE, thread.process))
        return PosixError(EPIPE)

    async def fill(self, thread: Thread, wait: bool) -> bool:
        """splice(2), tee(2): wait for bytes; False at the end. EAGAIN."""
        if not self.pipe.chunks and self.pipe.writers:
            if not wait:
                raise PosixError(EAGAIN)
            await wait_holding(thread, self, self.pipe.readable, self._readable_now)
        return bool(self.pipe.chunks)

    async def room(self, thread: Thread, wait: bool) -> int:
        """splice(2), tee(2): wait until a slot is free; replies with the room. EAGAIN, EPIPE."""
        pipe = self.pipe
        self.holders += 1
        try:
            while True:
                if not pipe.readers:
                    raise self._broken(thread)
                if pipe.used < pipe.limit:
                    return (pipe.limit - pipe.used) << PAGE_SHIFT
                if not wait:
                    raise PosixError(EAGAIN)
                await thread.wait(pipe.writable)
        finally:
            await drop(self, thread)

    def poll(self) -> int:
        """What is ready, by the ends that this description has."""
        pipe, mode, ready = self.pipe, self.flags & O_ACCMODE, 0
        if mode != O_WRONLY:
            if pipe.chunks:
                ready = IN
            if not pipe.writers and pipe.writers_seen != self._quiet:
                ready |= POLLHUP
        if mode != O_RDONLY:
            if pipe.used < pipe.limit:
                ready |= OUT
            if not pipe.readers:
                ready |= POLLERR
        return ready

    def resize(self, size_bytes: int | None) -> int:
        """F_SETPIPE_SZ, or F_GETPIPE_SZ where it is None."""
        if size_bytes is None:
            return self.pipe.limit << PAGE_SHIFT
        return self.pipe.resize(size_bytes)

    async def ioctl(self, thread: Thread, command: int, argument: int) -> int:
        """FIONREAD."""
        if command == FIONREAD:
            count = len(self.pipe).to_bytes(INT_IOCTL_BYTES, "little")
            await thread.copyout(argument, count)
            return 0
        return await super().ioctl(thread, command, argument)

    async def stat(self, thread: Thread) -> Attr:
        """The pipe's own inode, or the FIFO's."""
        if self._node is not None:
            return await self._fs.call(StatNode(self._node))
        return self._attr

    async def path(self) -> bytes:
        """pipe:[ino], or where the FIFO is."""
        if self._node is not None:
            return await self._fs.call(PathOf(self._node, 0))
        return b"pipe:[%d]" % self._attr.ino

    async def closed(self, thread: Thread | None) -> None:
        """One end less; the other side learns of it when it was the last."""
        pipe = self.pipe
        pipe.readers -= self.readable
        pipe.writers -= self.writable
        if bool(pipe.readers) != bool(pipe.writers):
            pipe.wake(0)
        if not pipe.readers and not pipe.writers and pipe.table is not None:
            pipe.table.pop(pipe.key, None)
        if self._node is not None:
            await self._fs.call(Close(self._node, self.writable))

    async def meet(self, thread: Thread) -> None:
        """fifo(7): wait until the other side is open, or was since this began."""
        pipe = self.pipe
        if self.readable:
            seen = pipe.writers_seen
            while not pipe.writers and pipe.writers_seen == seen:
                await thread.wait(pipe.readable)
        else:
            seen = pipe.readers_seen
            while not pipe.readers and pipe.readers_seen == seen:
                await thread.wait(pipe.writable)

    def hush(self) -> None:
        """O_NONBLOCK: a reader that found no writer sees no POLLHUP until one has come."""
        if not self.pipe.writers:
            self._quiet = self.pipe.writers_seen


async def make_pipe(thread: Thread, flags: int) -> tuple[PipeEnd, PipeEnd]:
    """pipe2(2): the reading and the writing end; `flags` may hold O_NONBLOCK."""
    kernel = thread.kernel
    pipe = Pipe(kernel.ram.bytes)
    attr = await new_attr(thread, PIPE_DEV, S_IFIFO | 0o600)
    return (
        PipeEnd(pipe, O_RDONLY | flags, attr, kernel.fs),
        PipeEnd(pipe, O_WRONLY | flags, attr, kernel.fs),
    )


async def open_fifo(thread: Thread, node: int, flags: int) -> OpenFile:
    """open(2) of a FIFO; the reference to `node` is this function's from here on, come what may."""
    kernel = thread.kernel
    mode = flags & O_ACCMODE
    attr = await kernel.fs.call(StatNode(node))
    key = (attr.dev, attr.ino)
    table: dict[tuple[int, int], Pipe] = kernel.extra.setdefault("fifos", {})
    pipe = table.get(key)
    if mode == O_ACCMODE or (
        mode == O_WRONLY and flags & O_NONBLOCK and (pipe is None or not pipe.readers)
    ):
        await kernel.fs.call(Release(node))
        raise PosixError(EINVAL if mode == O_ACCMODE else ENXIO)
    if pipe is None:
        pipe = table[key] = Pipe(kernel.ram.bytes)
        pipe.table, pipe.key = table, key
    end = PipeEnd(pipe, flags, attr, kernel.fs, node)
    pipe.wake(0)
    if mode == O_RDWR:
        return end
    if flags & O_NONBLOCK:
        end.hush()
        return end
    try:
        await end.meet(thread)
    except BaseException:
        await end.closed(thread)
        raise
    return end
