"""The driver's host descriptors: how many there are, and what they stand for.

Two kinds, each bounded by a least-recently-used cache: directories (O_PATH, so that names in them
are used with the *at(2) calls, one component at a time, never through a link) and regular files.
A file that is unlinked while a handle names it is pinned: its descriptor is opened first, and
leaves the bound until the handle goes.

Invariants: a directory in the cache lies at its key's path as far as this driver knows; whatever
moves or removes directories calls `forget_below`. `open_files` counts pinned descriptors too.
"""

from __future__ import annotations

import os
import stat
from collections import OrderedDict
from errno import EBADF, EISDIR, ENXIO, EPERM, ESTALE

import attrs

DIRECTORY_LIMIT = 256
FILE_LIMIT = 256

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

Place = tuple[int | None, bytes]
"""Where a name is: descriptor of its directory, None for a path from the host's root."""


def fail(number: int) -> OSError:
    """The host's way to say `number`."""
    return OSError(number, os.strerror(number))


class Directories:
    """Open directories of all trees by (tree, path)."""

    def __init__(self, limit: int = DIRECTORY_LIMIT) -> None:
        self._limit = limit
        self._open: OrderedDict[tuple[bytes, bytes], int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def place(self, tree: bytes, path: bytes) -> Place:
        """The directory of `path` and its last component; the tree's top by its real path."""
        if not path:
            return None, os.path.realpath(tree)
        parent, _, name = path.rpartition(b"/")
        return self.descriptor(tree, parent), name

    def descriptor(self, tree: bytes, path: bytes) -> int:
        """An open descriptor of a directory, good until the next call."""
        found = self._open.get((tree, path))
        if found is not None:
            self._open.move_to_end((tree, path))
            return found
        known, rest = path, []
        fd: int | None = None
        while fd is None and known:
            known, _, name = known.rpartition(b"/")
            rest.append(name)
            fd = self._open.get((tree, known))
        opened: int | None = None
        if fd is None:
            fd = opened = os.open(tree, _DIRECTORY & ~os.O_NOFOLLOW)
        try:
            for name in reversed(rest):
                fd = os.open(name, _DIRECTORY, dir_fd=fd)
                if opened is not None:
                    os.close(opened)
                opened = fd
        except OSError:
            if opened is not None:
                os.close(opened)
            raise
        self._open[(tree, path)] = fd
        while len(self._open) > self._limit:
            os.close(self._open.popitem(last=False)[1])
        return fd

    def forget_below(self, tree: bytes, path: bytes) -> None:
        """`path` is no longer where it was: close it and everything beneath."""
        prefix = path + b"/"
        gone = [
            key
            for key in self._open
            if key[0] == tree and (key[1] == path or not path or key[1].startswith(prefix))
        ]
        for key in gone:
            os.close(self._open.pop(key))

    def close(self) -> None:
        """Close them all."""
        while self._open:
            os.close(self._open.popitem()[1])


@attrs.define(eq=False)
class Handle:
    """What a handle number names: a regular file, known by (dev, ino), and its descriptor."""

    tree: bytes
    path: bytes
    write: bool
    dev: int
    ino: int
    fd: int = -1
    pinned: bool = False


class Files:
    """Handles to regular files."""

    def __init__(self, directories: Directories, limit: int = FILE_LIMIT) -> None:
        self._directories = directories
        self._limit = limit
        self._handles: dict[int, Handle] = {}
        self._open: OrderedDict[int, Handle] = OrderedDict()
        self._next = 1
        self._pinned = 0

    def __len__(self) -> int:
        return len(self._handles)

    @property
    def open_files(self) -> int:
        """Host descriptors in use for files."""
        return len(self._open) + self._pinned

    def open(self, tree: bytes, path: bytes, write: bool) -> int:
        """A new handle; its descriptor is open."""
        handle = Handle(tree, path, write, -1, -1)
        fd = self._attach(handle)
        status = os.fstat(fd)
        handle.dev, handle.ino = status.st_dev, status.st_ino
        number = self._next
        self._next += 1
        self._handles[number] = handle
        self._keep(number, handle)
        return number

    def close(self, number: int) -> None:
        """Forget a handle."""
        handle = self._handles.pop(number, None)
        if handle is None:
            return
        self._open.pop(number, None)
        if handle.pinned:
            self._pinned -= 1
        if handle.fd >= 0:
            os.close(handle.fd)

    def descriptor(self, number: int) -> int:
        """The handle's descriptor, opened again where the bound had closed it."""
        handle = self._handles.get(number)
        if handle is None:
            raise fail(EBADF)
        if handle.fd >= 0:
            if not handle.pinned:
                self._open.move_to_end(number)
            return handle.fd
        fd = self._attach(handle)
        status = os.fstat(fd)
        if (status.st_dev, status.st_ino) != (handle.dev, handle.ino):
            os.close(fd)
            handle.fd = -1
            raise fail(ESTALE)
        self._keep(number, handle)
        return fd

    def pin(self, tree: bytes, path: bytes) -> None:
        """The name at `path` is about to go: its handles keep their descriptors from now on."""
        for number, handle in self._handles.items():
            if handle.path == path and handle.tree == tree and not handle.pinned:
                self.descriptor(number)
                del self._open[number]
                handle.pinned = True
                self._pinned += 1

    def moved(self, tree: bytes, pairs: list[tuple[bytes, bytes]]) -> None:
        """Names moved, (old path, new path) each: handles below follow."""
        for handle in self._handles.values():
            if handle.tree != tree or handle.pinned:
                continue
            for old, new in pairs:
                if handle.path == old or handle.path.startswith(old + b"/"):
                    handle.path = new + handle.path[len(old) :]
                    break

    def close_all(self) -> None:
        """Forget every handle."""
        for number in list(self._handles):
            self.close(number)

    def _attach(self, handle: Handle) -> int:
        directory, name = self._directories.place(handle.tree, handle.path)
        flags = _FILE | (os.O_RDWR if handle.write else os.O_RDONLY)
        try:
            fd = os.open(name, flags | os.O_NOATIME, dir_fd=directory)
        except PermissionError as refusal:
            if refusal.errno != EPERM:
                raise
            fd = os.open(name, flags, dir_fd=directory)
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):
            os.close(fd)
            raise fail(EISDIR if stat.S_ISDIR(mode) else ENXIO)
        handle.fd = fd
        return fd

    def _keep(self, number: int, handle: Handle) -> None:
        self._open[number] = handle
        while len(self._open) > self._limit:
            _, oldest = self._open.popitem(last=False)
            os.close(oldest.fd)
            oldest.fd = -1
