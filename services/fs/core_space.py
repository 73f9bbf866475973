"""Holes and reserved space of files: fallocate(2), lseek(2) with SEEK_DATA and SEEK_HOLE."""

from __future__ import annotations

from errno import EFBIG, EINVAL, ENOSPC, ENXIO, EOPNOTSUPP, EPERM
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.drivers.ram.api import PAGE_BYTES, PAGE_SHIFT
from services.fs.core_pages import (
    PAGE_MASK,
    SEAL_FUTURE_WRITE,
    SEAL_GROW,
    SEAL_SHRINK,
    SEAL_WRITE,
    SIZE_MAX,
    page_count,
)

if TYPE_CHECKING:
    from services.fs.core_inode import File
    from services.fs.core_pages import PageCache

KEEP_SIZE, PUNCH_HOLE, COLLAPSE, ZERO_RANGE = 1, 2, 8, 0x10
MODES = {
    0,
    KEEP_SIZE,
    PUNCH_HOLE | KEEP_SIZE,
    COLLAPSE,
    ZERO_RANGE,
    ZERO_RANGE | KEEP_SIZE,
}


def allocate(cache: PageCache, file: File, mode: int, offset: int, length_bytes: int) -> None:
    """fallocate(2)."""
    if offset < 0 or length_bytes <= 0:
        raise PosixError(EINVAL)
    if mode not in MODES:
        raise PosixError(EOPNOTSUPP)
    end = offset + length_bytes
    if end > SIZE_MAX:
        raise PosixError(EFBIG)
    _check_seals(file, mode, end)
    if mode == COLLAPSE:
        _collapse(cache, file, offset, length_bytes)
    elif mode & (PUNCH_HOLE | ZERO_RANGE):
        clear(cache, file, offset, min(end, file.size))
    else:
        _reserve(cache, file, offset, end)
    if not mode & KEEP_SIZE and mode != COLLAPSE and end > file.size:
        cache.reveal(file, end)
        file.size = end


def _check_seals(file: File, mode: int, end: int) -> None:
    if file.seals <= 0:
        return
    writes = mode & (PUNCH_HOLE | ZERO_RANGE | COLLAPSE)
    if writes and file.seals & (SEAL_WRITE | SEAL_FUTURE_WRITE):
        raise PosixError(EPERM)
    if mode == COLLAPSE and file.seals & SEAL_SHRINK:
        raise PosixError(EPERM)
    if file.seals & SEAL_GROW and not mode & KEEP_SIZE and end > file.size:
        raise PosixError(EPERM)


def _reserve(cache: PageCache, file: File, offset: int, end: int) -> None:
    first, last = offset >> PAGE_SHIFT, (end - 1) >> PAGE_SHIFT
    first = max(first, file.backed_pages)
    if first > last:
        return
    kept = file.dirty if file.origin is not None else file.pages
    room = cache.frames.room(file.volume)
    if last - first + 1 - len(kept) > room:
        raise PosixError(ENOSPC)
    if sum(1 for index in range(first, last + 1) if index not in kept) > room:
        raise PosixError(ENOSPC)
    cache.fill(file, first, last, (0, 0))


def clear(cache: PageCache, file: File, offset: int, end: int) -> None:
    """Make a range read as zeros: edges in place, whole pages by letting them go.

    Pages that may be mapped are zeroed in place, so that mappings go on showing the file.
    """
    if offset >= end:
        return
    first, last = page_count(offset), end >> PAGE_SHIFT
    edges: list[tuple[int, int, int]] = []
    if offset >> PAGE_SHIFT == end >> PAGE_SHIFT:
        edges.append((offset >> PAGE_SHIFT, offset & PAGE_MASK, end & PAGE_MASK))
    else:
        if offset & PAGE_MASK:
            edges.append((offset >> PAGE_SHIFT, offset & PAGE_MASK, PAGE_BYTES))
        if end & PAGE_MASK:
            edges.append((last, 0, end & PAGE_MASK))
    for index, _, _ in edges:
        cache.need(file, index, 1)
    for index, _, _ in edges:
        if index < file.backed_pages:
            cache.fill(file, index, index, (0, 0))
    for index, start, stop in edges:
        _zero(cache, file, index, start, stop)
    _let_go(cache, file, first, last)


def zero_cached(cache: PageCache, file: File, offset: int, end: int) -> None:
    """Zero what the cache has of a range, and fetch nothing."""
    for index in [
        i for i in file.pages if (i + 1) << PAGE_SHIFT > offset and i << PAGE_SHIFT < end
    ]:
        start = max(offset - (index << PAGE_SHIFT), 0)
        _zero(cache, file, index, start, min(end - (index << PAGE_SHIFT), PAGE_BYTES))


def _let_go(cache: PageCache, file: File, first: int, last: int) -> None:
    inside = [index for index in file.pages if first <= index < last]
    mapped = cache.frames.still_mapped(file)
    for index in inside:
        if index in mapped:
            _zero(cache, file, index, 0, PAGE_BYTES)
    cache.drop(file, [index for index in inside if index not in mapped])
    for index in range(first, min(last, file.backed_pages)):
        file.pages.setdefault(index, 0)


def _zero(cache: PageCache, file: File, index: int, start: int, stop: int) -> None:
    pfn = file.pages.get(index)
    if pfn and stop > start:
        cache.ram.zero((pfn << PAGE_SHIFT) + start, stop - start)
        cache.changed(file, pfn)


def _collapse(cache: PageCache, file: File, offset: int, length_bytes: int) -> None:
    if (offset | length_bytes) & PAGE_MASK or offset + length_bytes >= file.size:
        raise PosixError(EINVAL)
    if file.origin is not None or cache.frames.still_mapped(file):
        raise PosixError(EOPNOTSUPP)
    first, count = offset >> PAGE_SHIFT, length_bytes >> PAGE_SHIFT
    cache.drop(file, [index for index in file.pages if first <= index < first + count])
    moved = {index - count if index >= first else index: pfn for index, pfn in file.pages.items()}
    file.pages.clear()
    file.pages.update(moved)
    file.charge()
    file.size -= length_bytes


# ── holes ───────────────────────────────────────────────────────────────────────────────────


def seek(file: File, offset: int, hole: bool) -> int:
    """lseek(2): the next data, or the next hole, from `offset`; the end counts as a hole."""
    if offset < 0 or offset >= file.size:
        raise PosixError(ENXIO)
    index = offset >> PAGE_SHIFT
    found = _next_hole(file, index) if hole else _next_data(file, index)
    if found is None:
        if not hole:
            raise PosixError(ENXIO)
        return file.size
    return min(max(offset, found << PAGE_SHIFT), file.size)


def _has_data(file: File, index: int) -> bool:
    pfn = file.pages.get(index)
    return bool(pfn) if pfn is not None else index < file.backed_pages


def _next_data(file: File, index: int) -> int | None:
    for candidate in range(index, file.backed_pages):
        if _has_data(file, candidate):
            return candidate
    end = page_count(file.size)
    if _has_data(file, index):
        return index
    found = min((i for i, pfn in file.pages.items() if pfn and i > index), default=end)
    return found if found < end else None


def _next_hole(file: File, index: int) -> int | None:
    end = page_count(file.size)
    while index < end:
        if not _has_data(file, index):
            return index
        index += 1
    return None
