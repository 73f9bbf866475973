"""The client's end of a control socket: find the kernel, prove who we are, ask."""

from __future__ import annotations

import socket
import ssl
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import attrs

from boot.control import place
from boot.control.wire import (
    MAX_ANSWER_BYTES,
    ControlError,
    Message,
    WireError,
    encode,
    receive,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

ANSWER_S = 15.0


@attrs.frozen
class Target:
    """Which kernel is meant, as the command line says it."""

    name: str | None = None
    path: str | None = None
    address: str | None = None
    token_file: str | None = None
    certificate: str | None = None

    @classmethod
    def of(cls, options: argparse.Namespace) -> Target:
        """From the options that every command has."""
        return cls(
            options.name, options.control, options.connect, options.token_file, options.certificate
        )


class Client:
    """A connection to a kernel."""

    def __init__(self, connection: socket.socket, where: str) -> None:
        self.connection = connection
        self._where = where
        connection.settimeout(ANSWER_S)

    def send(self, message: Message) -> None:
        """Send a request."""
        with suppress(OSError):  # the answer, or its absence, says why
            self.connection.sendall(encode(message))

    def next(self) -> Message:
        """The next answer. ControlError: what the kernel refused, and why."""
        try:
            answer = receive(self.connection, MAX_ANSWER_BYTES)
        except TimeoutError:
            raise ControlError(f"{self._where} does not answer (is it stopped?)") from None
        except (OSError, WireError) as error:
            raise ControlError(f"{self._where}: {error}") from None
        if answer is None:
            raise ControlError(
                f"{self._where} closed the connection (it has ended, or is not yours)"
            )
        if "error" in answer:
            raise ControlError(str(answer["error"]))
        return answer

    def ask(self, command: str, **arguments: object) -> object:
        """One request, its answer's `ok`."""
        self.send({"do": command, **arguments})
        return self.next().get("ok")

    def stream(self, command: str, **arguments: object) -> Iterator[object]:
        """The parts of an answer, as they come, without a time limit."""
        self.send({"do": command, **arguments})
        self.connection.settimeout(None)
        while "part" in (answer := self.next()):
            yield answer["part"]


def _connect_tls(target: Target) -> socket.socket:
    assert target.address is not None
    host, colon, port = target.address.rpartition(":")
    if not colon or not port.isdecimal():
        raise ControlError(f"address {target.address!r} is not HOST:PORT (--connect kernel:7070)")
    if target.token_file is None or target.certificate is None:
        raise ControlError("--connect needs --token-file and --certificate (the kernel's)")
    try:
        with open(target.token_file, encoding="ascii") as file:
            token = file.read().strip()
        context = ssl.create_default_context(cafile=target.certificate)
    except (OSError, ssl.SSLError, UnicodeDecodeError) as error:
        raise ControlError(f"token or certificate cannot be read: {error}") from None
    context.check_hostname = False  # the certificate itself is what is trusted
    try:
        plain = socket.create_connection((host.strip("[]"), int(port)), ANSWER_S)
        connection = context.wrap_socket(plain)
    except (OSError, OverflowError) as error:
        raise ControlError(f"{target.address}: {error}") from None
    connection.sendall(encode({"token": token}))
    return connection


@contextmanager
def connected(target: Target) -> Iterator[Client]:
    """A connection to the kernel that is meant. ControlError: which one, or why not."""
    if target.address is not None:
        connection, where = _connect_tls(target), target.address
    else:
        path = target.path or place.find(target.name)
        where = f"the kernel at {path}"
        try:
            connection = place.connect(path)
        except OSError as error:
            raise ControlError(f"{where}: {error.strerror} (is it running?)") from None
    with connection:
        yield Client(connection, where)
