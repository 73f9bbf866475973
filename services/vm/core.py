"""All address spaces of the machine and the frames under them; no bus, no Trio.

`OutOfFrames` ends here: it becomes ENOMEM, or `NoMemory` for a fault.
"""

from __future__ import annotations

from errno import ENOMEM
from typing import TYPE_CHECKING

import numpy as np

from bus.errors import MalformedRequest, PosixError
from services.vm import faults, reports
from services.vm.api import FrameCounts, SpaceReply
from services.vm.frames import FrameTable, OutOfFrames
from services.vm.paging import PAGE_SHIFT
from services.vm.space import AddressSpace

if TYPE_CHECKING:
    from services.drivers.ram.api import Ram
    from services.vm.api import DirtyRun, FaultReply, InstallPages


class VirtualMemory:
    """Spaces by number; numbers are never used again."""

    def __init__(self, ram: Ram, kernel_entry: int = 0) -> None:
        self.ram = ram
        self.frames = FrameTable(ram)
        self.kernel_entry = kernel_entry
        """The entry of slot 511 of every root table: the cores' own half."""
        self.spaces: dict[int, AddressSpace] = {}
        self.faults = 0
        self._last_space = 0

    def space(self, number: int) -> AddressSpace:
        """The space of that number, which the caller must have been given."""
        try:
            return self.spaces[number]
        except KeyError:
            raise MalformedRequest(f"there is no address space {number}") from None

    def _enter(self, space: AddressSpace) -> SpaceReply:
        self._last_space += 1
        self.spaces[self._last_space] = space
        return SpaceReply(self._last_space, space.tables.root_paddr, tuple(space.regions.files))

    def create(self) -> SpaceReply:
        """See `api.CreateSpace`."""
        try:
            return self._enter(AddressSpace.create(self.frames, self.kernel_entry))
        except OutOfFrames:
            raise PosixError(ENOMEM) from None

    def fork(self, number: int) -> SpaceReply:
        """See `api.ForkSpace`."""
        try:
            return self._enter(self.space(number).fork())
        except OutOfFrames:
            raise PosixError(ENOMEM) from None

    def destroy(self, number: int) -> tuple[int, ...]:
        """See `api.DestroySpace`."""
        dropped = self.space(number).destroy()
        del self.spaces[number]
        return dropped

    def fault(self, number: int, vaddr: int, access: int) -> FaultReply:
        """See `api.Fault`."""
        self.faults += 1
        try:
            space = self.spaces[number]
        except KeyError:
            raise MalformedRequest(f"there is no address space {number}") from None
        return faults.resolve(space, vaddr, access)

    def install(self, call: InstallPages) -> FaultReply:
        """See `api.InstallPages`."""
        space = self.space(call.space)
        return faults.install(space, call.need, call.pfns, call.access, call.major)

    def alloc_frames(self, count: int, zero: bool) -> tuple[int, ...]:
        """See `api.AllocFrames`."""
        try:
            if count == 1:
                return (self.frames.alloc_zeroed() if zero else self.frames.alloc(),)
            return tuple(self.frames.alloc_many(count, zero))
        except OutOfFrames:
            raise PosixError(ENOMEM) from None

    def free_frames(self, pfns: tuple[int, ...]) -> None:
        """See `api.FreeFrames`."""
        for pfn in pfns:
            self.frames.unref(pfn)

    def unmap_node(self, node: int, from_page: int) -> None:
        """See `api.UnmapNode`: private copies go too, as on Linux."""
        for space in self.spaces.values():
            if node not in space.regions.files:
                continue
            for region in space.regions.items:
                if region.node == node:
                    start, end = region.start >> PAGE_SHIFT, region.end >> PAGE_SHIFT
                    low = start + max(0, from_page - region.page_of(start))
                    if low < end:
                        space.tables.unmap(low, end)

    def unmap_frames(self, node: int, pfns: tuple[int, ...]) -> None:
        """See `api.UnmapFrames`."""
        wanted = np.array(pfns, dtype=np.int64)
        for space in self.spaces.values():
            if node in space.regions.files:
                for region in space.regions.items:
                    if region.node == node:
                        low, high = region.start >> PAGE_SHIFT, region.end >> PAGE_SHIFT
                        space.tables.unmap_frames(low, high, wanted)

    def collect_node(self, node: int) -> tuple[DirtyRun, ...]:
        """See `api.CollectNode`."""
        runs: list[DirtyRun] = []
        for space in self.spaces.values():
            if node in space.regions.files:
                runs += reports.collect_node(space, node)
        return tuple(runs)

    def counts(self) -> FrameCounts:
        """See `api.Frames`."""
        return FrameCounts(self.frames.total, self.frames.free, len(self.spaces), self.faults)
