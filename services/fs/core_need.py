"""What the core lacks when it cannot go on: the shell fetches it and tries again.

Every core operation is a plain function that first finds out whether it has all it needs and
only then changes anything. Where it needs something from outside (a name from the host, frames
from vm) it raises one of these before its first change; the service supplies it and calls the
operation again from the start. So operations are atomic, and the core knows neither messages nor
waiting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.fs.core_inode import Dentry, File, Link

ATTEMPTS = 1000
"""How often an operation may ask for something before that counts as ENOMEM (thrashing)."""


class WouldWait(Exception):
    """The store must wait for its own disk, and whoever asks has no time for that."""


class Need(Exception):
    """Something has to be fetched first."""


class NeedName(Need):
    """The entry `name` of a directory that a store holds."""

    def __init__(self, directory: Dentry, name: bytes) -> None:
        self.directory = directory
        self.name = name


class NeedFresh(Need):
    """An entry of a volume that others change too, confirmed lately (`Tree.begin`)."""

    def __init__(self, directory: Dentry, name: bytes) -> None:
        self.directory = directory
        self.name = name


class NeedListed(Need):
    """Whether the names of a directory that were listed before are still all that it has."""

    def __init__(self, directory: Dentry) -> None:
        self.directory = directory


class NeedListing(Need):
    """All names of a directory that a store holds."""

    def __init__(self, directory: Dentry) -> None:
        self.directory = directory


class NeedTarget(Need):
    """Where a symbolic link points."""

    def __init__(self, link: Link) -> None:
        self.link = link


class NeedPages(Need):
    """Pages of a file, `first` to `first + count - 1`, from its store.

    `spare` are the pages of that file that the operation needs in all: none of them may be evicted
    to make room for the others.
    """

    def __init__(self, file: File, first: int, count: int, spare: range) -> None:
        self.file = file
        self.first = first
        self.count = count
        self.spare = spare


class NeedFrames(Need):
    """`count` free frames in the pool, for pages of `file`; `spare` as above."""

    def __init__(self, count: int, file: File, spare: range) -> None:
        self.count = count
        self.file = file
        self.spare = spare
