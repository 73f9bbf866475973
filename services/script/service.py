"""script on the bus: the states, who runs now, and what the kernel's functions do for them.

One script runs at a time, since there is one core and a script never switches tasks; `_caller` is
whose it is. Exceptions may not pass through Lua: what a caller raises is kept, the script is
stopped, and the exception goes on from here.
"""

from __future__ import annotations

from errno import EINVAL
from typing import TYPE_CHECKING, Any, NoReturn

from bus.errors import KernelBug, PosixError
from services.script import api
from services.script.api import FAILED, MOST_SOURCE_BYTES, STOPPED, Counts, Failure, Limits, Loaded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bus.core import Handler
    from services.script.api import Caller
    from services.script.state import Doors, State


class ScriptService:
    """Lua states by number; each has the same limits."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._states: dict[int, State] = {}
        self._last = 0
        self._caller: Caller | None = None
        self._raised: BaseException | None = None
        self._refusal = Failure("")
        self._looks = 1
        self._doors: Doors | None = None
        self._calls = self._inner_calls = 0
        self.counts = dict.fromkeys(
            ("registered", "blocked", "failed", "stopped", "out_of_memory",
             "refused"), 0,
        )  # fmt: skip
        self.handlers: Mapping[type[Any], Handler] = {
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
        self._caller = self._raised = None
        return self

    # Requests -------------------------------------------------------------------------------

    async def load(self, call: api.Load) -> Loaded:
        """Load."""
        from services.script.state import Doors, Refused, State  # LuaJIT: not before it is used

        if self._doors is None:
            self._doors = Doors(self._perform, self._copy, self._look, self._abandon, self._look_up)
        if len(call.source) > MOST_SOURCE_BYTES:
            raise PosixError(EINVAL)
        try:
            state = State(self._doors, self.limits, call.source)
        except Refused as refused:
            self._refuse(str(refused))
        value = self._run(state, call.caller, state.load)
        if value == FAILED:
            failure = state.explain()
            if not failure.memory:
                self._refuse(failure.why)
        self._last = number = self._last + 1
        self._states[number] = state
        self.counts["registered"] += 1
        return Loaded(number, value)

    def _refuse(self, why: str) -> NoReturn:
        self.counts["refused"] += 1
        self._refusal = Failure(why)
        raise PosixError(EINVAL)

    async def begin(self, call: api.Start) -> int:
        """Start."""
        self._calls += 1
        state = self._states[call.state]
        return self._run(state, call.caller, state.start, call.slot, call.arguments)

    async def resume(self, call: api.Resume) -> int:
        """Resume."""
        state = self._states[call.state]
        return self._run(state, call.caller, state.resume, call.slot, call.result)

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
            inner_calls=self._inner_calls,
            **self.counts,
        )

    def close(self) -> None:
        """Nothing outlives its processes."""
        self._states.clear()

    # Running --------------------------------------------------------------------------------

    def _run(self, state: State, caller: Caller, function: Callable[..., int], *words: Any) -> int:
        if self._caller is not None:
            raise KernelBug("a script runs inside of a script")
        self._caller, self._looks = caller, state.looks
        try:
            value = function(*words)
        finally:
            self._caller = None
        if value < -(1 << 59):
            self._note(state, value)
        return value

    def _note(self, state: State, value: int) -> None:
        raised, self._raised = self._raised, None
        if raised is not None:
            raise raised
        if value == STOPPED:
            self.counts["stopped"] += 1
        elif value == FAILED:
            self.counts["out_of_memory" if state.explain().memory else "failed"] += 1
        else:
            self.counts["blocked"] += 1

    # Called from Lua ------------------------------------------------------------------------

    def _perform(self, number: int, *arguments: int) -> int:
        self._inner_calls += 1
        try:
            return self._caller.perform(number, arguments)  # type: ignore[union-attr]
        except BaseException as error:
            return self._stop(error)

    def _copy(self, direction: int, vaddr: int, length_bytes: int) -> int:
        try:
            assert self._doors is not None
            assert self._caller is not None
            return self._caller.copy(direction, vaddr, self._doors.buffer[:length_bytes])
        except BaseException as error:
            return self._stop(error)

    def _look(self) -> int:
        try:
            assert self._caller is not None
            return self._caller.look() or self._looks
        except BaseException as error:
            self._stop(error)
            return STOPPED

    def _abandon(self) -> int:
        try:
            assert self._caller is not None
            return self._caller.abandon()
        except BaseException as error:
            return self._stop(error)

    def _look_up(self, name: bytes) -> int:
        try:
            assert self._caller is not None
            return self._caller.look_up(name.decode("latin-1"))
        except BaseException as error:
            self._stop(error)
            return -1

    def _stop(self, error: BaseException) -> int:
        self._raised = error
        return STOPPED
