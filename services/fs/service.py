"""The file system service: takes requests, calls the core, replies.

Handlers are grouped by what they are about, in `handle_*.py`; this file puts them together and
mounts what the kernel boots with. A handler that needs nothing from outside never checkpoints: it
runs inside the trap.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from typing import TYPE_CHECKING, Any

import attrs
import trio

from bus.core import Port
from bus.errors import KernelBug, PosixError
from services.fs import api, costs, devtree
from services.fs.api import Cred
from services.fs.core_check import check
from services.fs.core_inode import File
from services.fs.core_pages import PageCache
from services.fs.core_tree import Tree
from services.fs.diskport import open_disk
from services.fs.diskwriter import TEND_S, DiskWriter
from services.fs.ext4.device import Prompt
from services.fs.forward import Forwarder
from services.fs.handle_data import DataHandlers
from services.fs.handle_extra import ExtraHandlers
from services.fs.handle_names import NameHandlers
from services.fs.handle_nodes import NodeHandlers
from services.fs.handle_waits import WaitHandlers
from services.fs.mounting import MountHandlers
from services.fs.supply import Supply

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from services.drivers.ram.api import Ram
    from services.fs.ext4.device import BlockDevice, WaitingDevice

ROOT = Cred(0, 0)


@attrs.frozen
class MountSpec:
    """One mount at boot, as in `api.Mount`; a mount point that is not there is made."""

    target: bytes
    kind: str = "tmpfs"
    source: bytes = b""
    options: str = ""
    read_only: bool = False


@attrs.frozen
class BootFile:
    """A regular file that is written into the root at boot, in place of what has its name there."""

    path: bytes
    content: bytes
    mode: int = 0o644
    only_missing: bool = False
    """What has its name stays."""


SYSTEM_MOUNTS = (
    MountSpec(b"/proc", "foreign", b"proc", "proc"),
    MountSpec(b"/sys", "tmpfs", b"sysfs"),
    MountSpec(b"/dev", "tmpfs", b"devtmpfs"),
)
"""What covers the host's own: nothing of its devices and processes shows through."""


@attrs.frozen
class Kept:
    """What outlives an incarnation: the tree with all that refers to it, and who waits for what."""

    supply: Supply
    forward: Forwarder
    mounting: MountHandlers
    waits: WaitHandlers


class FsService:
    """Serves "fs".

    `root` and `mounts` are mounted by `start`. Files in memory may take `memory_share` of RAM, the
    page cache with them `cache_share`, and their inodes half of `heap_bytes`, the kernel's heap.
    Guests may mount host trees only from below `host_sources`. `files` are written into the root
    before anything is mounted over it. `disk` is what ext4 volumes are on: the driver, or one that
    needs no driver. `kept` is what an earlier incarnation has left, if there is one. `ticks` (ns)
    tells how old is what stores said: a function and no request to the clock, as every open asks
    it.
    """

    def __init__(
        self,
        ram: Ram,
        vm_port: Port,
        hosttree_port: Port,
        clock_port: Port,
        root: MountSpec | None = None,
        mounts: Sequence[MountSpec] = SYSTEM_MOUNTS,
        *,
        memory_share: float = 0.5,
        cache_share: float = 0.75,
        heap_bytes: int = 256 << 20,
        host_sources: Sequence[bytes] = (),
        files: Sequence[BootFile] = (),
        disk: Port | BlockDevice | None = None,
        ticks: Callable[[], int] = time.monotonic_ns,
        kept: Kept | None = None,
    ) -> None:
        costs.measure()
        self._fresh = kept is None
        if kept is None:
            tree = Tree(
                int(ram.frames * memory_share),
                int(ram.frames * cache_share),
                inodes_limit=costs.most_inodes(heap_bytes),
            )
            tree.ticks = ticks
            supply = Supply(ram, tree, PageCache(ram, tree.frames), vm_port, clock_port)
            forward = Forwarder(supply)
            open_disk = None if disk is None else self._open_disk
            kept = Kept(
                supply,
                forward,
                MountHandlers(supply, hosttree_port, host_sources, open_disk, forward),
                WaitHandlers(supply),
            )
        self._kept = kept
        self.supply, self.mounting, self._forward = kept.supply, kept.mounting, kept.forward
        self.tree, self.cache = self.supply.tree, self.supply.cache
        self._root = root or MountSpec(b"/", "tmpfs", b"rootfs")
        self._mounts = tuple(mounts)
        self._files = tuple(files)
        self._disk = disk
        forward = self._forward
        self.handlers: dict[type[Any], Callable[[Any], Awaitable[Any]]] = {
            **NodeHandlers(self.supply, forward).handlers,
            **NameHandlers(self.supply, forward).handlers,
            **DataHandlers(self.supply, forward).handlers,
            **ExtraHandlers(self.supply).handlers,
            **kept.waits.handlers,
            **self.mounting.handlers,
        }

    def keep(self) -> Kept:
        """The tree, open files, locks, pages, volumes; calls in flight go on with them."""
        return self._kept

    async def _open_disk(self) -> WaitingDevice:
        if isinstance(self._disk, Port):
            return await open_disk(self._disk)
        if self._disk is None:
            raise KernelBug("there is no disk")
        return Prompt(self._disk, self.supply.ram)

    async def start(self) -> None:
        """Mount the root and the rest, unless an earlier incarnation has done so."""
        if not self._fresh:
            check(self.tree)
            return
        self._fresh = False
        await self.mount(self._root)
        for file in self._files:
            await self._write(file)
        for spec in self._mounts:
            await self.mount(spec)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Commit what has become old on disks, until cancelled; with no disk nothing is to do."""
        task_status.started()
        while self._disk is not None:
            writers = [one for one in self.mounting.disks if isinstance(one, DiskWriter)]
            if not writers:
                await trio.sleep(TEND_S)
            for store in writers:
                await store.tend()

    async def stop(self) -> None:
        """Write everything that is for a disk, and leave the volumes on it sound."""
        for inode in dict.fromkeys(dentry.inode for dentry in self.tree.nodes.values()):
            if isinstance(inode, File) and inode.dirty and inode.volume.private:
                with contextlib.suppress(PosixError):
                    await self._forward.flush(inode)
        while self.mounting.disks:
            await self.mounting.disks.pop().close()

    async def _write(self, file: BootFile) -> None:
        """Write a file as root, making its directory where it is missing; a link is replaced.

        Where there can be no such file, there is none.
        """
        root = await self.handlers[api.RootNode](api.RootNode())
        at = api.At(root, root)
        parent = file.path.rpartition(b"/")[0]
        with contextlib.suppress(PosixError):
            await self.handlers[api.MakeDir](api.MakeDir(at, parent, 0o755, ROOT))
        with contextlib.suppress(PosixError):
            if not file.only_missing:
                await self.handlers[api.Unlink](api.Unlink(at, file.path, False, ROOT))
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with contextlib.suppress(PosixError):
            made = await self.handlers[api.Open](api.Open(at, file.path, flags, file.mode, ROOT))
            await self.handlers[api.WriteBytes](api.WriteBytes(made.node, 0, file.content))
            await self.handlers[api.Close](api.Close(made.node, True))
        await self.handlers[api.Release](api.Release(root))

    async def mount(self, spec: MountSpec) -> None:
        """Mount at boot, as root, making the mount point where it is missing."""
        volume, top = await self.mounting.volume(
            spec.kind, spec.source, spec.options, spec.read_only
        )
        now = await self.supply.now()
        if spec.target == b"/":
            self.tree.mount(volume, top, None)
            return
        is_directory = stat.S_ISDIR(top.mode)
        covers = await self.mounting.mount_point(spec.target, is_directory, now)
        self.tree.mount(volume, top, covers)
        if spec.target == b"/dev" and spec.kind == "tmpfs":
            devtree.populate(self.tree, volume.root, now)
