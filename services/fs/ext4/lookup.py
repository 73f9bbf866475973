"""A name found in a directory: by its index (htree) where it has one, else block by block.

The index is a tree over hashes. Its root is block 0, behind "." and ".."; each entry leads to the
block with the names from its hash on. Names of one hash may run over into the next block, whose
entry then has the lowest bit set.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import attrs

from services.fs.ext4.damage import Damaged
from services.fs.ext4.directory import (
    INDEX_ENTRY_BYTES,
    NODE_LIMIT_AT,
    ROOT_LIMIT_AT,
    Entry,
    block_entries,
    check_block,
    places,
)
from services.fs.ext4.dirhash import UNSIGNED, hash_name
from services.fs.ext4.layout import InodeFlag
from services.fs.ext4.mapping import runs

if TYPE_CHECKING:
    from services.fs.ext4.inode import Inode
    from services.fs.ext4.layout import Block
    from services.fs.ext4.volume import Volume

HASH_VERSION_AT, LEVELS_AT = 0x1C, 0x1E
LEVELS_MAX = 3


@attrs.define
class Step:
    """A block of the index on the way to a name: its entries from `at`, of which `index` is taken.

    Entry 0 has no hash of its own: `limit` and `count` are in its place.
    """

    logical: int
    physical: int
    at: int
    limit: int
    count: int
    index: int


def physical_of(volume: Volume, inode: Inode, logical: int) -> int:
    """Where a block of a directory lies. NeedBlock, Damaged."""
    found = runs(volume, inode, logical, 1)
    if not found or found[0].unwritten:
        raise Damaged(f"directory {inode.number}", f"block {logical} is not there")
    return found[0].physical


def name_hash(volume: Volume, inode: Inode, root: Block, name: bytes) -> int:
    """The hash that an index with this root has of a name."""
    version = root[HASH_VERSION_AT]
    if version > 2:
        raise Damaged(f"directory {inode.number}", f"its index has hashes of version {version}")
    return hash_name(name, version + UNSIGNED * volume.unsigned_hash, volume.hash_seed)


def descend(volume: Volume, inode: Inode, hash_value: int) -> tuple[list[Step], int]:
    """The way through the index to the block of a hash, and that block's logical number."""
    logical, at, steps = 0, ROOT_LIMIT_AT, []
    levels = -1
    where = f"index of directory {inode.number}"
    while True:
        physical = physical_of(volume, inode, logical)
        block = volume.block(physical, where)
        if volume.checksums:
            check_block(inode, logical, block, where)
        if levels < 0:
            levels = block[LEVELS_AT]
            if levels > LEVELS_MAX:
                raise Damaged(where, f"it has {levels} levels")
        limit, count = struct.unpack_from("<HH", block, at)
        if not 0 < count <= limit or at + limit * INDEX_ENTRY_BYTES > len(block):
            raise Damaged(where, f"block {logical} has {count} entries of {limit}")
        low, high = 1, count
        while low < high:
            middle = (low + high) // 2
            if int.from_bytes(block[at + 8 * middle : at + 8 * middle + 4], "little") > hash_value:
                high = middle
            else:
                low = middle + 1
        steps.append(Step(logical, physical, at, limit, count, low - 1))
        entry = at + 8 * (low - 1) + 4
        logical = int.from_bytes(block[entry : entry + 4], "little") & 0x0FFF_FFFF
        at = NODE_LIMIT_AT
        if len(steps) > levels:
            return steps, logical


def advance(volume: Volume, inode: Inode, steps: list[Step], hash_value: int) -> int | None:
    """The next leaf, if names of the same hash run over into it; `steps` then lead there."""
    depth = len(steps) - 1
    while depth >= 0 and steps[depth].index + 1 >= steps[depth].count:
        depth -= 1
    if depth < 0:
        return None
    step = steps[depth]
    step.index += 1
    block = volume.block(step.physical, f"index of directory {inode.number}")
    told: int
    logical: int
    told, logical = struct.unpack_from("<II", block, step.at + 8 * step.index)
    if told & ~1 != hash_value or not told & 1:
        return None
    for below in steps[depth + 1 :]:
        below.logical = logical & 0x0FFF_FFFF
        below.physical = physical_of(volume, inode, below.logical)
        block = volume.block(below.physical, f"index of directory {inode.number}")
        below.limit, below.count = struct.unpack_from("<HH", block, below.at)
        below.index = 0
        logical = int.from_bytes(block[below.at + 4 : below.at + 8], "little")
    return logical & 0x0FFF_FFFF


def _in_block(volume: Volume, inode: Inode, place: tuple[int, int], name: bytes) -> Entry | None:
    logical, physical = place
    where = f"directory {inode.number}"
    block = volume.block(physical, where)
    if name not in block:
        if volume.checksums:
            check_block(inode, logical, block, where)
        return None
    for entry in block_entries(volume, inode, logical, block):
        if entry.name == name:
            return entry
    return None


def find(volume: Volume, inode: Inode, name: bytes) -> tuple[Entry, tuple[int, int]] | None:
    """A name, and the (logical, physical) block that has it. NeedBlock, Damaged."""
    if inode.flags & InodeFlag.INDEX and name not in (b".", b".."):
        root = volume.block(physical_of(volume, inode, 0), f"directory {inode.number}")
        hash_value = name_hash(volume, inode, root, name)
        steps, leaf = descend(volume, inode, hash_value)
        following: int | None = leaf
        while following is not None:
            place = following, physical_of(volume, inode, following)
            entry = _in_block(volume, inode, place, name)
            if entry is not None:
                return entry, place
            following = advance(volume, inode, steps, hash_value)
        return None
    for place in places(volume, inode):
        entry = _in_block(volume, inode, place, name)
        if entry is not None:
            return entry, place
    return None
