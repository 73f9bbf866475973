"""vm on the bus: one coroutine for each request, none of which ever waits."""

from __future__ import annotations

from errno import ENOMEM
from typing import TYPE_CHECKING, Any

from bus.errors import PosixError
from services.vm import api, costs, reports
from services.vm.check import check
from services.vm.core import VirtualMemory
from services.vm.frames import OutOfFrames
from services.vm.remap import remap

if TYPE_CHECKING:
    from bus.core import Handler
    from services.drivers.ram.api import Ram


class VmService:
    """`handlers` is what `Bus.serve("vm", ...)` takes."""

    def __init__(self, ram: Ram, kernel_entry: int = 0, kept: VirtualMemory | None = None) -> None:
        costs.measure()
        self._kept = kept is not None
        self.core = kept or VirtualMemory(ram, kernel_entry)
        self.handlers: dict[type[Any], Handler] = {
            api.CreateSpace: self.create_space,
            api.ForkSpace: self.fork_space,
            api.DestroySpace: self.destroy_space,
            api.Map: self.map,
            api.Unmap: self.unmap,
            api.Protect: self.protect,
            api.Remap: self.remap,
            api.SetLayout: self.set_layout,
            api.SetStackLimit: self.set_stack_limit,
            api.Brk: self.brk,
            api.Discard: self.discard,
            api.AtFork: self.at_fork,
            api.Fault: self.fault,
            api.InstallPages: self.install_pages,
            api.AllocFrames: self.alloc_frames,
            api.FreeFrames: self.free_frames,
            api.UnmapNode: self.unmap_node,
            api.UnmapFrames: self.unmap_frames,
            api.Regions: self.regions,
            api.Usage: self.usage,
            api.CollectDirty: self.collect_dirty,
            api.CollectNode: self.collect_node,
            api.Resident: self.resident,
            api.Frames: self.frames,
        }

    async def start(self) -> None:
        """Check what an earlier incarnation has left. KernelBug: it does not hold."""
        if self._kept:
            check(self.core, whole=False)

    def keep(self) -> VirtualMemory:
        """Every address space, and the frames."""
        return self.core

    async def create_space(self, call: api.CreateSpace) -> api.SpaceReply:
        """CreateSpace."""
        return self.core.create()

    async def fork_space(self, call: api.ForkSpace) -> api.SpaceReply:
        """ForkSpace."""
        return self.core.fork(call.space)

    async def destroy_space(self, call: api.DestroySpace) -> tuple[int, ...]:
        """DestroySpace."""
        return self.core.destroy(call.space)

    async def map(self, call: api.Map) -> api.MapReply:
        """Map."""
        return self.core.space(call.space).map(call)

    async def unmap(self, call: api.Unmap) -> tuple[int, ...]:
        """Unmap."""
        return self.core.space(call.space).unmap(call.vaddr, call.length_bytes)

    async def protect(self, call: api.Protect) -> None:
        """Protect."""
        self.core.space(call.space).protect(call.vaddr, call.length_bytes, call.prot)

    async def remap(self, call: api.Remap) -> api.MapReply:
        """Remap."""
        try:
            return remap(self.core.space(call.space), call)
        except OutOfFrames:
            raise PosixError(ENOMEM) from None

    async def set_layout(self, call: api.SetLayout) -> None:
        """SetLayout."""
        self.core.space(call.space).set_layout(call)

    async def set_stack_limit(self, call: api.SetStackLimit) -> None:
        """SetStackLimit."""
        self.core.space(call.space).stack_limit = call.limit_bytes

    async def brk(self, call: api.Brk) -> int:
        """Brk."""
        return self.core.space(call.space).set_brk(call.vaddr)

    async def discard(self, call: api.Discard) -> None:
        """Discard."""
        self.core.space(call.space).discard(call)

    async def at_fork(self, call: api.AtFork) -> None:
        """AtFork."""
        self.core.space(call.space).set_at_fork(call)

    async def fault(self, call: api.Fault) -> api.FaultReply:
        """Fault."""
        return self.core.fault(call.space, call.vaddr, call.access)

    async def install_pages(self, call: api.InstallPages) -> api.FaultReply:
        """InstallPages."""
        return self.core.install(call)

    async def alloc_frames(self, call: api.AllocFrames) -> tuple[int, ...]:
        """AllocFrames."""
        return self.core.alloc_frames(call.count, call.zero)

    async def free_frames(self, call: api.FreeFrames) -> None:
        """FreeFrames."""
        self.core.free_frames(call.pfns)

    async def unmap_node(self, call: api.UnmapNode) -> None:
        """UnmapNode."""
        self.core.unmap_node(call.node, call.from_page)

    async def unmap_frames(self, call: api.UnmapFrames) -> None:
        """UnmapFrames."""
        self.core.unmap_frames(call.node, call.pfns)

    async def regions(self, call: api.Regions) -> tuple[api.RegionInfo, ...]:
        """Regions."""
        return reports.regions_of(self.core.space(call.space))

    async def usage(self, call: api.Usage) -> api.SpaceUsage:
        """Usage."""
        return reports.usage_of(self.core.space(call.space))

    async def collect_dirty(self, call: api.CollectDirty) -> tuple[api.DirtyRun, ...]:
        """CollectDirty."""
        return reports.collect_range(self.core.space(call.space), call.vaddr, call.length_bytes)

    async def collect_node(self, call: api.CollectNode) -> tuple[api.DirtyRun, ...]:
        """CollectNode."""
        return self.core.collect_node(call.node)

    async def resident(self, call: api.Resident) -> bytes:
        """Resident."""
        return reports.resident_of(self.core.space(call.space), call.vaddr, call.length_bytes)

    async def frames(self, call: api.Frames) -> api.FrameCounts:
        """Frames."""
        return self.core.counts()
