"""Does the heap experiment see both citizens, and the heap between them?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import heap

if TYPE_CHECKING:
    from pathlib import Path


def test_a_short_run_is_seen(user_programs: Path) -> None:
    outcome = heap.run("mmap", 8 << 20, 2)
    assert outcome.delivered is not None, outcome.said
    assert outcome.delivered > 0
    assert outcome.samples, "the metrics page was never seen"
    assert outcome.killed > 0
    assert outcome.peak_share > 0.9


def test_an_error_of_the_good_citizen_is_told() -> None:
    outcome = heap.Outcome("mmap", 100, 1, None, 0, 0, "citizen: open: ...", ())
    assert outcome.delivered is None
    assert outcome.peak_share == 0
