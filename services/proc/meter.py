"""Whose the core's time is, and how much of it the kernel took: user time and system time.

The length of a slice (from `core.run` to its stop) is exact, and so is the time that a thread's
task spends outside the emulator: fork, exec, the rest of a call that blocked. What happens inside
a slice is told apart by sampling, for two clock reads a trap would cost a getpid 6 %: every
seventh slice of a thread has its traps timed, and the slices between are split in the proportion
of those, as Linux splits exact run times by what its ticks saw (cputime_adjust). Samples weigh by
their length, and older ones fade. Seven, because programs repeat themselves in small even steps.

The gate charges slices itself (`Gate.run_thread`); here is what it does not do at every one.
"""

from __future__ import annotations

from bisect import bisect_left
from time import perf_counter_ns
from typing import TYPE_CHECKING

from services.drivers.cpu.api import RAX

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.proc.kernel import Kernel
    from services.proc.task import Thread

LATENCY_BOUNDS_S = (1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 5e-3)
_BOUNDS_NS = tuple(round(bound * 1e9) for bound in LATENCY_BOUNDS_S)
EVERY = 7
"""Of a thread with dense traps, one slice in so many has them timed."""
DENSE_NS = 50_000
"""Traps that come closer than this, on the average of a slice, are dense."""
MEMORY_NS = 20_000_000
"""Samples longer than this in all are halved: what a thread did before fades."""


class Meter:
    """Splits slices; there is one for the core."""

    __slots__ = ("_kernel", "_plain", "_timed", "_trap_ns", "_traps", "since_ns", "timing")

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        core = kernel.core
        self._plain = plain = (core.on_syscall, core.on_fault)
        self._timed = (self._time_call(plain[0]), self._time(plain[1]))
        self.since_ns = 0
        """From when on the loaded thread has not been charged (perf_counter)."""
        self._trap_ns = self._traps = 0
        self.timing = False
        """Whether this slice is a sample."""

    def _time(self, trap: Callable[..., None]) -> Callable[..., None]:
        overhead_ns = self._kernel.core.trap_ns

        def timed(*arguments: int) -> None:
            entered = perf_counter_ns()
            trap(*arguments)
            self._trap_ns += perf_counter_ns() - entered + overhead_ns
            self._traps += 1

        return timed

    def _time_call(self, trap: Callable[[], None]) -> Callable[[], None]:
        """The same, with the time of calls that did not wait kept by number."""
        kernel = self._kernel
        overhead_ns, regs, latencies = kernel.core.trap_ns, kernel.core.regs, kernel.latencies

        def timed() -> None:
            number = regs[RAX]
            entered = perf_counter_ns()
            trap()
            took = perf_counter_ns() - entered
            self._trap_ns += took + overhead_ns
            self._traps += 1
            thread = kernel.current
            if thread is not None and thread.suspended is None:
                row = latencies.get(number)
                if row is None:
                    row = latencies[number] = [0] * (len(LATENCY_BOUNDS_S) + 2)
                row[bisect_left(_BOUNDS_NS, took)] += 1
                row[-1] += took

        return timed

    def sample(self) -> None:
        """Time the traps of the slice that is about to begin."""
        self.timing, self._trap_ns, self._traps = True, 0, 0
        core = self._kernel.core
        core.on_syscall, core.on_fault = self._timed

    def end_sample(self, thread: Thread, now_ns: int) -> int:
        """Charge a slice that was one; how many are to pass before the thread's next."""
        dense = self._traps * DENSE_NS > now_ns - self.since_ns
        self._charge_sample(thread, now_ns - self.since_ns)
        self.timing = False
        core = self._kernel.core
        core.on_syscall, core.on_fault = self._plain
        return EVERY - 1 if dense else 0

    def _charge_sample(self, thread: Thread, elapsed: int) -> None:
        system = min(self._trap_ns, elapsed)
        self._trap_ns = self._traps = 0
        usage = thread.usage
        usage.system_ns += system
        usage.user_ns += elapsed - system
        of, parts = thread.samples
        if of > MEMORY_NS:
            of, parts = of >> 1, parts >> 1
        thread.samples = of, parts = of + elapsed, parts + system
        thread.system_share = parts / of if of else 0.0

    def settle(self, thread: Thread) -> None:
        """Bring the usage of a thread that is making a system call up to date."""
        usage, now = thread.usage, perf_counter_ns()
        if self._kernel.current is not thread:  # outside the emulator all time is the kernel's
            usage.system_ns += now - thread.resumed_ns
            thread.resumed_ns = now
            return
        elapsed, self.since_ns = now - self.since_ns, now
        if self.timing:
            self._charge_sample(thread, elapsed)
            return
        system = int(elapsed * thread.system_share)
        usage.system_ns += system
        usage.user_ns += elapsed - system
