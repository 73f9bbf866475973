"""A store of files on the host, through the host tree driver.

Read-only use (`forwards` false): the host is a lower layer that memory changes cover. What it said
is asked for again after a while (`core_follow`), by the stamp that every inode keeps. An inode
remembers the host path that it was found at, so it does not matter where its dentry moves.
Forwarding use: a read-write bind; host paths follow the dentries.

The host's inode numbers are kept. Other host file systems below the top get their own range, so
that numbers stay unique in the volume, whose device number is one.
"""

from __future__ import annotations

import stat
from errno import EBADF, EINVAL, EIO, EMFILE, ENFILE, ENODEV, ENOENT, ENOMEM, ENOTDIR, ESTALE
from typing import TYPE_CHECKING, TypeVar

from bus.errors import KernelBug, PosixError
from services.drivers.hosttree import api
from services.fs.api import StatFsReply
from services.fs.core_inode import Directory, File, Link, make_inode
from services.fs.core_volume import OVERLAY_MAGIC

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bus.core import Port
    from bus.message import Request
    from services.drivers.ram.api import Extent
    from services.fs.core_inode import Inode
    from services.fs.core_volume import Volume

R = TypeVar("R")

DEVICE_SHIFT = 48
_NOT_FOR_PROGRAMS = (EBADF, EMFILE, ENFILE, ESTALE, ENODEV)


class HostOrigin:
    """What the host knows an inode by."""

    __slots__ = ("handle", "key", "path", "stamp", "writable")

    def __init__(self, path: bytes, key: tuple[int, int]) -> None:
        self.key = key
        """Device and inode number."""
        self.path = path
        """Relative to the tree; where it was found."""
        self.handle: int | None = None
        """The driver's handle to its content, once that was wanted."""
        self.writable = False
        self.stamp: api.Stamp = (0, 0, 0, 0, 0)
        """As of when the inode was last described."""


def origin_of(inode: Inode) -> HostOrigin:
    """The origin of an inode that came from this kind of store."""
    origin = inode.origin
    if not isinstance(origin, HostOrigin):
        raise KernelBug(f"{inode!r} is not from the host")
    return origin


def handle_of(origin: HostOrigin) -> int:
    """The handle of an origin that is known to have one."""
    if origin.handle is None:
        raise KernelBug(f"no handle to {origin.path!r}")
    return origin.handle


def _stamp(found: api.HostStat) -> api.Stamp:
    return found.dev, found.ino, found.size, found.mtime_ns, found.ctime_ns


class HostStore:
    """Files below `tree`, an absolute host path; only read."""

    magic = OVERLAY_MAGIC

    def __init__(self, port: Port, tree: bytes) -> None:
        self.port = port
        self.tree = tree
        self._devices: dict[int, int] = {}

    async def ask(self, request: Request[R]) -> R:
        """Call the driver; what is wrong with the driver or its host, and no answer of a file
        system to a program, is EIO.
        """
        try:
            return await self.port.call(request)
        except PosixError as refusal:
            if refusal.errno in _NOT_FOR_PROGRAMS:
                raise PosixError(EIO) from None
            raise

    # ── names ───────────────────────────────────────────────────────────────────────────────

    async def top(self, volume: Volume) -> Inode:
        """The root's inode: a directory, or the one file that is bound."""
        found = await self.ask(api.Lstat(self.tree, b""))
        return self.inode(volume, found, b"")

    def path(self, inode: Inode) -> bytes:
        """Where the host has an inode, relative to the tree."""
        return origin_of(inode).path

    def path_in(self, directory: Directory, name: bytes) -> bytes:
        """The host path of a name in a directory."""
        above = self.path(directory)
        return above + b"/" + name if above else name

    async def lookup(self, directory: Directory, name: bytes) -> Inode | None:
        """lstat(2) of a name."""
        path = self.path_in(directory, name)
        found = await self._status(path)
        return None if found is None else self.inode(directory.volume, found, path)

    async def _status(self, path: bytes) -> api.HostStat | None:
        try:
            return await self.ask(api.Lstat(self.tree, path))
        except PosixError as refusal:
            if refusal.errno in (ENOENT, ENOTDIR):
                return None
            raise

    async def unchanged(self, inode: Inode) -> bool:
        """Whether the host still has the file as it was described."""
        origin = origin_of(inode)
        return await self.port.call(api.Unchanged(self.tree, origin.path, origin.stamp))

    async def renew(self, inode: Inode, path: bytes | None = None) -> bool:
        """Describe the file again, if it is still the same; says whether it is.

        Attributes that were changed in memory stay, and content. A directory is the same if there
        is one.
        """
        origin = origin_of(inode)
        path = origin.path if path is None else path
        found = await self._status(path)
        if found is None or stat.S_IFMT(found.mode) != stat.S_IFMT(inode.mode):
            return False
        if (found.dev, found.ino) != origin.key and not isinstance(inode, Directory):
            return False
        origin.path, origin.key = path, (found.dev, found.ino)
        if not inode.changed:
            self.describe(inode, found)
            return True
        if isinstance(inode, File) and inode.untouched:
            inode.size = inode.backed_bytes = found.size
            inode.blocks, inode.mtime_ns, inode.attr = found.blocks, found.mtime_ns, None
        origin.stamp = _stamp(found)
        return True

    def inode(self, volume: Volume, found: api.HostStat, path: bytes) -> Inode:
        """The inode that the host described, the known one if it has several names."""
        key = (found.dev, found.ino)
        several = found.nlink > 1 and not stat.S_ISDIR(found.mode)
        known = volume.known.get(key) if several else None
        if known is not None:
            return known
        inode = self.fresh(volume, found, path)
        if several:
            volume.known[key] = inode
            volume.keys[inode] = key
        return inode

    def fresh(self, volume: Volume, found: api.HostStat, path: bytes) -> Inode:
        """An inode as the host described it."""
        inode = make_inode(volume, self._number(found), found.mode, found.uid, found.gid)
        inode.origin = HostOrigin(path, (found.dev, found.ino))
        self.describe(inode, found)
        return inode

    def describe(self, inode: Inode, found: api.HostStat) -> None:
        """Take over what the host says."""
        origin_of(inode).stamp = _stamp(found)
        inode.mode, inode.uid, inode.gid = found.mode, found.uid, found.gid
        inode.nlink, inode.rdev = found.nlink, found.rdev
        inode.size, inode.blocks = found.size, found.blocks
        inode.atime_ns, inode.mtime_ns = found.atime_ns, found.mtime_ns
        inode.ctime_ns = found.ctime_ns
        inode.btime_ns = min(found.mtime_ns, found.ctime_ns)
        inode.stale_atime = found.atime_ns <= max(found.mtime_ns, found.ctime_ns)
        inode.attr = None
        if isinstance(inode, File):
            inode.backed_bytes = found.size

    def _number(self, found: api.HostStat) -> int:
        devices = self._devices
        device = devices.setdefault(found.dev, len(devices))
        return found.ino | device << DEVICE_SHIFT

    async def entries(self, directory: Directory) -> dict[bytes, tuple[int, int]]:
        """All names of a directory."""
        names = await self.ask(api.ListDir(self.tree, self.path(directory)))
        device = directory.ino >> DEVICE_SHIFT << DEVICE_SHIFT
        return {entry.name: (entry.ino | device, entry.kind) for entry in names}

    async def target(self, link: Link) -> bytes:
        """readlink(2)."""
        try:
            return await self.ask(api.ReadLink(self.tree, self.path(link)))
        except PosixError as refusal:
            raise PosixError(EIO if refusal.errno == EINVAL else refusal.errno) from None

    # ── content ─────────────────────────────────────────────────────────────────────────────

    async def ready(self, file: File, write: bool) -> None:
        """Open the host's file, so that EACCES comes from open(2) and not from read(2)."""
        origin = origin_of(file)
        if origin.handle is None or (write and not origin.writable):
            old = origin.handle
            opened = await self.ask(api.OpenFile(self.tree, self.path(file), write))
            origin.handle, origin.writable = opened, write
            if old is not None:
                await self.port.call(api.CloseFile(old))

    async def fill(self, file: File, offset: int, extents: Sequence[Extent], patience: int) -> int:
        """preadv(2). What is no errno of read(2) becomes EIO; a handle lost is made again."""
        origin = origin_of(file)
        for last in (False, True):
            try:
                await self.ready(file, write=False)
                handle = handle_of(origin)
                request = api.ReadFile(handle, offset, list(extents), patience)
                return await self.port.call(request)
            except PosixError as refusal:
                if refusal.errno != EBADF or last:
                    raise PosixError(ENOMEM if refusal.errno == ENOMEM else EIO) from None
                origin.handle = None
        raise PosixError(EIO)

    async def space(self) -> StatFsReply | None:
        """statvfs(3) of the host's file system."""
        host = await self.ask(api.SpaceOf(self.tree))
        return StatFsReply(
            self.magic,
            host.block_bytes,
            host.blocks,
            host.free,
            host.available,
            host.files,
            host.files_free,
            0,
            host.name_max,
            0,
        )

    async def forget(self, inodes: Sequence[Inode]) -> None:
        """Close what is open."""
        for inode in inodes:
            origin = origin_of(inode)
            if origin.handle is not None:
                handle, origin.handle = origin.handle, None
                await self.port.call(api.CloseFile(handle))
