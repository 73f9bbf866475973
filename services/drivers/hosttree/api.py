"""What others may ask of the host tree driver, the only code that touches the host's files.

A tree is named by its absolute host path, `tree`; a `path` is relative to it, without `.`, `..`,
empty components or a leading slash; `b""` is the tree's top. No component of a path may be a
symbolic link (ELOOP): whoever asks resolves links itself, in its own name space, so no path
leaves its tree. The `tree` itself may be reached through links.

`OpenFile` replies with a handle, a number that holds a name and not a host descriptor: those are
opened on demand and bounded. A handle follows renames and outlives unlinking that go through this
driver. One that the driver does not know (it was restarted) is answered with EBADF.

Any request may be answered with the host's errno, EIO included.
"""

from __future__ import annotations

from errno import (
    EACCES,
    EBADF,
    EBUSY,
    EEXIST,
    EFBIG,
    EINVAL,
    EIO,
    EISDIR,
    ELOOP,
    EMFILE,
    EMLINK,
    ENAMETOOLONG,
    ENFILE,
    ENODEV,
    ENOENT,
    ENOMEM,
    ENOSPC,
    ENOTDIR,
    ENOTEMPTY,
    ENXIO,
    EOPNOTSUPP,
    EPERM,
    EROFS,
    ESTALE,
    ETXTBSY,
    EXDEV,
)

import attrs

from bus.message import Request, request
from services.drivers.ram.api import Extent  # noqa: TC001 - the transport resolves it

HOST_ERRORS = (
    EACCES,
    EBADF,
    EBUSY,
    EEXIST,
    EFBIG,
    EINVAL,
    EIO,
    EISDIR,
    ELOOP,
    EMFILE,
    EMLINK,
    ENAMETOOLONG,
    ENFILE,
    ENODEV,
    ENOENT,
    ENOMEM,
    ENOSPC,
    ENOTDIR,
    ENOTEMPTY,
    ENXIO,
    EOPNOTSUPP,
    EPERM,
    EROFS,
    ESTALE,
    ETXTBSY,
    EXDEV,
)
"""What a host may answer to a call on a file (intro(2))."""


@attrs.frozen
class HostStat:
    """lstat(2): times in ns, size in bytes, blocks of 512 bytes."""

    dev: int
    ino: int
    mode: int
    nlink: int
    uid: int
    gid: int
    rdev: int
    size: int
    blocks: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int


@attrs.frozen
class HostEntry:
    """One name of a directory; `kind` is DT_* of readdir(3)."""

    name: bytes
    ino: int
    kind: int


@attrs.frozen
class HostSpace:
    """statvfs(3): blocks of `block_bytes`, and inodes."""

    block_bytes: int
    blocks: int
    free: int
    available: int
    files: int
    files_free: int
    name_max: int


@request("hosttree", errors=HOST_ERRORS, idempotent=True)
class Lstat(Request[HostStat]):
    """lstat(2)."""

    tree: bytes
    path: bytes


Stamp = tuple[int, int, int, int, int]
"""What tells that a file is still the same and was not changed: dev, ino, size, mtime, ctime."""


@request("hosttree", errors=HOST_ERRORS, idempotent=True)
class Unchanged(Request[bool]):
    """Whether lstat(2) of a name, if there is one, has this stamp still."""

    tree: bytes
    path: bytes
    stamp: Stamp


@request("hosttree", errors=HOST_ERRORS, idempotent=True)
class ListDir(Request[tuple[HostEntry, ...]]):
    """All names of a directory but . and .., sorted by name."""

    tree: bytes
    path: bytes


@request("hosttree", errors=HOST_ERRORS, idempotent=True)
class ReadLink(Request[bytes]):
    """readlink(2)."""

    tree: bytes
    path: bytes


@request("hosttree", errors=HOST_ERRORS, idempotent=True)
class SpaceOf(Request[HostSpace]):
    """statvfs(3) of the file system that the tree's top is on."""

    tree: bytes


@request("hosttree", errors=HOST_ERRORS)
class OpenFile(Request[int]):
    """A handle to a regular file; its reading (and `write`) is tried at once."""

    tree: bytes
    path: bytes
    write: bool


@request("hosttree")
class CloseFile(Request[None]):
    """Forget a handle; unknown ones are forgotten already."""

    handle: int


@request("hosttree", errors=HOST_ERRORS, idempotent=True)
class StatFile(Request[HostStat]):
    """fstat(2)."""

    handle: int


NOW, BLOCKING, ASIDE = 0, 1, 2
"""How a read may take its time where the host must fetch from its disk: not at all (the reply is
`WOULD_WAIT`); at once, holding up everything else; in a thread, while others go on.
"""

WOULD_WAIT = -1


@request("hosttree", errors=HOST_ERRORS, idempotent=True)
class ReadFile(Request[int]):
    """preadv(2) straight into RAM; replies with the bytes read, short only at end of file.

    With ASIDE the caller must leave the extents alone until the reply, also when it is cancelled.
    """

    handle: int
    offset: int
    extents: list[Extent]
    patience: int = BLOCKING


@request("hosttree", errors=HOST_ERRORS, idempotent=True)
class WriteFile(Request[int]):
    """pwritev(2) straight from RAM; replies with the bytes written."""

    handle: int
    offset: int
    extents: list[Extent]


@request("hosttree", errors=HOST_ERRORS, idempotent=True)
class TruncateFile(Request[None]):
    """ftruncate(2)."""

    handle: int
    length_bytes: int


@request("hosttree", errors=HOST_ERRORS)
class AllocateFile(Request[None]):
    """fallocate(2)."""

    handle: int
    mode: int
    offset: int
    length_bytes: int


@request("hosttree", errors=HOST_ERRORS, idempotent=True)
class SyncFile(Request[None]):
    """fsync(2), fdatasync(2) where `data_only`."""

    handle: int
    data_only: bool


@request("hosttree", errors=HOST_ERRORS)
class MakeEntry(Request[HostStat]):
    """Make a name: a regular file (as with O_EXCL), directory, FIFO or socket, by `mode`'s type.

    The owner is set where the host lets us, else it stays what the host made it; the mode is as
    given, whatever the host's umask. Devices are EPERM: the host's are not for guests to make.
    """

    tree: bytes
    path: bytes
    mode: int
    uid: int
    gid: int


@request("hosttree", errors=HOST_ERRORS)
class MakeSymlink(Request[HostStat]):
    """symlink(2); the owner as in `MakeEntry`."""

    tree: bytes
    path: bytes
    target: bytes
    uid: int
    gid: int


@request("hosttree", errors=HOST_ERRORS)
class MakeLink(Request[None]):
    """link(2) within a tree, not following symbolic links."""

    tree: bytes
    old_path: bytes
    new_path: bytes


@request("hosttree", errors=HOST_ERRORS)
class Remove(Request[None]):
    """unlink(2), or rmdir(2) where `directory`; handles to the file stay good."""

    tree: bytes
    path: bytes
    directory: bool


@request("hosttree", errors=HOST_ERRORS)
class Move(Request[None]):
    """renameat2(2) within a tree: flags NOREPLACE=1, EXCHANGE=2; handles follow."""

    tree: bytes
    old_path: bytes
    new_path: bytes
    flags: int


@request("hosttree", errors=HOST_ERRORS, idempotent=True)
class SetStat(Request[HostStat]):
    """chown(2), chmod(2), utimensat(2), in this order, of a name or else of a handle.

    None leaves a field; times in ns. Symbolic links take an owner and times, no mode.
    """

    tree: bytes
    path: bytes
    handle: int | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None
