"""An inode that an operation changes: `Draft` is its bytes until `save`."""

from __future__ import annotations

import stat
from errno import EFBIG
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.fs.ext4 import layout
from services.fs.ext4.checksum import crc32c
from services.fs.ext4.device import SECTOR_BYTES
from services.fs.ext4.inode import SECOND_NS
from services.fs.ext4.layout import EXTENT_HEADER, INODE_BASE_BYTES, Incompat, InodeFlag, RoCompat

if TYPE_CHECKING:
    from services.fs.ext4.inode import Inode
    from services.fs.ext4.volume import Volume

LARGE_BYTES = 1 << 31
"""A file of this size and more needs a feature of the volume's."""
UNITS_MAX = 1 << 48


class Draft:
    """The inode of a number, as it is or (`fresh`) all zeros. NeedBlock, Damaged."""

    def __init__(self, volume: Volume, number: int, *, fresh: bool = False) -> None:
        self.volume = volume
        self.number = number
        self.essential = fresh
        """Whether fdatasync(2) has to care about what changed."""
        self._place = volume.inode_place(number)
        self._view: Inode | None = None
        if fresh:
            old = volume.block(self._place[0], f"inode {number}")
            at = self._place[1]
            generation = layout.INODE.get(old, "generation", at)
            self.raw = bytearray(volume.inode_bytes)
            self.put("generation", (generation + 1) & 0xFFFF_FFFF)
            if volume.inode_bytes > INODE_BASE_BYTES:
                extra = min(volume.extra_isize, volume.inode_bytes - INODE_BASE_BYTES)
                self.raw[layout.EXTRA_SIZE_AT : layout.EXTRA_SIZE_AT + 2] = extra.to_bytes(
                    2, "little"
                )
        else:
            self._view = volume.inode(number)
            self.raw = bytearray(self._view.raw)

    @property
    def view(self) -> Inode:
        """What it says now."""
        if self._view is None:
            self._view = self.volume.parsed(self.number, bytes(self.raw))
        return self._view

    @property
    def seed(self) -> int:
        """Where checksums of what belongs to it begin."""
        return self.view.seed

    def get(self, name: str) -> int:
        """A field."""
        return layout.INODE.get(self.raw, name)

    def put(self, name: str, value: int) -> None:
        """Change a field."""
        layout.INODE.put(self.raw, name, value)
        self._view = None

    # ── fields that are more than one word ──────────────────────────────────────────────────

    @property
    def map(self) -> bytearray:
        """i_block, a copy."""
        return self.raw[layout.INODE_MAP : layout.INODE_MAP + layout.INODE_MAP_BYTES]

    @map.setter
    def map(self, content: bytes | bytearray) -> None:
        start = layout.INODE_MAP
        self.raw[start : start + layout.INODE_MAP_BYTES] = content.ljust(
            layout.INODE_MAP_BYTES, b"\0"
        )
        self._view = None
        self.essential = True

    @property
    def size(self) -> int:
        """Bytes."""
        return self.get("size_lo") | self.get("size_hi") << 32

    @size.setter
    def size(self, size_bytes: int) -> None:
        if size_bytes >= LARGE_BYTES and not self.volume.ro_compat & RoCompat.LARGE_FILE:
            raise PosixError(EFBIG)
        if size_bytes != self.size:
            self.put("size_lo", size_bytes & 0xFFFF_FFFF)
            self.put("size_hi", size_bytes >> 32)
            self.essential = True

    @property
    def links(self) -> int:
        """Names; 1 for a directory with too many to count."""
        return self.get("links")

    @links.setter
    def links(self, count: int) -> None:
        self.put("links", count)
        self.essential = True

    @property
    def flags(self) -> int:
        """What kind of map it has, and whether an index."""
        return self.get("flags")

    @flags.setter
    def flags(self, flags: int) -> None:
        self.put("flags", int(flags))
        self.essential = True

    def add_blocks(self, count: int) -> None:
        """It takes so many blocks of the volume's more (fewer where negative)."""
        huge = bool(self.flags & InodeFlag.HUGE_FILE)
        unit = 1 if huge else self.volume.block_bytes // SECTOR_BYTES
        units = (self.get("blocks_lo") | self.get("blocks_hi") << 32) + count * unit
        if units >= UNITS_MAX:
            raise PosixError(EFBIG)
        self.put("blocks_lo", units & 0xFFFF_FFFF)
        self.put("blocks_hi", units >> 32)
        self.essential = True

    def set_owner(self, uid: int, gid: int) -> None:
        """chown(2)."""
        for name, number in (("uid", uid), ("gid", gid)):
            self.put(name + "_lo", number & 0xFFFF)
            self.put(name + "_hi", number >> 16)

    def set_time(self, name: str, time_ns: int) -> None:
        """`name` is atime, mtime, ctime or crtime; what the inode has no room for is left out."""
        seconds, nanoseconds = divmod(time_ns, SECOND_NS)
        end = INODE_BASE_BYTES
        if len(self.raw) > end:
            at = layout.EXTRA_SIZE_AT
            end += int.from_bytes(self.raw[at : at + 2], "little")
        at, _ = layout.INODE_EXTRA[name + "_extra"]
        wide = at + 4 <= end
        low = (seconds & 0xFFFF_FFFF) - ((seconds & 0x8000_0000) << 1)
        if not wide:
            low = max(min(seconds, 0x7FFF_FFFF), -0x8000_0000)
        else:
            epoch = (seconds - low) >> 32 & 3
            self.raw[at : at + 4] = (nanoseconds << 2 | epoch).to_bytes(4, "little")
        if name == "crtime":
            at, _ = layout.INODE_EXTRA[name]
            if wide:
                self.raw[at : at + 4] = low.to_bytes(4, "little", signed=True)
        else:
            layout.INODE.put(self.raw, name, low)
        self._view = None

    def set_device(self, rdev: int) -> None:
        """`rdev` as stat(2) has it."""
        major, minor = rdev >> 8 & 0xFFF, rdev & 0xFF | rdev >> 12 & 0xFFF00
        words = bytearray(layout.INODE_MAP_BYTES)
        if major < 256 and minor < 256:
            words[:4] = (major << 8 | minor).to_bytes(4, "little")
        else:
            packed = minor & 0xFF | major << 8 | (minor & ~0xFF) << 12
            words[4:8] = packed.to_bytes(4, "little")
        self.map = words

    def begin_map(self) -> None:
        """No blocks yet: with extents, if the volume has them."""
        if self.volume.incompat & Incompat.EXTENTS:
            self.flags |= InodeFlag.EXTENTS
            self.map = EXTENT_HEADER.pack(layout.EXTENT_MAGIC, 0, 4, 0, 0)

    @property
    def is_directory(self) -> bool:
        """S_ISDIR."""
        return stat.S_ISDIR(self.get("mode"))

    # ── writing ─────────────────────────────────────────────────────────────────────────────

    def save(self) -> None:
        """Into its block, with its checksum."""
        if self.volume.checksums:
            self._seal()
        block, at = self._place
        buffer = self.volume.cache.edit(block)
        buffer[at : at + len(self.raw)] = self.raw
        inodes = self.volume.cache.open.inodes
        inodes[self.number] = inodes.get(self.number, False) or self.essential

    def _seal(self) -> None:
        raw = self.raw
        extra = 0
        if len(raw) > INODE_BASE_BYTES:
            at = layout.EXTRA_SIZE_AT
            extra = int.from_bytes(raw[at : at + 2], "little")
        raw[0x7C:0x7E] = b"\0\0"
        if extra >= 4:
            raw[0x82:0x84] = b"\0\0"
        right = crc32c(self.volume.seed_of(self.number, self.get("generation")), raw)
        raw[0x7C:0x7E] = (right & 0xFFFF).to_bytes(2, "little")
        if extra >= 4:
            raw[0x82:0x84] = (right >> 16).to_bytes(2, "little")
        self._view = None
