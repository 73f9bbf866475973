"""The images that a power cut could leave, by the log of a disk.

After each event: what was flushed or FUA is there; of the writes since, any subset may be, in any
order, sector by sector. With few of them all subsets are made; with more, these: none, all, each
alone, each missing, prefixes from behind, then by chance subsets, other orders of writes that
overlap, and torn ones, in which each sector is one of its versions. Images that are the same and
promise the same are made once.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from typing import TYPE_CHECKING

import attrs

from services.fs.ext4.device import SECTOR_BYTES
from tests.crash.recorder import Flushed, Returned, Written

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tests.crash.recorder import Event

Sectors = dict[int, bytes]
ALL_SUBSETS = 4
"""Of up to so many pending writes, every subset is made."""


@attrs.frozen
class State:
    """An image as its difference from the base, and what was promised by then."""

    sectors: Sectors
    done: int
    """Operations that had returned; one more may have been under way."""
    persisted: int
    how: str
    at: int
    """After this many events."""

    def image(self, base: bytes) -> bytes:
        """The whole of it."""
        made = bytearray(base)
        for sector, data in self.sectors.items():
            made[sector * SECTOR_BYTES : (sector + 1) * SECTOR_BYTES] = data
        return bytes(made)


def apply(sectors: Sectors, writes: Iterable[Written]) -> Sectors:
    """`sectors` after `writes`."""
    after = dict(sectors)
    for write in writes:
        for at, start in enumerate(range(0, len(write.data), SECTOR_BYTES)):
            after[write.sector + at] = write.data[start : start + SECTOR_BYTES]
    return after


def crash_states(log: Sequence[Event], seed: int = 0, by_chance: int = 8) -> Iterator[State]:
    """See the module's docstring; `by_chance` images of each random kind per cut."""
    chance = random.Random(seed)
    durable: Sectors = {}
    pending: list[Written] = []
    seen: set[bytes] = set()
    done = persisted = 0
    for at in range(len(log) + 1):
        for how, sectors in _choices(durable, pending, chance, by_chance):
            state = State(sectors, done, persisted, how, at)
            key = _key(state)
            if key not in seen:
                seen.add(key)
                yield state
        if at == len(log):
            return
        match log[at]:
            case Written(fua=True) as write:
                durable = apply(durable, [write])
                pending = _without(pending, write)
            case Written() as write:
                pending = [*pending, write]
            case Flushed():
                durable, pending = apply(durable, pending), []
            case Returned(now, promised):
                done, persisted = now, promised


def _without(pending: list[Written], fua: Written) -> list[Written]:
    """An older version of a sector that was written with FUA cannot come up again."""
    covered = range(fua.sector, fua.sector + len(fua.data) // SECTOR_BYTES)
    kept: list[Written] = []
    for write in pending:
        end = write.sector + len(write.data) // SECTOR_BYTES
        if end <= covered.start or covered.stop <= write.sector:
            kept.append(write)
            continue
        for at, start in enumerate(range(0, len(write.data), SECTOR_BYTES)):
            if write.sector + at not in covered:
                part = write.data[start : start + SECTOR_BYTES]
                kept.append(Written(write.sector + at, part, False))
    return kept


def _choices(
    durable: Sectors, pending: list[Written], chance: random.Random, by_chance: int
) -> Iterator[tuple[str, Sectors]]:
    for how, chosen in _subsets(pending, chance, by_chance):
        yield how, apply(durable, chosen)
    if len(pending) > 1:
        for _ in range(by_chance):
            some = [write for write in pending if chance.random() < 0.7]
            chance.shuffle(some)
            yield "reordered", apply(durable, some)
    if pending:
        versions: dict[int, list[bytes | None]] = {}
        for write in pending:
            for at, start in enumerate(range(0, len(write.data), SECTOR_BYTES)):
                found = versions.setdefault(write.sector + at, [None])
                found.append(write.data[start : start + SECTOR_BYTES])
        for _ in range(by_chance):
            picked = ((sector, chance.choice(found)) for sector, found in versions.items())
            yield "torn", {**durable, **{at: data for at, data in picked if data is not None}}


def _subsets(
    pending: list[Written], chance: random.Random, by_chance: int
) -> Iterator[tuple[str, list[Written]]]:
    count = len(pending)
    if count <= ALL_SUBSETS:
        for size in range(count + 1):
            for chosen in itertools.combinations(pending, size):
                yield "subset", list(chosen)
        return
    yield "none", []
    yield "all", pending
    spread = sorted({*range(min(count, by_chance)), *chance.sample(range(count), min(count, 8))})
    for at in spread:
        yield "alone", [pending[at]]
        yield "missing", pending[:at] + pending[at + 1 :]
        yield "behind", pending[at:]
    for _ in range(by_chance):
        yield "subset", [write for write in pending if chance.random() < 0.5]


def _key(state: State) -> bytes:
    digest = hashlib.blake2b(f"{state.done} {state.persisted}".encode(), digest_size=16)
    for sector in sorted(state.sectors):
        digest.update(sector.to_bytes(8, "little"))
        digest.update(state.sectors[sector])
    return digest.digest()
