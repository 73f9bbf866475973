"""Deadlines of the stack's own: neighbours, reassembly, routers, lifetimes.

A heap with lazy cancellation. A timer that is moved later keeps its place in the heap and is put
back when that place comes up, so moving one costs an assignment. Places of timers that were
cleared are swept out when they are most of the heap.
"""

from __future__ import annotations

import heapq
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

NEVER = 1 << 63
"""Later than any time in ns."""
_SWEEP_FROM = 256


class Timer:
    """Something that is to happen once, at `deadline_ns` (NEVER: not set)."""

    __slots__ = ("action", "deadline_ns", "queued_ns")

    def __init__(self, action: Callable[[int], None]) -> None:
        self.action = action  # called with the present
        self.deadline_ns = NEVER
        self.queued_ns = NEVER  # its earliest entry in the heap


class Timers:
    """All timers of a stack."""

    __slots__ = ("_cleared", "_heap", "_order")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Timer]] = []
        self._order = count()  # timers do not compare
        self._cleared = 0  # since the last sweep

    def __len__(self) -> int:
        return len(self._heap)

    def set(self, timer: Timer, deadline_ns: int) -> None:
        """Let the timer go off at `deadline_ns`, and not when it was set to before."""
        timer.deadline_ns = deadline_ns
        if deadline_ns < timer.queued_ns:
            timer.queued_ns = deadline_ns
            heapq.heappush(self._heap, (deadline_ns, next(self._order), timer))

    def clear(self, timer: Timer) -> None:
        """Let the timer not go off."""
        timer.deadline_ns = NEVER
        if timer.queued_ns != NEVER:
            self._cleared += 1
            if self._cleared > _SWEEP_FROM and self._cleared > len(self._heap) >> 1:
                self._sweep()

    def _sweep(self) -> None:
        """Keep one place for each timer that is set."""
        self._cleared = 0
        timers = {timer for _, _, timer in self._heap}
        self._heap.clear()
        for timer in timers:
            timer.queued_ns = NEVER
            if timer.deadline_ns != NEVER:
                self.set(timer, timer.deadline_ns)

    @property
    def next_deadline_ns(self) -> int | None:
        """No timer goes off before this time; at this time, perhaps none either."""
        heap = self._heap
        while heap and heap[0][2].deadline_ns == NEVER:
            at_ns, _, timer = heapq.heappop(heap)
            if timer.queued_ns == at_ns:
                timer.queued_ns = NEVER
        return heap[0][0] if heap else None

    def run(self, now_ns: int) -> None:
        """Do what is due. What an action sets anew waits for the next call."""
        heap = self._heap
        due = []
        while heap and heap[0][0] <= now_ns:
            at_ns, _, timer = heapq.heappop(heap)
            if timer.queued_ns == at_ns:
                timer.queued_ns = NEVER
            if timer.deadline_ns <= now_ns:
                timer.deadline_ns = NEVER
                due.append(timer)
            elif timer.deadline_ns != NEVER:
                self.set(timer, timer.deadline_ns)
        for timer in due:
            timer.action(now_ns)
