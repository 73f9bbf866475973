"""Handlers of mount(2), umount(2) and the table of mounts; and mounting at boot."""

from __future__ import annotations

import stat
from errno import ENODEV
from typing import TYPE_CHECKING, Any

from bus.errors import PosixError
from services.fs.api import Cred
from services.fs.bindstore import BindStore
from services.fs.core_inode import Directory, Inode
from services.fs.core_names import commit_make, directory_of, new_inode
from services.fs.core_walk import entry
from services.fs.hoststore import HostStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bus.core import Port
    from services.fs.core_inode import Dentry
    from services.fs.core_volume import Volume
    from services.fs.supply import Supply

ROOT = Cred(0, 0)


class MountHandlers:
    """The table of mounts."""

    def __init__(self, supply: Supply, hosttree: Port) -> None:
        self._supply = supply
        self._tree = supply.tree
        self._hosttree = hosttree
        self.handlers: dict[type[Any], Callable[[Any], Awaitable[Any]]] = {}

    async def volume(
        self, kind: str, source: bytes, options: str, read_only: bool
    ) -> tuple[Volume, Inode]:
        """A volume that is not mounted yet, and its root's inode."""
        if kind not in ("tmpfs", "hosttree", "foreign"):
            raise PosixError(ENODEV)
        volume = self._tree.new_volume(kind, source, options)
        words = options.split(",")
        volume.read_only = read_only or "ro" in words
        volume.no_exec = "noexec" in words
        if kind == "hosttree":
            if "rw" in words:
                bind = BindStore(self._hosttree, source)
                volume.store = volume.through = bind
                volume.volatile = True
            else:
                volume.store = HostStore(self._hosttree, source)
            return volume, await volume.store.top(volume)
        if kind == "foreign":
            volume.foreign = options
        top = Directory(volume, volume.new_ino(), stat.S_IFDIR | 0o755, 0, 0)
        now = await self._supply.now()
        top.atime_ns = top.mtime_ns = top.ctime_ns = top.btime_ns = now
        top.changed = True
        return volume, top

    async def mount_point(self, target: bytes, is_directory: bool, now_ns: int) -> Dentry:
        """The dentry at an absolute path, made where it is missing (boot only)."""
        tree = self._tree
        here = tree.root
        names = [name for name in target.split(b"/") if name]
        for depth, name in enumerate(names, 1):
            parent = here
            found = await self._supply.run(lambda p=parent, n=name: entry(tree, p, n))  # type: ignore[misc]
            if found is None:
                last = depth == len(names)
                kind = stat.S_IFDIR if is_directory or not last else stat.S_IFREG
                inode = new_inode(directory_of(parent), kind | 0o755, ROOT, now_ns)
                found = commit_make(tree, parent, name, inode, now_ns)
            while found.mounted is not None:
                found = found.mounted
            here = found
        return here
