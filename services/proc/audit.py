"""How much each system call really adds to the heap: what the bounds in the table are held against.

With HARDTACK_HEAP_AUDIT=FILE in the host's environment every handler is watched, and at the end a
line for each call is appended to FILE: name, most bytes that one call had added, bound. Only what
a call adds between its waits counts: what others do while it waits is not its own. Costs a frame
a call, so it is off otherwise.
"""

from __future__ import annotations

import os
import types
from typing import TYPE_CHECKING, Any

from bus.census import HEAP
from services.proc.table import invoker

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from services.proc.table import Call

VARIABLE = "HARDTACK_HEAP_AUDIT"


class Audit:
    """The most that one call of each name has added, in bytes."""

    def __init__(self) -> None:
        self.most: dict[str, int] = {}

    def attach(self, table: list[Call | None]) -> None:
        """Watch every row."""
        for row in table:
            if row is not None:
                watch = self._waiting if row.blocking else self._plain
                row.handler = watch(row.name, row.handler)
                row.invoke = invoker(row.handler, row.arity)

    def _added(self, name: str, added_bytes: int) -> None:
        if added_bytes > self.most.get(name, 0):
            self.most[name] = added_bytes

    def _plain(self, name: str, handler: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*words: Any) -> Any:
            before = HEAP.live
            try:
                return handler(*words)
            finally:
                self._added(name, HEAP.live - before)

        return watched

    def _waiting(self, name: str, handler: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*words: Any) -> Any:
            return self._relay(name, handler(*words))

        return watched

    @types.coroutine
    def _relay(self, name: str, call: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """Between the call and who drives it: add up what it adds from wait to wait."""
        added, answer, raised = 0, None, None
        while True:
            before = HEAP.live
            try:
                yielded = call.send(answer) if raised is None else call.throw(raised)
            except StopIteration as finished:
                return finished.value
            finally:
                added += HEAP.live - before
                self._added(name, added)
            answer = raised = None
            try:
                answer = yield yielded
            except BaseException as thrown:
                raised = thrown

    def append(self, path: str, table: list[Call | None]) -> None:
        """Add what was seen to a file."""
        bounds = {row.name: row.bound for row in table if row is not None}
        lines = [f"{name} {most} {bounds[name]}\n" for name, most in sorted(self.most.items())]
        with open(path, "a") as file:
            file.write("".join(lines))


def wanted() -> str | None:
    """The file to append to, if somebody asked for an audit."""
    return os.environ.get(VARIABLE) or None
