"""Handlers that find nodes and look at them: resolve, stat, references, directories."""

from __future__ import annotations

from errno import EACCES, EINVAL, ENOENT, ENOTDIR
from typing import TYPE_CHECKING, Any

from bus.errors import MalformedRequest, PosixError
from services.fs import api
from services.fs.api import Foreign, Opened
from services.fs.core_access import EXECUTE, allowed, check, check_execute
from services.fs.core_attr import accessed, statfs
from services.fs.core_inode import Directory, File, Link
from services.fs.core_listing import read_directory
from services.fs.core_names import inode_of
from services.fs.core_need import Need, NeedTarget
from services.fs.core_tree import NAMES_NS
from services.fs.core_walk import find, path_of
from services.fs.core_watch import IN_ACCESS, IN_CLOSE_NOWRITE, IN_CLOSE_WRITE
from services.fs.diskstore import DiskStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.fs.core_inode import Dentry
    from services.fs.forward import Forwarder
    from services.fs.supply import Supply


class NodeHandlers:
    """Looking, without changing anything."""

    def __init__(self, supply: Supply, forward: Forwarder) -> None:
        self._supply = supply
        self._forward = forward
        self._tree = supply.tree
        self._nodes = supply.tree.nodes
        self._known = supply.tree.paths
        self._paths = supply.tree.paths.root
        self._ticks = supply.tree.ticks
        self.handlers: dict[type[Any], Callable[[Any], Awaitable[Any]]] = {
            api.RootNode: self.root_node,
            api.Resolve: self.resolve,
            api.Stat: self.stat,
            api.StatNode: self.stat_node,
            api.Access: self.access,
            api.ReadLink: self.read_link,
            api.ReadDir: self.read_dir,
            api.StatFs: self.stat_fs,
            api.Retain: self.retain,
            api.Release: self.release,
            api.Close: self.close,
            api.PathOf: self.path_of,
            api.Caches: self.caches,
            api.EvictNames: self.evict_names,
            api.EvictPages: self.evict_pages,
        }

    async def find(self, at: api.At, path: bytes, cred: api.Cred, follow: bool) -> Dentry | Foreign:
        """Walk, asking stores where the cache does not know."""
        tree = self._tree
        tree.begin()
        try:
            return find(tree, at, path, cred, follow)
        except Need as need:
            await self._supply.fetch(need)
        return await self._supply.go_on(lambda: find(tree, at, path, cred, follow))

    async def root_node(self, request: api.RootNode) -> int:
        """The root directory."""
        return self._tree.hold(self._tree.root)

    async def stat(self, request: api.Stat) -> api.Attr | Foreign:
        """stat(2), lstat(2)."""
        at = request.at
        if request.cred.uid == 0:
            dentry = self._paths.get((at.root, at.base, request.path, request.follow))
            if dentry is not None and dentry.linked and self._ticks() < self._known.until_ns:
                inode = dentry.inode
                if inode is not None:
                    return inode.attr or inode.stat()
        found = await self.find(at, request.path, request.cred, request.follow)
        if found.__class__ is Foreign:
            return found
        inode = inode_of(found)  # type: ignore[arg-type]
        if inode.volume.volatile:
            await self._forward.refresh(inode)
        return inode.stat()

    async def stat_node(self, request: api.StatNode) -> api.Attr:
        """fstat(2)."""
        inode = self._tree.inode(request.node)
        if inode.volume.volatile:
            await self._forward.refresh(inode)
        elif inode.checked_ns < self._ticks() - NAMES_NS and inode.volume.store is not None:
            await self._supply.follow.open_file(inode, inode.volume.store)
        return inode.attr or inode.stat()

    async def resolve(self, request: api.Resolve, *, confirmed: bool = False) -> Opened | Foreign:
        """Find a node without opening it."""
        cred = request.cred
        found = await self.find(request.at, request.path, cred, request.follow)
        if isinstance(found, Foreign):
            return found
        inode = inode_of(found)
        if (request.directory or request.search) and not isinstance(inode, Directory):
            raise PosixError(ENOTDIR)
        if request.search and not allowed(inode, EXECUTE, cred):
            raise PosixError(EACCES)
        if request.execute:
            check_execute(inode, cred)
            if not confirmed and not self._supply.lately(found):
                await self._supply.confirm(found)
                return await self.resolve(request, confirmed=True)
        return Opened(self._tree.hold(found), inode.mode, inode.rdev, inode.size)

    async def access(self, request: api.Access) -> Foreign | None:
        """faccessat(2)."""
        found = await self.find(request.at, request.path, request.cred, request.follow)
        if isinstance(found, Foreign):
            return found
        inode = inode_of(found)
        if request.mode & ~7:
            raise PosixError(EINVAL)
        check(inode, request.mode, request.cred)
        return None

    async def read_link(self, request: api.ReadLink) -> bytes | Foreign:
        """readlink(2)."""
        if request.path:
            found = await self.find(request.at, request.path, request.cred, follow=False)
            if isinstance(found, Foreign):
                return found
        else:
            found = self._tree.dentry(request.at.base)
        link = found.inode
        if not isinstance(link, Link):
            raise PosixError(EINVAL if request.path else ENOENT)
        if link.target is None:
            await self._supply.fetch(NeedTarget(link))
        if link.stale_atime:
            accessed(link, await self._supply.now())
        return link.target or b""

    async def read_dir(self, request: api.ReadDir) -> tuple[api.DirEntry, ...]:
        """getdents(2)."""
        tree = self._tree
        dentry = tree.dentry(request.node)
        directory = dentry.inode
        if not isinstance(directory, Directory):
            raise PosixError(ENOTDIR)
        if not dentry.linked:
            raise PosixError(ENOENT)
        cookie, count = request.cookie, request.count
        if not cookie and directory.volume.volatile:
            directory.listed = None
            directory.charge()
        entries = await self._supply.run(
            lambda: read_directory(dentry, cookie, count, tree.fresh_after)
        )
        if directory.stale_atime:
            accessed(directory, await self._supply.now())
        if self._tree.watches.active:
            self._tree.watches.tell_entry(dentry, IN_ACCESS)
        return entries

    async def stat_fs(self, request: api.StatFs) -> api.StatFsReply:
        """statfs(2)."""
        volume = self._tree.inode(request.node).volume
        said = None if volume.store is None else await volume.store.space()
        return statfs(self._tree, volume, said)

    async def retain(self, request: api.Retain) -> None:
        """One more reference."""
        self._tree.dentry(request.node).refs += 1

    async def release(self, request: api.Release | api.Close) -> None:
        """One reference less; what is then unused goes."""
        tree = self._tree
        dentry = tree.dentry(request.node)
        if dentry.refs == 1 and dentry.inode is not None and dentry.inode.volume.through:
            await self._forward.last_use(dentry)
        tree.release(request.node)
        if tree.orphans or tree.frames.overfull:
            await self._supply.settle()

    def close(self, request: api.Close) -> Awaitable[None]:
        """The last close(2) of an open file description."""
        dentry = self._tree.dentry(request.node)
        inode = dentry.inode
        if request.write and isinstance(inode, File):
            if not inode.writers:
                raise MalformedRequest(f"fs: node {request.node} is not open for writing")
            inode.writers -= 1
        if self._tree.watches.active:
            mask = IN_CLOSE_WRITE if request.write else IN_CLOSE_NOWRITE
            self._tree.watches.tell_entry(dentry, mask)
        return self.release(request)

    async def path_of(self, request: api.PathOf) -> bytes:
        """Where a node is."""
        root = self._tree.dentry(request.root) if request.root else self._tree.root
        return path_of(self._tree.dentry(request.node), root)

    async def caches(self, request: api.Caches) -> api.CacheCounts:
        """What the caches hold."""
        tree = self._tree
        return api.CacheCounts(
            tree.frames.cached,
            tree.frames.kept,
            len(tree.nodes),
            tree.names,
            tree.name_hits,
            tree.name_misses,
            sum(dentry.refs > (dentry.mounted is not None) for dentry in tree.nodes.values()),
        )

    async def evict_names(self, request: api.EvictNames) -> int:
        """Forget names; what goes with them goes back."""
        gone = self._tree.evict_names(request.count)
        for volume in self._tree.volumes.values():
            if isinstance(volume.store, DiskStore):
                gone += volume.store.ext4.cache.evict(request.count)
        await self._supply.settle()
        return gone

    async def evict_pages(self, request: api.EvictPages) -> int:
        """Give clean pages, and what the pool has, back to vm."""
        await self._supply.evict(request.count)
        return await self._supply.settle(keep=0)
