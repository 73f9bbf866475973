"""Handlers of nameless files, seals and extended attributes."""

from __future__ import annotations

import stat
from errno import EINVAL, EPERM
from typing import TYPE_CHECKING, Any

from bus.errors import PosixError
from services.fs import api, core_xattr
from services.fs.api import Opened
from services.fs.core_attr import attributes_changed
from services.fs.core_inode import Dentry, File
from services.fs.core_names import inode_of
from services.fs.core_pages import SEAL_SEAL
from services.fs.core_watch import IN_ATTRIB

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.fs.supply import Supply

ALL_SEALS = 0x3F


class ExtraHandlers:
    """What does not concern the tree."""

    def __init__(self, supply: Supply) -> None:
        self._supply = supply
        self._tree = supply.tree
        self.handlers: dict[type[Any], Callable[[Any], Awaitable[Any]]] = {
            api.MemFile: self.mem_file,
            api.Seals: self.seals,
            api.GetXattr: self.get_xattr,
            api.SetXattr: self.set_xattr,
            api.ListXattr: self.list_xattr,
        }

    async def mem_file(self, request: api.MemFile) -> Opened:
        """memfd_create(2)."""
        now = await self._supply.now()
        volume = self._tree.nameless
        mode = stat.S_IFREG | 0o777
        file = File(volume, volume.new_ino(), mode, request.cred.uid, request.cred.gid)
        file.nlink = 0
        file.size = request.size
        file.atime_ns = file.mtime_ns = file.ctime_ns = file.btime_ns = now
        file.seals = 0 if request.seals else SEAL_SEAL
        dentry = Dentry(request.name, None, file)
        dentry.linked = False
        file.dentries.append(dentry)
        return Opened(self._tree.hold(dentry), mode, 0, request.size, created=True)

    async def seals(self, request: api.Seals) -> int:
        """fcntl(2) F_ADD_SEALS, F_GET_SEALS.

        That a writable mapping exists is not known here, so F_SEAL_WRITE is never EBUSY.
        """
        inode = self._tree.inode(request.node)
        if not isinstance(inode, File) or inode.seals < 0 or request.add & ~ALL_SEALS:
            raise PosixError(EINVAL)
        if request.add:
            if inode.seals & SEAL_SEAL:
                raise PosixError(EPERM)
            inode.seals |= request.add
        return inode.seals

    async def get_xattr(self, request: api.GetXattr) -> bytes:
        """getxattr(2)."""
        return core_xattr.get(self._tree.inode(request.node), request.name, request.cred)

    async def set_xattr(self, request: api.SetXattr) -> None:
        """setxattr(2), removexattr(2)."""
        now = await self._supply.now()
        dentry = self._tree.dentry(request.node)
        inode = inode_of(dentry)
        name, value = request.name, request.value
        core_xattr.plan_put(inode, name, value, request.flags, request.cred)
        if inode.volume.through is not None:
            await inode.volume.through.set_xattr(inode, name, value)
        core_xattr.commit_put(inode, name, value)
        inode.touch(now)
        attributes_changed(self._tree, dentry, IN_ATTRIB)

    async def list_xattr(self, request: api.ListXattr) -> tuple[bytes, ...]:
        """listxattr(2)."""
        return tuple(self._tree.inode(request.node).xattrs or ())
