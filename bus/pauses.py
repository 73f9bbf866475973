"""How long the cyclic collector stops everything: a histogram for each generation.

The bounds hold the two delays that the Biscuit thesis reports for GETs under collection (115 µs
and 582 µs), so that the promise can be read off a bucket.
"""

from __future__ import annotations

import gc
from bisect import bisect_left
from time import perf_counter
from typing import TYPE_CHECKING, Any

from bus.metrics import Distribution, Histogram, Measure, counter

if TYPE_CHECKING:
    from collections.abc import Iterator

BOUNDS_S = (
    0.000010,
    0.000025,
    0.000050,
    0.000115,
    0.000250,
    0.000582,
    0.001,
    0.0025,
    0.005,
    0.010,
    0.025,
    0.050,
    0.100,
    0.250,
)
GENERATIONS = 3


class PauseWatch:
    """Between `start` and `stop`, every collection in this process is timed."""

    def __init__(self) -> None:
        self.counts = [[0] * (len(BOUNDS_S) + 1) for _ in range(GENERATIONS)]
        self.total_s = [0.0] * GENERATIONS
        self.longest_s = 0.0
        self.collected = [0] * GENERATIONS
        self._began = 0.0

    def start(self) -> None:
        """Begin to watch."""
        gc.callbacks.append(self._on_collection)

    def stop(self) -> None:
        """Watch no longer; the counts stay."""
        gc.callbacks.remove(self._on_collection)

    def _on_collection(self, phase: str, info: dict[str, Any]) -> None:
        if phase == "start":
            self._began = perf_counter()
            return
        self.record(info["generation"], perf_counter() - self._began, info["collected"])

    def record(self, generation: int, pause_s: float, collected: int) -> None:
        """Count one pause."""
        self.counts[generation][bisect_left(BOUNDS_S, pause_s)] += 1
        self.total_s[generation] += pause_s
        self.collected[generation] += collected
        self.longest_s = max(self.longest_s, pause_s)

    def measures(self) -> Iterator[Measure]:
        """A metrics source."""
        yield Histogram(
            "hardtack_gc_pause_seconds",
            "How long the cyclic collector stopped the kernel.",
            ("generation",),
            {
                (str(generation),): Distribution(
                    BOUNDS_S, tuple(self.counts[generation]), self.total_s[generation]
                )
                for generation in range(GENERATIONS)
            },
        )
        yield counter(
            "hardtack_gc_collected_objects_total",
            "Objects that only the cyclic collector could free.",
            {(str(g),): self.collected[g] for g in range(GENERATIONS)},
            ("generation",),
        )
