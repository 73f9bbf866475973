"""Where an inode's blocks are: extents, or the older lists of blocks.

Both answer alike: `runs` gives the stretches of a range of logical blocks that have a place on
disk, in order. What lies between them is a hole and reads as zeros; so does what is `unwritten`.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import attrs

from services.fs.ext4.checksum import crc32c
from services.fs.ext4.damage import Damaged
from services.fs.ext4.layout import (
    EXTENT_HEADER,
    EXTENT_INDEX,
    EXTENT_LEAF,
    EXTENT_MAGIC,
    UNWRITTEN_FROM,
    InodeFlag,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.fs.ext4.inode import Inode
    from services.fs.ext4.layout import Block
    from services.fs.ext4.volume import Volume

MAX_DEPTH = 5
DIRECT_BLOCKS = 12


@attrs.frozen
class Run:
    """`count` blocks of the file from `logical` on lie at `physical` and after it."""

    logical: int
    physical: int
    count: int
    unwritten: bool = False


def runs(volume: Volume, inode: Inode, first: int, count: int) -> list[Run]:
    """The mapped parts of `count` blocks from `first` on. NeedBlock, Damaged."""
    end = first + count
    found: list[Run] = []
    start = place = length = 0
    kind = False
    tell = _extents if inode.flags & InodeFlag.EXTENTS else _listed
    for run in tell(volume, inode, first, end):
        low, high = max(run.logical, first), min(run.logical + run.count, end)
        if low >= high:
            continue
        physical, unwritten = run.physical + low - run.logical, run.unwritten
        if length and (start + length, place + length, kind) == (low, physical, unwritten):
            length += high - low
            continue
        if length:
            found.append(Run(start, place, length, kind))
        start, place, length, kind = low, physical, high - low, unwritten
    if length:
        found.append(Run(start, place, length, kind))
    return found


# Extents


def _extents(volume: Volume, inode: Inode, first: int, end: int) -> Iterator[Run]:
    depth = EXTENT_HEADER.unpack_from(inode.map)[3]
    if depth > MAX_DEPTH:
        raise Damaged(f"inode {inode.number}", f"its extents are {depth} levels deep")
    yield from _node(volume, inode, inode.map, depth, first, end)


def _node(
    volume: Volume, inode: Inode, node: Block, depth: int, first: int, end: int
) -> Iterator[Run]:
    where = f"extents of inode {inode.number}"
    magic, entries, most, told_depth, _ = EXTENT_HEADER.unpack_from(node)
    size = EXTENT_HEADER.size
    if magic != EXTENT_MAGIC or told_depth != depth or entries > most:
        raise Damaged(where, "a node's header is wrong")
    if size + most * EXTENT_LEAF.size > len(node):
        raise Damaged(where, "a node has more room than its block")
    if not depth:
        yield from _leaf(volume, where, node, entries)
        return
    children = [EXTENT_INDEX.unpack_from(node, size * (1 + at)) for at in range(entries)]
    for at, (start, low, high, _) in enumerate(children):
        until = children[at + 1][0] if at + 1 < entries else 1 << 32
        if start >= until:
            raise Damaged(where, "a node's entries are not in order")
        if start >= end or until <= first:
            continue
        block = volume.block(low | high << 32, where)
        if inode.seed and volume.checksums:
            _check_tail(inode, block, where)
        yield from _node(volume, inode, block, depth - 1, first, end)


def _leaf(volume: Volume, where: str, node: Block, entries: int) -> Iterator[Run]:
    behind = 0
    for at in range(entries):
        start, count, high, low = EXTENT_LEAF.unpack_from(node, EXTENT_HEADER.size * (1 + at))
        unwritten = count > UNWRITTEN_FROM
        count -= UNWRITTEN_FROM * unwritten
        physical = low | high << 32
        if start < behind or not count:
            raise Damaged(where, "a leaf's entries are not in order")
        if not volume.first_block <= physical <= volume.blocks - count:
            raise Damaged(where, f"blocks from {physical} on are outside of the volume")
        behind = start + count
        yield Run(start, physical, count, unwritten)


def _check_tail(inode: Inode, block: Block, where: str) -> None:
    most = EXTENT_HEADER.unpack_from(block)[2]
    at = EXTENT_HEADER.size + most * EXTENT_LEAF.size
    if at + 4 > len(block):
        raise Damaged(where, "a node has more room than its block")
    if crc32c(inode.seed, block[:at]) != int.from_bytes(block[at : at + 4], "little"):
        raise Damaged(where, "a node's checksum is wrong", checksum=True)


# Lists of blocks


def _listed(volume: Volume, inode: Inode, first: int, end: int) -> Iterator[Run]:
    numbers = struct.unpack("<15I", inode.map)
    where = f"blocks of inode {inode.number}"
    per_block = volume.block_bytes // 4
    yield from _list(volume, where, numbers[:DIRECT_BLOCKS], 0, 0, first, end)
    logical = DIRECT_BLOCKS
    for levels in (1, 2, 3):
        head = numbers[DIRECT_BLOCKS + levels - 1 : DIRECT_BLOCKS + levels]
        yield from _list(volume, where, head, levels, logical, first, end)
        logical += per_block**levels


def _list(
    volume: Volume,
    where: str,
    numbers: tuple[int, ...],
    levels: int,
    logical: int,
    first: int,
    end: int,
) -> Iterator[Run]:
    """The runs of some numbers of blocks, each of which leads to content over `levels` more."""
    per_block = volume.block_bytes // 4
    span = per_block**levels
    low = max((first - logical) // span, 0)
    high = min(-(-(end - logical) // span), len(numbers))
    for at in range(low, high):
        number = numbers[at]
        if not number:
            continue
        if levels:
            raw = volume.block(number, where)
            below = struct.unpack(f"<{per_block}I", raw)
            yield from _list(volume, where, below, levels - 1, logical + at * span, first, end)
        elif volume.first_block <= number < volume.blocks:
            yield Run(logical + at, number, 1)
        else:
            raise Damaged(where, f"block {number} is outside of the volume")
