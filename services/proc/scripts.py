"""Running scripts: their system calls go through the table, as if the program had made them.

`Run` is what a script sees of the kernel (`script.api.Caller`). A handler is driven on the spot,
with the row's own reservation; where it waits, its coroutine is kept, the script's coroutine
yields, and `run` awaits the first before it resumes the second. So one thread waits and nobody
else, and a deep reservation that fails unwinds the inner call alone: the script is never run twice.

The calls that act on registers (fork, execve, exit, sigreturn), wait with another signal mask for
handlers to run (rt_sigsuspend), or are scripts themselves are refused with EPERM. A call that a
signal ends answers -EINTR and is not restarted: handlers run when the script has ended.
"""

from __future__ import annotations

import functools
from errno import EDEADLK, EFAULT, EINTR, EINVAL, ENOEXEC, EPERM
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import trio

from bus.errors import PosixError
from bus.ledger import OutOfHeap
from services.proc.abi import SIGKILL, U64
from services.proc.descriptors import drop
from services.proc.files.script import ScriptFile
from services.proc.lifecycle import exit_group
from services.proc.park import Interrupted
from services.proc.signals.core import RESTART_NEVER
from services.proc.table import CALLS
from services.proc.trap import FRESH, TURN_NS, drive
from services.script.api import (
    BLOCKED,
    FAILED,
    STOPPED,
    TO_USER,
    Explain,
    Forget,
    Load,
    Resume,
    Start,
)
from services.vm.api import PageMiss

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from services.proc.table import Call
    from services.proc.task import Thread
    from services.proc.trap import Gate
    from services.script.api import Failure

MAX_ERRNO = 4095
REFUSED = frozenset(("lua_syscall", "register_lua_syscall", "rt_sigsuspend"))


@functools.cache
def bindings() -> dict[str, int]:
    """What `Caller.look_up` answers, from the table."""
    return {call.name: call.number | call.arity << 16 for call in CALLS.values()}


def allowed(gate: Gate) -> list[Call | None]:
    """The table as scripts have it: None where a call is refused."""
    kernel = gate.kernel
    table: list[Call | None] | None = kernel.extra.get("script_table")
    if table is None:
        table = kernel.extra["script_table"] = [
            None if call is None or call.deferred or call.name in REFUSED else call
            for call in gate.plain
        ]
    return table


class Run:
    """One lua_syscall (or registration) in progress, for one thread."""

    __slots__ = (
        "_admit",
        "_counts",
        "_gate",
        "_kernel",
        "_pending",
        "_release",
        "_since_ns",
        "_table",
        "_thread",
        "_turn_ns",
        "_used_ns",
        "over",
    )

    def __init__(self, thread: Thread) -> None:
        self._thread = thread
        self._kernel = kernel = thread.kernel
        self._gate: Gate = kernel.extra["gate"]
        self._counts = kernel.call_counts
        self._admit, self._release = kernel.admission.try_admit, kernel.admission.release
        self._table = allowed(self._gate)
        self._pending: tuple[Coroutine[Any, Any, int | None], Any] | None = None
        self._since_ns = self._turn_ns = perf_counter_ns()
        self._used_ns = 0
        self.over = False
        """It was stopped because its time was up."""

    def again(self, thread: Thread) -> Run:
        """The same for another call, which need not be made anew."""
        self._thread = thread
        self._since_ns = self._turn_ns = perf_counter_ns()
        self._used_ns = 0
        self.over = False
        return self

    # Asked by the script ----------------------------------------------------------------------

    def look_up(self, name: str) -> int:
        """Number and arity of a system call."""
        return bindings().get(name, -1)

    def perform(self, number: int, arguments: tuple[int, ...]) -> int:
        """Make a system call."""
        thread, call = self._thread, self._table[number]
        if thread.killed:
            return STOPPED
        if call is None:
            return -EPERM
        self._counts[number] += 1
        gate, bound = self._gate, call.bound
        if self._kernel.slow_path is not None or (bound and not self._admit(bound)):
            return self._keep(number, gate.slowly(thread, call, _six(arguments)), FRESH)
        try:
            result = call.handler(thread, *arguments)
            if call.blocking:
                try:
                    yielded = result.send(None)  # type: ignore[union-attr]
                except StopIteration as finished:
                    result = finished.value
                else:
                    rest = gate.finish(thread, call, result, yielded, _six(arguments))
                    return self._keep(number, rest, FRESH)
        except PosixError as error:
            result = -error.errno
        except Interrupted:
            result = -EINTR
        except OutOfHeap as short:
            self._release(bound)
            again = gate.slowly(thread, call, _six(arguments), short.wanted_bytes)
            return self._keep(number, again, FRESH)
        except Exception as error:
            result = gate.bug(thread, call, error)
        if bound:
            self._release(bound)
        return self._settled(result)  # type: ignore[arg-type]

    def copy(self, direction: int, vaddr: int, buffer: memoryview) -> int:
        """copyin and copyout, with the program's own rights."""
        memory = self._thread.space.memory
        try:
            if direction == TO_USER:
                memory.write_bytes(vaddr, buffer)
            else:
                buffer[:] = memory.read_bytes(vaddr, len(buffer))
        except PosixError:
            return -EFAULT
        except PageMiss:
            return self._keep(-1, self._copy_slowly(direction, vaddr, buffer), FRESH)
        return 0

    def look(self) -> int:
        """The clock, and whether the thread still lives."""
        now = perf_counter_ns()
        if self._thread.killed:
            return STOPPED
        if self._used_ns + now - self._since_ns > self._kernel.script_limits.time_ns:
            self.over = True
            return STOPPED
        if now - self._turn_ns > TURN_NS:
            return self._keep(-1, _give_way(), FRESH)
        return 0

    def abandon(self) -> int:
        """The script cannot yield here: its call ends before it has begun to wait."""
        pending, self._pending = self._pending, None
        assert pending is not None
        pending[0].close()
        return -EDEADLK

    # For `run` --------------------------------------------------------------------------------

    async def pending(self) -> int:
        """Wait for the call that blocked; its result."""
        thread, pending = self._thread, self._pending
        assert pending is not None
        self._pending = None
        self._used_ns += perf_counter_ns() - self._since_ns
        try:
            return self._settled(await drive(*pending))
        finally:
            self._since_ns = self._turn_ns = perf_counter_ns()
            thread.restart = RESTART_NEVER

    def drop(self) -> None:
        """The script will not go on; nor will what it waited for."""
        if self._pending is not None:
            self._pending[0].close()
            self._pending = None

    # ------------------------------------------------------------------------------------------

    def _keep(self, number: int, rest: Coroutine[Any, Any, Any], yielded: Any) -> int:
        if number >= 0:
            self._thread.call_number = number
        self._pending = rest, yielded
        return BLOCKED

    def _settled(self, result: int | None) -> int:
        """As the program would find it in RAX, signed; a mask for one call's wait is over."""
        thread = self._thread
        if thread.saved_mask is not None:
            thread.blocked, thread.saved_mask = thread.saved_mask, None
        if result is not None and -MAX_ERRNO <= result < 1 << 63:
            return result
        word = (result or 0) & U64
        return word - (1 << 64) if word >> 63 else word

    async def _copy_slowly(self, direction: int, vaddr: int, buffer: memoryview) -> int:
        try:
            if direction == TO_USER:
                await self._thread.copyout(vaddr, bytes(buffer))
            else:
                buffer[:] = await self._thread.copyin(vaddr, len(buffer))
        except PosixError as error:
            return -error.errno
        return 0


def _six(arguments: tuple[int, ...]) -> tuple[int, ...]:
    return arguments + (0,) * (6 - len(arguments))


async def _give_way() -> int:
    await trio.lowlevel.checkpoint()
    return 0


async def register(thread: Thread, source: bytes) -> ScriptFile:
    """A new script; EINVAL where it is none or its top level fails."""
    kernel = thread.kernel
    kernel.admission.more(kernel.script_limits.reserved_bytes)
    run = Run(thread)
    loaded = await kernel.script.call(Load(source, run))
    file = ScriptFile(kernel.script, loaded.state)
    file.holders += 1
    try:
        value = await _go_on(thread, file, 0, run, loaded.value)
        if value == FAILED:
            await _failed(thread, file)
        if value in (FAILED, STOPPED):
            _stopped(thread, run)
            raise PosixError(EINVAL)
    except BaseException:
        await drop(file, thread)
        raise
    file.holders -= 1
    return file


async def call(thread: Thread, file: ScriptFile, arguments: tuple[int, ...], number: int) -> int:
    """lua_syscall: run the script; ENOEXEC where it fails."""
    busy, slot = file.busy, 1
    while slot in busy:
        slot += 1
    busy.add(slot)
    file.holders += 1
    spare: list[Run] = thread.kernel.extra.setdefault("script_runs", [])
    run = spare.pop().again(thread) if spare else Run(thread)
    try:
        value = await thread.kernel.script.call(Start(file.state, slot, arguments, run))
        if value == BLOCKED:
            value = await _go_on(thread, file, slot, run, value)
            thread.call_number = number
        if value == FAILED:
            await _failed(thread, file)
            value = -ENOEXEC
        elif value == STOPPED:
            _stopped(thread, run)
            value = -EINTR
    finally:
        busy.discard(slot)
        if file.holders > 1:
            file.holders -= 1
        else:
            await drop(file, thread)
    thread.restart = RESTART_NEVER
    if not spare:
        spare.append(run)
    return value


async def _go_on(thread: Thread, file: ScriptFile, slot: int, run: Run, value: int) -> int:
    script = thread.kernel.script
    while value == BLOCKED:
        try:
            result = await run.pending()
        except BaseException:
            run.drop()
            await script.call(Forget(file.state, slot))
            raise
        value = await script.call(Resume(file.state, slot, result, run))
    return value


async def _failed(thread: Thread, file: ScriptFile) -> None:
    failure: Failure = await thread.kernel.script.call(Explain(file.state))
    file.told(failure.why)
    if failure.memory:
        limit = thread.kernel.script_limits.memory_bytes
        _kill(thread, f"memory limit of {limit:,} bytes")


def _stopped(thread: Thread, run: Run) -> None:
    if run.over:
        _kill(thread, f"time limit of {thread.kernel.script_limits.time_ns / 1e6:g} ms")


def _kill(thread: Thread, what: str) -> None:
    process = thread.process
    name = process.comm.decode(errors="replace")
    thread.kernel.log(
        f"hardtack: a script of pid {process.pid} ({name}) reached its {what}:"
        " the process is killed"
    )
    exit_group(process, SIGKILL)
