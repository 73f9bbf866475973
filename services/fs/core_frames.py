"""The page cache's frames: a small pool of free ones, and the account of those in use.

Frames come from vm in batches and go back in batches; in between they are in the pool (`free`,
content undefined) or wait to be returned (`dead`: frames that a mapping may still hold, which
must not be used again before vm says so).

Invariant: `kept` <= `limit`, pages that cannot be evicted (in memory only).
"""

from __future__ import annotations

from errno import ENOSPC
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.fs.core_need import NeedFrames

if TYPE_CHECKING:
    from collections.abc import Iterable

    from services.fs.core_inode import File
    from services.fs.core_volume import Volume

EVICT_BATCH = 64
POOL_LIMIT = 128
"""More free frames than this go back to vm."""


class Frames:
    """`limit` is how many pages may be in memory only, `cache_limit` how many in all."""

    __slots__ = ("cache_limit", "cached", "clean", "dead", "free", "kept", "limit")

    def __init__(self, limit: int, cache_limit: int) -> None:
        self.free: list[int] = []
        """Highest frame first: taken from the end, neighbours come in ascending order."""
        self.dead: list[int] = []
        self.clean: dict[File, None] = {}
        """Files with pages that their stores can give again, in the order of the eviction hand."""
        self.cached = 0
        self.kept = 0
        self.limit = limit
        self.cache_limit = cache_limit

    def make_room(self, count: int) -> None:
        """`count` more pages are coming: keep the cache to its share, if clean pages can go."""
        over = self.cached + count - self.cache_limit
        if over > 0:
            self.evict(max(over, EVICT_BATCH))

    @property
    def overfull(self) -> bool:
        """Whether frames should go back to vm."""
        return bool(self.dead) or len(self.free) > POOL_LIMIT

    def ensure(self, count: int) -> None:
        """Raise NeedFrames unless `count` can be taken."""
        if len(self.free) < count:
            raise NeedFrames(count)

    def take(self) -> int:
        """A frame for the cache; `ensure` has been called."""
        self.cached += 1
        return self.free.pop()

    def supply(self, pfns: Iterable[int]) -> None:
        """Frames from vm."""
        self.free[:0] = sorted(pfns, reverse=True)

    def give_up(self, pfns: Iterable[int], mapped: bool) -> None:
        """Pages leave the cache."""
        before = len(self.free) + len(self.dead)
        (self.dead if mapped else self.free).extend(pfns)
        self.cached -= len(self.free) + len(self.dead) - before

    def surplus(self, keep: int) -> tuple[int, ...]:
        """Frames that go back to vm now, leaving at most `keep` in the pool."""
        gone, self.dead = self.dead, []
        extra = len(self.free) - keep
        if extra > 0:
            gone += self.free[:extra]
            del self.free[:extra]
        return tuple(gone)

    def room(self, volume: Volume) -> int:
        """How many more pages the volume may keep in memory."""
        room = self.limit - self.kept
        if volume.limit_pages is not None:
            room = min(room, volume.limit_pages - volume.used_pages)
        return max(room, 0)

    def charge(self, volume: Volume, count: int) -> None:
        """`count` more pages (fewer where negative) are in memory only; ENOSPC at the limit."""
        if count > 0 and count > self.room(volume):
            raise PosixError(ENOSPC)
        self.kept += count
        volume.used_pages += count

    # ── eviction ────────────────────────────────────────────────────────────────────────────

    def evict(self, count: int) -> int:
        """Take up to `count` clean, unmapped pages out of the cache; replies with how many went.

        The hand goes round the files, twice at most; a file that was read since it last came by
        is passed over once. Within a file the pages that came first go first.
        """
        gone = 0
        for _ in (1, 2):
            for file in list(self.clean):
                if gone >= count:
                    return gone
                del self.clean[file]
                if file.recent:
                    file.recent = False
                    self.clean[file] = None
                else:
                    gone += self._evict_from(file, count - gone)
        return gone

    def _evict_from(self, file: File, count: int) -> int:
        dirty, mapped = file.dirty, file.mapped
        able = [i for i, pfn in file.pages.items() if pfn and i not in dirty and i not in mapped]
        self.give_up([file.pages.pop(index) for index in able[:count]], mapped=False)
        if len(able) > count or mapped:
            self.clean[file] = None
        return min(len(able), count)
