"""The page tables of one space: four levels in RAM, changed by ranges.

`leaves` finds the lowest table of an address without a walk (key: vaddr >> 21), so the upper
levels are written once and read only by the cores. Page numbers (`vpn`) are vaddr >> 12; ranges
of them are half open.

Who counts: every entry that holds a frame (P or PTE_KEPT) owns one reference to it. Every method
that takes entries away gives the references back.

`narrow` is to be called, and is by the methods here, whenever an entry that P made visible loses
rights, its frame, or itself: it rings the cores and moves the generation word on, which empties
the soft TLB of every `UserMemory` on this space. Filling an absent entry needs neither, and
neither does widening: the core walks again before it faults.

Short ranges are loops over a memoryview and long ones numpy, as one numpy call costs as much as
ten words. A lowest table that has become empty stays until the space dies, unless the range taken
away covered it and there are many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bus.census import EMPTY_DICT, kind
from services.drivers.ram.api import DOORBELL_TLB
from services.vm.frames import ZERO_PAGE, FrameTable, OutOfFrames, Pfns
from services.vm.paging import (
    ENTRIES,
    GENERATION_SLOT,
    GENERATION_STEP,
    KERNEL_SLOT,
    PAGE_BYTES,
    PAGE_SHIFT,
    PTE_D,
    PTE_FRAME,
    PTE_NX,
    PTE_P,
    PTE_SHARED,
    PTE_TABLE,
    PTE_W,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

Entries = npt.NDArray[np.uint64]

SHORT = 12
"""Ranges up to this many pages are looped over."""
LEAVES_KEPT = 64

_FRAME = np.uint64(PTE_FRAME)
_SHIFT = np.uint64(PAGE_SHIFT)
_ALL_BUT_W = np.uint64(~PTE_W & (1 << 64) - 1)
_SHARED_TO_W = np.uint64(8)
assert PTE_SHARED >> 8 == PTE_W


def frames_of(entries: Entries) -> Pfns:
    """The frame numbers that leaf entries hold."""
    return ((entries & _FRAME) >> _SHIFT).astype(np.int64)


TABLES = kind("vm", "address space")
INTEGER_BYTES = 32
"""What a number above 256 takes; each table has two of its own, beside its place in a dict."""


class Tables:
    """Page tables; `root_paddr` is what CR3 takes."""

    __slots__ = (
        "_array",
        "_charged",
        "_numbers",
        "_rows",
        "_words",
        "directories",
        "frames",
        "leaves",
        "pointers",
        "root",
    )

    def __init__(self, frames: FrameTable, root_pfn: int) -> None:
        TABLES.made()
        self._charged, self._numbers = 3 * EMPTY_DICT, 0
        self.frames = frames
        self._words = frames.ram.words
        self._array = frames.ram.array
        self._rows: Entries = self._array.reshape(-1, ENTRIES)
        self.root = root_pfn << 9
        """Index of the root table's first word in RAM; likewise for the tables below."""
        self.pointers: dict[int, int] = {}
        """Third-level tables by vaddr >> 39."""
        self.directories: dict[int, int] = {}
        """Second-level tables by vaddr >> 30."""
        self.leaves: dict[int, int] = {}
        """Lowest tables by vaddr >> 21."""

    def __del__(self) -> None:
        TABLES.grew(3 * EMPTY_DICT - self._charged - self._numbers)
        TABLES.freed()

    def _charge(self) -> None:
        tables = (self.leaves, self.directories, self.pointers)
        self._charged = TABLES.resized(self._charged, *tables)
        numbers = 2 * INTEGER_BYTES * sum([len(table) for table in tables])
        TABLES.grew(numbers - self._numbers)
        self._numbers = numbers

    @classmethod
    def create(cls, frames: FrameTable, kernel_entry: int) -> Tables:
        """An empty user half; the kernel half is one entry, the same in every space."""
        tables = cls(frames, frames.alloc_zeroed())
        tables._words[tables.root + KERNEL_SLOT] = kernel_entry
        return tables

    @property
    def root_paddr(self) -> int:
        """Where the root table lies."""
        return self.root << 3

    def narrow(self) -> None:
        """Make the cores and all soft TLBs forget what they know of this space."""
        words = self._words
        words[0] |= DOORBELL_TLB
        words[self.root + GENERATION_SLOT] += GENERATION_STEP

    # -- one entry --------------------------------------------------------------------------

    def entry(self, vpn: int) -> int:
        """The leaf entry of a page, 0 if there is none."""
        table = self.leaves.get(vpn >> 9)
        return 0 if table is None else int(self._words[table + (vpn & 511)])

    def leaf(self, vpn: int) -> int:
        """Index of the first word of the lowest table of `vpn`, made if need be."""
        table = self.leaves.get(vpn >> 9)
        if table is not None:
            return table
        directory = self.directories.get(vpn >> 18)
        if directory is None:
            pointer = self.pointers.get(vpn >> 27)
            if pointer is None:
                pointer = self._table_at(self.root + (vpn >> 27))
                self.pointers[vpn >> 27] = pointer
            directory = self._table_at(pointer + (vpn >> 18 & 511))
            self.directories[vpn >> 18] = directory
        table = self._table_at(directory + (vpn >> 9 & 511))
        self.leaves[vpn >> 9] = table
        self._charge()
        return table

    def _table_at(self, slot: int) -> int:
        pfn = self.frames.alloc_zeroed()
        self._words[slot] = pfn << PAGE_SHIFT | PTE_TABLE
        return pfn << 9

    # -- ranges -----------------------------------------------------------------------------

    def spans(self, low: int, high: int) -> Iterator[tuple[int, int, int]]:
        """The existing tables over a range, ascending: (first vpn, first word, past last word)."""
        leaves = self.leaves
        first, last = low >> 9, high - 1 >> 9
        if last - first < len(leaves):
            keys = [key for key in range(first, last + 1) if key in leaves]
        else:
            keys = sorted(key for key in leaves if first <= key <= last)
        for key in keys:
            table = leaves[key]
            start = low & 511 if key == first else 0
            stop = (high - 1 & 511) + 1 if key == last else ENTRIES
            yield (key << 9) + start, table + start, table + stop

    def entries(self, low: int, high: int) -> Iterator[tuple[int, int, int]]:
        """(vpn, word index, entry) of each entry in a short range that is not 0."""
        words = self._words
        for vpn, start, stop in self.spans(low, high):
            for index in range(start, stop):
                entry = words[index]
                if entry:
                    yield vpn + index - start, index, entry

    def unmap(self, low: int, high: int) -> None:
        """Take away all entries of a range and their references."""
        if high - low <= SHORT:
            words = self._words
            unref = self.frames.unref
            taken = False
            for _, index, entry in self.entries(low, high):
                words[index] = 0
                unref((entry & PTE_FRAME) >> PAGE_SHIFT)
                taken = True
            if taken:
                self.narrow()
            return
        found: list[Entries] = []
        for _, start, stop in self.spans(low, high):
            view = self._array[start:stop]
            held = view[view != 0]
            if held.size:
                view.fill(0)
                found.append(held)
        if found:
            self.narrow()
            held = found[0] if len(found) == 1 else np.concatenate(found)
            self.frames.unref_all(frames_of(held))
        if len(self.leaves) > LEAVES_KEPT:
            self._drop_leaves(low, high)

    def unmap_frames(self, low: int, high: int, pfns: Pfns) -> None:
        """Take away the entries of a range that hold one of these frames."""
        for _, start, stop in self.spans(low, high):
            view = self._array[start:stop]
            (where,) = view.nonzero()
            frames = frames_of(view[where])
            chosen = np.isin(frames, pfns)
            if chosen.any():
                view[where[chosen]] = 0
                self.narrow()
                self.frames.unref_all(frames[chosen])

    def _drop_leaves(self, low: int, high: int) -> None:
        """Free the lowest tables that lie wholly in an emptied range."""
        for vpn, start, stop in list(self.spans(low, high)):
            if stop - start == ENTRIES:
                self._words[self.directories[vpn >> 18] + (vpn >> 9 & 511)] = 0
                del self.leaves[vpn >> 9]
                self.frames.unref(start >> 9)
        self._charge()

    def protect(self, low: int, high: int, bits: int) -> None:
        """Give the entries of a range the rights in `bits` (`paging.leaf_bits`).

        A private page becomes writable only where its frame has no other reference; a shared one
        only where it was already: else the first write asks. Gaining execution counts as narrowing,
        as the soft TLBs remember which pages hold no code.
        """
        refs = self.frames.refs
        words = self._words
        changed = False
        for _, start, stop in self.spans(low, high):
            if stop - start > SHORT:
                changed |= self._protect_vector(start, stop, bits)
                continue
            for index in range(start, stop):
                entry = words[index]
                if not entry:
                    continue
                new = entry & (PTE_FRAME | PTE_D) | bits
                if bits & PTE_W:
                    if bits & PTE_SHARED:
                        if not entry & PTE_W:
                            new &= ~PTE_W
                    elif refs[(entry & PTE_FRAME) >> PAGE_SHIFT] != 1:
                        new &= ~PTE_W
                words[index] = new
                changed |= bool((entry ^ new) & PTE_NX or entry & ~new & (PTE_P | PTE_W))
        if changed:
            self.narrow()

    def _protect_vector(self, start: int, stop: int, bits: int) -> bool:
        view = self._array[start:stop]
        (where,) = view.nonzero()
        if not where.size:
            return False
        old = view[where]
        new = old & np.uint64(PTE_FRAME | PTE_D) | np.uint64(bits)
        if bits & PTE_W:
            if bits & PTE_SHARED:
                denied = old & np.uint64(PTE_W) == 0
            else:
                denied = self.frames.refs_vector[frames_of(old)] != 1
            new[denied] &= _ALL_BUT_W
        view[where] = new
        return bool(((old ^ new) & np.uint64(PTE_NX) | old & ~new & np.uint64(PTE_P | PTE_W)).any())

    def flag_code(self, low: int, high: int) -> None:
        """Mark every frame in a range as one that may hold translated code."""
        for _, start, stop in self.spans(low, high):
            view = self._array[start:stop]
            self.frames.code_vector[frames_of(view[view != 0])] = 1

    def move(self, low: int, high: int, target: int) -> None:
        """Move the entries of a range to pages from `target` on, which must have none.

        Raises OutOfFrames before anything is moved.
        """
        offset = target - low
        pieces: list[tuple[int, int, Entries]] = []
        for vpn, start, stop in self.spans(low, high):
            view = self._array[start:stop]
            if view.any():
                pieces.append((vpn + offset, start, view))
                self.leaf(vpn + offset)
                self.leaf(vpn + offset + stop - start - 1)
        for vpn, _, view in pieces:
            first = min(len(view), ENTRIES - (vpn & 511))
            index = self.leaf(vpn) + (vpn & 511)
            self._array[index : index + first] = view[:first]
            if first < len(view):
                index = self.leaf(vpn + first)
                self._array[index : index + len(view) - first] = view[first:]
            view.fill(0)
        if pieces:
            self.narrow()

    def resident(self, low: int, high: int) -> int:
        """How many entries of a range hold a frame."""
        array = self._array
        return sum(int(np.count_nonzero(array[a:b])) for _, a, b in self.spans(low, high))

    # -- whole spaces -----------------------------------------------------------------------

    def gather(self) -> Entries:
        """A copy of all lowest tables, one row each, in the order of `leaves`."""
        rows = np.fromiter(self.leaves.values(), dtype=np.int64, count=len(self.leaves)) >> 9
        tables: Entries = self._rows.take(rows, 0)
        return tables

    def held(self) -> Entries:
        """All entries that hold a frame, in no order that matters."""
        entries = self.gather().ravel()
        held: Entries = entries[entries != 0]
        return held

    def fork(self) -> Tables:
        """Copy-on-write copy: W is cleared in both where the page is private."""
        frames = self.frames
        words = self._words
        count = 1 + len(self.pointers) + len(self.directories) + len(self.leaves)
        pfns = frames.alloc_any(count)
        child = Tables(frames, pfns.pop())
        for upper in (child.root >> 9, *pfns[: len(self.pointers) + len(self.directories)]):
            frames.ram.bytes[upper << PAGE_SHIFT : (upper << PAGE_SHIFT) + PAGE_BYTES] = ZERO_PAGE
        words[child.root + KERNEL_SLOT] = words[self.root + KERNEL_SLOT]
        fresh = iter(pfns)
        for key in self.pointers:
            pfn = next(fresh)
            child.pointers[key] = pfn << 9
            words[child.root + key] = pfn << PAGE_SHIFT | PTE_TABLE
        for key in self.directories:
            pfn = next(fresh)
            child.directories[key] = pfn << 9
            words[child.pointers[key >> 9] + (key & 511)] = pfn << PAGE_SHIFT | PTE_TABLE
        for key in self.leaves:
            pfn = next(fresh)
            child.leaves[key] = pfn << 9
            words[child.directories[key >> 9] + (key & 511)] = pfn << PAGE_SHIFT | PTE_TABLE
        if self.leaves:
            self._share_leaves(pfns[-len(self.leaves) :])
        child._charge()
        return child

    def _share_leaves(self, targets: list[int]) -> None:
        rows = self._rows
        sources = np.fromiter(self.leaves.values(), dtype=np.int64, count=len(self.leaves)) >> 9
        entries = rows.take(sources, 0)
        mask = entries >> _SHARED_TO_W
        mask |= _ALL_BUT_W
        entries &= mask
        rows[sources] = entries
        rows[np.array(targets, dtype=np.int64)] = entries
        flat = entries.ravel()
        self.frames.ref_all(frames_of(flat[flat != 0]))
        self.narrow()

    def destroy(self) -> None:
        """Drop every reference and free the tables themselves."""
        self.narrow()
        frames = self.frames
        if self.leaves:
            frames.unref_all(frames_of(self.held()))
        tables = [*self.leaves.values(), *self.directories.values(), *self.pointers.values()]
        frames.unref_all(np.array([*sorted(tables), self.root], dtype=np.int64) >> 9)
        self.leaves = {}
        self.directories = {}
        self.pointers = {}
        self._charge()


__all__ = ["Entries", "OutOfFrames", "Tables", "frames_of"]
