"""What the kernel has said of itself: its last lines, numbered, with the time of the host."""

from __future__ import annotations

import time
from collections import deque

import attrs

MOST = 2000


@attrs.frozen
class Entry:
    """One thing that was said."""

    number: int
    time_s: float
    """Seconds since 1970."""
    text: str


class Journal:
    """Bounded; the oldest makes room. Written by the kernel, read by anybody."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=MOST)
        self._next = 1

    def write(self, text: str) -> None:
        """Keep a line, or several that belong together."""
        self._entries.append(Entry(self._next, time.time(), text.rstrip("\n")))
        self._next += 1

    def since(self, number: int) -> list[Entry]:
        """What was said after the entry of that number, oldest first."""
        return [entry for entry in list(self._entries) if entry.number > number]
