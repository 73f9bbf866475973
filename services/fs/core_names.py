"""Making, linking and removing names; renaming is in core_rename.

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
)

if TYPE_CHECKING:
    from services.fs.api import At, Cred
    from services.fs.core_inode import Inode
    from services.fs.core_tree import Tree

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
    """An inode for a new file in a directory; ENOSPC where there are as many as may be."""
    mode, gid = ownership(directory, mode, cred)
    volume = directory.volume
    volume.quota.check()
    inode = make_inode(volume, volume.new_ino(), mode, cred.uid, gid)
    inode.count_in(volume.quota)
    inode.atime_ns = inode.mtime_ns = inode.ctime_ns = inode.btime_ns = now_ns
    inode.changed = True
    return inode


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


def commit_nameless(tree: Tree, parent: Dentry, inode: Inode) -> Dentry:
    """An inode without a name, for O_TMPFILE."""
    inode.nlink = 0
    inode.uncount()
    if isinstance(inode, File):
        inode.nameless = True
    dentry = Dentry(TMPFILE_PREFIX + b"%d" % inode.ino, parent, inode)
    dentry.linked = False
    inode.dentries.append(dentry)
    tree.pin(dentry)
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
    if not inode.nlink:
        inode.volume.quota.check()
    return where


def commit_link(tree: Tree, inode: Inode, where: Place, now_ns: int) -> None:
    """Give an inode one more name."""
    directory = directory_of(where.parent)
    tree.attach(where.parent, where.name, inode)
    if not inode.nlink:
        inode.count_in(inode.volume.quota)
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


def commit_remove(tree: Tree, dentry: Dentry, now_ns: int, *, deleted: bool = True) -> None:
    """Take a name away; the inode goes with its last name and reference.

    `deleted` is false where another file takes the name over: that counts as its move.
    """
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
    if not inode.nlink:
        inode.uncount()
    inode.touch(now_ns)
    tree.resize(directory, -1, now_ns)
    watches = tree.watches
    if watches.active and deleted and not is_directory:
        watches.tell(inode, IN_ATTRIB)
    tree.detach(dentry)
    if watches.active and deleted:
        watches.tell(directory, IN_DELETE | (IN_ISDIR if is_directory else 0), dentry.name)
