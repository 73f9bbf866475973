"""What a disk is to the file system, and two that need no driver.

Everything is counted in sectors of 512 bytes, the unit that a power cut does not tear. There are
two sides of one contract:

- `BlockDevice` has plain functions. It is what tests, tools and `--image mem:SIZE` use.
- `WaitingDevice` has the same as coroutines, for a disk that takes its time. A batch of writes may
  be done in any order, several at once; when `write` returns, all have been taken.

The file system's core calls neither. It lacks blocks (`NeedBlocks`, supplied like every `Need` of
this service) and it hands out what is to be written as steps (`Writes`, `FLUSH`), each to be done
after the one before: so the same core runs on either.

Durability: what was written is durable after a `flush` that was called after the write returned;
a write with `fua` is durable when it returns, and says nothing of writes before it. Whatever is
not durable may be lost, sector by sector, in any order. A failure is PosixError(EIO), or ENOSPC
where what the disk lies on is full; a write that failed leaves the sectors old, new, or unreadable.
"""

from __future__ import annotations

import enum
import mmap
import os
from errno import EIO, EROFS
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

import attrs

from bus.errors import PosixError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from services.drivers.ram.api import Extent, Ram

SECTOR_BYTES = 512
SECTOR_SHIFT = 9
HUGE_BYTES = 1 << 46

Made = TypeVar("Made")
Buffer = bytes | bytearray | memoryview


@attrs.frozen
class Write:
    """`data`, whole sectors, goes to `sector`; with `fua` it is durable once that is done."""

    sector: int
    data: Buffer
    fua: bool = False


class _Flush(enum.Enum):
    FLUSH = "flush"


FLUSH = _Flush.FLUSH
"""A step: everything written before becomes durable."""

Writes = tuple[Write, ...]
"""A step: these are written, in any order."""


@attrs.frozen
class ReadStep:
    """A step that is answered with the content of `count` sectors from `sector`."""

    sector: int
    count: int


Step = Writes | Literal[_Flush.FLUSH] | ReadStep


class BlockDevice(Protocol):
    """A disk that never makes its caller wait."""

    sectors: int
    """How many it has."""
    read_only: bool
    lasting: bool
    """What it has outlives the kernel: otherwise nothing needs to be flushed."""

    def read(self, sector: int, count: int) -> bytes:
        """`count` sectors from `sector`."""

    def write(self, sector: int, data: Buffer, fua: bool = False) -> None:
        """Whole sectors."""

    def flush(self) -> None:
        """Make what was written before durable."""

    def discard(self, sector: int, count: int) -> None:
        """The content of these sectors is of no interest any more; a hint."""


class WaitingDevice(Protocol):
    """A disk that is waited for."""

    sectors: int
    read_only: bool
    prompt: bool
    """It never makes anybody wait after all."""
    lasting: bool

    async def read(self, sector: int, count: int) -> bytes:
        """`count` sectors from `sector`."""

    async def read_into(self, runs: Sequence[tuple[int, Sequence[Extent]]]) -> None:
        """Read into RAM: from each sector on as much as its extents take, whole sectors each."""

    async def write(self, writes: Sequence[Write]) -> None:
        """Take a batch, in any order; the first failure is raised when all have ended."""

    async def flush(self) -> None:
        """Make what was written before durable."""

    async def discard(self, sector: int, count: int) -> None:
        """The content of these sectors is of no interest any more; a hint."""


def check_range(device: BlockDevice | WaitingDevice, sector: int, count: int) -> None:
    """EIO for sectors that the device has not got."""
    if sector < 0 or count < 0 or sector + count > device.sectors:
        raise PosixError(EIO)


def perform(device: BlockDevice, steps: Generator[Step, bytes, Made]) -> Made:
    """Do what the core asks for, one step after the other; what it makes of that."""
    try:
        step = next(steps)
        while True:
            try:
                answer = _do(device, step)
            except PosixError as failure:
                step = steps.throw(failure)
            else:
                step = steps.send(answer)
    except StopIteration as end:
        made: Made = end.value
        return made


def _do(device: BlockDevice, step: Step) -> bytes:
    if step is FLUSH:
        device.flush()
    elif isinstance(step, ReadStep):
        return device.read(step.sector, step.count)
    else:
        for write in step:
            device.write(write.sector, write.data, write.fua)
    return b""


async def perform_waiting(device: WaitingDevice, steps: Generator[Step, bytes, Made]) -> Made:
    """The same on a disk that is waited for."""
    try:
        step = next(steps)
        while True:
            try:
                answer = await _wait_for(device, step)
            except PosixError as failure:
                step = steps.throw(failure)
            else:
                step = steps.send(answer)
    except StopIteration as end:
        made: Made = end.value
        return made


async def _wait_for(device: WaitingDevice, step: Step) -> bytes:
    if step is FLUSH:
        await device.flush()
    elif isinstance(step, ReadStep):
        return await device.read(step.sector, step.count)
    else:
        await device.write(step)
    return b""


class MemoryDevice:
    """A disk in the host's memory, zeros at first, that takes memory only where it was written."""

    lasting = False

    def __init__(self, size_bytes: int) -> None:
        if size_bytes <= 0 or size_bytes % SECTOR_BYTES or size_bytes > HUGE_BYTES:
            raise ValueError(f"a disk has whole sectors of {SECTOR_BYTES} bytes, not {size_bytes}")
        self.sectors = size_bytes // SECTOR_BYTES
        self.read_only = False
        self._map = mmap.mmap(-1, size_bytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)

    def read(self, sector: int, count: int) -> bytes:
        """`count` sectors from `sector`."""
        check_range(self, sector, count)
        start = sector << SECTOR_SHIFT
        return self._map[start : start + (count << SECTOR_SHIFT)]

    def write(self, sector: int, data: Buffer, fua: bool = False) -> None:
        """Whole sectors."""
        length = len(data)
        if length % SECTOR_BYTES:
            raise PosixError(EIO)
        check_range(self, sector, length >> SECTOR_SHIFT)
        if self.read_only:
            raise PosixError(EROFS)
        start = sector << SECTOR_SHIFT
        self._map[start : start + length] = data

    def flush(self) -> None:
        """Nothing outlives the process anyway."""

    def discard(self, sector: int, count: int) -> None:
        """Give whole pages back to the host: they read as zeros."""
        check_range(self, sector, count)
        first = -(-(sector << SECTOR_SHIFT) // mmap.PAGESIZE) * mmap.PAGESIZE
        end = (sector + count << SECTOR_SHIFT) // mmap.PAGESIZE * mmap.PAGESIZE
        if end > first:
            self._map.madvise(mmap.MADV_DONTNEED, first, end - first)

    def content(self) -> bytes:
        """All of it."""
        return self._map[:]


class FileDevice:
    """A disk on a host file, with the host's own durability; whoever opens it waits for it."""

    lasting = True

    def __init__(self, path: str | os.PathLike[str], read_only: bool = False) -> None:
        self.read_only = read_only
        flags = os.O_RDONLY if read_only else os.O_RDWR
        self._fd = os.open(Path(path), flags | os.O_CLOEXEC)
        self.sectors = os.lseek(self._fd, 0, os.SEEK_END) >> SECTOR_SHIFT

    def read(self, sector: int, count: int) -> bytes:
        """`count` sectors from `sector`."""
        check_range(self, sector, count)
        try:
            data = os.pread(self._fd, count << SECTOR_SHIFT, sector << SECTOR_SHIFT)
        except OSError:
            raise PosixError(EIO) from None
        if len(data) != count << SECTOR_SHIFT:
            raise PosixError(EIO)
        return data

    def write(self, sector: int, data: Buffer, fua: bool = False) -> None:
        """Whole sectors."""
        if len(data) % SECTOR_BYTES:
            raise PosixError(EIO)
        check_range(self, sector, len(data) >> SECTOR_SHIFT)
        if self.read_only:
            raise PosixError(EROFS)
        try:
            flags = os.RWF_DSYNC if fua else 0
            done = os.pwritev(self._fd, [data], sector << SECTOR_SHIFT, flags)
        except OSError:
            raise PosixError(EIO) from None
        if done != len(data):
            raise PosixError(EIO)

    def flush(self) -> None:
        """fdatasync(2)."""
        try:
            os.fdatasync(self._fd)
        except OSError:
            raise PosixError(EIO) from None

    def discard(self, sector: int, count: int) -> None:
        """A hint, not taken here."""

    def close(self) -> None:
        """The host's file is let go."""
        os.close(self._fd)


class Prompt:
    """A `WaitingDevice` made of one that needs no waiting."""

    def __init__(self, device: BlockDevice, ram: Ram | None = None) -> None:
        self.device = device
        self.sectors = device.sectors
        self.read_only = device.read_only
        self.prompt = True
        self.lasting = device.lasting
        self._ram = ram

    async def read(self, sector: int, count: int) -> bytes:
        """`count` sectors from `sector`."""
        return self.device.read(sector, count)

    async def read_into(self, runs: Sequence[tuple[int, Sequence[Extent]]]) -> None:
        """Read into RAM."""
        if self._ram is None:
            raise PosixError(EIO)
        view = self._ram.bytes
        for sector, extents in runs:
            here = sector
            for paddr, length in extents:
                count = length >> SECTOR_SHIFT
                view[paddr : paddr + length] = self.device.read(here, count)
                here += count

    async def write(self, writes: Sequence[Write]) -> None:
        """Take a batch."""
        for write in writes:
            self.device.write(write.sector, write.data, write.fua)

    async def flush(self) -> None:
        """Make what was written before durable."""
        self.device.flush()

    async def discard(self, sector: int, count: int) -> None:
        """A hint."""
        self.device.discard(sector, count)
