"""Host threads that do what may block, so that the kernel's loop does not.

A thread is started when work comes and none is idle, up to `limit`; all are daemons, since one that
the host hangs cannot be ended. What they have done lies in a queue; the interrupt, one at a time,
asks the loop to look.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

W = TypeVar("W")
O = TypeVar("O")  # noqa: E741


class Workers(Generic[W, O]):
    """`work` is called in threads, must not raise; `interrupt` in a thread as well."""

    def __init__(self, work: Callable[[W], O], interrupt: Callable[[], None], limit: int) -> None:
        self._work, self._interrupt, self._limit = work, interrupt, limit
        self._jobs: queue.SimpleQueue[W | None] = queue.SimpleQueue()
        self._ended: deque[tuple[W, O]] = deque()
        self._threads: list[threading.Thread] = []
        self._outstanding = 0
        self.interrupts = 0
        self._lock = threading.Lock()
        self._pending = False

    def serve(self, work: Callable[[W], O], interrupt: Callable[[], None]) -> None:
        """Somebody else has them from now on, with what is under way."""
        self._work, self._interrupt = work, interrupt
        if self._pending:
            interrupt()  # the one before may have been asked, and is gone

    def give(self, job: W) -> None:
        """Have it done."""
        self._outstanding += 1
        if self._outstanding > len(self._threads) < self._limit:
            thread = threading.Thread(target=self._serve, name="hardtack-disk", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._jobs.put(job)

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            outcome = self._work(job)
            with self._lock:
                self._ended.append((job, outcome))
                first, self._pending = not self._pending, True
            if first:
                self._interrupt()

    def take(self) -> list[tuple[W, O]]:
        """What has ended, and from now on there may be an interrupt again."""
        with self._lock:
            self._pending = False
            ended = list(self._ended)
            self._ended.clear()
        self.interrupts += 1
        self._outstanding -= len(ended)
        return ended

    def close(self, timeout_s: float = 2.0) -> bool:
        """End the threads; whether all have ended in time."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join(timeout_s)
        return not any(thread.is_alive() for thread in self._threads)
