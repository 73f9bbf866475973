"""/dev: what a program expects to find there, with Linux's device numbers (devices.txt).

Only names are made here: what reading and writing a device does is proc's. /dev/fd and its like
lead into /proc, which is served elsewhere.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from services.fs.api import Cred
from services.fs.core_inode import Link
from services.fs.core_names import commit_make, directory_of, new_inode

if TYPE_CHECKING:
    from services.fs.core_inode import Dentry
    from services.fs.core_tree import Tree

ROOT = Cred(0, 0)
TTY_GID = 5

DEVICES: tuple[tuple[bytes, int, int, int, int], ...] = (
    # name, mode, major, minor, gid
    (b"null", 0o666, 1, 3, 0),
    (b"zero", 0o666, 1, 5, 0),
    (b"full", 0o666, 1, 7, 0),
    (b"random", 0o666, 1, 8, 0),
    (b"urandom", 0o666, 1, 9, 0),
    (b"tty", 0o666, 5, 0, TTY_GID),
    (b"console", 0o600, 5, 1, TTY_GID),
    (b"ptmx", 0o666, 5, 2, TTY_GID),
)

DIRECTORIES: tuple[tuple[bytes, int], ...] = ((b"pts", 0o755), (b"shm", 0o1777))

LINKS: tuple[tuple[bytes, bytes], ...] = (
    (b"fd", b"/proc/self/fd"),
    (b"stdin", b"/proc/self/fd/0"),
    (b"stdout", b"/proc/self/fd/1"),
    (b"stderr", b"/proc/self/fd/2"),
)


def populate(tree: Tree, top: Dentry, now_ns: int) -> None:
    """Fill an empty tmpfs with devices, directories and links."""
    directory = directory_of(top)
    for name, mode, major, minor, gid in DEVICES:
        node = new_inode(directory, stat.S_IFCHR | mode, ROOT, now_ns)
        node.rdev = os.makedev(major, minor)
        node.gid = gid
        commit_make(tree, top, name, node, now_ns)
    for name, mode in DIRECTORIES:
        below = new_inode(directory, stat.S_IFDIR | mode, ROOT, now_ns)
        commit_make(tree, top, name, below, now_ns)
    for name, target in LINKS:
        link = new_inode(directory, stat.S_IFLNK | 0o777, ROOT, now_ns)
        if isinstance(link, Link):
            link.point_to(target)
            link.size = len(target)
        commit_make(tree, top, name, link, now_ns)
