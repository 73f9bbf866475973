"""A disk in memory that remembers, in order, what was written, flushed and promised."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from services.fs.ext4.device import SECTOR_SHIFT, MemoryDevice

if TYPE_CHECKING:
    from services.fs.ext4.device import Buffer


@attrs.frozen
class Written:
    """Sectors, durable at once with `fua`."""

    sector: int
    data: bytes
    fua: bool


@attrs.frozen
class Flushed:
    """All before is durable."""


@attrs.frozen
class Returned:
    """Operation `done` (counted from 1) has returned; what was before `persisted` + 1 must stay."""

    done: int
    persisted: int


Event = Written | Flushed | Returned


class Recorder(MemoryDevice):
    """A disk that starts as `base`; `log` begins when `record` is called."""

    lasting = True

    def __init__(self, base: bytes) -> None:
        super().__init__(len(base))
        super().write(0, base)
        self.log: list[Event] = []
        self.recording = False

    def record(self) -> bytes:
        """From now on; what is on the disk already, all of it durable."""
        self.log.clear()
        self.recording = True
        return self.content()

    def write(self, sector: int, data: Buffer, fua: bool = False) -> None:
        """Whole sectors."""
        super().write(sector, data, fua)
        if self.recording and data:
            self.log.append(Written(sector, bytes(data), fua))

    def flush(self) -> None:
        """A barrier."""
        if self.recording:
            self.log.append(Flushed())

    def discard(self, sector: int, count: int) -> None:
        """A hint that may take effect at any time before the next flush: here as a write."""
        self.write(sector, bytes(count << SECTOR_SHIFT))

    def returned(self, done: int, persisted: int) -> None:
        """An operation is over."""
        self.log.append(Returned(done, persisted))
