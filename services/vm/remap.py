"""mremap(2): growing, shrinking and moving mappings without copying a page."""

from __future__ import annotations

from errno import EFAULT, EINVAL, ENOMEM
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.vm.api import MREMAP_DONTUNMAP, MREMAP_FIXED, MREMAP_MAYMOVE, MapReply
from services.vm.paging import PAGE_MASK, PAGE_SHIFT, USER_TOP
from services.vm.space import page_up

if TYPE_CHECKING:
    from services.vm.api import Remap
    from services.vm.regions import Region
    from services.vm.space import AddressSpace


def remap(space: AddressSpace, call: Remap) -> MapReply:
    """See `api.Remap`; the checks are in Linux's order."""
    vaddr, flags, regions = call.vaddr, call.flags, space.regions
    old, new = page_up(call.old_bytes), page_up(call.new_bytes)
    fixed = bool(flags & MREMAP_FIXED)
    keep = bool(flags & MREMAP_DONTUNMAP)
    _check(call, old, new)
    region = regions.find(vaddr)
    if region is None:
        raise PosixError(EFAULT)
    if not fixed and not keep and new <= old:
        if new == old:
            return MapReply(vaddr)
        return MapReply(vaddr, False, space.unmap(vaddr + new, old - new))
    if not old and not region.shared:
        raise PosixError(EINVAL)
    if min(old, new) > region.end - vaddr or (old > region.end - vaddr and not fixed):
        raise PosixError(EFAULT)
    if not fixed and not keep and old and old == region.end - vaddr:
        end = region.end + new - old
        if end <= USER_TOP and regions.is_free(region.end, end):
            regions.remove(region.start, region.end)
            regions.insert(region.part(region.start, end))
            return MapReply(vaddr)
    if not flags & MREMAP_MAYMOVE:
        raise PosixError(ENOMEM)
    return _move(space, region, call, old, new)


def _check(call: Remap, old: int, new: int) -> None:
    vaddr, flags, target = call.vaddr, call.flags, call.new_vaddr
    if flags & ~7 or vaddr & PAGE_MASK or not 0 < new <= USER_TOP or old < 0:
        raise PosixError(EINVAL)
    if not flags & (MREMAP_FIXED | MREMAP_DONTUNMAP):
        return
    if not flags & MREMAP_MAYMOVE or (flags & MREMAP_DONTUNMAP and old != new):
        raise PosixError(EINVAL)
    if flags & MREMAP_FIXED and (
        target & PAGE_MASK
        or not 0 <= target <= USER_TOP - new
        or (vaddr + old > target and target + new > vaddr)
    ):
        raise PosixError(EINVAL)


def _move(space: AddressSpace, region: Region, call: Remap, old: int, new: int) -> MapReply:
    vaddr, regions = call.vaddr, space.regions
    removed: list[Region] = []
    if call.flags & MREMAP_FIXED:
        target = call.new_vaddr
        removed += space.clear(target, target + new)
        if old > new:
            removed += space.clear(vaddr + new, vaddr + old)
            old = new
    else:
        placed = regions.place(call.new_vaddr, new, space.mmap_top)
        if placed is None:
            raise PosixError(ENOMEM)
        target = placed
    if old:
        low = vaddr >> PAGE_SHIFT
        space.tables.move(low, low + (old >> PAGE_SHIFT), target >> PAGE_SHIFT)
    regions.insert(region.part(vaddr, vaddr + (old or new)).moved(target, new))
    if old and not call.flags & MREMAP_DONTUNMAP:
        removed += regions.remove(vaddr, vaddr + old)
    return MapReply(target, False, space.dropped(removed))
