"""What is due once a process has used some time: interval timers, RLIMIT_CPU, sleeps.

Looked at when a slice of the process ends, which is at least every two ticks of the core's ticker
while it runs: as precise as Linux, which looks at its own ticks. A process that has nothing due
has no `CpuTimers`, so that the look costs it nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.proc.abi import RLIM_INFINITY, RLIMIT_CPU, SIGKILL, SIGXCPU
from services.proc.park import Timer
from services.proc.signals import send

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.proc.task import Process, Thread
    from services.proc.usage import Usage

SECOND_NS = 1_000_000_000
PROFILE, VIRTUAL = 0, 1
"""All time, and a program's own; numbered as in clock ids, where 2 is all time too."""


def reading(usage: Usage, kind: int) -> int:
    """What a clock of this kind shows, in ns."""
    return usage.user_ns if kind == VIRTUAL else usage.user_ns + usage.system_ns


class CpuTimer(Timer):
    """`when_ns` is a reading of the process's clock, or of the one of `thread`."""

    __slots__ = ("kind", "thread")

    def __init__(
        self, when_ns: int, callback: Callable[[], None], kind: int, thread: Thread | None
    ) -> None:
        super().__init__(when_ns, callback)
        self.kind = kind
        self.thread = thread


class CpuTimers:
    """The timers of one process."""

    __slots__ = ("_process", "_timers")

    def __init__(self, process: Process) -> None:
        self._process = process
        self._timers: list[CpuTimer] = []

    def check(self) -> None:
        """Fire what is due; forget what is cancelled."""
        usage, timers = self._process.usage(), self._timers
        self._timers = []  # a timer that fires may start itself again
        for timer in timers:
            of = usage if timer.thread is None else timer.thread.usage
            if timer.live and timer.when_ns <= reading(of, timer.kind):
                timer.fire()
            elif timer.live:
                self._timers.append(timer)
        if not self._timers:
            self._process.cpu_timers = None

    def add(self, timer: CpuTimer) -> None:
        """One more."""
        self._timers.append(timer)


def at(
    process: Process,
    when_ns: int,
    callback: Callable[[], None],
    kind: int = PROFILE,
    thread: Thread | None = None,
) -> CpuTimer:
    """Call back when the process (or one thread of it) has used so much time."""
    timer = CpuTimer(when_ns, callback, kind, thread)
    if process.cpu_timers is None:
        process.cpu_timers = CpuTimers(process)
    process.cpu_timers.add(timer)
    return timer


def watch_limit(process: Process) -> None:
    """Have RLIMIT_CPU observed as it is now: SIGXCPU each second from the soft limit, then SIGKILL.

    As Linux does, the soft limit itself moves on by a second with each SIGXCPU.
    """
    if process.cpu_limit is not None:
        process.cpu_limit.cancel()
        process.cpu_limit = None
    soft, hard = process.limits[RLIMIT_CPU]
    if soft == RLIM_INFINITY:
        return

    def reached() -> None:
        if process.usage().cpu_ns >= hard * SECOND_NS:
            send.to_process(process, send.kernel_info(SIGKILL))
            return
        send.to_process(process, send.kernel_info(SIGXCPU))
        process.limits[RLIMIT_CPU] = (soft + 1, hard)
        watch_limit(process)

    process.cpu_limit = at(process, soft * SECOND_NS, reached)
