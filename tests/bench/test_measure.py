"""Does the measuring of benchmarks hold: calibration, turns, medians, failures?"""

from __future__ import annotations

import pytest

from bench.measure import Benchmark, RunFailed, Sample, calibrate, measure
from bench.report import PROCESSOR, RATES, TIMES, Scale
from bench.run import parse_report

COST_S = {"fast": 1e-6, "slow": 1e-3}
START_S = 0.75
WORK = Benchmark("work", "some work", 10)


class Machine:
    """A runner whose platforms cost what COST_S says; `broken` ones fail after a few runs."""

    def __init__(self, broken: str = "", good_runs: int = 0) -> None:
        self.calls: list[tuple[str, int]] = []
        self._broken = broken
        self._good_runs = good_runs

    def __call__(self, platform: str, program: str, count: int) -> Sample:
        self.calls.append((platform, count))
        if platform == self._broken and len(self.calls) > self._good_runs:
            raise RunFailed("broken")
        used_s = count * COST_S[platform]
        return Sample(count, used_s, "call", cpu_s=START_S + 2 * used_s)


@pytest.mark.parametrize("platform", ["fast", "slow"])
def test_calibration_reaches_the_target(platform: str) -> None:
    assert calibrate(Machine(), platform, WORK, 2.0)[0] == round(2.0 / COST_S[platform])


def test_calibration_survives_a_clock_that_does_not_move() -> None:
    assert calibrate(lambda *_: Sample(10, 0.0, "call"), "fast", WORK, 1.0)[0] > 10


def test_platforms_take_turns() -> None:
    machine = Machine()
    (row,) = measure(machine, [WORK], ["fast", "slow"], repeats=3, target_s=1.0)
    assert [platform for platform, _ in machine.calls[-6:]] == ["fast", "slow"] * 3
    assert row.ratio("slow", "fast") == pytest.approx(1000)


def test_a_platform_that_fails_spoils_no_other() -> None:
    (row,) = measure(Machine("slow"), [WORK], ["fast", "slow"], repeats=2, target_s=1.0)
    fast, slow = row.cells
    assert len(fast.samples) == 2
    assert (slow.failure, slow.median_us) == ("broken", None)
    assert row.ratio("slow", "fast") is None


def test_a_report_is_one_line_of_json() -> None:
    line = '{"name": "x", "iterations": 5, "seconds": 0.5, "unit": "call", "per_second": 10}\n'
    assert parse_report(line).microseconds == pytest.approx(100_000)
    with pytest.raises(RunFailed, match="no report"):
        parse_report("Segmentation fault\n")


def test_what_works_for_a_time_is_told_seconds() -> None:
    machine = Machine()
    timed = Benchmark("timed", "some work", timed=True)
    assert calibrate(machine, "fast", timed, 1.5)[0] == 2
    assert machine.calls == [("fast", 1)]


@pytest.mark.parametrize(("scale", "ratio"), [(TIMES, 1000), (RATES, 0.001), (PROCESSOR, 1000)])
def test_the_ratio_is_of_what_is_shown(scale: Scale, ratio: float) -> None:
    (row,) = measure(Machine(), [WORK], ["fast", "slow"], repeats=1, target_s=1.0)
    shown = scale.ratio(row, "slow", "fast")
    assert shown == pytest.approx(ratio)
    assert not scale.good(shown or 1)


def test_the_start_of_a_platform_is_not_shared_out() -> None:
    (row,) = measure(Machine(), [WORK], ["slow"], repeats=3, target_s=1.0)
    assert row.cells[0].median_cpu_us == pytest.approx(2000)
