"""Blocks and inodes given out and taken back: bitmaps, group descriptors, the superblock's counts.

What was freed is not given out again before the transaction that freed it is on disk: until then
a crash brings the old owner back, with its content (`Volume.frozen`).
"""

from __future__ import annotations

from errno import ENOSPC
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.fs.ext4 import layout
from services.fs.ext4.checksum import crc32c
from services.fs.ext4.damage import Damaged

if TYPE_CHECKING:
    from services.fs.ext4.volume import Volume

INODES_UNUSED, BLOCKS_UNUSED = 1, 2
"""Flags: a bitmap was never written, for nothing is in use."""


class Group:
    """A group's descriptor, in an operation that may change it."""

    def __init__(self, volume: Volume, number: int) -> None:
        self.volume = volume
        self.number = number
        self._block, self._at = volume.descriptor_place(number)
        self.raw = bytearray(volume.descriptor(number))

    def get(self, name: str) -> int:
        """A field that comes in a low and a high part."""
        value = layout.GROUP.get(self.raw, name + "_lo")
        if self.volume.wide:
            shift = 8 * (2 if layout.GROUP.size(name + "_lo") == 2 else 4)
            value |= layout.GROUP_HIGH.get(self.raw, name + "_hi") << shift
        return value

    def put(self, name: str, value: int) -> None:
        """The same, changed."""
        bits = 8 * layout.GROUP.size(name + "_lo")
        layout.GROUP.put(self.raw, name + "_lo", value & ((1 << bits) - 1))
        if self.volume.wide:
            layout.GROUP_HIGH.put(self.raw, name + "_hi", value >> bits)

    @property
    def flags(self) -> int:
        """INODES_UNUSED, BLOCKS_UNUSED; they count only where the descriptor has a checksum."""
        return layout.GROUP.get(self.raw, "flags") if self.volume.group_checksums else 0

    def drop_flag(self, flag: int) -> None:
        """What was unused comes into use."""
        layout.GROUP.put(self.raw, "flags", layout.GROUP.get(self.raw, "flags") & ~flag)

    def save(self) -> None:
        """Write it, with its checksum."""
        self.volume.seal_group(self.number, self.raw)
        buffer = self.volume.cache.edit(self._block)
        buffer[self._at : self._at + len(self.raw)] = self.raw

    # ── bitmaps ─────────────────────────────────────────────────────────────────────────────

    def bits(self, which: str, unused_flag: int, count: int) -> int:
        """A bitmap as a number; bit 0 is the first. NeedBlock, Damaged."""
        if self.flags & unused_flag:
            return self._first_bits(count) if unused_flag == BLOCKS_UNUSED else 0
        block = self.volume.block(self.get(f"{which}_bitmap"), f"group {self.number}")
        raw = block[: (count + 7) // 8]
        if self.volume.checksums:
            told = self.get(f"{which}_bitmap_csum")
            right = crc32c(self.volume.seed, raw)
            if told != (right if self.volume.wide else right & 0xFFFF):
                where = f"bitmap of {which}s of group {self.number}"
                raise Damaged(where, "its checksum is wrong", checksum=True)
        return int.from_bytes(raw, "little")

    def put_bits(self, which: str, bits: int, count: int) -> None:
        """Write a bitmap; what lies behind its end counts as in use."""
        size = self.volume.block_bytes
        number = self.get(f"{which}_bitmap")
        raw = (bits | ((1 << 8 * size) - (1 << count))).to_bytes(size, "little")
        self.volume.cache.fresh(number)[:] = raw
        if self.volume.checksums:
            right = crc32c(self.volume.seed, raw[: self.volume.bitmap_bytes(which)])
            self.put(f"{which}_bitmap_csum", right)

    def _first_bits(self, count: int) -> int:
        """The bitmap of a group of which nothing but its own metadata is in use."""
        volume = self.volume
        start = volume.group_start(self.number)
        bits = (1 << volume.base_blocks(self.number)) - 1
        table = -(-volume.inodes_per_group * volume.inode_bytes // volume.block_bytes)
        for name, length in (("block_bitmap", 1), ("inode_bitmap", 1), ("inode_table", table)):
            first = self.get(name) - start
            if 0 <= first < count:
                bits |= ((1 << length) - 1) << first
        return bits


# ── blocks ──────────────────────────────────────────────────────────────────────────────────


def _block_bits(group: Group) -> tuple[int, int]:
    count = group.volume.group_blocks(group.number)
    per_group = group.volume.blocks_per_group
    return group.bits("block", BLOCKS_UNUSED, per_group) & ((1 << count) - 1), count


def _frozen(volume: Volume, number: int) -> int:
    """Blocks of a group that may not be given out again yet; the present operation's among them."""
    bits, start, size = (
        volume.frozen.get(number, 0),
        volume.group_start(number),
        volume.blocks_per_group,
    )
    for first, count in volume.cache.open.freed:
        low, high = max(first - start, 0), min(first + count - start, size)
        if low < high:
            bits |= ((1 << (high - low)) - 1) << low
    return bits


def allocate(volume: Volume, goal: int, count: int) -> tuple[int, int]:
    """Up to `count` blocks in a row, near `goal`: (first, how many). ENOSPC."""
    if not volume.first_block <= goal < volume.blocks:
        goal = volume.first_block
    start, offset = divmod(goal - volume.first_block, volume.blocks_per_group)
    for step in range(volume.groups + 1):
        number = (start + step) % volume.groups
        group = Group(volume, number)
        if not group.get("free_blocks"):
            continue
        bits, size = _block_bits(group)
        free = ~(bits | _frozen(volume, number)) & ((1 << size) - 1)
        skip = offset if step == 0 else 0
        able = free >> skip
        if not able:
            continue
        first = skip + (able & -able).bit_length() - 1
        row = free >> first
        length = min((~row & (row + 1)).bit_length() - 1, count)
        group.drop_flag(BLOCKS_UNUSED)
        group.put_bits("block", bits | ((1 << length) - 1) << first, size)
        _count_blocks(group, -length)
        return volume.group_start(number) + first, length
    raise PosixError(ENOSPC)


def free(volume: Volume, first: int, count: int, *, metadata: bool = False) -> None:
    """Blocks that are nobody's any more. Damaged: they were not in use."""
    changes = volume.cache.open
    changes.freed.append((first, count))
    if metadata:
        changes.forgotten.update(range(first, first + count))
        for block in range(first, first + count):
            changes.blocks.pop(block, None)
    for block in [one for one in changes.data if first <= one < first + count]:
        del changes.data[block]
    while count:
        number, offset = divmod(first - volume.first_block, volume.blocks_per_group)
        if not 0 <= number < volume.groups:
            raise Damaged(f"block {first}", "it is outside of the volume")
        group = Group(volume, number)
        bits, size = _block_bits(group)
        length = min(count, size - offset)
        mask = ((1 << length) - 1) << offset
        if length <= 0 or bits & mask != mask:
            raise Damaged(f"bitmap of group {number}", f"blocks from {first} on are free already")
        group.put_bits("block", bits & ~mask, size)
        _count_blocks(group, length)
        first, count = first + length, count - length


def _count_blocks(group: Group, change: int) -> None:
    group.put("free_blocks", group.get("free_blocks") + change)
    group.save()
    group.volume.count(free_blocks=change)


# ── inodes ──────────────────────────────────────────────────────────────────────────────────


def allocate_inode(volume: Volume, parent: int, is_directory: bool) -> int:
    """The number of an inode that is not in use, near its directory's. ENOSPC."""
    home = (parent - 1) // volume.inodes_per_group
    for number in _inode_groups(volume, home, is_directory):
        group = Group(volume, number)
        if not group.get("free_inodes"):
            continue
        size = volume.inodes_per_group
        bits = group.bits("inode", INODES_UNUSED, size)
        able = ~bits & ((1 << size) - 1)
        if number == 0:
            able &= ~((1 << (volume.first_inode - 1)) - 1)
        if not able:
            continue
        index = (able & -able).bit_length() - 1
        group.drop_flag(INODES_UNUSED)
        group.put_bits("inode", bits | 1 << index, size)
        if volume.group_checksums:
            unused = group.get("unused_inodes")
            group.put("unused_inodes", min(unused, size - index - 1))
        group.put("free_inodes", group.get("free_inodes") - 1)
        group.put("used_dirs", group.get("used_dirs") + is_directory)
        group.save()
        volume.count(free_inodes=-1)
        return number * size + index + 1
    raise PosixError(ENOSPC)


def _inode_groups(volume: Volume, home: int, is_directory: bool) -> list[int]:
    """Where to look: directories of the root are spread, everything else is kept together."""
    order = [(home + step) % volume.groups for step in range(volume.groups)]
    if is_directory and home == 0 and volume.groups > 1:
        raws = {number: Group(volume, number) for number in order[:32]}
        return sorted(raws, key=lambda n: -raws[n].get("free_blocks")) + order[32:]
    return order


def free_inode(volume: Volume, number: int, is_directory: bool) -> None:
    """An inode is nobody's any more. Damaged."""
    home, index = divmod(number - 1, volume.inodes_per_group)
    group = Group(volume, home)
    size = volume.inodes_per_group
    bits = group.bits("inode", INODES_UNUSED, size)
    if not bits >> index & 1:
        raise Damaged(f"bitmap of group {home}", f"inode {number} is free already")
    group.put_bits("inode", bits & ~(1 << index), size)
    group.put("free_inodes", group.get("free_inodes") + 1)
    group.put("used_dirs", group.get("used_dirs") - is_directory)
    group.save()
    volume.count(free_inodes=1)
