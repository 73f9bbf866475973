"""Running scripts: their system calls go through the table, as if the program had made them.

`Calls` is what scripts see of the kernel (`script.api.Caller`). A handler is driven on the spot,
with the row's own reservation; where it waits, its coroutine is kept, the script's coroutine
yields, and `_rest` awaits the first before it resumes the second. So one thread waits and nobody
else, and a deep reservation that fails unwinds the inner call alone: the script is never run twice.

The calls that act on registers (fork, execve, exit, sigreturn), wait with another signal mask for
handlers to run (rt_sigsuspend), or are scripts themselves are refused with EPERM.

Signals without a handler act while the script waits or gives way, and the inner call goes on as
signal(7) has it. Handlers run when the script has ended: the first signal that has one ends the
inner call with -EINTR, so that the script can clean up; the next call that would wait ends it.
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
from services.proc.signals.deliver import attend_in_call
from services.proc.table import CALLS
from services.proc.trap import FRESH, TURN_NS, drive
from services.script.api import (
    BLOCKED,
    FAILED,
    LEAST_RESULT,
    STOPPED,
    TO_USER,
    Attach,
    Explain,
    Forget,
    Load,
    Resume,
    Start,
)
from services.vm.api import PageMiss

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from services.proc.kernel import Kernel
    from services.proc.table import Call
    from services.proc.task import Thread
    from services.proc.trap import Gate
    from services.script.api import Failure

SMALL = 1 << 53
"""Results below it are as they are; larger ones may be negative as the program sees them."""
REFUSED = frozenset(("lua_syscall", "register_lua_syscall", "rt_sigsuspend"))


@functools.cache
def bindings() -> dict[str, int]:
    """What `Caller.look_up` answers, from the table."""
    return {call.name: call.number | call.arity << 16 for call in CALLS.values()}


class Ended(Exception):
    """The script may not wait any more: a handler is to run, or the thread has to end."""


class Run:
    """One lua_syscall, or registration, in progress: whose it is, and its time."""

    __slots__ = (
        "again",
        "interrupted",
        "mask",
        "over",
        "pending",
        "raised",
        "since_ns",
        "thread",
        "turn_ns",
        "used_ns",
    )

    def __init__(self, thread: Thread) -> None:
        self.thread = thread
        self.pending: tuple[Coroutine[Any, Any, int | None], Any] | None = None
        """The call that blocked: its coroutine, and what it yielded."""
        self.again: tuple[Call, tuple[int, ...]] | None = None
        """That call and its arguments, to be made again; None: it was no system call."""
        self.interrupted = False
        """The script was told EINTR, as a handler is to run."""
        self.mask: int | None = None
        """What the handler is to find when it has run, after a call with a mask of its own."""
        self.since_ns = self.turn_ns = self.used_ns = 0
        self.over = False
        """It was stopped because its time was up."""
        self.raised: BaseException | None = None
        """What may not pass through Lua; it goes on when the script has been stopped."""

    async def wait(self) -> int | None:
        """Wait for the call that blocked; what it answered. Signals act meanwhile; `Ended`."""
        assert self.pending is not None
        thread, (coroutine, yielded) = self.thread, self.pending
        self.pending = None
        self.used_ns += perf_counter_ns() - self.since_ns
        while True:
            try:
                result: int | None = await drive(coroutine, yielded)
            finally:
                restart, thread.restart = thread.restart, RESTART_NEVER
            if result != -EINTR or self.again is None:
                return result
            if await attend_in_call(thread):
                thread.restart_deadline = None
                if self.interrupted or thread.killed or thread.process.exiting:
                    raise Ended
                self.interrupted = True
                return result
            if restart == RESTART_NEVER:
                return result
            call, arguments = self.again
            gate: Gate = thread.kernel.extra["gate"]
            coroutine, yielded = gate.slowly(thread, call, arguments), FRESH

    def drop(self) -> None:
        """The script will not go on; nor will what it waited for."""
        if self.pending is not None:
            self.pending[0].close()
            self.pending = None

    def complain(self) -> None:
        """Raise what a call of the script has raised."""
        if self.raised is not None:
            raised, self.raised = self.raised, None
            raise raised


class Calls:
    """What scripts ask of the kernel (`script.api.Caller`), for the run that is under way now."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._gate: Gate = kernel.extra["gate"]
        self.run: Run | None = None
        self.made = 0
        self.attached = False
        """The service knows of it."""
        self.perform = self._make_perform()

    def enter(self, run: Run) -> None:
        """Its time counts from here."""
        self.run = run
        run.since_ns = run.turn_ns = perf_counter_ns()

    def look_up(self, name: str) -> int:
        """Number and arity of a system call."""
        return bindings().get(name, -1)

    def _make_perform(self) -> Callable[..., int]:  # noqa: C901 (as the trap)
        kernel, gate, counts = self._kernel, self._gate, self._kernel.call_counts
        try_admit, release = kernel.admission.try_admit, kernel.admission.release
        table = [
            None if call is None or call.deferred or call.name in REFUSED else call
            for call in gate.plain
        ]

        def perform(number: int, *arguments: int) -> int:  # noqa: C901
            run, call = self.run, table[number]
            assert run is not None
            thread = run.thread
            if thread.killed:
                return STOPPED
            if call is None:
                return -EPERM
            counts[number] += 1
            self.made += 1
            bound = call.bound
            if kernel.slow_path is not None or (bound and not try_admit(bound)):
                arguments = _six(arguments)
                return self._keep(gate.slowly(thread, call, arguments), (call, arguments))
            try:
                result: Any = call.handler(thread, *arguments)
                if call.blocking:
                    try:
                        yielded = result.send(None)
                    except StopIteration as finished:
                        result = finished.value
                    else:
                        arguments = _six(arguments)
                        rest = gate.finish(thread, call, result, yielded, arguments)
                        return self._keep(rest, (call, arguments))
            except PosixError as error:
                result = -error.errno
            except Interrupted:
                release(bound)
                return self._keep(_interrupted(thread, call), (call, _six(arguments)))
            except OutOfHeap as short:
                release(bound)
                arguments = _six(arguments)
                rest = gate.slowly(thread, call, arguments, short.wanted_bytes)
                return self._keep(rest, (call, arguments))
            except Exception as error:
                result = gate.bug(thread, call, error)
            except BaseException as error:
                run.raised, result = error, STOPPED
            if bound:
                release(bound)
            return result if thread.saved_mask is None and result < SMALL else word(run, result)

        return perform

    def copy(self, direction: int, vaddr: int, buffer: memoryview) -> int:
        """copyin and copyout, with the program's own rights."""
        assert self.run is not None
        thread = self.run.thread
        memory = thread.space.memory
        try:
            if direction == TO_USER:
                memory.write_bytes(vaddr, buffer)
            else:
                buffer[:] = memory.read_bytes(vaddr, len(buffer))
        except PosixError:
            return -EFAULT
        except PageMiss:
            return self._keep(_copy_slowly(thread, direction, vaddr, buffer))
        return 0

    def look(self) -> int:
        """The clock, and whether the thread still lives."""
        run, now = self.run, perf_counter_ns()
        assert run is not None
        if run.thread.killed:
            return STOPPED
        if run.used_ns + now - run.since_ns > self._kernel.script_limits.time_ns:
            run.over = True
            return STOPPED
        if now - run.turn_ns > TURN_NS:
            return self._keep(_give_way(run.thread))
        return 0

    def abandon(self) -> int:
        """The script cannot yield here: its call ends before it has begun to wait."""
        assert self.run is not None
        self.run.drop()
        return -EDEADLK

    def _keep(
        self, rest: Coroutine[Any, Any, Any], again: tuple[Call, tuple[int, ...]] | None = None
    ) -> int:
        run = self.run
        assert run is not None
        if again is not None:
            run.thread.call_number = again[0].number
        run.pending, run.again = (rest, FRESH), again
        return BLOCKED


def word(run: Run, result: int | None) -> int:
    """As the program would find it in RAX, signed; a mask for one call's wait is over."""
    thread = run.thread
    if thread.saved_mask is not None:
        if not run.interrupted:
            thread.blocked, thread.saved_mask = thread.saved_mask, None
        elif run.mask is None:  # the mask that let the signal in stays until its handler runs
            run.mask = thread.saved_mask
        else:
            thread.saved_mask = run.mask
    value = (result or 0) & U64
    return value - (1 << 64) if value >> 63 else value


async def _interrupted(thread: Thread, call: Call) -> int:
    """A signal was there before the call began to wait."""
    thread.restart = call.restart
    return -EINTR


async def _copy_slowly(thread: Thread, direction: int, vaddr: int, buffer: memoryview) -> int:
    try:
        if direction == TO_USER:
            await thread.copyout(vaddr, bytes(buffer))
        else:
            buffer[:] = await thread.copyin(vaddr, len(buffer))
    except PosixError as error:
        return -error.errno
    return 0


def _six(arguments: tuple[int, ...]) -> tuple[int, ...]:
    return arguments + (0,) * (6 - len(arguments))


async def _give_way(thread: Thread) -> int:
    await trio.lowlevel.checkpoint()
    if thread.work:
        await attend_in_call(thread)
    return 0


async def register(thread: Thread, source: bytes) -> ScriptFile:
    """A new script; EINVAL where it is none or its top level fails."""
    kernel = thread.kernel
    kernel.admission.more(kernel.script_limits.reserved_bytes)
    calls: Calls | None = kernel.extra.get("scripts")
    if calls is None:
        calls = kernel.extra["scripts"] = Calls(kernel)
    if not calls.attached:
        await kernel.script.call(Attach(calls))
        calls.attached = True
    state = await kernel.script.call(Load(source))
    file = ScriptFile(kernel.script, state)
    file.holders += 1
    try:
        run = Run(thread)
        value = await kernel.script.call(Start(state, 0, (), run))
        if value < LEAST_RESULT:
            value = await _rest(file, run, 0, value)
        if value < LEAST_RESULT:
            raise PosixError(EINTR if value == STOPPED else EINVAL)
    except BaseException:
        await drop(file, thread)
        raise
    file.holders -= 1
    return file


async def call(thread: Thread, file: ScriptFile, arguments: tuple[int, ...], number: int) -> int:
    """lua_syscall: run the script; ENOEXEC where it fails."""
    busy, slot, kernel = file.busy, 1, thread.kernel
    while slot in busy:
        slot += 1
    busy.add(slot)
    file.holders += 1
    try:
        run = Run(thread)
        value = await kernel.script.call(Start(file.state, slot, arguments, run))
        if value < LEAST_RESULT:
            value = await _rest(file, run, slot, value)
    finally:
        thread.call_number = number
        busy.discard(slot)
        if file.holders > 1:
            file.holders -= 1
        else:
            await drop(file, thread)
    thread.restart = RESTART_NEVER
    if value >= LEAST_RESULT:
        return value
    return -ENOEXEC if value == FAILED else -EINTR


async def _rest(file: ScriptFile, run: Run, slot: int, value: int) -> int:
    """A script that has blocked, to its end; past a limit its process is killed."""
    thread, script = run.thread, run.thread.kernel.script
    run.complain()
    while value == BLOCKED:
        try:
            result = word(run, await run.wait())
        except BaseException as raised:
            run.drop()
            await script.call(Forget(file.state, slot))
            if isinstance(raised, Ended):
                return STOPPED
            raise
        value = await script.call(Resume(file.state, slot, result, run))
        run.complain()
    if value == FAILED:
        await _failed(thread, file)
    elif value == STOPPED and run.over:
        _kill(thread, f"time limit of {thread.kernel.script_limits.time_ns / 1e6:g} ms")
    return value


async def _failed(thread: Thread, file: ScriptFile) -> None:
    failure: Failure = await thread.kernel.script.call(Explain(file.state))
    file.told(failure.why)
    if failure.memory:
        limit = thread.kernel.script_limits.memory_bytes
        _kill(thread, f"memory limit of {limit:,} bytes")


def _kill(thread: Thread, what: str) -> None:
    process = thread.process
    name = process.comm.decode(errors="replace")
    thread.kernel.log(
        f"hardtack: a script of pid {process.pid} ({name}) reached its {what}:"
        " the process is killed"
    )
    exit_group(process, SIGKILL)
