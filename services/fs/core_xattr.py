"""Extended attributes: xattr(7). Those of host files stay in memory; the host's are not shown."""

from __future__ import annotations

import stat
from errno import E2BIG, EACCES, EEXIST, EINVAL, ENODATA, ENOSPC, EOPNOTSUPP, EPERM, ERANGE, EROFS
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.fs.core_access import READ, WRITE, allowed, owns
from services.fs.core_inode import xattr_gone, xattr_kept

if TYPE_CHECKING:
    from services.fs.api import Cred
    from services.fs.core_inode import Inode

CREATE, REPLACE = 1, 2
NAME_MAX = 255
VALUE_MAX = 65536
TOTAL_MAX = 1 << 20
"""Bytes of names and values that one file may have."""


def get(inode: Inode, name: bytes, cred: Cred) -> bytes:
    """getxattr(2)."""
    _check(inode, name, cred, write=False)
    value = (inode.xattrs or {}).get(name)
    if value is None:
        raise PosixError(ENODATA)
    return value


def put(inode: Inode, name: bytes, value: bytes | None, flags: int, cred: Cred) -> None:
    """setxattr(2), or removexattr(2) where `value` is None."""
    plan_put(inode, name, value, flags, cred)
    commit_put(inode, name, value)


def plan_put(inode: Inode, name: bytes, value: bytes | None, flags: int, cred: Cred) -> None:
    """Whether it may be, and makes sense."""
    if flags & ~(CREATE | REPLACE):
        raise PosixError(EINVAL)
    if inode.volume.read_only:
        raise PosixError(EROFS)
    _check(inode, name, cred, write=True)
    present = inode.xattrs or {}
    if value is None:
        if name not in present:
            raise PosixError(ENODATA)
        return
    if len(value) > VALUE_MAX:
        raise PosixError(E2BIG)
    if name in present and flags & CREATE:
        raise PosixError(EEXIST)
    if name not in present and flags & REPLACE:
        raise PosixError(ENODATA)
    if sum(len(n) + len(v) for n, v in present.items()) + len(name) + len(value) > TOTAL_MAX:
        raise PosixError(ENOSPC)


def commit_put(inode: Inode, name: bytes, value: bytes | None) -> None:
    """Keep it, or forget it."""
    present = inode.xattrs or {}
    if name in present:
        xattr_gone(name, present.pop(name))
    if value is not None:
        xattr_kept(name, value)
        present[name] = value
    inode.xattrs = present or None


def _check(inode: Inode, name: bytes, cred: Cred, *, write: bool) -> None:
    if not name or len(name) > NAME_MAX:
        raise PosixError(ERANGE)
    space, dot, rest = name.partition(b".")
    if not dot or space not in (b"user", b"trusted", b"security"):
        raise PosixError(EOPNOTSUPP)
    if not rest:
        raise PosixError(EINVAL)
    if space == b"trusted" and cred.uid != 0:
        raise PosixError(EPERM if write else ENODATA)
    if space == b"security" and write and cred.uid != 0:
        raise PosixError(EPERM)
    if space == b"user":
        _check_user(inode, cred, write)


def _check_user(inode: Inode, cred: Cred, write: bool) -> None:
    mode = inode.mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise PosixError(EPERM if write else ENODATA)
    if stat.S_ISDIR(mode) and mode & stat.S_ISVTX and write and not owns(inode, cred):
        raise PosixError(EPERM)
    if not allowed(inode, WRITE if write else READ, cred):
        raise PosixError(EACCES)
