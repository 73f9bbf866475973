"""Who is killed when RAM is used up?"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from services.proc.oom import worst

RAM = 64 << 20


def process(adjustment: int = 0) -> Any:
    return SimpleNamespace(oom_score_adj=adjustment)


def test_the_largest_and_of_equals_the_youngest() -> None:
    small, large, twin = process(), process(), process()
    assert worst([(small, 10), (large, 20), (small, 5)], RAM) is large
    assert worst([(small, 10), (large, 20), (twin, 20)], RAM) is twin


def test_an_adjustment_counts_in_thousandths_of_ram() -> None:
    meek, bold = process(500), process(-100)
    assert worst([(meek, 1 << 20), (process(), 30 << 20)], RAM) is meek
    assert worst([(bold, 30 << 20), (other := process(), 25 << 20)], RAM) is other


def test_some_are_spared() -> None:
    assert worst([(process(-1000), RAM)], RAM) is None
    assert worst([(process(-900), 1 << 20)], RAM) is None
    assert worst([], RAM) is None
