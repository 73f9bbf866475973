"""A volume from mounting to unmounting: recovery, the journal, orphans, the superblock's flags.

`mount` hands out steps and makes a `Session`. While it is mounted for writing, a volume with a
journal is marked as one that needs recovery, and one without as not sound (fsck's business).
"""

from __future__ import annotations

import functools
from errno import ENOMEM, EROFS
from typing import TYPE_CHECKING, TypeVar

from bus.errors import PosixError
from services.fs.core_need import ATTEMPTS
from services.fs.ext4 import jbd2, layout, mapping, orphans
from services.fs.ext4.blocks import NeedBlock
from services.fs.ext4.checksum import MASK
from services.fs.ext4.damage import Refused
from services.fs.ext4.device import (
    FLUSH,
    SECTOR_BYTES,
    SECTOR_SHIFT,
    BlockDevice,
    ReadStep,
    Write,
    perform,
)
from services.fs.ext4.journal import Journal
from services.fs.ext4.layout import SUPER_BYTES, SUPER_OFFSET, Incompat, RoCompat
from services.fs.ext4.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from services.fs.ext4.device import Step

Result = TypeVar("Result")

HAS_JOURNAL = 0x4
VALID = 1
STATE_AT, MOUNTS_AT, MOUNT_TIME_AT = 0x3A, 0x34, 0x2C


class Session:
    """A mounted volume, and its journal if it may be written."""

    def __init__(self, volume: Volume, journal: Journal | None, now: Callable[[], int]) -> None:
        self.volume = volume
        self.journal = journal
        self.now = now

    def change(self, operation: Callable[[], Result]) -> Result:
        """Do an operation, all of it or nothing. NeedBlock, EROFS, and what it raises itself."""
        journal = self.journal
        if journal is None:
            raise PosixError(EROFS)
        journal.check()
        with self.volume.cache.operation() as changes:
            result = operation()
        journal.take(changes)
        return result

    def unmount(self) -> Generator[Step, bytes, None]:
        """Everything goes home, and the volume is marked as sound."""
        journal, volume = self.journal, self.volume
        if journal is None:
            return
        yield from journal.commit()
        yield from journal.checkpoint()
        if journal.aborted:
            return
        self.journal = None
        if journal.log is not None:
            yield (journal.log.begin(0, journal.running.tid, journal.log.features),)
        yield from _mark(volume, journal.log is not None, mounted=False)


def _needing(volume: Volume, operation: Callable[[], Result]) -> Generator[Step, bytes, Result]:
    sectors = volume.block_bytes >> SECTOR_SHIFT
    for _ in range(ATTEMPTS):
        try:
            return operation()
        except NeedBlock as need:
            content = yield ReadStep(need.number * sectors, sectors)
            volume.cache.supply(need.number, content)
    raise PosixError(ENOMEM)


def _mark(volume: Volume, journalled: bool, *, mounted: bool) -> Generator[Step, bytes, None]:
    """Change one flag of the superblock, past all transactions: there are none going on."""
    number, at = volume.super_place
    raw = bytearray((yield from _needing(volume, lambda: volume.cache.get(number))))
    if journalled:
        told = layout.SUPER.get(raw, "incompat", at) & ~Incompat.RECOVER
        layout.SUPER.put(raw, "incompat", told | Incompat.RECOVER * mounted, at)
    else:
        state = int.from_bytes(raw[at + STATE_AT : at + STATE_AT + 2], "little") & ~VALID
        raw[at + STATE_AT : at + STATE_AT + 2] = (state | VALID * (not mounted)).to_bytes(
            2, "little"
        )
    volume.seal_super(raw)
    sectors = volume.block_bytes >> SECTOR_SHIFT
    yield (Write(number * sectors, bytes(raw)),)
    yield FLUSH
    volume.cache.supply(number, bytes(raw))


def _count_mount(volume: Volume, now: int) -> None:
    raw, at = volume.edit_super()
    raw[at + MOUNT_TIME_AT : at + MOUNT_TIME_AT + 4] = (now // 10**9 & MASK).to_bytes(4, "little")
    mounts = layout.SUPER.get(raw, "mnt_count", at) + 1
    layout.SUPER.put(raw, "mnt_count", mounts & 0xFFFF, at)
    volume.seal_super(raw)


def _super(sectors: int) -> Generator[Step, bytes, bytes]:
    first, count = SUPER_OFFSET // SECTOR_BYTES, SUPER_BYTES // SECTOR_BYTES
    if sectors < first + count:
        raise Refused("the disk is too small for a volume")
    return (yield ReadStep(first, count))


def mount(sectors: int, read_only: bool, now: Callable[[], int]) -> Generator[Step, bytes, Session]:
    """The volume on a disk of so many sectors, recovered. Refused, Damaged, PosixError.

    `read_only` is the disk's: nothing is recovered then, and a volume that needs it is refused.
    A volume with features for whose sake it must not be written is mounted for reading.
    """
    raw = yield from _super(sectors)
    volume = Volume(raw, sectors * SECTOR_BYTES, replay=not read_only)
    if read_only or volume.read_only_because:
        if volume.incompat & Incompat.RECOVER:
            raise Refused("its journal has not been replayed, and it must not be written")
        return Session(volume, None, now)
    log, tid = None, 1
    if volume.compat & HAS_JOURNAL:
        log, tid = yield from _recovered(volume)
        raw = yield from _super(sectors)
        recovered = bytearray(raw)
        told = layout.SUPER.get(raw, "incompat") & ~Incompat.RECOVER
        layout.SUPER.put(recovered, "incompat", told)
        volume = Volume(bytes(recovered), sectors * SECTOR_BYTES)
        features = log.features | jbd2.Feature.REVOKE
        if volume.wide:
            features |= jbd2.Feature.WIDE
        if volume.checksums:
            features |= jbd2.Feature.CHECKSUM_V3
        yield (log.begin(log.first, tid, features),)
    yield from _mark(volume, log is not None, mounted=True)
    session = Session(volume, Journal(volume, log, tid, now), now)
    yield from _needing(volume, lambda: session.change(lambda: _count_mount(volume, now())))
    yield from _free_orphans(session)
    return session


def _recovered(volume: Volume) -> Generator[Step, bytes, tuple[jbd2.Log, int]]:
    """The log, with nothing left in it, and the number of its next transaction."""
    inode = yield from _needing(volume, lambda: volume.inode(volume.journal_inode))
    places = yield from _needing(
        volume, lambda: mapping.runs(volume, inode, 0, inode.size // volume.block_bytes)
    )
    if not places:
        raise Refused("its journal has no blocks: e2fsck may mend it")
    size = volume.block_bytes >> SECTOR_SHIFT
    raw = yield ReadStep(places[0].physical * size, size)
    log = jbd2.open_log(raw, places, volume.block_bytes)
    if not volume.incompat & Incompat.RECOVER:
        return log, log.sequence + 1
    tid = yield from jbd2.recover(log, volume.blocks)
    return log, tid


def _free_orphans(session: Session) -> Generator[Step, bytes, None]:
    """What had lost its last name when the power went is freed; cut files are cut."""
    volume = session.volume
    volume.orphans += yield from _needing(volume, lambda: orphans.listed(volume))
    filed = yield from _needing(volume, lambda: orphans.filed(volume))
    for number in [*volume.orphans, *filed]:

        def finish(at: int = number) -> bool:
            return orphans.finish(volume, at, session.now())

        while not (yield from _needing(volume, lambda: session.change(finish))):
            pass
    if volume.ro_compat & RoCompat.ORPHAN_PRESENT:
        emptied = functools.partial(orphans.empty_file, volume)
        yield from _needing(volume, lambda: session.change(emptied))
    if session.journal is not None:
        yield from session.journal.commit()


class Direct:
    """A session over a device that makes nobody wait, for tools and tests."""

    def __init__(self, device: BlockDevice, now: Callable[[], int]) -> None:
        self.device = device
        self.session: Session = perform(device, mount(device.sectors, device.read_only, now))
        self.volume = self.session.volume

    def _run(self, operation: Callable[[], Result]) -> Result:
        return perform(self.device, _needing(self.volume, operation))

    def look(self, operation: Callable[[], Result]) -> Result:
        """What only reads."""
        return self._run(operation)

    def change(self, operation: Callable[[], Result]) -> Result:
        """What changes something."""
        result = self._run(lambda: self.session.change(operation))
        if self.session.journal is not None and self.session.journal.full:
            self.sync()
        return result

    def sync(self) -> None:
        """sync(2)."""
        journal = self.session.journal
        if journal is not None:
            perform(self.device, journal.commit())
            if journal.wants_checkpoint:
                perform(self.device, journal.checkpoint())

    def checkpoint(self) -> None:
        """Empty the log."""
        if self.session.journal is not None:
            perform(self.device, self.session.journal.checkpoint())

    def unmount(self) -> None:
        """umount(2)."""
        perform(self.device, self.session.unmount())
