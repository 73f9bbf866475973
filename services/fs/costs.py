"""What fs's objects cost in bytes, measured when the kernel starts (`bus/census.py`)."""

from __future__ import annotations

import itertools
from functools import partial
from sys import getsizeof
from typing import TYPE_CHECKING, Any

from services.fs.api import RangeLock, Watched
from services.fs.core_inode import CACHED, DENTRY, XATTR, Dentry, Directory, File, Inode, Link
from services.fs.core_locks import LOCK, Held
from services.fs.core_watch import EVENT, WATCH, Queue, WatchPoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FAR = 1 << 40
ENTRY_BYTES = 56
"""A place in a table."""


class _Volume:
    dev = 1


_VOLUME: Any = _Volume()
_QUEUE = Queue(0)


def measure() -> None:
    """Find all costs, once a process."""
    if DENTRY.cost_bytes:
        return
    numbers = itertools.count(FAR)
    DENTRY.measure(lambda: _dentry(next(numbers)))
    CACHED.measure(
        lambda: ((_ALIAS, (1, 2, b"/usr/bin/%16d" % next(numbers), True)),),
        beside_bytes=ENTRY_BYTES,
    )
    WATCH.measure(lambda: _watch(next(numbers)), beside_bytes=ENTRY_BYTES)
    EVENT.measure(lambda: Watched(next(numbers), next(numbers), next(numbers), b""), beside_bytes=8)
    LOCK.measure(
        lambda: Held(f"{next(numbers)}", RangeLock(True, next(numbers), next(numbers), 1)),
        beside_bytes=8,
    )
    XATTR.price(2 * getsizeof(b"") + ENTRY_BYTES)
    for kind in (Inode, File, Directory, Link):
        kind.heap.measure(partial(_inode, kind, numbers))


def most_inodes(heap_bytes: int) -> int:
    """How many files that only memory has, each with a name, take half of the heap."""
    return heap_bytes // 2 // (File.heap.cost_bytes + DENTRY.cost_bytes)


def _dentry(number: int) -> Dentry:
    """A name."""
    return Dentry(b"%d" % number, None, None)


def _watch(number: int) -> object:
    """One, and the set that its inode keeps."""
    point = WatchPoint(_QUEUE, number, _VOLUME, 1)
    return {_QUEUE: point}


def _inode(kind: Callable[..., Inode], numbers: Iterator[int]) -> Inode:
    """An inode with one name, times of its own, and the reply to stat(2)."""
    inode = kind(_VOLUME, next(numbers), 0o100644, 0, 0)
    inode.atime_ns = inode.btime_ns = next(numbers)
    inode.mtime_ns = inode.ctime_ns = next(numbers)
    inode.size = next(numbers)
    inode.dentries.append(_NAME)
    inode.stat()
    return inode


_NAME: Any = None
_ALIAS: dict[Any, Any] = {}
