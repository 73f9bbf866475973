"""Making an image: empty, or with a directory's content.

It is made beside its place and moved there when it is whole: an image is there or it is not.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
import uuid
from typing import TYPE_CHECKING

from boot.config import ConfigError
from boot.image import mkfs, tools

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.fs.ext4.device import BlockDevice

SPARE_BYTES = 64 << 20
INODE_RATIO_BYTES = 16384


@contextlib.contextmanager
def _beside(image: str, force: bool) -> Iterator[str]:
    """A name for the unfinished image."""
    if os.path.exists(image) and not force:
        raise ConfigError(f"{image!r} is there already", "name another, or say --force")
    if os.path.exists(image) and not stat.S_ISREG(os.stat(image).st_mode):
        raise ConfigError(f"{image!r} is no file", "name another; for a device, use mke2fs itself")
    unfinished = f"{image}.{os.getpid()}.tmp"
    try:
        yield unfinished
        os.replace(unfinished, image)
    except OSError as error:
        raise ConfigError(
            f"cannot make {image!r}: {error.strerror}", "is the place writable, with room?"
        ) from None
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(unfinished)


def create(image: str, size_bytes: int, label: str = "", force: bool = False) -> str:
    """An empty file system; by whom it was made. ConfigError: it cannot be."""
    if size_bytes < mkfs.LEAST_BYTES:
        raise ConfigError(
            f"{size_bytes} bytes are too few", f"say {mkfs.LEAST_BYTES >> 20}M or more"
        )
    with _beside(image, force) as unfinished:
        with open(unfinished, "xb") as file:
            file.truncate(size_bytes)
        if tools.find("mke2fs") is None:
            _own(unfinished, size_bytes, label)
            return "hardtack"
        tools.run(["mke2fs", "-q", "-F", "-t", "ext4", "-L", label, unfinished])
    return "mke2fs"


def _own(path: str, size_bytes: int, label: str) -> None:
    pieces = mkfs.file_system(size_bytes, uuid.uuid4().bytes, int(time.time()), os.fsencode(label))
    try:
        with open(path, "r+b") as file:
            for offset, content in pieces:
                file.seek(offset)
                file.write(content)
    except ValueError as wanted:
        raise ConfigError(f"{size_bytes} bytes cannot be", f"say {wanted}") from None


def size_for(directory: str) -> int:
    """Bytes of an image that holds it, with a quarter and `SPARE_BYTES` to spare."""
    content, files = 0, 0
    for place, names, others in os.walk(directory):
        for name in (*names, *others):
            with contextlib.suppress(OSError):
                content += -(-os.lstat(os.path.join(place, name)).st_size // 4096) * 4096
            files += 1
    least = content + files * INODE_RATIO_BYTES // 16
    by_inodes = files * INODE_RATIO_BYTES
    size = max(least, by_inodes) * 5 // 4 + SPARE_BYTES
    return (size + (1 << 20) - 1) >> 20 << 20


def from_dir(
    image: str, directory: str, size_bytes: int | None, label: str = "", force: bool = False
) -> int:
    """An image with what lies below `directory`; its size. ConfigError: it cannot be."""
    if not os.path.isdir(directory):
        raise ConfigError(f"{directory!r} is no directory", "name one whose content it shall have")
    size = size_for(directory) if size_bytes is None else size_bytes
    with _beside(image, force) as unfinished:
        with open(unfinished, "xb") as file:
            file.truncate(size)
        words = ["mke2fs", "-q", "-F", "-t", "ext4", "-L", label, "-d", directory, unfinished]
        tools.run(words)
    return size


def in_memory(size_bytes: int) -> BlockDevice:
    """An empty volume without a journal, in memory. ConfigError: a size that cannot be."""
    from services.fs.ext4.device import SECTOR_SHIFT, MemoryDevice

    size_bytes -= size_bytes % mkfs.BLOCK
    try:
        pieces = mkfs.file_system(size_bytes, os.urandom(16), 0, journalled=False)
        device = MemoryDevice(size_bytes)
        for offset, content in pieces:
            first, start = divmod(offset, mkfs.BLOCK)
            count = -(-(start + len(content)) // mkfs.BLOCK)
            sector = first * mkfs.BLOCK >> SECTOR_SHIFT
            blocks = bytearray(device.read(sector, count * mkfs.BLOCK >> SECTOR_SHIFT))
            blocks[start : start + len(content)] = content
            device.write(sector, blocks)
    except ValueError as unfit:
        raise ConfigError(
            f"an image of {size_bytes} bytes: {unfit}", "say --image mem:256M"
        ) from None
    return device
