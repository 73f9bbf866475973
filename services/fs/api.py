"""What other services may ask of the file system.

A file is a node: an integer that names a dentry (a place in the tree) with its inode, and counts
references. fs keeps no descriptors: offsets, O_APPEND and O_NONBLOCK belong to proc's open file
descriptions, so `Read` and `Write` carry the offset, as NFS does. Every node in a reply comes
with one reference that the receiver must `Release`.

Paths are bytes, taken from `At`: absolute ones start at `root`, others at `base`. A path that
leads into a file system served elsewhere (/proc, by proc) is answered with `Foreign`: the mount's
name and what is left of the path, and the caller goes on from there.

Data moves between page cache and user memory without passing through a message: `extents` are
(paddr, length_bytes) runs of RAM. Frames of the page cache are allocated from vm and shared with
mappings (`Pages`).

Device nodes and FIFOs are only kept here: `Opened.mode` and `.rdev` tell proc what they are.
"""

from __future__ import annotations

from errno import (
    E2BIG,
    EACCES,
    EAGAIN,
    EBUSY,
    EDEADLK,
    EEXIST,
    EFBIG,
    EINVAL,
    EIO,
    EISDIR,
    ELOOP,
    EMFILE,
    EMLINK,
    ENAMETOOLONG,
    ENODATA,
    ENODEV,
    ENOENT,
    ENOLCK,
    ENOMEM,
    ENOSPC,
    ENOTDIR,
    ENOTEMPTY,
    ENXIO,
    EOPNOTSUPP,
    EPERM,
    ERANGE,
    EROFS,
    ETXTBSY,
    EXDEV,
)

import attrs

from bus.message import Request, request
from services.drivers.ram.api import Extent  # noqa: TC001 - the transport resolves it

APPEND = -1
"""Offset of a `Write` that goes to the end of the file, atomically."""

_WALK = (ENOENT, ENOTDIR, EACCES, ELOOP, ENAMETOOLONG, EIO, ENOMEM)
_CHANGE = (*_WALK, EROFS, ENOSPC, EPERM)


@attrs.frozen
class Cred:
    """Who asks: effective ids (path_resolution(7)); uid 0 may do everything."""

    uid: int
    gid: int
    groups: frozenset[int] = frozenset()


@attrs.frozen
class At:
    """Where a path starts: node numbers of the root and of the current directory (or dirfd)."""

    root: int
    base: int


@attrs.frozen
class Foreign:
    """The path enters the mount `name`, which fs does not serve; `rest` is relative to its top."""

    name: str
    rest: bytes
    mount_path: bytes


@attrs.frozen
class Attr:
    """stat(2); times in nanoseconds since 1970, sizes in bytes, blocks of 512 bytes."""

    ino: int
    dev: int
    mode: int
    nlink: int
    uid: int
    gid: int
    rdev: int
    size: int
    blocks: int
    block_bytes: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int
    btime_ns: int


@attrs.frozen
class Opened:
    """A node (with one reference) and what it is."""

    node: int
    mode: int
    rdev: int
    size: int
    created: bool = False


@request("fs")
class RootNode(Request[int]):
    """The root directory, with one reference."""


@request("fs", errors=(*_CHANGE, EEXIST, EISDIR, ENXIO, ETXTBSY, EINVAL, EOPNOTSUPP))
class Open(Request[Opened | Foreign]):
    """openat(2): O_CREAT, O_EXCL, O_TRUNC, O_DIRECTORY, O_NOFOLLOW, O_PATH, O_TMPFILE, access.

    `mode` has the umask already taken off. Truncates only after the permission checks.
    """

    at: At
    path: bytes
    flags: int
    mode: int
    cred: Cred


@request("fs", errors=_WALK)
class Resolve(Request[Opened | Foreign]):
    """Find a node without opening it (chdir, exec, *at bases). `search` asks for X on a directory.

    `execute` asks for permission to run it: a regular file, an x bit, not a noexec mount.
    """

    at: At
    path: bytes
    cred: Cred
    follow: bool = True
    directory: bool = False
    search: bool = False
    execute: bool = False


@request("fs", errors=_WALK, idempotent=True)
class Stat(Request[Attr | Foreign]):
    """stat(2), lstat(2) (`follow` false)."""

    at: At
    path: bytes
    cred: Cred
    follow: bool = True


@request("fs", errors=(EIO,), idempotent=True)
class StatNode(Request[Attr]):
    """fstat(2)."""

    node: int


@request("fs", errors=(*_WALK, EROFS, EINVAL), idempotent=True)
class Access(Request[None | Foreign]):
    """faccessat(2): `mode` is R_OK=4 | W_OK=2 | X_OK=1, or 0 for existence."""

    at: At
    path: bytes
    mode: int
    cred: Cred
    follow: bool = True


@request("fs", errors=(*_WALK, EINVAL), idempotent=True)
class ReadLink(Request[bytes | Foreign]):
    """readlink(2); an empty path reads the link that `at.base` is (O_PATH | O_NOFOLLOW)."""

    at: At
    path: bytes
    cred: Cred


@request("fs", errors=(*_CHANGE, EEXIST))
class MakeDir(Request[None | Foreign]):
    """mkdir(2); the umask is already taken off."""

    at: At
    path: bytes
    mode: int
    cred: Cred


@request("fs", errors=(*_CHANGE, EEXIST, EINVAL))
class MakeNode(Request[None | Foreign]):
    """mknod(2): FIFO, socket, device or regular file, by the type bits of `mode`."""

    at: At
    path: bytes
    mode: int
    rdev: int
    cred: Cred


@request("fs", errors=(*_CHANGE, EEXIST))
class Symlink(Request[None | Foreign]):
    """symlink(2): `path` will read as `target`."""

    at: At
    path: bytes
    target: bytes
    cred: Cred


@request("fs", errors=(*_CHANGE, EEXIST, EXDEV, EMLINK))
class Link(Request[None | Foreign]):
    """link(2): a second name for `node` (already resolved)."""

    node: int
    at: At
    path: bytes
    cred: Cred


@request("fs", errors=(*_CHANGE, EBUSY, EISDIR, ENOTEMPTY, EINVAL))
class Unlink(Request[None | Foreign]):
    """unlink(2), or rmdir(2) where `directory`."""

    at: At
    path: bytes
    directory: bool
    cred: Cred


@request("fs", errors=(*_CHANGE, EBUSY, EEXIST, EINVAL, EISDIR, ENOTEMPTY, EXDEV, EMLINK))
class Rename(Request[None | Foreign]):
    """renameat2(2): flags NOREPLACE=1, EXCHANGE=2."""

    old_at: At
    old_path: bytes
    new_at: At
    new_path: bytes
    flags: int
    cred: Cred


@request("fs", errors=(EPERM, EACCES, EROFS, EINVAL, EIO, ENOENT, EOPNOTSUPP, ENOSPC))
class SetAttr(Request[None]):
    """chmod, chown, utimensat on a resolved node; None leaves a field as it is.

    Times in ns, or -1 for now. chown and writes clear set-id bits as inode(7) says. Setting both
    times to now needs write permission only; other times need ownership.
    """

    node: int
    cred: Cred
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None


@request("fs")
class DenyWrite(Request[None]):
    """execve(2) runs the program `node`: opening it for writing is ETXTBSY until as many undo it.

    The caller keeps its reference to the node for as long.
    """

    node: int
    deny: bool


@request("fs", errors=(EIO, EISDIR, EINVAL, ENOMEM), idempotent=True)
class Read(Request[int]):
    """pread(2) into `extents`; replies with the bytes read, 0 at the end of the file."""

    node: int
    offset: int
    extents: list[Extent]


@attrs.frozen
class Written:
    """How many bytes went in, and the offset just behind them."""

    count: int
    end: int


@request("fs", errors=(EIO, EFBIG, ENOSPC, EINVAL, EPERM, ENOMEM))
class Write(Request[Written]):
    """pwrite(2) from `extents` at `offset`, or at the end where it is APPEND."""

    node: int
    offset: int
    extents: list[Extent]
    cred: Cred
    limit_bytes: int | None = None
    """RLIMIT_FSIZE: shorten a write that crosses it, EFBIG for one that starts behind it."""


@request("fs", errors=(EIO, EISDIR, EINVAL, ENOMEM), idempotent=True)
class ReadBytes(Request[bytes]):
    """The kernel's own small reads (ELF headers, #! lines)."""

    node: int
    offset: int
    length_bytes: int


@request("fs", errors=(EIO, EFBIG, ENOSPC, EINVAL, EPERM, ENOMEM))
class WriteBytes(Request[Written]):
    """The kernel's own small writes (core dumps, configuration at boot)."""

    node: int
    offset: int
    data: bytes


@request("fs", errors=(EIO, ENOMEM, EINVAL))
class Pages(Request[tuple[int, ...]]):
    """Frames of the pages `first` … `first + count - 1` for a mapping, shorter at end of file.

    Where `for_write`, holes are filled and the pages are kept as dirty. fs keeps its own
    reference to each frame; the mapping adds its own.
    """

    node: int
    first: int
    count: int
    for_write: bool


@attrs.frozen
class DirEntry:
    """One name; `cookie` is where reading goes on after it; `kind` is DT_* of readdir(3)."""

    ino: int
    cookie: int
    kind: int
    name: bytes


@request("fs", errors=(ENOTDIR, EIO, ENOENT, EACCES, ENOMEM), idempotent=True)
class ReadDir(Request[tuple[DirEntry, ...]]):
    """Entries from `cookie` (0: the start, with . and ..), at most `count`; () at the end.

    Cookies stay valid while entries come and go: an entry that is there all the time is seen
    exactly once.
    """

    node: int
    cookie: int
    count: int


@request("fs", errors=(EINVAL, EISDIR, EPERM, EACCES, EROFS, EFBIG, EIO, ENOSPC, ETXTBSY))
class Truncate(Request[None]):
    """ftruncate(2) on a resolved node."""

    node: int
    length_bytes: int
    cred: Cred


@request("fs", errors=(EINVAL, ENOSPC, EOPNOTSUPP, EFBIG, EIO, EISDIR, ENODEV, ENOMEM, EPERM))
class Allocate(Request[None]):
    """fallocate(2): default, KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE, COLLAPSE where cheap."""

    node: int
    mode: int
    offset: int
    length_bytes: int
    cred: Cred | None = None
    """Whose call it is, for set-id bits; None: the kernel's own."""


@request("fs", errors=(ENXIO, EINVAL), idempotent=True)
class SeekData(Request[int]):
    """lseek(2) with SEEK_DATA (`hole` false) or SEEK_HOLE."""

    node: int
    offset: int
    hole: bool


@request("fs", errors=(EIO, EINVAL))
class Sync(Request[None]):
    """fsync(2); fdatasync(2) where `data_only`; the whole system where `node` is None."""

    node: int | None
    data_only: bool = False


@attrs.frozen
class StatFsReply:
    """statfs(2); sizes in blocks of `block_bytes`."""

    kind: int
    block_bytes: int
    blocks: int
    free: int
    available: int
    files: int
    files_free: int
    fsid: int
    name_max: int
    flags: int


@request("fs", errors=(EIO,), idempotent=True)
class StatFs(Request[StatFsReply]):
    """The file system that a node is on."""

    node: int


@request("fs")
class Retain(Request[None]):
    """One more reference to a node."""

    node: int


@request("fs")
class Release(Request[None]):
    """One reference less; an unlinked node without references is gone."""

    node: int


@request("fs", idempotent=True)
class PathOf(Request[bytes]):
    """Where a node is, as seen from `root` (0: the very top).

    Ends in ' (deleted)' for an unlinked one (proc(5)). A node outside `root` gets
    '(unreachable)' in front, as getcwd(2) has it.
    """

    node: int
    root: int = 0


@request("fs", errors=(ENOMEM,))
class MemFile(Request[Opened]):
    """A nameless file in memory: memfd_create(2), shared anonymous memory."""

    name: bytes
    size: int
    cred: Cred
    seals: bool = False


@request("fs", errors=(EPERM, EINVAL, EBUSY))
class Seals(Request[int]):
    """fcntl(2) F_ADD_SEALS with `add`; replies with the seals in force."""

    node: int
    add: int = 0


@request("fs", errors=(ENODATA, ERANGE, EOPNOTSUPP, EPERM, EACCES, EINVAL), idempotent=True)
class GetXattr(Request[bytes]):
    """getxattr(2)."""

    node: int
    name: bytes
    cred: Cred


@request(
    "fs",
    errors=(*(ENODATA, EOPNOTSUPP, EPERM, EACCES, EEXIST, EINVAL, ENOSPC, ERANGE, E2BIG, EROFS),),
)
class SetXattr(Request[None]):
    """setxattr(2): flags CREATE=1, REPLACE=2; `value` None removes it."""

    node: int
    name: bytes
    value: bytes | None
    flags: int
    cred: Cred


@request("fs", idempotent=True)
class ListXattr(Request[tuple[bytes, ...]]):
    """listxattr(2)."""

    node: int


@attrs.frozen
class RangeLock:
    """A POSIX or open-file-description lock; `pid` as F_GETLK shows it, -1 for the latter.

    `end` is just behind the last byte; None means to the end of the file, however it grows.
    """

    write: bool
    start: int
    end: int | None
    pid: int


@request("fs", errors=(EAGAIN, EDEADLK, ENOLCK, EINVAL))
class LockRange(Request[None]):
    """fcntl(2) F_SETLK, F_SETLKW (`wait`): `owner` is a process or an open file description.

    `lock.write` None-like unlocking is `unlock`. Waits inside the handler; EDEADLK on a cycle.
    """

    node: int
    owner: str
    lock: RangeLock
    unlock: bool
    wait: bool


@request("fs", idempotent=True)
class TestLock(Request[RangeLock | None]):
    """fcntl(2) F_GETLK: the first lock that would be in the way."""

    node: int
    owner: str
    lock: RangeLock


@request("fs", errors=(EAGAIN,))
class LockFile(Request[None]):
    """flock(2): `exclusive` None unlocks; waits unless `wait` is false (EAGAIN)."""

    node: int
    owner: str
    exclusive: bool | None
    wait: bool


@request("fs")
class DropLocks(Request[None]):
    """`owner` closed `node` (None: every node): its locks go."""

    node: int | None
    owner: str


@attrs.frozen
class MountInfo:
    """One line of /proc/mounts."""

    id: int
    parent: int
    source: bytes
    target: bytes
    kind: str
    options: str
    dev: int


@request("fs", errors=(*_WALK, EBUSY, EPERM, EINVAL, ENODEV))
class Mount(Request[None]):
    """mount(2). `kind`: tmpfs, hosttree (source: a host path), foreign (options: the name).

    Changes to a hosttree stay in memory, unless `rw` is among the options: then they go to the
    host. `read_only` forbids changes. Host trees need a source that boot allowed (EPERM).
    """

    at: At
    source: bytes
    target: bytes
    kind: str
    options: str
    read_only: bool
    cred: Cred


@request("fs", errors=(*_WALK, EBUSY, EPERM, EINVAL))
class Unmount(Request[None]):
    """umount(2)."""

    at: At
    target: bytes
    cred: Cred


@request("fs", idempotent=True)
class Mounts(Request[tuple[MountInfo, ...]]):
    """All mounts, in order of mounting."""


@attrs.frozen
class Watched:
    """An inotify(7) event."""

    watch: int
    mask: int
    cookie: int
    name: bytes


@request("fs", errors=(EINVAL, EMFILE))
class WatchQueue(Request[int]):
    """inotify_init(2): a queue number."""


@request("fs", errors=(EINVAL, ENOENT, EEXIST, ENOTDIR))
class Watch(Request[int]):
    """inotify_add_watch(2) on a resolved node; replies with the watch descriptor."""

    queue: int
    node: int
    mask: int


@request("fs", errors=(EINVAL,))
class Unwatch(Request[None]):
    """inotify_rm_watch(2)."""

    queue: int
    watch: int


@request("fs", errors=(EAGAIN,))
class TakeEvents(Request[tuple[Watched, ...]]):
    """At most `count` queued events; waits for one where `wait`. `peek` leaves them queued."""

    queue: int
    count: int
    wait: bool
    peek: bool = False


@request("fs")
class DropQueue(Request[None]):
    """The inotify descriptor was closed."""

    queue: int


@attrs.frozen
class CacheCounts:
    """What the caches hold, in pages and entries, and how often they were hit."""

    pages: int
    dirty_pages: int
    nodes: int
    names: int
    name_hits: int
    name_misses: int
    in_use: int = 0
    """Nodes that somebody outside fs holds a reference to."""


@request("fs", idempotent=True)
class Caches(Request[CacheCounts]):
    """For /proc/meminfo and the metrics page."""


@request("fs")
class EvictNames(Request[int]):
    """Forget up to `count` names that can be asked for again; replies with how many went."""

    count: int


@request("fs")
class EvictPages(Request[int]):
    """Give up to `count` clean, unmapped pages back; replies with how many went."""

    count: int
