"""A store on a disk: an ext4 volume behind a `WaitingDevice`.

The volume's core (`ext4`) never waits. What it lacks is a block: this shell reads it while others
run, and calls the core again from the start. So names and attributes are as of one moment.

Nobody else writes the disk: what memory knows stays true (`Volume.private`).
"""

from __future__ import annotations

import functools
from errno import EIO, ENOMEM
from typing import TYPE_CHECKING, TypeVar

from bus.errors import KernelBug, PosixError
from services.drivers.hosttree.api import NOW, WOULD_WAIT
from services.fs.api import StatFsReply
from services.fs.core_inode import Directory, File, Link, make_inode
from services.fs.core_need import ATTEMPTS
from services.fs.ext4 import directory as ext4_directory
from services.fs.ext4 import mapping, xattr
from services.fs.ext4.blocks import NeedBlock
from services.fs.ext4.device import SECTOR_BYTES, SECTOR_SHIFT
from services.fs.ext4.layout import ROOT_INODE, SUPER_BYTES, SUPER_OFFSET
from services.fs.ext4.lookup import find
from services.fs.ext4.volume import Volume as Ext4Volume
from services.fs.extents import part

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from services.drivers.ram.api import Extent, Ram
    from services.fs.core_inode import Inode
    from services.fs.core_volume import Volume
    from services.fs.ext4.device import WaitingDevice
    from services.fs.ext4.inode import Inode as Ext4Inode

Result = TypeVar("Result")

EXT4_MAGIC = 0xEF53
NAME_BYTES_MAX = 255
ST_VALID, ST_RDONLY = 0x20, 1


class DiskOrigin:
    """What the disk knows an inode by."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number


def number_of(inode: Inode) -> int:
    """The number on disk of an inode that came from there."""
    origin = inode.origin
    if not isinstance(origin, DiskOrigin):
        raise KernelBug(f"{inode!r} is not from a disk")
    return origin.number


async def read_super(device: WaitingDevice) -> Ext4Volume:
    """The volume on a disk. Refused: there is none that we read."""
    first, count = SUPER_OFFSET // SECTOR_BYTES, SUPER_BYTES // SECTOR_BYTES
    raw = await device.read(first, count) if device.sectors >= first + count else b""
    return Ext4Volume(raw, device.sectors * SECTOR_BYTES)


class DiskStore:
    """Files of an ext4 volume; only read. Every method may raise PosixError, Damaged included."""

    def __init__(self, device: WaitingDevice, ext4: Ext4Volume, ram: Ram) -> None:
        self.device = device
        self.ext4 = ext4
        self._ram = ram
        self._sectors = ext4.block_bytes >> SECTOR_SHIFT

    async def run(self, operation: Callable[[], Result]) -> Result:
        """Do an operation of the core's, fetching the blocks that it lacks.

        ENOMEM: the cache cannot hold all that it needs at once.
        """
        for _ in range(ATTEMPTS):
            try:
                return operation()
            except NeedBlock as need:
                await self.fetch(need.number)
        raise PosixError(ENOMEM)

    async def fetch(self, number: int) -> None:
        """Read a block, unless it has come up meanwhile."""
        content = await self.device.read(number * self._sectors, self._sectors)
        self.ext4.cache.supply(number, content)

    # ── names ───────────────────────────────────────────────────────────────────────────────

    async def top(self, volume: Volume) -> Inode:
        """The root directory."""
        return await self.inode(volume, ROOT_INODE)

    async def inode(self, volume: Volume, number: int) -> Inode:
        """The inode of a number: the one that memory knows, if it does."""
        known = volume.known.get(number)
        if known is not None:
            return known
        raw = await self.run(lambda: self.ext4.inode(number))
        attributes = await self.run(lambda: xattr.attributes(self.ext4, raw))
        known = volume.known.get(number)
        if known is not None:
            return known
        inode = make_inode(volume, number, raw.mode, raw.uid, raw.gid)
        inode.origin = DiskOrigin(number)
        inode.xattrs = attributes or None
        self.describe(inode, raw)
        volume.known[number] = inode
        volume.keys[inode] = number
        return inode

    def describe(self, inode: Inode, raw: Ext4Inode) -> None:
        """Take over what the disk says."""
        inode.mode, inode.uid, inode.gid = raw.mode, raw.uid, raw.gid
        inode.nlink, inode.size, inode.blocks = raw.links, raw.size, raw.allocated // 512
        inode.atime_ns, inode.mtime_ns = raw.atime_ns, raw.mtime_ns
        inode.ctime_ns, inode.btime_ns = raw.ctime_ns, raw.birth_ns
        inode.stale_atime = raw.atime_ns <= max(raw.mtime_ns, raw.ctime_ns)
        inode.attr = None
        if isinstance(inode, File):
            inode.backed_bytes = raw.size
        elif not isinstance(inode, Directory | Link):
            major, minor = raw.rdev
            inode.rdev = major << 8 | minor & 0xFF | (minor & ~0xFF) << 12

    def path_in(self, directory: Directory, name: bytes) -> bytes:
        """Disks know no paths."""
        return name

    async def lookup(self, directory: Directory, name: bytes) -> Inode | None:
        """A name's inode."""
        number = number_of(directory)

        def look() -> int | None:
            found = find(self.ext4, self.ext4.inode(number), name)
            return None if found is None else found[0].inode

        target = await self.run(look)
        return None if target is None else await self.inode(directory.volume, target)

    async def unchanged(self, inode: Inode) -> bool:
        """Nobody else writes the disk."""
        return True

    async def renew(self, inode: Inode, path: bytes | None = None) -> bool:
        """Nobody else writes the disk."""
        return True

    async def entries(self, directory: Directory) -> dict[bytes, tuple[int, int]]:
        """All names of a directory."""
        ext4, number = self.ext4, number_of(directory)
        inode = await self.run(lambda: ext4.inode(number))
        found: dict[bytes, tuple[int, int]] = {}
        for place in await self.run(lambda: ext4_directory.places(ext4, inode)):
            names = functools.partial(ext4_directory.names_in, ext4, inode, place)
            for entry in await self.run(names):
                if entry.name not in (b".", b".."):
                    kind = _KINDS[entry.kind] if entry.kind < len(_KINDS) else 0
                    found[entry.name] = (entry.inode, kind)
        return found

    async def target(self, link: Link) -> bytes:
        """readlink(2)."""
        raw = await self.run(lambda: self.ext4.inode(number_of(link)))
        short = raw.short_target
        if short is not None:
            return bytes(short)
        where = await self.run(lambda: mapping.runs(self.ext4, raw, 0, 1))
        if not where or raw.size > self.ext4.block_bytes:
            raise PosixError(EIO)
        block = await self.run(lambda: self.ext4.cache.get(where[0].physical))
        return bytes(block[: raw.size])

    # ── content ─────────────────────────────────────────────────────────────────────────────

    async def ready(self, file: File, write: bool) -> None:
        """Nothing has to be opened."""

    async def fill(self, file: File, offset: int, extents: Sequence[Extent], patience: int) -> int:
        """Read content into RAM, whole pages."""
        if patience == NOW and not self.device.prompt:
            return WOULD_WAIT
        ext4, number = self.ext4, number_of(file)
        length = sum(size for _, size in extents)
        size = ext4.block_bytes
        first, end = offset // size, -(-(offset + length) // size)

        def mapped() -> list[mapping.Run]:
            return mapping.runs(ext4, ext4.inode(number), first, end - first)

        wanted: list[tuple[int, list[Extent]]] = []
        done = offset
        for run in await self.run(mapped):
            if run.unwritten:
                continue
            start = max(run.logical * size, offset)
            stop = min((run.logical + run.count) * size, offset + length)
            self._zero(extents, done - offset, start - done)
            sector = run.physical * self._sectors + ((start - run.logical * size) >> SECTOR_SHIFT)
            wanted.append((sector, part(extents, start - offset, stop - start)))
            done = stop
        self._zero(extents, done - offset, offset + length - done)
        if wanted:
            await self.device.read_into(wanted)
        return min(length, max(file.backed_bytes - offset, 0))

    def _zero(self, extents: Sequence[Extent], start: int, count: int) -> None:
        if count > 0:
            for paddr, length in part(extents, start, count):
                self._ram.zero(paddr, length)

    async def space(self) -> StatFsReply | None:
        """statfs(2)."""
        ext4 = self.ext4
        counts = ext4.counts()
        return StatFsReply(
            EXT4_MAGIC,
            ext4.block_bytes,
            ext4.blocks - ext4.overhead(),
            counts.free_blocks,
            max(counts.free_blocks - counts.reserved, 0),
            ext4.inodes,
            counts.free_inodes,
            0,
            NAME_BYTES_MAX,
            ST_VALID | ST_RDONLY,
        )

    async def forget(self, inodes: Sequence[Inode]) -> None:
        """Nothing was open."""


_KINDS = (0, 8, 4, 2, 6, 1, 12, 10)
"""DT_* of readdir(3) by the type in a directory's entry."""
