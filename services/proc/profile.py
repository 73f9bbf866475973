"""A statistical profile of the kernel's own Python: where it is as it uses the processor.

The host's ITIMER_PROF interrupts the thread that the kernel runs in; CPython calls the handler
before the next instruction of its own. What falls due while the emulator runs is therefore told at
the trap that ends it (`on_syscall`, `_on_fault`), or in `run_thread` where the slice ends.
"""

from __future__ import annotations

import signal
import threading
from collections import Counter
from errno import EBUSY, EINVAL, EOPNOTSUPP
from typing import TYPE_CHECKING, Any

from bus.errors import PosixError

if TYPE_CHECKING:
    from types import CodeType, FrameType

LEAST_PERIOD_US, MOST_PERIOD_US = 100, 10_000_000
DEEPEST = 100
MOST_STACKS = 20_000
"""Different ones that are kept; the rest is counted as one."""
REST: tuple[CodeType, ...] = ()


class Profile:
    """Counts stacks between `start` and `stop`; what was counted stays until the next start."""

    def __init__(self) -> None:
        self._stacks: Counter[tuple[CodeType, ...]] = Counter()
        self._before: Any = None
        self.running = False

    @property
    def samples(self) -> int:
        """So far, or in the last profile."""
        return self._stacks.total()

    def start(self, period_us: int) -> None:
        """Begin a new one: a sample for each `period_us` of processor time.

        EINVAL: a period below 100 µs or above 10 s; EBUSY: it runs, or somebody else has the
        host's timer; EOPNOTSUPP: the kernel is not in its process's first thread.
        """
        if not LEAST_PERIOD_US <= period_us <= MOST_PERIOD_US:
            raise PosixError(EINVAL)
        if self.running or any(signal.getitimer(signal.ITIMER_PROF)):
            raise PosixError(EBUSY)
        if threading.current_thread() is not threading.main_thread():
            raise PosixError(EOPNOTSUPP)
        self._stacks = Counter()
        self._before = signal.signal(signal.SIGPROF, self._take)
        signal.setitimer(signal.ITIMER_PROF, period_us / 1e6, period_us / 1e6)
        self.running = True

    def stop(self) -> None:
        """End it, if it runs."""
        if self.running:
            self.running = False
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, self._before)

    def _take(self, number: int, frame: FrameType | None) -> None:
        codes: list[CodeType] = []
        while frame is not None and len(codes) < DEEPEST:
            codes.append(frame.f_code)
            frame = frame.f_back
        stack = tuple(codes)
        if stack not in self._stacks and len(self._stacks) >= MOST_STACKS:
            stack = REST
        self._stacks[stack] += 1

    def folded(self) -> str:
        """A line for each stack, outermost frame first, and its samples: for flame graphs."""
        lines = (
            f"{';'.join(map(_name, reversed(stack))) or '(rest)'} {count}\n"
            for stack, count in self._stacks.most_common()
        )
        return "".join(lines)


def _name(code: CodeType) -> str:
    """The last two parts of the file's path, and the function."""
    where = "/".join(code.co_filename.rsplit("/", 2)[-2:]).removesuffix(".py")
    return f"{where}:{code.co_qualname}".replace(";", ",").replace(" ", "_")
