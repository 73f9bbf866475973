"""open(2): finding, making and checking a file that is to be opened.

`plan` does all checks and changes nothing; it replies with what there is to do. `commit` does it.
A volume whose store forwards changes is asked in between.
"""

from __future__ import annotations

import os
import stat
from errno import (
    EEXIST,
    EINVAL,
    EISDIR,
    ELOOP,
    ENOENT,
    ENOTDIR,
    ENXIO,
    EOPNOTSUPP,
    EPERM,
    ETXTBSY,
)
from typing import TYPE_CHECKING

import attrs

from bus.errors import PosixError
from services.fs.api import Foreign
from services.fs.core_access import READ, WRITE, check, check_change, owns
from services.fs.core_inode import Dentry, Directory, File, Link
from services.fs.core_walk import Place, Walk, approach, entry, find, placed

if TYPE_CHECKING:
    from services.fs.api import At, Cred
    from services.fs.core_tree import Tree

O_PATH = 0o10000000
O_TMPFILE = 0o20000000
O_NOATIME = 0o1000000


@attrs.frozen
class Found:
    """It is there; `truncate` asks for O_TRUNC."""

    dentry: Dentry
    truncate: bool = False


@attrs.frozen
class Make:
    """A regular file is to be made: `name` in `parent`, or nameless where it is None."""

    parent: Dentry
    name: bytes | None


def writes(flags: int) -> bool:
    """Whether `flags` open a description that can write; with access mode 3 it can do neither."""
    return flags & os.O_ACCMODE in (os.O_WRONLY, os.O_RDWR) and not flags & O_PATH


def access_of(flags: int) -> int:
    """What permissions a file opened with `flags` needs (open(2))."""
    mode = flags & os.O_ACCMODE
    want = (READ, WRITE, READ | WRITE, READ | WRITE)[mode]
    return want | WRITE if flags & os.O_TRUNC else want


def plan(tree: Tree, at: At, path: bytes, flags: int, cred: Cred) -> Found | Make | Foreign:
    """What opening `path` comes to."""
    if flags & O_PATH:
        flags &= O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
    elif flags & O_TMPFILE:
        return _plan_nameless(tree, at, path, flags, cred)
    elif flags & os.O_CREAT:
        if flags & os.O_DIRECTORY:
            raise PosixError(EINVAL)
        return _plan_create(tree, at, path, flags, cred)
    found = find(tree, at, path, cred, not flags & os.O_NOFOLLOW)
    if found.__class__ is Foreign:
        return found
    return check_open(found, flags, cred)  # type: ignore[arg-type]


def _plan_nameless(tree: Tree, at: At, path: bytes, flags: int, cred: Cred) -> Make | Foreign:
    if not flags & os.O_ACCMODE or not flags & os.O_DIRECTORY or flags & os.O_CREAT:
        raise PosixError(EINVAL)
    found = find(tree, at, path, cred, follow=True)
    if isinstance(found, Foreign):
        return found
    if not isinstance(found.inode, Directory):
        raise PosixError(ENOTDIR)
    check_change(found.inode, cred)
    if found.inode.volume.through is not None:
        raise PosixError(EOPNOTSUPP)
    return Make(found, None)


def _plan_create(tree: Tree, at: At, path: bytes, flags: int, cred: Cred) -> Found | Make | Foreign:
    walk = approach(tree, at, path, cred)
    while True:
        foreign = walk.run(1, follow=True)
        if foreign is not None:
            return foreign
        where = placed(walk)
        if not where.plain or where.slash:
            return _existing_directory(walk, where, flags)
        child = entry(tree, where.parent, where.name)
        if child is None:
            return _creatable(where, cred)
        while child.mounted is not None:
            child = child.mounted
        inode = child.inode
        if flags & os.O_EXCL:
            raise PosixError(EEXIST)
        if isinstance(inode, Link) and not flags & os.O_NOFOLLOW:
            walk.todo.clear()
            walk.follow(inode)
            continue
        walk.todo.clear()
        walk.here = child
        foreign = walk.run(0, follow=True)
        if foreign is not None:
            return foreign
        if isinstance(inode, Directory):
            raise PosixError(EISDIR)
        return check_open(child, flags, cred)


def _existing_directory(walk: Walk, where: Place, flags: int) -> Foreign:
    """O_CREAT on `.`, `..`, the root or a path that ends in a slash: it never makes anything."""
    if where.plain:
        raise PosixError(EISDIR)
    foreign = walk.run(0, follow=True)
    if foreign is not None:
        return foreign
    raise PosixError(EEXIST if flags & os.O_EXCL else EISDIR)


def _creatable(where: Place, cred: Cred) -> Make:
    directory = where.parent.inode
    if not where.parent.linked:
        raise PosixError(ENOENT)
    if not isinstance(directory, Directory):
        raise PosixError(ENOTDIR)
    check_change(directory, cred)
    return Make(where.parent, where.name)


def check_open(dentry: Dentry, flags: int, cred: Cred) -> Found:
    """may_open: kind, permissions, whether it is being executed."""
    inode = dentry.inode
    if inode is None:
        raise PosixError(ENOENT)
    if flags & os.O_DIRECTORY and not isinstance(inode, Directory):
        raise PosixError(ENOTDIR)
    if flags & O_PATH:
        return Found(dentry)
    want = access_of(flags)
    if inode.__class__ is not File:
        _check_kind(inode.mode, want)
    check(inode, want, cred)
    if stat.S_IFMT(inode.mode) == stat.S_IFSOCK:
        raise PosixError(ENXIO)
    if flags & O_NOATIME and not owns(inode, cred):
        raise PosixError(EPERM)
    if want & WRITE and inode.denied:
        raise PosixError(ETXTBSY)
    return Found(dentry, bool(flags & os.O_TRUNC) and inode.__class__ is File)


def _check_kind(mode: int, want: int) -> None:
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFLNK:
        raise PosixError(ELOOP)
    if kind == stat.S_IFDIR and want & WRITE:
        raise PosixError(EISDIR)
