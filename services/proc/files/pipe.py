"""Pipes and FIFOs (pipe(7), fifo(7)).

Capacity is counted as Linux counts it, so that short counts and readiness agree: a pipe has
`limit` slots of a page. What a write brings is one chunk and fills whole slots; only its odd bytes
(length modulo 4096) may first be merged into the last slot, if they fit there. Hence a write of
PIPE_BUF bytes or fewer is atomic by construction: it finds its slot or it waits.

`chunks` are bytearrays, each starting at a slot boundary; `head` bytes of the first are read. The
common case, a small write to an empty pipe and a read of all of it, is one copy each way and
touches nothing else.

Waking: a write tells readers; a read tells writers only when it makes a full pipe non-full. FIFOs
opened O_RDWR poll for both, in a queue of their own.
"""

from __future__ import annotations

from collections import deque
from errno import EAGAIN, EBUSY, EINVAL, ENXIO, EPERM, EPIPE
from struct import pack
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.fs.api import Attr, PathOf, Release, StatNode
from services.proc.abi import (
    O_ACCMODE,
    O_NONBLOCK,
    O_RDONLY,
    O_RDWR,
    O_WRONLY,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLRDNORM,
    POLLWRNORM,
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
from services.proc.park import Interrupted, WaitQueue
from services.proc.signals import send

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.drivers.ram.api import Extent
    from services.proc.kernel import Kernel
    from services.proc.task import Thread

PAGE_SHIFT, PAGE_BYTES, PAGE_MASK = 12, 4096, 4095
PIPE_BUF = 4096
DEFAULT_SLOTS = 16
MAX_BYTES = 1 << 20
"""fs.pipe-max-size; nobody may exceed it here, as kernel heap pays for it."""
IN, OUT = POLLIN | POLLRDNORM, POLLOUT | POLLWRNORM
FIONREAD = 0x541B

FifoTable = dict[tuple[int, int], "Pipe"]


class Pipe:
    """The buffer between ends: no task ever waits inside its methods."""

    __slots__ = (
        "both",
        "chunks",
        "head",
        "key",
        "limit",
        "memory",
        "readable",
        "readers",
        "readers_seen",
        "used",
        "writable",
        "writers",
        "writers_seen",
    )

    def __init__(self, memory: memoryview) -> None:
        self.memory = memory
        self.chunks: deque[bytearray] = deque()
        self.head = 0
        self.used = 0
        """Slots that hold something."""
        self.limit = DEFAULT_SLOTS
        self.readers = self.writers = 0
        """Open descriptions of each kind."""
        self.readers_seen = self.writers_seen = 0
        """How many there ever were: an open(2) that waits for a partner sees one come and go."""
        self.readable, self.writable = WaitQueue(), WaitQueue()
        self.both: WaitQueue | None = None
        self.key: tuple[int, int] | None = None
        """Device and inode of a FIFO."""

    def __len__(self) -> int:
        """Unread bytes."""
        return sum([len(chunk) for chunk in self.chunks]) - self.head

    def __bool__(self) -> bool:
        """There is something to read."""
        return bool(self.chunks)

    def wake(self, events: int) -> None:
        """Tell those who wait for any of `events`; everybody, where it is 0."""
        if not events or events & IN:
            self.readable.wake(events)
        if not events or events & OUT:
            self.writable.wake(events)
        if self.both is not None:
            self.both.wake(events)

    def put(self, source: Sequence[Extent], start: int, left: int, merge: bool) -> int:
        """Append up to `left` bytes of the runs, from `start` bytes in; replies with how many."""
        chunks, done = self.chunks, 0
        odd = left & PAGE_MASK
        if merge and odd and chunks:
            filled = len(chunks[-1]) & PAGE_MASK
            if filled and filled + odd <= PAGE_BYTES:
                chunks[-1] += gather(self.memory, source, start, odd)
                done = odd
        count = min(left - done, (self.limit - self.used) << PAGE_SHIFT)
        if count > 0:
            chunks.append(gather(self.memory, source, start + done, count))
            self.used += (count + PAGE_MASK) >> PAGE_SHIFT
            done += count
        if done:
            self.wake(IN)
        return done

    def take(self, target: Sequence[Extent]) -> int:
        """Move bytes into the runs; replies with how many there were."""
        memory, chunks, head = self.memory, self.chunks, self.head
        full, done = self.used >= self.limit, 0
        for paddr, room in target:
            end = paddr + room
            while paddr < end and chunks:
                chunk = chunks[0]
                size = min(len(chunk) - head, end - paddr)
                after = head + size
                memory[paddr : paddr + size] = memoryview(chunk)[head:after]
                if after == len(chunk):
                    chunks.popleft()
                    self.used -= ((after + PAGE_MASK) >> PAGE_SHIFT) - (head >> PAGE_SHIFT)
                    head = 0
                else:
                    self.used -= (after >> PAGE_SHIFT) - (head >> PAGE_SHIFT)
                    head = after
                paddr += size
                done += size
        self.head = head
        if full and self.used < self.limit:
            self.wake(OUT)
        return done

    def skip(self, length_bytes: int) -> None:
        """Throw away `length_bytes` that `peek` has given."""
        full = self.used >= self.limit
        while length_bytes:
            size, head = len(self.chunks[0]), self.head
            after = min(head + length_bytes, size)
            length_bytes -= after - head
            if after == size:
                self.chunks.popleft()
                self.used -= ((size + PAGE_MASK) >> PAGE_SHIFT) - (head >> PAGE_SHIFT)
                self.head = 0
            else:
                self.used -= (after >> PAGE_SHIFT) - (head >> PAGE_SHIFT)
                self.head = after
        if full and self.used < self.limit:
            self.wake(OUT)

    def peek(self, length_bytes: int) -> bytes:
        """Up to `length_bytes` without taking them (splice(2), tee(2))."""
        pieces: list[bytes] = []
        head = self.head
        for chunk in self.chunks:
            piece = bytes(memoryview(chunk)[head : head + length_bytes])
            pieces.append(piece)
            length_bytes -= len(piece)
            head = 0
            if not length_bytes:
                break
        return b"".join(pieces)

    def append(self, data: bytes) -> int:
        """Append what fits of `data` in slots of its own (splice(2), tee(2))."""
        count = min(len(data), (self.limit - self.used) << PAGE_SHIFT)
        if count:
            self.chunks.append(bytearray(memoryview(data)[:count]))
            self.used += (count + PAGE_MASK) >> PAGE_SHIFT
            self.wake(IN)
        return count

    def resize(self, size_bytes: int) -> int:
        """F_SETPIPE_SZ (fcntl(2)): rounded up to a power of two of pages; EBUSY, EINVAL, EPERM."""
        if not 0 <= size_bytes <= 1 << 31:
            raise PosixError(EINVAL)
        if size_bytes > MAX_BYTES:
            raise PosixError(EPERM)
        slots = 1 << max(size_bytes - 1 >> PAGE_SHIFT, 0).bit_length()
        if slots < self.used:
            raise PosixError(EBUSY)
        full, self.limit = self.used >= self.limit, slots
        if full and self.used < slots:
            self.wake(OUT)
        return slots << PAGE_SHIFT


class PipeEnd(OpenFile):
    """The reading or writing end of a pipe, or (a FIFO opened O_RDWR) both.

    The end of a FIFO owns one reference to its node.
    """

    __slots__ = ("_attr", "_fifo", "_quiet", "pipe")
    kind = "pipe"

    def __init__(self, pipe: Pipe, flags: int, attr: Attr, fifo: int | None = None) -> None:
        super().__init__(flags)
        self.pipe = pipe
        self._attr = attr
        self._fifo = fifo
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
            await self._wait_for_bytes(thread)
        return pipe.take(extents)

    async def _wait_for_bytes(self, thread: Thread) -> None:
        """Until there are some, or no writer is left."""
        pipe = self.pipe
        self.holders += 1
        try:
            while not pipe.chunks and pipe.writers:
                if self.flags & O_NONBLOCK:
                    raise PosixError(EAGAIN)
                await wait_holding(thread, pipe.readable)
        finally:
            await drop(self, thread)

    async def write(self, thread: Thread, extents: list[Extent], offset: int | None) -> int:
        """write(2)."""
        pipe = self.pipe
        if len(extents) == 1 and pipe.readers and not pipe.chunks:
            paddr, length = extents[0]
            if length <= PAGE_BYTES:
                pipe.chunks.append(bytearray(pipe.memory[paddr : paddr + length]))
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
        if self._fifo is not None:
            return await thread.kernel.fs.call(StatNode(self._fifo))
        return self._attr

    async def path(self) -> bytes:
        """pipe:[ino]; procfs asks fs for a FIFO's (`fifo_node`)."""
        return b"pipe:[%d]" % self._attr.ino
