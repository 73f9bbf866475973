"""What more than one room of the contract names: who asks, where, what a file is."""

from __future__ import annotations

from errno import EACCES, EIO, ELOOP, ENAMETOOLONG, ENOENT, ENOMEM, ENOSPC, ENOTDIR, EPERM, EROFS

import attrs

APPEND = -1
"""Offset of a `Write` that goes to the end of the file, atomically."""

WALK_ERRORS = (ENOENT, ENOTDIR, EACCES, ELOOP, ENAMETOOLONG, EIO, ENOMEM)
CHANGE_ERRORS = (*WALK_ERRORS, EROFS, ENOSPC, EPERM)


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
