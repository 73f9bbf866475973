"""What the service fetches for the core: names from stores, frames and unmapping from vm.

No step here changes the tree but by adding what a store said; between any two of them other
callers may run (where vm or the host tree driver live in another process), so what comes back is
checked against the present state before it is taken up.
"""

from __future__ import annotations

from errno import EIO, ENOMEM
from typing import TYPE_CHECKING, TypeVar

from bus.errors import KernelBug, PosixError
from services.drivers.clock.api import REALTIME, Now
from services.drivers.hosttree.api import BLOCKING, WOULD_WAIT
from services.drivers.ram.api import PAGE_BYTES, PAGE_SHIFT
from services.fs.core_frames import POOL_LIMIT, Spare
from services.fs.core_inode import Directory
from services.fs.core_need import (
    ATTEMPTS,
    Need,
    NeedFrames,
    NeedFresh,
    NeedListed,
    NeedListing,
    NeedName,
    NeedPages,
    NeedTarget,
    WouldWait,
)
from services.fs.core_pages import PageCache, page_count, runs
from services.fs.follow import CONTENT_NS, Follower
from services.vm.api import AllocFrames, FreeFrames, UnmapFrames, UnmapNode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from bus.core import Port
    from services.drivers.ram.api import Ram
    from services.fs.core_inode import Dentry, File, Inode
    from services.fs.core_tree import Tree
    from services.fs.core_volume import Store

T = TypeVar("T")

BATCH_FRAMES = 32
READ_AHEAD_PAGES = 32
"""How much is read at once where reading is sequential, 128 KiB as Linux does."""
READ_AROUND_PAGES = 16
EVICT_PAGES = 512
"""So many go at once, if the cache is large: finding them means looking at every page of a file."""


class Supply:
    """The way out: everything fs asks of other services passes here."""

    def __init__(self, ram: Ram, tree: Tree, cache: PageCache, vm: Port, clock: Port) -> None:
        self.ram = ram
        self.tree = tree
        self.cache = cache
        self.vm = vm
        self.clock = clock
        self.follow = Follower(self)
        self.batch = max(min(EVICT_PAGES, tree.frames.cache_limit // 16), BATCH_FRAMES)

    def now(self) -> Awaitable[int]:
        """The time of day, ns."""
        return self.clock.call(Now(REALTIME))

    async def run(self, attempt: Callable[[], T], patience: int = BLOCKING) -> T:
        """Call a core operation until it has all it needs."""
        self.tree.begin()
        return await self.go_on(attempt, patience)

    async def go_on(self, attempt: Callable[[], T], patience: int = BLOCKING) -> T:
        """The same within a request that has begun."""
        for _ in range(ATTEMPTS):
            try:
                return attempt()
            except Need as need:
                await self.fetch(need, patience)
        raise PosixError(ENOMEM)

    async def fetch(self, need: Need, patience: int = BLOCKING) -> None:
        """Get what the core lacks; WouldWait where `patience` is NOW and it takes a disk."""
        if isinstance(need, NeedFrames):
            await self.frames(need.count, (need.file, need.spare))
        elif isinstance(need, NeedPages):
            await self.pages(need, patience)
        elif isinstance(need, NeedName):
            await self._name(need)
        elif isinstance(need, NeedFresh):
            await self._fresh(need)
        elif isinstance(need, NeedListing):
            await self._listing(need)
        elif isinstance(need, NeedListed):
            await self.follow.listed(need.directory, _store(_inode(need.directory)))
        elif isinstance(need, NeedTarget):
            link = need.link
            link.point_to(await _store(link).target(link))
        else:
            raise KernelBug(f"nobody supplies {need!r}")
        if self.tree.frames.dead or self.tree.orphans:
            await self.settle(keep=len(self.tree.frames.free))

    async def _name(self, need: NeedName) -> None:
        parent, directory = need.directory, need.directory.inode
        if not isinstance(directory, Directory):
            return
        inode = await _store(directory).lookup(directory, need.name)
        self.tree.remember(parent, need.name, inode)

    async def _fresh(self, need: NeedFresh) -> None:
        """Ask a volatile store for a name, and believe it rather than memory."""
        parent, directory = need.directory, need.directory.inode
        if not isinstance(directory, Directory):
            return
        turn, through, store = self.tree.turn, directory.volume.through, _store(directory)
        if through is None:
            await self.follow.name(parent, need.name, store)
            return
        inode = await store.lookup(directory, need.name)
        if not parent.linked:
            return
        child = directory.children.get(need.name)
        there = None if child is None else child.inode
        if isinstance(inode, Directory):
            if isinstance(there, Directory) and there.ino == inode.ino:
                through.adopt(there, inode)
                inode = there
        elif inode is not None:
            inode, changed = through.settle(inode)
            if changed:
                self.cache.forget_clean(inode)
        if child is not None and there is not None:
            if there is inode:
                child.turn = turn
                return
            self.tree.prune(child)
        child = directory.children.get(need.name)
        if child is None or inode is not None:
            child = self.tree.attach(parent, need.name, inode)
            self.tree.clean[child] = None
        child.turn = turn

    def lately(self, dentry: Dentry) -> bool:
        """Whether a file that is being opened was confirmed by its store lately, if it has one."""
        inode = dentry.inode
        if inode is None or inode.checked_ns + CONTENT_NS > self.tree.ticks():
            return True
        return inode.volume.store is None or inode.volume.through is not None

    async def confirm(self, dentry: Dentry) -> None:
        """Have its store confirm or renew a file; its name may lead elsewhere afterwards."""
        node = self.tree.hold(dentry)
        try:
            await self.follow.content(dentry, _store(_inode(dentry)))
        finally:
            self.tree.release(node)
            if self.tree.orphans or self.tree.frames.overfull:
                await self.settle()

    async def _listing(self, need: NeedListing) -> None:
        directory = need.directory.inode
        if isinstance(directory, Directory):
            directory.listed = await _store(directory).entries(directory)
            directory.charge()
            if not directory.volume.volatile:
                self.follow.took(need.directory, directory)

    async def frames(self, count: int, spare: Spare | None = None) -> None:
        """Fill the pool so that `count` can be taken; clean pages go if vm has no more."""
        pool = self.tree.frames
        while len(pool.free) < count:
            short = count - len(pool.free)
            try:
                more = await self.vm.call(AllocFrames(max(short, BATCH_FRAMES), zero=False))
                pool.supply(more)
                return
            except PosixError as refusal:
                if refusal.errno != ENOMEM:
                    raise
            try:
                more = await self.vm.call(AllocFrames(short, zero=False))
                pool.supply(more)
                return
            except PosixError:
                if not await self.evict(max(short, self.batch), spare):
                    raise PosixError(ENOMEM) from None
                await self.settle(keep=len(pool.free))

    async def evict(self, count: int, spare: Spare | None = None) -> int:
        """Take clean pages out of the cache; from mappings only where there are no others."""
        pool = self.tree.frames
        gone = pool.evict(count, spare)
        if gone:
            return gone
        count = min(count, pool.mapped() - pool.working_set)
        for file in list(pool.clean):
            if count <= 0:
                break
            pfns = pool.mapped_pages(file, count, spare)
            if pfns:
                for node in self.tree.nodes_of(file):
                    await self.vm.call(UnmapFrames(node, pfns))
                pool.clean.pop(file, None)
                taken = pool.evict_from(file, count, spare)
                gone += taken
                count -= taken
        return gone

    async def pages(self, need: NeedPages, patience: int) -> None:
        """Read pages from the file's store, and some that will be wanted soon."""
        file, first, count, spare = need.file, need.first, need.count, need.spare
        if not file.dentries:
            raise PosixError(EIO)  # whoever asks has let the file go meanwhile
        pages = file.pages
        ahead = READ_AHEAD_PAGES if not first or first - 1 in pages else READ_AROUND_PAGES
        end = min(max(first + count, first + ahead), file.backed_pages)
        last = first + 1
        while last < end and last not in pages and last - first < max(count, ahead):
            last += 1
        wanted = min(last - first, 512)
        pool = self.tree.frames
        over = pool.cached + wanted - pool.cache_limit
        if over > 0:
            await self.evict(max(over, self.batch), (file, spare))
        while len(pool.free) < wanted:
            await self.frames(wanted, (file, spare))
        pfns = [pool.take() for _ in range(wanted)]
        try:
            extents = runs(dict(enumerate(pfns)), 0, wanted * PAGE_BYTES)
            count_bytes = await _store(file).fill(file, first << PAGE_SHIFT, extents, patience)
            if count_bytes == WOULD_WAIT:
                raise WouldWait
        except BaseException:
            pool.give_up(pfns)
            raise
        if file.dentries:
            self.cache.loaded(file, first, pfns, count_bytes)
        else:
            pool.give_up(pfns)

    async def settle(self, keep: int = POOL_LIMIT // 2) -> int:
        """Give back what is not needed, frames to vm, handles to stores; says how many frames."""
        pool = self.tree.frames
        while self.tree.orphans:
            orphans, self.tree.orphans = self.tree.orphans, []
            for inode in orphans:
                store = inode.volume.store
                if store is not None:
                    await store.forget([inode])
        surplus = pool.surplus(keep)
        if surplus:
            await self.vm.call(FreeFrames(surplus))
        return len(surplus)

    async def truncate(self, file: File, length_bytes: int) -> None:
        """Set a file's size in memory; mappings past its end are undone before frames go."""
        if self.cache.truncate(file, length_bytes):
            await self.unmap(self.tree.nodes_of(file), page_count(length_bytes))
        if self.tree.frames.overfull:
            await self.settle()

    async def unmap(self, nodes: Sequence[int], from_page: int) -> None:
        """Pages of a file have gone: no mapping may show them."""
        for node in nodes:
            await self.vm.call(UnmapNode(node, from_page))


def _inode(dentry: Dentry) -> Inode:
    if dentry.inode is None:
        raise KernelBug(f"{dentry!r} is negative")
    return dentry.inode


def _store(inode: Inode) -> Store:
    store = inode.volume.store
    if store is None:
        raise KernelBug(f"{inode!r} has no store")
    return store
