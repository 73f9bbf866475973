"""CPU-time clocks: what their ids mean, and what they show (clock_getres(2)).

An id below 0 names a process or thread: its pid, inverted, above three bits of which two say what
is counted and one that a thread is meant. 2 and 3 are the caller's own process and thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from services.proc import cputimers

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.proc.cputimers import CpuTimer
    from services.proc.task import Process, Thread

PROCESS_CPUTIME, THREAD_CPUTIME = 2, 3
_KINDS = (cputimers.PROFILE, cputimers.VIRTUAL, cputimers.PROFILE)
_OF_THREAD = 4


@attrs.frozen
class CpuClock:
    """The time that a process has used, or one thread; `kind` as in `cputimers`."""

    process: Process
    thread: Thread | None = None
    kind: int = cputimers.PROFILE
    exact: bool = True
    """False for the two kinds that Linux keeps in ticks."""

    def read(self, caller: Thread) -> int:
        """What it shows now, in ns."""
        caller.kernel.settle(caller)
        return self.reading()

    def reading(self) -> int:
        """What it showed at the end of the last slice."""
        usage = self.process.usage() if self.thread is None else self.thread.usage
        return cputimers.reading(usage, self.kind)

    def at(self, when_ns: int, callback: Callable[[], None]) -> CpuTimer:
        """Call back when it shows so much."""
        return cputimers.at(self.process, when_ns, callback, self.kind, self.thread)


def find(caller: Thread, number: int) -> CpuClock | None:
    """The clock behind a (signed) id; None where there is none."""
    process = caller.process
    if number == PROCESS_CPUTIME:
        return CpuClock(process)
    if number == THREAD_CPUTIME:
        return CpuClock(process, caller)
    kind = number & 3
    if number >= 0 or kind == len(_KINDS):
        return None
    pid = ~(number >> 3)
    exact = kind == len(_KINDS) - 1
    if number & _OF_THREAD:
        thread = process.threads.get(pid) if pid else caller
        return CpuClock(process, thread, _KINDS[kind], exact) if thread else None
    other = caller.kernel.processes.get(pid) if pid else process
    if pid == caller.tid:
        other = process  # any thread may name its process by its own tid, for reading
    return CpuClock(other, None, _KINDS[kind], exact) if other else None
