"""Handlers that open files and change names and attributes.

Each asks for the time first, then plans and commits with nothing in between, so that no other
caller sees or disturbs the middle. On volumes whose store takes changes, `Forwarder` does the same
steps with the store in between.
"""

from __future__ import annotations

import os
import stat
from errno import EEXIST, EINVAL, ENAMETOOLONG, ENOENT, EPERM, ETXTBSY
from typing import TYPE_CHECKING, Any

from bus.errors import PosixError
from services.fs import api
from services.fs.api import Foreign, Opened
from services.fs.core_access import READ
from services.fs.core_attr import (
    attributes_changed,
    commit_set_attr,
    events_of,
    plan_set_attr,
)
from services.fs.core_inode import File, Link
from services.fs.core_names import (
    commit_link,
    commit_make,
    commit_nameless,
    commit_remove,
    directory_of,
    inode_of,
    new_inode,
    plan_link,
    plan_make,
    plan_remove,
)
from services.fs.core_need import Need
from services.fs.core_open import O_PATH, Found, access_of, check_open, plan, writes
from services.fs.core_rename import commit_rename, plan_rename
from services.fs.core_walk import PATH_MAX
from services.fs.core_watch import IN_MODIFY, IN_OPEN
from services.fs.follow import CONTENT_NS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.fs.core_open import Make
    from services.fs.forward import Forwarder
    from services.fs.supply import Supply

_SPECIAL = os.O_CREAT | os.O_TRUNC | (os.O_TMPFILE & ~os.O_DIRECTORY) | O_PATH | os.O_NOFOLLOW
_MAKING = os.O_CREAT | (os.O_TMPFILE & ~os.O_DIRECTORY)
_MAKEABLE = {stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK}
_DEVICES = {stat.S_IFCHR, stat.S_IFBLK}


class NameHandlers:
    """open(2) and everything that changes the tree of names."""

    def __init__(self, supply: Supply, forward: Forwarder) -> None:
        self._supply = supply
        self._tree = supply.tree
        self._known = supply.tree.paths
        self._ticks = supply.tree.ticks
        self._paths = supply.tree.paths.root
        self._forward = forward
        self.handlers: dict[type[Any], Callable[[Any], Awaitable[Any]]] = {
            api.Open: self.open,
            api.OpenNode: self.open_node,
            api.MakeDir: self.make_dir,
            api.MakeNode: self.make_node,
            api.Symlink: self.symlink,
            api.Link: self.link,
            api.Unlink: self.unlink,
            api.Rename: self.rename,
            api.SetAttr: self.set_attr,
            api.DenyWrite: self.deny_write,
        }

    # ── opening ─────────────────────────────────────────────────────────────────────────────

    async def open(self, request: api.Open) -> Opened | Foreign:
        """openat(2)."""
        flags, at = request.flags, request.at
        if request.cred.uid == 0 and not flags & _SPECIAL:
            dentry = self._paths.get((at.root, at.base, request.path, True))
            if dentry is not None and dentry.linked:
                now, inode = self._ticks(), dentry.inode
                if (
                    now < self._known.until_ns
                    and inode is not None
                    and inode.checked_ns + CONTENT_NS > now
                ):
                    found = check_open(dentry, flags, request.cred)
                    return await self._opened(found, flags, request.cred)
        return await self._walk_and_open(request)

    async def _walk_and_open(self, request: api.Open, confirmed: bool = False) -> Opened | Foreign:
        flags, at = request.flags, request.at
        tree, path, cred = self._tree, request.path, request.cred
        now = await self._supply.now() if flags & _MAKING else 0
        tree.begin()
        try:
            outcome = plan(tree, at, path, flags, cred)
        except Need as need:
            await self._supply.fetch(need)
            outcome = await self._supply.go_on(lambda: plan(tree, at, path, flags, cred))
        if isinstance(outcome, Found):
            if confirmed or flags & O_PATH or self._supply.lately(outcome.dentry):
                return await self._opened(outcome, flags, cred)
            await self._supply.confirm(outcome.dentry)
            return await self._walk_and_open(request, confirmed=True)  # whatever is there by now
        if isinstance(outcome, Foreign):
            return outcome
        try:
            return await self._created(request, outcome, now)
        except PosixError as refusal:
            if refusal.errno != EEXIST or flags & os.O_EXCL:
                raise
        return await self._walk_and_open(request)  # others made it meanwhile

    async def open_node(self, request: api.OpenNode) -> Opened:
        """open(2) of what a magic link leads to."""
        found = check_open(self._tree.dentry(request.node), request.flags, request.cred)
        return await self._opened(found, request.flags, request.cred)

    async def _opened(self, found: Found, flags: int, cred: api.Cred) -> Opened:
        dentry = found.dentry
        tree = self._tree
        node = tree.hold(dentry)
        inode = inode_of(dentry)
        if isinstance(inode, File):
            writers = writes(flags)
            inode.writers += writers
            if found.truncate or inode.origin is not None:
                try:
                    if inode.origin is not None and not flags & O_PATH:
                        await self._ready(inode, flags)
                    if found.truncate:
                        await self._truncate(inode, cred)
                except BaseException:
                    inode.writers -= writers
                    tree.release(node)
                    raise
        if tree.watches.active and not flags & O_PATH:
            tree.watches.tell_entry(dentry, IN_OPEN)
            if found.truncate:
                tree.watches.tell_entry(dentry, IN_MODIFY)
        return Opened(node, inode.mode, inode.rdev, inode.size)

    async def _ready(self, inode: File, flags: int) -> None:
        store = inode.volume.store
        if store is None:
            return
        if inode.volume.through is not None:
            await self._forward.opening(inode, flags)
        elif inode.backed_bytes and access_of(flags) & READ and not inode.pages:
            await store.ready(inode, write=False)

    async def _truncate(self, file: File, cred: api.Cred) -> None:
        if file.volume.through is not None:
            await self._forward.truncate(file, 0)
        else:
            now = await self._supply.now()
            await self._supply.truncate(file, 0)
            file.modify(now)
        if file.mode & 0o6000:
            await self._forward.drop_set_id(file, cred)

    async def _created(self, request: api.Open, make: Make, now: int) -> Opened:
        tree, cred, flags = self._tree, request.cred, request.flags
        directory = directory_of(make.parent)
        mode = stat.S_IFREG | stat.S_IMODE(request.mode)
        if directory.volume.through is not None and make.name is not None:
            dentry = await self._forward.make(make.parent, make.name, mode, cred, now)
            node, inode = dentry.node, inode_of(dentry)
            try:
                await self._forward.opening(inode, flags)
            except BaseException:
                tree.release(node)
                raise
        else:
            inode = new_inode(directory, mode, cred, now)
            if make.name is None:
                dentry = commit_nameless(tree, make.parent, inode)
            else:
                dentry = commit_make(tree, make.parent, make.name, inode, now)
            node = tree.hold(dentry)
        if isinstance(inode, File):
            inode.writers += writes(flags)
        if tree.watches.active:
            tree.watches.tell_entry(dentry, IN_OPEN)
        return Opened(node, inode.mode, 0, 0, created=True)

    # ── making ──────────────────────────────────────────────────────────────────────────────

    async def _make(
        self, at: api.At, path: bytes, mode: int, cred: api.Cred, rdev: int, target: bytes
    ) -> Foreign | None:
        tree = self._tree
        now = await self._supply.now()
        where = await self._supply.run(lambda: plan_make(tree, at, path, cred, stat.S_ISDIR(mode)))
        if isinstance(where, Foreign):
            return where
        directory = directory_of(where.parent)
        if directory.volume.through is not None:
            made = await self._forward.make(where.parent, where.name, mode, cred, now, target, rdev)
            tree.release(made.node)
            return None
        inode = new_inode(directory, mode, cred, now)
        inode.rdev = rdev
        if isinstance(inode, Link):
            inode.point_to(target)
            inode.size = len(target)
        commit_make(tree, where.parent, where.name, inode, now)
        return None

    async def make_dir(self, request: api.MakeDir) -> Foreign | None:
        """mkdir(2)."""
        mode = stat.S_IFDIR | (request.mode & 0o1777)
        return await self._make(request.at, request.path, mode, request.cred, 0, b"")

    async def make_node(self, request: api.MakeNode) -> Foreign | None:
        """mknod(2); devices are for uid 0 (EPERM)."""
        kind = stat.S_IFMT(request.mode) or stat.S_IFREG
        if kind == stat.S_IFDIR:
            raise PosixError(EPERM)
        if kind not in _MAKEABLE:
            raise PosixError(EINVAL)
        if kind in _DEVICES and request.cred.uid != 0:
            raise PosixError(EPERM)
        mode = kind | stat.S_IMODE(request.mode)
        rdev = request.rdev if kind in _DEVICES else 0
        return await self._make(request.at, request.path, mode, request.cred, rdev, b"")

    async def symlink(self, request: api.Symlink) -> Foreign | None:
        """symlink(2)."""
        target = request.target
        if not target:
            raise PosixError(ENOENT)
        if len(target) >= PATH_MAX:
            raise PosixError(ENAMETOOLONG)
        mode = stat.S_IFLNK | 0o777
        return await self._make(request.at, request.path, mode, request.cred, 0, target)

    async def link(self, request: api.Link) -> Foreign | None:
        """link(2)."""
        tree = self._tree
        now = await self._supply.now()
        where = await self._supply.run(
            lambda: plan_link(tree, request.node, request.at, request.path, request.cred)
        )
        if isinstance(where, Foreign):
            return where
        inode = tree.inode(request.node)
        if inode.volume.through is not None:
            await self._forward.link(tree.dentry(request.node), where, now)
        else:
            commit_link(tree, inode, where, now)
        return None

    # ── removing, renaming ──────────────────────────────────────────────────────────────────

    async def unlink(self, request: api.Unlink) -> Foreign | None:
        """unlink(2), rmdir(2)."""
        tree, at, path = self._tree, request.at, request.path
        now = await self._supply.now()
        found = await self._supply.run(
            lambda: plan_remove(tree, at, path, request.directory, request.cred)
        )
        if isinstance(found, Foreign):
            return found
        if inode_of(found).volume.through is not None:
            await self._forward.remove(found, now)
        else:
            commit_remove(tree, found, now)
        await self._after()
        return None

    async def rename(self, request: api.Rename) -> Foreign | None:
        """renameat2(2)."""
        tree, flags, cred = self._tree, request.flags, request.cred
        old, new = (request.old_at, request.old_path), (request.new_at, request.new_path)
        now = await self._supply.now()
        found = await self._supply.run(lambda: plan_rename(tree, old, new, flags, cred))
        if isinstance(found, Foreign):
            return found
        if inode_of(found.old).volume.through is not None:
            await self._forward.rename(found, flags, now)
        else:
            commit_rename(tree, found, now)
        await self._after()
        return None

    async def _after(self) -> None:
        if self._tree.orphans or self._tree.frames.overfull:
            await self._supply.settle()

    # ── attributes ──────────────────────────────────────────────────────────────────────────

    async def set_attr(self, request: api.SetAttr) -> None:
        """chmod(2), chown(2), utimensat(2)."""
        now = await self._supply.now()
        dentry = self._tree.dentry(request.node)
        inode = inode_of(dentry)
        mode = plan_set_attr(inode, request)
        if inode.volume.through is not None:
            await self._forward.set_attr(inode, request, mode, now)
        else:
            commit_set_attr(inode, request, mode, now)
        attributes_changed(self._tree, dentry, events_of(request, mode))

    async def deny_write(self, request: api.DenyWrite) -> None:
        """A program is being executed, or no longer."""
        inode = self._tree.inode(request.node)
        if not request.deny:
            inode.denied = max(inode.denied - 1, 0)
        elif isinstance(inode, File) and inode.writers:
            raise PosixError(ETXTBSY)
        else:
            inode.denied += 1
