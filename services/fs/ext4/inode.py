"""An inode, as stat(2) tells of it and as its map of blocks needs it."""

from __future__ import annotations

import stat
import struct

import attrs

from services.fs.ext4 import layout
from services.fs.ext4.checksum import crc32c
from services.fs.ext4.device import SECTOR_BYTES
from services.fs.ext4.layout import InodeFlag

SECOND_NS = 1_000_000_000


@attrs.define
class Inode:
    """`size` and `allocated` are bytes, times nanoseconds since 1970; `map` is i_block."""

    number: int
    raw: bytes
    extra_bytes: int
    mode: int
    uid: int
    gid: int
    size: int
    links: int
    allocated: int
    flags: int
    generation: int
    xattr_block: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int
    birth_ns: int
    seed: int = 0
    """For the checksums of what belongs to it; 0 where there are none."""

    @property
    def map(self) -> bytes:
        """The root of its extents, its list of blocks, a short link's target, or a device."""
        return self.raw[layout.INODE_MAP : layout.INODE_MAP + layout.INODE_MAP_BYTES]

    @property
    def is_directory(self) -> bool:
        """S_ISDIR."""
        return stat.S_ISDIR(self.mode)

    @property
    def rdev(self) -> tuple[int, int]:
        """Major and minor number of a device: the old form in the first word, else the second."""
        old = int.from_bytes(self.map[:4], "little")
        if old:
            return old >> 8 & 0xFF, old & 0xFF
        new = int.from_bytes(self.map[4:8], "little")
        return new >> 8 & 0xFFF, new & 0xFF | new >> 12 & 0xFFF00

    @property
    def short_target(self) -> bytes | None:
        """The target of a symbolic link that has no block of its own, or None."""
        if not stat.S_ISLNK(self.mode) or self.flags & InodeFlag.EXTENTS:
            return None
        return self.map[: self.size] if self.size < layout.INODE_MAP_BYTES else None

    def is_checksum_right(self) -> bool:
        """Whether the inode is what its checksum tells (with `seed`)."""
        raw = bytearray(self.raw)
        told = int.from_bytes(raw[0x7C:0x7E], "little")
        raw[0x7C:0x7E] = b"\0\0"
        wide = len(raw) > layout.INODE_BASE_BYTES and self.extra_bytes >= 4
        if wide:
            told |= int.from_bytes(raw[0x82:0x84], "little") << 16
            raw[0x82:0x84] = b"\0\0"
        right = crc32c(self.seed, raw)
        return told == (right if wide else right & 0xFFFF)


_BASE = struct.Struct("<HHIiiiIHHII4x60sIIIIHHHH2x2x")
"""The 128 bytes that every inode has; INODE of `layout` has their names."""
_EXTRA = struct.Struct("<2x2xIIIiI")
"""What follows from offset 128 on, if it is there."""


def parse(number: int, raw: bytes, block_bytes: int) -> Inode:
    """An inode from its bytes, whatever they are, on a volume with blocks of that size."""
    (
        mode, uid, size, atime, ctime, mtime, _, gid, links, units, flags, _, generation, acl,
        size_high, _, units_high, acl_high, uid_high, gid_high,
    ) = _BASE.unpack_from(raw)  # fmt: skip
    units |= units_high << 32
    extra = 0
    later = (0, 0, 0, 0, 0)
    if len(raw) > layout.INODE_BASE_BYTES:
        told = int.from_bytes(raw[layout.EXTRA_SIZE_AT : layout.EXTRA_SIZE_AT + 2], "little")
        extra = min(told, len(raw) - layout.INODE_BASE_BYTES)
        have = raw[layout.INODE_BASE_BYTES : layout.INODE_BASE_BYTES + min(extra & ~3, _EXTRA.size)]
        later = _EXTRA.unpack(have.ljust(_EXTRA.size, b"\0"))
    return Inode(
        number=number,
        raw=raw,
        extra_bytes=extra,
        mode=mode,
        uid=uid | uid_high << 16,
        gid=gid | gid_high << 16,
        size=size | size_high << 32,
        links=links,
        allocated=units * (block_bytes if flags & InodeFlag.HUGE_FILE else SECTOR_BYTES),
        flags=flags,
        generation=generation,
        xattr_block=acl | acl_high << 32,
        atime_ns=_time_ns(atime, later[2]),
        mtime_ns=_time_ns(mtime, later[1]),
        ctime_ns=_time_ns(ctime, later[0]),
        birth_ns=_time_ns(later[3], later[4]),
    )


def _time_ns(seconds: int, extra: int) -> int:
    """34 bits of seconds and 30 of nanoseconds; nanoseconds out of range count as none."""
    nanoseconds = extra >> 2
    whole = seconds + ((extra & 3) << 32)
    return whole * SECOND_NS + (nanoseconds if nanoseconds < SECOND_NS else 0)
