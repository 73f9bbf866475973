"""The physical frame allocator: reference counts, free frames, and frames that held code.

Rules of use:
- A frame has one reference for each page-table entry that holds it, one while it is a table, and
  one for each other keeper (the page cache). It is free when the last goes.
- Single frames: `alloc`, `alloc_zeroed`, `ref`, `unref`. Many: `alloc_run` gives one run of
  neighbours, perhaps shorter than asked; `alloc_many` any frames; `ref_all` and `unref_all` take
  a vector in which a frame may appear several times.
- Frames from `_fresh` up were never given out and read as zero, as RAM is demand-zero; nothing
  here touches them before they are.

Free frames below `_fresh` are kept as a stack of runs and a stack of singles; both give back first
what was freed last, which the host's caches still hold. Runs crumble into singles; when a run is
wanted and none is left, `_gather` sorts all free frames into runs again, rarely.

A freed frame whose code flag is set waits in a quarantine, as the cores keep translations by
physical address. When there are too many, or no other frame is free, DOORBELL_CODE makes the
cores drop all translations before they run again, and the whole quarantine is free.

The counts lie in RAM (`paging.reference_counts`): scalar access goes through a memoryview and
vectors through a numpy array over the same words, as numpy is slow at the one and the other
impossible at the second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bus.errors import KernelBug
from services.drivers.ram.api import DOORBELL_CODE
from services.vm.paging import (
    PAGE_BYTES,
    PAGE_SHIFT,
    code_flags,
    first_usable_frame,
    reference_counts,
)

if TYPE_CHECKING:
    from services.drivers.ram.api import Ram

Pfns = npt.NDArray[np.int64]

RECYCLE_SHIFT = 4
"""A used run of a 16th of what is asked for is taken before new frames are."""
RUNS_SEARCHED = 8
RUN_KEPT = 8
"""Fewer neighbours than this are freed as singles."""
SMALL = 24
"""Up to this many frames a loop beats numpy."""
GATHER_AT = 64
"""Singles that must have come together, beside one for every 32 frames ever used."""
ZERO_PAGE = bytes(PAGE_BYTES)

_ONE = np.int32(1)
"""Of the counts' own type: ufunc.at is fifteen times slower if it has to convert."""


class OutOfFrames(Exception):
    """No frame is free; nothing was allocated."""


class FrameTable:
    """All frames of one RAM."""

    def __init__(self, ram: Ram) -> None:
        self.ram = ram
        self.first = first_usable_frame(ram)
        self.total = ram.frames - self.first
        if self.total <= 0:
            raise ValueError(f"{ram.size_bytes} bytes of RAM are too few")
        self.free = self.total
        self.refs = reference_counts(ram)
        self.refs_vector: npt.NDArray[np.int32] = np.frombuffer(self.refs, dtype=np.int32)
        self.code = code_flags(ram)
        self.code_vector: npt.NDArray[np.uint8] = np.frombuffer(self.code, dtype=np.uint8)
        self._bytes = ram.bytes
        self._fresh = self.first
        self._limit = ram.frames
        self._singles: list[int] = []
        self._runs: list[tuple[int, int]] = []
        self._quarantine: list[int] = []
        self._quarantine_bound = max(64, self.total >> 4)
        self._gather_at = GATHER_AT

    # -- taking -----------------------------------------------------------------------------

    def alloc(self) -> int:
        """One frame with one reference; what is in it is undefined."""
        try:
            pfn = self._singles.pop()
        except IndexError:
            pfn, _, _ = self._take(1)
        if self.refs[pfn]:
            raise KernelBug(f"free frame {pfn:#x} has {self.refs[pfn]} references")
        self.refs[pfn] = 1
        self.free -= 1
        return pfn

    def alloc_zeroed(self) -> int:
        """One frame of zeros with one reference."""
        try:
            pfn = self._singles.pop()
            fresh = False
        except IndexError:
            pfn, _, fresh = self._take(1)
        if self.refs[pfn]:
            raise KernelBug(f"free frame {pfn:#x} has {self.refs[pfn]} references")
        self.refs[pfn] = 1
        self.free -= 1
        if not fresh:
            paddr = pfn << PAGE_SHIFT
            self._bytes[paddr : paddr + PAGE_BYTES] = ZERO_PAGE
        return pfn

    def alloc_any(self, count: int) -> list[int]:
        """`count` frames from anywhere, one reference each, contents undefined; all or none."""
        if count > self.free:
            raise OutOfFrames
        singles = self._singles
        pfns = singles[-count:]
        del singles[-count:]
        refs = self.refs
        for pfn in pfns:
            if refs[pfn]:
                raise KernelBug(f"free frame {pfn:#x} has {refs[pfn]} references")
            refs[pfn] = 1
        self.free -= len(pfns)
        while len(pfns) < count:
            pfn, got = self.alloc_run(count - len(pfns), False)
            pfns.extend(range(pfn, pfn + got))
        return pfns

    def alloc_run(self, count: int, zero: bool) -> tuple[int, int]:
        """(first pfn, how many): between 1 and `count` neighbours, one reference each."""
        pfn, got, fresh = self._take(count)
        if got == 1:
            self.refs[pfn] = 1
        else:
            self.refs_vector[pfn : pfn + got] = 1
        self.free -= got
        if zero and not fresh:
            self.ram.zero(pfn << PAGE_SHIFT, got << PAGE_SHIFT)
        return pfn, got

    def alloc_many(self, count: int, zero: bool = False) -> list[int]:
        """`count` frames, one reference each, neighbours where that is cheap; all or none."""
        if count > self.free:
            raise OutOfFrames
        if count == 1:
            return [self.alloc_zeroed() if zero else self.alloc()]
        pfns: list[int] = []
        while (left := count - len(pfns)) > 0:
            pfn, got = self.alloc_run(left, zero)
            pfns.extend(range(pfn, pfn + got))
        return pfns

    def _take(self, count: int) -> tuple[int, int, bool]:
        """A run off the free lists: (first pfn, length, whether it was never used)."""
        runs = self._runs
        best = -1
        longest = 0
        for index in range(len(runs) - 1, max(-1, len(runs) - 1 - RUNS_SEARCHED), -1):
            length = runs[index][1]
            if length >= count:
                return (*self._cut(index, count), False)
            if length > longest:
                best, longest = index, length
        if count > 1 and len(self._singles) >= self._gather_at:
            self._gather()
            return self._take(count)
        if best >= 0 and longest << RECYCLE_SHIFT >= count:
            # What was used before is in the host's memory; a new frame costs a host's fault.
            return (*self._cut(best, count), False)
        unused = self._limit - self._fresh
        if unused >= count or unused > longest:
            pfn = self._fresh
            got = min(count, unused)
            self._fresh += got
            return pfn, got, True
        if best >= 0:
            return (*self._cut(best, count), False)
        if self._singles:
            return self._singles.pop(), 1, False
        if self._quarantine:
            self.end_quarantine()
            return self._take(count)
        raise OutOfFrames

    def _cut(self, index: int, count: int) -> tuple[int, int]:
        start, length = self._runs[index]
        if length > count:
            self._runs[index] = (start + count, length - count)
            return start, count
        del self._runs[index]
        return start, length

    # -- giving back ------------------------------------------------------------------------

    def ref(self, pfn: int) -> None:
        """Add a reference to a frame in use."""
        count = self.refs[pfn]
        if count <= 0:
            raise KernelBug(f"reference to free frame {pfn:#x}")
        self.refs[pfn] = count + 1

    def unref(self, pfn: int) -> None:
        """Drop a reference; the last one frees the frame."""
        count = self.refs[pfn] - 1
        if count > 0:
            self.refs[pfn] = count
            return
        if count < 0 or pfn < self.first:
            raise KernelBug(f"frame {pfn:#x} is freed twice")
        self.refs[pfn] = 0
        self.free += 1
        if self.code[pfn]:
            self._quarantine.append(pfn)
            if len(self._quarantine) > self._quarantine_bound:
                self.end_quarantine()
        else:
            self._singles.append(pfn)

    def ref_all(self, pfns: Pfns) -> None:
        """Add one reference for each mention of a frame."""
        np.add.at(self.refs_vector, pfns, _ONE)

    def unref_all(self, pfns: Pfns) -> None:
        """Drop one reference for each mention of a frame."""
        if len(pfns) <= SMALL:
            for pfn in pfns.tolist():
                self.unref(pfn)
            return
        refs = self.refs_vector
        np.subtract.at(refs, pfns, _ONE)
        left = refs.take(pfns)
        if left.min() < 0 or pfns.min() < self.first:
            raise KernelBug(f"frame {int(pfns[left.argmin()]):#x} is freed twice")
        dead = pfns[left == 0]
        if not dead.size:
            return
        dead.sort()
        repeated = dead[1:] == dead[:-1]
        if repeated.any():
            dead = dead[np.concatenate(([True], ~repeated))]
        self.free += dead.size
        flags = self.code_vector[dead]
        if flags.any():
            self._quarantine.extend(dead[flags != 0].tolist())
            dead = dead[flags == 0]
        self._give(dead)
        if len(self._quarantine) > self._quarantine_bound:
            self.end_quarantine()

    def _give(self, pfns: Pfns) -> None:
        """Put frames, ascending and distinct, on the free lists."""
        if len(pfns) <= RUN_KEPT:
            self._singles.extend(pfns.tolist())
            return
        breaks = np.flatnonzero(np.diff(pfns) != 1) + 1
        if not breaks.size:
            self._runs.append((int(pfns[0]), len(pfns)))
            return
        starts = np.concatenate(([0], breaks))
        lengths = np.diff(np.concatenate((starts, [len(pfns)])))
        long = lengths >= RUN_KEPT
        self._runs.extend(zip(pfns[starts[long]].tolist(), lengths[long].tolist(), strict=True))
        self._singles.extend(pfns[~np.repeat(long, lengths)].tolist())

    def _gather(self) -> None:
        """Sort all free frames into runs again."""
        idle = self.refs_vector[self.first : self._fresh] == 0
        for pfn in self._quarantine:
            idle[pfn - self.first] = False
        self._singles.clear()
        self._runs.clear()
        self._give(np.flatnonzero(idle) + self.first)
        used = self._fresh - self.first
        self._gather_at = GATHER_AT + len(self._singles) + (used >> 5)

    def end_quarantine(self) -> None:
        """Have the cores forget all translations and free what waited for that."""
        if not self._quarantine:
            return
        self.ram.ring(DOORBELL_CODE)
        pfns = np.array(sorted(self._quarantine), dtype=np.int64)
        self._quarantine.clear()
        self.code_vector[pfns] = 0
        self._give(pfns)

    def verify(self) -> None:
        """Raise KernelBug unless counts and free lists agree (slow; for tests and recovery)."""
        listed = self._singles + self._quarantine
        for start, length in self._runs:
            listed.extend(range(start, start + length))
        idle = np.flatnonzero(self.refs_vector[self.first : self._fresh] == 0) + self.first
        if sorted(listed) != idle.tolist():
            raise KernelBug("the free lists are not the frames without references")
        if self.free != len(listed) + self._limit - self._fresh:
            raise KernelBug(f"{self.free} frames are counted free")
        if self.refs_vector[self._fresh :].any() or self.refs_vector[: self.first].any():
            raise KernelBug("a frame that was never given out has references")
