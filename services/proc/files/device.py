"""Character devices (null(4), random(4), full(4), tty(4)), by (major, minor) of devices.txt.

A device file owns one reference to the fs node that it was opened through: stat(2) and the path
are the node's. `node()` is None all the same: a device is not mapped, locked or synced through fs.
mmap(2) of a `kind` "zero" file is anonymous memory.
"""

from __future__ import annotations

import os
import struct
from errno import EINVAL, ENOSPC, ENXIO
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.drivers.entropy.api import Draw
from services.fs.api import Attr, Close, PathOf, Release, StatNode
from services.proc.abi import O_LARGEFILE
from services.proc.descriptors import OpenFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.drivers.ram.api import Extent
    from services.proc.kernel import Kernel
    from services.proc.task import Thread

RNDGETENTCNT = 0x8004_5200
ENTROPY_BITS = 256
"""What random(4) shows of a pool that is never empty."""
ZEROS = bytes(256)
DRAW_BYTES = 64 << 10


class DeviceFile(OpenFile):
    """A memory device: no state, no waiting, and any offset is as good as another."""

    __slots__ = ("_node", "kernel")
    kind = "device"
    seekable = True

    def __init__(self, kernel: Kernel, node: int, flags: int) -> None:
        super().__init__(flags)
        self.kernel = kernel
        self._node = node

    async def seek(self, thread: Thread, offset: int, whence: int) -> int:
        """lseek(2): always at 0."""
        return 0

    async def stat(self, thread: Thread) -> Attr:
        """fstat(2): the node's."""
        return await self.kernel.fs.call(StatNode(self._node))

    async def path(self) -> bytes:
        """Where the node is."""
        return await self.kernel.fs.call(PathOf(self._node, 0))

    async def closed(self, thread: Thread | None) -> None:
        """Give the node's reference back."""
        await self.kernel.fs.call(Close(self._node, self.writable))

    @property
    def device_node(self) -> int:
        """The fs node that it was opened through, for opening it again."""
        return self._node


class NullDevice(DeviceFile):
    """/dev/null: always at its end; takes everything."""

    __slots__ = ()
    kind = "null"
    looks = False

    async def read(self, thread: Thread, extents: list[Extent], offset: int | None) -> int:
        """read(2): the end."""
        return 0

    async def write(self, thread: Thread, extents: list[Extent], offset: int | None) -> int:
        """write(2): gone."""
        if len(extents) == 1:
            return extents[0][1]
        return sum([length for _, length in extents])


class ZeroDevice(NullDevice):
    """/dev/zero."""

    __slots__ = ()
    kind = "zero"

    async def read(self, thread: Thread, extents: list[Extent], offset: int | None) -> int:
        """read(2): zeros, straight into RAM."""
        ram, count = self.kernel.ram, 0
        for paddr, length in extents:
            if length <= 256:
                ram.bytes[paddr : paddr + length] = ZEROS[:length]
            else:
                ram.zero(paddr, length)
            count += length
        return count


class FullDevice(ZeroDevice):
    """/dev/full: reads as zeros, is always full."""

    __slots__ = ()
    kind = "full"

    async def write(self, thread: Thread, extents: list[Extent], offset: int | None) -> int:
        """write(2): ENOSPC, even of nothing."""
        raise PosixError(ENOSPC)


class RandomDevice(NullDevice):
    """/dev/random and /dev/urandom: the entropy driver's stream; what is written adds nothing."""

    __slots__ = ()
    kind = "random"
    looks = True

    async def read(self, thread: Thread, extents: list[Extent], offset: int | None) -> int:
        """read(2): never waits, as the pool is full from the start."""
        memory, entropy, count = self.kernel.ram.bytes, self.kernel.entropy, 0
        for paddr, length in extents:
            for at in range(0, length, DRAW_BYTES):
                size = min(DRAW_BYTES, length - at)
                drawn = await entropy.call(Draw(size))
                memory[paddr + at : paddr + at + size] = drawn
            count += length
        return count

    async def ioctl(self, thread: Thread, command: int, argument: int) -> int:
        """random(4): RNDGETENTCNT; the pool cannot be filled or cleared (EINVAL)."""
        if command != RNDGETENTCNT:
            raise PosixError(EINVAL)
        await thread.copyout(argument, struct.pack("<i", ENTROPY_BITS))
        return 0


MEMORY_DEVICES: dict[tuple[int, int], Callable[[Kernel, int, int], OpenFile]] = {
    (1, 3): NullDevice,
    (1, 5): ZeroDevice,
    (1, 7): FullDevice,
    (1, 8): RandomDevice,
    (1, 9): RandomDevice,
}


async def open_device(thread: Thread, mode: int, rdev: int, node: int, flags: int) -> OpenFile:
    """Open the character device `rdev` through `node`, whose reference is ours from here on.

    ENXIO where no driver serves it; what the terminals answer is in `tty.open`.
    """
    number = os.major(rdev), os.minor(rdev)
    flags |= O_LARGEFILE
    make = MEMORY_DEVICES.get(number)
    if make is not None:
        return make(thread.kernel, node, flags)
    from services.proc.tty.open import TERMINAL_DEVICES, open_terminal

    try:
        if number[0] in TERMINAL_DEVICES:
            return await open_terminal(thread, number, node, flags)
        raise PosixError(ENXIO)
    except BaseException:
        await thread.kernel.fs.call(Release(node))
        raise


__all__ = ["DeviceFile", "open_device"]
