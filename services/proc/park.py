"""How a kernel task waits: one primitive for pipes, futexes, children, poll, timers, signals.

A `WaitQueue` belongs to a condition ("this pipe has bytes"). Whoever makes the condition true
calls `wake`. A thread waits by registering with one or several queues and parking:

    while not condition:
        await thread.wait(queue)

There is no await between the test of the condition and the registration, so no wake-up is lost;
a wake-up that comes before the thread has parked is kept in its `token`. A signal, or the end of
the process, makes `wait` raise `Interrupted`; a deadline makes it reply False. Trio's cancel
scopes would do the same at ten times the cost, on every blocking call.

epoll registers entries of its own, so an entry is anything with `notify(events)`.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Protocol

import outcome
import trio

from bus.census import kind
from services.drivers.clock.api import MONOTONIC, Now, Sleep

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bus.core import Port


class Interrupted(Exception):
    """A signal came while a call waited: EINTR, or a restart (signal(7))."""


class Entry(Protocol):
    """What stands in a wait queue."""

    def notify(self, events: int) -> None:
        """The queue's condition may have become true; `events` are EPOLL bits, or 0."""


class WaitQueue:
    """The waiters of one condition, in order of arrival."""

    __slots__ = ("entries",)

    def __init__(self) -> None:
        self.entries: dict[Entry, None] = {}

    def add(self, entry: Entry) -> None:
        """Register a waiter."""
        self.entries[entry] = None

    def discard(self, entry: Entry) -> None:
        """Take a waiter out; it may be gone already."""
        self.entries.pop(entry, None)

    def wake(self, events: int = 0) -> None:
        """Tell every waiter."""
        if self.entries:
            for entry in list(self.entries):
                entry.notify(events)

    def wake_some(self, count: int) -> int:
        """Tell the first `count` waiters and take them out; replies with how many there were."""
        chosen = list(self.entries)[:count]
        for entry in chosen:
            del self.entries[entry]
            entry.notify(0)
        return len(chosen)


WOKEN, TIMED_OUT, INTERRUPTED = 1, 2, 3


class Parker:
    """The waiting half of a thread: at most one park at a time, made in its own task."""

    __slots__ = ("_task", "_token")

    def __init__(self) -> None:
        self._task: trio.lowlevel.Task | None = None
        self._token = 0

    def notify(self, events: int) -> None:
        """Wake the thread (an `Entry`)."""
        self.unpark(WOKEN)

    def unpark(self, why: int) -> None:
        """End the current or the next park; the first reason counts."""
        if self._token == 0:
            self._token = why
            if self._task is not None:
                task, self._task = self._task, None
                trio.lowlevel.reschedule(task, outcome.Value(None))

    @property
    def parked(self) -> bool:
        """Whether the thread's task is waiting here now."""
        return self._task is not None

    def arm(self) -> None:
        """Forget older wake-ups; call it before testing the condition."""
        self._token = 0

    async def park(self) -> int:
        """Wait for `unpark`; replies with its reason."""
        if self._token == 0:
            self._task = trio.lowlevel.current_task()
            try:
                await trio.lowlevel.wait_task_rescheduled(self._abort)
            except BaseException:  # closed, or cancelled: nobody may wake a task that has gone on
                self._task = None
                raise
        token, self._token = self._token, 0
        return token

    def _abort(self, _raise: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED


TIMER = kind("proc", "timer")


class Timer:
    """A deadline that calls back once, unless it is cancelled."""

    __slots__ = ("_callback", "when_ns")

    def __init__(self, when_ns: int, callback: Callable[[], None]) -> None:
        TIMER.made()
        self.when_ns = when_ns
        self._callback: Callable[[], None] | None = callback

    def __del__(self) -> None:
        TIMER.freed()

    def cancel(self) -> None:
        """Do not call back."""
        self._callback = None

    @property
    def live(self) -> bool:
        """Neither fired nor cancelled."""
        return self._callback is not None

    def fire(self) -> None:
        """Call back if still wanted."""
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class Timers:
    """All deadlines of the kernel, in one heap, served by one task.

    Times are nanoseconds of the clock driver's MONOTONIC. Cancelled timers stay in the heap until
    they come up or until they are more than half of it.
    """

    def __init__(self, clock: Port) -> None:
        self._clock = clock
        self._heap: list[tuple[int, int, Timer]] = []
        self._sequence = 0
        self._scope: trio.CancelScope | None = None
        self._told_ns = 0
        self._changed = trio.Event()

    def at(self, when_ns: int, callback: Callable[[], None]) -> Timer:
        """Call back when MONOTONIC reaches `when_ns`."""
        timer = Timer(when_ns, callback)
        self._sequence += 1
        first = not self._heap or when_ns < self._heap[0][0]
        heapq.heappush(self._heap, (when_ns, self._sequence, timer))
        if first:
            self._changed.set()
            if self._scope is not None:
                self._scope.cancel()
        if self._sequence % 1024 == 0:
            self.prune()
        return timer

    def prune(self) -> None:
        """Let cancelled timers go where they are most; a process that had many has ended, say."""
        live = [item for item in self._heap if item[2].live]
        if 2 * len(live) < len(self._heap):
            heapq.heapify(live)
            self._heap = live

    def now(self) -> Awaitable[int]:
        """MONOTONIC, ns."""
        return self._clock.call(Now(MONOTONIC))

    def read(self) -> int:
        """MONOTONIC, ns, for those who cannot await: the driver tells it without a wait.

        While the driver is restarted or has faults, what was told last must do.
        """
        if not self._clock.plain:
            return self._told_ns
        call = self._clock.call(Now(MONOTONIC))
        try:
            call.send(None)
        except StopIteration as told:
            now: int = told.value
            self._told_ns = now
            return now
        raise RuntimeError("the clock driver waits to tell the time")

    async def serve(self) -> None:
        """Fire timers as they come due; runs until cancelled."""
        while True:
            await trio.lowlevel.checkpoint()  # one that is always due must not keep all others
            now = await self.now()
            while self._heap and (self._heap[0][0] <= now or not self._heap[0][2].live):
                heapq.heappop(self._heap)[2].fire()
            if not self._heap:
                self._changed = trio.Event()
                await self._changed.wait()
                continue
            with trio.CancelScope() as self._scope:
                await self._clock.call(Sleep(self._heap[0][0]))
            self._scope = None
