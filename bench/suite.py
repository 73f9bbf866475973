"""A set of benchmarks that is measured by one command, on all platforms, in one session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from bench.measure import Benchmark, Progress, Row, Runner, measure
from bench.platforms import Platform, available, build_guest_programs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.report import Scale


def _nothing(benchmark: Benchmark) -> Mapping[str, str]:
    return {}


@attrs.frozen
class Suite:
    """What `hardtack bench NAME` measures, and how it shows it."""

    name: str
    benchmarks: tuple[Benchmark, ...]
    repeats: int
    """Runs of each, unless the user says otherwise."""
    target_s: float
    """How long one should take, likewise."""
    scale: Scale
    runner: Callable[[Mapping[str, Platform]], Runner]
    """Makes that which runs a benchmark on one of these platforms."""
    lacking: Callable[[Benchmark], Mapping[str, str]] = _nothing
    """The programs that this machine lacks for it, with the packages that have them."""

    @property
    def names(self) -> tuple[str, ...]:
        """What may be chosen."""
        return tuple(benchmark.program for benchmark in self.benchmarks)

    def chosen(self, names: Sequence[str]) -> list[Benchmark]:
        """The named benchmarks, or all of them; KeyError for a name that is none."""
        by_name = {benchmark.program: benchmark for benchmark in self.benchmarks}
        return [by_name[name] for name in names] if names else list(self.benchmarks)


def run_suite(
    suite: Suite,
    benchmarks: Sequence[Benchmark],
    platforms: Sequence[str],
    *,
    repeats: int,
    target_s: float,
    progress: Progress = lambda _: None,
) -> tuple[list[Row], list[Platform]]:
    """Build user/, measure, and return the rows and where they were measured."""
    build_guest_programs()
    found = available(tuple(platforms))
    runner = suite.runner({platform.name: platform for platform in found})
    order = [platform.name for platform in found]
    rows = measure(runner, benchmarks, order, repeats=repeats, target_s=target_s, progress=progress)
    return rows, found
