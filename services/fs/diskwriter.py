"""The writing side of a store on a disk: system calls become operations, operations transactions.

An operation changes memory's copy of the disk at once; who wants it durable waits for a commit
(`sync`). One commit goes on at a time, and takes everything up to then: those who sync meanwhile
wait for the next one together. Commits also come by age and by size (`tend`).

A file that lost its last name is freed when nobody has it any more, in the background: who lets it
go may have no time for a disk.
"""

from __future__ import annotations

from errno import EIO, ENOSPC
from typing import TYPE_CHECKING, TypeVar

import trio

from bus.errors import PosixError
from services.fs.core_inode import Directory, File, Inode
from services.fs.diskstore import DiskStore, number_of, origin_of
from services.fs.ext4 import content, operations
from services.fs.ext4.device import perform_waiting

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from services.drivers.ram.api import Extent, Ram
    from services.fs.core_inode import Dentry
    from services.fs.core_volume import Pair, Volume
    from services.fs.ext4.device import WaitingDevice
    from services.fs.ext4.inode import Inode as Ext4Inode
    from services.fs.ext4.journal import Journal
    from services.fs.ext4.session import Session

Result = TypeVar("Result")

COMMIT_AGE_NS = 5_000_000_000
"""So old the first change of a transaction may become, as on Linux (`commit=5`)."""
TEND_S = 1.0
EXCHANGE = 2
LATE_MAX = 256
"""So many access times wait for something else to be written."""


class Clock:
    """The time of day as it was last asked for: operations must not wait for it."""

    def __init__(self, ask: Callable[[], Awaitable[int]]) -> None:
        self._ask = ask
        self.now_ns = 0

    def __call__(self) -> int:
        """Ns since 1970."""
        return self.now_ns

    async def look(self) -> int:
        """Ask, and remember."""
        self.now_ns = await self._ask()
        return self.now_ns


class DiskWriter(DiskStore):
    """Files of an ext4 volume, read and written."""

    def __init__(
        self, device: WaitingDevice, session: Session, ram: Ram, journal: Journal, clock: Clock
    ) -> None:
        super().__init__(device, session, ram)
        self.journal = journal
        self._clock = clock
        self._committing = trio.Lock()
        self._dying: list[int] = []
        self._late: list[tuple[int, int, int]] = []
        """Access times that the disk has not got, of inodes that have left memory."""
        self.work = trio.Event()
        """There is something to tend."""
        self.at_once = False
        """Every change is durable before it is over: no commit takes more than one."""

    async def change(self, operation: Callable[[], Result], *inodes: Inode) -> Result:
        """Do an operation of the core's that changes these inodes. EROFS: the journal has stopped.

        Where the volume is full, what has just been freed is made free first.
        """
        origins = [origin_of(inode) for inode in inodes]
        for origin in origins:
            origin.pins += 1
        try:
            await self._clock.look()
            if self.journal.full:
                await self.commit(self.journal.running.tid)
            result = await self._try(operation)
        finally:
            for origin in origins:
                origin.pins -= 1
                origin.changes += 1
                if origin.gone and not origin.pins:
                    self._let_go(origin.number)
        if self.at_once:
            await self.commit(self.journal.running.tid)
        elif self.journal.half_full:
            self.work.set()
        return result

    async def _try(self, operation: Callable[[], Result]) -> Result:
        try:
            return await self.run(lambda: self.session.change(operation))
        except PosixError as refusal:
            if refusal.errno != ENOSPC or not (self._dying or any(self.ext4.frozen.values())):
                raise
        await self._reap()
        await self.commit(self.journal.running.tid)
        return await self.run(lambda: self.session.change(operation))

    # ── attributes ──────────────────────────────────────────────────────────────────────────

    async def refresh(self, inode: Inode) -> bool:
        """Take the attributes from the disk's inode; the access time stays, if it is later."""
        raw = await self.run(lambda: self.ext4.inode(number_of(inode)))
        self._renew(inode, raw)
        return False

    def _renew(self, inode: Inode, raw: Ext4Inode) -> None:
        atime = inode.atime_ns
        self.describe(inode, raw)
        if atime > inode.atime_ns:
            inode.atime_ns = atime
            inode.stale_atime = atime <= max(inode.mtime_ns, inode.ctime_ns)

    def adopt(self, inode: Inode, fresh: Inode) -> bool:
        """There is one inode for each number: nothing to be taken from another."""
        return False

    def settle(self, fresh: Inode) -> tuple[Inode, bool]:
        """There is one inode for each number."""
        return fresh, False

    async def set_attr(self, inode: Inode, mode: int | None, owner: Pair, times: Pair) -> None:
        """chmod(2), chown(2), utimensat(2)."""
        number = number_of(inode)
        atime = inode.atime_ns if times[0] is None else times[0]
        now = self._clock
        await self.change(
            lambda: operations.set_attributes(
                self.ext4, number, mode=mode, owner=owner, times=(atime, times[1]), ctime=now()
            ),
            inode,
        )
        self.describe(inode, self.ext4.inode(number))

    async def set_xattr(self, inode: Inode, name: bytes, value: bytes | None) -> None:
        """setxattr(2), removexattr(2)."""
        number = number_of(inode)
        await self.change(
            lambda: operations.set_xattr(self.ext4, number, name, value, self._clock()), inode
        )

    # ── names ───────────────────────────────────────────────────────────────────────────────

    async def make(
        self,
        directory: Directory,
        name: bytes,
        mode: int,
        owner: tuple[int, int],
        target: bytes,
        rdev: int,
    ) -> Inode:
        """A new file of any kind."""
        parent = number_of(directory)
        number = await self.change(
            lambda: operations.make(
                self.ext4, parent, name, mode, owner, self._clock(), target=target, rdev=rdev
            ),
            directory,
        )
        return self._known(directory.volume, self._all_of(number))

    async def link(self, inode: Inode, directory: Directory, name: bytes) -> None:
        """link(2)."""
        number, parent = number_of(inode), number_of(directory)
        await self.change(
            lambda: operations.link(self.ext4, number, parent, name, self._clock()),
            inode,
            directory,
        )

    async def remove(self, dentry: Dentry) -> None:
        """unlink(2), rmdir(2)."""
        parent, name = _place(dentry)
        await self.change(
            lambda: operations.remove(
                self.ext4, number_of(parent), name, self._clock(), held=_is_held(dentry)
            ),
            parent,
        )

    async def move(self, old: Dentry, directory: Directory, name: bytes, flags: int) -> None:
        """renameat2(2)."""
        source, old_name = _place(old)
        pair, goal = (number_of(source), old_name), (number_of(directory), name)
        await self.change(
            lambda: operations.rename(
                self.ext4,
                pair,
                goal,
                self._clock(),
                exchange=flags == EXCHANGE,
                held=_is_held(directory.children.get(name)),
            ),
            source,
            directory,
        )

    async def forget(self, inodes: Sequence[Inode]) -> None:
        """Those without a name are freed soon."""
        for inode in inodes:
            origin = origin_of(inode)
            self._note_atime(inode)
            origin.gone = True
            if not origin.pins:
                self._let_go(origin.number)

    def _note_atime(self, inode: Inode) -> None:
        """Kept until something is written anyway, or a while (as with lazytime)."""
        origin = origin_of(inode)
        if inode.atime_ns > origin.atime_ns and inode.nlink:
            self._late.append((origin.number, origin.generation, inode.atime_ns))

    async def _write_atimes(self) -> None:
        late, self._late = self._late, []
        for number, generation, atime in late:
            await self.change(
                lambda n=number, g=generation, a=atime: operations.set_atime(self.ext4, n, g, a)  # type: ignore[misc]
            )

    def _let_go(self, number: int) -> None:
        if number in self.ext4.orphans:
            self._dying.append(number)
            self.work.set()

    async def _reap(self) -> None:
        """Free what nobody has any more."""
        while self._dying and not self.journal.aborted:
            number = self._dying.pop()
            try:
                while not await self.change(
                    lambda n=number: operations.evict(self.ext4, n, self._clock())  # type: ignore[misc]
                ):
                    pass
            except PosixError:
                continue  # it stays in the list of orphans: the next mount frees it, or fsck

    # ── content ─────────────────────────────────────────────────────────────────────────────

    async def write(self, file: File, offset: int, extents: Sequence[Extent]) -> int:
        """Nobody asks: it waits."""
        view = self._ram.bytes
        return await self.put(file, offset, b"".join(view[at : at + n] for at, n in extents))

    async def put(self, file: File, offset: int, data: bytes) -> int:
        """pwrite(2)."""
        number = number_of(file)
        return await self.change(
            lambda: content.write(self.ext4, number, offset, data, self._clock()), file
        )

    async def truncate(self, file: File, length_bytes: int) -> None:
        """ftruncate(2)."""
        number = number_of(file)
        await self.change(
            lambda: content.truncate(self.ext4, number, length_bytes, self._clock()), file
        )

    async def allocate(self, file: File, mode: int, offset: int, length_bytes: int) -> None:
        """fallocate(2)."""
        number = number_of(file)
        await self.change(
            lambda: content.allocate(self.ext4, number, mode, offset, length_bytes, self._clock()),
            file,
        )

    # ── durability ──────────────────────────────────────────────────────────────────────────

    async def commit(self, tid: int) -> None:
        """Wait until a transaction is durable. EIO: it cannot be made so, or content of it.

        For content that may be ENOSPC: what the disk lies on is full.
        """
        journal = self.journal
        while journal.committed < tid and not journal.aborted:
            async with self._committing:
                if journal.committed < tid and not journal.aborted:
                    await self._perform_commit()
        if journal.aborted or tid in journal.failed:
            raise PosixError(EIO if journal.aborted else journal.failed[tid])

    async def _perform_commit(self) -> None:
        """Not to be stopped half-way, also if nobody waits for it any more."""
        try:
            with trio.CancelScope(shield=True):
                await perform_waiting(self.device, self.journal.commit())
                if self.journal.wants_checkpoint:
                    await perform_waiting(self.device, self.journal.checkpoint())
        finally:
            if self.journal.aborted and self._mounted is not None:
                self._mounted.read_only = True

    async def sync(self, inode: Inode, data_only: bool) -> None:
        """fsync(2), fdatasync(2): the inode's last transaction, or where no metadata counts its
        content alone.
        """
        journal, number = self.journal, number_of(inode)
        if journal.aborted:
            raise PosixError(EIO)
        essential = journal.running.inodes.get(number)
        if essential is None:
            committing = journal.committing
            if committing is not None and number in committing.inodes:
                await self.commit(committing.tid)
        elif essential or not data_only:
            await self.commit(journal.running.tid)
        else:
            async with self._committing:
                with trio.CancelScope(shield=True):
                    await perform_waiting(self.device, journal.write_content())

    async def sync_all(self) -> None:
        """sync(2)."""
        await self._reap()
        running = self.journal.running
        await self.commit(running.tid - 1 if running.empty else running.tid)

    async def tend(self) -> None:
        """What comes by itself: orphans are freed, transactions committed, the log emptied."""
        with trio.move_on_after(TEND_S):
            await self.work.wait()
        self.work = trio.Event()
        now = await self._clock.look()
        await self._reap()
        running = self.journal.running
        old = not running.empty and now - running.began_ns > COMMIT_AGE_NS
        try:
            if len(self._late) >= LATE_MAX or (old and self._late):
                await self._write_atimes()
            if old or self.journal.half_full:
                await self.commit(running.tid)
        except PosixError:
            return  # who syncs is told; the volume is read-only by now if it has to be

    async def close(self) -> None:
        """Everything is written, and the volume is sound."""
        await self._clock.look()
        await self._reap()
        if not self.journal.aborted and self._mounted is not None:
            for inode in list(self._mounted.known.values()):
                self._note_atime(inode)
            await self._write_atimes()
        async with self._committing:
            await perform_waiting(self.device, self.session.unmount())


def _is_held(dentry: Dentry | None) -> bool:
    """Whether anybody has a file open, or is about to change it; True if nobody knows."""
    inode = None if dentry is None else dentry.inode
    if inode is None:
        return True
    return origin_of(inode).pins > 0 or any(one.refs for one in inode.dentries)


def _place(dentry: Dentry) -> tuple[Directory, bytes]:
    parent = None if dentry.parent is None else dentry.parent.inode
    if not isinstance(parent, Directory):
        raise PosixError(EIO)
    return parent, dentry.name


def make_store(device: WaitingDevice, session: Session, ram: Ram, clock: Clock) -> DiskStore:
    """The store of a session, as far as it may be written."""
    if session.journal is None:
        return DiskStore(device, session, ram)
    return DiskWriter(device, session, ram, session.journal, clock)


def attach(volume: Volume, store: DiskStore) -> None:
    """Have a volume use a store."""
    volume.private = True
    volume.store = store
    if isinstance(store, DiskWriter):
        volume.through = store
    else:
        volume.read_only = True
