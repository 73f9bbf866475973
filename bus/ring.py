"""Trace rings: the last things that happened to a service, typed, bounded and cheap.

An event is a frozen attrs object; its class is its kind. A ring keeps the newest `capacity`
events with their sequence numbers and counts every kind since boot. It carries no time of its
own: the sequence is the same in every run with the same seed. The supervisor takes a snapshot
when a service dies: its epitaph.
"""

from __future__ import annotations

from collections import deque

import attrs

CAPACITY = 256


@attrs.frozen
class Crashed:
    """A broken invariant: what was running, the exception in one line, and its traceback."""

    where: str
    error: str
    traceback: str


@attrs.frozen
class Malformed:
    """The service sent a message that its callee refused."""

    target: str
    request: str
    reason: str


@attrs.frozen
class Undeclared:
    """The service answered with an errno that the request does not declare."""

    request: str
    errno: int


@attrs.frozen
class Lifecycle:
    """The service was started, stopped, or given up on."""

    what: str
    generation: int


class Ring:
    """Bounded history of one service, newest last."""

    __slots__ = ("_events", "_next", "counts")

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._events: deque[tuple[int, object]] = deque(maxlen=capacity)
        self._next = 0
        self.counts: dict[str, int] = {}

    def record(self, event: object) -> None:
        """Add an event; the oldest makes room."""
        self._events.append((self._next, event))
        self._next += 1
        kind = type(event).__name__
        self.counts[kind] = self.counts.get(kind, 0) + 1

    def snapshot(self) -> tuple[tuple[int, object], ...]:
        """(sequence number, event) pairs, oldest first."""
        return tuple(self._events)

    def __len__(self) -> int:
        return len(self._events)
