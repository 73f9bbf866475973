"""Commands that only look: plain reads of the kernel's state, from a host thread.

The kernel runs on meanwhile, so what is read may change underfoot: Python then says so
(RuntimeError), and the look is taken again. Nothing here waits for the kernel's loop, and nothing
is sent over the bus.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, TypeVar

from boot import VERSION
from boot.control import arguments, stacks
from boot.control.wire import ControlError, Message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from boot.assembly import Machine
    from boot.control.server import Session

T = TypeVar("T")
LOOKS = 50
FOLLOW_S = 0.2


def steady(look: Callable[[], T]) -> T:
    """Look again while what is looked at changes."""
    for _ in range(LOOKS):
        try:
            return look()
        except (RuntimeError, KeyError):
            time.sleep(0.001)
    raise ControlError("the kernel changes too fast to be looked at; try again")


def kernel_of(machine: Machine) -> Any:
    """proc's state."""
    kernel = getattr(machine.services.get("proc"), "kernel", None)
    if kernel is None:
        raise ControlError("the kernel is starting, or stopping")
    return kernel


def info(session: Session, request: Message) -> object:
    """Which kernel this is."""
    machine = session.machine
    answers_s = session.loop.answers_in_s()
    return {
        "pid": os.getpid(),
        "version": VERSION,
        "program": list(machine.config.argv),
        "up_s": time.monotonic() - machine.began_s,
        "answers_s": answers_s,
    }


# Processes ------------------------------------------------------------------------------------


def state_of(process: Any, current: Any) -> str:
    """The letter of ps(1): Z, T, R or S."""
    if process.zombie:
        return "Z"
    if process.stopped:
        return "T"
    threads = list(process.threads.values())
    busy = any(thread is current or not _waits(thread) for thread in threads)
    return "R" if busy else "S"


def _waits(thread: Any) -> bool:
    return bool(thread.parker.parked or thread.suspended is not None or thread.scope is not None)


def call_of(thread: Any) -> str:
    """The system call that a thread is in, or nothing."""
    from services.proc.table import CALLS

    if not _waits(thread):
        return ""
    number = thread.call_number
    return CALLS[number].name if number in CALLS else f"syscall_{number}" if number >= 0 else ""


def _row(process: Any, current: Any) -> dict[str, object]:
    usage = process.usage()
    threads = list(process.threads.values())
    return {
        "pid": process.pid,
        "parent": process.parent.pid if process.parent else 0,
        "uid": process.credentials.euid,
        "state": state_of(process, current),
        "threads": len(threads),
        "descriptors": len(process.descriptors.slots) if process.descriptors else 0,
        "user_ns": usage.user_ns,
        "system_ns": usage.system_ns,
        "call": call_of(threads[0]) if threads else "",
        "name": process.comm.decode(errors="replace"),
    }


def ps(session: Session, request: Message) -> object:
    """All processes."""
    kernel = kernel_of(session.machine)
    return steady(
        lambda: [_row(process, kernel.current) for process in list(kernel.processes.values())]
    )


# Services -------------------------------------------------------------------------------------


def _service(child: Any) -> dict[str, object]:
    recoveries = list(child.recoveries)
    return {
        "name": child.spec.name,
        "generation": child.generation,
        "failing": child.failing,
        "hangs": child.hangs,
        "recovered_s": recoveries[-1] if recoveries else None,
    }


def services(session: Session, request: Message) -> object:
    """Each service: which incarnation, whether it is being restarted, how long that took last.

    And how many system calls and page faults have failed because a service was not there.
    """
    machine = session.machine
    supervisor = machine.supervisor
    children = [] if supervisor is None else supervisor.children
    return {
        "services": steady(lambda: [_service(child) for child in list(children)]),
        "failed_calls": kernel_of(machine).failed_calls,
    }


# Numbers --------------------------------------------------------------------------------------


def samples(machine: Machine) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Everything that the metrics page tells, by name and labels."""
    from boot.heap import parse
    from boot.kernel import new_metrics

    return parse(steady(lambda: new_metrics(machine).exposition()[0].decode()))


def heap(session: Session, request: Message) -> object:
    """The kernel heap, as lines."""
    from boot.heap import show

    return show(samples(session.machine))


def metrics(session: Session, request: Message) -> object:
    """Every sample: [name, labels, value]."""
    return [
        [name, dict(labels), value] for (name, labels), value in samples(session.machine).items()
    ]


def stats(session: Session, request: Message) -> object:
    """The summary of --stats, so far."""
    from boot.stats import summary

    machine = session.machine
    return steady(lambda: summary(machine, time.monotonic() - machine.began_s, final=False))


# Logs and dumps -------------------------------------------------------------------------------


def logs(session: Session, request: Message) -> object:
    """What the kernel has said; with `follow`, also what it goes on to say."""
    journal, after = session.machine.journal, arguments.whole(request, "after", 0)
    follow = arguments.flag(request, "follow")
    while True:
        entries = steady(lambda: journal.since(after))  # noqa: B023 (called at once)
        if entries:
            after = entries[-1].number
            session.answer({"part": [[e.number, e.time_s, e.text] for e in entries]})
        if not follow:
            return None
        time.sleep(FOLLOW_S)
        _check_there(session)


def _check_there(session: Session) -> None:
    """Raise OSError when the client of a stream has gone."""
    connection = session.connection
    connection.settimeout(0.0001)
    try:
        if not connection.recv(1):
            raise ConnectionResetError
    except (TimeoutError, BlockingIOError):
        pass
    finally:
        connection.settimeout(60.0)


def _dump(machine: Machine, answers_s: float | None) -> Iterator[str]:
    up_s = time.monotonic() - machine.began_s
    yield f"hardtack {VERSION}, pid {os.getpid()}, up {up_s:.1f} s"
    loop = "does not answer" if answers_s is None else f"answers in {answers_s * 1e3:.1f} ms"
    yield f"the kernel's loop {loop}; where it is:"
    yield from ("  " + line for line in stacks.of_thread(machine.thread_id))
    kernel = getattr(machine.services.get("proc"), "kernel", None)
    if kernel is not None:
        for process in list(kernel.processes.values()):
            yield (
                f"process {process.pid} ({process.comm.decode(errors='replace')}),"
                f" {state_of(process, kernel.current)}"
            )
            for thread in list(process.threads.values()):
                where = "runs" if thread is kernel.current else call_of(thread) or "ready"
                yield f"  thread {thread.tid}: {where}"
                if thread.suspended is not None:
                    yield from ("    " + line for line in stacks.of_coroutine(thread.suspended[0]))
    yield from _services(machine)
    ledger = machine.admission
    yield (
        f"heap: M {ledger.limit_bytes:,}, lastgc {ledger.lastgc:,}, used {ledger.used:+,},"
        f" current {ledger.current:,}, {ledger.waiting} waiting"
    )


def _services(machine: Machine) -> Iterator[str]:
    bus = machine.bus
    for name, ring in bus.rings.items():
        hung = len(bus.hanging.get(name, ()))
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(ring.counts.items()))
        yield f"service {name}: {counts or 'nothing recorded'}" + (f"; {hung} hang" if hung else "")
        for number, event in ring.snapshot()[-5:]:
            yield f"  {number}: {str(event).splitlines()[0][:160]}"


def dump(session: Session, request: Message) -> object:
    """Where everything is, as lines."""
    answers_s = session.loop.answers_in_s()
    return steady(lambda: list(_dump(session.machine, answers_s)))


COMMANDS: dict[str, Callable[[Session, Message], object]] = {
    "info": info,
    "ps": ps,
    "services": services,
    "heap": heap,
    "metrics": metrics,
    "stats": stats,
    "logs": logs,
    "dump": dump,
}
