"""The kernel's end of the control socket: host threads of its own, so that it answers when the
kernel's loop does not.

One thread accepts, one more serves each connection. What only reads (`view.py`) is done there, from
plain state; what changes something (`act.py`) is posted into the loop. On the Unix socket the
kernel's own user and root are served, whom the host names (SO_PEERCRED); over TCP whoever has the
token, over TLS. Anybody else gets a refusal and nothing more.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import socket
import struct
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from boot.control import act, exec, place, view
from boot.control.loop import Loop
from boot.control.wire import (
    MAX_REQUEST_BYTES,
    ControlError,
    Message,
    WireError,
    encode,
    receive,
)
from bus.errors import PosixError
from bus.faultspec import FaultError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from boot.assembly import Machine
    from boot.config import Control

IDLE_S = 60.0
"""How long a connection may be silent."""
REFUSAL_S = 1.0
MAX_CONNECTIONS = 32
MAX_TOKEN_BYTES = 4096
MIN_TOKEN_CHARACTERS = 16
_UCRED = struct.Struct("3i")


class Session:
    """What a command may use: the machine, the loop, and the connection it came by."""

    def __init__(self, machine: Machine, loop: Loop, connection: socket.socket) -> None:
        self.machine = machine
        self.loop = loop
        self.connection = connection

    def answer(self, message: Message) -> None:
        """Send one message back."""
        self.connection.sendall(encode(message))


def _refuse(connection: socket.socket, reason: str) -> None:
    """Say why, and hear the other out for a moment: a reset would overtake the answer."""
    connection.sendall(encode({"error": reason}))
    connection.settimeout(REFUSAL_S)
    connection.shutdown(socket.SHUT_WR)
    heard = 0
    while heard < MAX_REQUEST_BYTES and (data := connection.recv(1 << 16)):
        heard += len(data)


def _peer_uid(connection: socket.socket) -> int:
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return int(_UCRED.unpack(raw)[1])


class ControlServer:
    """Open with `run` in a nursery; it is closed when that is cancelled. ControlError."""

    def __init__(self, machine: Machine, settings: Control) -> None:
        self._machine = machine
        self._loop: Loop
        self._token = b""
        self._tls: ssl.SSLContext | None = None
        self._listeners: list[socket.socket] = []
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        try:
            self._path = self._listen_here(settings)
            self._listen_there(settings)
        except BaseException:
            self._close()
            raise

    def _listen_here(self, settings: Control) -> Path | None:
        try:
            if settings.path is not None:
                path = Path(os.path.abspath(settings.path))
            else:
                path = place.path_of(settings.name or str(os.getpid()))
            self._listeners.append(place.listen(path))
        except ControlError:
            if settings.path is not None or settings.name is not None:
                raise
            return None  # nobody asked for it by name, and here it cannot be
        return path

    def _listen_there(self, settings: Control) -> None:
        address = settings.address
        if address is None:
            return
        import ssl

        try:
            with open(settings.token_file, "rb") as file:
                self._token = file.read(MAX_TOKEN_BYTES).strip()
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.load_cert_chain(settings.certificate, settings.key or None)
        except (OSError, ssl.SSLError) as error:
            raise ControlError(
                f"control: token, certificate or key cannot be read: {error}"
            ) from None
        if len(self._token) < MIN_TOKEN_CHARACTERS or not self._token.isascii():
            raise ControlError(
                f"control: the token in {settings.token_file} has less than {MIN_TOKEN_CHARACTERS}"
                " characters (openssl rand -hex 32)"
            )
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        try:
            self._listeners.append(
                socket.create_server((address.host, address.port), family=family)
            )
        except OSError as error:
            raise ControlError(
                f"control: cannot listen on {address.host}:{address.port}: {error.strerror}"
            ) from None
        self._tls = context

    @property
    def addresses(self) -> list[object]:
        """Where it listens, for tests."""
        return [listener.getsockname() for listener in self._listeners]

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as nursery:
            self._loop = Loop(nursery)
            for listener in self._listeners:
                self._start(self._accept, listener)
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._close()

    def _start(self, work: Callable[[socket.socket], None], subject: socket.socket) -> None:
        threading.Thread(target=work, args=(subject,), name="control", daemon=True).start()

    def _close(self) -> None:
        with self._lock:
            sockets = [*self._listeners, *self._connections]
            named, self._listeners = bool(self._listeners), []
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)  # wakes the thread that is in it
        for one in sockets:
            if one not in self._connections:
                one.close()
        if named and getattr(self, "_path", None) is not None:
            assert self._path is not None
            self._path.unlink(missing_ok=True)

    # Connections ------------------------------------------------------------------------------

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                if listener.fileno() < 0 or listener not in self._listeners:
                    return
                continue  # the peer was gone already, or descriptors are short
            with self._lock:
                busy = len(self._connections) >= MAX_CONNECTIONS
                if not busy:
                    self._connections.add(connection)
            if busy:
                connection.close()
                continue
            try:
                self._start(self._serve, connection)
            except RuntimeError:  # the host has no more threads
                self._forget(connection)

    def _forget(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.discard(connection)
        connection.close()

    def _serve(self, raw: socket.socket) -> None:
        connection = raw
        try:
            raw.settimeout(IDLE_S)
            let_in = self._admit(raw)
            if let_in is not None:
                connection = let_in
                self._converse(connection)
        except (OSError, ValueError):
            pass  # it is gone, silent, or does not know TLS
        finally:
            self._forget(connection)
            self._forget(raw)

    def _admit(self, raw: socket.socket) -> socket.socket | None:
        """The connection of somebody who may use it, or None."""
        if raw.family == socket.AF_UNIX:
            allowed = _peer_uid(raw) in (0, os.geteuid())
            if not allowed:
                _refuse(raw, "this kernel is another user's")
            return raw if allowed else None
        assert self._tls is not None
        connection = self._tls.wrap_socket(raw, server_side=True)  # takes the descriptor over
        with self._lock:
            self._connections.add(connection)
        try:
            first = receive(connection, MAX_TOKEN_BYTES) or {}
        except WireError:
            first = {}
        said = str(first.get("token", "")).encode(errors="replace")
        if hmac.compare_digest(said, self._token):
            return connection
        _refuse(connection, "wrong token")
        self._forget(connection)
        return None

    def _converse(self, connection: socket.socket) -> None:
        session = Session(self._machine, self._loop, connection)
        while True:
            try:
                request = receive(connection, MAX_REQUEST_BYTES)
            except WireError as error:
                _refuse(connection, f"what you sent is {error}")
                return
            if request is None:
                return
            session.answer(_outcome(session, request))


def _outcome(session: Session, request: Message) -> Message:
    """Do one request; its last answer."""
    command = request.get("do")
    serve = COMMANDS.get(command) if isinstance(command, str) else None
    if serve is None:
        return {"error": f"no command {str(command)[:40]!r} (there are {', '.join(COMMANDS)})"}
    try:
        return {"ok": serve(session, request)}
    except (ControlError, FaultError) as error:
        return {"error": str(error)}
    except PosixError as error:
        return {"error": f"{command}: {error}"}
    except OSError:
        raise
    except Exception as error:  # a kernel that stops, or whose state is broken
        return {"error": f"{command} failed: {type(error).__name__}: {error}"}


COMMANDS: dict[str, Callable[[Session, Message], object]] = {
    **view.COMMANDS,
    **act.COMMANDS,
    **exec.COMMANDS,
}
