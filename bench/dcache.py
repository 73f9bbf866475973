"""Does it pay that looking a name up takes no lock? (section 7.2.8)

Two variants of the directory cache under the same programs: Hardtack's, whose look-ups take no
lock, and one (`python -m bench.dcache run ...`) in which each look-up of a name or a whole path
takes its bucket's read lock and gives it back, and each change its write lock. Hardtack has one
core, so nobody ever waits for a lock: what is measured is what taking it costs, not contention.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from bench.measure import Benchmark, Progress, Row, measure
from bench.platforms import Platform, build_guest_programs, hardtack

if TYPE_CHECKING:
    from collections.abc import Sequence

K = TypeVar("K")
V = TypeVar("V")

BENCHMARKS = (
    Benchmark("cmail", "CMailbench in memory: a message", 40),
    Benchmark("metastorm", "twelve changes of names", 100),
    Benchmark("stat", "stat", 200),
)
PLACES = ("lock-free", "read-locked")
BUCKETS = 256


class Bucket:
    """A read-write lock: many readers, or one writer when there are none."""

    __slots__ = ("gate", "readers")

    def __init__(self) -> None:
        self.gate = threading.Condition(threading.Lock())
        self.readers = 0

    def begin_read(self) -> None:
        """Keep writers out."""
        with self.gate:
            self.readers += 1

    def end_read(self) -> None:
        """The last reader lets writers in."""
        with self.gate:
            self.readers -= 1
            if not self.readers:
                self.gate.notify_all()


_BUCKETS = [Bucket() for _ in range(BUCKETS)]


class ReadLocked(dict[K, V]):
    """A dictionary whose every look-up is locked against changes of its bucket."""

    __slots__ = ()

    def get(self, key: K, default: Any = None) -> Any:
        """Under the read lock."""
        bucket = _BUCKETS[hash(key) % BUCKETS]
        bucket.begin_read()
        found = super().get(key, default)
        bucket.end_read()
        return found

    def __setitem__(self, key: K, value: V) -> None:
        bucket = _BUCKETS[hash(key) % BUCKETS]
        with bucket.gate:
            bucket.gate.wait_for(lambda: not bucket.readers)
            super().__setitem__(key, value)

    def __delitem__(self, key: K) -> None:
        bucket = _BUCKETS[hash(key) % BUCKETS]
        with bucket.gate:
            bucket.gate.wait_for(lambda: not bucket.readers)
            super().__delitem__(key)

    def pop(self, key: K, *default: Any) -> Any:
        """Under the write lock."""
        bucket = _BUCKETS[hash(key) % BUCKETS]
        with bucket.gate:
            bucket.gate.wait_for(lambda: not bucket.readers)
            return super().pop(key, *default)


def lock_names() -> None:
    """Give this process's file system the read-locked cache: for who boots a kernel next."""
    from services.fs import core_inode, core_paths

    make_directory, make_paths = core_inode.Directory.__init__, core_paths.PathCache.__init__

    def directory(self: Any, *words: Any) -> None:
        make_directory(self, *words)
        self.children = ReadLocked()

    def paths(self: Any) -> None:
        make_paths(self)
        self.root = ReadLocked()

    core_inode.Directory.__init__ = directory  # type: ignore[method-assign, assignment]
    core_paths.PathCache.__init__ = paths  # type: ignore[method-assign]


def run(
    benchmarks: Sequence[Benchmark], repeats: int, target_s: float, progress: Progress
) -> tuple[list[Row], list[Platform]]:
    """Both variants in turn."""
    from bench.fs import Place, PlaceRunner

    build_guest_programs()
    ours = hardtack()
    locked = (sys.executable, "-m", "bench.dcache", "run", "--")
    made: dict[str, Platform] = {
        "lock-free": Platform("lock-free", ours.prefix, ours.version),
        "read-locked": Platform("read-locked", locked, ours.version),
    }
    runner = PlaceRunner({name: Place(one, "/dev/shm") for name, one in made.items()})
    rows = measure(
        runner,
        benchmarks,
        PLACES,
        repeats=repeats,
        target_s=target_s,
        progress=progress,
    )
    return rows, list(made.values())


if __name__ == "__main__":
    from boot.entry import main

    lock_names()
    raise SystemExit(main())
