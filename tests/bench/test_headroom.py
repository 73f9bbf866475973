"""Figure 7-4's runs: live data of the size that was asked for, and the collector that was."""

from __future__ import annotations

import pytest

from bench import headroom
from bench.headroom import AUTOMATIC, COLLECTORS, FROZEN, UNFROZEN


@pytest.mark.parametrize("collector", COLLECTORS)
def test_the_heap_is_full_of_live_data_and_mail_arrives(collector: str) -> None:
    files = 3000
    outcome = headroom.run(collector, files, 64 << 20, 25)
    assert outcome.live_bytes > files * 1000
    assert outcome.messages_per_s > 0
    assert 0 <= outcome.share < 1
    assert outcome.full <= outcome.collections


def test_the_rows_are_those_of_the_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(collector: str, files: int, total_bytes: int, messages: int) -> headroom.Outcome:
        return headroom.Outcome(collector, files, 1000 * files, total_bytes, 1.0, 0.1, 2, 1, 0.001)

    monkeypatch.setattr(headroom, "run", run)
    said: list[str] = []
    found = headroom.run_all(100, 10, (FROZEN, UNFROZEN, AUTOMATIC), said.append)
    assert len(found) == 12
    assert len(said) == 13
    ratios = [round(one.ratio, 2) for one in found[1:4]]
    assert ratios == [0.5, 0.33, 0.5]
    assert found[3].files == 200
