"""A read-write bind: a store of host files that every change goes to before memory has it.

Host paths follow the dentries, so a file that was renamed here is found where it now is; one that
has no name any more is reached through its handle. The host is believed: what it says of a file
after a change is what memory then has, its clock included.
"""

from __future__ import annotations

import stat
from errno import EBADF, EFBIG, EINVAL, EIO, ELOOP, ENOENT, ENOMEM, ENOSPC, ENOTDIR, EPERM
from typing import TYPE_CHECKING

from bus.errors import KernelBug, PosixError
from services.drivers.hosttree import api
from services.fs.core_inode import Directory, File, Link
from services.fs.core_volume import V9FS_MAGIC
from services.fs.hoststore import HostStore, handle_of, origin_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.drivers.ram.api import Extent
    from services.fs.core_inode import Dentry, Inode
    from services.fs.core_volume import Pair, Volume

_WRITE_ERRORS = (EFBIG, ENOSPC, EINVAL, EPERM, ENOMEM)


def host_path(dentry: Dentry) -> bytes:
    """The path from the volume's top."""
    names: list[bytes] = []
    here = dentry
    while here.parent is not None:
        names.append(here.name)
        here = here.parent
    return b"/".join(reversed(names))


class BindStore(HostStore):
    """Files below `tree`, read and written."""

    magic = V9FS_MAGIC
    waits = False

    def path(self, inode: Inode) -> bytes:
        """Where a name of the inode is now; ENOENT where it has none."""
        for dentry in inode.dentries:
            if dentry.linked:
                return host_path(dentry)
        if not inode.dentries:
            return origin_of(inode).path
        raise PosixError(ENOENT)

    def inode(self, volume: Volume, found: api.HostStat, path: bytes) -> Inode:
        """A fresh inode each time; `settle` finds the one that is known already."""
        return self.fresh(volume, found, path)

    def settle(self, fresh: Inode) -> tuple[Inode, bool]:
        """All names of a file are one inode, also those that were made behind our back."""
        volume, key = fresh.volume, origin_of(fresh).key
        if isinstance(fresh, Directory):
            return fresh, False
        known = volume.known.get(key)
        if known is not None and stat.S_IFMT(known.mode) == stat.S_IFMT(fresh.mode):
            return known, self.adopt(known, fresh)
        if known is not None:
            del volume.keys[known]  # its number has been given to another file
        volume.known[key] = fresh
        volume.keys[fresh] = key
        return fresh, False

    # ── attributes ──────────────────────────────────────────────────────────────────────────

    async def refresh(self, inode: Inode) -> bool:
        """Ask the host for the attributes; says whether the content changed behind us."""
        origin = origin_of(inode)
        if origin.handle is not None:
            try:
                return self._update(inode, await self.port.call(api.StatFile(origin.handle)))
            except PosixError as refusal:
                if refusal.errno != EBADF:
                    raise
                origin.handle = None
        try:
            return self._update(inode, await self.ask(api.Lstat(self.tree, self.path(inode))))
        except PosixError as refusal:
            if refusal.errno in (ENOENT, ENOTDIR):
                return False  # no name and not open at the host: nobody knows better than we
            raise

    def adopt(self, inode: Inode, fresh: Inode) -> bool:
        """The same from an inode that was just looked up."""
        before = (inode.size, inode.mtime_ns)
        for name in _ATTRIBUTES:
            setattr(inode, name, getattr(fresh, name))
        inode.attr = None
        if isinstance(inode, File):
            inode.backed_bytes = inode.size
        if isinstance(inode, Link) and before != (inode.size, inode.mtime_ns):
            inode.point_to(None)
        return before != (inode.size, inode.mtime_ns)

    def _update(self, inode: Inode, found: api.HostStat) -> bool:
        before = (inode.size, inode.mtime_ns)
        self.describe(inode, found)
        return before != (inode.size, inode.mtime_ns)

    async def set_attr(self, inode: Inode, mode: int | None, owner: Pair, times: Pair) -> None:
        """chown(2), chmod(2), utimensat(2)."""
        origin = origin_of(inode)
        path = b"" if origin.handle is not None else self.path(inode)
        request = api.SetStat(self.tree, path, origin.handle, mode, *owner, *times)
        try:
            self._update(inode, await self.ask(request))
        except PosixError as refusal:
            if refusal.errno in (ENOTDIR, ELOOP):  # its path is another's now
                raise PosixError(ENOENT) from None
            raise

    # ── names ───────────────────────────────────────────────────────────────────────────────

    async def make(
        self,
        directory: Directory,
        name: bytes,
        mode: int,
        owner: tuple[int, int],
        target: bytes,
        rdev: int,
    ) -> Inode:
        """Make a name on the host."""
        uid, gid = owner
        path = self.path_in(directory, name)
        if stat.S_ISLNK(mode):
            request = api.MakeSymlink(self.tree, path, target, uid, gid)
            found = await self.ask(request)
        else:
            found = await self.ask(api.MakeEntry(self.tree, path, mode, uid, gid))
        return self.inode(directory.volume, found, path)

    async def link(self, inode: Inode, directory: Directory, name: bytes) -> None:
        """link(2)."""
        new_path = self.path_in(directory, name)
        await self.ask(api.MakeLink(self.tree, self.path(inode), new_path))

    async def remove(self, dentry: Dentry) -> None:
        """unlink(2), rmdir(2); an open file keeps its handle."""
        inode = dentry.inode
        if isinstance(inode, File) and any(name.refs for name in inode.dentries):
            await self.ready(inode, write=False)
        is_directory = inode is not None and stat.S_ISDIR(inode.mode)
        await self.ask(api.Remove(self.tree, host_path(dentry), is_directory))

    async def move(self, old: Dentry, directory: Directory, name: bytes, flags: int) -> None:
        """renameat2(2)."""
        goal = self.path_in(directory, name)
        target = directory.children.get(name)
        if target is not None and isinstance(target.inode, File) and target.refs and not flags:
            await self.ready(target.inode, write=False)
        await self.ask(api.Move(self.tree, host_path(old), goal, flags))

    # ── content ─────────────────────────────────────────────────────────────────────────────

    async def write(self, file: File, offset: int, extents: Sequence[Extent]) -> int:
        """pwritev(2) to the host."""
        origin = origin_of(file)
        for last in (False, True):
            try:
                await self.ready(file, write=True)
                request = api.WriteFile(handle_of(origin), offset, list(extents))
                return await self.port.call(request)
            except PosixError as refusal:
                if refusal.errno != EBADF or last:
                    raise PosixError(
                        refusal.errno if refusal.errno in _WRITE_ERRORS else EIO
                    ) from None
                origin.handle = None
        raise PosixError(EIO)

    async def _handle(self, file: File, write: bool) -> int:
        """The handle of a file that is open here; if the host has lost it that is EIO."""
        try:
            await self.ready(file, write)
        except PosixError:
            raise PosixError(EIO) from None
        return handle_of(origin_of(file))

    async def truncate(self, file: File, length_bytes: int) -> None:
        """ftruncate(2)."""
        handle = await self._handle(file, write=True)
        await self.ask(api.TruncateFile(handle, length_bytes))

    async def allocate(self, file: File, mode: int, offset: int, length_bytes: int) -> None:
        """fallocate(2)."""
        handle = await self._handle(file, write=True)
        await self.ask(api.AllocateFile(handle, mode, offset, length_bytes))

    async def put(self, file: File, offset: int, content: bytes) -> int:
        """Nobody asks: it does not wait."""
        raise KernelBug("a bind takes content from RAM")

    async def set_xattr(self, inode: Inode, name: bytes, value: bytes | None) -> None:
        """They stay in memory: `core_xattr`."""

    async def sync(self, inode: Inode, data_only: bool) -> None:
        """fsync(2), fdatasync(2); of files only."""
        if isinstance(inode, File):
            await self.ask(api.SyncFile(await self._handle(inode, write=False), data_only))

    async def sync_all(self) -> None:
        """The host has it all, and writes it when it sees fit."""


_ATTRIBUTES = (
    "mode",
    "uid",
    "gid",
    "nlink",
    "size",
    "blocks",
    "atime_ns",
    "mtime_ns",
    "ctime_ns",
    "btime_ns",
    "stale_atime",
)
