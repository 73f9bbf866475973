"""Figure 7-4 of the Biscuit thesis: mail on a kernel whose heap is full of live data.

CMailbench in memory, while the directory cache holds hundreds of thousands of files that nobody
asks for, in heaps of 1.5, 2 and 3 times the live data, under three collectors: Hardtack's (what
has survived is frozen, and looked at no more), the same with nothing frozen, and CPython's own
(automatic, with its thresholds). The last two are `python -m bench.headroom COLLECTOR FILES run`.
"""

from __future__ import annotations

import contextlib
import gc
import stat
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import attrs

from bench.net import free_port
from bench.pauses import read_page
from bench.platforms import GUEST_PROGRAMS, REPOSITORY, build_guest_programs
from bench.run import parse_report
from bus.collector import BOUND, WORTH_IT, YOUNG, Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from boot.heap import Sample as Key

FROZEN, UNFROZEN, AUTOMATIC = COLLECTORS = ("frozen", "unfrozen", "automatic")
SHAPES = ((1, 1.5), (1, 2.0), (1, 3.0), (2, 2.0))
"""Multiples of the number of files, and of the live data: the rows of the figure."""
ROUNDS, REST_S = 5, 0.3
"""Mail comes in bursts: a collector that waits for its chance to look at everything gets it."""
LIMIT_S = 900.0
GUESS_BYTES = 1520
"""About what a file in the cache is charged with: the first row's heap is made by it."""


@attrs.frozen
class Outcome:
    """One row. Bytes of the kernel heap, seconds."""

    collector: str
    files: int
    live_bytes: int
    total_bytes: int
    messages_per_s: float
    share: float
    """Of the time, that the collector took."""
    collections: int
    full: int
    """Those of the oldest generation."""
    longest_s: float

    @property
    def ratio(self) -> float:
        """Live data to heap: the thesis's headroom ratio."""
        return self.live_bytes / self.total_bytes


def _sum(page: Mapping[Key, float], name: str, **labels: str) -> float:
    return sum(
        number
        for (sample, said), number in page.items()
        if sample == name and all(dict(said).get(key) == word for key, word in labels.items())
    )


def _line(process: subprocess.Popen[str], words: Sequence[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise subprocess.CalledProcessError(process.wait(), words)
    return line


def _go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def run(collector: str, files: int, total_bytes: int, messages: int) -> Outcome:
    """One row; OSError, RunFailed and CalledProcessError as they come."""
    build_guest_programs()
    port = free_port()
    mail = f"BENCH_DIR=/dev/shm {GUEST_PROGRAMS / 'cmail'} {messages // ROUNDS}"
    rounds = f"for i in $(seq {ROUNDS}); do {mail} || exit 1; sleep {REST_S}; done"
    script = f"echo ready; read go; {rounds}; read go"
    words = (
        *(sys.executable, "-m", "bench.headroom", collector, str(files)),
        *("run", "--heap", str(total_bytes), "--metrics", str(port), "--", "/bin/sh", "-c", script),
    )
    with subprocess.Popen(
        words, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        alarm = threading.Timer(LIMIT_S, process.kill)
        alarm.start()
        try:
            _line(process, words)
            before, began = read_page(port), time.monotonic()
            _go_on(process)
            samples = [parse_report(_line(process, words)) for _ in range(ROUNDS)]
            time.sleep(REST_S)
            after, took_s = read_page(port), time.monotonic() - began
            _go_on(process)
            process.wait()
        except BaseException:
            process.kill()
            raise
        finally:
            alarm.cancel()

    def grown(name: str, **labels: str) -> float:
        return _sum(after, name, **labels) - _sum(before, name, **labels)

    pause = "hardtack_gc_pause_seconds"
    return Outcome(
        collector,
        files,
        int(_sum(before, "hardtack_heap_live_bytes")),
        total_bytes,
        sum(s.iterations for s in samples) / sum(s.seconds for s in samples),
        grown(f"{pause}_sum") / took_s,
        int(grown(f"{pause}_count")),
        int(grown(f"{pause}_count", generation="2")),
        max(
            (n for (name, _), n in after.items() if name == "hardtack_gc_longest_seconds"),
            default=0.0,
        ),
    )


def run_all(
    files: int, messages: int, collectors: Sequence[str], say: Callable[[str], object]
) -> list[Outcome]:
    """All rows; `say` is told each as it comes."""
    found = []
    say(HEADER)
    for collector in collectors:
        live = GUESS_BYTES * files
        for many, room in SHAPES:
            outcome = run(collector, many * files, int(many * live * room), messages)
            live = outcome.live_bytes // many
            found.append(outcome)
            say(line(outcome))
    return found


HEADER = (
    f"{'collector':11}{'files':>11}{'live MB':>9}{'total MB':>9}{'ratio':>7}{'msg/s':>8}"
    f"{'GC':>8}{'GCs':>7}{'full':>6}{'longest':>12}"
)


def line(one: Outcome) -> str:
    """A row, for people."""
    return (
        f"{one.collector:11}{one.files:>11,}{one.live_bytes / 1e6:>9,.0f}"
        f"{one.total_bytes / 1e6:>9,.0f}{one.ratio:>7.2f}{one.messages_per_s:>8,.0f}"
        f"{one.share:>8.2%}{one.collections:>7,}{one.full:>6,}{one.longest_s * 1e3:>9,.2f} ms"
    )


def fill(files: int) -> None:
    """Have the directory cache of this process's next kernel hold so many files more."""
    from services.fs.core_inode import Dentry, Directory, File
    from services.fs.core_tree import Tree

    make = Tree.__init__

    def made(self: Any, *words: Any, **named: Any) -> None:
        make(self, *words, **named)
        volume = self.new_volume("tmpfs", b"bench", "")
        top = Dentry(b"", None, Directory(volume, 1, stat.S_IFDIR | 0o755, 0, 0))
        for number in range(files):
            file = File(volume, number + 2, stat.S_IFREG | 0o644, 0, 0)
            self.attach(top, b"%d" % number, file)
        volume.root = top
        self.volumes[volume.id] = volume

    Tree.__init__ = made  # type: ignore[method-assign]


class Unfrozen(Collector):
    """The same occasions, but what has survived is looked at again with everything else."""

    def step(self) -> None:
        """`Collector.step`."""
        count = gc.get_count()[0]
        if count < YOUNG or not self.running:
            return
        self.steps += 1
        self._middle += count
        whole = self._middle >= BOUND
        if whole:
            self._middle = 0
        self._collect(int(whole), "step")

    def idle(self) -> None:
        """`Collector.idle`."""
        if self.running and self.steps - self._idle_steps >= WORTH_IT:
            self.recent("idle")


class Automatic(Collector):
    """CPython's own: in the middle of whatever allocates, by its thresholds."""

    @contextlib.contextmanager
    def rule(self) -> Iterator[None]:
        """`Collector.rule`."""
        with super().rule():
            gc.enable()
            yield

    def step(self) -> None:
        """Nothing: it runs by itself."""

    def idle(self) -> None:
        """Nothing."""


def unfreeze(kind: type[Collector]) -> None:
    """Give this process's next kernel a collector of that kind, and one that freezes nothing."""
    from boot import assembly

    gc.freeze = lambda: None
    assembly.Collector = kind  # type: ignore[attr-defined]


if __name__ == "__main__":
    from boot.entry import main

    chosen, count = sys.argv[1], int(sys.argv[2])
    del sys.argv[1:3]
    fill(count)
    if chosen != FROZEN:
        unfreeze(Unfrozen if chosen == UNFROZEN else Automatic)
    raise SystemExit(main())
