"""Content of regular files: written, cut off, allocated ahead. See `operations` for the rules.

Content goes to its blocks when they are written out, before the transaction that maps them
commits: so a size or a map that is recovered never shows what was there before.

What lies behind a file's end in its last block may be anything. It becomes zeros when the file
grows over it, and not when it is cut: the old size, should it come back, has its content still.
"""

from __future__ import annotations

from errno import EFBIG, EINVAL, ENOSPC, EOPNOTSUPP
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.fs.ext4 import groups, placement
from services.fs.ext4.draft import Draft
from services.fs.ext4.layout import InodeFlag
from services.fs.ext4.mapping import DIRECT_BLOCKS, Run, runs

if TYPE_CHECKING:
    from services.fs.ext4.volume import Volume

KEEP_SIZE, PUNCH_HOLE, COLLAPSE, ZERO_RANGE = 1, 2, 8, 0x10


def size_max(volume: Volume, extents: bool) -> int:
    """How large a file may be."""
    size = volume.block_bytes
    if extents:
        return min(((1 << 32) - 1) * size, 1 << 60)
    per_block = size // 4
    return (DIRECT_BLOCKS + per_block + per_block**2 + per_block**3) * size


def write(volume: Volume, number: int, offset: int, content: bytes, now: int) -> int:
    """pwrite(2); fewer bytes where the volume is full. ENOSPC, EFBIG."""
    draft = Draft(volume, number)
    most = size_max(volume, bool(draft.flags & InodeFlag.EXTENTS))
    if offset >= most:
        raise PosixError(EFBIG)
    content = content[: most - offset]
    size, end = volume.block_bytes, offset + len(content)
    _reveal(draft, offset)
    first, last = offset // size, (end - 1) // size
    where, mapped = _blocks(draft, first, last)
    if last - first + 1 > mapped:
        end = _map_all(draft, where, first, end)
        content = content[: end - offset]
    _put(draft, where, offset, content)
    draft.size = max(draft.size, end)
    draft.set_time("mtime", now)
    draft.set_time("ctime", now)
    draft.save()
    return len(content)


Places = dict[int, tuple[int, bool]]
"""By logical block: the physical one, and whether it has content already."""


def _blocks(draft: Draft, first: int, last: int) -> tuple[Places, int]:
    """Where blocks are, and how many of them have content."""
    found: Places = {}
    written = 0
    for run in runs(draft.volume, draft.view, first, last - first + 1):
        for at in range(run.count):
            found[run.logical + at] = (run.physical + at, not run.unwritten)
        if run.unwritten:
            placement.convert(draft, run.logical, run.count)
        else:
            written += run.count
    return found, written


def _map_all(draft: Draft, where: Places, first: int, end: int) -> int:
    """Allocate what has no place up to byte `end`; replies with where it had to stop. ENOSPC."""
    volume, size = draft.volume, draft.volume.block_bytes
    last = (end - 1) // size
    logical = first
    while logical <= last:
        if logical in where:
            logical += 1
            continue
        want = 1
        while logical + want <= last and logical + want not in where:
            want += 1
        try:
            physical, got = groups.allocate(volume, _goal(draft, logical), want)
        except PosixError as refusal:
            if refusal.errno != ENOSPC or logical == first:
                raise
            return logical * size
        placement.place(draft, Run(logical, physical, got))
        for at in range(got):
            where[logical + at] = (physical + at, False)
        logical += got
    return end


def _goal(draft: Draft, logical: int) -> int:
    """Behind the block before, if there is one; else in the inode's group."""
    volume = draft.volume
    if logical:
        before = runs(volume, draft.view, max(logical - 64, 0), min(logical, 64))
        if before:
            last = before[-1]
            return last.physical + logical - last.logical
    group = (draft.number - 1) // volume.inodes_per_group
    return volume.group_start(group)


def _put(draft: Draft, where: Places, offset: int, content: bytes) -> None:
    cache, size = draft.volume.cache, draft.volume.block_bytes
    done = 0
    while done < len(content):
        logical, start = divmod(offset + done, size)
        physical, has = where[logical]
        part = content[done : done + size - start]
        if len(part) == size:
            cache.put_content(physical, part)
        else:
            behind = max(draft.size - logical * size, 0)
            if has and ((start > 0 and behind) or start + len(part) < behind):
                old = cache.content(physical)[:behind].ljust(size, b"\0")
            else:
                old = bytes(size)
            cache.put_content(physical, old[:start] + part + old[start + len(part) :])
        done += len(part)


def _reveal(draft: Draft, start: int) -> None:
    """The file will reach to `start` at least: what is behind its end in its last block goes."""
    volume, size, end = draft.volume, draft.volume.block_bytes, draft.size
    tail = end % size
    if start <= end or not tail:
        return
    for run in runs(volume, draft.view, end // size, 1):
        if not run.unwritten:
            old = volume.cache.content(run.physical)
            volume.cache.put_content(run.physical, old[:tail] + bytes(size - tail))


def truncate(volume: Volume, number: int, length: int, now: int) -> None:
    """ftruncate(2). EFBIG."""
    draft = Draft(volume, number)
    if length > size_max(volume, bool(draft.flags & InodeFlag.EXTENTS)):
        raise PosixError(EFBIG)
    if length < draft.size:
        placement.cut(draft, -(-length // volume.block_bytes))
    else:
        _reveal(draft, length)
    draft.size = length
    draft.set_time("mtime", now)
    draft.set_time("ctime", now)
    draft.save()


def allocate(volume: Volume, number: int, mode: int, offset: int, length: int, now: int) -> None:
    """fallocate(2). ENOSPC, EFBIG, EINVAL, EOPNOTSUPP: a file with lists of blocks."""
    draft = Draft(volume, number)
    extents = bool(draft.flags & InodeFlag.EXTENTS)
    end = offset + length
    if end > size_max(volume, extents):
        raise PosixError(EFBIG)
    if mode == COLLAPSE:
        _collapse(draft, offset, length)
    else:
        if not extents and not mode & PUNCH_HOLE:
            raise PosixError(EOPNOTSUPP)
        if not mode & KEEP_SIZE and end > draft.size:
            _reveal(draft, end)
        if mode & (PUNCH_HOLE | ZERO_RANGE):
            _clear(draft, offset, end)
        if not mode & PUNCH_HOLE:
            _reserve(draft, offset, end)
        if not mode & KEEP_SIZE and end > draft.size:
            draft.size = end
    draft.set_time("mtime", now)
    draft.set_time("ctime", now)
    draft.save()


def _clear(draft: Draft, offset: int, end: int) -> None:
    """A range reads as zeros: whole blocks go, edges are overwritten."""
    volume, size = draft.volume, draft.volume.block_bytes
    first, last = -(-offset // size), end // size
    for logical in {offset // size, end // size}:
        start, stop = max(offset - logical * size, 0), min(end - logical * size, size)
        if start >= stop or (start == 0 and stop == size):
            continue
        for run in runs(volume, draft.view, logical, 1):
            if not run.unwritten:
                old = volume.cache.content(run.physical)
                zeroed = old[:start] + bytes(stop - start) + old[stop:]
                volume.cache.put_content(run.physical, zeroed)
    if first < last:
        placement.cut(draft, first, last)


def _reserve(draft: Draft, offset: int, end: int) -> None:
    size = draft.volume.block_bytes
    logical, last = offset // size, -(-end // size)
    while logical < last:
        there = runs(draft.volume, draft.view, logical, last - logical)
        if there and there[0].logical == logical:
            logical += there[0].count
            continue
        want = (there[0].logical if there else last) - logical
        physical, got = groups.allocate(draft.volume, _goal(draft, logical), want)
        placement.place(draft, Run(logical, physical, got, unwritten=True))
        logical += got


def _collapse(draft: Draft, offset: int, length: int) -> None:
    size = draft.volume.block_bytes
    if offset % size or length % size or offset + length >= draft.size:
        raise PosixError(EINVAL)
    if not draft.flags & InodeFlag.EXTENTS:
        raise PosixError(EOPNOTSUPP)
    first, count = offset // size, length // size
    placement.cut(draft, first, first + count)
    placement.shift(draft, first + count, count)
    draft.size -= length
