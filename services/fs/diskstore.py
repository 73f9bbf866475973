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
from services.fs.core_xattr import commit_put
from services.fs.ext4 import directory as ext4_directory
from services.fs.ext4 import mapping, xattr
from services.fs.ext4.blocks import NeedBlock
from services.fs.ext4.device import SECTOR_SHIFT
from services.fs.ext4.layout import ROOT_INODE
from services.fs.ext4.lookup import find
from services.fs.ext4.session import HAS_JOURNAL
from services.fs.extents import part

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from services.drivers.ram.api import Extent, Ram
    from services.fs.core_inode import Inode
    from services.fs.core_volume import Volume
    from services.fs.ext4.device import WaitingDevice
    from services.fs.ext4.inode import Inode as Ext4Inode
    from services.fs.ext4.session import Session

    _Found = tuple[Ext4Inode, dict[bytes, bytes]]

Result = TypeVar("Result")

EXT4_MAGIC = 0xEF53
NAME_BYTES_MAX = 255
ST_VALID, ST_RDONLY = 0x20, 1


class DiskOrigin:
    """What the disk knows an inode by."""

    __slots__ = ("atime_ns", "changes", "generation", "gone", "number", "pins")

    def __init__(self, number: int, generation: int) -> None:
        self.number = number
        self.generation = generation
        """Tells it from others that had its number."""
        self.atime_ns = 0
        """What the disk has; memory's may be later."""
        self.pins = 0
        """Operations on their way that change it: until then its number is its own."""
        self.gone = False
        """It has left memory meanwhile."""
        self.changes = 0
        """How often its content has been changed: who reads it while others run looks at that."""


def origin_of(inode: Inode) -> DiskOrigin:
    """The origin of an inode that came from a disk."""
    origin = inode.origin
    if not isinstance(origin, DiskOrigin):
        raise KernelBug(f"{inode!r} is not from a disk")
    return origin


def number_of(inode: Inode) -> int:
    """The number on disk of an inode that came from there."""
    return origin_of(inode).number


class DiskStore:
    """Files of an ext4 volume. Every method may raise PosixError, Damaged included."""

    waits = True

    def __init__(self, device: WaitingDevice, session: Session, ram: Ram) -> None:
        self.device = device
        self.session = session
        self.ext4 = session.volume
        self._ram = ram
        self._sectors = self.ext4.block_bytes >> SECTOR_SHIFT
        self._mounted: Volume | None = None

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
        self.ext4.cache.supply_old(number, content)

    # ── names ───────────────────────────────────────────────────────────────────────────────

    async def top(self, volume: Volume) -> Inode:
        """The root directory."""
        self._mounted = volume
        found = await self.run(lambda: self._all_of(ROOT_INODE))
        return self._known(volume, found)

    def _all_of(self, number: int) -> _Found:
        raw = self.ext4.inode(number)
        return raw, xattr.attributes(self.ext4, raw)

    def _known(self, volume: Volume, found: _Found) -> Inode:
        """The inode of what was found: the one that memory has, if it has one."""
        raw, attributes = found
        number = raw.number
        known = volume.known.get(number)
        if known is not None:
            return known
        inode = make_inode(volume, number, raw.mode, raw.uid, raw.gid)
        inode.origin = DiskOrigin(number, raw.generation)
        for name, value in attributes.items():
            commit_put(inode, name, value)
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
        origin_of(inode).atime_ns = raw.atime_ns
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

        def look() -> _Found | None:
            found = find(self.ext4, self.ext4.inode(number), name)
            return None if found is None else self._all_of(found[0].inode)

        found = await self.run(look)
        return None if found is None else self._known(directory.volume, found)

    async def unchanged(self, inode: Inode) -> bool:
        """Nobody else writes the disk."""
        return True

    async def renew(self, inode: Inode, path: bytes | None = None) -> bool:
        """Nobody else writes the disk."""
        return True

    async def entries(self, directory: Directory) -> dict[bytes, tuple[int, int]]:
        """All names of a directory, as of one moment."""
        origin = origin_of(directory)
        for _ in range(ATTEMPTS):
            before = origin.changes
            found = await self._entries(directory)
            if origin.changes == before:
                return found
        raise PosixError(ENOMEM)

    async def _entries(self, directory: Directory) -> dict[bytes, tuple[int, int]]:
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
        block = await self.run(lambda: self.ext4.cache.content(where[0].physical))
        return bytes(block[: raw.size])

    # ── content ─────────────────────────────────────────────────────────────────────────────

    async def ready(self, file: File, write: bool) -> None:
        """Nothing has to be opened."""

    async def fill(self, file: File, offset: int, extents: Sequence[Extent], patience: int) -> int:
        """Read content into RAM, whole pages, as of one moment."""
        if patience == NOW and not self.device.prompt:
            return WOULD_WAIT
        origin = origin_of(file)
        for _ in range(ATTEMPTS):
            before = origin.changes
            count = await self._fill(file, offset, extents)
            if origin.changes == before:
                return count
        raise PosixError(ENOMEM)

    async def _fill(self, file: File, offset: int, extents: Sequence[Extent]) -> int:
        ext4, number = self.ext4, number_of(file)
        length = sum(size for _, size in extents)
        size = ext4.block_bytes
        first, end = offset // size, -(-(offset + length) // size)

        def mapped() -> list[mapping.Run]:
            return mapping.runs(ext4, ext4.inode(number), first, end - first)

        wanted: list[tuple[int, list[Extent]]] = []
        newer: list[tuple[int, bytes]] = []
        done = offset
        for run in await self.run(mapped):
            if run.unwritten:
                continue
            start = max(run.logical * size, offset)
            stop = min((run.logical + run.count) * size, offset + length)
            self._zero(extents, done - offset, start - done)
            sector = run.physical * self._sectors + ((start - run.logical * size) >> SECTOR_SHIFT)
            wanted.append((sector, part(extents, start - offset, stop - start)))
            newer += self._newer(run, size)
            done = stop
        self._zero(extents, done - offset, offset + length - done)
        if wanted:
            await self.device.read_into(wanted)
        for start, content in newer:
            self._lay_over(extents, offset, start, content)
        return min(length, max(file.backed_bytes - offset, 0))

    def _newer(self, run: mapping.Run, size: int) -> list[tuple[int, bytes]]:
        """What of a run the disk has not got yet: (where in the file, content)."""
        data = self.ext4.cache.data
        if not data:
            return []
        blocks = range(run.physical, run.physical + run.count)
        there = blocks if run.count < len(data) else [n for n in data if n in blocks]
        first = run.logical - run.physical
        return [((first + number) * size, data[number]) for number in there if number in data]

    def _lay_over(self, extents: Sequence[Extent], offset: int, start: int, content: bytes) -> None:
        """Put content of the file from `start` on into `extents`, which begin at `offset`."""
        end = offset + sum(size for _, size in extents)
        low, high = max(start, offset), min(start + len(content), end)
        view, done = self._ram.bytes, low - start
        for paddr, length in part(extents, low - offset, high - low) if low < high else ():
            view[paddr : paddr + length] = content[done : done + length]
            done += length

    def _zero(self, extents: Sequence[Extent], start: int, count: int) -> None:
        if count > 0:
            for paddr, length in part(extents, start, count):
                self._ram.zero(paddr, length)

    async def space(self) -> StatFsReply | None:
        """statfs(2)."""
        ext4, journal = self.ext4, 0
        counts = ext4.counts()
        if ext4.compat & HAS_JOURNAL:
            inode = await self.run(lambda: ext4.inode(ext4.journal_inode))
            journal = inode.size // ext4.block_bytes
        return StatFsReply(
            EXT4_MAGIC,
            ext4.block_bytes,
            ext4.blocks - ext4.overhead(journal),
            counts.free_blocks,
            ext4.available(),
            ext4.inodes,
            counts.free_inodes,
            0,
            NAME_BYTES_MAX,
            ST_VALID | (ST_RDONLY if self.session.journal is None else 0),
        )

    async def forget(self, inodes: Sequence[Inode]) -> None:
        """Nothing was open."""

    async def close(self) -> None:
        """Nothing is to be written."""


_KINDS = (0, 8, 4, 2, 6, 1, 12, 10)
"""DT_* of readdir(3) by the type in a directory's entry."""
