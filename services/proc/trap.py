"""The only way into the kernel: traps of the core, and the loop that runs a thread.

The life of a system call: `on_syscall` finds the row of the table, asks the broker, calls the
handler and drives its coroutine on the spot. If that finishes, the result goes to RAX and the
program continues without leaving the emulator. If it yields, it is waiting for something: it is
kept in `thread.suspended`, the core stops, and `run_thread`, in the thread's own Trio task,
passes what it yields to Trio until it is finished. It is never run twice.

`current` and the core's registers are valid only here, between `switch` and the core's stop.
"""

from __future__ import annotations

import traceback
import types
from errno import EFAULT, EINTR, EIO, ENOMEM, ENOSYS
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import trio

from bus.errors import PosixError, ServiceUnavailable
from bus.ledger import OutOfHeap
from services.drivers.cpu.api import ERROR_FETCH, ERROR_WRITE, R8, R9, R10, RAX, RDI, RDX, RSI
from services.drivers.ram.api import DOORBELL_TLB
from services.proc import oom
from services.proc.abi import SIGBUS, SIGKILL, U64
from services.proc.lifecycle import LOOK_AFTER_FAULTS, exit_group, look_at_size, thread_gone
from services.proc.meter import Meter
from services.proc.park import Interrupted
from services.proc.signals import faults
from services.proc.signals.core import RESTART_ALWAYS
from services.proc.signals.deliver import attend
from services.proc.signals.faults import BUS_ADRERR
from services.proc.table import TABLE_SIZE, Call
from services.vm.api import ACCESS_FETCH, ACCESS_READ, ACCESS_WRITE

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from services.proc.kernel import Kernel
    from services.proc.task import Thread

ARGUMENTS = (RDI, RSI, RDX, R10, R8, R9)
TURN_NS = 5_000_000
"""How long a thread may go on when nothing of what it does waits and each of its runs is short: the
ticker sees only runs that fill a slice."""
FRESH = object()
"""Stands for what a coroutine yielded that was not started yet."""


@types.coroutine
def drive(coroutine: Coroutine[Any, Any, Any], yielded: Any) -> Generator[Any, Any, Any]:
    """Go on with a coroutine that was started elsewhere: a relay between it and Trio."""
    if yielded is FRESH:
        try:
            yielded = coroutine.send(None)
        except StopIteration as finished:
            return finished.value
    while True:
        try:
            answer = yield yielded
        except BaseException as raised:
            try:
                yielded = coroutine.throw(raised)
            except StopIteration as finished:
                return finished.value
        else:
            try:
                yielded = coroutine.send(answer)
            except StopIteration as finished:
                return finished.value


@types.coroutine
def relay(
    thread: Thread, coroutine: Coroutine[Any, Any, Any], yielded: Any
) -> Generator[Any, Any, Any]:
    """`drive` on behalf of a thread's task: counts its waits, and the host time between them."""
    usage = thread.usage
    if yielded is FRESH:
        try:
            yielded = coroutine.send(None)
        except StopIteration as finished:
            return finished.value
        usage.system_ns += perf_counter_ns() - thread.resumed_ns
    while True:
        usage.waits += 1
        try:
            answer = yield yielded
        except BaseException as raised:
            thread.resumed_ns = perf_counter_ns()
            try:
                yielded = coroutine.throw(raised)
            except StopIteration as finished:
                return finished.value
        else:
            thread.resumed_ns = perf_counter_ns()
            try:
                yielded = coroutine.send(answer)
            except StopIteration as finished:
                return finished.value
        usage.system_ns += perf_counter_ns() - thread.resumed_ns


class Gate:
    """Binds a core's traps to the table of system calls."""

    def __init__(self, kernel: Kernel, table: list[Call | None]) -> None:
        self.kernel = kernel
        self.core = kernel.core
        self.table = table
        self.plain = tuple(table)
        """The table as it is while nothing is injected."""
        kernel.call_counts = [0] * TABLE_SIZE
        kernel.error_counts = [0] * TABLE_SIZE
        kernel.core.on_syscall = self._make_syscall_trap()
        kernel.core.on_fault = self._on_fault
        kernel.core.on_exception = self._on_exception
        self.meter = Meter(kernel)
        kernel.settle = self.meter.settle

    def _make_syscall_trap(self) -> Callable[[], None]:  # noqa: C901 (the fast path, in one piece)
        kernel, core, table = self.kernel, self.core, self.table
        regs, words, counts = core.regs, kernel.ram.words, kernel.call_counts
        errors = kernel.error_counts
        try_admit, release = kernel.admission.try_admit, kernel.admission.release

        def on_syscall() -> None:  # noqa: C901
            thread = kernel.current
            assert thread is not None
            number = regs[RAX]
            call = table[number] if number < TABLE_SIZE else None
            if call is None:
                self._unknown(thread, number)
                return
            counts[number] += 1
            bound = call.bound
            if call.deferred or kernel.slow_path is not None or (bound and not try_admit(bound)):
                arguments = (regs[7], regs[6], regs[2], regs[10], regs[8], regs[9])
                thread.call_number = number
                thread.suspended = (self.slowly(thread, call, arguments), FRESH)
                core.stop()
                return
            try:
                result = call.invoke(thread, regs)
                if call.blocking:
                    try:
                        yielded = result.send(None)
                    except StopIteration as finished:
                        result = finished.value
                    else:
                        thread.call_number = number
                        thread.suspended = (self.finish(thread, call, result, yielded), FRESH)
                        core.stop()
                        return
            except PosixError as error:
                errors[number] += 1
                result = -error.errno
            except Interrupted:
                result = -EINTR
                thread.call_number, thread.restart = number, call.restart
            except OutOfHeap as short:
                release(bound)
                arguments = (regs[7], regs[6], regs[2], regs[10], regs[8], regs[9])
                thread.call_number = number
                again = self.slowly(thread, call, arguments, short.wanted_bytes)
                thread.suspended = (again, FRESH)
                core.stop()
                return
            except Exception as error:
                result = self.bug(thread, call, error)
            if bound:
                release(bound)
            regs[RAX] = result & U64
            if thread.work:
                core.stop()
            elif words[0]:
                if words[0] == DOORBELL_TLB:
                    core.flush_tlb()
                else:
                    core.stop()

        return on_syscall

    async def finish(
        self,
        thread: Thread,
        call: Call,
        started: Any,
        yielded: Any,
        arguments: tuple[int, ...] | None = None,
    ) -> int | None:
        """The rest of a call that blocked: the same outcome as in the trap.

        `arguments`: a script's call, which are not in the registers.
        """
        try:
            result: int | None = await drive(started, yielded)
        except PosixError as error:
            self.kernel.error_counts[call.number] += 1
            return -error.errno
        except Interrupted:
            thread.restart = call.restart
            return -EINTR
        except OutOfHeap as short:
            wanted = short.wanted_bytes
        except Exception as error:
            return self.bug(thread, call, error)
        else:
            return result
        finally:
            self.kernel.admission.release(call.bound)
        if arguments is None:
            peek, context = self.core.peek, thread.context
            arguments = tuple(peek(context, register) for register in ARGUMENTS)
        return await self.slowly(thread, call, arguments, wanted)

    async def slowly(
        self, thread: Thread, call: Call, arguments: tuple[int, ...], beyond: int = 0
    ) -> int | None:
        """A call that must wait for admission, is traced, or changes the registers itself.

        `beyond`: it was unwound because there was no room for so many bytes beyond its bound. It
        is run again from its saved arguments when there is. That is enough, since a call makes its
        deep reservation once, before it allocates; asking for more each time would end in a wish
        that nothing but an empty heap can grant, and bring the killer on.
        """
        bound = call.bound
        while True:
            if (bound or beyond) and not await self._admitted(thread, bound, beyond):
                return -EINTR
            try:
                slow = self.kernel.slow_path
                if slow is not None:
                    outcome: int | None = await slow(thread, call, arguments)
                    return outcome
                return await self.perform(thread, call, arguments)
            except OutOfHeap as short:
                beyond = short.wanted_bytes
            finally:
                if bound:
                    self.kernel.admission.release(bound)

    async def _admitted(self, thread: Thread, bound: int, beyond: int) -> bool:
        """Wait for a reservation; False: a signal has to be taken first, then the call begins.

        What is `beyond` the bound is only waited for: nobody runs between here and the call, so
        the room is there until the call first waits, and its deep reservations see it. More than
        there is of everything comes when all others have ended: the killer sees to that, or ends
        the caller. Whoever makes deep reservations keeps them far below that.
        """
        admission = self.kernel.admission
        if not beyond and admission.try_admit(bound):
            return True
        beyond = min(beyond, admission.limit_bytes - 1 - bound)
        try:
            await thread.interruptible(admission.wait(bound + beyond))
        except Interrupted:
            thread.restart = RESTART_ALWAYS
            return False
        admission.current -= beyond
        return True

    async def perform(self, thread: Thread, call: Call, arguments: tuple[int, ...]) -> int | None:
        """Run the handler; errors become results. None: it set the registers itself."""
        try:
            result = call.handler(thread, *arguments[: call.arity])
            return await result if call.blocking else result  # type: ignore[misc,return-value]
        except PosixError as error:
            self.kernel.error_counts[call.number] += 1
            return -error.errno
        except Interrupted:
            thread.restart = call.restart
            return -EINTR
        except Exception as error:
            return self.bug(thread, call, error)

    def count_unknown(self, number: int) -> None:
        """Remember that a call was made that is not there."""
        unknown = self.kernel.unknown_calls
        unknown[number] = unknown.get(number, 0) + 1
        if len(unknown) > 1024:
            unknown.clear()

    def _unknown(self, thread: Thread, number: int) -> None:
        self.count_unknown(number)
        if self.kernel.slow_path is not None:
            regs = self.core.regs
            arguments = (regs[7], regs[6], regs[2], regs[10], regs[8], regs[9])
            self.kernel.extra["unknown_call"](thread, number, arguments)
        self.core.regs[RAX] = -ENOSYS & U64

    def bug(self, thread: Thread, call: Call, error: Exception) -> int:
        """An exception that no handler may raise: the process dies, the kernel lives.

        A service that cannot be reached, though, is to a program what a broken device is.
        """
        if isinstance(error, ServiceUnavailable):
            self.kernel.failed_calls += 1
            return -EIO
        text = "".join(traceback.format_exception(error))
        process = thread.process
        self.kernel.log(
            f"hardtack: kernel bug in {call.name} of pid {process.pid} "
            f"({process.comm.decode(errors='replace')}); the process is killed\n{text}"
        )
        exit_group(process, SIGKILL)
        return -EFAULT

    # Faults and exceptions ------------------------------------------------------------------

    def _on_fault(self, vaddr: int, error: int) -> None:
        kernel = self.kernel
        thread = kernel.current
        assert thread is not None
        kernel.fault_count += 1
        thread.usage.minor_faults += 1
        if error & ERROR_FETCH:
            access = ACCESS_FETCH
        else:
            access = ACCESS_WRITE if error & ERROR_WRITE else ACCESS_READ
        serving = self._serve_fault(thread, vaddr, access, error)
        try:
            yielded = serving.send(None)
        except StopIteration:
            if thread.work:
                self.core.stop()
            elif kernel.ram.words[0]:
                if kernel.ram.words[0] == DOORBELL_TLB:
                    self.core.flush_tlb()
                else:
                    self.core.stop()
            return
        thread.suspended = (drive(serving, yielded), FRESH)
        self.core.stop()

    @staticmethod
    async def _serve_fault(thread: Thread, vaddr: int, access: int, error: int) -> None:
        try:
            violation = await thread.space.fault(vaddr, access, may_wait=True)
        except PosixError as refusal:
            if refusal.errno == ENOMEM:
                await oom.relieve(thread, vaddr)
            else:  # the page's store failed
                faults.memory(thread, vaddr, error, SIGBUS, BUS_ADRERR)
            return
        except ServiceUnavailable:
            thread.kernel.failed_calls += 1
            faults.memory(thread, vaddr, error, SIGBUS, BUS_ADRERR)
            return
        if violation is not None:
            faults.memory(thread, vaddr, error, violation.signal, violation.code)
        elif not thread.usage.minor_faults % LOOK_AFTER_FAULTS:
            await look_at_size(thread.process)

    def _on_exception(self, vector: int, error: int) -> None:
        thread = self.kernel.current
        assert thread is not None
        faults.exception(thread, vector, error)
        self.core.stop()

    # The thread's loop ----------------------------------------------------------------------

    async def run_thread(self, thread: Thread) -> None:
        """Run user code until the thread has ended; the body of the thread's task."""
        kernel, core, meter = self.kernel, self.core, self.meter
        process, usage, unsampled = thread.process, thread.usage, 0
        clock, collect, pauses = perf_counter_ns, kernel.collector.step, kernel.collector.pauses
        thread.resumed_ns = turn_ns = clock()
        paused_s = pauses.all_s
        try:
            while not thread.killed:
                waits = usage.waits
                if thread.work and not await relay(thread, attend(thread), FRESH):
                    break
                core.switch(thread.context)
                kernel.current = thread
                if unsampled:
                    unsampled -= 1
                else:
                    meter.sample()
                meter.since_ns = now = clock()
                usage.system_ns += now - thread.resumed_ns
                core.run()
                thread.resumed_ns = now = clock()
                kernel.current = None
                if meter.timing:
                    unsampled = meter.end_sample(thread, now)
                else:
                    elapsed = now - meter.since_ns
                    system = int(elapsed * thread.system_share)
                    usage.system_ns += system
                    usage.user_ns += elapsed - system
                if process.cpu_timers is not None:
                    process.cpu_timers.check()
                collect()
                suspended, delay_s = thread.suspended, pauses.all_s - paused_s
                if suspended is not None:
                    thread.suspended = None
                    result = await relay(thread, suspended[0], suspended[1])
                    if result is not None:
                        core.poke(thread.context, RAX, result)
                elif not thread.work:
                    turn_ns = 0  # preempted
                if usage.waits != waits:
                    turn_ns, paused_s = now, pauses.all_s
                    pauses.turn(delay_s)
                elif now - turn_ns > TURN_NS:
                    await trio.lowlevel.checkpoint()
                    thread.resumed_ns = turn_ns = clock()
                    if not core.is_loaded(thread.context):
                        usage.preemptions += 1
        finally:
            kernel.current = None
            with trio.CancelScope(shield=True):
                await relay(thread, thread_gone(thread), FRESH)
