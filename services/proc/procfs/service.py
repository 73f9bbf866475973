"""/proc as the path calls use it: what fs answers with `Foreign` goes on here (proc(5)).

`leaves` is asked first and says whether the path leads out again; what stays is opened, stated,
read as a link or entered here. Nothing can be made, removed or renamed.
"""

from __future__ import annotations

from errno import EACCES, EEXIST, EINVAL, EISDIR, ELOOP, ENOENT, ENOTDIR, EOPNOTSUPP, EPERM
from typing import TYPE_CHECKING, NoReturn

from bus.errors import PosixError
from services.drivers.clock.api import REALTIME, Now
from services.drivers.entropy.api import Draw
from services.fs.api import Attr, Foreign, Opened, Release, Resolve, Retain, StatNode
from services.proc.abi import (
    O_CLOEXEC,
    O_CREAT,
    O_DIRECTORY,
    O_EXCL,
    O_LARGEFILE,
    O_NOCTTY,
    O_NOFOLLOW,
    O_PATH,
    O_TMPFILE,
    O_TRUNC,
    S_IFDIR,
    S_IFMT,
    S_IFREG,
)
from services.proc.procfs.access import (
    check,
    check_immutable,
    check_node,
    check_trace,
    owner,
)
from services.proc.procfs.entry import (
    KINDS,
    SEARCH,
    WRITE,
    Folder,
    Link,
    Magic,
    Reader,
    Spot,
    Text,
)
from services.proc.procfs.files import ProcDir, ProcFile, ProcLink, listing
from services.proc.procfs.mounts import proc_dev
from services.proc.procfs.reopen import node_behind, reopen, wanted
from services.proc.procfs.state import Load
from services.proc.procfs.sysctl import format_uuid
from services.proc.procfs.tree import TOP, numbered
from services.proc.procfs.walk import Arrived, Redirect, Walk

if TYPE_CHECKING:
    from services.fs.api import Cred, DirEntry
    from services.proc.descriptors import OpenFile
    from services.proc.kernel import Kernel
    from services.proc.procfs.entry import Entry
    from services.proc.task import Process, Thread

MAX_REDIRECTS = 40
FD_LINK_BYTES = 64
KEPT_FLAGS = ~(O_CREAT | O_EXCL | O_TRUNC | O_CLOEXEC | O_NOCTTY)


class ProcFs:
    """The tree in `tree.py`, walked and opened on behalf of threads."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.top = TOP
        self.boot_id = format_uuid(bytes(16))
        self.dev = 0
        self._numbers = numbered(TOP)
        kernel.extra["load"] = self.load = Load(kernel)

    async def start(self) -> None:
        """Once, at boot: the boot's own id, st_dev, and the load's first sample."""
        self.boot_id = format_uuid(await self.kernel.entropy.call(Draw(16)))
        self.dev = await proc_dev(self.kernel)
        self.load.start(await self.kernel.timers.now())

    def extend(self, folder: bytes, entries: list[Entry]) -> None:
        """Add entries to a declared directory, given by its path (b"self/net" for net)."""
        here: Entry | None = self.top
        for name in folder.split(b"/"):
            assert isinstance(here, Folder)
            below = here.family.entry if name == b"self" and here.family else here.named(name)
            here = below
        assert isinstance(here, Folder)
        here.entries.extend(entries)
        self._numbers = numbered(self.top)

    # Walking ------------------------------------------------------------------------------------

    def _walk(self, reader: Reader, foreign: Foreign, follow: bool) -> Spot | Arrived | Redirect:
        return Walk(Spot(self.top, reader), foreign).run(follow)

    def _arrive(self, reader: Reader, foreign: Foreign, follow: bool) -> Spot | Arrived:
        outcome = self._walk(reader, foreign, follow)
        if isinstance(outcome, Redirect):
            raise PosixError(ENOENT)  # `leaves` was asked, and what it looked at is gone
        return outcome

    async def leaves(self, thread: Thread, foreign: Foreign) -> Redirect | None:
        """Where the path goes on, if it leaves /proc before its last component."""
        outcome = self._walk(Reader(thread.process, thread), foreign, follow=False)
        return outcome if isinstance(outcome, Redirect) else None

    # What the path calls ask --------------------------------------------------------------------

    async def open(self, thread: Thread, foreign: Foreign, flags: int, mode: int) -> OpenFile:
        """openat(2)."""
        if flags & O_TMPFILE == O_TMPFILE:
            raise PosixError(EOPNOTSUPP)
        exclusive = flags & (O_CREAT | O_EXCL) == O_CREAT | O_EXCL
        follow = not flags & O_NOFOLLOW and not exclusive
        found = self._arrive(Reader(thread.process, thread), foreign, follow)
        if exclusive:
            raise PosixError(EEXIST)
        if isinstance(found, Arrived):
            return await reopen(thread, found.target, flags)
        kept = flags & KEPT_FLAGS | O_LARGEFILE
        if flags & O_DIRECTORY and not isinstance(found.entry, Folder):
            raise PosixError(ENOTDIR)
        if isinstance(found.entry, Folder):
            if not flags & O_PATH and (wanted(flags) & WRITE or flags & O_CREAT):
                raise PosixError(EISDIR)
            if not flags & O_PATH:
                check(found, wanted(flags))
                check_trace(found)
            return ProcDir(self, found, kept)
        if isinstance(found.entry, Link | Magic):
            if not flags & O_PATH:
                raise PosixError(ELOOP)
            return ProcLink(self, found, kept)
        if not flags & O_PATH:
            check(found, wanted(flags))
            check_trace(found)
        return ProcFile(self, found, kept)

    async def stat(self, thread: Thread, foreign: Foreign, follow: bool) -> Attr:
        """stat(2), lstat(2)."""
        found = self._arrive(Reader(thread.process, thread), foreign, follow)
        if isinstance(found, Spot):
            return await self.attr(found)
        node = node_behind(found.target)
        if node is not None:
            return await self.kernel.fs.call(StatNode(node))
        return await found.target.file.stat(thread)  # type: ignore[union-attr]

    async def access(
        self,
        thread: Thread,
        foreign: Foreign,
        mode: int,
        follow: bool = True,
        cred: Cred | None = None,
    ) -> None:
        """faccessat(2), with the ids of `cred` or else the thread's own."""
        cred = cred or thread.process.credentials.cred
        found = self._arrive(Reader(thread.process, thread, cred), foreign, follow)
        if isinstance(found, Spot):
            if isinstance(found.entry, Text | Folder):
                check_immutable(found, mode)
                check(found, mode)
            return
        node = node_behind(found.target)
        if node is None:
            return
        check_node(await self.kernel.fs.call(StatNode(node)), cred, mode)

    async def readlink(self, thread: Thread, foreign: Foreign) -> bytes:
        """readlink(2)."""
        found = self._arrive(Reader(thread.process, thread), foreign, follow=False)
        assert isinstance(found, Spot)
        if isinstance(found.entry, Link):
            return found.entry.text(found)
        if not isinstance(found.entry, Magic):
            raise PosixError(EINVAL)
        check_trace(found)
        return await found.entry.text(found)

    async def resolve(
        self,
        process: Process,
        foreign: Foreign,
        follow: bool = True,
        execute: bool = False,
        otherwise: int = EPERM,
    ) -> Opened:
        """The fs node that a path through /proc leads to, with a reference.

        Where it leads to something of /proc's own: EACCES to `execute`, else `otherwise`.
        """
        reader, fs = Reader(process), self.kernel.fs
        for _ in range(MAX_REDIRECTS):
            found = self._walk(reader, foreign, follow)
            if isinstance(found, Redirect):
                reply = await fs.call(
                    Resolve(found.at, found.path, reader.cred, follow, execute=execute)
                )
                if type(reply) is Opened:
                    return reply
                assert type(reply) is Foreign
                foreign = reply
                continue
            node = node_behind(found.target) if isinstance(found, Arrived) else None
            if node is None:
                raise PosixError(EACCES if execute else otherwise)
            attr = await fs.call(StatNode(node))
            if execute:
                if attr.mode & S_IFMT != S_IFREG:
                    raise PosixError(EACCES)
                check_node(attr, reader.cred, SEARCH)
            await fs.call(Retain(node))
            return Opened(node, attr.mode, attr.rdev, attr.size)
        raise PosixError(ELOOP)

    async def chdir(self, thread: Thread, foreign: Foreign) -> None:
        """chdir(2)."""
        found = self._arrive(Reader(thread.process, thread), foreign, follow=True)
        if isinstance(found, Spot):
            await self.enter(thread, found)
            return
        node = node_behind(found.target)
        if node is None:
            raise PosixError(ENOTDIR)
        attr = await self.kernel.fs.call(StatNode(node))
        if attr.mode & S_IFMT != S_IFDIR:
            raise PosixError(ENOTDIR)
        check_node(attr, thread.process.credentials.cred, SEARCH)
        await self._move(thread, node, None)

    async def enter(self, thread: Thread, spot: Spot) -> None:
        """Make a directory of /proc the current one: to fs, the process then stands at its root."""
        if not isinstance(spot.entry, Folder):
            raise PosixError(ENOTDIR)
        check(spot, SEARCH)
        directories = thread.process.directories
        assert directories is not None
        await self._move(thread, directories.root, spot.path)

    async def _move(self, thread: Thread, node: int, within: bytes | None) -> None:
        directories = thread.process.directories
        assert directories is not None
        await self.kernel.fs.call(Retain(node))
        old = directories.cwd
        directories.move(node)
        directories.cwd_foreign = within
        await self.kernel.fs.call(Release(old))

    def refuse(self, thread: Thread, foreign: Foreign, change: str) -> NoReturn:
        """A change to the tree (make, unlink, rmdir, rename): the errno that Linux has for it."""
        found = self._arrive(Reader(thread.process, thread), foreign, follow=False)
        if change == "make":
            raise PosixError(EEXIST)
        if change == "rmdir" and isinstance(found, Spot) and not isinstance(found.entry, Folder):
            raise PosixError(ENOTDIR)
        raise PosixError(EPERM)

    # What entries look like ---------------------------------------------------------------------

    def ino(self, spot: Spot) -> int:
        """An inode number: the process, the descriptor and the declared entry, put together."""
        tid = spot.thread.tid if spot.thread else spot.process.pid if spot.process else 0
        fd = 0 if spot.fd is None else spot.fd + 1
        task = spot.thread is not None
        return tid << 32 | task << 31 | (fd & 0x1FFFFF) << 10 | self._numbers.get(spot.entry, 0)

    async def attr(self, spot: Spot) -> Attr:
        """stat(2) of an entry; times are now, as everything is made now."""
        entry = spot.entry
        kind, _ = KINDS[type(entry)]
        mode, size, links = entry.mode, 0, 1
        if isinstance(entry, Magic) and entry.bits is not None:
            mode, size = entry.bits(spot), FD_LINK_BYTES
        if isinstance(entry, Folder):
            links = 2 + sum(isinstance(child, Folder) for child in entry.entries)
            if entry.family is not None and isinstance(entry.family.entry, Folder):
                links += len(entry.family.numbers(spot))
        uid, gid = owner(spot)
        now = await self.kernel.clock.call(Now(REALTIME))
        return Attr(
            self.ino(spot), self.dev, kind | mode, links, uid, gid, 0, size, 0, 1024,
            now, now, now, now,
        )  # fmt: skip

    def listing(self, spot: Spot, cookie: int, count: int) -> list[DirEntry]:
        """Entries of a directory behind `cookie`."""
        return listing(self, spot, cookie, count)
