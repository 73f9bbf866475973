"""The scripting benchmark: does it run all it says, and does its table say what the runs did?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench import script
from bench.script import COMPILED, INTERPRETED, PLAIN, VARIANTS, Run

if TYPE_CHECKING:
    from pathlib import Path

RUNS = [
    Run(variant, size, rate * size, 1e6 / rate, 1.0, 0)
    for variant, rate in ((PLAIN, 1000), (INTERPRETED, 1250), (COMPILED, 1500), (PLAIN, 1000))
    for size in (32, 64)
]


@pytest.mark.skipif(bool(script.missing()), reason="no memcached")
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_request_is_answered(user_programs: Path, variant: str) -> None:
    found = script.run(variant, 64, 600)
    assert (found.variant, found.value_bytes, found.lost) == (variant, 64, 0)
    assert found.per_second > 0
    assert found.response_us > 0


def test_the_patterns_save_traps() -> None:
    patterns = script.run_patterns(5)
    assert len({one.title for one in patterns}) == len(patterns) // 2 >= 6
    assert all(one.script_calls == 1 < one.plain_calls for one in patterns)
    assert all(one.inner_calls >= one.plain_calls // 2 for one in patterns)
    assert len(script.pattern_table(patterns)) == len(patterns) // 2 + 1


def test_the_table_compares_with_plain_calls(tmp_path: Path) -> None:
    lines = script.table(RUNS)
    assert lines[1].split() == ["32", "bytes", "32,000", "40,000", "48,000", "+25%", "+50%"]
    assert lines[4].split() == ["32", "bytes", "1,000", "800", "667", "-20%", "-33%"]
    script.draw(RUNS, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 5000
