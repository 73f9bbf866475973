"""Blocks put into an inode's map, and taken out of it: the writing side of `mapping`.

A tree of extents is taken as one list, changed, and written again: nodes whose bytes stay the same
are left alone, so that appending changes the last leaf and what leads to it. Lists of blocks are
changed in place.
"""

from __future__ import annotations

import struct
from errno import EFBIG
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.fs.ext4 import groups
from services.fs.ext4.checksum import crc32c
from services.fs.ext4.damage import Damaged
from services.fs.ext4.layout import (
    EXTENT_HEADER,
    EXTENT_INDEX,
    EXTENT_LEAF,
    EXTENT_MAGIC,
    INODE_MAP_BYTES,
    UNWRITTEN_FROM,
    InodeFlag,
)
from services.fs.ext4.mapping import DIRECT_BLOCKS, Run, runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.fs.ext4.draft import Draft

EVERYTHING = 1 << 32
ROOT_ENTRIES = (INODE_MAP_BYTES - EXTENT_HEADER.size) // EXTENT_LEAF.size
WRITTEN_MAX, UNWRITTEN_MAX = UNWRITTEN_FROM, UNWRITTEN_FROM - 1


def place(draft: Draft, run: Run) -> None:
    """Map blocks of a file that had none, or had other ones: those are not freed here."""
    draft.add_blocks(run.count)
    if draft.flags & InodeFlag.EXTENTS:
        before = runs(draft.volume, draft.view, 0, EVERYTHING)
        _write_tree(draft, sorted([*before, run], key=lambda one: one.logical))
        return
    for at in range(run.count):
        _put_block(draft, run.logical + at, run.physical + at)


def convert(draft: Draft, first: int, count: int) -> None:
    """Blocks that were allocated only are written now."""
    changed: list[Run] = []
    for run in runs(draft.volume, draft.view, 0, EVERYTHING):
        low, high = max(run.logical, first), min(run.logical + run.count, first + count)
        if not run.unwritten or low >= high:
            changed.append(run)
            continue
        for start, end, unwritten in (
            (run.logical, low, True),
            (low, high, False),
            (high, run.logical + run.count, True),
        ):
            if start < end:
                physical = run.physical + start - run.logical
                changed.append(Run(start, physical, end - start, unwritten))
    _write_tree(draft, changed)


def cut(draft: Draft, first: int, end: int = EVERYTHING, *, metadata: bool = False) -> None:
    """Unmap the blocks from `first` up to `end`, and free them."""
    if not draft.flags & InodeFlag.EXTENTS:
        _cut_lists(draft, first, end, metadata)
        return
    kept: list[Run] = []
    for run in runs(draft.volume, draft.view, 0, EVERYTHING):
        low, high = max(run.logical, first), min(run.logical + run.count, end)
        if low >= high:
            kept.append(run)
            continue
        groups.free(draft.volume, run.physical + low - run.logical, high - low, metadata=metadata)
        draft.add_blocks(low - high)
        behind = run.logical + run.count
        if run.logical < low:
            kept.append(Run(run.logical, run.physical, low - run.logical, run.unwritten))
        if high < behind:
            physical = run.physical + high - run.logical
            kept.append(Run(high, physical, behind - high, run.unwritten))
    _write_tree(draft, kept)


def shift(draft: Draft, first: int, by: int) -> None:
    """Blocks from `first` on move down by so many: there must be room (FALLOC_FL_COLLAPSE)."""
    moved = [
        Run(run.logical - by, run.physical, run.count, run.unwritten)
        if run.logical >= first
        else run
        for run in runs(draft.volume, draft.view, 0, EVERYTHING)
    ]
    _write_tree(draft, moved)


# Extents


def _packed(found: list[Run]) -> list[tuple[int, bytes]]:
    """Leaf entries, neighbours joined, none longer than can be."""
    joined: list[Run] = []
    for run in found:
        last = joined[-1] if joined else None
        if (
            last is not None
            and last.unwritten == run.unwritten
            and last.logical + last.count == run.logical
            and last.physical + last.count == run.physical
        ):
            joined[-1] = Run(last.logical, last.physical, last.count + run.count, run.unwritten)
        else:
            joined.append(run)
    entries = []
    for run in joined:
        most = UNWRITTEN_MAX if run.unwritten else WRITTEN_MAX
        for at in range(0, run.count, most):
            count = min(most, run.count - at)
            physical = run.physical + at
            told = count + UNWRITTEN_FROM * run.unwritten
            raw = EXTENT_LEAF.pack(run.logical + at, told, physical >> 32, physical & 0xFFFF_FFFF)
            entries.append((run.logical + at, raw))
    return entries


def _old_nodes(draft: Draft) -> list[list[int]]:
    """Blocks of the tree's nodes, level by level from the leaves up; the root is the inode's."""
    volume = draft.volume
    levels: list[list[int]] = []
    nodes: list[bytes | bytearray] = [draft.map]
    depth = EXTENT_HEADER.unpack_from(draft.map)[3]
    for _ in range(depth):
        below: list[int] = []
        for node in nodes:
            for at in range(EXTENT_HEADER.unpack_from(node)[1]):
                _, low, high, _ = EXTENT_INDEX.unpack_from(node, EXTENT_HEADER.size * (1 + at))
                below.append(low | high << 32)
        levels.insert(0, below)
        nodes = [volume.block(one, f"extents of inode {draft.number}") for one in below]
    return levels


def _write_tree(draft: Draft, found: list[Run]) -> None:
    volume = draft.volume
    most = (volume.block_bytes - EXTENT_HEADER.size) // EXTENT_LEAF.size
    entries, depth = _packed(found), 0
    old = _old_nodes(draft)
    while len(entries) > ROOT_ENTRIES:
        spare = old[depth] if depth < len(old) else []
        above: list[tuple[int, bytes]] = []
        for at in range(0, len(entries), most):
            part = entries[at : at + most]
            number = spare.pop(0) if spare else _new_node(draft, found)
            _write_node(draft, number, depth, part, most)
            index = EXTENT_INDEX.pack(part[0][0], number & 0xFFFF_FFFF, number >> 32, 0)
            above.append((part[0][0], index))
        entries, depth = above, depth + 1
    for level in old:
        for number in level:
            groups.free(volume, number, 1, metadata=True)
            draft.add_blocks(-1)
    header = EXTENT_HEADER.pack(EXTENT_MAGIC, len(entries), ROOT_ENTRIES, depth, 0)
    draft.map = header + b"".join(raw for _, raw in entries)


def _new_node(draft: Draft, found: list[Run]) -> int:
    number, _ = groups.allocate(draft.volume, found[0].physical if found else 0, 1)
    draft.volume.cache.fresh(number)
    draft.add_blocks(1)
    return number


def _write_node(
    draft: Draft, number: int, depth: int, part: list[tuple[int, bytes]], most: int
) -> None:
    cache = draft.volume.cache
    raw = EXTENT_HEADER.pack(EXTENT_MAGIC, len(part), most, depth, 0)
    raw += b"".join(entry for _, entry in part)
    room = EXTENT_HEADER.size + most * EXTENT_LEAF.size
    raw = raw.ljust(room, b"\0")
    if draft.volume.checksums:
        raw += crc32c(draft.seed, raw).to_bytes(4, "little")
    raw = raw.ljust(cache.block_bytes, b"\0")
    if cache.get(number) != raw:
        cache.edit(number)[:] = raw


# Lists of blocks


def _levels(volume_block_bytes: int, logical: int) -> tuple[int, int]:
    """How many levels lie above a block's number, and its index below the first of them."""
    per_block = volume_block_bytes // 4
    if logical < DIRECT_BLOCKS:
        return 0, logical
    logical -= DIRECT_BLOCKS
    for levels in (1, 2, 3):
        if logical < per_block**levels:
            return levels, logical
        logical -= per_block**levels
    raise PosixError(EFBIG)


def _put_block(draft: Draft, logical: int, physical: int) -> None:
    volume = draft.volume
    per_block = volume.block_bytes // 4
    levels, index = _levels(volume.block_bytes, logical)
    numbers = list(struct.unpack("<15I", draft.map))
    slot = index if not levels else DIRECT_BLOCKS + levels - 1
    if not levels:
        numbers[slot] = physical
        draft.map = struct.pack("<15I", *numbers)
        return
    here = numbers[slot]
    if not here:
        here = numbers[slot] = _new_list(draft, physical)
        draft.map = struct.pack("<15I", *numbers)
    while levels:
        levels -= 1
        at, index = divmod(index, per_block**levels)
        buffer = volume.cache.edit(here)
        following = int.from_bytes(buffer[4 * at : 4 * at + 4], "little")
        if not levels:
            following = physical
        elif not following:
            following = _new_list(draft, physical)
        buffer[4 * at : 4 * at + 4] = following.to_bytes(4, "little")
        here = following


def _new_list(draft: Draft, goal: int) -> int:
    number, _ = groups.allocate(draft.volume, goal, 1)
    draft.volume.cache.fresh(number)
    draft.add_blocks(1)
    return number


def _cut_lists(draft: Draft, first: int, end: int, metadata: bool) -> None:
    per_block = draft.volume.block_bytes // 4
    numbers = list(struct.unpack("<15I", draft.map))
    gone: dict[bool, set[int]] = {False: set(), True: set()}
    base = 0
    for slot in range(15):
        levels = max(slot - DIRECT_BLOCKS + 1, 0)
        span = per_block**levels
        if numbers[slot] and base < end and base + span > first:
            low, high = max(first - base, 0), min(end - base, span)
            if _cut_below(draft, numbers[slot], levels, low, high, gone):
                numbers[slot] = 0
        base += span
    draft.map = struct.pack("<15I", *numbers)
    for lists, blocks in gone.items():
        for start, count in _rows(sorted(blocks)):
            groups.free(draft.volume, start, count, metadata=metadata or lists)
            draft.add_blocks(-count)


def _rows(blocks: list[int]) -> Iterator[tuple[int, int]]:
    """Numbers in ascending order as (first, count) of those in a row."""
    start = count = 0
    for number in blocks:
        if count and number == start + count:
            count += 1
            continue
        if count:
            yield start, count
        start, count = number, 1
    if count:
        yield start, count


def _cut_below(
    draft: Draft, number: int, levels: int, first: int, end: int, gone: dict[bool, set[int]]
) -> bool:
    """What lies in a range below a block joins `gone` (True: lists); whether it itself does."""
    volume = draft.volume
    if number in gone[levels > 0]:
        raise Damaged(f"blocks of inode {draft.number}", f"block {number} is there twice")
    if levels:
        per_block = volume.block_bytes // 4
        span = per_block ** (levels - 1)
        old = volume.block(number, f"blocks of inode {draft.number}")
        numbers = list(struct.unpack(f"<{per_block}I", old))
        for at in range(first // span, -(-end // span)):
            if not numbers[at]:
                continue
            low, high = max(first - at * span, 0), min(end - at * span, span)
            if _cut_below(draft, numbers[at], levels - 1, low, high, gone):
                numbers[at] = 0
        if any(numbers):
            raw = struct.pack(f"<{per_block}I", *numbers)
            if raw != old:
                volume.cache.edit(number)[:] = raw
            return False
    gone[levels > 0].add(number)
    return True
