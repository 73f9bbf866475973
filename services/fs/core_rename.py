"""Renaming: renameat2(2), with its checks in Linux's order."""

from __future__ import annotations

from errno import EACCES, EBUSY, EEXIST, EINVAL, ENOENT, ENOTDIR, ENOTEMPTY, EROFS, EXDEV
from typing import TYPE_CHECKING

import attrs

from bus.errors import KernelBug, PosixError
from services.fs.api import Foreign
from services.fs.core_access import WRITE, allowed, check_change
from services.fs.core_inode import Dentry, Directory
from services.fs.core_names import (
    check_delete,
    check_empty,
    commit_remove,
    count_link,
    directory_of,
    inode_of,
)
from services.fs.core_walk import Place, entry, place
from services.fs.core_watch import IN_ATTRIB, IN_ISDIR, IN_MOVE_SELF, IN_MOVED_FROM, IN_MOVED_TO

if TYPE_CHECKING:
    from services.fs.api import At, Cred
    from services.fs.core_tree import Tree

NOREPLACE, EXCHANGE = 1, 2


@attrs.frozen
class Rename:
    """A rename that may be done; `same`: both names are one file, nothing is to be done."""

    old: Dentry
    parent: Dentry
    name: bytes
    target: Dentry | None
    exchange: bool
    same: bool = False


def plan_rename(
    tree: Tree, old: tuple[At, bytes], new: tuple[At, bytes], flags: int, cred: Cred
) -> Rename | Foreign:
    """renameat2(2), all of its checks in Linux's order."""
    if flags & ~(NOREPLACE | EXCHANGE) or flags == NOREPLACE | EXCHANGE:
        raise PosixError(EINVAL)
    source = place(tree, *old, cred)
    goal = place(tree, *new, cred)
    if isinstance(source, Foreign) or isinstance(goal, Foreign):
        if isinstance(source, Foreign) and isinstance(goal, Foreign):
            return source
        raise PosixError(EXDEV)
    volume = directory_of(source.parent).volume
    if volume is not directory_of(goal.parent).volume:
        raise PosixError(EXDEV)
    if not source.plain:
        raise PosixError(EBUSY)
    if not goal.plain:
        raise PosixError(EEXIST if flags & NOREPLACE else EBUSY)
    if volume.read_only:
        raise PosixError(EROFS)
    dentry = entry(tree, source.parent, source.name)
    if dentry is None:
        raise PosixError(ENOENT)
    target = entry(tree, goal.parent, goal.name)
    if target is not None and flags & NOREPLACE:
        raise PosixError(EEXIST)
    if target is None and flags & EXCHANGE:
        raise PosixError(ENOENT)
    _check_slashes(dentry, target, source.slash, goal.slash, bool(flags & EXCHANGE))
    _check_ancestors(dentry, target, source, goal, bool(flags & EXCHANGE))
    exchange = bool(flags & EXCHANGE)
    if target is not None and target.inode is dentry.inode:
        return Rename(dentry, goal.parent, goal.name, target, exchange, same=True)
    _check_rename(dentry, target, goal, exchange, cred)
    return Rename(dentry, goal.parent, goal.name, target, exchange)


def _check_slashes(
    old: Dentry, target: Dentry | None, old_slash: bool, new_slash: bool, exchange: bool
) -> None:
    if exchange and target is not None:
        if new_slash and not isinstance(target.inode, Directory):
            raise PosixError(ENOTDIR)
        new_slash = False
    if not isinstance(old.inode, Directory) and (old_slash or new_slash):
        raise PosixError(ENOTDIR)


def _check_ancestors(
    old: Dentry, target: Dentry | None, source: Place, goal: Place, exchange: bool
) -> None:
    if _within(goal.parent, old):
        raise PosixError(EINVAL)
    if target is not None and _within(source.parent, target):
        raise PosixError(EINVAL if exchange else ENOTEMPTY)


def _within(dentry: Dentry, ancestor: Dentry) -> bool:
    here: Dentry | None = dentry
    while here is not None:
        if here is ancestor:
            return True
        here = here.parent
    return False


def _check_rename(
    old: Dentry, target: Dentry | None, goal: Place, exchange: bool, cred: Cred
) -> None:
    inode, old_parent = inode_of(old), old.parent
    if old_parent is None:
        raise PosixError(EBUSY)
    is_directory = isinstance(inode, Directory)
    check_delete(old_parent, inode, is_directory, cred)
    if target is None:
        if not goal.parent.linked:
            raise PosixError(ENOENT)
        check_change(directory_of(goal.parent), cred)
    else:
        victim = inode_of(target)
        expect = isinstance(victim, Directory) if exchange else is_directory
        check_delete(goal.parent, victim, expect, cred)
    if goal.parent is not old_parent:
        if is_directory and not allowed(inode, WRITE, cred):
            raise PosixError(EACCES)
        other = target.inode if exchange and target is not None else None
        if isinstance(other, Directory) and not allowed(other, WRITE, cred):
            raise PosixError(EACCES)
    if old.mounted is not None or (target is not None and target.mounted is not None):
        raise PosixError(EBUSY)
    if target is not None and not exchange and isinstance(target.inode, Directory):
        check_empty(target)


def commit_rename(tree: Tree, rename: Rename, now_ns: int) -> None:
    """Do what `plan_rename` found possible."""
    old, target = rename.old, rename.target
    if rename.same:
        return
    if old.parent is None:
        raise KernelBug(f"{old!r} is a root")
    inode, source, goal = inode_of(old), directory_of(old.parent), directory_of(rename.parent)
    old_name = old.name
    for directory in (source, goal):
        directory.modify(now_ns)
    inode.touch(now_ns)
    if rename.exchange and target is not None:
        other = inode_of(target)
        other.touch(now_ns)
        _recount(source, goal, isinstance(inode, Directory) - isinstance(other, Directory))
        tree.exchange(old, target)
        _tell_moved(tree, old, source, old_name)
        _tell_moved(tree, target, goal, rename.name)
        return
    if target is not None:
        tree.hold(target)  # its end is told of after the move
        commit_remove(tree, target, now_ns, deleted=False)
    _recount(source, goal, int(isinstance(inode, Directory)))
    tree.resize(source, -1, now_ns)
    tree.resize(goal, 1, now_ns)
    tree.move(old, rename.parent, rename.name)
    _tell_moved(tree, old, source, old_name, target)
    if target is not None:
        tree.release(target.node)


def _recount(source: Directory, goal: Directory, moved: int) -> None:
    if moved and source is not goal:
        count_link(source, -moved)
        count_link(goal, moved)


def _tell_moved(
    tree: Tree, dentry: Dentry, source: Directory, old_name: bytes, replaced: Dentry | None = None
) -> None:
    watches = tree.watches
    if not watches.active or dentry.parent is None:
        return
    kind = IN_ISDIR if isinstance(dentry.inode, Directory) else 0
    cookie = watches.cookie()
    watches.tell(source, IN_MOVED_FROM | kind, old_name, cookie)
    watches.tell(dentry.parent.inode, IN_MOVED_TO | kind, dentry.name, cookie)
    if replaced is not None:
        watches.tell(replaced.inode, IN_ATTRIB)
    watches.tell(dentry.inode, IN_MOVE_SELF)
