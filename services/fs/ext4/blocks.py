"""Blocks of a volume that are in memory, and the changes that an operation is about to make.

What is not there is a `Need` of the core: the shell reads it, `supply`s it, and begins again. So
an operation may find out half-way that it lacks something, or that it must fail: what it changes
lies in its `Changes` until it has succeeded, and nothing of it is seen before, or ever if it fails.

Three layers, the first that has a block tells: the open `changes`; `dirty`, what is newer than the
disk; clean blocks, the ones used least recently first, which alone may be evicted. `data` has
content of files that the disk has not got yet; what was read of it is with the clean blocks.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from errno import ENOMEM
from typing import TYPE_CHECKING, TypeVar

import attrs

from bus.census import kind
from bus.errors import KernelBug, PosixError
from services.fs.core_need import ATTEMPTS, Need
from services.fs.ext4.device import SECTOR_SHIFT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from services.fs.ext4.device import BlockDevice

LIMIT_BLOCKS = 4096
BLOCKS = kind("fs", "disk block")
"""All that a cache has: content, newer than the disk or not, and the tables that find it."""
ENTRY_BYTES = 160
Result = TypeVar("Result")


class NeedBlock(Need):
    """A block of the volume."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@attrs.define(eq=False)
class Changes:
    """What one operation changes: all of it, or nothing."""

    blocks: dict[int, bytearray] = attrs.field(factory=dict)
    """Metadata, by number."""
    data: dict[int, bytes] = attrs.field(factory=dict)
    """Content of files, by number."""
    freed: list[tuple[int, int]] = attrs.field(factory=list)
    """(first, count) of blocks that are nobody's any more."""
    forgotten: set[int] = attrs.field(factory=set)
    """Those of them that were metadata."""
    inodes: dict[int, bool] = attrs.field(factory=dict)
    """Inodes that changed, and whether fdatasync(2) has to care."""
    afterwards: list[Callable[[], None]] = attrs.field(factory=list)
    """What memory must take note of, once it has succeeded."""


class BlockCache:
    """Blocks of `block_bytes` each."""

    def __init__(self, block_bytes: int, limit: int = LIMIT_BLOCKS) -> None:
        self.block_bytes = block_bytes
        self.limit = limit
        self.hits = self.misses = self.evicted = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self.dirty: dict[int, bytes] = {}
        self.data: dict[int, bytes] = {}
        self.changes: Changes | None = None
        self._charged = 0

    def __del__(self) -> None:
        BLOCKS.grew(-self._charged)

    def charge(self) -> None:
        """Blocks came or went: charge for them."""
        count = len(self._blocks) + len(self.dirty) + len(self.data)
        now = count * (self.block_bytes + ENTRY_BYTES)
        BLOCKS.grew(now - self._charged)
        self._charged = now

    def __len__(self) -> int:
        return len(self._blocks)

    def get(self, number: int) -> bytes | bytearray:
        """A block's content; NeedBlock."""
        if self.changes is not None:
            changed = self.changes.blocks.get(number)
            if changed is not None:
                return changed
        content = self.dirty.get(number)
        if content is not None:
            return content
        content = self._blocks.get(number)
        if content is None:
            self.misses += 1
            raise NeedBlock(number)
        self._blocks.move_to_end(number)
        self.hits += 1
        return content

    def supply(self, number: int, content: bytes) -> None:
        """What was asked for; where there are too many, the least used goes."""
        self._blocks[number] = content
        self._blocks.move_to_end(number)
        if len(self._blocks) > self.limit:
            self.evict(len(self._blocks) - self.limit)
        else:
            self.charge()

    def supply_old(self, number: int, content: bytes) -> None:
        """The same where others ran meanwhile, who may have a newer one."""
        if number not in self.dirty and number not in self.data and number not in self._blocks:
            self.supply(number, content)

    def evict(self, count: int) -> int:
        """Forget up to so many; how many it were."""
        gone = max(min(count, len(self._blocks)), 0)
        for _ in range(gone):
            self._blocks.popitem(last=False)
        self.evicted += gone
        self.charge()
        return gone

    def forget(self, number: int) -> None:
        """A clean block is not the truth any more."""
        self._blocks.pop(number, None)

    # ── changing ────────────────────────────────────────────────────────────────────────────

    @contextlib.contextmanager
    def operation(self) -> Iterator[Changes]:
        """Changes within the block; who asked for them takes them from there, or drops them."""
        if self.changes is not None:
            raise KernelBug("an operation within an operation")
        self.changes = Changes()
        try:
            yield self.changes
        finally:
            self.changes = None

    @property
    def open(self) -> Changes:
        """The changes of the operation that is going on."""
        if self.changes is None:
            raise KernelBug("a change outside of an operation")
        return self.changes

    def edit(self, number: int) -> bytearray:
        """A block of metadata, to be changed in place. NeedBlock."""
        blocks = self.open.blocks
        found = blocks.get(number)
        if found is None:
            found = blocks[number] = bytearray(self.get(number))
        return found

    def fresh(self, number: int) -> bytearray:
        """A block that becomes metadata: zeros."""
        found = self.open.blocks[number] = bytearray(self.block_bytes)
        return found

    def content(self, number: int) -> bytes:
        """A block of a file's content, as it is now. NeedBlock."""
        if self.changes is not None:
            changed = self.changes.data.get(number)
            if changed is not None:
                return changed
        found = self.data.get(number)
        return bytes(self.get(number)) if found is None else found

    def put_content(self, number: int, content: bytes) -> None:
        """A block of a file's content."""
        self.open.data[number] = content


def run(device: BlockDevice, cache: BlockCache, operation: Callable[[], Result]) -> Result:
    """Do an operation of the core's over a device that never makes its caller wait.

    ENOMEM: the cache cannot hold all that it needs at once.
    """
    sectors = cache.block_bytes >> SECTOR_SHIFT
    for _ in range(ATTEMPTS):
        try:
            return operation()
        except NeedBlock as need:
            cache.supply(need.number, device.read(need.number * sectors, sectors))
    raise PosixError(ENOMEM)
