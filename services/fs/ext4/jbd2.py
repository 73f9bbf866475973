"""JBD2's log as it lies on disk, and how a crash is recovered from. All numbers are big-endian.

The log is a file of blocks, used in a ring. A transaction is: revoke blocks, descriptor blocks each
followed by the blocks that its tags name, and a commit block; all with the transaction's number.
Recovery reads from where the journal's superblock says, as long as transactions are whole.
Source: Documentation/filesystems/ext4/journal.rst.
"""

from __future__ import annotations

import enum
import struct
from typing import TYPE_CHECKING

import attrs

from services.fs.ext4.checksum import MASK, crc32c
from services.fs.ext4.damage import Damaged, Refused
from services.fs.ext4.device import FLUSH, SECTOR_SHIFT, ReadStep, Write

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from services.fs.ext4.device import Step
    from services.fs.ext4.mapping import Run

MAGIC = 0xC03B3998
HEADER = struct.Struct(">III")
SUPER_V1, SUPER_V2 = 3, 4
COMMIT_TIME_AT, CHECKSUM_AT, SUPER_CHECKSUM_AT = 0x30, 0x10, 0xFC
SUPER_BYTES = 1024
CRC32C_TYPE = 4


class Kind(enum.IntEnum):
    """Of a block of the log that is no copy."""

    DESCRIPTOR = 1
    COMMIT = 2
    REVOKE = 5


class Feature(enum.IntFlag):
    """Those that change how the log is read."""

    REVOKE = 0x1
    WIDE = 0x2
    ASYNC_COMMIT = 0x4
    CHECKSUM_V2 = 0x8
    CHECKSUM_V3 = 0x10
    FAST_COMMIT = 0x20


READABLE = Feature.REVOKE | Feature.WIDE | Feature.CHECKSUM_V3
ESCAPED, SAME_UUID, LAST = 1, 2, 8


@attrs.define(eq=False)
class Log:
    """The journal's file: where its blocks are, and what its superblock says."""

    raw: bytearray
    """The superblock, SUPER_BYTES."""
    places: Sequence[int]
    """Physical blocks, by number in the log."""
    block_bytes: int

    def _word(self, at: int) -> int:
        return int.from_bytes(self.raw[at : at + 4], "big")

    def _put(self, at: int, value: int) -> None:
        self.raw[at : at + 4] = value.to_bytes(4, "big")

    @property
    def first(self) -> int:
        """The ring's first block."""
        return self._word(0x14)

    @property
    def end(self) -> int:
        """Behind the ring's last block."""
        return min(self._word(0x10), len(self.places))

    @property
    def sequence(self) -> int:
        """The first transaction's number that may be in the log."""
        return self._word(0x18)

    @property
    def start(self) -> int:
        """Where that one begins; 0: nothing has to be recovered."""
        return self._word(0x1C)

    @property
    def features(self) -> Feature:
        """What it needs to be understood."""
        return Feature(self._word(0x28))

    @property
    def seed(self) -> int:
        """Where its checksums begin."""
        return crc32c(MASK, self.raw[0x30:0x40])

    @property
    def tag_bytes(self) -> int:
        """How long a descriptor's tag is, without its UUID."""
        if self.features & Feature.CHECKSUM_V3:
            return 16
        return 12 if self.features & Feature.WIDE else 8

    @property
    def tail_bytes(self) -> int:
        """What a descriptor has at its end."""
        return 4 if self.features & Feature.CHECKSUM_V3 else 0

    def after(self, block: int, count: int = 1) -> int:
        """`count` further on in the ring."""
        block += count
        return block if block < self.end else block - self.end + self.first

    def sector(self, block: int) -> int:
        """Where a block of the log is."""
        return self.places[block] * (self.block_bytes >> SECTOR_SHIFT)

    def begin(self, start: int, sequence: int, features: Feature) -> Write:
        """What the superblock says from now on, durable when written."""
        self._put(0x18, sequence)
        self._put(0x1C, start)
        self._put(0x28, features)
        if features & Feature.CHECKSUM_V3:
            self.raw[0x50] = CRC32C_TYPE
            self._put(SUPER_CHECKSUM_AT, 0)
            self._put(SUPER_CHECKSUM_AT, crc32c(MASK, self.raw))
        return Write(self.sector(0), bytes(self.raw), fua=True)

    def copy(self, block: int, content: bytes) -> Write:
        """A block of the log."""
        return Write(self.sector(block), content)


def open_log(raw: bytes, places: Sequence[Run], block_bytes: int) -> Log:
    """The log in a file that lies there. Refused: it is none, or none that we read."""
    magic, kind, _ = HEADER.unpack_from(raw)
    if magic != MAGIC or kind not in (SUPER_V1, SUPER_V2):
        raise Refused("its journal has no superblock: e2fsck may mend it")
    log = Log(bytearray(raw[:SUPER_BYTES]), _numbers(places), block_bytes)
    if kind == SUPER_V1:
        raise Refused("its journal is of version 1: tune2fs makes a new one")
    unknown = Feature(int(log.features) & ~int(READABLE))
    if unknown:
        raise Refused(f"its journal has unknown features: {unknown!r}")
    if int.from_bytes(raw[0x0C:0x10], "big") != block_bytes:
        raise Refused("its journal has blocks of another size")
    if log.features & Feature.CHECKSUM_V3:
        cleared = raw[:SUPER_CHECKSUM_AT] + bytes(4) + raw[SUPER_CHECKSUM_AT + 4 : SUPER_BYTES]
        told = int.from_bytes(raw[SUPER_CHECKSUM_AT : SUPER_CHECKSUM_AT + 4], "big")
        if crc32c(MASK, cleared) != told:
            raise Refused("the checksum of its journal's superblock is wrong: e2fsck may mend it")
    if not 0 < log.first < log.end or log.end - log.first < 8 or log.start >= log.end:
        raise Refused("its journal's superblock makes no sense: e2fsck may mend it")
    return log


def _numbers(places: Sequence[Run]) -> list[int]:
    found: list[int] = []
    for run in places:
        if run.logical != len(found) or run.unwritten:
            raise Refused("its journal has holes")
        found += range(run.physical, run.physical + run.count)
    return found


# Writing


def _sealed(log: Log, block: bytearray) -> bytes:
    if log.tail_bytes:
        block[-4:] = bytes(4)
        block[-4:] = crc32c(log.seed, block).to_bytes(4, "big")
    return bytes(block)


def revoke_blocks(log: Log, tid: int, numbers: Sequence[int]) -> list[bytes]:
    """Blocks that say: no older copy of these is to be recovered."""
    width = 8 if log.features & Feature.WIDE else 4
    most = (log.block_bytes - 16 - log.tail_bytes) // width
    found = []
    for at in range(0, len(numbers), most):
        part = numbers[at : at + most]
        block = bytearray(log.block_bytes)
        HEADER.pack_into(block, 0, MAGIC, Kind.REVOKE, tid)
        block[12:16] = (16 + width * len(part)).to_bytes(4, "big")
        content = b"".join(number.to_bytes(width, "big") for number in part)
        block[16 : 16 + len(content)] = content
        found.append(_sealed(log, block))
    return found


def descriptor_blocks(log: Log, tid: int, copies: Sequence[tuple[int, bytes]]) -> list[bytes]:
    """Descriptors, each followed by the copies that it names, as they go into the log."""
    found: list[bytes] = []
    room = log.block_bytes - HEADER.size - log.tail_bytes - 16
    most = room // log.tag_bytes
    for at in range(0, len(copies), most):
        part = copies[at : at + most]
        block = bytearray(log.block_bytes)
        HEADER.pack_into(block, 0, MAGIC, Kind.DESCRIPTOR, tid)
        place, logged = HEADER.size, []
        for index, (number, content) in enumerate(part):
            flags = SAME_UUID if index else 0
            if content[:4] == MAGIC.to_bytes(4, "big"):
                content, flags = bytes(4) + content[4:], flags | ESCAPED
            if index + 1 == len(part):
                flags |= LAST
            tag = _tag(log, tid, number, flags, content)
            block[place : place + len(tag)] = tag
            place += len(tag)
            if not index:
                block[place : place + 16] = log.raw[0x30:0x40]
                place += 16
            logged.append(content)
        found += [_sealed(log, block), *logged]
    return found


def _tag(log: Log, tid: int, number: int, flags: int, content: bytes) -> bytes:
    low, high = number & MASK, number >> 32
    if log.features & Feature.CHECKSUM_V3:
        told = crc32c(crc32c(log.seed, tid.to_bytes(4, "big")), content)
        return struct.pack(">IIII", low, flags, high, told)
    tag = struct.pack(">IHH", low, 0, flags)
    return tag + high.to_bytes(4, "big") if log.features & Feature.WIDE else tag


def commit_block(log: Log, tid: int, now_ns: int) -> bytes:
    """What makes a transaction whole."""
    block = bytearray(log.block_bytes)
    HEADER.pack_into(block, 0, MAGIC, Kind.COMMIT, tid)
    struct.pack_into(">QI", block, COMMIT_TIME_AT, *divmod(now_ns, 1_000_000_000))
    if log.features & Feature.CHECKSUM_V3:
        block[CHECKSUM_AT : CHECKSUM_AT + 4] = crc32c(log.seed, block).to_bytes(4, "big")
    return bytes(block)


# Recovery


@attrs.define
class _Found:
    """What whole transactions say: the newest copy of each block, and who revoked it last."""

    copies: list[tuple[int, int, int, bool]] = attrs.field(factory=list)
    """(transaction, block of the volume, block of the log, escaped), in order."""
    revoked: dict[int, int] = attrs.field(factory=dict)
    next_tid: int = 0


def recover(log: Log, blocks: int) -> Generator[Step, bytes, int]:
    """Bring the volume to where the last whole transaction left it; the next one's number."""
    if not log.start:
        return log.sequence + 1
    found = yield from _scan(log)
    newest: dict[int, tuple[int, bool]] = {}
    for tid, number, place, escaped in found.copies:
        if number in found.revoked and _not_before(found.revoked[number], tid):
            continue
        if number >= blocks:
            raise Damaged("journal", f"it has a copy of block {number}, outside of the volume")
        newest[number] = (place, escaped)
    size = log.block_bytes
    for number, (place, escaped) in newest.items():
        content = yield ReadStep(log.sector(place), size >> SECTOR_SHIFT)
        if escaped:
            content = MAGIC.to_bytes(4, "big") + content[4:]
        yield (Write(number * (size >> SECTOR_SHIFT), content),)
    yield FLUSH
    return found.next_tid + 1


def _not_before(one: int, other: int) -> bool:
    return (one - other) & MASK < 1 << 31


def _scan(log: Log) -> Generator[Step, bytes, _Found]:
    found, tid, here = _Found(), log.sequence, log.start
    size, left = log.block_bytes, log.end - log.first
    pending, revoking = [], list[int]()
    while left > 0:
        block = yield ReadStep(log.sector(here), size >> SECTOR_SHIFT)
        magic, kind, told = HEADER.unpack_from(block)
        if magic != MAGIC or told != tid or not _is_sound(log, block, kind):
            break
        used = 1
        if kind == Kind.DESCRIPTOR:
            tags = _tags(log, block)
            for index, (number, escaped, checksum) in enumerate(tags):
                place = log.after(here, 1 + index)
                if log.features & Feature.CHECKSUM_V3:
                    copy = yield ReadStep(log.sector(place), size >> SECTOR_SHIFT)
                    if crc32c(crc32c(log.seed, tid.to_bytes(4, "big")), copy) != checksum:
                        found.next_tid = tid
                        return found
                pending.append((tid, number, place, escaped))
            used += len(tags)
        elif kind == Kind.REVOKE:
            revoking += _revoked(log, block)
        elif kind == Kind.COMMIT:
            found.copies += pending
            found.revoked.update(dict.fromkeys(revoking, tid))
            pending, revoking = [], []
            tid = (tid + 1) & MASK
        else:
            break
        here, left = log.after(here, used), left - used
    found.next_tid = tid
    return found


def _is_sound(log: Log, block: bytes, kind: int) -> bool:
    if not log.features & Feature.CHECKSUM_V3:
        return True
    at = CHECKSUM_AT if kind == Kind.COMMIT else len(block) - 4
    cleared = block[:at] + bytes(4) + block[at + 4 :]
    return crc32c(log.seed, cleared) == int.from_bytes(block[at : at + 4], "big")


def _tags(log: Log, block: bytes) -> list[tuple[int, bool, int]]:
    """(block, escaped, checksum) of each copy that a descriptor names."""
    found: list[tuple[int, bool, int]] = []
    at, end = HEADER.size, len(block) - log.tail_bytes
    while at + log.tag_bytes <= end:
        checksum = 0
        if log.features & Feature.CHECKSUM_V3:
            number, flags, high, checksum = struct.unpack_from(">IIII", block, at)
            number |= high << 32
        else:
            number, _, flags = struct.unpack_from(">IHH", block, at)
            if log.features & Feature.WIDE:
                number |= int.from_bytes(block[at + 8 : at + 12], "big") << 32
        found.append((number, bool(flags & ESCAPED), checksum))
        at += log.tag_bytes + (0 if flags & SAME_UUID else 16)
        if flags & LAST:
            break
    return found


def _revoked(log: Log, block: bytes) -> list[int]:
    width = 8 if log.features & Feature.WIDE else 4
    end = min(int.from_bytes(block[12:16], "big"), len(block) - log.tail_bytes)
    return [int.from_bytes(block[at : at + width], "big") for at in range(16, end, width)]
