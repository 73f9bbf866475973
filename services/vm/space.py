"""One address space: its regions, its tables, and the calls that change them.

Addresses and lengths are bytes. Every method either raises before it changes anything, or, where
Linux applies a call up to the first hole and then fails, does the same. A reply's `dropped` are
the file nodes that no region of this space names any more.
"""

from __future__ import annotations

from errno import EACCES, EEXIST, EINVAL, ENOMEM
from typing import TYPE_CHECKING

from bus.errors import MalformedRequest, PosixError
from services.vm.api import (
    FORK_OMIT,
    FORK_WIPE,
    MAP_32BIT,
    MAP_FIXED,
    MAP_FIXED_NOREPLACE,
    MAP_GROWSDOWN,
    MAP_NORESERVE,
    MAP_POPULATE,
    MAP_PRIVATE,
    MAP_SHARED,
    MapReply,
)
from services.vm.faults import zero_fill
from services.vm.frames import FrameTable, OutOfFrames
from services.vm.paging import (
    PAGE_MASK,
    PAGE_SHIFT,
    PROT_EXEC,
    PROT_READ,
    PROT_WRITE,
    USER_TOP,
)
from services.vm.regions import MAX_REGIONS, STACK_GAP, FileName, Region, RegionMap
from services.vm.tables import Tables

if TYPE_CHECKING:
    from services.vm.api import AtFork, Discard, Map, SetLayout

PROT_GROWSDOWN, PROT_GROWSUP = 0x0100_0000, 0x0200_0000
PROT_ACCEPTED = PROT_GROWSDOWN | PROT_GROWSUP | 0xF
"""PROT_SEM (8) is accepted and means nothing here."""
DEFAULT_STACK_LIMIT = 8 << 20
DEFAULT_MMAP_TOP = USER_TOP - (128 << 20)


def page_up(length: int) -> int:
    """Round up to whole pages."""
    return length + PAGE_MASK & ~PAGE_MASK


class AddressSpace:
    """What one process (or several that share it) sees."""

    __slots__ = (
        "array",
        "brk",
        "brk_start",
        "bytes",
        "frames",
        "major_faults",
        "minor_faults",
        "mmap_top",
        "regions",
        "stack_limit",
        "stack_top",
        "streams",
        "tables",
        "words",
    )

    def __init__(self, frames: FrameTable, tables: Tables, regions: RegionMap) -> None:
        self.frames = frames
        self.tables = tables
        self.regions = regions
        self.words = frames.ram.words
        self.array = frames.ram.array
        self.bytes = frames.ram.bytes
        self.brk_start = 0
        self.brk = 0
        self.stack_top = USER_TOP
        self.stack_limit = DEFAULT_STACK_LIMIT
        self.mmap_top = DEFAULT_MMAP_TOP
        self.streams: dict[int, int] = {}
        """Where windows of faults ended, and their length in pages; see faults.py."""
        self.minor_faults = 0
        self.major_faults = 0

    @classmethod
    def create(cls, frames: FrameTable, kernel_entry: int) -> AddressSpace:
        """An empty space."""
        return cls(frames, Tables.create(frames, kernel_entry), RegionMap())

    def fork(self) -> AddressSpace:
        """A copy-on-write copy; raises OutOfFrames before anything has changed."""
        child = AddressSpace(self.frames, self.tables.fork(), self.regions.copy())
        child.brk_start = self.brk_start
        child.brk = self.brk
        child.stack_top = self.stack_top
        child.stack_limit = self.stack_limit
        child.mmap_top = self.mmap_top
        if self.regions.special:
            for region in list(child.regions.items):
                if region.at_fork & FORK_OMIT:
                    child.clear(region.start, region.end)
                elif region.at_fork & FORK_WIPE:
                    child.tables.unmap(region.start >> PAGE_SHIFT, region.end >> PAGE_SHIFT)
        return child

    def destroy(self) -> tuple[int, ...]:
        """Give everything back; replies with the nodes that were named."""
        self.tables.destroy()
        dropped = tuple(self.regions.files)
        self.regions = RegionMap()
        return dropped

    def set_layout(self, layout: SetLayout) -> None:
        """See `api.SetLayout`."""
        self.brk_start = self.brk = layout.brk_start
        self.stack_top = layout.stack_top
        self.stack_limit = layout.stack_limit_bytes
        self.mmap_top = layout.mmap_top

    def dropped(self, removed: list[Region]) -> tuple[int, ...]:
        """The nodes that only these regions, which are gone, referred to."""
        files = self.regions.files
        nodes = dict.fromkeys(r.node for r in removed if r.node is not None)
        return tuple(node for node in nodes if node not in files)

    # -- mmap, munmap -----------------------------------------------------------------------

    def map(self, call: Map) -> MapReply:
        """mmap(2)."""
        flags, node, prot = call.flags, call.node, call.prot
        length = page_up(call.length_bytes)
        if length <= 0 or call.offset & PAGE_MASK or call.offset < 0:
            raise PosixError(EINVAL)
        shared = self._is_shared(call)
        if length > USER_TOP:
            raise PosixError(ENOMEM)
        if (
            prot & PROT_WRITE
            and not shared
            and not flags & MAP_NORESERVE
            and length >> PAGE_SHIFT > self.frames.total
        ):
            raise PosixError(ENOMEM)
        regions = self.regions
        if len(regions.items) >= MAX_REGIONS:
            raise PosixError(ENOMEM)
        acquired = node is not None and node not in regions.files
        removed: list[Region] = []
        if flags & (MAP_FIXED | MAP_FIXED_NOREPLACE):
            start = self._fixed(call.vaddr, length, flags)
            if not regions.is_free(start, start + length):
                removed = self.clear(start, start + length)
        else:
            if flags & MAP_32BIT:
                placed = regions.place_low(call.vaddr, length)
            else:
                placed = regions.place(call.vaddr, length, self.mmap_top)
            if placed is None:
                raise PosixError(ENOMEM)
            start = placed
        grows = bool(flags & MAP_GROWSDOWN) and node is None
        region = Region(
            start,
            start + length,
            prot & 7,
            shared,
            node,
            call.offset,
            call.may_write,
            FileName(call.name) if node is not None and call.name else call.name,
            grows,
        )
        region = regions.insert(region)
        if flags & MAP_POPULATE and node is None and region.prot:
            self._populate(region, start, start + length)
        dropped = self.dropped(removed) if removed else ()
        return MapReply(start, acquired, dropped)

    def _is_shared(self, call: Map) -> bool:
        kind = call.flags & (MAP_SHARED | MAP_PRIVATE)
        if not kind or call.prot & ~PROT_ACCEPTED:
            raise PosixError(EINVAL)
        if kind == MAP_PRIVATE:
            return False
        if call.node is None:
            raise MalformedRequest("a shared mapping needs a node; a nameless one if anonymous")
        if call.prot & PROT_WRITE and not call.may_write:
            raise PosixError(EACCES)
        return True

    def _fixed(self, vaddr: int, length: int, flags: int) -> int:
        if vaddr & PAGE_MASK:
            raise PosixError(EINVAL)
        if not 0 <= vaddr <= USER_TOP - length:
            raise PosixError(ENOMEM)
        if flags & MAP_FIXED_NOREPLACE and not self.regions.is_free(vaddr, vaddr + length):
            raise PosixError(EEXIST)
        return vaddr

    def _populate(self, region: Region, start: int, end: int) -> None:
        """MAP_POPULATE: as much as there is memory for, and no error."""
        vpn, high = start >> PAGE_SHIFT, end >> PAGE_SHIFT
        try:
            while vpn < high:
                if self.tables.entry(vpn):
                    vpn += 1
                else:
                    vpn += zero_fill(self, region, vpn, min(high, (vpn | 511) + 1), vpn)
        except OutOfFrames:
            return

    def clear(self, start: int, end: int) -> list[Region]:
        """Make a hole; replies with the regions that were there."""
        removed = self.regions.remove(start, end)
        if removed:
            self.tables.unmap(start >> PAGE_SHIFT, end >> PAGE_SHIFT)
        return removed

    def unmap(self, vaddr: int, length: int) -> tuple[int, ...]:
        """munmap(2)."""
        length = page_up(length)
        if vaddr & PAGE_MASK or length <= 0 or not 0 <= vaddr <= USER_TOP - length:
            raise PosixError(EINVAL)
        if len(self.regions.items) >= MAX_REGIONS and self._splits(vaddr, vaddr + length):
            raise PosixError(ENOMEM)
        removed = self.clear(vaddr, vaddr + length)
        return self.dropped(removed) if self.regions.files or removed else ()

    def _splits(self, start: int, end: int) -> bool:
        region = self.regions.find(start)
        return region is not None and region.start < start and end < region.end

    # -- mprotect, madvise ------------------------------------------------------------------

    def protect(self, vaddr: int, length: int, prot: int) -> None:
        """mprotect(2): up to the first hole, or the first region that must not be written."""
        if vaddr & PAGE_MASK or prot & ~PROT_ACCEPTED:
            raise PosixError(EINVAL)
        end = vaddr + page_up(length)
        if prot & (PROT_GROWSDOWN | PROT_GROWSUP):
            vaddr = self._stack_at(vaddr, end, prot)
        prot &= PROT_READ | PROT_WRITE | PROT_EXEC
        reached = vaddr
        for region in self.regions.over(vaddr, end):
            if region.start > reached:
                break
            reached = min(region.end, end)
            if region.prot != prot:
                self._protect(region, max(region.start, vaddr), reached, prot)
        if reached < end:
            raise PosixError(ENOMEM)

    def _stack_at(self, vaddr: int, end: int, prot: int) -> int:
        """Where the stack starts that PROT_GROWSDOWN means; nothing grows up."""
        region = self.regions.find(vaddr) or self.regions.after(vaddr)
        if region is None or region.start >= end:
            raise PosixError(ENOMEM)
        if prot & PROT_GROWSUP and region.start > vaddr:
            raise PosixError(ENOMEM)
        if prot & PROT_GROWSUP or not region.grows_down:
            raise PosixError(EINVAL)
        return region.start

    def _protect(self, region: Region, start: int, end: int, prot: int) -> None:
        if region.shared and prot & PROT_WRITE and not region.may_write:
            raise PosixError(EACCES)
        if len(self.regions.items) >= MAX_REGIONS - 1:
            raise PosixError(ENOMEM)
        self.regions.remove(start, end)
        changed = self.regions.insert(region.part(start, end, prot))
        low, high = start >> PAGE_SHIFT, end >> PAGE_SHIFT
        self.tables.protect(low, high, changed.leaf)
        if prot & PROT_EXEC:
            self.tables.flag_code(low, high)

    def discard(self, call: Discard) -> None:
        """madvise(MADV_DONTNEED): ENOMEM after the fact if there were holes."""
        vaddr, end = self._range(call.vaddr, call.length_bytes)
        if end == vaddr:
            return
        anonymous = True
        if call.anonymous_only:
            for region in self.regions.over(vaddr, end):
                if region.node is not None:
                    end, anonymous = max(region.start, vaddr), False
                    break
        if vaddr < end:
            self.tables.unmap(vaddr >> PAGE_SHIFT, end >> PAGE_SHIFT)
        if not anonymous:
            raise PosixError(EINVAL)
        if not self.regions.covers(vaddr, end):
            raise PosixError(ENOMEM)

    def set_at_fork(self, call: AtFork) -> None:
        """See `api.AtFork`."""
        vaddr, end = self._range(call.vaddr, call.length_bytes)
        for region in self.regions.over(vaddr, end):
            if call.add & FORK_WIPE and (region.shared or region.node is not None):
                raise PosixError(EINVAL)
            bits = (region.at_fork | call.add) & ~call.remove
            if region.at_fork != bits:
                start, stop = max(region.start, vaddr), min(region.end, end)
                self.regions.remove(start, stop)
                self.regions.insert(region.part(start, stop, at_fork=bits))
                self.regions.special = True
        if not self.regions.covers(vaddr, end):
            raise PosixError(ENOMEM)

    def _range(self, vaddr: int, length: int) -> tuple[int, int]:
        if vaddr & PAGE_MASK or length < 0:
            raise PosixError(EINVAL)
        end = vaddr + page_up(length)
        if not 0 <= vaddr <= end <= USER_TOP:
            raise PosixError(EINVAL)
        return vaddr, end

    # -- brk --------------------------------------------------------------------------------

    def set_brk(self, vaddr: int) -> int:
        """brk(2): what does not fit leaves the break where it was."""
        if vaddr < self.brk_start or not self.brk_start:
            return self.brk
        old, new = page_up(self.brk), page_up(vaddr)
        if new < old:
            for region in self.regions.over(new, old):
                if region.node is None:
                    self.clear(max(region.start, new), min(region.end, old))
        elif new > old:
            following = self.regions.after(old)
            gap = STACK_GAP if following is not None and following.grows_down else PAGE_MASK + 1
            if (
                new > USER_TOP
                or new - old >> PAGE_SHIFT > self.frames.total
                or not self.regions.is_free(old, new + gap)
            ):
                return self.brk
            self.regions.insert(Region(old, new, PROT_READ | PROT_WRITE, name=b"[heap]"))
        self.brk = vaddr
        return vaddr
