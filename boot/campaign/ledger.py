"""What programs saw, counted as it is seen, by whichever thread sees it."""

from __future__ import annotations

import re
import threading
import time
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_NOTES = 2000
_LINE = re.compile(r"(\w+) (?:(\d+)|! (.*)|lost (\d+) (.*))")


@attrs.define
class Tally:
    """Sums since the beginning, or between two moments."""

    failed: int = 0
    """Calls and requests that failed, or were answered wrongly."""
    broken: int = 0
    """Of them, connections that ended."""
    lost_bytes: int = 0
    """Acknowledged, and not there."""
    nobody: int = 0
    """System calls and page faults that found no service, whether a program noticed or not."""

    def since(self, before: Tally) -> Tally:
        """What has come to it."""
        return Tally(
            self.failed - before.failed,
            self.broken - before.broken,
            self.lost_bytes - before.lost_bytes,
            self.nobody - before.nobody,
        )


class Ledger:
    """One for a campaign. `loads` are the names of those that must get on."""

    def __init__(self, loads: Iterable[str]) -> None:
        self.rounds = dict.fromkeys(loads, 0)
        self.total = dict.fromkeys(self.rounds, 0)
        """Rounds that were right: of this kernel, and of all."""
        self.notes: list[str] = []
        self._tally = Tally()
        self._lock = threading.Lock()
        self._slowest_s = 0.0
        self._began_s = time.monotonic()

    def done(self, load: str, took_s: float | None = None) -> None:
        """A round was right."""
        with self._lock:
            self.rounds[load] += 1
            self.total[load] += 1
            if took_s is not None:
                self._slowest_s = max(self._slowest_s, took_s)

    def fail(self, load: str, why: str, *, broken: bool = False) -> None:
        """A call failed."""
        with self._lock:
            self._tally.failed += 1
            self._tally.broken += broken
        self.note(f"{load}: {why}")

    def lose(self, load: str, lost_bytes: int, what: str) -> None:
        """Acknowledged data is not there, or not what it was."""
        with self._lock:
            self._tally.lost_bytes += lost_bytes
        self.note(f"{load}: lost {lost_bytes} bytes: {what}")

    def find_nobody(self, calls: int, service: str) -> None:
        """The kernel has counted calls that found no service."""
        with self._lock:
            self._tally.nobody += calls
        self.note(f"kernel: {calls} calls found no service while {service} was struck")

    def note(self, text: str) -> None:
        """Remember it, with the time."""
        with self._lock:
            if len(self.notes) < MOST_NOTES:
                self.notes.append(f"{time.monotonic() - self._began_s:9.2f} s  {text}")

    def hear(self, line: str) -> None:
        """A line of a load inside: "NAME N", "NAME ! WHY" or "NAME lost BYTES WHAT"."""
        said = _LINE.fullmatch(line)
        if said is None or said[1] not in self.rounds:
            self.lose("console", len(line) + 1, f"not a line that was written: {line[:80]!r}")
        elif said[2] is not None:
            self._count(said[1], int(said[2]))
        elif said[3] is not None:
            self.fail(said[1], said[3])
        else:
            self.lose(said[1], int(said[4]), said[5])

    def _count(self, load: str, number: int) -> None:
        expected = self.rounds[load] + 1
        if number != expected:
            self.lose("console", 1, f"{load} said {number} where {expected} was to come")
            with self._lock:
                self.rounds[load] = number - 1
        self.done(load)

    def tally(self) -> Tally:
        """The sums as they are."""
        with self._lock:
            return attrs.evolve(self._tally)

    def slowest_s(self) -> float:
        """The longest that a request from outside took since the last time this was asked."""
        with self._lock:
            slowest_s, self._slowest_s = self._slowest_s, 0.0
        return slowest_s

    def begin_anew(self) -> None:
        """Another kernel: its loads count from one."""
        with self._lock:
            self.rounds = dict.fromkeys(self.rounds, 0)
