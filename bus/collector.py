"""When the cyclic collector runs, and for how long it may stop everything.

CPython frees most objects by reference count; the collector is there for cycles. Left to itself
it runs in the middle of whatever allocates, over as much as there is: with a million live objects
that is tens of milliseconds inside somebody's system call. So automatic collection is off, and:

- `step`, at safe points (between two slices of user code, where no call is half done): the young
  generation once it has `YOUNG` objects, now and then the middle one with it. What a step looks at
  is bounded, and so is its pause: some 17 ns an object were measured.
- `idle` looks at everything that is not frozen, then freezes what survived (gc.freeze), so that
  the next one looks only at what came since.
- `recent` does that at once, for a heap under pressure; `thorough` thaws everything first, the
  interpreter's own objects with it, and takes ten times as long: under pressure now and then, and
  on demand.

Each pause is timed by gc's own callbacks and told to a `PauseWatch` with its reason.

The headroom model of section 4.2 of the Biscuit thesis holds with other constants: a thorough
collection costs k_m for each live container and nothing for a free one, as reference counts have
freed those (k_s = 0); and its rate does not follow from allocation, as most garbage needs no
collection. So the headroom ratio decides how often the heap is *short*, not how much time is spent
in collecting, until so little is left that every wait asks for a collection.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bus.pauses import PauseWatch

YOUNG = 300
"""A step then takes some 5 µs, where objects lie in the processor's cache."""
BOUND = 900
"""Objects that a step looks at, at most: those of the young generation and, once so many have come
since it was looked at last, of the middle one. More than half of it at once is frozen unseen."""
WORTH_IT = 10
IDLE_STEPS = 40
"""Young collections since the last idle one: at least, and at most, for another (5 ms)."""


class Collector:
    """The policy of one process; `on_stock` is called after every collection of everything."""

    __slots__ = (
        "_automatic",
        "_idle_steps",
        "_middle",
        "fulls",
        "on_stock",
        "pauses",
        "running",
        "steps",
    )

    def __init__(self, pauses: PauseWatch) -> None:
        self.pauses = pauses
        self.running = False
        self.fulls = 0
        """Collections of all that is not frozen, or of everything."""
        self.on_stock: Callable[[], object] = _nothing
        self._idle_steps = self._middle = 0
        self.steps = 0
        """Young collections so far."""
        self._automatic = True

    @contextmanager
    def rule(self) -> Iterator[None]:
        """Within it the policy is in force; afterwards CPython's own is again."""
        self._automatic = gc.isenabled()
        gc.collect()
        gc.freeze()
        gc.disable()
        self.pauses.start()
        self.running = True
        self.on_stock()
        try:
            yield
        finally:
            self.running = False
            self.pauses.stop()
            gc.unfreeze()
            if self._automatic:
                gc.enable()

    def step(self) -> None:
        """A safe point: collect young objects if there are enough of them."""
        count = gc.get_count()[0]
        if count < YOUNG or not self.running:
            return
        self.steps += 1
        self._middle += count
        if self._middle >= BOUND:
            self._middle = 0
            if count >= BOUND // 2:
                gc.freeze()  # a burst: mostly what a program asked for, and it lives
            else:
                self._collect(1, "step")
        else:
            self._collect(0, "step")

    def idle(self) -> None:
        """Nobody wants the processor: collect what came since the last time, if it is worth it.

        More than `IDLE_STEPS` steps' worth is frozen unseen: who comes next would wait for it.
        """
        steps = self.steps - self._idle_steps
        if not self.running or steps < WORTH_IT:
            return
        self._idle_steps = self.steps
        if steps <= IDLE_STEPS:
            self._collect(2, "idle")
        gc.freeze()

    def recent(self, reason: str) -> int:
        """Collect what came since the last freeze, then freeze what survived; objects freed."""
        freed = self._collect(2, reason)
        if self.running:
            gc.freeze()
        self._idle_steps = self.steps
        return freed

    def thorough(self, reason: str) -> int:
        """The same over everything."""
        if self.running:
            gc.unfreeze()
        return self.recent(reason)

    def _collect(self, generation: int, reason: str) -> int:
        pauses = self.pauses
        pauses.reason = reason
        try:
            freed = gc.collect(generation)
        finally:
            pauses.reason = "automatic"
        if generation == 2:
            self.fulls += 1
            self.on_stock()
        return freed


def _nothing() -> None:
    """Nobody takes stock."""
