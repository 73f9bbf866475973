"""Changing attributes: chmod(2), chown(2), utimensat(2), relatime, set-id bits, statfs(2)."""

from __future__ import annotations

import stat
from errno import EACCES, EOPNOTSUPP, EPERM, EROFS
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.fs.api import StatFsReply
from services.fs.core_access import WRITE, allowed, in_group, owns
from services.fs.core_inode import PAGE_BYTES, Directory, Link
from services.fs.core_volume import TMPFS_MAGIC
from services.fs.core_watch import IN_ACCESS, IN_ATTRIB, IN_MODIFY

if TYPE_CHECKING:
    from services.fs.api import Cred, SetAttr
    from services.fs.core_inode import Dentry, Inode
    from services.fs.core_tree import Tree
    from services.fs.core_volume import Volume

DAY_NS = 86_400 * 10**9
NOW = -1


def plan_set_attr(inode: Inode, request: SetAttr) -> int | None:
    """Check a change; replies with the mode that it leads to, None where it stays."""
    cred = request.cred
    if inode.volume.read_only:
        raise PosixError(EROFS)
    _check_owner(inode, request)
    mode = None
    if request.mode is None and request.atime_ns is None and request.mtime_ns is None:
        mode = _without_set_id(inode, cred)
        if mode != inode.mode and not owns(inode, cred):
            raise PosixError(EPERM)
    if request.mode is not None:
        if isinstance(inode, Link):
            raise PosixError(EOPNOTSUPP)
        if not owns(inode, cred):
            raise PosixError(EPERM)
        bits = stat.S_IMODE(request.mode)
        gid = inode.gid if request.gid is None else request.gid
        if not in_group(gid, cred):
            bits &= ~stat.S_ISGID
        mode = stat.S_IFMT(inode.mode) | bits
    _check_times(inode, request)
    return None if mode == inode.mode else mode


def _check_owner(inode: Inode, request: SetAttr) -> None:
    cred, uid, gid = request.cred, request.uid, request.gid
    if cred.uid == 0:
        return
    if uid is not None and (uid != inode.uid or cred.uid != inode.uid):
        raise PosixError(EPERM)
    if gid is not None and (
        cred.uid != inode.uid or (gid != inode.gid and not in_group(gid, cred))
    ):
        raise PosixError(EPERM)


def _without_set_id(inode: Inode, cred: Cred) -> int:
    """The mode without set-id bits; set-gid without group execution stays for the group's own."""
    mode = inode.mode
    if not isinstance(inode, Directory):
        mode &= ~stat.S_ISUID
        if mode & stat.S_IXGRP or not in_group(inode.gid, cred):
            mode &= ~stat.S_ISGID
    return mode


def _check_times(inode: Inode, request: SetAttr) -> None:
    atime, mtime = request.atime_ns, request.mtime_ns
    if (atime is None and mtime is None) or owns(inode, request.cred):
        return
    if atime != NOW or mtime != NOW:
        raise PosixError(EPERM)
    if not allowed(inode, WRITE, request.cred):
        raise PosixError(EACCES)


def commit_set_attr(inode: Inode, request: SetAttr, mode: int | None, now_ns: int) -> None:
    """Do what `plan_set_attr` allowed."""
    if request.uid is not None:
        inode.uid = request.uid
    if request.gid is not None:
        inode.gid = request.gid
    if mode is not None:
        inode.mode = mode
    if request.atime_ns is not None:
        inode.atime_ns = now_ns if request.atime_ns == NOW else request.atime_ns
    if request.mtime_ns is not None:
        inode.mtime_ns = now_ns if request.mtime_ns == NOW else request.mtime_ns
    inode.touch(now_ns)


def events_of(request: SetAttr, mode: int | None) -> int:
    """What inotify(7) calls a change of attributes: one time alone counts as an access."""
    mask = 0
    if mode is not None or (request.mode, request.uid, request.gid) != (None, None, None):
        mask = IN_ATTRIB
    if request.atime_ns is not None:
        mask |= IN_ACCESS if request.mtime_ns is None else IN_ATTRIB
    elif request.mtime_ns is not None:
        mask |= IN_MODIFY
    return mask


def attributes_changed(tree: Tree, dentry: Dentry, events: int) -> None:
    """Who may walk where may have changed, and watches want to know."""
    if isinstance(dentry.inode, Directory):
        tree.paths.clear()
    if events and tree.watches.active:
        tree.watches.tell_entry(dentry, events)


def drop_set_id(inode: Inode, cred: Cred) -> bool:
    """A write by an ordinary user takes set-id bits away (inode(7)); says whether it did."""
    if cred.uid == 0 or not inode.mode & 0o6000:
        return False
    mode = _without_set_id(inode, cred)
    changed = mode != inode.mode
    inode.mode = mode
    return changed


def accessed(inode: Inode, now_ns: int) -> None:
    """A read: relatime of mount(8). Not for read-only volumes."""
    inode.stale_atime = False
    if inode.volume.read_only:
        return
    if inode.atime_ns <= max(inode.mtime_ns, inode.ctime_ns) or inode.atime_ns < now_ns - DAY_NS:
        inode.atime_ns = now_ns
        inode.attr = None


def statfs(tree: Tree, volume: Volume, store_says: StatFsReply | None) -> StatFsReply:
    """statfs(2): the store's answer if it has one, else the memory that the volume may take."""
    if store_says is not None:
        return store_says
    frames = tree.frames
    blocks = frames.limit if volume.limit_pages is None else volume.limit_pages
    free = frames.room(volume)
    return StatFsReply(
        TMPFS_MAGIC,
        PAGE_BYTES,
        blocks,
        free,
        free,
        volume.quota.limit,
        volume.quota.room,
        volume.id,
        255,
        0x1000 if volume.no_exec is False else 0x1008,
    )
