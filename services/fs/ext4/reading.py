"""A volume read whole: paths, content, targets, over a device that makes nobody wait.

For tools and tests, and for what only reads.
"""

from __future__ import annotations

import functools
import stat
from errno import EINVAL, ENOENT, ENOTDIR
from typing import TYPE_CHECKING, TypeVar

from bus.errors import PosixError
from services.fs.ext4 import blocks, directory, mapping, xattr
from services.fs.ext4.device import SECTOR_SHIFT
from services.fs.ext4.layout import ROOT_INODE
from services.fs.ext4.volume import open_volume

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from services.fs.ext4.device import BlockDevice
    from services.fs.ext4.inode import Inode

Result = TypeVar("Result")


class Reader:
    """See the module. Refused: it is no volume that we read. Each call may say Damaged."""

    def __init__(self, device: BlockDevice) -> None:
        self.device = device
        self.volume = open_volume(device)

    def _run(self, operation: Callable[[], Result]) -> Result:
        return blocks.run(self.device, self.volume.cache, operation)

    def inode(self, number: int = ROOT_INODE) -> Inode:
        """By number."""
        return self._run(lambda: self.volume.inode(number))

    def names(self, inode: Inode) -> list[directory.Entry]:
        """All entries of a directory but "." and ".."; ENOTDIR."""
        if not inode.is_directory:
            raise PosixError(ENOTDIR)
        volume = self.volume
        found: list[directory.Entry] = []
        for place in self._run(lambda: directory.places(volume, inode)):
            found += self._run(functools.partial(directory.names_in, volume, inode, place))
        return [entry for entry in found if entry.name not in (b".", b"..")]

    def at(self, path: bytes) -> Inode:
        """The inode at a path from the root, symbolic links not followed; ENOENT, ENOTDIR."""
        inode = self.inode()
        for name in path.split(b"/"):
            if not name:
                continue
            for entry in self.names(inode):
                if entry.name == name:
                    inode = self.inode(entry.inode)
                    break
            else:
                raise PosixError(ENOENT)
        return inode

    def target(self, inode: Inode) -> bytes:
        """Where a symbolic link points; EINVAL."""
        if not stat.S_ISLNK(inode.mode):
            raise PosixError(EINVAL)
        short = inode.short_target
        return b"".join(self.content(inode)) if short is None else short

    def attributes(self, inode: Inode) -> dict[bytes, bytes]:
        """Extended attributes."""
        return self._run(lambda: xattr.attributes(self.volume, inode))

    def content(self, inode: Inode, window_bytes: int = 1 << 20) -> Iterator[bytes]:
        """All bytes of a file, a piece of up to `window_bytes` at a time."""
        size = self.volume.block_bytes
        step = max(window_bytes // size, 1)
        for first in range(0, -(-inode.size // size), step):
            piece = bytearray(step * size)
            for run in self._mapped(inode, first, step):
                if not run.unwritten:
                    at = (run.logical - first) * size
                    piece[at : at + run.count * size] = self._read(run.physical, run.count)
            yield bytes(piece[: inode.size - first * size])

    def _mapped(self, inode: Inode, first: int, count: int) -> list[mapping.Run]:
        return self._run(lambda: mapping.runs(self.volume, inode, first, count))

    def _read(self, block: int, count: int) -> bytes:
        sectors = self.volume.block_bytes >> SECTOR_SHIFT
        return self.device.read(block * sectors, count * sectors)
