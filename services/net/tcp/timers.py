"""When connections want to be woken.

A connection has several deadlines as plain ints, which move with nearly every segment; `alarm_ns`
is the earliest time for which it stands in the heap. Moving a deadline later costs nothing: the
connection is woken early, finds nothing due, and is put back. Moving it before `alarm_ns` pushes
a second entry and makes the first one stale; stale entries are skipped when they come up, and
thrown out when they are the majority, so that closed connections are not kept for hours.
"""

from __future__ import annotations

import heapq
from typing import Protocol

from services.net.tcp.limits import NEVER


class Sleeper(Protocol):
    """What stands in the heap."""

    alarm_ns: int

    def wake(self, now_ns: int) -> int:
        """Do what is due; replies with the next deadline, or NEVER."""


class TimerHeap:
    """Deadlines of many sleepers, the earliest first."""

    __slots__ = ("_entries", "_serial", "_stale")

    def __init__(self) -> None:
        self._entries: list[tuple[int, int, Sleeper]] = []
        self._serial = 0
        self._stale = 0

    def arm(self, sleeper: Sleeper, at_ns: int) -> None:
        """Have it woken at `at_ns`, which is earlier than its `alarm_ns`."""
        if sleeper.alarm_ns != NEVER:
            self._outdated()
        sleeper.alarm_ns = at_ns
        self._serial += 1
        heapq.heappush(self._entries, (at_ns, self._serial, sleeper))

    def forget(self, sleeper: Sleeper) -> None:
        """It will not want to be woken again."""
        if sleeper.alarm_ns != NEVER:
            sleeper.alarm_ns = NEVER
            self._outdated()

    def _outdated(self) -> None:
        self._stale += 1
        if self._stale > 64 and self._stale * 2 > len(self._entries):
            self._entries = [e for e in self._entries if e[2].alarm_ns == e[0]]
            heapq.heapify(self._entries)
            self._stale = 0

    @property
    def earliest_ns(self) -> int:
        """When to call `run`, or NEVER; it may turn out that nothing is due then."""
        entries = self._entries
        while entries and entries[0][2].alarm_ns != entries[0][0]:
            heapq.heappop(entries)
            self._stale -= 1
        return entries[0][0] if entries else NEVER

    def run(self, now_ns: int) -> None:
        """Wake those whose time has come."""
        entries = self._entries
        while entries and entries[0][0] <= now_ns:
            at_ns, _, sleeper = heapq.heappop(entries)
            if sleeper.alarm_ns != at_ns:
                self._stale -= 1
                continue
            sleeper.alarm_ns = NEVER
            next_ns = sleeper.wake(now_ns)
            if next_ns < sleeper.alarm_ns:
                self.arm(sleeper, max(next_ns, now_ns + 1))
            entries = self._entries

    def __len__(self) -> int:
        return len(self._entries)
