"""Files that no path leads to: pipes, sockets, and the anon_inode family (eventfd, epoll, ...).

Also how their data gets to and from user memory: `gather` and `scatter` copy between Python bytes
and the (paddr, length_bytes) runs of a user buffer, and `wait_holding` waits while such runs are
in hand.
"""

from __future__ import annotations

import itertools
from errno import EINVAL
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.drivers.clock.api import REALTIME, Now
from services.fs.api import Attr
from services.proc.descriptors import OpenFile, drop
from services.proc.park import INTERRUPTED, Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from services.drivers.ram.api import Extent
    from services.proc.kernel import Kernel
    from services.proc.park import WaitQueue
    from services.proc.task import Thread

PIPE_DEV, SOCKET_DEV, ANON_DEV = 15, 9, 16
"""st_dev of pipefs, sockfs and anon_inodefs, as an ordinary Linux numbers them."""
ANON_INO = 1
INT_IOCTL_BYTES = 4


def new_ino(kernel: Kernel) -> int:
    """An inode number of its own for a pipe or socket."""
    numbers: Iterator[int] = kernel.extra.setdefault("anon_inodes", itertools.count(1000))
    return next(numbers)


async def new_attr(thread: Thread, dev: int, mode: int) -> Attr:
    """What stat(2) shows of a pipe or socket that `thread` makes now."""
    now = await thread.kernel.clock.call(Now(REALTIME))
    owner = thread.process.credentials
    ino = new_ino(thread.kernel)
    return Attr(ino, dev, mode, 1, owner.fsuid, owner.fsgid, 0, 0, 0, 4096, now, now, now, now)


class AnonFile(OpenFile):
    """A description on the one inode that all anonymous files share."""

    __slots__ = ()
    kind = "anon"

    async def stat(self, thread: Thread) -> Attr:
        """An inode without a type, as Linux shows it."""
        now = thread.kernel.boot_realtime_ns
        return Attr(ANON_INO, ANON_DEV, 0o600, 1, 0, 0, 0, 0, 0, 4096, now, now, now, now)

    async def seek(self, thread: Thread, offset: int, whence: int) -> int:
        """There is nowhere to go, and no error (Linux: noop_llseek)."""
        return 0


def gather(
    memory: memoryview, extents: Sequence[Extent], start: int, length_bytes: int
) -> bytearray:
    """A copy of `length_bytes` of the runs, from `start` bytes in."""
    if len(extents) == 1:
        paddr = extents[0][0] + start
        return bytearray(memory[paddr : paddr + length_bytes])
    data = bytearray()
    for paddr, length in extents:
        if start >= length:
            start -= length
            continue
        size = min(length - start, length_bytes)
        data += memory[paddr + start : paddr + start + size]
        length_bytes -= size
        if not length_bytes:
            break
        start = 0
    return data


def scatter(memory: memoryview, extents: Sequence[Extent], data: bytes | memoryview) -> None:
    """Copy `data` into the runs, which have room for it."""
    size = len(data)
    if len(extents) == 1:
        paddr = extents[0][0]
        memory[paddr : paddr + size] = data
        return
    view, at = memoryview(data), 0
    for paddr, length in extents:
        piece = view[at : at + length]
        memory[paddr : paddr + len(piece)] = piece
        at += len(piece)
        if at == size:
            break


def total(extents: Sequence[Extent]) -> int:
    """Length of the runs in bytes."""
    if len(extents) == 1:
        return extents[0][1]
    return sum([length for _, length in extents])


def first_bytes(memory: memoryview, extents: Sequence[Extent], length_bytes: int) -> bytes:
    """The start of a buffer, which must hold that much; EINVAL."""
    if total(extents) < length_bytes:
        raise PosixError(EINVAL)
    return bytes(gather(memory, extents, 0, length_bytes))


async def wait_holding(
    thread: Thread,
    file: OpenFile,
    queue: WaitQueue,
    ready: Callable[[], object],
    deadline_ns: int | None = None,
) -> bool:
    """Wait until `ready`, in a call that holds the extents of a buffer that it is still to fill.

    The call also holds the description, which another thread may close meanwhile. And another
    thread may call fork or munmap: the extents then name frames that are no longer this buffer's.
    So the program is sent back to its SYSCALL instruction, as after a signal without a handler,
    and the call looks its buffer up anew. Hence nothing may have been transferred before.

    False when the deadline came first. The common case, no deadline, is `thread.wait` written
    out: every pipe's ping-pong passes here.
    """
    parker, memory, entries = thread.parker, thread.space.memory, queue.entries
    before = memory.generation
    file.holders += 1
    try:
        while not ready():
            if deadline_ns is not None:
                if not await thread.wait(queue, deadline_ns=deadline_ns):
                    return False
            else:
                parker.arm()
                if thread.work and thread.kernel.interrupts(thread):
                    raise Interrupted
                entries[parker] = None
                try:
                    why = await parker.park()
                finally:
                    entries.pop(parker, None)
                if why == INTERRUPTED:
                    raise Interrupted
            if memory.generation != before:
                thread.work = True
                raise Interrupted
    finally:
        if file.holders > 1:
            file.holders -= 1
        else:
            await drop(file, thread)
    return True
