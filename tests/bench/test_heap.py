"""Does the heap experiment see both citizens, and the heap between them?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench import heap, heap_plot

if TYPE_CHECKING:
    from pathlib import Path


def test_a_short_run_is_seen(user_programs: Path) -> None:
    outcome = heap.run("mmap", 8 << 20, 2)
    assert outcome.delivered is not None, outcome.said
    assert outcome.delivered > 0
    assert outcome.samples, "the metrics page was never seen"
    assert outcome.killed > 0
    assert outcome.peak_share > 0.9  # of so small a heap, what fork reserves is 3 %
    assert outcome.kill_times(1000)


def test_an_error_of_the_good_citizen_is_told() -> None:
    outcome = heap.Outcome("mmap", 100, 1, None, 0, 0, "citizen: open: ...", ())
    assert outcome.delivered is None
    assert outcome.peak_share == 0


def test_the_figure_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    samples = tuple(heap.Sample(at, 50 * at, 100, at, at // 2) for at in range(1, 5))
    outcome = heap.Outcome("pipe", 300, 4, 1, 2.0, 2, "", samples)
    assert outcome.kill_times(100) == [2, 4]
    heap_plot.draw([outcome, outcome], tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
