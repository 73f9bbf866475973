"""Which command goes to the host next, with which neighbours, and what happens when it is late.

    queue.submit(command, now)      it waits until nothing before it touches its sectors
    queue.start(now)                transfers to be done on the host now, neighbours merged
    queue.finish(attempt, ...)      an attempt has ended on the host; `command.done` was called
    queue.expire(now)               attempts to be made now: delayed ones, and those of late ones
    queue.next_event()              when `expire` is to be called again

Order: commands that share a granule of `GRANULE` sectors run in the order in which they were
submitted; all others as the host likes. A flush waits for nothing, since it covers only what was
answered before it was asked for; flushes that wait become one.

Late: an attempt that has not ended by its deadline is left to itself and another one is made, up
to `attempts`; then the command fails. Nothing on the host can be called back, so the sectors stay
taken until the last attempt has really ended: an old write never lands on a newer one.

A merged transfer that fails is done again command by command, so that a bad sector fails its own
command alone. What the host says of one command is final: it has tried again itself.

Pure: time is a parameter, in seconds of any clock that does not run backwards.
"""

from __future__ import annotations

import enum
import heapq
from collections import deque
from errno import EIO
from typing import TYPE_CHECKING

import attrs

from services.drivers.disk.api import QUEUE_DEPTH, SECTOR_SHIFT
from services.drivers.disk.faults import PLAIN, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

GRANULE_SHIFT = 1
MERGED_SECTORS = 2048
"""A merged transfer is at most 1 MiB."""
MERGED_COMMANDS = 256
DEADLINE_S = 30.0
ATTEMPTS = 3


class Kind(enum.Enum):
    """What a command does."""

    READ = "read"
    WRITE = "write"
    FLUSH = "flush"
    DISCARD = "discard"


@attrs.define(eq=False)
class Command:
    """One command. `done(errno, content)` is called once; content is a read's."""

    kind: Kind
    sector: int
    count: int
    done: Callable[[int, memoryview], None]
    data: bytes = b""
    fua: bool = False
    verdict: Verdict = PLAIN
    submitted_s: float = 0.0
    answered: bool = False
    _waits_for: int = 0
    _followers: list[Command] = attrs.field(factory=list)


@attrs.define(eq=False)
class Transfer:
    """Commands that are done on the host in one go."""

    commands: tuple[Command, ...]
    started_s: float
    made: int = 0
    running: int = 0
    delayed: bool = False
    answered: bool = False

    @property
    def sector(self) -> int:
        """The first."""
        return self.commands[0].sector

    @property
    def count(self) -> int:
        """How many sectors."""
        return sum(command.count for command in self.commands)


_NOTHING = memoryview(b"")
_MERGES = (Kind.READ, Kind.WRITE)


@attrs.define
class Counts:
    """What the queue has seen since boot."""

    commands: int = 0
    transfers: int = 0
    merged: int = 0
    """Commands that went along with a neighbour."""
    failed: int = 0
    late: int = 0
    """Attempts that passed their deadline."""
    deepest: int = 0


class Queue:
    """See the module's docstring; `judge` says what an armed fault does to a command."""

    def __init__(
        self,
        judge: Callable[[Command], Verdict] | None = None,
        depth: int = QUEUE_DEPTH,
        deadline_s: float = DEADLINE_S,
        attempts: int = ATTEMPTS,
    ) -> None:
        self.judge = judge
        self.depth, self.deadline_s, self.attempts = depth, deadline_s, attempts
        self.counts = Counts()
        self._holders: dict[int, Command] = {}
        self._ready: dict[Command, None] = {}
        self._starts: dict[tuple[Kind, bool, int], Command] = {}
        self._ends: dict[tuple[Kind, bool, int], Command] = {}
        self._again: deque[Command] = deque()
        self._open: dict[Command, None] = {}
        self._flying: dict[Transfer, None] = {}
        self._events: list[tuple[float, int, Transfer]] = []
        self._number = 0

    def __len__(self) -> int:
        return len(self._open)

    @property
    def in_flight(self) -> int:
        """Transfers that the host has in hand, or that a fault holds back."""
        return len(self._flying)

    def submit(self, command: Command, now: float) -> None:
        """Take a command."""
        command.submitted_s = now
        self.counts.commands += 1
        if self.judge is not None:
            command.verdict = self.judge(command)
        self._open[command] = None
        holders = self._holders
        for granule in _granules(command):
            before = holders.get(granule)
            if before is not None and command not in before._followers[-1:]:
                before._followers.append(command)
                command._waits_for += 1
            holders[granule] = command
        if not command._waits_for:
            self._make_ready(command)

    def _make_ready(self, command: Command) -> None:
        if command.answered:
            self._release(command)
            return
        self._ready[command] = None
        if command.kind in _MERGES and command.verdict is PLAIN:
            kind, fua = command.kind, command.fua
            self._starts[kind, fua, command.sector] = command
            self._ends[kind, fua, command.sector + command.count] = command

    def _unready(self, command: Command) -> None:
        del self._ready[command]
        if command.kind in _MERGES and command.verdict is PLAIN:
            kind, fua = command.kind, command.fua
            del self._starts[kind, fua, command.sector]
            del self._ends[kind, fua, command.sector + command.count]

    def _release(self, command: Command) -> None:
        """Its sectors are free."""
        for granule in _granules(command):
            if self._holders.get(granule) is command:
                del self._holders[granule]
        followers, command._followers = command._followers, []
        for follower in followers:
            follower._waits_for -= 1
            if not follower._waits_for:
                self._make_ready(follower)

    def start(self, now: float) -> list[Transfer]:
        """Transfers that are to be done now, each one attempt."""
        begun: list[Transfer] = []
        while len(self._flying) < self.depth:
            if self._again:
                commands: tuple[Command, ...] = (self._again.popleft(),)
                if commands[0].answered:
                    self._release(commands[0])
                    continue
            elif self._ready:
                commands = self._take()
            else:
                break
            transfer = Transfer(commands, now)
            self._flying[transfer] = None
            self.counts.transfers += 1
            self.counts.merged += len(commands) - 1
            if self._attempt(transfer, now):
                begun.append(transfer)
        self.counts.deepest = max(self.counts.deepest, len(self._flying))
        return begun

    def _take(self) -> tuple[Command, ...]:
        first = next(iter(self._ready))
        self._unready(first)
        if first.kind is Kind.FLUSH:
            return (first, *self._other_flushes())
        if first.kind not in _MERGES or first.verdict is not PLAIN:
            return (first,)
        taken = deque((first,))
        size, kind, fua = first.count, first.kind, first.fua
        low, high = first.sector, first.sector + first.count
        while len(taken) < MERGED_COMMANDS:
            after = self._starts.get((kind, fua, high))
            before = self._ends.get((kind, fua, low)) if after is None else None
            found = after or before
            if found is None or size + found.count > MERGED_SECTORS:
                break
            self._unready(found)
            size += found.count
            if after is not None:
                taken.append(found)
                high += found.count
            else:
                taken.appendleft(found)
                low -= found.count
        return tuple(taken)

    def _other_flushes(self) -> list[Command]:
        others = [one for one in self._ready if one.kind is Kind.FLUSH and one.verdict is PLAIN]
        for one in others:
            self._unready(one)
        return others

    def _attempt(self, transfer: Transfer, now: float) -> bool:
        """Whether it is made now; otherwise a fault holds it back until its event."""
        transfer.started_s = now
        transfer.made += 1
        delay_s = max(command.verdict.delay_s for command in transfer.commands)
        if delay_s > 0:
            transfer.delayed = True
            self._note(now + min(delay_s, self.deadline_s), transfer)
            return False
        transfer.running += 1
        self._note(now + self.deadline_s, transfer)
        return True

    def _note(self, when: float, transfer: Transfer) -> None:
        self._number += 1
        heapq.heappush(self._events, (when, self._number, transfer))

    def next_event(self) -> float | None:
        """When `expire` has something to do next, if nothing ends before."""
        events = self._events
        while events and events[0][2] not in self._flying:
            heapq.heappop(events)
        times = [events[0][0]] if events else []
        oldest = next(iter(self._open), None)
        if oldest is not None:
            times.append(oldest.submitted_s + self.deadline_s * self.attempts)
        return min(times, default=None)

    def expire(self, now: float) -> list[Transfer]:
        """Attempts that are to be made now; commands that are too late have failed."""
        begun: list[Transfer] = []
        events = self._events
        while events and events[0][0] <= now:
            transfer = heapq.heappop(events)[2]
            if transfer not in self._flying or transfer.answered:
                continue
            if transfer.delayed:
                self._end_delay(transfer, now, begun)
            elif transfer.started_s + self.deadline_s <= now:
                self._late(transfer, now, begun)
        limit_s = self.deadline_s * self.attempts
        for command in tuple(self._open):
            if command.submitted_s + limit_s > now:
                break
            self._answer(command, EIO)
            if command in self._ready:
                self._unready(command)
                self._release(command)
        return begun

    def _end_delay(self, transfer: Transfer, now: float, begun: list[Transfer]) -> None:
        transfer.delayed = False
        delay_s = max(command.verdict.delay_s for command in transfer.commands)
        if delay_s >= self.deadline_s:
            self._late(transfer, now, begun)
            return
        transfer.running += 1
        self._note(transfer.started_s + self.deadline_s, transfer)
        begun.append(transfer)

    def _late(self, transfer: Transfer, now: float, begun: list[Transfer]) -> None:
        self.counts.late += 1
        if transfer.made < self.attempts:
            if self.judge is not None and transfer.commands[0].verdict is not PLAIN:
                transfer.commands[0].verdict = self.judge(transfer.commands[0])
            if self._attempt(transfer, now):
                begun.append(transfer)
            return
        self._end(transfer, EIO, _NOTHING)

    def finish(self, transfer: Transfer, error: int, content: bytes = b"") -> None:
        """An attempt has ended on the host: with an errno, or with a read's content."""
        transfer.running -= 1
        if not transfer.answered:
            if error and len(transfer.commands) > 1 and transfer.commands[0].kind in _MERGES:
                transfer.answered = True
                if not transfer.running:
                    self._split(transfer)
                return
            self._end(transfer, error, memoryview(content))
        elif not transfer.running:
            open_still = any(not command.answered for command in transfer.commands)
            if open_still:
                self._split(transfer)
            else:
                self._land(transfer)

    def _split(self, transfer: Transfer) -> None:
        del self._flying[transfer]
        self._again.extend(transfer.commands)
        transfer.commands = ()

    def _end(self, transfer: Transfer, error: int, content: memoryview) -> None:
        transfer.answered = True
        at = 0
        for command in transfer.commands:
            size = command.count << SECTOR_SHIFT if command.kind is Kind.READ else 0
            self._answer(command, error, content[at : at + size])
            at += size
        if not transfer.running:
            self._land(transfer)

    def _land(self, transfer: Transfer) -> None:
        del self._flying[transfer]
        # Its deadline may stay noted for a while: that must not keep the content.
        commands, transfer.commands = transfer.commands, ()
        for command in commands:
            self._release(command)

    def _answer(self, command: Command, error: int, content: memoryview = _NOTHING) -> None:
        if command.answered:
            return
        command.answered = True
        del self._open[command]
        self.counts.failed += error != 0
        command.done(error, content)


def _granules(command: Command) -> range:
    if not command.count:
        return range(0)
    last = command.sector + command.count - 1
    return range(command.sector >> GRANULE_SHIFT, (last >> GRANULE_SHIFT) + 1)
