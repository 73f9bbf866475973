"""The regions of one space: which addresses mean what, in order.

A region is never changed once it is in a map: fork shares them between parent and child, so a map
is copied as two flat lists. Changing one means taking it out and putting another in. Neighbours
that could be one region are made one, as /proc/PID/maps shows them on Linux.

Kinds: private anonymous (`node` is None), private of a file, shared of a file (shared anonymous
memory is a nameless file). A stack (`grows_down`) keeps a gap of `STACK_GAP` below itself.

Sorted lists with bisect were chosen over a tree or SortedDict: a process has tens of regions, an
insertion moves 8 bytes a region, and fork's copy is one memcpy. `MAX_REGIONS` is Linux's
vm.max_map_count.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from sys import getsizeof
from typing import Self

import attrs

from bus.census import EMPTY_DICT, EMPTY_LIST, kind
from services.vm.paging import ACCESS_OF, LEAF_BITS, USER_TOP

MAX_REGIONS = 65530
MIN_ADDRESS = 0x10000
"""No address below this is chosen (vm.mmap_min_addr); MAP_FIXED may go there."""
STACK_GAP = 256 << 12
LOW_START, LOW_END = 1 << 30, 2 << 30
"""Where MAP_32BIT puts things (mmap(2))."""

REGION = kind("vm", "region")
REGION_MAP = kind("vm", "region map")
FILE_NAME = kind("vm", "file name")
EMPTY_BYTES = 2 * EMPTY_LIST + EMPTY_DICT


class FileName(bytes):
    """The path of a mapped file: charged once, however many regions share it."""

    __slots__ = ()

    def __new__(cls, path: bytes) -> Self:
        """A copy of `path`."""
        made = super().__new__(cls, path)
        FILE_NAME.grew(getsizeof(made))
        return made

    def __del__(self) -> None:
        FILE_NAME.grew(-getsizeof(self))


@attrs.define(eq=False)
class Region:
    """Pages `start` to `end` (bytes, page-aligned); `offset` is where in its file it starts."""

    start: int
    end: int
    prot: int
    shared: bool = False
    node: int | None = None
    offset: int = 0
    may_write: bool = True
    name: bytes = b""
    grows_down: bool = False
    at_fork: int = 0
    """FORK_ bits of the api."""
    access: int = attrs.field(init=False)
    """ACCESS_ bits it permits."""
    leaf: int = attrs.field(init=False)
    """Bits of a leaf entry of a page of its own (`paging.leaf_bits`)."""

    def __attrs_pre_init__(self) -> None:
        REGION.made()

    def __del__(self) -> None:
        REGION.freed()

    def __attrs_post_init__(self) -> None:
        self.access = ACCESS_OF[self.prot]
        self.leaf = LEAF_BITS[self.prot + 8 if self.shared else self.prot]

    def page_of(self, vpn: int) -> int:
        """The page of the file that belongs at `vpn`."""
        return vpn + (self.offset - self.start >> 12)

    def vpn_of(self, page: int) -> int:
        """Where that page of the file belongs: the reverse of `page_of`."""
        return page + (self.start - self.offset >> 12)

    def part(
        self, start: int, end: int, prot: int | None = None, at_fork: int | None = None
    ) -> Region:
        """The same mapping over a part of it, perhaps with other rights."""
        offset = self.offset if self.node is None else self.offset + start - self.start
        return Region(
            start,
            end,
            self.prot if prot is None else prot,
            self.shared,
            self.node,
            offset,
            self.may_write,
            self.name,
            self.grows_down,
            self.at_fork if at_fork is None else at_fork,
        )

    def moved(self, start: int, length: int) -> Region:
        """The same mapping at another address or of another length."""
        return Region(
            start,
            start + length,
            self.prot,
            self.shared,
            self.node,
            self.offset,
            self.may_write,
            self.name,
            self.grows_down,
            self.at_fork,
        )

    def joins(self, other: Region) -> bool:
        """Whether `other`, which starts where this ends, is more of the same."""
        return (
            self.prot == other.prot
            and self.node == other.node
            and self.name == other.name
            and self.shared == other.shared
            and self.grows_down == other.grows_down
            and self.may_write == other.may_write
            and self.at_fork == other.at_fork
            and (self.node is None or self.offset + self.end - self.start == other.offset)
        )


class RegionMap:
    """Disjoint regions in ascending order, and how many of them name each file."""

    __slots__ = ("_charged", "_searched", "files", "items", "special", "starts")

    def __init__(self) -> None:
        REGION_MAP.made()
        self._charged = EMPTY_BYTES
        self.starts: list[int] = []
        self.items: list[Region] = []
        self.files: dict[int, int] = {}
        self.special = False
        """Some region has, or had, an `at_fork` of its own."""
        self._searched = (0, 0, 0)
        """(top, length, end): between `end` and `top` there is no hole of `length` bytes."""

    def __del__(self) -> None:
        REGION_MAP.grew(EMPTY_BYTES - self._charged)
        REGION_MAP.freed()

    def copy(self) -> RegionMap:
        """For fork."""
        other = RegionMap()
        other.starts = self.starts.copy()
        other.items = self.items.copy()
        other.files = self.files.copy()
        other.special = self.special
        other._searched = self._searched
        other._charge()
        return other

    def _charge(self) -> None:
        self._charged = REGION_MAP.resized(self._charged, self.starts, self.items, self.files)

    def __len__(self) -> int:
        return len(self.items)

    def find(self, vaddr: int) -> Region | None:
        """The region that holds an address."""
        index = bisect_right(self.starts, vaddr) - 1
        if index >= 0:
            region = self.items[index]
            if vaddr < region.end:
                return region
        return None

    def after(self, vaddr: int) -> Region | None:
        """The lowest region that starts above an address."""
        index = bisect_right(self.starts, vaddr)
        return self.items[index] if index < len(self.items) else None

    def before(self, vaddr: int) -> Region | None:
        """The highest region that ends at or below an address, if none holds it."""
        index = bisect_right(self.starts, vaddr) - 1
        return self.items[index] if index >= 0 else None

    def _range(self, start: int, end: int) -> tuple[int, int]:
        """Indices of the regions that have a byte in a range."""
        low = bisect_right(self.starts, start) - 1
        if low < 0 or self.items[low].end <= start:
            low += 1
        return low, bisect_left(self.starts, end, low)

    def over(self, start: int, end: int) -> list[Region]:
        """The regions that have a byte in a range, whole."""
        low, high = self._range(start, end)
        return self.items[low:high]

    def is_free(self, start: int, end: int) -> bool:
        """Whether no region has a byte in a range."""
        low, high = self._range(start, end)
        return low == high

    def covers(self, start: int, end: int) -> bool:
        """Whether every byte of a range lies in a region."""
        for region in self.over(start, end):
            if region.start > start:
                return False
            start = region.end
        return start >= end

    # -- changing ---------------------------------------------------------------------------

    def insert(self, region: Region) -> Region:
        """Put a region into a hole; replies with it, or with what it became one with."""
        starts, items = self.starts, self.items
        index = bisect_left(starts, region.start)
        if index < len(items) and items[index].start == region.end:
            following = items[index]
            if region.joins(following):
                region = region.part(region.start, following.end)
                del starts[index], items[index]
                self._forget(following.node)
        if index and items[index - 1].end == region.start:
            previous = items[index - 1]
            if previous.joins(region):
                region = previous.part(previous.start, region.end)
                items[index - 1] = region
                return region
        starts.insert(index, region.start)
        items.insert(index, region)
        if region.node is not None:
            self.files[region.node] = self.files.get(region.node, 0) + 1
        self._charge()
        return region

    def _forget(self, node: int | None) -> None:
        if node is not None:
            left = self.files[node] - 1
            if left:
                self.files[node] = left
            else:
                del self.files[node]

    def remove(self, start: int, end: int) -> list[Region]:
        """Cut a hole; replies with what was in it, ascending."""
        low, high = self._range(start, end)
        if low == high:
            return []
        removed = self.items[low:high]
        first, last = removed[0], removed[-1]
        del self.starts[low:high], self.items[low:high]
        for region in removed:
            self._forget(region.node)
        if end > self._searched[2]:
            self._searched = (0, 0, 0)
        if last.end > end:
            self._put(low, last.part(end, last.end))
            removed[-1] = last.part(max(last.start, start), end)
        if first.start < start:
            self._put(low, first.part(first.start, start))
            removed[0] = first.part(start, min(first.end, end))
        self._charge()
        return removed

    def _put(self, index: int, region: Region) -> None:
        self.starts.insert(index, region.start)
        self.items.insert(index, region)
        if region.node is not None:
            self.files[region.node] = self.files.get(region.node, 0) + 1

    # -- finding room -----------------------------------------------------------------------

    def find_free(self, length: int, top: int) -> int | None:
        """The highest hole of `length` bytes below `top`, as Linux looks for one."""
        known_top, known_length, end = self._searched
        if top != known_top or length < known_length:
            end = top
        for index in range(bisect_left(self.starts, end) - 1, -1, -1):
            region = self.items[index]
            if region.end <= end - length:
                break
            if region.start < end:
                end = region.start - STACK_GAP if region.grows_down else region.start
        self._searched = (top, length, end)
        start = end - length
        return start if start >= MIN_ADDRESS else None

    def place(self, hint: int, length: int, top: int) -> int | None:
        """Where mmap(2) puts a mapping without MAP_FIXED: at the hint if free, else found."""
        taken = self._hinted(hint, length, USER_TOP)
        if taken is not None:
            return taken
        start = self.find_free(length, top)
        return self.find_free(length, USER_TOP) if start is None and top < USER_TOP else start

    def place_low(self, hint: int, length: int) -> int | None:
        """The same with MAP_32BIT: in the second gigabyte."""
        taken = self._hinted(hint, length, LOW_END)
        if taken is not None:
            return taken
        start = self.find_free(length, LOW_END)
        return start if start is not None and start >= LOW_START else None

    def _hinted(self, hint: int, length: int, top: int) -> int | None:
        hint &= ~4095
        if not hint:
            return None
        hint = max(hint, MIN_ADDRESS)
        following = self.after(hint)
        gap = STACK_GAP if following is not None and following.grows_down else 0
        free = hint + length <= top and self.is_free(hint, hint + length + gap)
        return hint if free else None
