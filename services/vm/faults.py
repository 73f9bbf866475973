"""What a page fault does: fill with zeros, copy, claim, ask for pages of a file, or refuse.

A fault costs the core and the trap more than serving a page does, so each serves a window:
- Anonymous pages: `FIRST_WINDOW` pages, twice the last window when the fault is on the very page
  after it, up to a whole lowest table. A space remembers where its last windows ended
  (`streams`), so several sequential scans do not spoil each other. Windows of stacks lie below
  the fault. No window leaves its region, its lowest table, or fills a present entry.
- Files: `FILE_WINDOW` aligned pages to read. A write to a shared mapping marks the file's pages
  dirty, so its window starts with one page and doubles like the others.
- A private page with other owners is copied, alone: copying neighbours too was measured and won
  nothing, and would hide later changes of a file from pages nobody wrote. One without other
  owners is claimed, with up to `CLAIM_WINDOW` - 1 neighbours.

A read of untouched anonymous memory gets a page of its own: with windows a shared page of zeros
would save little and cost each later write a second fault.

Invariant: an entry of a shared mapping has W only after fs was asked for that page for writing,
so fs holds it for dirty; `collect` takes W away together with D, and nothing is lost when an
entry goes away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bus.errors import MalformedRequest
from services.vm.api import NeedPages, NoMemory, Resolved, Violation
from services.vm.frames import OutOfFrames
from services.vm.paging import (
    ACCESS_WRITE,
    ENTRIES,
    PAGE_BYTES,
    PAGE_SHIFT,
    PROT_EXEC,
    PTE_D,
    PTE_FRAME,
    PTE_P,
    PTE_W,
    USER_TOP,
)
from services.vm.regions import STACK_GAP

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.vm.api import FaultReply
    from services.vm.regions import Region
    from services.vm.space import AddressSpace

FIRST_WINDOW = 8
FILE_WINDOW = 16
WRITE_WINDOW = 64
CLAIM_WINDOW = 8
STREAMS = 16
"""How many sequential scans of one space are followed."""
STACK_STEP = 16 << PAGE_SHIFT
"""A stack grows by this much at once, where it may."""

SIGBUS, SIGSEGV = 7, 11
RESOLVED = Resolved()
NO_MEMORY = NoMemory()
NOT_MAPPED = Violation(SIGSEGV, 1)
NOT_PERMITTED = Violation(SIGSEGV, 2)
BEYOND_FILE = Violation(SIGBUS, 2)

_RAMP = np.arange(ENTRIES, dtype=np.uint64) << np.uint64(PAGE_SHIFT)


def resolve(space: AddressSpace, vaddr: int, access: int) -> FaultReply:
    """Serve a refused access to `vaddr`; see `api.Fault`."""
    region = space.regions.find(vaddr)
    if region is None:
        region = _grow(space, vaddr)
        if region is None:
            return NOT_MAPPED
    if not region.access & access:
        return NOT_PERMITTED
    vpn = vaddr >> PAGE_SHIFT
    table = space.tables.leaves.get(vpn >> 9)
    entry = 0 if table is None else space.words[table + (vpn & 511)]
    try:
        if entry:
            return _present(space, region, vpn, entry, access)
        if region.node is None:
            space.minor_faults += 1
            return _fill(space, region, vpn)
    except OutOfFrames:
        return NO_MEMORY
    return _need(space, region, vpn, access)


# -- anonymous memory -----------------------------------------------------------------------


def _fill(space: AddressSpace, region: Region, vpn: int) -> FaultReply:
    streams = space.streams
    down = region.grows_down
    window = min(streams.pop(vpn, 0) << 1 or FIRST_WINDOW, ENTRIES)
    count = min(window, (space.frames.free >> 3) or 1)
    if down:
        low = max(vpn + 1 - count, region.start >> PAGE_SHIFT, vpn & ~511)
        filled = zero_fill(space, region, low, vpn + 1, vpn)
        following = vpn - filled
    else:
        high = min(vpn + count, region.end >> PAGE_SHIFT, (vpn | 511) + 1)
        filled = zero_fill(space, region, vpn, high, vpn)
        following = vpn + filled
    if len(streams) >= STREAMS:
        del streams[next(iter(streams))]
    streams[following] = window
    return RESOLVED


def zero_fill(space: AddressSpace, region: Region, low: int, high: int, wanted: int) -> int:
    """Give zeroed frames to absent pages around `wanted`, within one table; replies how many.

    The pages are a contiguous part of `low` to `high` that starts at `wanted` or ends there.
    """
    table = space.tables.leaf(wanted)
    index = table + (low & 511)
    count = high - low
    if count > 1:
        held = bytes(space.words[index : index + count])
        if low == wanted:
            count = (len(held) - len(held.lstrip(b"\0"))) >> 3
        else:
            count = (len(held) - len(held.rstrip(b"\0"))) >> 3
    frames = space.frames
    if count <= 1:
        pfn = frames.alloc_zeroed()
        space.words[table + (wanted & 511)] = pfn << PAGE_SHIFT | region.leaf
        count = 1
    else:
        pfn, count = frames.alloc_run(count, True)
        index = table + (wanted & 511)
        if low != wanted:
            index -= count - 1
        first = pfn << PAGE_SHIFT | region.leaf
        if count < 6:
            words = space.words
            for slot in range(index, index + count):
                words[slot] = first
                first += PAGE_BYTES
        else:
            np.add(_RAMP[:count], np.uint64(first), out=space.array[index : index + count])
    if region.prot & PROT_EXEC:
        frames.code_vector[pfn : pfn + count] = 1
    return count


def _grow(space: AddressSpace, vaddr: int) -> Region | None:
    """Extend the stack above `vaddr` down to it, if that is allowed."""
    if not 0 <= vaddr < USER_TOP:
        return None
    regions = space.regions
    stack = regions.after(vaddr)
    if stack is None or not stack.grows_down:
        return None
    lowest = stack.end - space.stack_limit
    below = regions.before(vaddr)
    if below is not None:
        gap = STACK_GAP if below.prot and not below.grows_down else 0
        lowest = max(lowest, below.end + gap)
    start = vaddr & ~(PAGE_BYTES - 1)
    if start < lowest:
        return None
    start = max(min(start, stack.start - STACK_STEP), lowest)
    start = start + PAGE_BYTES - 1 & ~(PAGE_BYTES - 1)
    regions.remove(stack.start, stack.end)
    return regions.insert(stack.part(start, stack.end))


# -- entries that are there -----------------------------------------------------------------


def _present(space: AddressSpace, region: Region, vpn: int, entry: int, access: int) -> FaultReply:
    if access != ACCESS_WRITE or entry & PTE_W:
        space.tables.narrow()  # the core used something stale
        return RESOLVED
    if region.shared:
        return _need(space, region, vpn, access)
    space.minor_faults += 1
    frames = space.frames
    index = space.tables.leaves[vpn >> 9] + (vpn & 511)
    pfn = (entry & PTE_FRAME) >> PAGE_SHIFT
    if frames.refs[pfn] == 1:
        _claim(space, index, min((region.end >> PAGE_SHIFT) - vpn, ENTRIES - (vpn & 511)))
    else:
        copy_page(space, index, pfn, region)
        space.tables.narrow()
    return RESOLVED


def _claim(space: AddressSpace, index: int, room: int) -> None:
    """Make an entry writable that holds its frame alone, and neighbours above that do."""
    words, refs = space.words, space.frames.refs
    words[index] |= PTE_W | PTE_D
    for slot in range(index + 1, index + min(CLAIM_WINDOW, room)):
        entry = words[slot]
        if entry and not entry & PTE_W and refs[(entry & PTE_FRAME) >> PAGE_SHIFT] == 1:
            words[slot] = entry | PTE_W | PTE_D


def copy_page(space: AddressSpace, index: int, pfn: int, region: Region) -> None:
    """Replace a frame that others use by a copy; the caller narrows."""
    frames = space.frames
    new = frames.alloc()
    source, target = pfn << PAGE_SHIFT, new << PAGE_SHIFT
    memory = space.bytes
    memory[target : target + PAGE_BYTES] = memory[source : source + PAGE_BYTES]
    space.words[index] = target | region.leaf
    if region.prot & PROT_EXEC:
        frames.code[new] = 1
    frames.unref(pfn)


# -- files ----------------------------------------------------------------------------------


def _need(space: AddressSpace, region: Region, vpn: int, access: int) -> NeedPages:
    assert region.node is not None
    wanted = region.page_of(vpn)
    for_write = region.shared and access == ACCESS_WRITE
    if for_write:
        window = min(space.streams.pop(vpn, 0) << 1 or 1, WRITE_WINDOW)
        low = vpn
        high = vpn + window
        if len(space.streams) >= STREAMS:
            del space.streams[next(iter(space.streams))]
        space.streams[min(high, region.end >> PAGE_SHIFT)] = window
    else:
        low = max(vpn & ~(FILE_WINDOW - 1), region.start >> PAGE_SHIFT)
        high = (vpn | FILE_WINDOW - 1) + 1
    high = min(high, region.end >> PAGE_SHIFT)
    first = region.page_of(low)
    return NeedPages(region.node, first, high - low, wanted, low << PAGE_SHIFT, for_write)


def install(
    space: AddressSpace, need: NeedPages, pfns: tuple[int, ...], access: int, major: bool = False
) -> FaultReply:
    """Map a file's frames where they are still wanted; see `api.InstallPages`."""
    vpn = (need.vaddr >> PAGE_SHIFT) + need.wanted - need.first
    if not need.first <= need.wanted < need.first + need.count:
        raise MalformedRequest(f"page {need.wanted} is not among those asked for")
    region = space.regions.find(vpn << PAGE_SHIFT)
    if region is None or region.node != need.node or region.page_of(vpn) != need.wanted:
        return RESOLVED  # unmapped or replaced meanwhile: the access will tell
    if need.wanted - need.first >= len(pfns):
        return BEYOND_FILE
    if major:
        space.major_faults += 1
    else:
        space.minor_faults += 1
    try:
        if region.shared:
            return _install_shared(space, region, need, pfns)
        return _install_private(space, region, need, pfns, access)
    except OutOfFrames:
        return NO_MEMORY


def _slots(
    space: AddressSpace, region: Region, need: NeedPages, pfns: tuple[int, ...]
) -> Iterator[tuple[int, int]]:
    """(word index of the entry, frame) for each page of an answer that is not a hole."""
    low = need.vaddr >> PAGE_SHIFT
    vpn = max(low, region.start >> PAGE_SHIFT)
    high = min(low + len(pfns), region.end >> PAGE_SHIFT)
    refs = space.frames.refs
    while vpn < high:
        stop = min(high, (vpn | 511) + 1)
        base = space.tables.leaf(vpn) - (vpn & ~511)
        for index, pfn in enumerate(pfns[vpn - low : stop - low], base + vpn):
            if pfn:
                if refs[pfn] <= 0:
                    raise MalformedRequest(f"frame {pfn:#x} is free")
                yield index, pfn
        vpn = stop


def _install_private(
    space: AddressSpace, region: Region, need: NeedPages, pfns: tuple[int, ...], access: int
) -> FaultReply:
    words, refs, code = space.words, space.frames.refs, space.frames.code
    bits = region.leaf & ~PTE_W
    executable = region.prot & PROT_EXEC
    for index, pfn in _slots(space, region, need, pfns):
        if words[index]:
            continue
        words[index] = pfn << PAGE_SHIFT | bits
        refs[pfn] += 1
        if executable:
            code[pfn] = 1
    vpn = region.vpn_of(need.wanted)
    entry = space.tables.entry(vpn)
    if not entry:
        zero_fill(space, region, vpn, vpn + 1, vpn)
    elif access == ACCESS_WRITE and entry & PTE_P and not entry & PTE_W:
        return _present(space, region, vpn, entry, access)
    return RESOLVED


def _install_shared(
    space: AddressSpace, region: Region, need: NeedPages, pfns: tuple[int, ...]
) -> FaultReply:
    if not pfns[need.wanted - need.first]:
        # A hole read through a shared mapping becomes a page of the file: what others write to
        # it later has to show here.
        if need.for_write:
            raise MalformedRequest(f"page {need.wanted} of node {need.node} is still a hole")
        vaddr = region.vpn_of(need.wanted) << PAGE_SHIFT
        return NeedPages(need.node, need.wanted, 1, need.wanted, vaddr, True)
    words, frames = space.words, space.frames
    bits = region.leaf if need.for_write else region.leaf & ~PTE_W
    for index, pfn in _slots(space, region, need, pfns):
        entry = words[index]
        if entry:
            old = (entry & PTE_FRAME) >> PAGE_SHIFT
            if old == pfn:
                words[index] = entry | bits & PTE_W
                continue
            space.tables.narrow()  # the file has another frame for this page now
            frames.unref(old)
        words[index] = pfn << PAGE_SHIFT | bits
        frames.refs[pfn] += 1
        if region.prot & PROT_EXEC:
            frames.code[pfn] = 1
    return RESOLVED
