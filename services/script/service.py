"""script on the bus: the states, by number, and what became of their runs.

One script runs at a time, since there is one core and a script never switches tasks.
"""

from __future__ import annotations

from errno import EINVAL
from typing import TYPE_CHECKING, Any, NoReturn

from bus.errors import MalformedRequest, PosixError
from services.script import api
from services.script.api import (
    FAILED,
    LEAST_RESULT,
    MOST_SOURCE_BYTES,
    STOPPED,
    Counts,
    Failure,
    Limits,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bus.core import Handler
    from services.script.state import Doors, State


COUNTED = ("registered", "blocked", "failed", "stopped", "out_of_memory", "refused")


class ScriptService:
    """Lua states by number; each has the same limits."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._states: dict[int, State] = {}
        self._last = 0
        self._doors: Doors | None = None
        self._enter: Callable[[Any], None]
        self._refusal = Failure("")
        self._calls = 0
        self.counts = dict.fromkeys(COUNTED, 0)
        self.handlers: Mapping[type[Any], Handler] = {
            api.Attach: self.attach,
            api.Load: self.load,
            api.Start: self.begin,
            api.Resume: self.resume,
            api.Forget: self.forget,
            api.Explain: self.explain,
            api.Free: self.free,
            api.Count: self.count,
        }

    def keep(self) -> ScriptService:
        """The states: programs have descriptors of them. Nothing else outlives a call."""
        return self

    # Requests -------------------------------------------------------------------------------

    async def attach(self, call: api.Attach) -> None:
        """Attach."""
        from services.script.state import Doors  # LuaJIT: not before it is used

        self._doors = Doors(call.caller)
        self._enter = call.caller.enter

    async def load(self, call: api.Load) -> int:
        """Load."""
        from services.script.state import Refused, State

        if len(call.source) > MOST_SOURCE_BYTES:
            raise PosixError(EINVAL)
        if self._doors is None:
            raise MalformedRequest("Load before Attach")
        try:
            state = State(self._doors, self.limits, call.source)
        except Refused as refused:
            self._refuse(str(refused))
        self._last = number = self._last + 1
        self._states[number] = state
        self.counts["registered"] += 1
        return number

    def _refuse(self, why: str) -> NoReturn:
        self.counts["refused"] += 1
        self._refusal = Failure(why)
        raise PosixError(EINVAL)

    async def begin(self, call: api.Start) -> int:
        """Start."""
        state = self._states[call.state]
        self._enter(call.run)
        if not call.slot:
            value = state.load()
            if value == FAILED:
                self._refusal = state.explain()
        else:
            self._calls += 1
            value = state.start(call.slot, call.arguments)
        return value if value >= LEAST_RESULT else self._note(state, value)

    async def resume(self, call: api.Resume) -> int:
        """Resume."""
        state = self._states[call.state]
        self._enter(call.run)
        value = state.resume(call.slot, call.result)
        return value if value >= LEAST_RESULT else self._note(state, value)

    def _note(self, state: State, value: int) -> int:
        if value == STOPPED:
            self.counts["stopped"] += 1
        elif value == FAILED:
            self.counts["out_of_memory" if state.explain().memory else "failed"] += 1
        else:
            self.counts["blocked"] += 1
        return value

    async def forget(self, call: api.Forget) -> None:
        """Forget."""
        self._states[call.state].forget(call.slot)

    async def explain(self, call: api.Explain) -> Failure:
        """Explain."""
        return self._states[call.state].explain() if call.state else self._refusal

    async def free(self, call: api.Free) -> None:
        """Free."""
        del self._states[call.state]

    async def count(self, call: api.Count) -> Counts:
        """Count."""
        states = list(self._states.values())
        return Counts(
            states=len(states),
            used_bytes=sum(state.used_bytes for state in states),
            reserved_bytes=sum(state.charged_bytes for state in states),
            calls=self._calls,
            inner_calls=self._doors.caller.made if self._doors else 0,
            **self.counts,
        )

    def close(self) -> None:
        """Nothing outlives its processes."""
        self._states.clear()
