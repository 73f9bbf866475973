"""Changes to volumes whose store takes them first: a read-write bind, a disk.

The order is: the core plans (permissions, kinds), the store does it, memory follows. The store
may refuse, and then memory has not changed. While the store is asked, other callers may run: what
memory then holds is looked at again, and where it no longer fits the plan the names concerned are
forgotten, to be asked for anew.

Content is written through: the store gets the bytes from the writer's own memory, and pages that
are cached take them too. Pages that were mapped for writing are `dirty` and are written when the
file is synced, or with the last reference.
"""

from __future__ import annotations

from errno import EINVAL, EOPNOTSUPP
from typing import TYPE_CHECKING

from bus.errors import KernelBug, PosixError
from services.drivers.ram.api import PAGE_BYTES, PAGE_SHIFT
from services.fs.core_access import WRITE
from services.fs.core_attr import NOW, drop_set_id
from services.fs.core_inode import Dentry, Directory, File
from services.fs.core_names import (
    commit_link,
    commit_make,
    commit_remove,
    directory_of,
    inode_of,
    ownership,
)
from services.fs.core_open import access_of
from services.fs.core_rename import EXCHANGE, commit_rename
from services.fs.core_space import COLLAPSE, MODES, PUNCH_HOLE, ZERO_RANGE, zero_cached
from services.fs.extents import part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.drivers.ram.api import Extent
    from services.fs import api
    from services.fs.core_inode import Inode
    from services.fs.core_rename import Rename
    from services.fs.core_volume import ForwardingStore
    from services.fs.core_walk import Place
    from services.fs.supply import Supply


def through(inode: Inode) -> ForwardingStore:
    """The store of an inode whose volume forwards."""
    store = inode.volume.through
    if store is None:
        raise KernelBug(f"{inode!r} is on a volume that forwards nothing")
    return store


class Forwarder:
    """One instance serves all such volumes."""

    def __init__(self, supply: Supply) -> None:
        self._supply = supply
        self._tree = supply.tree
        self._cache = supply.cache

    # ── names ───────────────────────────────────────────────────────────────────────────────

    async def make(
        self,
        parent: Dentry,
        name: bytes,
        mode: int,
        cred: api.Cred,
        now: int,
        target: bytes = b"",
        rdev: int = 0,
    ) -> Dentry:
        """A new name; the caller gets it with a reference."""
        directory = directory_of(parent)
        mode, gid = ownership(directory, mode, cred)
        store = through(directory)
        fresh = await store.make(directory, name, mode, (cred.uid, gid), target, rdev)
        inode, _ = store.settle(fresh)
        dentry = self._adopt(parent, name, inode, now)
        self._tree.hold(dentry)
        try:
            await self.refresh(directory)
        except PosixError:
            self._tree.release(dentry.node)
            raise
        return dentry

    def _adopt(self, parent: Dentry, name: bytes, inode: Inode, now: int) -> Dentry:
        """Give memory a name that the store has just made."""
        tree = self._tree
        if not parent.linked:  # the directory was taken away meanwhile, and the name with it
            dentry = Dentry(name, parent, inode)
            dentry.linked = False
            inode.dentries.append(dentry)
            tree.pin(dentry)
            return dentry
        there = directory_of(parent).children.get(name)
        if there is not None and there.inode is not None:
            if there.inode is inode:
                return there
            tree.prune(there)
        dentry = commit_make(tree, parent, name, inode, now)
        tree.clean[dentry] = None
        return dentry

    async def link(self, old: Dentry, where: Place, now: int) -> None:
        """A second name."""
        inode, directory = inode_of(old), directory_of(where.parent)
        await through(inode).link(inode, directory, where.name)
        there = directory.children.get(where.name)
        if where.parent.linked and (there is None or there.inode is None):
            commit_link(self._tree, inode, where, now)
        await self.refresh(inode, directory)

    async def remove(self, dentry: Dentry, now: int) -> None:
        """unlink(2), rmdir(2)."""
        parent, inode = dentry.parent, inode_of(dentry)
        if parent is None:
            raise KernelBug(f"{dentry!r} is a root")
        directory = directory_of(parent)
        await through(inode).remove(dentry)
        if dentry.linked:
            if isinstance(inode, Directory):
                self._tree.prune_below(inode)
            dentry.hides = False
            commit_remove(self._tree, dentry, now)
        await self.refresh(directory)

    async def rename(self, rename: Rename, flags: int, now: int) -> None:
        """renameat2(2)."""
        old, target = rename.old, rename.target
        if rename.same or old.parent is None:
            return
        source, goal = directory_of(old.parent), directory_of(rename.parent)
        await through(goal).move(old, goal, rename.name, flags)
        there = goal.children.get(rename.name)
        present = there if there is not None and there.inode is not None else None
        if old.linked and rename.parent.linked and present is target:
            old.hides = False
            if target is not None and flags != EXCHANGE:
                target.hides = False
                if isinstance(target.inode, Directory):
                    self._tree.prune_below(target.inode)
            commit_rename(self._tree, rename, now)
        else:
            for stale in (old, present):
                if stale is not None and stale.linked:
                    self._tree.prune(stale)
        await self.refresh(source, goal)

    async def refresh(self, *inodes: Inode) -> None:
        """Take attributes from the store; pages too, if others changed the content."""
        for inode in inodes:
            if await through(inode).refresh(inode):
                self._cache.forget_clean(inode)

    # ── attributes ──────────────────────────────────────────────────────────────────────────

    async def set_attr(
        self, inode: Inode, request: api.SetAttr, mode: int | None, now: int
    ) -> None:
        """chmod(2), chown(2), utimensat(2)."""
        atime = now if request.atime_ns == NOW else request.atime_ns
        mtime = now if request.mtime_ns == NOW else request.mtime_ns
        owner = (request.uid, request.gid)
        await through(inode).set_attr(inode, mode, owner, (atime, mtime))

    async def drop_set_id(self, file: File, cred: api.Cred) -> None:
        """A write takes set-id bits away (inode(7)), here and in the store, if there is one."""
        before = file.mode
        if drop_set_id(file, cred) and file.volume.through is not None:
            changed, file.mode = file.mode, before
            await file.volume.through.set_attr(file, changed, (None, None), (None, None))

    # ── content ─────────────────────────────────────────────────────────────────────────────

    async def opening(self, inode: Inode, flags: int) -> None:
        """open(2): what others wrote until now is seen, what they write later need not be."""
        if not isinstance(inode, File):
            return
        await through(inode).ready(inode, bool(access_of(flags) & WRITE))
        await self.refresh(inode)

    async def write(self, file: File, offset: int, extents: Sequence[Extent], length: int) -> int:
        """pwrite(2) of `length` bytes."""
        store = through(file)
        if store.waits:
            view = self._supply.ram.bytes
            copied = [view[at : at + size] for at, size in part(extents, 0, length)]
            return await self._put(file, offset, b"".join(copied))
        done = await store.write(file, offset, part(extents, 0, length))
        self._cache.overwrite(file, offset, extents, done)
        await store.refresh(file)
        return done

    async def _put(self, file: File, offset: int, content: bytes) -> int:
        """Through a store that waits: nobody runs between its having the content and the cache."""
        store = through(file)
        done = await store.put(file, offset, content)
        self._cache.overwrite_bytes(file, offset, content[:done])
        await store.refresh(file)
        return done

    async def write_bytes(self, file: File, offset: int, data: bytes) -> int:
        """The same from the kernel's own memory, through a frame."""
        if through(file).waits:
            return await self._put(file, offset, data)
        pool = self._supply.tree.frames
        done = 0
        while done < len(data):
            await self._supply.frames(1)
            pfn = pool.take()
            paddr = pfn << PAGE_SHIFT
            piece = data[done : done + PAGE_BYTES]
            try:
                self._supply.ram.bytes[paddr : paddr + len(piece)] = piece
                extents = [(paddr, len(piece))]
                count = await self.write(file, offset + done, extents, len(piece))
            finally:
                pool.give_up([pfn])
            if not count:
                break
            done += count
        return done

    async def truncate(self, file: File, length_bytes: int) -> None:
        """ftruncate(2)."""
        store = through(file)
        await store.truncate(file, length_bytes)
        await self._supply.truncate(file, length_bytes)
        await store.refresh(file)

    async def allocate(self, file: File, mode: int, offset: int, length_bytes: int) -> None:
        """fallocate(2): the store does it, pages in the cache are read again."""
        if offset < 0 or length_bytes <= 0:
            raise PosixError(EINVAL)
        if mode not in MODES or (mode == COLLAPSE and self._cache.frames.still_mapped(file)):
            raise PosixError(EOPNOTSUPP)
        await self.flush(file)
        store = through(file)
        await store.allocate(file, mode, offset, length_bytes)
        if mode & (PUNCH_HOLE | ZERO_RANGE):
            zero_cached(self._cache, file, offset, offset + length_bytes)
        self._cache.forget_clean(file)
        await store.refresh(file)

    async def flush(self, file: File) -> None:
        """Write the pages that were mapped for writing."""
        store = through(file)
        if store.waits:
            await self._flush_copies(file)
            return
        for index in sorted(file.dirty):
            pfn = file.pages.get(index)
            start = index << PAGE_SHIFT
            length = min(PAGE_BYTES, file.size - start)
            if pfn and length > 0:
                await store.write(file, start, [(pfn << PAGE_SHIFT, length)])
        if file.dirty:
            self._cache.written_back(file)
            await store.refresh(file)

    async def _flush_copies(self, file: File) -> None:
        """The same where others run meanwhile, and may write a page again that has gone out."""
        store, view = through(file), self._supply.ram.bytes
        for index in sorted(file.dirty):
            pfn, start = file.pages.get(index), index << PAGE_SHIFT
            length = min(PAGE_BYTES, file.size - start)
            mapped = index in self._cache.frames.still_mapped(file)
            if pfn and length > 0:
                at = pfn << PAGE_SHIFT
                await store.put(file, start, bytes(view[at : at + length]))
            if not mapped:
                self._cache.wrote(file, index)
        await store.refresh(file)

    async def last_use(self, dentry: Dentry) -> None:
        """The last reference to a name is about to go: mappings of it have gone already."""
        file = dentry.inode
        if isinstance(file, File) and self._tree.nodes_of(file) == [dentry.node]:
            try:
                await self.flush(file)
            except PosixError:
                # close(2) has nobody to tell: what the host refused is lost, as on Linux.
                self._cache.written_back(file)
                self._cache.forget_clean(file)

    async def sync(self, inode: Inode, data_only: bool) -> None:
        """fsync(2), fdatasync(2)."""
        if isinstance(inode, File) and inode.dirty:
            await self.flush(inode)
        await through(inode).sync(inode, data_only)
