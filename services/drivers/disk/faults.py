"""What armed faults do to a command: the words of dm-flakey, dm-dust and dm-log-writes.

Each command is judged once, when it is submitted (and once more per further attempt), before it is
merged with others: so what is struck does not depend on timing. A struck command goes alone.

| fault | what happens |
|---|---|
| error_reads, error_writes | EIO |
| drop_writes | acknowledged and not done |
| torn_write | acknowledged; only a first part is done, of one sector half |
| corrupt | `byte` of the command's content becomes `value` (0), on `rw`=r or w (both) |
| latency | it takes `time` (1s) and up to `jitter` longer; beyond the deadline the disk hangs |
| bad_sector | `sector` (and `count`, or all) cannot be read until it is written |
| full | ENOSPC for writes: what the image lies on is full |
| power_cut | this command and all after it fail, and what was not flushed is lost (see `media`) |

`sector` and `count` say which part of the disk (all), `path` which image.

Pure.
"""

from __future__ import annotations

from errno import EIO, ENOSPC
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import attrs

from bus.faultspec import CallFault, Fault
from services.drivers.disk.api import SECTOR_BYTES, SECTOR_SHIFT

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from bus.faults import Armed

KINDS = (
    "error_reads",
    "error_writes",
    "drop_writes",
    "torn_write",
    "corrupt",
    "latency",
    "bad_sector",
    "full",
    "power_cut",
)
LATENCY_S = 1.0
BAD_LIMIT = 1 << 20


@attrs.frozen
class Verdict:
    """What happens to a command; `PLAIN` if nothing."""

    error: int = 0
    delay_s: float = 0.0
    length_bytes: int | None = None
    """Only as much of it is written."""
    byte: int | None = None
    value: int = 0
    cut: str | None = None
    """The power goes: lost, reordered or torn."""

    def spoil(self, content: bytes) -> bytes:
        """`content` with the byte that is to be wrong."""
        if self.byte is None or self.byte >= len(content):
            return content
        spoilt = bytearray(content)
        spoilt[self.byte] = self.value
        return bytes(spoilt)


PLAIN = Verdict()


class DiskFaults:
    """The faults of the disk `name` of `sectors`."""

    def __init__(self, name: str, sectors: int) -> None:
        self.name, self.sectors = name, sectors
        self._armed: tuple[Armed, ...] = ()
        self._healed: dict[int, set[int]] = {}

    @property
    def armed(self) -> bool:
        """Whether any is."""
        return bool(self._armed)

    @property
    def power(self) -> bool:
        """Whether the power may be cut."""
        return any(one.fault.kind == "power_cut" for one in self._armed)  # type: ignore[union-attr]

    @property
    def random(self) -> random.Random | None:
        """The one of the power cut."""
        for one in self._armed:
            if isinstance(one.fault, Fault) and one.fault.kind == "power_cut":
                return one.random
        return None

    def refuse(self, fault: Fault | CallFault) -> str | None:
        """Why it cannot be."""
        if not isinstance(fault, Fault):
            return "no fault of the disk"
        sector = int(fault.attributes.get("sector", 0))
        if sector >= self.sectors:
            return f"sector is {sector} (the disk's last is {self.sectors - 1})"
        if fault.kind == "bad_sector" and int(fault.attributes.get("count", 1)) > BAD_LIMIT:
            return f"count is too large (say up to {BAD_LIMIT})"
        return None

    def arm(self, faults: Sequence[Armed]) -> None:
        """These, and no others."""
        self._armed = tuple(faults)
        numbers = {one.number for one in self._armed}
        for number in [one for one in self._healed if one not in numbers]:
            del self._healed[number]

    def judge(self, write: bool, read: bool, sector: int, count: int) -> Verdict:
        """What happens to a command; one that is neither write nor read is a flush."""
        verdict = PLAIN
        for armed in self._armed:
            said = self._strike(armed, write, read, sector, count)
            if said is None:
                continue
            if said.delay_s:
                verdict = attrs.evolve(verdict, delay_s=verdict.delay_s + said.delay_s)
            elif not verdict.error and verdict.cut is None:
                verdict = attrs.evolve(said, delay_s=verdict.delay_s)
        return verdict

    def _strike(
        self, armed: Armed, write: bool, read: bool, sector: int, count: int
    ) -> Verdict | None:
        fault = armed.fault
        assert isinstance(fault, Fault)
        if not fnmatchcase(self.name, str(fault.attributes.get("path", "*"))):
            return None
        if fault.kind == "bad_sector":
            return self._bad(armed, write, read, sector, count)
        if not _concerns(fault, write, read) or not _meets(fault, sector, count, write or read):
            return None
        size = count << SECTOR_SHIFT
        return _effect(fault, armed.random, size, write) if armed.strikes(size) else None

    def _bad(
        self, armed: Armed, write: bool, read: bool, sector: int, count: int
    ) -> Verdict | None:
        fault = armed.fault
        assert isinstance(fault, Fault)
        low, high = _part(fault)
        touched = range(max(sector, low), min(sector + count, high))
        healed = self._healed.setdefault(armed.number, set())
        if write:
            if len(healed) < BAD_LIMIT:
                healed.update(touched)
            return None
        if not read or all(one in healed for one in touched):
            return None
        return Verdict(EIO) if armed.strikes(count << SECTOR_SHIFT) else None


def _part(fault: Fault) -> tuple[int, int]:
    said = fault.attributes
    if "sector" not in said:
        return 0, 1 << 62
    low = int(said["sector"])
    return low, low + int(said.get("count", 1))


def _meets(fault: Fault, sector: int, count: int, ranged: bool) -> bool:
    low, high = _part(fault)
    return not ranged or (sector < high and low < sector + count)


def _concerns(fault: Fault, write: bool, read: bool) -> bool:
    if fault.kind == "error_reads":
        return read
    if fault.kind in ("error_writes", "drop_writes", "torn_write", "full"):
        return write
    if fault.kind == "corrupt":
        return {"r": read, "w": write}.get(str(fault.attributes.get("rw", "")), read or write)
    if fault.kind == "power_cut":
        return not read
    return True


def _effect(fault: Fault, chance: random.Random, size: int, write: bool) -> Verdict:
    said = fault.attributes
    match fault.kind:
        case "error_reads" | "error_writes":
            return Verdict(EIO)
        case "full":
            return Verdict(ENOSPC)
        case "drop_writes":
            return Verdict(length_bytes=0)
        case "torn_write":
            sectors = size >> SECTOR_SHIFT
            half = SECTOR_BYTES // 2
            return Verdict(length_bytes=chance.randrange(1, sectors) << 9 if sectors > 1 else half)
        case "corrupt":
            byte = int(said.get("byte", 0))
            return Verdict(byte=byte, value=int(said.get("value", 0)) & 0xFF)
        case "power_cut":
            return Verdict(cut=str(said.get("order", "lost")))
    jitter_s = float(said.get("jitter", 0.0))
    return Verdict(delay_s=float(said.get("time", LATENCY_S)) + jitter_s * chance.random())
