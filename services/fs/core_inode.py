"""Inodes and dentries: the tree in memory, whatever it is backed by.

An inode is a file's attributes and content; a dentry is a name for it in a directory, or, with no
inode, the knowledge that there is no such name. Dentries of a directory are its name cache and,
where nothing backs the directory, the directory itself.

Backing is lazy. `Inode.origin` is what the volume's store knows the inode by; None: it is in
memory only. A backed directory holds the entries that were looked up (`children`) and, once it
was listed, the store's names (`listed`); what is in `children` wins. A backed file takes its
first `backed_bytes` bytes from the store, but for pages that are in `pages`.

Invariants:
- `dentry.linked` exactly while `dentry.parent.inode.children[dentry.name] is dentry`, or it is
  the root of a volume.
- `inode.dentries` has every dentry that is linked or referenced (`refs > 0`) with that inode.
- `changed` is set when a store that is only read no longer has the truth: such an inode is never
  evicted.
- `attr` is the reply to stat(2) or None; whoever changes an attribute sets it to None.
"""

from __future__ import annotations

import stat
from errno import ENOSPC
from sys import getsizeof
from typing import TYPE_CHECKING, ClassVar

from bus.census import EMPTY_DICT, EMPTY_SET, Kind, kind
from bus.errors import PosixError
from services.fs.api import Attr

if TYPE_CHECKING:
    from services.fs.core_listing import Listing
    from services.fs.core_locks import FileLocks
    from services.fs.core_volume import Volume
    from services.fs.core_watch import WatchSet

PAGE_BYTES = 4096
DIRENT_BYTES = 20
"""What tmpfs counts for one entry in a directory's size."""


DENTRY = kind("fs", "dentry")
CACHED = kind("fs", "cached path")
"""An entry of `known_as`, which has the key, also when the caches have been cleared meanwhile."""
XATTR = kind("fs", "extended attribute")
NUMBER_BYTES = 32
"""What an integer above 256 takes."""
LISTED_BYTES = 208
"""What a name that was only listed takes beside its place in the table: name, number, kind."""
NO_PAGES = EMPTY_DICT + 2 * EMPTY_SET

FOREVER = 1 << 63
"""When what only memory has was last confirmed."""

PathKey = tuple[int, int, bytes, bool]
"""Root node, base node, path, and whether a link at its end is followed."""


class Dentry:
    """A name in a directory, with its inode; or with None, the name's absence."""

    __slots__ = (
        "hides",
        "inode",
        "known_as",
        "linked",
        "mounted",
        "name",
        "node",
        "parent",
        "pins",
        "refs",
        "secret",
        "seen_ns",
        "turn",
    )

    def __init__(self, name: bytes, parent: Dentry | None, inode: Inode | None) -> None:
        DENTRY.made()
        DENTRY.grew(len(name))
        self.known_as: list[tuple[dict[PathKey, Dentry], PathKey]] = []
        """Where the path caches have it."""
        self.name = name
        self.parent = parent
        self.inode = inode
        self.linked = True
        self.refs = 0
        self.node = 0
        """The number it is known by outside, while `refs` > 0."""
        self.mounted: Dentry | None = None
        """Root of the volume that covers it."""
        self.pins = False
        """Unlinked, it has a reference to its parent."""
        self.hides = False
        """The store has this name too."""
        self.secret = False
        """Absent although the store has it: a whiteout, which must not be evicted."""
        self.turn = 0
        """`Tree.turn` when a volatile store last confirmed it."""
        self.seen_ns = FOREVER
        """`Tree.ticks` when any other store last did."""

    def __del__(self) -> None:
        for _ in self.known_as:
            CACHED.freed()
        DENTRY.grew(-len(self.name))
        DENTRY.freed()

    def rename(self, name: bytes) -> None:
        """Another name; where it is found is the tree's business."""
        DENTRY.grew(len(name) - len(self.name))
        self.name = name

    def __repr__(self) -> str:
        return f"<Dentry {self.name!r} of {self.inode!r}>"


def xattr_kept(name: bytes, value: bytes) -> None:
    """Charge for an extended attribute."""
    XATTR.made()
    XATTR.grew(len(name) + len(value))


def xattr_gone(name: bytes, value: bytes) -> None:
    """It is no longer there."""
    XATTR.freed()
    XATTR.grew(-len(name) - len(value))


class Quota:
    """How many files with a name there may be that only memory has: such take heap for good.

    One without a name goes with its last descriptor, and the killer knows whose that is. `whole`
    is that of all volumes, for one that has a smaller one of its own.
    """

    __slots__ = ("count", "limit", "whole")

    def __init__(self, limit: int, whole: Quota | None = None) -> None:
        self.limit = limit
        self.whole = whole
        self.count = 0

    @property
    def room(self) -> int:
        """How many more there may be."""
        room = self.limit - self.count
        return max(room if self.whole is None else min(room, self.whole.room), 0)

    def check(self) -> None:
        """ENOSPC where there is no room for one more."""
        if not self.room:
            raise PosixError(ENOSPC)

    def add(self, count: int) -> None:
        """So many more, or fewer."""
        self.count += count
        if self.whole is not None:
            self.whole.add(count)


class Inode:
    """Attributes common to all kinds of files; FIFOs, sockets and devices are just this."""

    __slots__ = (
        "atime_ns",
        "attr",
        "blocks",
        "btime_ns",
        "changed",
        "checked_ns",
        "ctime_ns",
        "denied",
        "dentries",
        "gid",
        "ino",
        "locks",
        "mode",
        "mtime_ns",
        "nlink",
        "origin",
        "quota",
        "rdev",
        "size",
        "stale_atime",
        "uid",
        "volume",
        "watches",
        "xattrs",
    )
    heap: ClassVar[Kind] = kind("fs", "inode")

    def __init__(self, volume: Volume, ino: int, mode: int, uid: int, gid: int) -> None:
        self.heap.made()
        self.volume = volume
        self.ino = ino
        self.mode = mode
        self.nlink = 1
        self.uid = uid
        self.gid = gid
        self.rdev = 0
        self.size = 0
        self.blocks = 0
        self.atime_ns = self.mtime_ns = self.ctime_ns = self.btime_ns = 0
        self.stale_atime = True
        """The next read must set the access time (relatime of mount(8))."""
        self.attr: Attr | None = None
        self.dentries: list[Dentry] = []
        self.origin: object | None = None
        self.changed = False
        self.checked_ns = FOREVER
        """`Tree.ticks` when the store last had it as it is here."""
        self.denied = 0
        """How often it is being executed: writing is ETXTBSY."""
        self.watches: WatchSet | None = None
        self.xattrs: dict[bytes, bytes] | None = None
        self.locks: FileLocks | None = None
        self.quota: Quota | None = None
        """Where it is counted, if only memory has it."""

    def __del__(self) -> None:
        self.uncount()
        for name, value in (self.xattrs or {}).items():
            xattr_gone(name, value)
        self.heap.freed()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.ino} {stat.filemode(self.mode)}>"

    @property
    def held(self) -> bool:
        """Whether anything but names keeps it: then it must not be evicted."""
        if self.changed and self.volume.through is None:
            return True
        return self.watches is not None or self.locks is not None or self.denied > 0

    def block_count(self) -> int:
        """Blocks of 512 bytes that it takes."""
        return self.blocks

    def count_in(self, quota: Quota) -> None:
        """Only memory has it, and it has a name."""
        quota.add(1)
        self.quota = quota

    def uncount(self) -> None:
        """Its last name is gone."""
        if self.quota is not None:
            self.quota.add(-1)
            self.quota = None

    def stat(self) -> Attr:
        """The reply to stat(2), kept until something changes."""
        attr = self.attr
        if attr is None:
            attr = self.attr = Attr(
                self.ino,
                self.volume.dev,
                self.mode,
                self.nlink,
                self.uid,
                self.gid,
                self.rdev,
                self.size,
                self.block_count(),
                PAGE_BYTES,
                self.atime_ns,
                self.mtime_ns,
                self.ctime_ns,
                self.btime_ns,
            )
        return attr

    def modify(self, now_ns: int) -> None:
        """Content changed: mtime and ctime."""
        self.mtime_ns = self.ctime_ns = now_ns
        self.stale_atime = self.changed = True
        self.attr = None

    def touch(self, now_ns: int) -> None:
        """Attributes changed: ctime."""
        self.ctime_ns = now_ns
        self.stale_atime = self.changed = True
        self.attr = None


class File(Inode):
    """A regular file: its cached pages by index; page 0 of RAM (never given out) is a hole."""

    __slots__ = (
        "_charged",
        "backed_bytes",
        "dirty",
        "exposed",
        "hand",
        "known_to_vm",
        "mapped",
        "nameless",
        "pages",
        "recent",
        "seals",
        "writers",
    )
    heap = kind("fs", "file")

    def __init__(self, volume: Volume, ino: int, mode: int, uid: int, gid: int) -> None:
        super().__init__(volume, ino, mode, uid, gid)
        self._charged = NO_PAGES
        self.pages: dict[int, int] = {}
        self.dirty: set[int] = set()
        """Backed files only: pages the store has not got. A file in memory has only such."""
        self.backed_bytes = 0
        self.mapped: set[int] = set()
        """Pages that were handed out for mappings, some of which may be gone (`still_mapped`)."""
        self.known_to_vm = False
        """Pages were handed out since it was last unused: there may be mappings, and copies."""
        self.exposed = False
        """Pages were ever handed out: the cores may have translated code that is in them."""
        self.recent = False
        """Read since the eviction hand last came by."""
        self.hand = -1
        """The last page that was taken from mappings."""
        self.nameless = False
        """Made by O_TMPFILE: it may get a name."""
        self.seals = -1
        """F_SEAL_* of fcntl(2); -1: it takes none."""
        self.writers = 0
        """How often it is open for writing: executing it is ETXTBSY."""

    def __del__(self) -> None:
        self.heap.grew(NO_PAGES - self._charged)
        super().__del__()

    def charge(self) -> None:
        """Pages came or went: charge for what finds them (the frames themselves are no heap)."""
        pages = self.pages
        now = getsizeof(pages) + getsizeof(self.dirty) + getsizeof(self.mapped)
        now += 2 * NUMBER_BYTES * len(pages)
        self.heap.grew(now - self._charged)
        self._charged = now

    @property
    def backed_pages(self) -> int:
        """How many pages from the start the store can give."""
        return (self.backed_bytes + PAGE_BYTES - 1) // PAGE_BYTES

    @property
    def untouched(self) -> bool:
        """Whether all of its content is still the store's."""
        return (
            self.origin is not None
            and not self.dirty
            and self.backed_bytes == self.size
            and 0 not in self.pages.values()
        )

    def block_count(self) -> int:
        """What the store said while the content is unchanged, else what pages hold data."""
        if self.origin is not None and not self.dirty and self.backed_bytes == self.size:
            return self.blocks
        backed = self.backed_pages
        held = sum(1 for index, pfn in self.pages.items() if pfn and index >= backed)
        empty = sum(1 for index, pfn in self.pages.items() if not pfn and index < backed)
        return (backed - empty + held) * (PAGE_BYTES // 512)


class Directory(Inode):
    """Names. `children` are in the order in which they came."""

    __slots__ = ("_charged", "children", "listed", "listed_ns", "order")
    heap = kind("fs", "directory")

    def __init__(self, volume: Volume, ino: int, mode: int, uid: int, gid: int) -> None:
        super().__init__(volume, ino, mode, uid, gid)
        self._charged = EMPTY_DICT
        self.nlink = 2
        self.children: dict[bytes, Dentry] = {}
        self.listed: dict[bytes, tuple[int, int]] | None = None
        """The store's names with (ino, DT_* kind); None before the first listing."""
        self.listed_ns = FOREVER
        """`Tree.ticks` when they were last known to be all."""
        self.order: Listing | None = None
        """Where readers are; made by the first of them."""

    def __del__(self) -> None:
        self.heap.grew(EMPTY_DICT - self._charged)
        super().__del__()

    def charge(self) -> None:
        """Names came or went: charge for the tables that find them."""
        now, listed = getsizeof(self.children), self.listed
        if listed:
            now += getsizeof(listed) + LISTED_BYTES * len(listed)
        if now != self._charged:
            self.heap.grew(now - self._charged)
            self._charged = now

    @property
    def complete(self) -> bool:
        """Whether a name that is in neither `children` nor `listed` is known to be absent."""
        return self.origin is None or self.listed is not None


class Link(Inode):
    """A symbolic link; `target` is None until it was read from the store."""

    __slots__ = ("target",)
    heap = kind("fs", "symbolic link")

    def __init__(self, volume: Volume, ino: int, mode: int, uid: int, gid: int) -> None:
        super().__init__(volume, ino, mode, uid, gid)
        self.target: bytes | None = None

    def __del__(self) -> None:
        self.point_to(None)
        super().__del__()

    def point_to(self, target: bytes | None) -> None:
        """Set where it leads; None: that must be read anew."""
        self.heap.grew(len(target or b"") - len(self.target or b""))
        self.target = target


def make_inode(volume: Volume, ino: int, mode: int, uid: int, gid: int) -> Inode:
    """An inode of the class that `mode`'s type bits ask for."""
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFREG:
        return File(volume, ino, mode, uid, gid)
    if kind == stat.S_IFDIR:
        return Directory(volume, ino, mode, uid, gid)
    if kind == stat.S_IFLNK:
        return Link(volume, ino, mode, uid, gid)
    return Inode(volume, ino, mode, uid, gid)
