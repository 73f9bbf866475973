"""Does ext4 keep its promises in every image that a power cut could have left?"""

from __future__ import annotations

import shutil

import pytest

from tests.crash.ext4 import FEATURES, HABITS, Ext4, Habit, main, run
from tests.crash.verdict import Tally
from tests.crash.workload import drawn, sweep

pytestmark = pytest.mark.skipif(shutil.which("mke2fs") is None, reason="no e2fsprogs")

STATES_LONG = 100_000


@pytest.mark.parametrize("habit", HABITS, ids=["lazy", "commits", "checkpoints"])
@pytest.mark.parametrize("features", FEATURES)
def test_nothing_that_was_synced_is_lost_and_e2fsck_agrees(features: str, habit: Habit) -> None:
    kind, tally = Ext4(features, habit), Tally()
    for workload in (
        *list(sweep(1))[:: 4 if habit.commits else 2],
        *drawn(3, 2, seed=len(features)),
    ):
        run(kind, workload, tally, check_every=40)
        assert tally.good, (tally.refused + tally.broken)[0]
        if tally.states > (150 if features == "lists" else 300):
            break
    assert tally.states > 150
    assert tally.checked >= 3


def test_one_without_barriers_is_found_out() -> None:
    tally = Tally()
    for workload in sweep(1):
        run(Ext4("none", Habit(barriers=False)), workload, tally)
        if not tally.good:
            return
    pytest.fail(f"nobody noticed: {tally}")


@pytest.mark.slow
def test_all_of_one_and_two_operations_and_many_longer_ones() -> None:
    tally = main(STATES_LONG, (0, 1))
    assert tally.good, (tally.refused + tally.broken)[0]
