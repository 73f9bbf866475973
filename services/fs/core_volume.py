"""Volumes: one mounted file system each, and the seam to what backs it.

A volume is mounted in exactly one place. `store` is None for tmpfs, where memory is all there is.
A plain `Store` is only read, and all changes stay in memory. A `ForwardingStore` (also in
`through`) gets every change before memory does: a read-write bind; a disk's file system fits here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.drivers.ram.api import Extent
    from services.fs.api import StatFsReply
    from services.fs.core_inode import Dentry, Directory, File, Inode, Link, Quota

NEW_INO = 0x7FFF << 48
"""Inode numbers made here for files that a backed volume did not have."""

TMPFS_MAGIC = 0x01021994
OVERLAY_MAGIC = 0x794C7630
V9FS_MAGIC = 0x01021997


Pair = tuple[int | None, int | None]


class Store(Protocol):
    """What a volume's files come from. Every method may raise PosixError."""

    async def top(self, volume: Volume) -> Inode:
        """The root's inode."""

    async def lookup(self, directory: Directory, name: bytes) -> Inode | None:
        """A fresh inode (or the one already known for a hard link) for a name, None if absent."""

    async def unchanged(self, inode: Inode) -> bool:
        """Whether the store still has the file as this inode describes it."""

    async def renew(self, inode: Inode, path: bytes | None = None) -> bool:
        """Describe it again, by another of its names if given; false if it is another file."""

    def path_in(self, directory: Directory, name: bytes) -> bytes:
        """What the store knows a name of a directory by."""

    async def entries(self, directory: Directory) -> dict[bytes, tuple[int, int]]:
        """All names, in an order that only the content decides, with (ino, DT_* kind)."""

    async def target(self, link: Link) -> bytes:
        """Where a symbolic link points."""

    async def ready(self, file: File, write: bool) -> None:
        """The file is being opened: find out now whether its content can be had."""

    async def fill(self, file: File, offset: int, extents: Sequence[Extent], patience: int) -> int:
        """Read content into RAM; short only at the end of what the store has.

        `patience` is NOW, BLOCKING or ASIDE (hosttree's api), and so is a reply of WOULD_WAIT.
        """

    async def space(self) -> StatFsReply | None:
        """statfs(2), if it is the store that knows."""

    async def forget(self, inodes: Sequence[Inode]) -> None:
        """These inodes have left memory."""


class ForwardingStore(Store, Protocol):
    """A store that gets every change before memory does.

    If it `waits`, others may run before it has taken a change: content is copied for it first.
    """

    waits: bool

    async def refresh(self, inode: Inode) -> bool:
        """Take the attributes from the store again; says whether the content changed too."""

    def adopt(self, inode: Inode, fresh: Inode) -> bool:
        """The same from an inode that `lookup` has just made for the same file."""

    def settle(self, fresh: Inode) -> tuple[Inode, bool]:
        """The inode by which memory knows the file of one that `lookup` made; as `adopt`."""

    async def make(
        self,
        directory: Directory,
        name: bytes,
        mode: int,
        owner: tuple[int, int],
        target: bytes,
        rdev: int,
    ) -> Inode:
        """A new file of any kind: a symbolic link to `target`, a device of number `rdev`."""

    async def link(self, inode: Inode, directory: Directory, name: bytes) -> None:
        """A second name."""

    async def remove(self, dentry: Dentry) -> None:
        """unlink(2) or rmdir(2), by what it is."""

    async def move(self, old: Dentry, directory: Directory, name: bytes, flags: int) -> None:
        """renameat2(2)."""

    async def set_attr(self, inode: Inode, mode: int | None, owner: Pair, times: Pair) -> None:
        """chmod(2), chown(2) with (uid, gid), utimensat(2) with (atime, mtime) in ns."""

    async def write(self, file: File, offset: int, extents: Sequence[Extent]) -> int:
        """Write content from RAM; replies with the bytes written. For who does not wait."""

    async def put(self, file: File, offset: int, content: bytes) -> int:
        """Write content; replies with the bytes written. For who waits."""

    async def truncate(self, file: File, length_bytes: int) -> None:
        """ftruncate(2)."""

    async def allocate(self, file: File, mode: int, offset: int, length_bytes: int) -> None:
        """fallocate(2)."""

    async def set_xattr(self, inode: Inode, name: bytes, value: bytes | None) -> None:
        """setxattr(2), or removexattr(2) where `value` is None."""

    async def sync(self, inode: Inode, data_only: bool) -> None:
        """fsync(2)."""

    async def sync_all(self) -> None:
        """sync(2)."""


class Volume:
    """A mounted file system."""

    __slots__ = (
        "covers",
        "dev",
        "foreign",
        "id",
        "keys",
        "kind",
        "known",
        "limit_pages",
        "next_ino",
        "no_exec",
        "options",
        "private",
        "quota",
        "read_only",
        "root",
        "source",
        "store",
        "through",
        "used_pages",
        "volatile",
    )

    def __init__(self, number: int, kind: str, source: bytes, options: str, quota: Quota) -> None:
        self.id = number
        self.kind = kind
        self.source = source
        self.options = options
        self.dev = number
        """Major 0, minor the volume's number, as Linux numbers file systems without a device."""
        self.read_only = False
        self.no_exec = False
        self.foreign: str | None = None
        """Who serves it, where that is not this service."""
        self.store: Store | None = None
        self.through: ForwardingStore | None = None
        """The same store, if it takes changes."""
        self.volatile = False
        """Others change the store too: names are asked for again with every request."""
        self.root: Dentry
        self.private = False
        """Nobody else changes the store: what it said stays true."""
        self.covers: Dentry | None = None
        """The directory (or file) that it is mounted on; None for the root volume."""
        self.next_ino = 1
        self.limit_pages: int | None = None
        self.quota = quota
        self.used_pages = 0
        """Pages that only memory has."""
        self.known: dict[object, Inode] = {}
        """Inodes with several names in the store, by the store's own key."""
        self.keys: dict[Inode, object] = {}
        """The inverse of `known`."""

    def new_ino(self) -> int:
        """A number for a file that is made here."""
        number = self.next_ino
        self.next_ino += 1
        return number if self.store is None else NEW_INO | number
