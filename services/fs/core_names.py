"""Making, linking, removing and renaming names.

Each operation is a `plan_*`, which checks everything and changes nothing, and a `commit_*`, which
cannot fail. A volume whose store forwards changes is told in between.
"""

from __future__ import annotations

import stat
from errno import (
    EACCES,
    EBUSY,
    EEXIST,
    EINVAL,
    EISDIR,
    EMLINK,
    ENOENT,
    ENOTDIR,
    ENOTEMPTY,
    EPERM,
    EROFS,
    EXDEV,
)
from typing import TYPE_CHECKING

import attrs

from bus.errors import KernelBug, PosixError
from services.fs.api import Foreign
from services.fs.core_access import EXECUTE, WRITE, allowed, check_change, check_sticky, in_group
from services.fs.core_inode import Dentry, Directory, File, make_inode
from services.fs.core_listing import current_names
from services.fs.core_need import NeedListing
from services.fs.core_walk import Place, entry, place
from services.fs.core_watch import (
    IN_ATTRIB,
    IN_CREATE,
    IN_DELETE,
    IN_ISDIR,
    IN_MOVE_SELF,
    IN_MOVED_FROM,
    IN_MOVED_TO,
)

if TYPE_CHECKING:
    from services.fs.api import At, Cred
    from services.fs.core_inode import Inode
    from services.fs.core_tree import Tree

NOREPLACE, EXCHANGE = 1, 2
LINK_MAX = 65000
TMPFILE_PREFIX = b"#"


def directory_of(dentry: Dentry) -> Directory:
    """The inode of a dentry that is known to be a directory."""
    inode = dentry.inode
    if not isinstance(inode, Directory):
        raise KernelBug(f"{dentry!r} is no directory")
    return inode


def inode_of(dentry: Dentry) -> Inode:
    """The inode of a dentry that is known to be positive."""
    if dentry.inode is None:
        raise KernelBug(f"{dentry!r} is negative")
    return dentry.inode


# ── making ──────────────────────────────────────────────────────────────────────────────────


def plan_make(tree: Tree, at: At, path: bytes, cred: Cred, is_directory: bool) -> Place | Foreign:
    """Where a new name can be made; EEXIST if it is there."""
    where = place(tree, at, path, cred)
    if isinstance(where, Foreign):
        return where
    if not where.plain or entry(tree, where.parent, where.name) is not None:
        raise PosixError(EEXIST)
    if where.slash and not is_directory:
        raise PosixError(ENOENT)
    directory = directory_of(where.parent)
    if not where.parent.linked:
        raise PosixError(ENOENT)
    check_change(directory, cred)
    if is_directory and directory.nlink >= LINK_MAX:
        raise PosixError(EMLINK)
    return where


def ownership(directory: Directory, mode: int, cred: Cred) -> tuple[int, int]:
    """The mode and group of a new file: a set-group-ID directory passes its own on (inode(7))."""
    gid = cred.gid
    if directory.mode & stat.S_ISGID:
        gid = directory.gid
        if stat.S_ISDIR(mode):
            mode |= stat.S_ISGID
        elif mode & 0o2010 == 0o2010 and not in_group(gid, cred):
            mode &= ~stat.S_ISGID
    return mode, gid


def new_inode(directory: Directory, mode: int, cred: Cred, now_ns: int) -> Inode:
    """An inode for a new file in a directory."""
    mode, gid = ownership(directory, mode, cred)
    volume = directory.volume
    inode = make_inode(volume, volume.new_ino(), mode, cred.uid, gid)
    inode.atime_ns = inode.mtime_ns = inode.ctime_ns = inode.btime_ns = now_ns
    inode.changed = True
    return inode


def commit_made(tree: Tree, parent: Dentry, name: bytes, inode: Inode, now_ns: int) -> Dentry:
    """The same for an inode that a store has made: it may be asked for again."""
    dentry = commit_make(tree, parent, name, inode, now_ns)
    directory_of(parent).changed = inode.changed = False
    return dentry


def commit_make(tree: Tree, parent: Dentry, name: bytes, inode: Inode, now_ns: int) -> Dentry:
    """Give an inode its first name."""
    directory = directory_of(parent)
    dentry = tree.attach(parent, name, inode)
    tree.resize(directory, 1, now_ns)
    is_directory = isinstance(inode, Directory)
    if is_directory:
        count_link(directory, 1)
    if tree.watches.active:
        tree.watches.tell(directory, IN_CREATE | (IN_ISDIR if is_directory else 0), name)
    return dentry


def commit_nameless(parent: Dentry, inode: Inode) -> Dentry:
    """An inode without a name, for O_TMPFILE."""
    inode.nlink = 0
    if isinstance(inode, File):
        inode.nameless = True
    dentry = Dentry(TMPFILE_PREFIX + b"%d" % inode.ino, parent, inode)
    dentry.linked = False
    inode.dentries.append(dentry)
    return dentry


def count_link(directory: Directory, change: int) -> None:
    """A subdirectory came or went. File systems that do not count them say 1."""
    if directory.nlink > 1:
        directory.nlink += change
        directory.attr = None


# ── linking ─────────────────────────────────────────────────────────────────────────────────


def plan_link(tree: Tree, node: int, at: At, path: bytes, cred: Cred) -> Place | Foreign:
    """Where `node` gets its second name."""
    where = plan_make(tree, at, path, cred, is_directory=False)
    if isinstance(where, Foreign):
        return where
    inode = tree.inode(node)
    if inode.volume is not directory_of(where.parent).volume:
        raise PosixError(EXDEV)
    if isinstance(inode, Directory):
        raise PosixError(EPERM)
    if inode.nlink == 0 and not (isinstance(inode, File) and inode.nameless):
        raise PosixError(ENOENT)
    if inode.nlink >= LINK_MAX:
        raise PosixError(EMLINK)
    return where


def commit_link(tree: Tree, inode: Inode, where: Place, now_ns: int) -> None:
    """Give an inode one more name."""
    directory = directory_of(where.parent)
    tree.attach(where.parent, where.name, inode)
    inode.nlink += 1
    inode.touch(now_ns)
    if isinstance(inode, File):
        inode.nameless = False
    tree.resize(directory, 1, now_ns)
    if tree.watches.active:
        tree.watches.tell(inode, IN_ATTRIB)
        tree.watches.tell(directory, IN_CREATE, where.name)


# ── removing ────────────────────────────────────────────────────────────────────────────────


def check_delete(parent: Dentry, victim: Inode, as_directory: bool, cred: Cred) -> None:
    """may_delete: whether a name may be taken from a directory."""
    directory = directory_of(parent)
    if not allowed(directory, WRITE | EXECUTE, cred):
        raise PosixError(EACCES)
    check_sticky(directory, victim, cred)
    if as_directory != isinstance(victim, Directory):
        raise PosixError(ENOTDIR if as_directory else EISDIR)


def check_empty(dentry: Dentry) -> None:
    """ENOTEMPTY for a directory with names in it."""
    directory = directory_of(dentry)
    if directory.volume.volatile:
        return  # only the store knows
    if any(child.inode is not None for child in directory.children.values()):
        raise PosixError(ENOTEMPTY)
    if not directory.complete:
        raise NeedListing(dentry)
    if current_names(directory):
        raise PosixError(ENOTEMPTY)


def plan_remove(
    tree: Tree, at: At, path: bytes, is_directory: bool, cred: Cred
) -> Dentry | Foreign:
    """The name that unlink(2), or rmdir(2), may take away."""
    where = place(tree, at, path, cred)
    if isinstance(where, Foreign):
        return where
    if not where.plain:
        if not is_directory:
            raise PosixError(EISDIR)
        raise PosixError({b".": EINVAL, b"..": ENOTEMPTY}.get(where.name, EBUSY))
    if directory_of(where.parent).volume.read_only:
        raise PosixError(EROFS)
    dentry = entry(tree, where.parent, where.name)
    if dentry is None:
        raise PosixError(ENOENT)
    inode = inode_of(dentry)
    if where.slash and not is_directory:
        raise PosixError(EISDIR if isinstance(inode, Directory) else ENOTDIR)
    check_delete(where.parent, inode, is_directory, cred)
    if dentry.mounted is not None:
        raise PosixError(EBUSY)
    if is_directory:
        check_empty(dentry)
    return dentry


def commit_remove(tree: Tree, dentry: Dentry, now_ns: int) -> None:
    """Take a name away; the inode goes with its last name and reference."""
    parent = dentry.parent
    if parent is None:
        raise KernelBug(f"{dentry!r} is a root")
    inode, directory = inode_of(dentry), directory_of(parent)
    is_directory = isinstance(inode, Directory)
    if is_directory:
        inode.nlink = 0
        count_link(directory, -1)
    else:
        inode.nlink = max(inode.nlink - 1, 0)
    inode.touch(now_ns)
    tree.resize(directory, -1, now_ns)
    if tree.watches.active:
        tree.watches.tell(inode, IN_ATTRIB)
        mask = IN_DELETE | (IN_ISDIR if is_directory else 0)
        tree.watches.tell(directory, mask, dentry.name)
    tree.detach(dentry)


# ── renaming ────────────────────────────────────────────────────────────────────────────────


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
        _tell_moved(tree, target, goal, rename.name)
    else:
        if target is not None:
            commit_remove(tree, target, now_ns)
        _recount(source, goal, int(isinstance(inode, Directory)))
        tree.resize(source, -1, now_ns)
        tree.resize(goal, 1, now_ns)
        tree.move(old, rename.parent, rename.name)
    _tell_moved(tree, old, source, old_name)


def _recount(source: Directory, goal: Directory, moved: int) -> None:
    if moved and source is not goal:
        count_link(source, -moved)
        count_link(goal, moved)


def _tell_moved(tree: Tree, dentry: Dentry, source: Directory, old_name: bytes) -> None:
    watches = tree.watches
    if not watches.active or dentry.parent is None:
        return
    kind = IN_ISDIR if isinstance(dentry.inode, Directory) else 0
    cookie = watches.cookie()
    watches.tell(source, IN_MOVED_FROM | kind, old_name, cookie)
    watches.tell(dentry.parent.inode, IN_MOVED_TO | kind, dentry.name, cookie)
    watches.tell(dentry.inode, IN_MOVE_SELF)
