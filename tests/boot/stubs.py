"""Stand-ins for the services that a boot test does not need, and a proc that runs Python."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio

from boot.assembly import BUILDERS, Machine


class StubService:
    """A service without requests that remembers its lifecycle in a shared journal."""

    def __init__(self, name: str, journal: list[str]) -> None:
        self.name = name
        self.journal = journal
        self.handlers: dict[type[Any], Any] = {}
        journal.append(f"build {name}")

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        self.journal.append(f"run {self.name}")
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            self.journal.append(f"end {self.name}")

    async def stop(self) -> None:
        self.journal.append(f"stop {self.name}")

    def close(self) -> None:
        self.journal.append(f"close {self.name}")


Program = Callable[["StubProc"], Awaitable[int]]


class StubProc:
    """A proc whose only program is a Python coroutine; it returns a wait(2) status."""

    def __init__(self, machine: Machine, program: Program) -> None:
        self.machine = machine
        self.program = program
        self.handlers: dict[type[Any], Any] = {}
        self.started: tuple[Any, ...] = ()
        self.signals_in, self.signals_out = trio.open_memory_channel[int](10)
        self.killed = trio.Event()

    async def run_init(
        self, argv: tuple[bytes, ...], env: tuple[bytes, ...], cwd: bytes, uid: int, gid: int
    ) -> int:
        self.started = (argv, env, cwd, uid, gid)
        return await self.program(self)

    def signal_program(self, number: int) -> bool:
        self.signals_in.send_nowait(number)
        return True

    def kill_all(self) -> None:
        self.killed.set()

    def close(self) -> None:
        self.signals_in.close()
        self.signals_out.close()


def builders(program: Program, **other: Callable[[Machine], Any]) -> dict[str, Any]:
    """Builders with real clock, entropy and ram, and stubs for the rest."""
    made: dict[str, Any] = {
        name: (lambda machine, name=name: StubService(name, [])) for name in BUILDERS
    }
    made.update({name: BUILDERS[name] for name in ("ram", "clock", "entropy")})
    made["proc"] = lambda machine: StubProc(machine, program)
    made.update(other)
    return made
