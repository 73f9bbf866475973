"""Blocks of a volume that are in memory, the ones used least recently first.

What is not there is a `Need` of the core: the shell reads it, `supply`s it, and begins again.
"""

from __future__ import annotations

from collections import OrderedDict
from errno import ENOMEM
from typing import TYPE_CHECKING, TypeVar

from bus.errors import PosixError
from services.fs.core_need import ATTEMPTS, Need
from services.fs.ext4.device import SECTOR_SHIFT

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.fs.ext4.device import BlockDevice

LIMIT_BLOCKS = 8192
Result = TypeVar("Result")


class NeedBlock(Need):
    """A block of the volume."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class BlockCache:
    """Metadata blocks of `block_bytes` each; content goes by without coming here."""

    def __init__(self, block_bytes: int, limit: int = LIMIT_BLOCKS) -> None:
        self.block_bytes = block_bytes
        self.limit = limit
        self.hits = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._blocks)

    def get(self, number: int) -> bytes:
        """A block's content; NeedBlock."""
        content = self._blocks.get(number)
        if content is None:
            raise NeedBlock(number)
        self._blocks.move_to_end(number)
        self.hits += 1
        return content

    def supply(self, number: int, content: bytes) -> None:
        """What was asked for; where there are too many, the least used goes."""
        self._blocks[number] = content
        self._blocks.move_to_end(number)
        self.evict(len(self._blocks) - self.limit)

    def evict(self, count: int) -> int:
        """Forget up to so many; how many it were."""
        gone = max(min(count, len(self._blocks)), 0)
        for _ in range(gone):
            self._blocks.popitem(last=False)
        return gone


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
