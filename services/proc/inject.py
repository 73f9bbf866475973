"""Faults of system calls (`--inject`), in strace(1)'s words and with its effects.

While a fault is armed, the rows of the calls in its set are replaced in the gate's table by rows
of the slow path; all others, and the trap itself, stay as they are. With none armed the table
holds the handlers alone, so injection then costs nothing. What is struck are a program's own
calls: those that a script makes inside one of them are part of it.

As strace does it (filter tampering in its source, `syscall.c`):
- a call's invocations are counted for each thread and each call by itself; execve(2) keeps the
  count, a child begins anew, and a call that the kernel restarts is counted again;
- of several faults for one call, the one that was armed last holds alone;
- error and retval stand in for the call, which is not made (`syscall` names a pure one that is
  made in its place); the kernel's restart codes, such as 512, repeat the call;
- a signal is sent when the call begins, as the kernel's own; one that is to go together with
  delay_enter is lost (strace resumes a delayed tracee without it);
- only death ends a delay; arguments that a call does not have, and addresses that the program may
  not write, are not poked; poke_exit pokes whether or not the call succeeded.
"""

from __future__ import annotations

import functools
import re
from errno import EINTR, ENOSYS
from typing import TYPE_CHECKING, Any

import attrs
import trio

from bus.errors import PosixError
from bus.faultspec import CallFault
from bus.ledger import OutOfHeap
from services.proc.abi import SIGKILL, U64
from services.proc.lifecycle import exit_group
from services.proc.numbers import NAMES
from services.proc.signals import send
from services.proc.signals.core import RESTART_ALWAYS, RESTART_NEVER, RESTART_NOHAND, RESTART_SYS
from services.proc.strace import SIGNATURES, parse_set
from services.proc.table import CALLS, PARTIAL, Call, invoker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bus.faults import Armed
    from bus.faultspec import Fault, Poke
    from services.proc.table import Handler
    from services.proc.task import Thread
    from services.proc.trap import Gate

RESTARTS = {512: RESTART_SYS, 513: RESTART_ALWAYS, 514: RESTART_NOHAND, 516: RESTART_NOHAND}
"""Linux's internal restart codes (ERESTARTSYS and so on), which no program sees."""
TAMPERED = "tampered"
"""Key in a thread's `extra`: how the call that it has just made was tampered with."""


@functools.cache
def _numbers() -> dict[str, int]:
    """Linux's calls, and our own."""
    from services.proc import calls

    calls.load()
    own = {call.name: call.number for call in CALLS.values()}
    return {name: number for number, name in NAMES.items()} | own


def refusal(fault: CallFault) -> str | None:
    """Why the calls of a fault cannot be what they are said to be; None where they can."""
    try:
        _wanted(fault.calls)
        if fault.syscall and not parse_set("%pure")(fault.syscall):
            pure = ", ".join(sorted(filter(parse_set("%pure"), _numbers())))
            return f"syscall {fault.syscall!r} has effects or is unknown (say one of {pure})"
    except ValueError as error:
        classes = "%file %process %network %signal %desc %memory"
        return f"{error} (say names, {classes}, /REGEX, all, or ! before what is left out)"
    return None


def _wanted(text: str) -> Any:
    """Which names a set holds; strace takes numbers too."""
    items = []
    for item in text.split(","):
        numbered = re.fullmatch(r"(!?\??)(\d{1,6})", item)
        name = NAMES.get(int(numbered[2])) if numbered else None
        items.append(item if numbered is None or name is None else numbered[1] + name)
    return parse_set(",".join(items), _numbers())


@attrs.define(eq=False)
class _Row:
    """One call while it is tampered with: the row in the table, and the call as it is."""

    gate: Gate
    armed: Armed
    fault: CallFault
    plain: Call
    parameters: int

    async def handle(self, thread: Thread, *arguments: int) -> int | None:
        """The handler that stands in the table."""
        extra = thread.extra
        if extra is None:
            extra = thread.extra = {}
        extra.pop(TAMPERED, None)
        again = f"again {self.plain.number}"
        struck = extra.pop(again, None)
        if struck is None:
            struck = self._counted(extra)
            if struck:
                await self._enter(thread, arguments)
        if not struck:
            return await self.gate.perform(thread, self.plain, arguments)
        if thread.killed:
            return -EINTR
        try:
            result = await self._made(thread, arguments)
        except OutOfHeap:  # the gate runs it once more, from the beginning
            extra[again] = True
            raise
        await self._leave(thread, arguments)
        extra[TAMPERED] = self._note()
        return result

    def _counted(self, extra: dict[str, Any]) -> bool:
        """Count this invocation; whether it is one that the fault strikes."""
        key = f"fault {self.armed.number} call {self.plain.number}"
        count = extra[key] = extra.get(key, 0) + 1
        self.armed.eligible += 1
        if count not in self.fault.when:
            return False
        self.armed.struck()
        return True

    async def _enter(self, thread: Thread, arguments: tuple[int, ...]) -> None:
        fault = self.fault
        await self._poke(thread, arguments, fault.poke_enter)
        if fault.delay_enter_s:
            await _delay(thread, fault.delay_enter_s)
        elif fault.signal:
            if fault.signal == SIGKILL:
                exit_group(thread.process, SIGKILL)
            else:
                send.to_thread(thread, send.kernel_info(fault.signal))

    async def _made(self, thread: Thread, arguments: tuple[int, ...]) -> int | None:
        """The call's outcome, or what stands in for it."""
        fault = self.fault
        if fault.error is None and fault.retval is None:
            return await self.gate.perform(thread, self.plain, arguments)
        if fault.syscall:
            pure = self.gate.plain[_numbers()[fault.syscall]]
            if pure is not None:
                await self.gate.perform(thread, pure, arguments)
        thread.restart = RESTART_NEVER
        if fault.retval is not None:
            return fault.retval & U64
        assert fault.error is not None
        if fault.error in RESTARTS:
            thread.restart = RESTARTS[fault.error]
            thread.attend()
            return -EINTR
        return -fault.error

    async def _leave(self, thread: Thread, arguments: tuple[int, ...]) -> None:
        if self.fault.delay_exit_s:
            await _delay(thread, self.fault.delay_exit_s)
        await self._poke(thread, arguments, self.fault.poke_exit)

    async def _poke(
        self, thread: Thread, arguments: tuple[int, ...], pokes: tuple[Poke, ...]
    ) -> None:
        for at, data in pokes:
            if at < self.parameters:
                try:
                    await thread.copyout(arguments[at], data)
                except PosixError:
                    continue

    def _note(self) -> str:
        """What strace writes behind the result."""
        fault = self.fault
        replaced = fault.error is not None or fault.retval is not None
        poked = bool(fault.poke_enter or fault.poke_exit)
        note = " (INJECTED: args, retval)" if replaced and poked else ""
        if replaced != poked:
            note = " (INJECTED)" if replaced else " (INJECTED: args)"
        return note + (" (DELAYED)" if fault.delay_enter_s or fault.delay_exit_s else "")


async def _delay(thread: Thread, seconds: float) -> None:
    """Let a thread stand still; only its death ends that."""
    until = trio.current_time() + seconds
    while not thread.killed and trio.current_time() < until:
        with trio.CancelScope() as thread.scope:
            try:
                await trio.sleep_until(until)
            finally:
                thread.scope = None


def _not_there(number: int, gate: Gate) -> Handler:
    """The handler of a call that has no row: as the trap answers it."""

    async def handler(thread: Thread) -> int:
        gate.count_unknown(number)
        return -ENOSYS

    return handler


class CallInjector:
    """Does the faults of system calls in one gate; an `Injector` of the registry's `CALLS`."""

    kinds = ("error", "retval", "signal", "delay")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def refuse(self, fault: Fault | CallFault) -> str | None:
        """`Injector.refuse`."""
        return refusal(fault) if isinstance(fault, CallFault) else "no fault of system calls"

    def arm(self, faults: Sequence[Armed]) -> None:
        """`Injector.arm`: put the rows of these faults in, and all others back."""
        gate = self._gate
        table = list(gate.plain)
        for armed in faults:
            fault = armed.fault
            assert isinstance(fault, CallFault)
            wanted = _wanted(fault.calls)
            for name, number in _numbers().items():
                if wanted(name):
                    table[number] = self._row(number, name, armed, fault)
        gate.table[:] = table

    def _row(self, number: int, name: str, armed: Armed, fault: CallFault) -> Call:
        gate = self._gate
        plain = gate.plain[number]
        if plain is None:
            absent = _not_there(number, gate)
            plain = Call(
                number, name, absent, True, 0, True, 0, RESTART_SYS, PARTIAL, "", invoker(absent, 0)
            )
        signature = SIGNATURES.get(name)
        parameters = plain.arity if signature is None else len(signature.params)
        handler = _Row(gate, armed, fault, plain, parameters).handle
        return attrs.evolve(
            plain, handler=handler, blocking=True, arity=6, deferred=True, invoke=plain.invoke
        )
