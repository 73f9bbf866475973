"""The small benchmarks: what does one system call, one switch, one fork, one page cost?

Each program of user/ runs natively, on Hardtack and on gVisor, in turn, in one session; absolute
figures move from machine to machine, their ratios less so. Quote the ratios.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from bench.measure import Benchmark, Progress, Row, measure
from bench.platforms import NAMES, Platform, available, build_guest_programs
from bench.run import ProgramRunner

if TYPE_CHECKING:
    from collections.abc import Sequence

BENCHMARKS = (
    Benchmark("getpid", "getpid"),
    Benchmark("read1", "read 1 byte, /dev/zero"),
    Benchmark("write1", "write 1 byte, /dev/null"),
    Benchmark("stat", "stat"),
    Benchmark("openclose", "open + close"),
    Benchmark("pingpong", "ping-pong over two pipes", 50),
    Benchmark("switch", "switch threads by futex", 50),
    Benchmark("pagefault", "page of 4 MB map, touch, unmap", 1024),
    Benchmark("forkexit", "fork + exit + wait", 10),
    Benchmark("forkexec", "fork + exec (static) + wait", 10),
    Benchmark("compute", "hash 64 bits, no system call", 20_000),
)

DEFAULT_REPEATS = 5
DEFAULT_TARGET_S = 1.5


def chosen(names: Sequence[str]) -> list[Benchmark]:
    """The named benchmarks, or all of them; KeyError for a name that is none."""
    by_name = {benchmark.program: benchmark for benchmark in BENCHMARKS}
    return [by_name[name] for name in names] if names else list(BENCHMARKS)


def run_micro(
    names: Sequence[str] = (),
    platforms: Sequence[str] = NAMES,
    *,
    repeats: int = DEFAULT_REPEATS,
    target_s: float = DEFAULT_TARGET_S,
    progress: Progress = lambda _: None,
) -> tuple[list[Row], list[Platform]]:
    """Build the guest programs, measure, and return the rows and where they were measured."""
    build_guest_programs()
    found = available(tuple(platforms))
    runner = ProgramRunner({platform.name: platform for platform in found})
    order = [platform.name for platform in found]
    rows = measure(
        runner, chosen(names), order, repeats=repeats, target_s=target_s, progress=progress
    )
    return rows, found


def main(argv: Sequence[str]) -> int:
    """`hardtack bench micro ARGV...`; the exit status."""
    from bench.cli import app

    status = app(["micro", *argv], prog_name="hardtack bench", standalone_mode=False)
    return int(status or 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
