"""How to measure: calibrate, warm up, interleave, repeat, take the median.

Pure but for the runner that it is given, which runs one guest program once. Each guest program
times its own work, so what it takes to start a platform does not count. Platforms take turns
within each repeat, so that what else the machine does falls on all of them alike.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence

import attrs

MAX_STEPS = 12
GROWTH = 100.0
CLOSE_ENOUGH = 0.5


class RunFailed(Exception):
    """A program did not do its work on a platform; the message says how."""


@attrs.frozen
class Benchmark:
    """A guest program: `first` is a count that is quick everywhere.

    Where it is `timed`, it works for so many whole seconds as it is told, and counts.
    """

    program: str
    title: str
    first: int = 200
    timed: bool = False


@attrs.frozen
class Sample:
    """What one run did: `iterations` of `unit` in `seconds`, by the guest's clock.

    `wall_s` is how long the host saw it take, start and end of the platform included: what it
    exceeds `seconds` by must not grow with `iterations`, else the guest's clock is slow. `cpu_s` is
    the processor time that the host spent on it meanwhile, start and end of the platform included.
    """

    iterations: int
    seconds: float
    unit: str
    wall_s: float = 0.0
    cpu_s: float = 0.0

    @property
    def microseconds(self) -> float:
        """Time of one iteration."""
        return self.seconds / self.iterations * 1e6

    @property
    def per_second(self) -> float:
        """Iterations in a second."""
        return self.iterations / self.seconds


@attrs.frozen
class Cell:
    """One benchmark on one platform: its samples, or why there are none."""

    platform: str
    samples: tuple[Sample, ...] = ()
    failure: str | None = None
    first: Sample | None = None
    """A short run: what it cost, but for its few iterations, is what starting and ending costs."""

    @property
    def median_us(self) -> float | None:
        """Median time of one iteration."""
        return statistics.median(s.microseconds for s in self.samples) if self.samples else None

    @property
    def median_per_second(self) -> float | None:
        """Median of iterations in a second."""
        return statistics.median(s.per_second for s in self.samples) if self.samples else None

    @property
    def median_cpu_us(self) -> float | None:
        """Median processor time of one iteration: what exceeds the first run, shared out."""
        first = self.first
        costs = [
            (s.cpu_s - first.cpu_s) / (s.iterations - first.iterations) * 1e6
            for s in self.samples
            if first is not None and s.iterations > first.iterations
        ]
        return statistics.median(costs) if costs else None

    @property
    def spread(self) -> float | None:
        """(slowest - fastest) / median."""
        times = [s.microseconds for s in self.samples]
        return (max(times) - min(times)) / statistics.median(times) if times else None


def _median_us(cell: Cell) -> float | None:
    return cell.median_us


@attrs.frozen
class Row:
    """One benchmark on every platform."""

    benchmark: Benchmark
    cells: tuple[Cell, ...]

    def cell(self, platform: str) -> Cell | None:
        """What was measured there."""
        return next((cell for cell in self.cells if cell.platform == platform), None)

    def ratio(
        self, platform: str, to: str, figure: Callable[[Cell], float | None] = _median_us
    ) -> float | None:
        """How many times the one's time, or another figure, is the other's."""
        cells = [self.cell(platform), self.cell(to)]
        mine, theirs = (figure(cell) if cell is not None else None for cell in cells)
        return None if mine is None or not theirs else mine / theirs


Runner = Callable[[str, str, int], Sample]
"""Runs (platform, program, count) once, or raises RunFailed."""

Progress = Callable[[str], None]


def calibrate(
    run: Runner, platform: str, benchmark: Benchmark, target_s: float
) -> tuple[int, Sample]:
    """A count that takes about `target_s` there, and the first run: they are the warm-up, too."""
    count = 1 if benchmark.timed else benchmark.first
    sample = first = run(platform, benchmark.program, count)
    if benchmark.timed:
        return max(1, math.ceil(target_s)), first
    for _ in range(MAX_STEPS):
        needed = sample.iterations * target_s / sample.seconds if sample.seconds else float("inf")
        if sample.seconds >= target_s * CLOSE_ENOUGH:
            return max(1, round(needed)), first
        count = max(1, round(min(needed, sample.iterations * GROWTH)))
        sample = run(platform, benchmark.program, count)
    return count, first


def measure_row(
    run: Runner, benchmark: Benchmark, platforms: Sequence[str], repeats: int, target_s: float
) -> Row:
    """One benchmark: calibrated on each platform, then measured on them in turn."""
    counts: dict[str, int] = {}
    first: dict[str, Sample] = {}
    failures: dict[str, str] = {}
    samples: dict[str, list[Sample]] = {platform: [] for platform in platforms}
    for platform in platforms:
        try:
            counts[platform], first[platform] = calibrate(run, platform, benchmark, target_s)
        except RunFailed as error:
            failures[platform] = str(error)
    for _ in range(repeats):
        for platform in [p for p in counts if p not in failures]:
            try:
                samples[platform].append(run(platform, benchmark.program, counts[platform]))
            except RunFailed as error:
                failures[platform] = str(error)
    cells = (Cell(p, tuple(samples[p]), failures.get(p), first.get(p)) for p in platforms)
    return Row(benchmark, tuple(cells))


def measure(
    run: Runner,
    benchmarks: Iterable[Benchmark],
    platforms: Sequence[str],
    *,
    repeats: int,
    target_s: float,
    progress: Progress = lambda _: None,
) -> list[Row]:
    """All rows. `progress` hears the name of each benchmark as it begins."""
    rows = []
    for benchmark in benchmarks:
        progress(benchmark.program)
        rows.append(measure_row(run, benchmark, platforms, repeats, target_s))
    return rows
