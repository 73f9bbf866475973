"""Are vm's invariants true? Slow and complete: for tests, and before taking over after a crash.

Raises KernelBug at the first that is not:
- regions are ascending, disjoint, page-aligned, joined where they could be, and files are counted;
- the tables in RAM and the shadow of them in `Tables` agree, and nothing lies outside a region;
- an entry grants nothing that its region does not, and says whether it is shared;
- every frame has exactly as many references as there are entries, tables and other keepers;
- the free lists are the frames without references.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from bus.errors import KernelBug
from services.vm.paging import (
    ENTRIES,
    KERNEL_SLOT,
    PAGE_MASK,
    PAGE_SHIFT,
    PROT_EXEC,
    PROT_WRITE,
    PTE_FRAME,
    PTE_KEPT,
    PTE_NX,
    PTE_P,
    PTE_SHARED,
    PTE_U,
    PTE_W,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.vm.core import VirtualMemory
    from services.vm.regions import Region, RegionMap
    from services.vm.space import AddressSpace
    from services.vm.tables import Tables


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise KernelBug(what)


def check(
    vm: VirtualMemory, others: Mapping[int, int] | None = None, *, whole: bool = True
) -> None:
    """Check everything; `others` is how many references are held outside vm, by frame.

    Not `whole`: who else holds frames is not known, and there may be more references.
    """
    held: Counter[int] = Counter(others or {})
    for number, space in vm.spaces.items():
        _check_regions(space.regions)
        held += _check_tables(space.tables, vm.kernel_entry)
        for vpn, entry in _entries(space.tables):
            region = space.regions.find(vpn << PAGE_SHIFT)
            if region is None:
                raise KernelBug(f"space {number} has {vpn << PAGE_SHIFT:#x} outside all regions")
            _check_entry(space, region, vpn, entry)
            held[(entry & PTE_FRAME) >> PAGE_SHIFT] += 1
    refs = vm.frames.refs_vector
    for pfn in refs.nonzero()[0].tolist() if whole else ():
        _require(held[pfn] == refs[pfn], f"frame {pfn:#x}: {refs[pfn]} counted, {held[pfn]} held")
    for pfn, count in held.items():
        right = count == refs[pfn] if whole else count <= refs[pfn]
        _require(right, f"frame {pfn:#x}: {refs[pfn]} counted, {count} held")
    vm.frames.verify()


def _entries(tables: Tables) -> list[tuple[int, int]]:
    words = tables.frames.ram.words
    return [
        ((key << 9) + slot, words[table + slot])
        for key, table in tables.leaves.items()
        for slot in range(ENTRIES)
        if words[table + slot]
    ]


def _check_regions(regions: RegionMap) -> None:
    files: Counter[int] = Counter()
    previous: Region | None = None
    _require(len(regions.starts) == len(regions.items), "region lists differ in length")
    for start, region in zip(regions.starts, regions.items, strict=True):
        _require(start == region.start < region.end, f"region at {start:#x} is out of place")
        _require(not (region.start | region.end) & PAGE_MASK, f"region {start:#x} is not aligned")
        if region.node is not None:
            files[region.node] += 1
        if previous is not None:
            _require(previous.end <= region.start, f"regions overlap at {start:#x}")
            joined = previous.end < region.start or not previous.joins(region)
            _require(joined, f"regions should be one at {start:#x}")
        previous = region
    _require(dict(files) == regions.files, "files are miscounted")


def _check_tables(tables: Tables, kernel_entry: int) -> Counter[int]:
    """Walk from the root as a core does, and compare."""
    words = tables.frames.ram.words
    level: dict[int, int] = {0: tables.root}
    used: Counter[int] = Counter({tables.root >> 9: 1})
    for shadow, slots in ((tables.pointers, 256), (tables.directories, 512), (tables.leaves, 512)):
        below: dict[int, int] = {}
        for key, table in level.items():
            for slot in range(slots):
                if words[table + slot] & PTE_P:
                    below[key << 9 | slot] = (words[table + slot] & PTE_FRAME) >> 3
        _require(below == shadow, "the tables are not where vm believes them to be")
        used.update(table >> 9 for table in below.values())
        level = below
    _require(words[tables.root + KERNEL_SLOT] == kernel_entry, "the kernel half was changed")
    return used


def _check_entry(space: AddressSpace, region: Region, vpn: int, entry: int) -> None:
    where = f"entry {entry:#x} of {vpn << PAGE_SHIFT:#x}"
    present = bool(entry & PTE_P)
    _require(present != bool(entry & PTE_KEPT), f"{where} is neither present nor kept")
    _require(present == bool(region.prot), f"{where} disagrees with its region's rights")
    _require(bool(entry & PTE_U), f"{where} is the kernel's")
    _require(bool(entry & PTE_SHARED) == region.shared, f"{where} disagrees on being shared")
    executable = bool(region.prot & PROT_EXEC)
    _require(executable != bool(entry & PTE_NX), f"{where} disagrees on execution")
    pfn = (entry & PTE_FRAME) >> PAGE_SHIFT
    _require(not executable or bool(space.frames.code[pfn]), f"{where} has no code flag")
    if entry & PTE_W:
        _require(bool(region.prot & PROT_WRITE), f"{where} may not be written")
        alone = region.shared or space.frames.refs[pfn] == 1
        _require(alone, f"{where} is private, writable and has other owners")
