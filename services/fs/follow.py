"""Following a store that others change: the host's tree under a memory overlay.

A name that the store confirmed a while ago (`Tree.begin` says how long) is asked for again when a
walk meets it; content is asked for at every open. What memory has changed wins, and stays where
the store no longer has it. A file that was replaced is another file: who has the old one open
keeps it, nameless, as on any Unix; so does whoever stands in a directory that has gone.

That a file is unchanged is told by its stamp (device, number, size, times), one lstat(2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.fs.core_inode import FOREVER, Directory, File, Link
from services.fs.core_listing import current_names
from services.fs.core_pages import page_count
from services.vm.api import UnmapFrames

if TYPE_CHECKING:
    from services.fs.core_inode import Dentry, Inode
    from services.fs.core_volume import Store
    from services.fs.supply import Supply

CONTENT_NS = 100_000
"""A file that was confirmed so lately is not asked for again when it is opened: nobody outside can
have changed it because of what a program did since."""


class Follower:
    """Takes up what a store changed."""

    def __init__(self, supply: Supply) -> None:
        self._supply = supply
        self._tree = supply.tree
        self._cache = supply.cache

    async def name(self, parent: Dentry, name: bytes, store: Store) -> None:
        """Ask for a name again; memory then has what the store has, confirmed now."""
        tree, directory = self._tree, parent.inode
        if not isinstance(directory, Directory):
            return
        child = directory.children.get(name)
        if child is None:
            return  # evicted meanwhile: whoever walks asks for it
        inode = child.inode
        if not parent.linked or (inode is not None and (inode.changed or inode.origin is None)):
            child.seen_ns = FOREVER
            return
        now = tree.ticks()
        if inode is None:
            fresh = await store.lookup(directory, name)
            if fresh is None:
                child.seen_ns = now
                return
            if directory.children.get(name) is child and child.inode is None:
                tree.evict_absence(child)
            tree.remember(parent, name, fresh)
            return
        if await store.unchanged(inode):
            child.seen_ns = inode.checked_ns = now
            return
        same = await self._renew(inode, store, store.path_in(directory, name))
        if directory.children.get(name) is not child or inode.changed:
            return
        if same:
            child.seen_ns = inode.checked_ns = now
        else:
            self._vanished(child)

    async def _renew(self, inode: Inode, store: Store, path: bytes | None = None) -> bool:
        size = inode.size
        if not await store.renew(inode, path):
            return False
        if isinstance(inode, File):
            await self._content(inode, shrunk=inode.size < size)
        elif isinstance(inode, Link):
            inode.point_to(None)
            self._tree.paths.clear()
        elif isinstance(inode, Directory):
            inode.listed = None
            inode.charge()
            self._tree.paths.clear()
        return True

    async def _content(self, file: File, shrunk: bool) -> None:
        """No page, in the cache or in a mapping, is what the file holds now."""
        if not file.untouched:
            return
        frames, nodes = self._tree.frames, self._tree.nodes_of(file)
        pfns = frames.mapped_pages(file, len(file.mapped), None)
        if pfns:
            for node in nodes:
                await self._supply.vm.call(UnmapFrames(node, pfns))
        self._cache.forget_clean(file)
        if shrunk and file.known_to_vm:
            await self._supply.unmap(nodes, page_count(file.size))

    def _vanished(self, dentry: Dentry) -> None:
        """The store has the name no more, or for another file."""
        tree, inode = self._tree, dentry.inode
        if inode is None:
            return
        if not tree.forgettable(dentry):
            dentry.hides, dentry.seen_ns = False, FOREVER
            return
        inode.nlink = 0 if isinstance(inode, Directory) else max(inode.nlink - 1, 0)
        inode.attr = None
        tree.prune(dentry)

    async def listed(self, dentry: Dentry, store: Store) -> None:
        """Whether the names of a directory are still the store's; else they are not known."""
        directory, tree = dentry.inode, self._tree
        if not isinstance(directory, Directory):
            return
        now = tree.ticks()
        if not await store.unchanged(directory):
            await self._renew(directory, store)
            directory.listed = None
            directory.charge()
        directory.listed_ns = now

    def took(self, dentry: Dentry, directory: Directory) -> None:
        """All names of a directory have just come from its store: what memory knew gives way."""
        listed = directory.listed or {}
        directory.listed_ns = FOREVER if directory.volume.private else self._tree.ticks()
        for name, child in list(directory.children.items()):
            if child.inode is None:
                if name in listed and not child.secret:
                    self._tree.evict_absence(child)
            elif child.hides and name not in listed:
                self._vanished(child)
        if directory.order is not None:
            directory.order.update(current_names(directory))

    async def content(self, dentry: Dentry, store: Store) -> None:
        """A file is being opened: it gets the store's content, or its name another file."""
        inode, parent = dentry.inode, dentry.parent
        if inode is None or not dentry.linked:
            return
        if not _theirs(inode):
            inode.checked_ns = FOREVER
            return
        now = self._tree.ticks()
        if await store.unchanged(inode):
            inode.checked_ns = now
        elif parent is None or inode.changed:  # it has no name there, or another one
            await self._renew(inode, store)
            inode.checked_ns = now
        elif dentry.linked:
            await self.name(parent, dentry.name, store)

    async def open_file(self, inode: Inode, store: Store) -> None:
        """The attributes and the size of a file that is open, by the name that it was found at."""
        now = self._tree.ticks()
        if not _theirs(inode):
            inode.checked_ns = FOREVER
            return
        if not await store.unchanged(inode):
            await self._renew(inode, store)
        inode.checked_ns = now


def _theirs(inode: Inode) -> bool:
    """Whether there is something in it that the store decides on."""
    return not inode.changed or (isinstance(inode, File) and inode.untouched)
