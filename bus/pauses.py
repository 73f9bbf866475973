"""How long the cyclic collector stops everything: a histogram for each generation.

The bounds hold the two delays that the Biscuit thesis reports for GETs under collection (115 µs
and 582 µs), so that the promise can be read off a bucket.
"""

from __future__ import annotations

import gc
from bisect import bisect_left
from time import perf_counter
from typing import TYPE_CHECKING, Any

from bus.metrics import Distribution, Histogram, Measure, counter, gauge

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
        self.reason = "automatic"
        """Why the next collection runs (`bus/collector.py`)."""
        self.reasons: dict[str, list[float]] = {}
        """Number, seconds in all and the longest, by reason."""
        self.all_s = 0.0
        """Pauses of all generations together; read at every wait of a thread."""
        self.turns = 0
        """How often a thread of a program went to sleep: the requests of a server, mostly."""
        self.delays = [0] * (len(BOUNDS_S) + 1)
        self.delayed_s = self.most_delayed_s = 0.0
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
        self.all_s += pause_s
        self.collected[generation] += collected
        self.longest_s = max(self.longest_s, pause_s)
        seen = self.reasons.setdefault(self.reason, [0, 0.0, 0.0])
        seen[0] += 1
        seen[1] += pause_s
        seen[2] = max(seen[2], pause_s)

    def longest_of(self, *reasons: str) -> float:
        """The longest pause that had one of these reasons, s; 0 if there was none."""
        return max([self.reasons[r][2] for r in reasons if r in self.reasons], default=0.0)

    def turn(self, delay_s: float) -> None:
        """Count a turn of a thread, and by how much pauses delayed it in all; mostly nothing."""
        self.turns += 1
        if delay_s:
            self.delays[bisect_left(BOUNDS_S, delay_s)] += 1
            self.delayed_s += delay_s
            self.most_delayed_s = max(self.most_delayed_s, delay_s)

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
        yield Histogram(
            "hardtack_gc_turn_delay_seconds",
            "By how much pauses delayed a thread from one wait to the next: a request of a server.",
            (),
            {
                (): Distribution(
                    BOUNDS_S,
                    (self.turns - sum(self.delays) + self.delays[0], *self.delays[1:]),
                    self.delayed_s,
                )
            },
        )
        yield gauge(
            "hardtack_gc_turn_delay_longest_seconds",
            "The longest of these.",
            {(): self.most_delayed_s},
        )
        yield counter(
            "hardtack_gc_delayed_turns_total",
            "Turns of threads in which at least one pause fell.",
            {(): sum(self.delays)},
        )
        yield counter(
            "hardtack_gc_collected_objects_total",
            "Objects that only the cyclic collector could free.",
            {(str(g),): self.collected[g] for g in range(GENERATIONS)},
            ("generation",),
        )
        for unit, index, what in (
            ("collections_total", 0, "Collections"),
            ("collection_seconds_total", 1, "Time in collections"),
        ):
            yield counter(
                f"hardtack_gc_{unit}",
                f"{what}, by why they ran: step, idle, pressure, demand.",
                {(why,): seen[index] for why, seen in self.reasons.items()},
                ("reason",),
            )
        yield gauge(
            "hardtack_gc_longest_seconds",
            "The longest pause since boot, by why it was.",
            {(why,): seen[2] for why, seen in self.reasons.items()},
            ("reason",),
        )
