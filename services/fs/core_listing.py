"""Reading a directory: names in a lasting order, each with a cookie that lasts.

Cookies 1 and 2 are `.` and `..`; a name gets the next number when it is first seen and keeps it.
So a reader that goes on behind a cookie meets every name that is there all the time exactly once,
whatever comes and goes. The order is made by the first reader and kept up from then on; removed
names leave gaps that are closed when they are the majority (cookies stay: they are not indices).
"""

from __future__ import annotations

import stat
from bisect import bisect_right
from typing import TYPE_CHECKING

from services.fs.api import DirEntry
from services.fs.core_inode import Directory
from services.fs.core_need import NeedListed, NeedListing

if TYPE_CHECKING:
    from services.fs.core_inode import Dentry

FIRST_COOKIE = 3
DT_DIR = 4


class Listing:
    """The order of a directory's names."""

    __slots__ = ("_cookie", "_cookies", "_names", "_next")

    def __init__(self) -> None:
        self._cookies: list[int] = []
        self._names: list[bytes | None] = []
        self._cookie: dict[bytes, int] = {}
        self._next = FIRST_COOKIE

    def __len__(self) -> int:
        return len(self._cookie)

    def add(self, name: bytes) -> None:
        """A name came; nothing if it is there."""
        if name not in self._cookie:
            self._cookie[name] = self._next
            self._cookies.append(self._next)
            self._names.append(name)
            self._next += 1

    def remove(self, name: bytes) -> None:
        """A name went; nothing if it was not there."""
        cookie = self._cookie.pop(name, None)
        if cookie is None:
            return
        self._names[bisect_right(self._cookies, cookie) - 1] = None
        if len(self._names) > 64 and len(self._names) > 2 * len(self._cookie):
            left = [
                (c, n) for c, n in zip(self._cookies, self._names, strict=True) if n is not None
            ]
            self._cookies = [c for c, _ in left]
            self._names = [n for _, n in left]

    def update(self, names: list[bytes]) -> None:
        """These names are there and no others."""
        there = set(names)
        for gone in [name for name in self._cookie if name not in there]:
            self.remove(gone)
        for name in names:
            self.add(name)

    def after(self, cookie: int, count: int) -> list[tuple[int, bytes]]:
        """At most `count` names behind a cookie, with theirs."""
        found: list[tuple[int, bytes]] = []
        for index in range(bisect_right(self._cookies, cookie), len(self._cookies)):
            if len(found) >= count:
                break
            name = self._names[index]
            if name is not None:
                found.append((self._cookies[index], name))
        return found


def current_names(directory: Directory) -> list[bytes]:
    """All names that are there: the store's in its order, then those made here."""
    children = directory.children
    if directory.volume.volatile:
        return list(directory.listed or ())
    names = [
        name
        for name in directory.listed or ()
        if (child := children.get(name)) is None or child.inode is not None
    ]
    known = directory.listed or {}
    names += [n for n, child in children.items() if child.inode is not None and n not in known]
    return names


def read_directory(
    dentry: Dentry, cookie: int, count: int, fresh_after: int
) -> tuple[DirEntry, ...]:
    """getdents(2) from `cookie`; raises NeedListing before a store's names are known.

    A reading that begins wants names that were known to be all after `fresh_after`.
    """
    directory = dentry.inode
    if not isinstance(directory, Directory):
        raise TypeError(f"{dentry!r} is no directory")
    if directory.origin is not None:
        if directory.listed is None:
            raise NeedListing(dentry)
        if not cookie and directory.listed_ns < fresh_after:
            raise NeedListed(dentry)
    order = directory.order
    if order is None:
        order = directory.order = Listing()
        order.update(current_names(directory))
    elif directory.volume.volatile and not cookie:
        order.update(current_names(directory))
    entries: list[DirEntry] = []
    if cookie < 1 and count > 0:
        entries.append(DirEntry(directory.ino, 1, DT_DIR, b"."))
    if cookie < 2 and count > len(entries):
        entries.append(DirEntry(_parent_ino(dentry), 2, DT_DIR, b".."))
    for place, name in order.after(max(cookie, FIRST_COOKIE - 1), count - len(entries)):
        ino, kind = _identity(directory, name)
        entries.append(DirEntry(ino, place, kind, name))
    return tuple(entries)


def _parent_ino(dentry: Dentry) -> int:
    here: Dentry | None = dentry
    while here is not None and here.parent is None and here.inode is not None:
        here = here.inode.volume.covers
    parent = here.parent if here is not None else None
    inode = parent.inode if parent is not None else dentry.inode
    return inode.ino if inode is not None else 0


def _identity(directory: Directory, name: bytes) -> tuple[int, int]:
    child = directory.children.get(name)
    if child is not None and child.inode is not None:
        return child.inode.ino, stat.S_IFMT(child.inode.mode) >> 12
    return (directory.listed or {})[name]
