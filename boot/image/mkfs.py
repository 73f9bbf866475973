"""Our own mkfs: an empty ext4 file system with a journal, for hosts without e2fsprogs.

Blocks of 4 KiB, inodes of 256 bytes, 8192 of them per group of 128 MiB, extents, file types, a
journal of contiguous blocks, backups of superblock and group descriptors in groups 1 and powers of
3, 5 and 7. No checksums, no 64-bit, no flexible groups: mke2fs makes those. Source: the kernel's
Documentation/filesystems/ext4 and, for the journal, journal.rst there.

    for offset, content in file_system(size_bytes, uuid, now_s): ...    all else is zeros

Pure.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 4096
PER_GROUP = 8 * BLOCK
INODE_BYTES = 256
DESCRIPTOR_BYTES = 32
LEAST_BYTES = 8 << 20
MOST_BYTES = 1 << 40
ROOT, JOURNAL, FIRST_FREE, LOST_FOUND = 2, 8, 11, 11
LOST_FOUND_BLOCKS = 4

HAS_JOURNAL = 0x4
COMPAT = 0x8 | 0x20  # ext_attr, dir_index
INCOMPAT = 0x2 | 0x40  # filetype, extents
RO_COMPAT = 0x1 | 0x2 | 0x40  # sparse_super, large_file, extra_isize
EXTENTS_FLAG = 0x80000


def journal_blocks(blocks: int) -> int:
    """As mke2fs chooses, up to 64 MiB."""
    steps = ((32768, 1024), (256 << 10, 4096), (512 << 10, 8192))
    return next((size for limit, size in steps if blocks < limit), 16384)


def has_backup(group: int) -> bool:
    """Whether a group has copies of superblock and descriptors (sparse_super)."""
    if group <= 1:
        return True
    for base in (3, 5, 7):
        power = base
        while power < group:
            power *= base
        if power == group:
            return True
    return False


@attrs.frozen
class Shape:
    """Where everything lies, in blocks."""

    blocks: int
    groups: int
    table_blocks: int
    descriptor_blocks: int

    @staticmethod
    def of(size_bytes: int) -> Shape:
        """ValueError: too small or too large, with what would do."""
        if not LEAST_BYTES <= size_bytes <= MOST_BYTES:
            raise ValueError(f"from {LEAST_BYTES >> 20}M to {MOST_BYTES >> 40}T")
        blocks = size_bytes // BLOCK
        groups = -(-blocks // PER_GROUP)
        per_group = min(8192, max(256, blocks // 4 // groups // 16 * 16))
        descriptor_blocks = -(-groups * DESCRIPTOR_BYTES // BLOCK)
        shape = Shape(blocks, groups, per_group * INODE_BYTES // BLOCK, descriptor_blocks)
        rest = blocks - (groups - 1) * PER_GROUP
        if groups > 1 and rest < shape.overhead(groups - 1) + 50:
            return Shape(
                (groups - 1) * PER_GROUP, groups - 1, shape.table_blocks, descriptor_blocks
            )
        return shape

    @property
    def inodes_per_group(self) -> int:
        """A table holds so many."""
        return self.table_blocks * BLOCK // INODE_BYTES

    def copies(self, group: int) -> int:
        """Blocks of superblock and descriptors at its start."""
        return 1 + self.descriptor_blocks if has_backup(group) else 0

    def overhead(self, group: int) -> int:
        """Blocks that are never a file's."""
        return self.copies(group) + 2 + self.table_blocks

    def start(self, group: int) -> int:
        """Its first block."""
        return group * PER_GROUP

    def size(self, group: int) -> int:
        """Its blocks."""
        return min(PER_GROUP, self.blocks - self.start(group))


def _spans(
    shape: Shape, journal: int
) -> tuple[dict[int, list[tuple[int, int]]], list[tuple[int, int, int]]]:
    """Blocks in use by group, and the journal's extents (logical, length, physical)."""
    used = {group: [(0, shape.overhead(group))] for group in range(shape.groups)}
    first = shape.overhead(0)
    used[0].append((first, 1 + LOST_FOUND_BLOCKS))
    left, logical, extents = journal, 0, []
    group = 0
    while left:
        start = sum(length for _, length in used[group])
        count = min(left, shape.size(group) - start)
        if count > 0:
            used[group].append((start, count))
            extents.append((logical, count, shape.start(group) + start))
            logical, left = logical + count, left - count
        group += 1
    return used, extents


Extents = list[tuple[int, int, int]]


def _inode(mode: int, links: int, blocks: int, extents: Extents, now: int) -> bytes:
    size = blocks * BLOCK
    tree = struct.pack("<HHHHI", 0xF30A, len(extents), 4, 0, 0)
    for logical, count, physical in extents:
        tree += struct.pack("<IHHI", logical, count, physical >> 32, physical & 0xFFFFFFFF)
    fixed = struct.pack(
        "<HHIIIIIHHII4x60s",
        mode, 0, size, now, now, now, 0, 0, links, size // 512, EXTENTS_FLAG, tree,
    )  # fmt: skip
    return fixed.ljust(128, b"\0") + struct.pack("<HHIIIII", 32, 0, 0, 0, 0, now, 0)


def _entry(inode: int, name: bytes, length: int) -> bytes:
    return struct.pack("<IHBB", inode, length, len(name), 2) + name.ljust(length - 8, b"\0")


def _bitmap(spans: list[tuple[int, int]], size: int) -> bytes:
    """Set bits for spans and for what lies behind `size`."""
    bits = 0
    for start, count in spans:
        bits |= ((1 << count) - 1) << start
    bits |= ((1 << (PER_GROUP - size)) - 1) << size
    return bits.to_bytes(BLOCK, "little")


def _journal_super(blocks: int, uuid: bytes) -> bytes:
    head = struct.pack(">IIIIIIII", 0xC03B3998, 4, 0, BLOCK, blocks, 1, 1, 0)
    return head.ljust(48, b"\0") + uuid + struct.pack(">I", 1)


def _super(
    shape: Shape, free_blocks: int, uuid: bytes, now: int, label: bytes, journal: bytes
) -> bytes:
    per_group = shape.inodes_per_group
    inodes = per_group * shape.groups
    raw = struct.pack(
        "<IIIIIIIIIIIIIHHHHHHIIIIHHIHHIII",
        inodes, shape.blocks, shape.blocks // 20, free_blocks, inodes - FIRST_FREE, 0, 2, 2,
        PER_GROUP, PER_GROUP, per_group, 0, now, 0, 0xFFFF, 0xEF53, 1, 1, 0, now, 0, 0, 1, 0, 0,
        FIRST_FREE, INODE_BYTES, 0, COMPAT | HAS_JOURNAL * bool(journal), INCOMPAT, RO_COMPAT,
    )  # fmt: skip
    raw += uuid + label[:16].ljust(16, b"\0")
    raw = raw.ljust(0xE0, b"\0") + struct.pack("<I", JOURNAL if journal else 0)
    raw = raw.ljust(0xEC, b"\0") + uuid + bytes((1, bool(journal)))  # half-MD4; a backup
    raw = raw.ljust(0x100, b"\0") + struct.pack("<III", 0x4 | 0x8, 0, now)
    if journal:
        size = struct.unpack_from("<I", journal, 4)[0]
        raw = raw.ljust(0x10C, b"\0") + journal[40:100] + struct.pack("<II", 0, size)
    raw = raw.ljust(0x15C, b"\0") + struct.pack("<HHI", 32, 32, 1)
    return raw.ljust(1024, b"\0")


def file_system(
    size_bytes: int, uuid: bytes, now_s: int, label: bytes = b"", *, journalled: bool = True
) -> Iterator[tuple[int, bytes]]:
    """The pieces of it that are not zeros: (offset, content). ValueError: a size that cannot be."""
    shape = Shape.of(size_bytes)
    journal = journal_blocks(shape.blocks) if journalled else 0
    used, extents = _spans(shape, journal)
    first = shape.overhead(0)
    found = [(0, LOST_FOUND_BLOCKS, first + 1)]
    inodes = {
        ROOT: _inode(0o40755, 3, 1, [(0, 1, first)], now_s),
        LOST_FOUND: _inode(0o40700, 2, LOST_FOUND_BLOCKS, found, now_s),
    }
    if journal:
        inodes[JOURNAL] = _inode(0o100600, 1, journal, extents, now_s)
    descriptors, free_total = b"", 0
    for group in range(shape.groups):
        base = shape.start(group) + shape.copies(group)
        free = shape.size(group) - sum(count for _, count in used[group])
        free_total += free
        taken = FIRST_FREE if group == 0 else 0
        descriptors += struct.pack(
            "<IIIHHHH12x", base, base + 1, base + 2, free,
            shape.inodes_per_group - taken, 2 if group == 0 else 0, 0,
        )  # fmt: skip
        yield base * BLOCK, _bitmap(used[group], shape.size(group))
        yield (base + 1) * BLOCK, _bitmap([(0, taken)], shape.inodes_per_group)
        if group == 0:
            for number, raw in inodes.items():
                yield (base + 2) * BLOCK + (number - 1) * INODE_BYTES, raw
    root = _entry(ROOT, b".", 12) + _entry(ROOT, b"..", 12)
    yield first * BLOCK, root + _entry(LOST_FOUND, b"lost+found", BLOCK - 24)
    yield (first + 1) * BLOCK, _entry(LOST_FOUND, b".", 12) + _entry(ROOT, b"..", BLOCK - 12)
    for block in range(1, LOST_FOUND_BLOCKS):
        yield (first + 1 + block) * BLOCK, struct.pack("<IHBB", 0, BLOCK, 0, 0)
    if journal:
        yield extents[0][2] * BLOCK, _journal_super(journal, uuid)
    raw = _super(shape, free_total, uuid, now_s, label, inodes.get(JOURNAL, b""))
    for group in filter(has_backup, range(shape.groups)):
        copy = bytearray(raw)
        struct.pack_into("<H", copy, 0x5A, group)
        yield shape.start(group) * BLOCK + (1024 if group == 0 else 0), bytes(copy)
        yield (shape.start(group) + 1) * BLOCK, descriptors
