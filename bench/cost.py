"""What admission and accounting cost: Hardtack, and a Hardtack that reserves and charges nothing.

The second (`python -m bench.cost run ...`) has a bound of 0 for every system call, so that nobody
asks the broker, and kinds of objects that do not count. Everything else is the same, so the
difference is what the scheme of section 5 of the Biscuit thesis costs.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from bench.measure import Benchmark, Progress, Row, Sample, measure
from bench.micro import MICRO
from bench.net import LOADS, LoadRunner
from bench.platforms import Platform, build_guest_programs, hardtack
from bench.run import ProgramRunner

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.report import Scale

COUNTED, UNCOUNTED = "counted", "uncounted"
_SMALL = ("getpid", "read1", "openclose", "pingpong", "forkexit")
_SERVED = ("redis-get", "redis-set")
BENCHMARKS: tuple[Benchmark, ...] = (
    *(one for one in MICRO.benchmarks if one.program in _SMALL),
    *(one for one in LOADS if one.program in _SERVED),
)


class _Runner:
    """Small programs and servers, each in its own way."""

    def __init__(self, platforms: Mapping[str, Platform]) -> None:
        self._small, self._served = ProgramRunner(platforms), LoadRunner(platforms)

    def __call__(self, platform: str, program: str, count: int) -> Sample:
        runner = self._served if program in _SERVED else self._small
        return runner(platform, program, count)


def run(
    benchmarks: Sequence[Benchmark], repeats: int, target_s: float, progress: Progress
) -> tuple[list[Row], list[Platform]]:
    """Both in turn."""
    build_guest_programs()
    ours = hardtack()
    places = {
        COUNTED: Platform(COUNTED, ours.prefix, ours.version),
        UNCOUNTED: Platform(
            UNCOUNTED, (sys.executable, "-m", "bench.cost", "run", "--"), ours.version
        ),
    }
    rows = measure(
        _Runner(places),
        benchmarks,
        tuple(places),
        repeats=repeats,
        target_s=target_s,
        progress=progress,
    )
    return rows, list(places.values())


def share(row: Row, scale: Scale) -> float | None:
    """What the scheme takes of the time that it makes; None where something failed."""
    ratio = row.ratio(UNCOUNTED, COUNTED, scale.value)
    return None if ratio is None else 1 - ratio


def uncount() -> None:
    """Give this process a kernel without broker and ledgers: for who boots one next."""
    from bus import census
    from services.proc import bounds

    def nothing(self: Any, *words: Any) -> None:
        return None

    def unchanged(self: Any, before_bytes: int, *containers: Any) -> int:
        return before_bytes

    def free(rows: Sequence[Any]) -> None:
        for row in rows:
            if row is not None:
                row.bound = 0

    kind: Any = census.Kind
    kind.made = kind.freed = kind.grew = nothing
    kind.resized = unchanged
    bounds.apply = free


if __name__ == "__main__":
    from boot.entry import main

    uncount()
    raise SystemExit(main())
