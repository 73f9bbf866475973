"""What a space tells about itself: maps, sizes, residency, and pages written since last asked."""

from __future__ import annotations

from errno import EINVAL, ENOMEM
from typing import TYPE_CHECKING

import numpy as np

from bus.errors import PosixError
from services.vm.api import DirtyRun, RegionInfo, SpaceUsage
from services.vm.paging import (
    PAGE_BYTES,
    PAGE_MASK,
    PAGE_SHIFT,
    PROT_WRITE,
    PTE_D,
    PTE_FRAME,
    PTE_W,
    USER_TOP,
)
from services.vm.space import page_up

if TYPE_CHECKING:
    import numpy.typing as npt

    from services.vm.regions import Region
    from services.vm.space import AddressSpace

    Vector = npt.NDArray[np.int64]

_DIRTY = np.uint64(PTE_D)
_CLEAN = np.uint64(~(PTE_D | PTE_W) & (1 << 64) - 1)
_RIGHTS = np.uint64(PTE_D | PTE_W)


def regions_of(space: AddressSpace) -> tuple[RegionInfo, ...]:
    """One line of /proc/PID/maps for each region."""
    regions = space.regions.items
    if not regions:
        return ()
    vpns, alone, dirty = _census(space)
    bounds = [edge >> PAGE_SHIFT for region in regions for edge in (region.start, region.end)]
    edges = np.searchsorted(vpns, np.array(bounds, dtype=np.int64)).tolist()
    found = []
    for region, low, high in zip(regions, edges[::2], edges[1::2], strict=True):
        marked = dirty if region.shared else alone
        found.append(
            RegionInfo(
                region.start,
                region.end,
                region.prot,
                region.shared,
                region.node,
                region.offset,
                region.name,
                high - low,
                int(marked[high] - marked[low]),
                region.may_write,
            )
        )
    return tuple(found)


def _census(space: AddressSpace) -> tuple[Vector, Vector, Vector]:
    """The pages that are held, ascending, and how many of them up to each have two properties.

    (their numbers; held by nobody else: no other side of a fork, no file; written to). One pass
    over the tables, whatever the number of regions: programs ask for their own size often.
    """
    tables = space.tables
    keys = np.fromiter(tables.leaves, dtype=np.int64, count=len(tables.leaves))
    order = np.argsort(keys)
    entries = tables.gather()[order]
    numbers = (keys[order, None] << 9) + np.arange(512)
    present = entries != 0
    held = entries[present]
    pfns = (held & np.uint64(PTE_FRAME)) >> np.uint64(PAGE_SHIFT)
    return (
        numbers[present],
        _running(space.frames.refs_vector[pfns] == 1),
        _running(held & _DIRTY != 0),
    )


def _running(flags: Vector) -> Vector:
    """How many are set before each place, and in all."""
    sums = np.zeros(flags.size + 1, dtype=np.int64)
    np.cumsum(flags, out=sums[1:])
    return sums


def usage_of(space: AddressSpace) -> SpaceUsage:
    """Sizes for /proc/PID/statm and getrusage(2)."""
    virtual = data = stack = 0
    for region in space.regions.items:
        size = region.end - region.start
        virtual += size
        if region.grows_down:
            stack += size
        elif region.prot & PROT_WRITE and not region.shared:
            data += size
    return SpaceUsage(
        virtual,
        space.tables.held().size * PAGE_BYTES,
        data,
        stack,
        space.minor_faults,
        space.major_faults,
        len(space.regions),
    )


def resident_of(space: AddressSpace, vaddr: int, length: int) -> bytes:
    """mincore(2)."""
    end = _checked(space, vaddr, length)
    low, high = vaddr >> PAGE_SHIFT, end >> PAGE_SHIFT
    answer = np.zeros(high - low, dtype=np.uint8)
    for vpn, start, stop in space.tables.spans(low, high):
        answer[vpn - low : vpn - low + stop - start] = space.array[start:stop] != 0
    return answer.tobytes()


def collect_range(space: AddressSpace, vaddr: int, length: int) -> tuple[DirtyRun, ...]:
    """msync(2): see `api.CollectDirty`."""
    end = _checked(space, vaddr, length)
    runs: list[DirtyRun] = []
    for region in space.regions.over(vaddr, end):
        if region.shared:
            runs += _collect(space, region, max(vaddr, region.start), min(end, region.end))
    return tuple(runs)


def collect_node(space: AddressSpace, node: int) -> list[DirtyRun]:
    """What this space has written to a file; see `api.CollectNode`."""
    runs: list[DirtyRun] = []
    for region in space.regions.items:
        if region.node == node and region.shared:
            runs += _collect(space, region, region.start, region.end)
    return runs


def _collect(space: AddressSpace, region: Region, start: int, end: int) -> list[DirtyRun]:
    """Report D, and clear D and W, so that the next write asks fs for the page again."""
    assert region.node is not None
    runs: list[DirtyRun] = []
    changed = False
    for vpn, low, high in space.tables.spans(start >> PAGE_SHIFT, end >> PAGE_SHIFT):
        view = space.array[low:high]
        if not (view & _RIGHTS).any():
            continue
        dirty = np.flatnonzero(view & _DIRTY)
        view &= _CLEAN
        changed = True
        if not dirty.size:
            continue
        first = region.page_of(vpn)
        for run in np.split(dirty, np.flatnonzero(np.diff(dirty) != 1) + 1):
            page = first + int(run[0])
            if runs and runs[-1].first_page + runs[-1].count == page:
                last = runs.pop()
                runs.append(DirtyRun(region.node, last.first_page, last.count + len(run)))
            else:
                runs.append(DirtyRun(region.node, page, len(run)))
    if changed:
        space.tables.narrow()
    return runs


def _checked(space: AddressSpace, vaddr: int, length: int) -> int:
    """The end of a range that must be aligned and without holes."""
    if vaddr & PAGE_MASK or length < 0:
        raise PosixError(EINVAL)
    end = vaddr + page_up(length)
    if not 0 <= vaddr <= end <= USER_TOP:
        raise PosixError(ENOMEM)
    if not space.regions.covers(vaddr, end):
        raise PosixError(ENOMEM)
    return end
