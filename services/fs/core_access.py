"""Who may do what: path_resolution(7), with uid 0 as capabilities would have it.

`want` is R_OK=4 | W_OK=2 | X_OK=1 of access(2), or 0.
"""

from __future__ import annotations

import stat
from errno import EACCES, EPERM, EROFS
from typing import TYPE_CHECKING

from bus.errors import PosixError

if TYPE_CHECKING:
    from services.fs.api import Cred
    from services.fs.core_inode import Directory, Inode

READ, WRITE, EXECUTE = 4, 2, 1
_WRITABLE_WHEN_READ_ONLY = (stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK)


def allowed(inode: Inode, want: int, cred: Cred) -> bool:
    """Whether the mode bits let `cred` do `want`."""
    mode = inode.mode
    uid = cred.uid
    if uid == 0:
        return not want & EXECUTE or bool(mode & 0o111) or mode & 0o170000 == 0o040000
    if uid == inode.uid:
        mode >>= 6
    elif inode.gid == cred.gid or inode.gid in cred.groups:
        mode >>= 3
    return mode & want == want


def check(inode: Inode, want: int, cred: Cred) -> None:
    """EROFS or EACCES unless `cred` may do `want`."""
    if (
        want & WRITE
        and inode.volume.read_only
        and stat.S_IFMT(inode.mode) not in _WRITABLE_WHEN_READ_ONLY
    ):
        raise PosixError(EROFS)
    if not allowed(inode, want, cred):
        raise PosixError(EACCES)


def check_execute(inode: Inode, cred: Cred) -> None:
    """EACCES unless it is a program that `cred` may run (execve(2))."""
    if not stat.S_ISREG(inode.mode) or inode.volume.no_exec or not allowed(inode, EXECUTE, cred):
        raise PosixError(EACCES)


def check_change(directory: Directory, cred: Cred) -> None:
    """EROFS or EACCES unless `cred` may add and remove names."""
    if directory.volume.read_only:
        raise PosixError(EROFS)
    if not allowed(directory, WRITE | EXECUTE, cred):
        raise PosixError(EACCES)


def check_sticky(directory: Directory, victim: Inode, cred: Cred) -> None:
    """EPERM in a sticky directory unless `cred` owns it or the file that is to go (unlink(2))."""
    if directory.mode & stat.S_ISVTX and cred.uid not in (0, victim.uid, directory.uid):
        raise PosixError(EPERM)


def owns(inode: Inode, cred: Cred) -> bool:
    """Whether `cred` may change attributes as the owner may."""
    return cred.uid in (0, inode.uid)


def in_group(gid: int, cred: Cred) -> bool:
    """Whether `cred` belongs to a group, or may act as if."""
    return cred.uid == 0 or gid == cred.gid or gid in cred.groups
