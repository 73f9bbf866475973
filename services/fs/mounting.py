"""Handlers of mount(2), umount(2) and the table of mounts; and mounting at boot.

Options are words separated by commas, as in mount(8): `ro`, `noexec`; for tmpfs `size=` (bytes,
with k, m, g or % of RAM), `mode=` (octal), `uid=`, `gid=`; for hosttree `rw`, which sends changes
through to the host (without it they stay in memory); for foreign the name of the service; for ext4
`sync`: each change is durable before it is over. `source` of an ext4 volume is only what it is
called: there is one disk.
"""

from __future__ import annotations

import os
import stat
from errno import EBUSY, EINVAL, ENODEV, ENOTDIR, EPERM
from typing import TYPE_CHECKING, Any

from bus.errors import PosixError
from services.fs import api
from services.fs.api import Cred, Foreign, MountInfo
from services.fs.bindstore import BindStore
from services.fs.core_inode import PAGE_BYTES, Directory, Inode, Quota
from services.fs.core_names import commit_make, directory_of, inode_of, new_inode
from services.fs.core_walk import entry, find, path_of
from services.fs.diskwriter import Clock, DiskWriter, attach, make_store
from services.fs.ext4.damage import Refused
from services.fs.ext4.device import perform_waiting
from services.fs.ext4.session import mount
from services.fs.forward import Forwarder
from services.fs.hoststore import HostStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from bus.core import Port
    from services.fs.core_inode import Dentry
    from services.fs.core_volume import Volume
    from services.fs.diskstore import DiskStore
    from services.fs.ext4.device import WaitingDevice
    from services.fs.supply import Supply

ROOT = Cred(0, 0)
_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def size_pages(text: str, ram_pages: int) -> int:
    """`size=` of tmpfs(5) in pages; ValueError if it is none."""
    if text.endswith("%"):
        return int(text[:-1]) * ram_pages // 100
    unit = _UNITS.get(text[-1:].lower(), 1)
    digits = text if unit == 1 else text[:-1]
    return (int(digits) * unit + PAGE_BYTES - 1) // PAGE_BYTES


def inodes_quota(text: str, whole: Quota) -> Quota:
    """`nr_inodes=` of tmpfs(5), of which 0 is all there are; ValueError if it is none."""
    unit = _UNITS.get(text[-1:].lower(), 1)
    count = int(text if unit == 1 else text[:-1]) * unit
    return Quota(count, whole) if count else whole


class NotMounted(PosixError):
    """An image cannot be mounted; `reason` says why, for who boots from it."""

    def __init__(self, number: int, source: bytes, why: Exception) -> None:
        super().__init__(number)
        self.reason = f"image {os.fsdecode(source)}: {why} (see: hardtack image check)"


class MountHandlers:
    """The table of mounts. Host trees can be mounted at run time only below `host_sources`."""

    def __init__(
        self,
        supply: Supply,
        hosttree: Port,
        host_sources: Sequence[bytes],
        disk: Callable[[], Awaitable[WaitingDevice]] | None = None,
        forward: Forwarder | None = None,
    ) -> None:
        self._supply = supply
        self._disk = disk
        self._forward = forward or Forwarder(supply)
        self.disks: list[DiskStore] = []
        """The stores that have to be closed, and those that write to be tended."""
        self._tree = supply.tree
        self._hosttree = hosttree
        self._host_sources = tuple(host_sources)
        self.handlers: dict[type[Any], Callable[[Any], Awaitable[Any]]] = {
            api.Mount: self.mount,
            api.Unmount: self.unmount,
            api.Mounts: self.mounts,
        }

    # ── making volumes ──────────────────────────────────────────────────────────────────────

    async def volume(
        self, kind: str, source: bytes, options: str, read_only: bool
    ) -> tuple[Volume, Inode]:
        """A volume that is not mounted yet, and its root's inode."""
        if kind not in ("tmpfs", "hosttree", "foreign", "ext4") or (kind, self._disk) == (
            "ext4",
            None,
        ):
            raise PosixError(ENODEV)
        volume = self._tree.new_volume(kind, source, options)
        words = [] if kind == "foreign" else [word for word in options.split(",") if word]
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
        if kind == "ext4":
            return volume, await self._on_disk(volume)
        if kind == "foreign":
            volume.foreign = options
        return volume, self._top(volume, words, await self._supply.now())

    async def _on_disk(self, volume: Volume) -> Inode:
        """The disk's volume and its root. EINVAL: there is none; EBUSY: it is mounted already."""
        if self._disk is None or any(one.kind == "ext4" for one in self._tree.volumes.values()):
            raise PosixError(EBUSY)
        device = await self._disk()
        clock = Clock(self._supply.now)
        await clock.look()
        steps = mount(device.sectors, device.read_only or volume.read_only, clock)
        try:
            session = await perform_waiting(device, steps)
        except Refused as refused:
            raise NotMounted(EINVAL, volume.source, refused) from refused
        except PosixError as failure:
            raise NotMounted(failure.errno, volume.source, failure) from failure
        if session.journal is not None:
            session.journal.barriers = device.lasting
        store = make_store(device, session, self._supply.ram, clock)
        attach(volume, store)
        if isinstance(store, DiskWriter):
            store.at_once = "sync" in volume.options.split(",")
        self.disks.append(store)
        return await store.top(volume)

    def _top(self, volume: Volume, words: Sequence[str], now_ns: int) -> Inode:
        top = Directory(volume, volume.new_ino(), stat.S_IFDIR | 0o755, 0, 0)
        top.atime_ns = top.mtime_ns = top.ctime_ns = top.btime_ns = now_ns
        top.changed = True
        for word in words:
            name, _, value = word.partition("=")
            try:
                if name == "size":
                    volume.limit_pages = size_pages(value, self._supply.ram.frames)
                elif name == "nr_inodes":
                    volume.quota = inodes_quota(value, self._tree.inodes)
                elif name == "mode":
                    top.mode = stat.S_IFDIR | int(value, 8) & 0o7777
                elif name == "uid":
                    top.uid = int(value)
                elif name == "gid":
                    top.gid = int(value)
            except ValueError:
                raise PosixError(EINVAL) from None
        return top

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
                found = await self._make(parent, name, kind | 0o755, now_ns)
            while found.mounted is not None:
                found = found.mounted
            here = found
        return here

    async def _make(self, parent: Dentry, name: bytes, mode: int, now_ns: int) -> Dentry:
        """A mount point; where the volume cannot be written it is in memory only."""
        directory = directory_of(parent)
        if directory.volume.private and directory.volume.through is not None:
            made = await self._forward.make(parent, name, mode, ROOT, now_ns)
            self._tree.release(made.node)
            return made
        inode = new_inode(directory, mode, ROOT, now_ns)
        return commit_make(self._tree, parent, name, inode, now_ns)

    # ── handlers ────────────────────────────────────────────────────────────────────────────

    def _may_mount(self, request: api.Mount) -> bool:
        if request.kind != "hosttree":
            return True
        source = request.source
        return b".." not in source.split(b"/") and any(
            source == allowed or source.startswith(allowed.rstrip(b"/") + b"/")
            for allowed in self._host_sources
        )

    async def mount(self, request: api.Mount) -> None:
        """mount(2): a new volume over what `target` names."""
        if request.cred.uid != 0 or not self._may_mount(request):
            raise PosixError(EPERM)
        target = await self._target(request.at, request.target)
        made = await self.volume(request.kind, request.source, request.options, request.read_only)
        volume, top = made
        if isinstance(target.inode, Directory) != isinstance(top, Directory):
            await self._discard(volume, top)
            raise PosixError(ENOTDIR)
        if not target.linked or target.mounted is not None:
            await self._discard(volume, top)
            raise PosixError(EBUSY)
        self._tree.mount(volume, top, target)

    async def _discard(self, volume: Volume, top: Inode) -> None:
        if volume.store is not None:
            await volume.store.forget([top])

    async def _target(self, at: api.At, path: bytes) -> Dentry:
        tree = self._tree
        found = await self._supply.run(lambda: find(tree, at, path, ROOT, follow=True))
        if not isinstance(found, Foreign):
            return found
        if not found.rest:
            for volume in tree.volumes.values():
                if volume.foreign == found.name:
                    return volume.root
        raise PosixError(EINVAL)

    async def unmount(self, request: api.Unmount) -> None:
        """umount(2): EBUSY while anything on the volume is referred to or mounted over."""
        if request.cred.uid != 0:
            raise PosixError(EPERM)
        tree = self._tree
        top = await self._target(request.at, request.target)
        volume = inode_of(top).volume
        if top is not volume.root:
            raise PosixError(EINVAL)
        busy = any(inode_of(dentry).volume is volume for dentry in tree.nodes.values())
        if busy or volume.covers is None:
            raise PosixError(EBUSY)
        tree.unmount(volume)
        await self._supply.settle()
        for store in [one for one in self.disks if one is volume.store]:
            self.disks.remove(store)
            await store.close()

    async def mounts(self, request: api.Mounts) -> tuple[MountInfo, ...]:
        """What is mounted, in order of mounting."""
        tree = self._tree
        return tuple(
            MountInfo(
                volume.id,
                inode_of(volume.covers).volume.id if volume.covers is not None else 0,
                volume.source,
                path_of(volume.root, tree.root),
                volume.kind,
                _shown(volume),
                volume.dev,
            )
            for volume in tree.volumes.values()
        )


def _shown(volume: Volume) -> str:
    words = ["ro" if volume.read_only else "rw"]
    kept = volume.options.split(",") if volume.foreign is None else ()
    return ",".join([*words, *(word for word in kept if word not in ("", "ro", "rw"))])
