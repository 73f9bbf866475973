"""Reservations that fail although there is room: fault injection on the admission point itself.

`HeapFaults` is what `Ledger.fails` takes. It makes each distinct way to a reservation fail once
(`once`), as Biscuit's build switch does, or any of them with a probability. Those who then wait are
let in at once, as there is room: what is tried is every way out and back in.
"""

from __future__ import annotations

import random
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import CodeType

DEPTH = 8
"""Frames that tell one way from another."""


class HeapFaults:
    """`odds` is None for once a way, else a probability; `seed` makes it repeatable."""

    def __init__(self, odds: float | None = None, seed: int = 0) -> None:
        self._odds = odds
        self._random = random.Random(seed)
        self._seen: set[tuple[object, ...]] = set()
        self.injected = 0

    def __call__(self, bound_bytes: int) -> bool:
        """Whether this reservation fails."""
        if self._odds is None:
            way = (bound_bytes, *_way())
            fails = way not in self._seen
            self._seen.add(way)
        else:
            fails = self._random.random() < self._odds
        self.injected += fails
        return fails

    @property
    def ways(self) -> int:
        """How many distinct ways to a reservation there were."""
        return len(self._seen)


def _way() -> tuple[tuple[CodeType, int], ...]:
    """Who asks: code and place in it of the callers, the nearest first."""
    frame = sys._getframe(3)
    found: list[tuple[CodeType, int]] = []
    while frame is not None and len(found) < DEPTH:
        found.append((frame.f_code, frame.f_lasti))
        frame = frame.f_back  # type: ignore[assignment]
    return tuple(found)
