"""What a disk's sectors lie on: an image file (or block device) of the host, and a cache above it.

`Image` is used by several threads at a time; the queue sees to it that they never meet on a sector.
It is locked (flock(2)) as long as it is open: two kernels on one image would destroy it.

`PowerCache` is the volatile cache that a disk has while its power may be cut. Writes stay in it
until a flush; FUA goes through. A cut leaves of what was not flushed

- `lost`: nothing;
- `reordered`: some of the writes, whole, done in another order;
- `torn`: of each sector one of the versions that it had since the last flush.

After it every command fails until the fault is cleared: the power is back, the cache is empty.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import stat
import threading
from errno import EIO, EROFS
from typing import TYPE_CHECKING, Protocol

from services.drivers.disk.api import SECTOR_BYTES, SECTOR_SHIFT

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

IOV_LIMIT = 1024
PUNCH_HOLE_KEEP_SIZE = 3


class ImageRefused(Exception):
    """The image cannot be used: says why, and what to do (`cause`, `cure`)."""

    def __init__(self, cause: str, cure: str) -> None:
        super().__init__(f"{cause} ({cure})")
        self.cause, self.cure = cause, cure


class Medium(Protocol):
    """Where sectors are. Everything raises OSError."""

    def read(self, sector: int, count: int) -> bytes:
        """Their content."""

    def write(self, sector: int, buffers: Sequence[bytes], fua: bool) -> None:
        """One buffer after the other, from `sector` on; not of whole sectors if it is torn."""

    def flush(self) -> None:
        """Make what was written before durable."""

    def discard(self, sector: int, count: int) -> None:
        """A hint."""


class Image:
    """An image on the host. ImageRefused: it cannot be used."""

    def __init__(self, path: str, read_only: bool = False) -> None:
        self.path = path
        self.read_only = read_only
        try:
            self._fd = self._open(path)
        except OSError as error:
            raise ImageRefused(
                f"disk image {path!r}: {error.strerror}", "make one with hardtack image create"
            ) from None
        try:
            self._check()
        except BaseException:
            os.close(self._fd)
            raise
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]

    def _open(self, path: str) -> int:
        if not self.read_only:
            try:
                return os.open(path, os.O_RDWR | os.O_CLOEXEC)
            except OSError as error:
                if error.errno not in (errno.EACCES, errno.EPERM, EROFS):
                    raise
        self.read_only = True
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def _check(self) -> None:
        mode = os.fstat(self._fd).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISBLK(mode):
            raise ImageRefused(
                f"disk image {self.path!r} is no file", "name a file or a block device"
            )
        try:
            kind = fcntl.LOCK_SH if self.read_only else fcntl.LOCK_EX
            fcntl.flock(self._fd, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ImageRefused(
                f"disk image {self.path!r} is in use", "end the other hardtack, or copy the image"
            ) from None
        self.sectors = os.lseek(self._fd, 0, os.SEEK_END) >> SECTOR_SHIFT
        if not self.sectors:
            raise ImageRefused(
                f"disk image {self.path!r} is empty", "make one with hardtack image create"
            )

    def read(self, sector: int, count: int) -> bytes:
        """pread(2)."""
        data = os.pread(self._fd, count << SECTOR_SHIFT, sector << SECTOR_SHIFT)
        if len(data) != count << SECTOR_SHIFT:
            raise OSError(EIO, "the image has shrunk")
        return data

    def read_now(self, sector: int, count: int) -> bytes | None:
        """The same if the host has it in memory; None if it would have to wait, or cannot say."""
        data = bytearray(count << SECTOR_SHIFT)
        try:
            done = os.preadv(self._fd, [data], sector << SECTOR_SHIFT, os.RWF_NOWAIT)
        except OSError:
            return None
        return bytes(data) if done == len(data) else None

    def write(self, sector: int, buffers: Sequence[bytes], fua: bool) -> None:
        """pwritev(2), with RWF_DSYNC for FUA."""
        offset, flags = sector << SECTOR_SHIFT, os.RWF_DSYNC if fua else 0
        left = [memoryview(buffer) for buffer in buffers if buffer]
        while left:
            done = os.pwritev(self._fd, left[:IOV_LIMIT], offset, flags)
            if done <= 0:
                raise OSError(EIO, "the host wrote nothing")
            offset += done
            while left and done >= len(left[0]):
                done -= len(left.pop(0))
            if done:
                left[0] = left[0][done:]

    def flush(self) -> None:
        """fdatasync(2)."""
        os.fdatasync(self._fd)

    def discard(self, sector: int, count: int) -> None:
        """Punch a hole where the host can."""
        start, length = sector << SECTOR_SHIFT, count << SECTOR_SHIFT
        self._libc.fallocate(self._fd, PUNCH_HOLE_KEEP_SIZE, start, length)

    def close(self) -> None:
        """Let it go, and its lock."""
        os.close(self._fd)


class PowerCache:
    """See the module's docstring; `below` is what survives."""

    def __init__(self, below: Medium) -> None:
        self._below = below
        self._lock = threading.Lock()
        self._log: list[tuple[int, bytes]] = []
        self._now: dict[int, bytes] = {}
        self.dead = False

    def _alive(self) -> None:
        if self.dead:
            raise OSError(EIO, "no power")

    def read(self, sector: int, count: int) -> bytes:
        """What was written last, flushed or not."""
        with self._lock:
            self._alive()
            data = bytearray(self._below.read(sector, count))
            for at in range(count):
                if (newer := self._now.get(sector + at)) is not None:
                    data[at << SECTOR_SHIFT : (at + 1) << SECTOR_SHIFT] = newer
            return bytes(data)

    def write(self, sector: int, buffers: Sequence[bytes], fua: bool) -> None:
        """Into the cache, or with FUA through it."""
        data = b"".join(buffers)
        with self._lock:
            self._alive()
            torn = len(data) % SECTOR_BYTES
            if torn:
                last = self._read_one(sector + (len(data) >> SECTOR_SHIFT))
                data += last[torn:]
            if fua:
                self._below.write(sector, [data], fua)
                self._forget(sector, len(data) >> SECTOR_SHIFT)
                return
            self._log.append((sector, data))
            for at, start in enumerate(range(0, len(data), SECTOR_BYTES)):
                self._now[sector + at] = data[start : start + SECTOR_BYTES]

    def _read_one(self, sector: int) -> bytes:
        return self._now.get(sector) or self._below.read(sector, 1)

    def _forget(self, sector: int, count: int) -> None:
        """These sectors are durable: older versions of them can no longer come up."""
        for one in range(sector, sector + count):
            self._now.pop(one, None)
        kept: list[tuple[int, bytes]] = []
        for start, data in self._log:
            end = start + (len(data) >> SECTOR_SHIFT)
            if end <= sector or sector + count <= start:
                kept.append((start, data))
                continue
            if start < sector:
                kept.append((start, data[: (sector - start) << SECTOR_SHIFT]))
            if sector + count < end:
                kept.append((sector + count, data[(sector + count - start) << SECTOR_SHIFT :]))
        self._log = kept

    def flush(self) -> None:
        """All of it goes below."""
        with self._lock:
            self._alive()
            self._settle()

    def _settle(self) -> None:
        for sector, data in self._log:
            self._below.write(sector, [data], False)
        self._log, self._now = [], {}
        self._below.flush()

    def discard(self, sector: int, count: int) -> None:
        """Not taken: what it left would depend on the host."""

    def cut(self, order: str, chance: random.Random) -> None:
        """The power goes."""
        with self._lock:
            if self.dead:
                return
            self.dead = True
            log, self._log, self._now = self._log, [], {}
            for sector, data in survivors(log, order, chance):
                self._below.write(sector, [data], False)

    def restore(self) -> None:
        """The power is there, and stays: the cache is written out."""
        with self._lock:
            if not self.dead:
                self._settle()
            self.dead = False


def survivors(
    log: Sequence[tuple[int, bytes]], order: str, chance: random.Random
) -> list[tuple[int, bytes]]:
    """What of unflushed writes (sector, content) a cut leaves, to be done in this order."""
    if order == "reordered":
        some = [write for write in log if chance.random() < 0.5]
        chance.shuffle(some)
        return some
    if order == "lost":
        return []
    versions: dict[int, list[bytes]] = {}
    for sector, data in log:
        for at, start in enumerate(range(0, len(data), SECTOR_BYTES)):
            versions.setdefault(sector + at, []).append(data[start : start + SECTOR_BYTES])
    chosen = [(sector, chance.choice([None, *found])) for sector, found in versions.items()]
    return [(sector, data) for sector, data in chosen if data is not None]
