"""Where the fields of ext4's structures lie: little-endian, as mke2fs(8) writes them.

Names are those of the kernel's documentation of the format, without their prefixes. Each `Fields`
reads by name from a buffer; what is 48 or 64 bits wide there comes in a low and a high part.
"""

from __future__ import annotations

import enum
from struct import Struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SUPER_OFFSET, SUPER_BYTES = 1024, 1024
SUPER_MAGIC, EXTENT_MAGIC, XATTR_MAGIC = 0xEF53, 0xF30A, 0xEA02_0000
ROOT_INODE = 2

Block = bytes | bytearray
"""A block, or a part of one: an operation that changes it has it as a bytearray."""


class Fields:
    """A structure: each field's offset and struct(3) letter."""

    def __init__(self, fields: Mapping[str, tuple[int, str]]) -> None:
        self._fields = {name: (at, Struct("<" + kind)) for name, (at, kind) in fields.items()}
        ordered = sorted(fields.items(), key=lambda field: field[1][0])
        self._names = [name for name, _ in ordered]
        whole, here = "<", 0
        for name, (at, kind) in ordered:
            whole += f"{at - here}x{kind}"
            here = at + self._fields[name][1].size
        self._whole = Struct(whole)
        self.bytes = here

    def read(self, buffer: bytes | memoryview, offset: int = 0) -> dict[str, int]:
        """All fields of the structure at `offset`; struct.error if the buffer ends before."""
        return dict(zip(self._names, self._whole.unpack_from(buffer, offset), strict=True))

    def put(self, buffer: bytearray, name: str, value: int, offset: int = 0) -> None:
        """Write one field."""
        at, kind = self._fields[name]
        kind.pack_into(buffer, offset + at, value)

    def size(self, name: str) -> int:
        """Bytes of one field."""
        return self._fields[name][1].size

    def get(self, buffer: bytes | bytearray, name: str, offset: int = 0) -> int:
        """Read one field."""
        at, kind = self._fields[name]
        value: int = kind.unpack_from(buffer, offset + at)[0]
        return value


SUPER = Fields({
    "inodes_count": (0x0, "I"), "blocks_count_lo": (0x4, "I"), "free_blocks_lo": (0xC, "I"),
    "free_inodes": (0x10, "I"), "first_data_block": (0x14, "I"), "log_block_size": (0x18, "I"),
    "blocks_per_group": (0x20, "I"), "inodes_per_group": (0x28, "I"), "magic": (0x38, "H"),
    "state": (0x3A, "H"), "rev_level": (0x4C, "I"), "first_ino": (0x54, "I"),
    "inode_size": (0x58, "H"), "compat": (0x5C, "I"), "incompat": (0x60, "I"),
    "ro_compat": (0x64, "I"), "journal_inum": (0xE0, "I"), "last_orphan": (0xE8, "I"),
    "hash_version": (0xFC, "B"), "desc_size": (0xFE, "H"), "first_meta_bg": (0x104, "I"),
    "blocks_count_hi": (0x150, "I"), "flags": (0x160, "I"), "checksum_type": (0x175, "B"),
    "reserved_gdt": (0xCE, "H"), "error_count": (0x194, "I"), "mnt_count": (0x34, "H"),
    "want_extra_isize": (0x15E, "H"), "reserved_blocks_lo": (0x8, "I"), "wtime": (0x30, "I"),
    "free_blocks_hi": (0x158, "I"), "checksum_seed": (0x270, "I"), "orphan_file_inum": (0x280, "I"),
    "overhead": (0x248, "I"), "checksum": (0x3FC, "I"),
})  # fmt: skip
GROUP = Fields({
    "block_bitmap_lo": (0x0, "I"), "inode_bitmap_lo": (0x4, "I"), "inode_table_lo": (0x8, "I"),
    "free_blocks_lo": (0xC, "H"), "free_inodes_lo": (0xE, "H"), "used_dirs_lo": (0x10, "H"),
    "flags": (0x12, "H"), "block_bitmap_csum_lo": (0x18, "H"),
    "inode_bitmap_csum_lo": (0x1A, "H"), "unused_inodes_lo": (0x1C, "H"), "checksum": (0x1E, "H"),
})  # fmt: skip
GROUP_HIGH = Fields({
    "block_bitmap_hi": (0x20, "I"), "inode_bitmap_hi": (0x24, "I"), "inode_table_hi": (0x28, "I"),
    "free_blocks_hi": (0x2C, "H"), "free_inodes_hi": (0x2E, "H"), "used_dirs_hi": (0x30, "H"),
    "unused_inodes_hi": (0x32, "H"), "block_bitmap_csum_hi": (0x38, "H"),
    "inode_bitmap_csum_hi": (0x3A, "H"),
})  # fmt: skip
INODE = Fields({
    "mode": (0x0, "H"), "uid_lo": (0x2, "H"), "size_lo": (0x4, "I"), "atime": (0x8, "i"),
    "ctime": (0xC, "i"), "mtime": (0x10, "i"), "dtime": (0x14, "I"), "gid_lo": (0x18, "H"),
    "links": (0x1A, "H"), "blocks_lo": (0x1C, "I"), "flags": (0x20, "I"),
    "generation": (0x64, "I"), "acl_lo": (0x68, "I"), "size_hi": (0x6C, "I"),
    "blocks_hi": (0x74, "H"), "acl_hi": (0x76, "H"), "uid_hi": (0x78, "H"), "gid_hi": (0x7A, "H"),
    "checksum_lo": (0x7C, "H"),
})  # fmt: skip
INODE_MAP, INODE_MAP_BYTES, INODE_BASE_BYTES = 0x28, 60, 128
INODE_EXTRA: Mapping[str, tuple[int, str]] = {
    "checksum_hi": (0x82, "H"), "ctime_extra": (0x84, "I"), "mtime_extra": (0x88, "I"),
    "atime_extra": (0x8C, "I"), "crtime": (0x90, "i"), "crtime_extra": (0x94, "I"),
}  # fmt: skip
"""Each is there if the inode's own extra_isize reaches so far."""
EXTRA_SIZE_AT = 0x80

EXTENT_HEADER = Struct("<HHHHI")
"""magic, entries, max, depth, generation."""
EXTENT_INDEX = Struct("<IIHH")
"""The first logical block below it; low and high part of the block that tells more; unused."""
EXTENT_LEAF = Struct("<IHHI")
"""The first logical block; length; high and low part of the first physical block."""
UNWRITTEN_FROM = 32768
"""An extent is longer than this by its length if it was allocated, but not written."""

DIRENT = Struct("<IHBB")
"""inode, length of the record, length of the name, type of file."""
XATTR_ENTRY = Struct("<BBHIII")
"""Length and prefix of the name; the value's offset, inode, size; a hash."""


class InodeFlag(enum.IntEnum):
    """Bits that change how an inode is read: plain numbers, as they are looked at all the time."""

    INDEX = 0x1000
    HUGE_FILE = 0x4_0000
    EXTENTS = 0x8_0000
    EA_INODE = 0x20_0000
    INLINE_DATA = 0x1000_0000


class Incompat(enum.IntFlag):
    """Who does not know one of these must not touch the volume."""

    COMPRESSION = 0x1
    FILETYPE = 0x2
    RECOVER = 0x4
    JOURNAL_DEV = 0x8
    META_BG = 0x10
    EXTENTS = 0x40
    BIT64 = 0x80
    MMP = 0x100
    FLEX_BG = 0x200
    EA_INODE = 0x400
    DIRDATA = 0x1000
    CSUM_SEED = 0x2000
    LARGEDIR = 0x4000
    INLINE_DATA = 0x8000
    ENCRYPT = 0x1_0000
    CASEFOLD = 0x2_0000


class RoCompat(enum.IntFlag):
    """Who does not know one of these may read the volume, but not write it."""

    SPARSE_SUPER = 0x1
    LARGE_FILE = 0x2
    BTREE_DIR = 0x4
    HUGE_FILE = 0x8
    GDT_CSUM = 0x10
    DIR_NLINK = 0x20
    EXTRA_ISIZE = 0x40
    QUOTA = 0x100
    BIGALLOC = 0x200
    METADATA_CSUM = 0x400
    READONLY = 0x1000
    PROJECT = 0x2000
    VERITY = 0x8000
    ORPHAN_PRESENT = 0x1_0000


READABLE = (
    Incompat.FILETYPE | Incompat.EXTENTS | Incompat.BIT64 | Incompat.FLEX_BG | Incompat.META_BG
    | Incompat.CSUM_SEED | Incompat.LARGEDIR
)  # fmt: skip
FEATURE_NAMES: Mapping[type[enum.IntFlag], Mapping[int, str]] = {
    Incompat: {
        Incompat.BIT64: "64bit", Incompat.RECOVER: "needs_recovery", Incompat.EXTENTS: "extent",
        Incompat.CSUM_SEED: "metadata_csum_seed", Incompat.LARGEDIR: "large_dir",
    },
    RoCompat: {RoCompat.GDT_CSUM: "uninit_bg"},
}  # fmt: skip
"""Where mke2fs(8) and dumpe2fs(8) call a feature otherwise than we do."""


def feature_names(features: enum.IntFlag) -> str:
    """As dumpe2fs prints them, sorted; bits without a name as FEATURE_ and the bit."""
    names = []
    for bit in (1 << n for n in range(32) if features & 1 << n):
        flag = type(features)(bit)
        told = FEATURE_NAMES[type(features)].get(bit)
        names.append(told or (flag.name or f"feature_{bit:#x}").lower())
    return ", ".join(sorted(names))
