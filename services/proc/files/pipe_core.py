"""The buffer of a pipe (pipe(7)): pure bookkeeping, in which no task ever waits.

Capacity is counted as Linux counts it, so that short counts and readiness agree: a pipe has
`limit` slots of a page. What a write brings is one chunk and fills whole slots; only its odd bytes
(length modulo 4096) may first be merged into the last slot, if they fit there. Hence a write of
PIPE_BUF bytes or fewer is atomic by construction: it finds its slot or it waits.

`chunks` are bytearrays, each starting at a slot boundary; `head` bytes of the first are read.

Waking: a write tells readers; a read tells writers only when it makes a full pipe non-full. FIFOs
opened O_RDWR poll for both, in a queue of their own.
"""

from __future__ import annotations

from collections import deque
from errno import EBUSY, EINVAL, EPERM
from sys import getsizeof
from typing import TYPE_CHECKING

from bus.census import kind
from bus.errors import PosixError
from services.proc.abi import POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM
from services.proc.files.anon import gather
from services.proc.park import WaitQueue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.drivers.ram.api import Extent

PAGE_SHIFT, PAGE_BYTES, PAGE_MASK = 12, 4096, 4095
DEFAULT_SLOTS = 16
MAX_BYTES = 1 << 20
"""fs.pipe-max-size; nobody may exceed it here, as kernel heap pays for it."""
IN, OUT = POLLIN | POLLRDNORM, POLLOUT | POLLWRNORM
PIPE = kind("proc", "pipe")
CHUNK_BYTES = 32
"""What a chunk takes beside itself: its place in the queue, and rounding."""


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
        "table",
        "used",
        "writable",
        "writers",
        "writers_seen",
    )

    def __init__(self, memory: memoryview) -> None:
        PIPE.made()
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
        self.table: dict[tuple[int, int], Pipe] | None = None
        """Where a FIFO is found, by device and inode; None for a pipe."""
        self.key = (0, 0)

    def __del__(self) -> None:
        for chunk in self.chunks:
            self.lost(chunk)
        PIPE.freed()

    def gained(self, chunk: bytearray) -> None:
        """Charge for a chunk that is put into `chunks`."""
        PIPE.grew(getsizeof(chunk) + CHUNK_BYTES)

    def lost(self, chunk: bytearray) -> None:
        """Credit a chunk that is taken out of `chunks`."""
        PIPE.grew(-getsizeof(chunk) - CHUNK_BYTES)

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
                self.lost(chunks[-1])
                chunks[-1] += gather(self.memory, source, start, odd)
                self.gained(chunks[-1])
                done = odd
        count = min(left - done, (self.limit - self.used) << PAGE_SHIFT)
        if count > 0:
            chunks.append(gather(self.memory, source, start + done, count))
            self.gained(chunks[-1])
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
                    self.lost(chunks.popleft())
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
                self.lost(self.chunks.popleft())
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

    def append(self, data: bytes | memoryview) -> int:
        """Append what fits of `data` in slots of its own (splice(2), tee(2))."""
        count = min(len(data), (self.limit - self.used) << PAGE_SHIFT)
        if count:
            self.chunks.append(bytearray(memoryview(data)[:count]))
            self.gained(self.chunks[-1])
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
