"""What threads and processes are doing, and the load that comes of it (proc(5), getloadavg(3))."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from services.proc.kernel import Kernel
    from services.proc.task import Process, Thread

STATE_NAMES = {
    "R": "R (running)",
    "S": "S (sleeping)",
    "T": "T (stopped)",
    "Z": "Z (zombie)",
}
SAMPLE_NS = 5_000_000_000
MINUTES = (1, 5, 15)


def uptime_ns(kernel: Kernel) -> Awaitable[int]:
    """Time since boot."""
    return kernel.timers.now()


def is_runnable(thread: Thread) -> bool:
    """Whether it runs or would, if it had the core."""
    return not (thread.parker.parked or thread.scope is not None or thread.process.stopped)


def thread_state(thread: Thread) -> str:
    """The state's letter, of one thread."""
    if thread.process.stopped:
        return "T"
    return "R" if is_runnable(thread) else "S"


def process_state(process: Process) -> str:
    """The state's letter: the leader's, while there is one."""
    if process.zombie:
        return "Z"
    leader = process.leader
    if leader is None:
        return "Z" if process.exiting or process.threads else "S"
    return thread_state(leader)


class Load:
    """Three decaying averages of the number of runnable threads, sampled every five seconds."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._decays = [math.exp(-SAMPLE_NS / (60e9 * minutes)) for minutes in MINUTES]
        self._next_ns = 0
        self.averages = [0.0, 0.0, 0.0]

    def start(self, now_ns: int) -> None:
        """Sample from now on."""
        self._next_ns = now_ns + SAMPLE_NS
        self._kernel.timers.at(self._next_ns, self._sample)

    def _sample(self) -> None:
        running = sum(map(is_runnable, self._kernel.threads.values()))
        for index, decay in enumerate(self._decays):
            self.averages[index] = self.averages[index] * decay + running * (1 - decay)
        self._next_ns += SAMPLE_NS
        self._kernel.timers.at(self._next_ns, self._sample)
