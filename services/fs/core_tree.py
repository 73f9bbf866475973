"""The tree of names: dentries, node numbers, volumes, and what may be forgotten.

Node numbers are never reused, so a stale one is always the caller's fault.

Dentries that came from a store are `clean`: they may be evicted, oldest first, while nothing
holds them. What is in memory only is never evicted.
"""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING

from bus.errors import KernelBug, MalformedRequest
from services.fs.core_frames import Frames
from services.fs.core_inode import (
    DIRENT_BYTES,
    FOREVER,
    Dentry,
    Directory,
    File,
    Inode,
    Link,
    Quota,
)
from services.fs.core_locks import Locks
from services.fs.core_paths import PathCache
from services.fs.core_volume import Volume
from services.fs.core_watch import Watches

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES_LIMIT = 65536
INODES_LIMIT = 1 << 20
NAMES_NS = 10**9
"""What a store said of a name is believed for so long."""


class Tree:
    """Everything that fs keeps but waiting callers."""

    def __init__(
        self,
        memory_limit_pages: int,
        cache_limit_pages: int,
        names_limit: int = NAMES_LIMIT,
        inodes_limit: int = INODES_LIMIT,
    ) -> None:
        self.inodes = Quota(inodes_limit)
        self.nodes: dict[int, Dentry] = {}
        self.frames = Frames(memory_limit_pages, cache_limit_pages)
        self.volumes: dict[int, Volume] = {}
        self.root: Dentry
        self.paths = PathCache()
        self.clean: dict[Dentry, None] = {}
        self.names_limit = names_limit
        self.names = 0
        self.name_hits = 0
        self.name_misses = 0
        self.names_evicted = 0
        self.watches = Watches()
        self.locks = Locks()
        self.orphans: list[Inode] = []
        """Inodes with a store that left memory and that their stores must be told of."""
        self.turn = 1
        """Counts requests that walked; what a volatile store confirms is good for one."""
        self.ticks: Callable[[], int] = time.monotonic_ns
        """A clock that only the freshness of what stores said hangs on."""
        self.fresh_after = 0
        """Names that were confirmed before this must be asked for again in this request."""
        self._next_node = 1
        self._next_volume = 1
        self.nameless = self.new_volume("tmpfs", b"memfd", "")
        """Where memory files without a name are; it is not mounted."""

    def begin(self) -> None:
        """A request that walks begins."""
        self.turn += 1
        now = self.ticks()
        self.fresh_after = now - NAMES_NS
        if now > self.paths.until_ns:
            self.paths.clear()
            self.paths.until_ns = now + NAMES_NS

    # ── nodes ───────────────────────────────────────────────────────────────────────────────

    def dentry(self, node: int) -> Dentry:
        """What a node number names; MalformedRequest where it names nothing."""
        try:
            return self.nodes[node]
        except KeyError:
            raise MalformedRequest(f"fs: no node {node}") from None

    def inode(self, node: int) -> Inode:
        """The inode behind a node number."""
        inode = self.dentry(node).inode
        if inode is None:
            raise KernelBug(f"node {node} names nothing")
        return inode

    def hold(self, dentry: Dentry) -> int:
        """One more reference; replies with the node number."""
        if dentry.refs:
            dentry.refs += 1
            return dentry.node
        dentry.refs = 1
        dentry.node = node = self._next_node
        self._next_node = node + 1
        self.nodes[node] = dentry
        return node

    def release(self, node: int) -> None:
        """One reference less."""
        following: Dentry | None = self.dentry(node)
        while following is not None:
            dentry, following = following, None
            dentry.refs -= 1
            if not dentry.refs:
                del self.nodes[dentry.node]
                self._unused(dentry.inode)
                if not dentry.linked:
                    following = self._let_go(dentry)

    def nodes_of(self, inode: Inode) -> list[int]:
        """The numbers under which others know an inode."""
        return [dentry.node for dentry in inode.dentries if dentry.refs]

    def _unused(self, file: Inode | None) -> None:
        if isinstance(file, File) and file.known_to_vm and not self.nodes_of(file):
            file.known_to_vm = False
            file.mapped.clear()

    # ── names ───────────────────────────────────────────────────────────────────────────────

    def attach(self, parent: Dentry, name: bytes, inode: Inode | None) -> Dentry:
        """Put a name into a directory, in place of a negative entry if there is one."""
        directory = parent.inode
        if not isinstance(directory, Directory):
            raise KernelBug(f"{parent!r} is no directory")
        dentry = Dentry(name, parent, inode)
        old = directory.children.get(name)
        if old is None:
            self.names += 1
        elif old.inode is None:
            dentry.hides = old.hides
            self._unlink_entry(old)
        else:
            raise KernelBug(f"{name!r} is in {parent!r} already")
        directory.children[name] = dentry
        directory.charge()
        if inode is not None:
            inode.dentries.append(dentry)
            if directory.order is not None:
                directory.order.add(name)
        return dentry

    def detach(self, dentry: Dentry) -> None:
        """Take a name out of its directory, leaving a whiteout where the store has it too."""
        parent, inode = dentry.parent, dentry.inode
        if parent is None or inode is None or not isinstance(parent.inode, Directory):
            raise KernelBug(f"{dentry!r} cannot be removed")
        self._vacate(dentry, parent, parent.inode)
        self._unlink_entry(dentry)
        if isinstance(inode, Link):
            self.paths.clear()
        if dentry.refs:
            self.pin(dentry)
        else:
            self._let_go(dentry)

    def pin(self, dentry: Dentry) -> None:
        """An unlinked dentry keeps its directory: `..` and its path still lead there."""
        if dentry.parent is not None:
            self.hold(dentry.parent)
            dentry.pins = True

    def move(self, dentry: Dentry, parent: Dentry, name: bytes) -> None:
        """Give a dentry another place; what is there must be a negative entry or nothing."""
        old_parent, directory = dentry.parent, parent.inode
        if old_parent is None or not isinstance(old_parent.inode, Directory):
            raise KernelBug(f"{dentry!r} cannot be moved")
        if not isinstance(directory, Directory):
            raise KernelBug(f"{parent!r} is no directory")
        self._vacate(dentry, old_parent, old_parent.inode)
        self._put(dentry, parent, directory, name)
        self.clean.pop(dentry, None)
        self.paths.forget(dentry)
        if isinstance(dentry.inode, Directory | Link):
            self.paths.clear()

    def exchange(self, one: Dentry, other: Dentry) -> None:
        """Two dentries swap places."""
        first, second = one.parent, other.parent
        if first is None or second is None:
            raise KernelBug("roots cannot be exchanged")
        for dentry, directory, name, hides in (
            (one, second, other.name, other.hides),
            (other, first, one.name, one.hides),
        ):
            if not isinstance(directory.inode, Directory):
                raise KernelBug(f"{directory!r} is no directory")
            dentry.rename(name)
            dentry.parent, dentry.hides = directory, hides
            dentry.seen_ns = FOREVER
            directory.inode.children[name] = dentry
            self.clean.pop(dentry, None)
        self.paths.clear()

    def _put(self, dentry: Dentry, parent: Dentry, directory: Directory, name: bytes) -> None:
        old = directory.children.get(name)
        if old is None:
            self.names += 1
            dentry.hides = False
        else:
            if old.inode is not None:
                raise KernelBug(f"{name!r} is in the way of {dentry!r}")
            dentry.hides = old.hides
            self._unlink_entry(old)
        dentry.rename(name)
        dentry.parent, dentry.seen_ns = parent, FOREVER
        directory.children[name] = dentry
        directory.charge()
        if directory.order is not None:
            directory.order.add(name)

    def _vacate(self, dentry: Dentry, parent: Dentry, directory: Directory) -> None:
        name = dentry.name
        if dentry.hides:
            whiteout = directory.children[name] = Dentry(name, parent, None)
            whiteout.hides = whiteout.secret = True
        else:
            del directory.children[name]
            self.names -= 1
            if directory.listed is not None:
                directory.listed.pop(name, None)
        if directory.order is not None:
            directory.order.remove(name)

    def _unlink_entry(self, dentry: Dentry) -> None:
        dentry.linked = False
        self.paths.forget(dentry)
        self.clean.pop(dentry, None)

    def remember(self, parent: Dentry, name: bytes, inode: Inode | None) -> None:
        """What a store said about a name; nothing if the name has come up meanwhile."""
        directory = parent.inode
        if not isinstance(directory, Directory) or not parent.linked or name in directory.children:
            if inode is not None and not inode.dentries:
                self._drop(inode)
            return
        if inode is None and directory.listed is not None:
            directory.listed.pop(name, None)  # it was listed and has gone since
            if directory.order is not None:
                directory.order.remove(name)
        dentry = self.attach(parent, name, inode)
        dentry.hides = inode is not None
        dentry.seen_ns = FOREVER if directory.volume.private else self.ticks()
        if inode is not None and not inode.changed:
            inode.checked_ns = dentry.seen_ns
        self.clean[dentry] = None
        if len(self.clean) > self.names_limit:
            self.evict_names(self.names_limit // 8, spare=dentry)

    def resize(self, directory: Inode, entries: int, now_ns: int) -> None:
        """A directory got `entries` more names (fewer where negative)."""
        directory.modify(now_ns)
        if directory.volume.store is None:
            directory.size += entries * DIRENT_BYTES

    def prune(self, dentry: Dentry) -> None:
        """A store says that a name is gone, and with it everything beneath."""
        if isinstance(dentry.inode, Directory):
            self.prune_below(dentry.inode)
        dentry.hides = False
        self.detach(dentry)

    def prune_below(self, directory: Directory) -> None:
        """The same for everything in a directory, the deepest first."""
        order: list[Dentry] = []
        todo = [directory]
        while todo:
            below = [d for d in todo.pop().children.values() if d.inode is not None]
            order += below
            todo += [d.inode for d in below if isinstance(d.inode, Directory)]
        for dentry in reversed(order):
            dentry.hides = False
            self.detach(dentry)

    def forgettable(self, dentry: Dentry) -> bool:
        """Whether nothing at or below a name is only in memory, or mounted."""
        todo = [dentry]
        while todo:
            here = todo.pop()
            inode = here.inode
            if here.mounted is not None or here.secret:
                return False
            if inode is None:
                continue
            if inode.changed or inode.origin is None:
                return False
            if isinstance(inode, Directory):
                todo += inode.children.values()
        return True

    def evict_absence(self, dentry: Dentry) -> None:
        """Forget that a store did not have a name."""
        parent = dentry.parent
        if dentry.inode is not None or parent is None or not isinstance(parent.inode, Directory):
            raise KernelBug(f"{dentry!r} is no absence")
        self._evict(dentry)

    # ── forgetting ──────────────────────────────────────────────────────────────────────────

    def evict_names(self, count: int, spare: Dentry | None = None) -> int:
        """Forget up to `count` names that a store can give again; replies with how many went."""
        gone = 0
        for dentry in list(islice(self.clean, 4 * count)):
            if gone >= count:
                break
            del self.clean[dentry]
            if dentry is spare or not self._evictable(dentry):
                self.clean[dentry] = None
                continue
            self._evict(dentry)
            gone += 1
        self.names_evicted += gone
        return gone

    def _evictable(self, dentry: Dentry) -> bool:
        if dentry.refs or dentry.mounted is not None or dentry.secret:
            return False
        inode = dentry.inode
        if inode is None:
            return True
        if inode.held or len(inode.dentries) > 1:
            return False
        if isinstance(inode, Directory):
            return not inode.children
        return not isinstance(inode, File) or not inode.dirty

    def _evict(self, dentry: Dentry) -> None:
        parent = dentry.parent
        if parent is None or not isinstance(parent.inode, Directory):
            raise KernelBug(f"{dentry!r} is in the cache without a directory")
        del parent.inode.children[dentry.name]
        self.names -= 1
        self._unlink_entry(dentry)
        self._let_go(dentry)

    def _let_go(self, dentry: Dentry) -> Dentry | None:
        """Neither linked nor referenced: break the cycle, and drop the inode with its last.

        Replies with the directory that it kept, which now has a reference too many.
        """
        inode = dentry.inode
        if inode is not None:
            inode.dentries.remove(dentry)
            if not inode.dentries:
                self._drop(inode)
        dentry.inode = None
        return dentry.parent if dentry.pins else None

    def _drop(self, inode: Inode) -> None:
        volume = inode.volume
        if inode in volume.keys:
            if inode.nlink and inode.held:
                return  # another name of it is still in the store
            del volume.known[volume.keys.pop(inode)]
        if inode.watches is not None:
            self.watches.gone(inode)
        if inode.locks is not None:
            self.locks.forget(inode)
        if isinstance(inode, File):
            self.drop_pages(inode)
        elif isinstance(inode, Directory):
            self._drop_absences(inode)
        if inode.origin is not None:
            self.orphans.append(inode)

    def _drop_absences(self, directory: Directory) -> None:
        for child in directory.children.values():
            if child.inode is not None:
                raise KernelBug(f"{directory!r} is dropped with {child!r} in it")
            self._unlink_entry(child)
        self.names -= len(directory.children)
        directory.children.clear()

    def drop_pages(self, file: File) -> None:
        """Every page of a file leaves the cache."""
        kept = len(file.dirty) if file.origin is not None else len(file.pages)
        self.frames.charge(file.volume, -kept)
        self.frames.give_up([pfn for pfn in file.pages.values() if pfn])
        file.pages.clear()
        file.dirty.clear()
        file.charge()
        self.frames.clean.pop(file, None)

    # ── volumes ─────────────────────────────────────────────────────────────────────────────

    def new_volume(self, kind: str, source: bytes, options: str) -> Volume:
        """A volume that is not mounted yet and has no root."""
        number = self._next_volume
        self._next_volume = number + 1
        return Volume(number, kind, source, options, self.inodes)

    def mount(self, volume: Volume, root: Inode, covers: Dentry | None) -> None:
        """Put a volume's root over a dentry; without one it becomes the root of all."""
        top = volume.root = Dentry(b"", None, root)
        root.dentries.append(top)
        self.names += 1
        volume.covers = covers
        if covers is None:
            self.root = top
        else:
            covers.mounted = top
            self.hold(covers)
        self.volumes[volume.id] = volume
        self.paths.clear()

    def unmount(self, volume: Volume) -> None:
        """Take a volume off that nothing refers to; all that it had in memory goes."""
        covers, root = volume.covers, volume.root
        if covers is None or root.inode is None:
            raise KernelBug(f"volume {volume.id} is not mounted")
        if isinstance(root.inode, Directory):
            self.prune_below(root.inode)
        del self.volumes[volume.id]
        covers.mounted = None
        root.linked = False
        root.inode.nlink = 0
        self.names -= 1
        self._let_go(root)
        for inode in list(volume.keys):
            inode.nlink = 0
            self._drop(inode)
        self.release(covers.node)
        self.paths.clear()
