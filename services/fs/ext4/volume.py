"""A volume: its superblock, its groups, and how an inode is found.

What we cannot read is refused by name (`Refused`); what we can read but must not write makes the
volume read-only. What contradicts itself is `Damaged`: EUCLEAN, or EBADMSG where a checksum tells,
as Linux has it; the message says where.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import attrs

from services.fs.ext4 import layout
from services.fs.ext4.blocks import BlockCache
from services.fs.ext4.checksum import MASK, crc16, crc32c
from services.fs.ext4.damage import Damaged, Refused
from services.fs.ext4.device import SECTOR_BYTES
from services.fs.ext4.inode import Inode, parse
from services.fs.ext4.layout import Incompat, RoCompat

if TYPE_CHECKING:
    from services.fs.ext4.device import BlockDevice


@attrs.frozen
class Counts:
    """What is left; `reserved` blocks of it are for root."""

    free_blocks: int
    free_inodes: int
    reserved: int


MAX_BLOCK_LOG = 6
"""Blocks of 64 KiB; blocks larger than a page are read all the same."""
CRC32C = 1
UNSIGNED_HASH = 2
INODES_KEPT = 2048


class Volume:
    """A volume whose superblock is `raw`, 1024 bytes, on a disk of `disk_bytes`. Refused.

    `replay`: whoever opens it is about to recover what its journal has, the superblock too: until
    that is done its checksum may be wrong.
    """

    def __init__(self, raw: bytes, disk_bytes: int, *, replay: bool = False) -> None:
        if len(raw) < layout.SUPER_BYTES or layout.SUPER.read(raw)["magic"] != layout.SUPER_MAGIC:
            raise Refused("no ext2, ext3 or ext4 volume is there: its magic number is missing")
        fields = layout.SUPER.read(raw)
        self.incompat = Incompat(fields["incompat"])
        self.ro_compat = RoCompat(fields["ro_compat"])
        if fields["rev_level"] == 0:
            self.incompat, self.ro_compat = Incompat(0), RoCompat(0)
        self._check_features(replay)
        uuid = raw[0x68:0x78]
        self.checksums = bool(self.ro_compat & RoCompat.METADATA_CSUM)
        if self.checksums:
            if fields["checksum_type"] != CRC32C:
                raise Refused(f"checksum type {fields['checksum_type']} is unknown")
            recovers = replay and bool(self.incompat & Incompat.RECOVER)
            if not recovers and not _is_sound(raw, fields):
                raise Refused("the superblock's checksum is wrong: e2fsck may mend it")
        by_seed = self.incompat & Incompat.CSUM_SEED
        self.seed = fields["checksum_seed"] if by_seed else crc32c(MASK, uuid)
        self._uuid = uuid
        self._counts = _counts(fields)
        self.wide = bool(self.incompat & Incompat.BIT64)
        self.typed = bool(self.incompat & Incompat.FILETYPE)
        self._meta_bg = bool(self.incompat & Incompat.META_BG)
        self._take_sizes(fields, disk_bytes)
        self.compat = fields["compat"]
        self.reserved_gdt = fields["reserved_gdt"]
        self._overhead = fields["overhead"]
        self.hash_version = fields["hash_version"]
        self.hash_seed = raw[0xEC:0xFC]
        self.unsigned_hash = bool(fields["flags"] & UNSIGNED_HASH)
        self.first_inode = fields["first_ino"] if fields["rev_level"] else 11
        self.extra_isize = fields["want_extra_isize"] or 32
        self.first_meta_bg = fields["first_meta_bg"]
        self.journal_inode = fields["journal_inum"]
        self.last_orphan = fields["last_orphan"]
        self.orphan_file = fields["orphan_file_inum"]
        known = {int(flag) for flag in RoCompat} - {
            RoCompat.BIGALLOC, RoCompat.QUOTA, RoCompat.PROJECT, RoCompat.READONLY,
            RoCompat.VERITY,
        }  # fmt: skip
        unwritable = RoCompat(int(self.ro_compat) & ~sum(known))
        self.read_only_because = layout.feature_names(unwritable)
        """The features for whose sake nothing may be written; empty: there are none."""
        self.cache = BlockCache(self.block_bytes)
        self.group_checksums = self.checksums or bool(self.ro_compat & RoCompat.GDT_CSUM)
        self._tables: dict[int, int] = {}
        """Where groups have their inodes: that never changes."""
        self._inodes: dict[int, Inode] = {}
        """Inodes as they were looked at last, each good while its bytes are the same."""
        self.frozen: dict[int, int] = {}
        """By group: blocks that a transaction has freed which is not on disk yet, as bits."""
        self.orphans: list[int] = []
        """Inodes without names that are still to be freed, as the superblock's list has them."""

    def _check_features(self, replay: bool) -> None:
        if self.incompat & Incompat.JOURNAL_DEV:
            raise Refused("it is an external journal, not a volume")
        if self.incompat & Incompat.RECOVER and not replay:
            raise Refused("its journal has not been replayed: e2fsck does that")
        unknown = Incompat(int(self.incompat) & ~int(layout.READABLE | Incompat.RECOVER))
        if unknown:
            raise Refused(f"unknown features: {layout.feature_names(unknown)}")
        if self.ro_compat & RoCompat.BIGALLOC:
            raise Refused("unknown features: bigalloc")

    def _take_sizes(self, fields: dict[str, int], disk_bytes: int) -> None:
        if fields["log_block_size"] > MAX_BLOCK_LOG:
            raise Refused(f"blocks of 2^{10 + fields['log_block_size']} bytes are too large")
        self.block_bytes = block_bytes = 1024 << fields["log_block_size"]
        self.blocks = fields["blocks_count_lo"] | (fields["blocks_count_hi"] << 32) * self.wide
        self.first_block = fields["first_data_block"]
        self.blocks_per_group = fields["blocks_per_group"]
        self.inodes = fields["inodes_count"]
        self.inodes_per_group = fields["inodes_per_group"]
        old = fields["rev_level"] == 0
        self.inode_bytes = 128 if old else fields["inode_size"]
        self.desc_bytes = fields["desc_size"] if self.wide else 32
        inode_bytes = self.inode_bytes
        if not 128 <= inode_bytes <= block_bytes or inode_bytes & (inode_bytes - 1):
            raise Refused(f"inodes of {inode_bytes} bytes cannot be")
        if not 32 <= self.desc_bytes <= 1024 or self.desc_bytes & (self.desc_bytes - 1):
            raise Refused(f"group descriptors of {self.desc_bytes} bytes cannot be")
        if self.wide and self.desc_bytes < 64:
            raise Refused(f"group descriptors of {self.desc_bytes} bytes are too short for 64bit")
        if self.first_block != (1 if block_bytes == 1024 else 0):
            raise Refused(f"the first block cannot be {self.first_block}")
        most = 8 * block_bytes
        if not 0 < self.blocks_per_group <= most or not 0 < self.inodes_per_group <= most:
            raise Refused("the sizes of its groups cannot be")
        if self.first_block >= self.blocks or self.blocks * block_bytes > disk_bytes:
            raise Refused(
                f"it has {self.blocks} blocks of {block_bytes} bytes,"
                f" but the disk only {disk_bytes} bytes"
            )
        self.groups = -(-(self.blocks - self.first_block) // self.blocks_per_group)
        if self.inodes != self.groups * self.inodes_per_group:
            raise Refused(f"{self.inodes} inodes do not fill {self.groups} groups")

    # Blocks and groups

    def counts(self) -> Counts:
        """What is left, as the superblock tells."""
        number, at = self.super_place
        now = self.cache.dirty.get(number)
        return self._counts if now is None else _counts(layout.SUPER.read(now, at))

    def overhead(self, journal_blocks: int) -> int:
        """Blocks that can be nobody's content: copies, descriptors, bitmaps, inodes, the journal.

        mke2fs has counted them, since it is of 2020; for others it is done here.
        """
        if self._overhead:
            return self._overhead
        tables = -(-self.inodes_per_group * self.inode_bytes // self.block_bytes) + 2
        copies = sum(self.has_super(group) for group in range(self.groups))
        fixed = self.groups * tables + copies * (1 + self.reserved_gdt)
        each = self.block_bytes // self.desc_bytes
        whole = min(self.first_meta_bg * each, self.groups) if self._meta_bg else self.groups
        fixed += copies * -(-whole // each)
        fixed += sum(group % each in (0, 1, each - 1) for group in range(whole, self.groups))
        return fixed + self.first_block + journal_blocks

    def available(self) -> int:
        """Blocks for who is not root: some are root's, some are set aside for extents' own blocks
        (ext4_set_resv_clusters of Linux: a fiftieth, at most 4096).
        """
        counts = self.counts()
        aside = min(self.blocks // 50, 4096) if self.incompat & Incompat.EXTENTS else 0
        return max(counts.free_blocks - counts.reserved - aside, 0)

    def block(self, number: int, where: str) -> bytes | bytearray:
        """A block that something at `where` names. NeedBlock, Damaged."""
        if not self.first_block <= number < self.blocks:
            raise Damaged(where, f"block {number} is outside of the volume")
        return self.cache.get(number)

    def has_super(self, group: int) -> bool:
        """Whether a group begins with a copy of the superblock (sparse_super: 0, 1, 3^n ...)."""
        if group < 2 or not self.ro_compat & RoCompat.SPARSE_SUPER:
            return True
        for base in (3, 5, 7):
            power = base
            while power < group:
                power *= base
            if power == group:
                return True
        return False

    def _descriptor_block(self, index: int) -> int:
        """Where the `index`th block of group descriptors lies."""
        per_block = self.block_bytes // self.desc_bytes
        if not self._meta_bg or index < self.first_meta_bg:
            return self.first_block + 1 + index
        group = index * per_block
        return self.first_block + group * self.blocks_per_group + self.has_super(group)

    def descriptor_place(self, group: int) -> tuple[int, int]:
        """The block that has a group's descriptor, and where in it."""
        index, slot = divmod(group, self.block_bytes // self.desc_bytes)
        return self._descriptor_block(index), slot * self.desc_bytes

    def descriptor(self, group: int) -> bytes | bytearray:
        """A group's descriptor. NeedBlock, Damaged."""
        number, at = self.descriptor_place(group)
        raw = self.block(number, f"group {group}")[at : at + self.desc_bytes]
        if self.group_checksums and self._group_checksum(group, raw) != raw[0x1E:0x20]:
            raise Damaged(f"group {group}", "its checksum is wrong", checksum=True)
        return raw

    def inode_table(self, group: int) -> int:
        """The first block of a group's inodes. NeedBlock, Damaged."""
        known = self._tables.get(group)
        if known is not None:
            return known
        raw = self.descriptor(group)
        table = layout.GROUP.get(raw, "inode_table_lo")
        if self.wide:
            table |= layout.GROUP_HIGH.get(raw, "inode_table_hi") << 32
        self._tables[group] = table
        return table

    def _group_checksum(self, group: int, raw: bytes | bytearray) -> bytes:
        head, rest = bytes(raw[:0x1E]), bytes(raw[0x20:])
        number = group.to_bytes(4, "little")
        if self.checksums:
            right = crc32c(crc32c(self.seed, number), head + b"\0\0" + rest) & 0xFFFF
        else:
            right = crc16(0xFFFF, self._uuid + number + head + (rest if self.wide else b""))
        return right.to_bytes(2, "little")

    def seal_group(self, group: int, raw: bytearray) -> None:
        """Give a group's descriptor its checksum."""
        if self.group_checksums:
            raw[0x1E:0x20] = self._group_checksum(group, raw)

    def group_start(self, group: int) -> int:
        """A group's first block."""
        return self.first_block + group * self.blocks_per_group

    def group_blocks(self, group: int) -> int:
        """How many blocks it has: the last may be shorter."""
        return min(self.blocks_per_group, self.blocks - self.group_start(group))

    def bitmap_bytes(self, which: str) -> int:
        """What of a bitmap of blocks, or inodes, its checksum covers."""
        return (self.blocks_per_group if which == "block" else self.inodes_per_group) // 8

    def base_blocks(self, group: int) -> int:
        """Blocks at a group's start that have copies of the superblock and descriptors."""
        count = int(self.has_super(group))
        per_block = self.block_bytes // self.desc_bytes
        if not self._meta_bg or group < self.first_meta_bg * per_block:
            if count:
                meta = self.first_meta_bg if self._meta_bg else 0
                count += (meta or -(-self.groups // per_block)) + self.reserved_gdt
            return count
        return count + (group % per_block in (0, 1, per_block - 1))

    def count(self, free_blocks: int = 0, free_inodes: int = 0) -> None:
        """So many more are free (fewer where negative), in the superblock."""
        buffer, at = self.edit_super()
        get, put = layout.SUPER.get, layout.SUPER.put
        if free_blocks:
            free = get(buffer, "free_blocks_lo", at) + free_blocks
            if self.wide:
                free += get(buffer, "free_blocks_hi", at) << 32
                put(buffer, "free_blocks_hi", free >> 32, at)
            put(buffer, "free_blocks_lo", free & MASK, at)
        if free_inodes:
            put(buffer, "free_inodes", get(buffer, "free_inodes", at) + free_inodes, at)
        self.seal_super(buffer)

    @property
    def super_place(self) -> tuple[int, int]:
        """The block that has the superblock, and where in it."""
        return divmod(layout.SUPER_OFFSET, self.block_bytes)

    def edit_super(self) -> tuple[bytearray, int]:
        """The block that has the superblock, to be changed; `seal_super` afterwards."""
        number, at = self.super_place
        return self.cache.edit(number), at

    def seal_super(self, buffer: bytearray) -> None:
        """Give the superblock its checksum."""
        at = self.super_place[1]
        if self.checksums:
            right = crc32c(MASK, buffer[at : at + 0x3FC])
            layout.SUPER.put(buffer, "checksum", right, at)

    # Inodes

    def inode_place(self, number: int) -> tuple[int, int]:
        """The block that has an inode, and where in it. NeedBlock, Damaged."""
        if not 1 <= number <= self.inodes:
            raise Damaged(f"inode {number}", f"there are {self.inodes} only")
        group, index = divmod(number - 1, self.inodes_per_group)
        block, offset = divmod(index * self.inode_bytes, self.block_bytes)
        return self.inode_table(group) + block, offset

    def inode(self, number: int) -> Inode:
        """An inode by its number. NeedBlock, Damaged."""
        where = f"inode {number}"
        block, offset = self.inode_place(number)
        raw = bytes(self.block(block, where)[offset : offset + self.inode_bytes])
        known = self._inodes.get(number)
        if known is not None and known.raw == raw:
            return known
        inode = parse(number, raw, self.block_bytes)
        inode.seed = self.seed_of(number, inode.generation)
        if self.checksums and not inode.is_checksum_right():
            raise Damaged(where, "its checksum is wrong", checksum=True)
        return self._remember(inode)

    def parsed(self, number: int, raw: bytes) -> Inode:
        """An inode from bytes that are not in their block yet."""
        known = self._inodes.get(number)
        if known is not None and known.raw == raw:
            return known
        inode = parse(number, raw, self.block_bytes)
        inode.seed = self.seed_of(number, inode.generation)
        return inode

    def _remember(self, inode: Inode) -> Inode:
        if len(self._inodes) >= INODES_KEPT:
            self._inodes.clear()
        self._inodes[inode.number] = inode
        return inode

    def seed_of(self, number: int, generation: int) -> int:
        """Where checksums of what belongs to an inode begin."""
        return crc32c(self.seed, struct.pack("<II", number, generation)) if self.checksums else 0


def _is_sound(raw: bytes, fields: dict[str, int]) -> bool:
    """Whether a superblock is what its checksum tells.

    It takes two sectors, and a power cut may tear it. All that changes without the journal is one
    flag, so that is allowed to be otherwise.
    """
    other = bytearray(raw)
    layout.SUPER.put(other, "incompat", fields["incompat"] ^ Incompat.RECOVER)
    return fields["checksum"] in (crc32c(MASK, raw[:0x3FC]), crc32c(MASK, other[:0x3FC]))


def _counts(fields: dict[str, int]) -> Counts:
    return Counts(
        fields["free_blocks_lo"] | fields["free_blocks_hi"] << 32,
        fields["free_inodes"],
        fields["reserved_blocks_lo"],
    )


def open_volume(device: BlockDevice) -> Volume:
    """The volume on a device that never makes its caller wait. Refused."""
    first, count = layout.SUPER_OFFSET // SECTOR_BYTES, layout.SUPER_BYTES // SECTOR_BYTES
    if device.sectors < first + count:
        raise Refused("the disk is too small for a volume")
    return Volume(device.read(first, count), device.sectors * SECTOR_BYTES)
