"""Are the file system's benchmarks run where they say, and is nothing of them left?"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from bench import fs
from bench.measure import RunFailed
from bench.platforms import build_guest_programs

pytestmark = pytest.mark.skipif(
    shutil.which("make") is None or shutil.which("cc") is None, reason="no C compiler"
)


def mounts() -> str:
    return Path("/proc/self/mounts").read_text()


def test_every_program_does_its_work_in_its_place_and_leaves_nothing() -> None:
    build_guest_programs()
    before = mounts()
    with fs.places(("native", "ext4")) as made:
        assert list(made) == ["native", "ext4"]
        run = fs.PlaceRunner(made)
        for name, place in made.items():
            kept = set(os.listdir(place.directory))
            for benchmark in fs.BENCHMARKS:
                sample = run(name, benchmark.program, 8)
                assert sample.iterations == 8
                assert sample.per_second > 0
            assert set(os.listdir(place.directory)) <= kept | {"lost+found"}
        folder = made["ext4"].directory
    assert mounts() == before
    assert not Path(folder).exists()


def test_a_place_that_is_none_fails_the_run() -> None:
    build_guest_programs()
    with fs.places(("native",)) as made:
        nowhere = {"native": fs.Place(made["native"].platform, "/nowhere")}
        with pytest.raises(RunFailed, match="nowhere"):
            fs.PlaceRunner(nowhere)("native", "smallfile", 1)


def test_hardtack_delivers_mail() -> None:
    build_guest_programs()
    with fs.places(("hardtack",)) as made:
        assert fs.PlaceRunner(made)("hardtack", "cmail", 4).iterations == 4
