"""How long the collector stops the kernel while it serves (section 7.2.3 of the Biscuit thesis).

Each load runs once on Hardtack; its metrics page is read meanwhile. The collector runs at safe
points only, between two slices of user code, so no system call is stopped in its middle; what a
pause delays are the requests that are under way then.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from bench import loads
from bench.net import LOADS, free_port
from bench.platforms import REPOSITORY, build_guest_programs
from boot.heap import parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.measure import Benchmark
    from boot.heap import Sample as Key

REQUESTS_A_SECOND = 3000
"""About what a load that is told a number of requests, not of seconds, does."""
PERIOD_S, LIMIT_S = 0.2, 300.0
THESIS = "thesis: longest 115 µs in an allocation, 582 µs in a request; 22 % of requests delayed"


@attrs.frozen
class Pauses:
    """What one load met. Times in seconds; `bounds` are the histogram's, with counts up to them."""

    title: str
    requests: int
    seconds: float
    count: int
    total_s: float
    longest_s: Mapping[str, float]
    """By why it was: a step is taken between slices, the rest while nobody wants the processor."""
    bounds: tuple[tuple[float, int], ...]
    delayed: int
    """Turns of threads, from one wait to the next, in which a pause fell."""
    most_delayed_s: float

    @property
    def p999_s(self) -> float:
        """The bound below which 99.9 % of the pauses were, or the longest if that is less."""
        enough = 0.999 * self.count
        most = max(self.longest_s.values(), default=0.0)
        return min(next((bound for bound, count in self.bounds if count >= enough), most), most)

    @property
    def share(self) -> float:
        """Pauses for each request."""
        return self.count / self.requests if self.requests else 0.0


def read_page(port: int) -> Mapping[Key, float]:
    """The samples on the metrics page of a kernel here; OSError as it comes."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return parse(answer.read().decode())


class _Watch(threading.Thread):
    """Keeps the newest metrics page of a kernel."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._done = threading.Event()
        self.page: Mapping[Key, float] = {}

    def run(self) -> None:
        while not self._done.wait(PERIOD_S):
            try:
                self.page = read_page(self._port)
            except OSError:
                continue  # not up yet, or gone

    def stop(self) -> None:
        """No more."""
        self._done.set()
        self.join()


def _read(title: str, requests: int, seconds: float, page: Mapping[Key, float]) -> Pauses:
    name = "hardtack_gc_pause_seconds"
    upto: dict[float, int] = {}
    count, total_s = 0, 0.0
    for (sample, labels), number in page.items():
        if sample == f"{name}_bucket":
            bound = float(dict(labels)["le"])
            upto[bound] = upto.get(bound, 0) + int(number)
        elif sample == f"{name}_count":
            count += int(number)
        elif sample == f"{name}_sum":
            total_s += number
    longest = {
        dict(labels)["reason"]: number
        for (sample, labels), number in page.items()
        if sample == "hardtack_gc_longest_seconds"
    }
    return Pauses(
        title,
        requests,
        seconds,
        count,
        total_s,
        longest,
        tuple(sorted(upto.items())),
        int(page.get(("hardtack_gc_delayed_turns_total", ()), 0)),
        page.get(("hardtack_gc_turn_delay_longest_seconds", ()), 0.0),
    )


def run(benchmark: Benchmark, count: int) -> Pauses:
    """One load; RunFailed and OSError as they come. `count` is the client's."""
    build_guest_programs()
    load = LOADS[benchmark]
    with tempfile.TemporaryDirectory(prefix="hardtack-bench-") as folder:
        scratch, port, metrics = Path(folder), free_port(), free_port()
        scratch.chmod(0o755)
        loads.prepare(load.server, scratch, port)
        watch = _Watch(metrics)
        watch.start()
        try:
            done = subprocess.run(
                [
                    *(sys.executable, "-m", "boot", "run", "--metrics", str(metrics), "--"),
                    *("/bin/sh", "-c", loads.script(load, scratch, port, count)),
                ],
                cwd=REPOSITORY,
                capture_output=True,
                text=True,
                timeout=LIMIT_S,
                check=True,
            )
        finally:
            watch.stop()
    sample = load.read(done.stdout, LIMIT_S, count)
    return _read(benchmark.title, sample.iterations, sample.seconds, watch.page)


def table(found: Sequence[Pauses]) -> list[str]:
    """For people, a line each."""
    lines = [
        f"{'load':36}{'requests':>10}{'pauses':>8}{'each':>8}{'p99.9':>10}{'of time':>9}"
        f"{'delayed':>9}{'most':>10}  longest"
    ]
    for p in found:
        longest = ", ".join(f"{why} {s * 1e6:,.0f} µs" for why, s in sorted(p.longest_s.items()))
        lines.append(
            f"{p.title:36}{p.requests:>10,}{p.count:>8,}{p.share:>8.2%}"
            f"{p.p999_s * 1e6:>7,.0f} µs{p.total_s / p.seconds:>9.2%}"
            f"{p.delayed / p.requests:>9.2%}{p.most_delayed_s * 1e6:>7,.0f} µs  {longest}"
        )
    return [*lines, THESIS]
