"""Open files and directories of /proc.

A file's content is made when it is read from its start, and kept for reads that follow on, so that
a program sees one state from beginning to end (as seq_file does). A directory's cookies are made
of the children's numbers, so that reading goes on rightly while processes come and go.
"""

from __future__ import annotations

from errno import EINVAL, EIO, EISDIR, ENOENT, ENOTDIR, ESRCH
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.fs.api import Attr, DirEntry, Foreign
from services.proc.descriptors import OpenFile
from services.proc.files.anon import gather, scatter, total
from services.proc.procfs.access import check_trace
from services.proc.procfs.entry import KINDS, Folder, Text

if TYPE_CHECKING:
    from services.drivers.ram.api import Extent
    from services.proc.procfs.entry import Spot
    from services.proc.procfs.service import ProcFs
    from services.proc.task import Thread

WRITE_BYTES = 4096
FAMILY_COOKIE = 4096
"""Cookies from here on are numbers of a family; below are . and .. and the declared entries."""


class ProcOpen(OpenFile):
    """What is open in /proc, by its spot."""

    __slots__ = ("procfs", "spot")

    def __init__(self, procfs: ProcFs, spot: Spot, flags: int) -> None:
        super().__init__(flags)
        self.procfs = procfs
        self.spot = spot

    @property
    def within(self) -> bytes:
        """Where it is below the mount: for links that lead to it, and paths that start at it."""
        return self.spot.path

    async def path(self) -> bytes:
        """What fd/N reads as."""
        return (b"/proc/" + self.within).rstrip(b"/")

    async def stat(self, thread: Thread) -> Attr:
        """fstat(2)."""
        return await self.procfs.attr(self.spot)

    def gone(self) -> bool:
        """Whether the process that it is about was reaped."""
        process = self.spot.process
        return process is not None and process.pid not in self.spot.kernel.processes


class ProcLink(ProcOpen):
    """A link itself (O_PATH with O_NOFOLLOW)."""

    __slots__ = ()
    kind = "proc link"


class ProcFile(ProcOpen):
    """A file of /proc."""

    __slots__ = ("_content", "entry")
    kind = "proc file"
    seekable = True

    def __init__(self, procfs: ProcFs, spot: Spot, flags: int) -> None:
        super().__init__(procfs, spot, flags)
        assert isinstance(spot.entry, Text)
        self.entry: Text = spot.entry
        self._content: bytes | None = None

    async def read(self, thread: Thread, extents: list[Extent], offset: int | None) -> int:
        """read(2): made anew at offset 0; ESRCH when the process is gone."""
        at = self.offset if offset is None else offset
        if at == 0 or self._content is None:
            if self.gone():
                raise PosixError(ESRCH)
            check_trace(self.spot)
            self._content = await self.entry.read(self.spot)
        data = self._content[at : at + total(extents)]
        if data:
            scatter(thread.kernel.ram.bytes, extents, data)
        if offset is None:
            self.offset = at + len(data)
        return len(data)

    async def write(self, thread: Thread, extents: list[Extent], offset: int | None) -> int:
        """write(2): all at once, at any offset; EIO (below PID, EINVAL) if only for reading."""
        if self.entry.write is None:
            raise PosixError(EIO if self.spot.process is None else EINVAL)
        if self.gone():
            raise PosixError(ESRCH)
        count = total(extents)
        data = bytes(gather(thread.kernel.ram.bytes, extents, 0, min(count, WRITE_BYTES)))
        await self.entry.write(self.spot, data)
        self._content = None
        if offset is None:
            self.offset += count
        return count

    async def seek(self, thread: Thread, offset: int, whence: int) -> int:
        """lseek(2); from the end only where the content is known to have one."""
        if whence not in (0, 1):
            raise PosixError(EINVAL)
        target = offset + (self.offset if whence else 0)
        if target < 0:
            raise PosixError(EINVAL)
        self.offset = target
        return target


class ProcDir(ProcOpen):
    """A directory of /proc; `entries` and `take_entries` are what getdents64(2) uses."""

    __slots__ = ("_listing",)
    kind = "proc directory"
    seekable = True

    def __init__(self, procfs: ProcFs, spot: Spot, flags: int) -> None:
        super().__init__(procfs, spot, flags)
        self._listing: list[DirEntry] = []

    async def read(self, thread: Thread, extents: list[Extent], offset: int | None) -> int:
        """read(2)."""
        raise PosixError(EISDIR)

    async def seek(self, thread: Thread, offset: int, whence: int) -> int:
        """lseek(2): to a cookie that getdents64 gave."""
        if whence not in (0, 1) or offset + (self.offset if whence else 0) < 0:
            raise PosixError(EINVAL)
        self.offset = offset + (self.offset if whence else 0)
        return self.offset

    async def entries(self, count: int) -> list[DirEntry]:
        """What comes after `offset`, at most `count`; ENOENT when the process is gone."""
        if self.gone():
            raise PosixError(ENOENT)
        self._listing = self.procfs.listing(self.spot, self.offset, count)
        return self._listing

    def take_entries(self, count: int) -> None:
        """Move `offset` behind the first `count` of them."""
        if count:
            self.offset = self._listing[count - 1].cookie

    def relative(self, path: bytes) -> Foreign:
        """Where a path that starts here leads: as fs would answer for one that came through it."""
        within = self.within
        return Foreign("proc", within + b"/" + path if within else path, b"/proc")

    def directory(self) -> int:
        """It has no node of fs: `relative` is for paths."""
        raise PosixError(ENOTDIR)

    async def chdir(self, thread: Thread) -> None:
        """fchdir(2)."""
        await self.procfs.enter(thread, self.spot)


def listing(procfs: ProcFs, spot: Spot, cookie: int, count: int) -> list[DirEntry]:
    """At most `count` entries of a directory behind `cookie`."""
    folder = spot.entry
    assert isinstance(folder, Folder)
    parent = spot.parent or spot
    rows = [
        DirEntry(procfs.ino(spot), 1, 4, b"."),
        DirEntry(procfs.ino(parent), 2, 4, b".."),
    ]
    for at, entry in enumerate(folder.entries, 3):
        child = spot.child(entry, entry.name)
        rows.append(DirEntry(procfs.ino(child), at, KINDS[type(entry)][1], entry.name))
    rows = [row for row in rows if row.cookie > cookie][:count]
    if folder.family is not None:
        kind = KINDS[type(folder.family.entry)][1]
        for number in folder.family.numbers(spot):
            if len(rows) >= count:
                break
            if FAMILY_COOKIE + number > cookie:
                found = folder.family.enter(spot, number)
                if found is not None:
                    ino = procfs.ino(found)
                    rows.append(DirEntry(ino, FAMILY_COOKIE + number, kind, found.name))
    return rows
