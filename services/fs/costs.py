"""What fs's objects cost in bytes, measured when the kernel starts (`bus/census.py`)."""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING, Any

from services.fs.core_inode import CACHED, DENTRY, Dentry, Directory, File, Inode, Link

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FAR = 1 << 40
ENTRY_BYTES = 56
"""A place in a table."""
NAME_BYTES = 16
"""A typical name."""


class _Volume:
    dev = 1


_VOLUME: Any = _Volume()


def measure() -> None:
    """Find all costs, once a process."""
    if DENTRY.cost_bytes:
        return
    numbers = itertools.count(FAR)
    DENTRY.measure(lambda: _dentry(next(numbers)))
    CACHED.measure(
        lambda: ((_ALIAS, (1, 2, b"/usr/bin/%*d" % (NAME_BYTES, next(numbers)), True)),),
        beside_bytes=ENTRY_BYTES,
    )
    for kind in (Inode, File, Directory, Link):
        kind.heap.measure(partial(_inode, kind, numbers))


def _dentry(number: int) -> Dentry:
    """A name."""
    return Dentry(b"%*d" % (NAME_BYTES, number), None, None)


def _inode(kind: Callable[..., Inode], numbers: Iterator[int]) -> Inode:
    """An inode with one name, times of its own, and the reply to stat(2)."""
    inode = kind(_VOLUME, next(numbers), 0o100644, 0, 0)
    inode.atime_ns, inode.mtime_ns, inode.ctime_ns = next(numbers), next(numbers), next(numbers)
    inode.btime_ns = inode.mtime_ns
    inode.size = next(numbers)
    inode.dentries.append(_NAME)
    inode.stat()
    return inode


_NAME: Any = None
_ALIAS: dict[Any, Any] = {}
