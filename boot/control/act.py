"""Commands that change something: checked here, done in the kernel's loop."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

from boot.control import arguments
from boot.control.view import kernel_of
from boot.control.wire import ControlError, Message

if TYPE_CHECKING:
    from collections.abc import Callable

    from boot.control.server import Session


def signal_number(word: str) -> int:
    """9, KILL or SIGKILL. ControlError."""
    name = word.upper()
    if word.isdecimal() and 1 <= int(word) <= 64:
        return int(word)
    number = getattr(signal, name if name.startswith("SIG") else f"SIG{name}", None)
    if not isinstance(number, signal.Signals):
        raise ControlError(f"signal {word!r} is none (9, KILL or SIGKILL)")
    return int(number)


def kill(session: Session, request: Message) -> object:
    """Send a signal to a process, with the kernel's own authority."""
    from services.proc.api import Signal

    pid = arguments.whole(request, "pid")
    number = signal_number(arguments.text(request, "signal", "TERM"))
    kernel = kernel_of(session.machine)
    if pid not in kernel.processes:
        raise ControlError(f"there is no process {pid} (hardtack ps)")
    handlers = session.machine.services["proc"].handlers

    async def send() -> None:
        await handlers[Signal](Signal(pid, number))

    session.loop.call(send)
    return None


def trace(session: Session, request: Message) -> object:
    """Trace system calls from now on (`set`), or no longer."""
    from services.proc.strace import parse_set

    proc: Any = session.machine.services["proc"]
    kernel_of(session.machine)
    wanted = None
    if arguments.flag(request, "on"):
        try:
            wanted = parse_set(arguments.text(request, "set", "all"))
        except ValueError as error:
            raise ControlError(f"trace: {error}") from None
    path = arguments.text(request, "file", "") or None

    async def switch() -> None:
        try:
            proc.trace(wanted, path)
        except OSError as error:
            raise ControlError(f"trace file {path!r}: {error.strerror}") from None

    session.loop.call(switch)
    return None


def fault_add(session: Session, request: Message) -> object:
    """Arm a fault; its number."""
    spec = arguments.text(request, "spec")
    faults = session.machine.faults

    async def add() -> int:
        return faults.add(spec)

    return session.loop.call(add)


def fault_list(session: Session, request: Message) -> object:
    """What is armed, and what was injected since boot."""
    faults = session.machine.faults
    return {
        "armed": [
            [one.number, one.text, one.eligible, one.injected, one.spent] for one in faults.list()
        ],
        "injected": [[*key, count] for key, count in sorted(faults.injected().items())],
    }


def fault_clear(session: Session, request: Message) -> object:
    """Disarm one, or all; how many."""
    number = arguments.whole(request, "number", 0) or None
    faults = session.machine.faults

    async def clear() -> int:
        return faults.clear(number)

    return session.loop.call(clear)


def heap_collect(session: Session, request: Message) -> object:
    """Have the killer collect everything, the caches emptied first if `empty`; live bytes then."""
    from services.killer.api import Info, Prof

    wanted = Prof() if arguments.flag(request, "empty") else Info(collect=True)
    handlers = session.machine.services["killer"].handlers

    async def collect() -> int:
        found = await handlers[type(wanted)](wanted)
        return int(found.lastgc_bytes + found.used_bytes)

    return session.loop.call(collect)


COMMANDS: dict[str, Callable[[Session, Message], object]] = {
    "kill": kill,
    "trace": trace,
    "fault-add": fault_add,
    "fault-list": fault_list,
    "fault-clear": fault_clear,
    "heap-collect": heap_collect,
}
