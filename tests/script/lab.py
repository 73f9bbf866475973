"""Scripts without a kernel: a service, and a caller whose system calls are Python functions."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import attrs

from bus.errors import PosixError
from services.script import api
from services.script.api import BLOCKED, STOPPED, Limits
from services.script.service import ScriptService

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS = {"getpid": (39, 0), "read": (0, 3), "pause": (34, 0), "sixfold": (45, 6), "die": (60, 1)}
PID = 1234


class FakeCaller:
    """getpid answers, read echoes its words, pause blocks, the memory is 64 KiB at 0x10000."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self.began = time.perf_counter()
        self.memory = bytearray(1 << 16)
        self.looks = 0
        self.seen: list[tuple[int, tuple[int, ...]]] = []
        self.abandoned = self.made = 0

    def look_up(self, name: str) -> int:
        """As the kernel's."""
        number, arity = CALLS.get(name, (-1, 0))
        return number if number < 0 else number | arity << 16

    def perform(self, number: int, *arguments: int) -> int:
        """As in the class's description."""
        self.made += 1
        self.seen.append((number, arguments))
        if number == 34:
            return BLOCKED
        if number == 60:
            return STOPPED
        return PID if number == 39 else sum(arguments) & 0xFFFF_FFFF

    def copy(self, direction: int, vaddr: int, buffer: memoryview) -> int:
        """The memory, or EFAULT."""
        at = vaddr - 0x10000
        if at < 0 or at + len(buffer) > len(self.memory):
            return -14
        if direction == api.TO_USER:
            self.memory[at : at + len(buffer)] = buffer
        else:
            buffer[:] = self.memory[at : at + len(buffer)]
        return 0

    def enter(self, run: Any) -> None:
        """Nothing is timed."""

    def look(self) -> int:
        """The limit."""
        self.looks += 1
        return STOPPED if time.perf_counter() - self.began > self.limit_s else 0

    def abandon(self) -> int:
        """Counts."""
        self.abandoned += 1
        return -35


@attrs.frozen
class Result:
    """How a script went."""

    value: int
    why: str = ""
    memory: bool = False
    refused: bool = False
    seconds: float = 0.0


class Lab:
    """One service; every script is freed again."""

    def __init__(self, limits: Limits | None = None, limit_s: float = 0.15) -> None:
        self.service = ScriptService(limits or Limits())
        self.limit_s = limit_s
        self.caller = FakeCaller(limit_s)

    def call(self, request: Any) -> Any:
        """Drive a handler, which never waits."""
        try:
            self.service.handlers[type(request)](request).send(None)  # type: ignore[attr-defined]
        except StopIteration as done:
            return done.value
        raise AssertionError("script waits for something")

    def run(
        self, source: str | bytes, *words: int, on_block: Callable[[], int] | None = None
    ) -> Result:
        """Load a script, run it once, free it."""
        caller = self.caller = FakeCaller(self.limit_s)
        self.call(api.Attach(caller))
        text = source.encode("latin-1") if isinstance(source, str) else source
        try:
            state = self.call(api.Load(text))
        except PosixError:
            return Result(-22, self.call(api.Explain(0)).why, refused=True)
        slot, value = 0, self.call(api.Start(state, 0, (), None))
        if value == 0:
            caller.began = time.perf_counter()
            slot = 1
            value = self.call(api.Start(state, 1, words, None))
        while value == BLOCKED and on_block is not None:
            value = self.call(api.Resume(state, slot, on_block(), None))
        seconds = time.perf_counter() - caller.began
        failure = self.call(api.Explain(state))
        self.call(api.Free(state))
        if value == api.FAILED:
            if not slot and not failure.memory:
                return Result(-22, failure.why, refused=True)
            return Result(value, failure.why, failure.memory, seconds=seconds)
        return Result(value, seconds=seconds)
