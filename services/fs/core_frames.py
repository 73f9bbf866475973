"""The page cache's frames: a small pool of free ones, and the account of those in use.

Frames come from vm in batches and go back in batches; in between they are in the pool (`free`,
content undefined) or wait to be returned (`dead`: frames that a mapping still holds, or that the
cores may have translated code of; vm says when those can be used again).

Whether a mapping holds a frame, its count of references in RAM tells: the cache has one. Nothing
runs between the reply to `Pages` and its being mapped, so a count of one means that nobody will.

Invariant: `kept` <= `limit`, pages that cannot be evicted (in memory only).
"""

from __future__ import annotations

from bisect import bisect_right
from errno import ENOSPC
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.vm.api import code_flags, reference_counts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from services.drivers.ram.api import Ram
    from services.fs.core_inode import File
    from services.fs.core_volume import Volume

Spare = tuple["File", range]
"""Pages of a file that an operation is about to use."""

POOL_LIMIT = 128
"""More free frames than this go back to vm."""


class Frames:
    """`limit` is how many pages may be in memory only, `cache_limit` how many in all."""

    __slots__ = (
        "cache_limit",
        "cached",
        "clean",
        "code",
        "dead",
        "evicted",
        "free",
        "kept",
        "limit",
        "refs",
        "working_set",
    )

    def __init__(self, limit: int, cache_limit: int) -> None:
        self.free: list[int] = []
        """Highest frame first: taken from the end, neighbours come in ascending order."""
        self.dead: list[int] = []
        self.clean: dict[File, None] = {}
        """Files with pages that their stores can give again, in the order of the eviction hand."""
        self.evicted = 0
        self.cached = 0
        self.kept = 0
        self.limit = limit
        self.cache_limit = cache_limit
        self.working_set = cache_limit // 8
        """So many pages are left to mappings: taking all would have programs fetch their code anew
        with every step, for ever."""
        self.refs = self.code = memoryview(b"")

    def attach(self, ram: Ram) -> None:
        """Look at vm's arrays in RAM from now on."""
        self.refs, self.code = reference_counts(ram), code_flags(ram)

    @property
    def overfull(self) -> bool:
        """Whether frames should go back to vm."""
        return bool(self.dead) or len(self.free) > POOL_LIMIT

    def take(self) -> int:
        """A frame for the cache; there is one."""
        self.cached += 1
        return self.free.pop()

    def supply(self, pfns: Iterable[int]) -> None:
        """Frames from vm."""
        self.free[:0] = sorted(pfns, reverse=True)

    def give_up(self, pfns: Iterable[int]) -> int:
        """Pages leave the cache; replies with how many."""
        refs, code, free, dead = self.refs, self.code, self.free, self.dead
        before = len(free) + len(dead)
        for pfn in pfns:
            (dead if refs[pfn] > 1 or code[pfn] else free).append(pfn)
        gone = len(free) + len(dead) - before
        self.cached -= gone
        return gone

    def still_mapped(self, file: File) -> set[int]:
        """The pages of a file that a mapping holds."""
        if file.mapped:
            refs, pages = self.refs, file.pages
            file.mapped = {i for i in file.mapped if refs[pages.get(i, 0)] > 1}
        return file.mapped

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

    def evict(self, count: int, spare: Spare | None = None) -> int:
        """Take up to `count` clean, unmapped pages out of the cache; replies with how many went.

        None of `spare` goes. The hand goes round the files, twice at most; a file that was read
        since it last came by is passed over once. Within a file the pages that came first go first.
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
                    gone += self.evict_from(file, count - gone, spare)
        return gone

    def mapped(self) -> int:
        """How many clean pages mappings hold."""
        return sum(len(self.still_mapped(file) - file.dirty) for file in self.clean)

    def mapped_pages(self, file: File, count: int, spare: Spare | None) -> tuple[int, ...]:
        """Frames of clean pages of a file that mappings hold, from where the hand was last."""
        held = spare[1] if spare is not None and spare[0] is file else ()
        able = sorted(self.still_mapped(file).difference(file.dirty, held))
        start = bisect_right(able, file.hand)
        chosen = (able[start:] + able[:start])[:count]
        if chosen:
            file.hand = chosen[-1]
        return tuple([file.pages[index] for index in chosen])

    def evict_from(self, file: File, count: int, spare: Spare | None) -> int:
        """The same for one file, which has been taken out of `clean`."""
        dirty, mapped = file.dirty, self.still_mapped(file)
        able = [i for i, pfn in file.pages.items() if pfn and i not in dirty and i not in mapped]
        if spare is not None and spare[0] is file:
            able = [i for i in able if i not in spare[1]]
            mapped = mapped or set(spare[1])
        gone = self.give_up([file.pages.pop(index) for index in able[:count]])
        self.evicted += gone
        file.charge()
        if len(able) > count or mapped:
            self.clean[file] = None
        return gone
