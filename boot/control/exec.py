"""`hardtack exec`: one more program in the running kernel, its streams those of the client.

The client hands three descriptors over (SCM_RIGHTS): pipes of its own, or what its streams are
where that is no terminal. A console driver of the program's own reads and writes them. Meanwhile
the connection carries `{"resize": [rows, columns]}` and `{"signal": N}`; its end hangs the program
up (SIGHUP). The answer is the program's wait(2) status.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
from typing import TYPE_CHECKING, Any

from boot.control import arguments
from boot.control.view import kernel_of
from boot.control.wire import MAX_REQUEST_BYTES, ControlError, Message, WireError, receive

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from boot.assembly import Machine
    from boot.control.server import Session

STREAMS = 3
MAX_ROWS = 4096


class _Direct:
    """A console driver that only one program uses, asked without the bus."""

    def __init__(self, fds: Sequence[int]) -> None:
        from services.drivers.console.service import ConsoleService

        self._service = ConsoleService(fds)

    async def call(self, request: Any) -> Any:
        """As a port does."""
        return await self._service.handlers[type(request)](request)

    def close(self) -> None:
        """The program has ended."""
        self._service.close()


class _Running:
    """A program that runs for a client: made and ended in the loop, watched from its thread."""

    def __init__(self, fds: Sequence[int]) -> None:
        self.ended, self._end = socket.socketpair()
        self._console = _Direct(fds)
        self.attached: Any = None
        self.status = 0

    async def begin(self, machine: Machine, request: Message) -> None:
        """Start the program. PosixError."""
        from services.proc.begin import Program
        from services.proc.task import Credentials

        config, proc = machine.config, machine.services["proc"]
        user = arguments.text(request, "user", "")
        uid, gid = config.uid, config.gid
        if user:
            from boot.config import parse_user

            uid, gid = parse_user(user)
        env = dict(config.env)
        for setting in arguments.words(request, "env"):
            name, _, value = setting.partition("=")
            env[name] = value
        program = Program(
            tuple(os.fsencode(word) for word in arguments.words(request, "argv")),
            tuple(os.fsencode(f"{name}={value}") for name, value in env.items()),
            os.fsencode(arguments.text(request, "workdir", config.workdir)),
            Credentials(uid, gid),
        )
        terminal = arguments.flag(request, "terminal")
        size = (_size(request, "rows"), _size(request, "columns"))
        kernel = kernel_of(machine)
        try:
            self.attached = await proc.execute(program, self._console, terminal, size)  # type: ignore[attr-defined]
        except BaseException:
            self.close()
            raise
        kernel.nursery.start_soon(self._watch, name=f"exec {self.attached.process.pid}")

    async def _watch(self) -> None:
        try:
            self.status = await self.attached.wait()
        finally:
            self.close()

    def close(self) -> None:
        """Its streams end, and who watches learns of it."""
        self._console.close()
        self._end.close()


def _size(request: Message, name: str) -> int:
    return max(0, min(arguments.whole(request, name, 0), MAX_ROWS))


def execute(session: Session, request: Message) -> object:
    """Run it to its end; its wait(2) status."""
    argv = arguments.words(request, "argv")
    if not argv or not argv[0]:
        raise ControlError("no program to run (hardtack exec -- PROGRAM ARG…)")
    kernel = kernel_of(session.machine)
    if kernel.nursery is None or kernel.main is None:
        raise ControlError("the kernel is starting, or stopping")
    if session.connection.family != socket.AF_UNIX:
        raise ControlError("exec needs the kernel's own socket, on its machine (docker exec, ssh)")
    session.answer({"part": "streams"})
    _, fds, _, _ = socket.recv_fds(session.connection, 1, STREAMS)
    try:
        if len(fds) != STREAMS:
            raise ControlError(f"{len(fds)} streams were handed over, not {STREAMS}")
        running = _Running(fds)
    finally:
        for fd in fds:
            os.close(fd)
    session.loop.call(lambda: running.begin(session.machine, request))
    with running.ended:
        return _attend(session, running)


def _attend(session: Session, running: _Running) -> int:
    """Pass on what the client says until the program has ended."""
    connection = session.connection
    with selectors.DefaultSelector() as selector:
        selector.register(running.ended, selectors.EVENT_READ)
        selector.register(connection, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in selector.select()}
            if running.ended in ready:
                return running.status
            try:
                message = receive(connection, MAX_REQUEST_BYTES)
            except (WireError, OSError):
                message = None
            if message is None:
                with contextlib.suppress(ControlError):
                    session.loop.call(_done(running.attached.hang_up))
                raise ConnectionResetError
            _pass_on(session, running, message)


def _pass_on(session: Session, running: _Running, message: Message) -> None:
    attached = running.attached
    with contextlib.suppress(ControlError):
        if "signal" in message:
            number = arguments.whole(message, "signal")
            if 1 <= number <= 64:
                session.loop.call(_done(lambda: attached.signal(number)))
        if "rows" in message:
            rows, columns = _size(message, "rows"), _size(message, "columns")
            session.loop.call(_done(lambda: attached.resize(rows, columns)))


def _done(work: Callable[[], None]) -> Callable[[], Any]:
    async def run() -> None:
        work()

    return run


COMMANDS: dict[str, Callable[[Session, Message], object]] = {"exec": execute}
