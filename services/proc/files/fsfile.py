"""Open files and directories of the file system."""

from __future__ import annotations

from errno import EBADF, EFBIG, EINVAL, EISDIR, ENOTDIR, EOVERFLOW
from typing import TYPE_CHECKING, TypeVar

from bus.census import kind as charge_kind
from bus.errors import PosixError
from services.fs.api import (
    APPEND,
    NOT_CACHED,
    Attr,
    Close,
    DirEntry,
    DropLocks,
    Fetch,
    PathOf,
    Read,
    ReadDir,
    Release,
    SeekData,
    StatNode,
    Sync,
    Write,
)
from services.proc.abi import (
    O_ACCMODE,
    O_APPEND,
    O_DSYNC,
    O_PATH,
    O_RDWR,
    O_SYNC,
    O_WRONLY,
    RLIM_INFINITY,
    RLIMIT_FSIZE,
    S_IFDIR,
    S_IFMT,
    SIGXFSZ,
)
from services.proc.descriptors import OpenFile, drop
from services.proc.park import Interrupted
from services.proc.signals import send

if TYPE_CHECKING:
    from bus.core import Port
    from bus.message import Request
    from services.drivers.ram.api import Extent
    from services.proc.task import Thread

R = TypeVar("R")

OFFSET_MAX = (1 << 63) - 1


class FsFile(OpenFile):
    """A regular file, directory or symbolic link (O_PATH); owns one reference to its node.

    `opened` says that fs opened it and must be told of its close; a memfd or O_PATH was not.
    """

    __slots__ = ("_fs", "_node", "_opened", "flocked", "listing", "mode")
    kind = "file"
    heap = charge_kind("proc", "file of fs")
    seekable = True

    def __init__(self, fs: Port, node: int, mode: int, flags: int, *, opened: bool = True) -> None:
        super().__init__(flags)
        self._fs = fs
        self._node = node
        self._opened = opened and not flags & O_PATH
        self.mode = mode
        self.flocked = False
        self.listing: list[DirEntry] = []
        """Entries fetched ahead of `offset` (a directory's cookie)."""

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return self.mode & S_IFMT == S_IFDIR

    async def read(self, thread: Thread, extents: list[Extent], offset: int | None) -> int:
        """read(2), pread(2)."""
        if self.mode & S_IFMT == S_IFDIR:
            raise PosixError(EISDIR)
        at = self.offset if offset is None else offset
        count = await self._fs.call(Read(self._node, at, extents))
        while count == NOT_CACHED:
            length = sum([size for _, size in extents])
            again = Read(self._node, at, extents, blocking=True)
            count = await self._fetched(thread, again, [(at, length)])
        if offset is None:
            self.offset = at + count
        return count

    async def write(self, thread: Thread, extents: list[Extent], offset: int | None) -> int:
        """write(2), pwrite(2); O_APPEND wins over both offsets, as on Linux."""
        at = self.offset if offset is None else offset
        if self.flags & O_APPEND:
            at = APPEND
        limit = thread.process.limits[RLIMIT_FSIZE][0]
        bound = None if limit == RLIM_INFINITY else limit
        cred = thread.process.credentials.cred
        try:
            written = await self._fs.call(Write(self._node, at, extents, cred, bound))
            if written.count == NOT_CACHED:
                start = written.end
                end = start + sum([size for _, size in extents])
                again = Write(self._node, at, extents, cred, bound, blocking=True)
                written = await self._fetched(thread, again, [(start, 1), (end - 1, 1)])
        except PosixError as error:
            if error.errno == EFBIG and bound is not None:
                send.to_thread(thread, send.user_info(SIGXFSZ, thread.process))
            raise
        if offset is None:
            self.offset = written.end
        if self.flags & O_DSYNC and written.count > 0:
            await self._fs.call(Sync(self._node, self.flags & O_SYNC != O_SYNC))
        return written.count

    async def _fetched(
        self, thread: Thread, request: Request[R], ranges: list[tuple[int, int]]
    ) -> R:
        """Make a request that holds the extents of a buffer after its pages were waited for.

        While others ran, a thread may have closed the description, or changed what the buffer's
        addresses mean: then the call begins again, as in `anon.wait_holding`. Nothing was moved.
        """
        memory = thread.space.memory
        before = memory.generation
        self.holders += 1
        try:
            for start, length in ranges:
                await self._fs.call(Fetch(self._node, start, length))
            if memory.generation != before:
                thread.work = True
                raise Interrupted
            return await self._fs.call(request)
        finally:
            await drop(self, thread)

    async def seek(self, thread: Thread, offset: int, whence: int) -> int:
        """lseek(2)."""
        if whence == 0:
            target = offset
        elif whence == 1:
            target = self.offset + offset
        elif whence == 2:
            target = (await self._fs.call(StatNode(self._node))).size + offset
        elif whence in (3, 4):
            if offset < 0:
                raise PosixError(6)  # ENXIO
            target = await self._fs.call(SeekData(self._node, offset, whence == 4))
        else:
            raise PosixError(EINVAL)
        if target < 0:
            raise PosixError(EINVAL)
        if target > OFFSET_MAX:
            raise PosixError(EOVERFLOW)
        if target != self.offset:
            self.listing = []
        self.offset = target
        return target

    async def stat(self, thread: Thread) -> Attr:
        """fstat(2)."""
        return await self._fs.call(StatNode(self._node))

    async def entries(self, count: int) -> list[DirEntry]:
        """Directory entries from `offset` on, without moving it; [] at the end."""
        if not self.is_directory:
            raise PosixError(ENOTDIR)
        if self.flags & O_PATH:
            raise PosixError(EBADF)
        if not self.listing:
            self.listing = list(await self._fs.call(ReadDir(self._node, self.offset, count)))
        return self.listing

    def take_entries(self, count: int) -> None:
        """Move `offset` behind the first `count` entries that `entries` gave."""
        if count:
            self.offset = self.listing[count - 1].cookie
            del self.listing[:count]

    def node(self) -> int:
        """The fs node."""
        return self._node

    def directory(self) -> int:
        """The node, if it is a directory."""
        if not self.is_directory:
            raise PosixError(ENOTDIR)
        return self._node

    async def closed(self, thread: Thread | None) -> None:
        """Drop flock(2) locks and the reference."""
        if self.flocked:
            await self._fs.call(DropLocks(self._node, f"file {id(self)}"))
        if self._opened:
            await self._fs.call(Close(self._node, self.flags & O_ACCMODE in (O_WRONLY, O_RDWR)))
        else:
            await self._fs.call(Release(self._node))

    async def path(self) -> bytes:
        """The path as fs has it now."""
        return await self._fs.call(PathOf(self._node, 0))
