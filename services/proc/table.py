"""The system-call table: what is declared here is all that is known of a call.

Dispatch, tracing, the per-call counters, the ENOSYS counter and the documentation are made from
it. A room of `calls/` declares its calls with

    @syscall(0, "read", bound=84 << 10)
    async def sys_read(thread: Thread, fd: int, buffer: int, count: int) -> int:

Handlers take the thread and as many raw 64-bit registers as they name. Plain functions cannot
block; coroutine functions may, and are driven on the spot until they do. A handler replies with
the result (negative errnos are raised as `PosixError`), or None where it set the registers
itself, which only a `deferred` call may do: it runs after the core has stopped, with RIP behind
the SYSCALL.

`bound` is what the broker reserves, in bytes of kernel heap, where `bounds.py` does not say.
`support` says how much of the call is there; `note` where it differs from Linux.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import attrs

from services.proc.signals.core import RESTART_SYS

if TYPE_CHECKING:
    from services.proc.task import Thread

Handler = Callable[..., "int | Coroutine[Any, Any, int | None] | None"]
FULL, PARTIAL = "full", "partial"
DEFAULT_BOUND_BYTES = 16 << 10
TABLE_SIZE = 512


@attrs.define(eq=False)
class Call:
    """One row of the table; `invoke` fetches the arguments from the registers."""

    number: int
    name: str
    handler: Handler
    blocking: bool
    arity: int
    deferred: bool
    bound: int
    restart: int
    support: str
    note: str
    invoke: Callable[[Thread, memoryview], Any]


CALLS: dict[int, Call] = {}


def invoker(handler: Handler, arity: int) -> Callable[[Thread, memoryview], Any]:
    """RDI RSI RDX R10 R8 R9, as many as the handler takes; no loop on the fast path."""
    return (
        lambda t, r: handler(t),
        lambda t, r: handler(t, r[7]),
        lambda t, r: handler(t, r[7], r[6]),
        lambda t, r: handler(t, r[7], r[6], r[2]),
        lambda t, r: handler(t, r[7], r[6], r[2], r[10]),
        lambda t, r: handler(t, r[7], r[6], r[2], r[10], r[8]),
        lambda t, r: handler(t, r[7], r[6], r[2], r[10], r[8], r[9]),
    )[arity]


def syscall(
    number: int,
    name: str,
    *,
    bound: int = DEFAULT_BOUND_BYTES,
    deferred: bool = False,
    restart: int = RESTART_SYS,
    support: str = FULL,
    note: str = "",
) -> Callable[[Handler], Handler]:
    """Declare the decorated handler as system call `number`."""

    def declare(handler: Handler) -> Handler:
        if number in CALLS:
            raise TypeError(f"system call {number} is declared twice: {name}")
        arity = len(inspect.signature(handler).parameters) - 1
        CALLS[number] = Call(
            number,
            name,
            handler,
            inspect.iscoroutinefunction(handler),
            arity,
            deferred,
            bound,
            restart,
            support,
            note,
            invoker(handler, arity),
        )
        return handler

    return declare


def build() -> list[Call | None]:
    """The table as a list indexed by number, after all rooms of `calls/` were imported."""
    from services.proc import bounds, calls

    calls.load()
    table: list[Call | None] = [None] * TABLE_SIZE
    for number, call in CALLS.items():
        table[number] = call
    bounds.apply(table)
    return table
