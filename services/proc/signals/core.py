"""Signals as sets and dispositions: signal(7), without tasks, memory or processors.

A mask is an integer; bit n-1 stands for signal n, as in the kernel's sigset_t. Standard signals
do not queue: a second one is lost while the first is pending; real-time ones (32 to 64) queue.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

import attrs

from bus.census import EMPTY_DICT, kind
from services.proc.abi import SI_USER, SIGCHLD, SIGCONT, SIGKILL, SIGRTMIN, SIGSTOP

SIG_DFL, SIG_IGN = 0, 1
SA_NOCLDSTOP, SA_NOCLDWAIT, SA_SIGINFO = 1, 2, 4
SA_RESTORER, SA_ONSTACK, SA_RESTART = 0x04000000, 0x08000000, 0x10000000
SA_NODEFER, SA_RESETHAND = 0x40000000, 0x80000000

# How a call that a signal interrupted goes on.
RESTART_NEVER = 0  # EINTR in any case
RESTART_SYS = 1  # again, unless a handler without SA_RESTART ran
RESTART_NOHAND = 2  # again, unless a handler ran
RESTART_ALWAYS = 3  # again in any case: it had not begun

UNBLOCKABLE = 1 << (SIGKILL - 1) | 1 << (SIGSTOP - 1)
STOPS = frozenset((19, 20, 21, 22))
IGNORED_BY_DEFAULT = frozenset((SIGCHLD, SIGCONT, 23, 28))
SYNCHRONOUS = 1 << 10 | 1 << 6 | 1 << 3 | 1 << 4 | 1 << 7 | 1 << 30
"""SEGV, BUS, ILL, TRAP, FPE, SYS: taken before others."""


def bit(signal: int) -> int:
    """The mask of one signal."""
    return 1 << (signal - 1)


STOP_MASK = sum(bit(signal) for signal in STOPS)


@attrs.frozen
class SigInfo:
    """siginfo_t: `fields` is what follows si_code, already laid out (sigaction(2))."""

    signal: int
    code: int = SI_USER
    errno: int = 0
    fields: bytes = b""
    source: Source | None = attrs.field(default=None, eq=False, repr=False)
    """Who wants to know when it is taken."""


class Source(Protocol):
    """A timer whose signal is pending."""

    def taken(self, info: SigInfo) -> SigInfo:
        """The signal is being taken; replies with what the program is told."""


@attrs.frozen
class Action:
    """struct sigaction as the kernel has it."""

    handler: int = SIG_DFL
    flags: int = 0
    restorer: int = 0
    mask: int = 0


_DEFAULT = Action()
ACTIONS = kind("proc", "signal actions")
SIGNAL = kind("proc", "pending signal")
QUEUE_BYTES = 864
"""A deque with its first block, and a table's entry: what the first signal of a number needs."""


class Actions:
    """The dispositions of a process; CLONE_SIGHAND shares them."""

    __slots__ = ("_charged", "table", "users")

    def __init__(self, table: dict[int, Action] | None = None) -> None:
        ACTIONS.made()
        self.table = dict(table) if table else {}
        self.users = 1
        self._charged = ACTIONS.resized(EMPTY_DICT, self.table)

    def __del__(self) -> None:
        ACTIONS.grew(EMPTY_DICT - self._charged)
        ACTIONS.freed()

    def get(self, signal: int) -> Action:
        """The disposition of a signal."""
        return self.table.get(signal, _DEFAULT)

    def set(self, signal: int, action: Action) -> Action:
        """Replace it; replies with the old one."""
        old = self.table.get(signal, _DEFAULT)
        self.table[signal] = action
        self._charged = ACTIONS.resized(self._charged, self.table)
        return old

    def after_exec(self) -> Actions:
        """execve(2): handlers go back to default, ignored signals stay ignored."""
        kept = {s: Action(SIG_IGN) for s, a in self.table.items() if a.handler == SIG_IGN}
        return Actions(kept)

    @property
    def caught(self) -> int:
        """The mask of those that have a handler."""
        return sum(bit(s) for s, a in self.table.items() if a.handler not in (SIG_DFL, SIG_IGN))

    def ignores(self, signal: int) -> bool:
        """Whether delivering it would do nothing."""
        handler = self.get(signal).handler
        return handler == SIG_IGN or (handler == SIG_DFL and signal in IGNORED_BY_DEFAULT)


class Pending:
    """Signals that were sent and not yet taken."""

    __slots__ = ("_queued", "mask")

    def __init__(self) -> None:
        self.mask = 0
        self._queued: dict[int, deque[SigInfo]] = {}

    def __del__(self) -> None:
        for signal in list(self._queued):
            self._forget(signal)

    def _forget(self, signal: int) -> None:
        """A number's queue, and all that is in it, goes."""
        queue = self._queued.pop(signal, None)
        if queue is not None:
            SIGNAL.grew(-QUEUE_BYTES)
            for _ in queue:
                SIGNAL.freed()

    def add(self, info: SigInfo) -> bool:
        """Queue a signal; False if it was a standard one that is pending already."""
        signal = info.signal
        if self.mask & bit(signal) and signal < SIGRTMIN:
            return False
        self.mask |= bit(signal)
        queue = self._queued.get(signal)
        if queue is None:
            queue = self._queued[signal] = deque()
            SIGNAL.grew(QUEUE_BYTES)
        queue.append(info)
        SIGNAL.made()
        return True

    def take(self, wanted: int) -> SigInfo | None:
        """Remove the first signal that is in the mask `wanted`: synchronous ones, then lowest."""
        ready = self.mask & wanted
        if not ready:
            return None
        ready = ready & SYNCHRONOUS or ready
        signal = (ready & -ready).bit_length()
        queue = self._queued[signal]
        info = queue.popleft()
        SIGNAL.freed()
        if not queue:
            self._forget(signal)
            self.mask &= ~bit(signal)
        return info if info.source is None else info.source.taken(info)

    def discard(self, mask: int) -> None:
        """Forget signals (a stop when SIGCONT comes, and the reverse; ignored ones)."""
        gone = self.mask & mask
        while gone:
            low = gone & -gone
            self._forget(low.bit_length())
            gone ^= low
        self.mask &= ~mask
