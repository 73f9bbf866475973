"""What proc asks of script, and what script asks back while a script runs.

A script runs inside of `Start` and `Resume`, in the caller's task. Its own system calls go to the
`Caller`, which answers at once: with the result, with `BLOCKED` where
the call has to wait, or with `STOPPED` where the script may not go on. A blocked script answers
`BLOCKED`; when its call has ended, `Resume` goes on with the result. One state may have many calls
in progress, each in its own `slot`, which the caller chooses (1 and up).
"""

from __future__ import annotations

from errno import EINVAL
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from bus.message import Request, request

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCKED, FAILED, STOPPED = -(1 << 60), -(1 << 61), -(1 << 62)
"""Answers that are no results of system calls; doubles hold them exactly."""
LEAST_RESULT = -(1 << 59)
MOST_SOURCE_BYTES = 1 << 16
MOST_ARGUMENTS = 8
SCRATCH_BYTES = 1 << 16
"""The most that one `util` function moves."""
TO_USER, FROM_USER = 1, 0
JIT_BYTES = 160 << 10
"""Machine code, which LuaJIT maps by itself (`maxmcode` in the prelude), and its tables."""
BESIDE_BYTES = 24 << 10
"""What lupa and we keep for a state outside of LuaJIT's allocator."""


class Caller(Protocol):
    """The kernel, as scripts need it: for the thread that runs one now. Nothing here may raise."""

    @property
    def made(self) -> int:
        """System calls that scripts have made."""

    @property
    def perform(self) -> Callable[..., int]:
        """(number, arguments...): make a system call. Its result as the program would see it, or
        BLOCKED or STOPPED."""

    def enter(self, run: Any) -> None:
        """A script runs from here on for `run`: a request may have been held until now."""

    def look_up(self, name: str) -> int:
        """The number of a system call, its arity << 16; -1: there is none of that name."""

    def copy(self, direction: int, vaddr: int, buffer: memoryview) -> int:
        """Between user memory and the buffer: 0, -EFAULT or BLOCKED."""

    def look(self) -> int:
        """Between turns of loops: 0 to go on, BLOCKED to give way, STOPPED at the limit."""

    def abandon(self) -> int:
        """The blocked call cannot be waited for, as the script is in a function of C: its errno."""


@attrs.frozen
class Limits:
    """Of each state: memory in bytes, time of a call without its waits in ns."""

    memory_bytes: int = 1 << 20
    time_ns: int = 1_000_000_000
    jit: bool = True

    @property
    def reserved_bytes(self) -> int:
        """What a state is charged with: all that it can ever take."""
        return self.memory_bytes + BESIDE_BYTES + (JIT_BYTES if self.jit else 0)


@attrs.frozen
class Failure:
    """Why a script failed; `memory`: for want of memory, and its process is to die."""

    why: str
    memory: bool = False


@attrs.frozen
class Counts:
    """States that live, what they hold, what has happened since boot."""

    states: int
    used_bytes: int
    reserved_bytes: int
    registered: int
    calls: int
    inner_calls: int
    blocked: int
    failed: int
    stopped: int
    out_of_memory: int
    refused: int


@request("script")
class Attach(Request[None]):
    """Who answers what scripts ask; before the first `Load`."""

    caller: Caller


@request("script", errors=(EINVAL,))
class Load(Request[int]):
    """A new state with the script of `source`; its number.

    EINVAL: it is no script; `Explain` of state 0 says why. Its top level is still to be run.
    """

    source: bytes


@request("script")
class Start(Request[int]):
    """Call `run` of a state with these arguments, as signed words; in slot 0: run its top level.

    Replies with what it returned, or BLOCKED, FAILED or STOPPED.
    """

    state: int
    slot: int
    arguments: tuple[int, ...]
    run: Any
    """The caller's own: what it is told by `Caller.enter`."""


@request("script")
class Resume(Request[int]):
    """The call that blocked has ended with `result`: go on. Replies as `Start` does."""

    state: int
    slot: int
    result: int
    run: Any


@request("script")
class Forget(Request[None]):
    """The call in `slot` will not go on."""

    state: int
    slot: int


@request("script", idempotent=True)
class Explain(Request[Failure]):
    """Why the state failed last; state 0: why the last script was refused."""

    state: int


@request("script")
class Free(Request[None]):
    """The state is wanted no more."""

    state: int


@request("script", idempotent=True)
class Count(Request[Counts]):
    """How many there are and what they did."""
