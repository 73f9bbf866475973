"""Does the enumerator make what hardware could leave, and find a file system that lies?"""

from __future__ import annotations

import pickle
import shutil
import zlib

import pytest

from boot.image import mkfs
from services.fs.ext4.device import SECTOR_BYTES
from tests.crash import verdict
from tests.crash.recorder import Flushed, Recorder, Returned, Written
from tests.crash.states import crash_states
from tests.crash.workload import Model, Op, Refused, drawn, perform, sweep, trees

SLOT_SECTORS = 512


def sector(mark: int) -> bytes:
    return bytes([mark]) * SECTOR_BYTES


def marks(log: list[Written | Flushed | Returned]) -> set[tuple[tuple[int, int], ...]]:
    return {
        tuple(sorted((at, data[0]) for at, data in state.sectors.items()))
        for state in crash_states(log)
    }


def test_every_subset_of_what_was_not_flushed() -> None:
    log = [Written(0, sector(1), False), Flushed(), Written(1, sector(2) * 2, False)]
    assert marks(log) == {
        (),
        ((0, 1),),
        ((0, 1), (1, 2)),
        ((0, 1), (2, 2)),
        ((0, 1), (1, 2), (2, 2)),
    }


def test_fua_is_durable_and_no_older_version_comes_up() -> None:
    log = [Written(0, sector(1) * 2, False), Written(1, sector(2), True)]
    assert {one for one in marks(log) if (1, 2) in one} == {((1, 2),), ((0, 1), (1, 2))}
    assert marks([*log, Flushed()]) == marks(log)


def test_an_older_version_may_be_the_last() -> None:
    assert ((0, 1),) in marks([Written(0, sector(1), False), Written(0, sector(2), False)])


def test_the_same_image_is_made_once_per_promise() -> None:
    log = [Flushed(), Flushed(), Returned(1, 1), Flushed()]
    assert [(state.at, state.persisted) for state in crash_states(log)] == [(0, 0), (3, 1)]


class Snapshots:
    """A file system that writes its whole tree at each fsync, into one of two slots in turn."""

    def __init__(self, disk: Recorder, flushes: bool, sums: bool) -> None:
        self._disk, self._flushes, self._sums = disk, flushes, sums
        self._model, self._turn = Model(), 0
        for slot in (0, 1):
            found = self._load(slot)
            if found is not None and found[0] > self._turn:
                self._turn, self._model = found

    def _load(self, slot: int) -> tuple[int, Model] | None:
        raw = self._disk.read(1 + slot * SLOT_SECTORS, SLOT_SECTORS)
        size, total = int.from_bytes(raw[:4], "little"), int.from_bytes(raw[4:8], "little")
        body = raw[SECTOR_BYTES : SECTOR_BYTES + size]
        if not size or (self._sums and zlib.crc32(body) != total):
            return None
        turn, model = pickle.loads(body)
        return int(turn), model

    def sync(self) -> None:
        self._turn += 1
        body = pickle.dumps((self._turn, self._model))
        start = 1 + self._turn % 2 * SLOT_SECTORS
        padded = body + bytes(-len(body) % SECTOR_BYTES)
        self._disk.write(start + 1, padded)
        if self._flushes:
            self._disk.flush()
        head = len(body).to_bytes(4, "little") + zlib.crc32(body).to_bytes(4, "little")
        self._disk.write(start, head.ljust(SECTOR_BYTES, b"\0"), fua=True)

    def fsync(self, path: str) -> None:
        self.sync()

    def __getattr__(self, name: str) -> object:
        return getattr(self._model, name)


class Kind:
    def __init__(self, flushes: bool = True, sums: bool = True) -> None:
        self._settings = (flushes, sums)

    def make(self) -> bytes:
        return bytes((1 + 2 * SLOT_SECTORS) * SECTOR_BYTES)

    def mount(self, device: Recorder) -> Snapshots:
        return Snapshots(device, *self._settings)


def swept(kind: Kind) -> verdict.Tally:
    tally = verdict.Tally()
    for workload in (*sweep(1), *drawn(3, 20)):
        verdict.run(kind, workload, tally)
    return tally


def test_a_file_system_that_flushes_keeps_every_promise() -> None:
    tally = swept(Kind())
    assert tally.good, (tally.refused + tally.broken)[0]
    assert tally.states > 500


@pytest.mark.parametrize("sums", [False, True])
def test_one_that_does_not_is_found_out(sums: bool) -> None:
    tally = swept(Kind(flushes=False, sums=sums))
    assert tally.broken if sums else tally.refused


@pytest.mark.skipif(shutil.which("e2fsck") is None, reason="no e2fsprogs")
def test_e2fsck_has_an_opinion_of_its_own() -> None:
    image = bytearray(8 << 20)
    for offset, content in mkfs.file_system(len(image), bytes(range(16)), 1_700_000_000):
        image[offset : offset + len(content)] = content
    kept, complaint = verdict.e2fsck(bytes(image))
    assert complaint is None
    assert len(kept) == len(image)
    root = image.find((0o40755).to_bytes(2, "little"), 2 * mkfs.BLOCK)
    image[root : root + 2] = bytes(2)  # the root directory is none
    assert verdict.e2fsck(bytes(image))[1]


def test_workloads_make_sense_and_are_many() -> None:
    one, two = list(sweep(1)), list(sweep(2))
    assert len(one) >= 12
    assert len(two) >= 250
    assert len(set(one + two)) == len(one) + len(two)
    assert list(drawn(3, 5, seed=1)) == list(drawn(3, 5, seed=1))


def test_the_model_knows_links_holes_and_renames() -> None:
    last = trees(
        (
            Op("link", ("/a/x", "/b/link")),
            Op("write", ("/b/link", 8000, b"end")),
            Op("rename", ("/a", "/b/a")),
        )
    )[-1]
    assert last["/b/a/x"] == last["/b/link"]
    assert last["/b/link"][1] == b"X" * 6000 + bytes(2000) + b"end"
    assert "/a" not in last
    model = Model()
    perform(model, Op("mkdir", ("/d",)))
    with pytest.raises(Refused):
        perform(model, Op("rename", ("/d", "/d/below")))
