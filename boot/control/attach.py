"""The client's half of `hardtack exec`: its streams, its terminal, its signals.

A stream that is a terminal stays ours: bytes go through a pipe, as the kernel runs in another
session and may not touch it. Anything else is handed over as it is.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import termios
import threading
import tty
from typing import TYPE_CHECKING

from boot.control.wire import ControlError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from boot.control.client import Client

CHUNK_BYTES = 65536
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def _copy(source: int, target: int) -> None:
    """Until the end of either; then the target is closed, if it is not one of the three."""
    with contextlib.suppress(OSError):
        while data := os.read(source, CHUNK_BYTES):
            view = memoryview(data)
            while view:
                view = view[os.write(target, view) :]
    if target > 2:
        os.close(target)


class _Streams:
    """What is handed over for 0, 1 and 2, and the threads that carry what is not."""

    def __init__(self, terminal: bool) -> None:
        self.given: list[int] = []
        self._carriers: list[threading.Thread] = []
        for number in range(3):
            if not os.isatty(number) and not (terminal and number < 2):
                self.given.append(os.dup(number))
                continue
            reader, writer = os.pipe()
            theirs, ours = (reader, writer) if number == 0 else (writer, reader)
            self.given.append(theirs)
            way = (0, ours) if number == 0 else (ours, number)
            carrier = threading.Thread(target=_copy, args=way, daemon=True)
            if number:
                self._carriers.append(carrier)
            carrier.start()

    def handed_over(self) -> None:
        """The kernel has them now: ours are closed, so that their ends are seen."""
        for fd in self.given:
            os.close(fd)

    def finish(self) -> None:
        """Wait for the last output."""
        for carrier in self._carriers:
            carrier.join(2.0)


@contextlib.contextmanager
def _raw(terminal: bool) -> Iterator[None]:
    """The terminal passes every key on, for the time being."""
    if not (terminal and os.isatty(0)):
        yield
        return
    before = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def _size() -> tuple[int, int]:
    try:
        columns, rows = os.get_terminal_size(0)
    except OSError:
        return 24, 80
    return rows, columns


@contextlib.contextmanager
def _passing_on(client: Client, terminal: bool) -> Iterator[None]:
    """Signals of the host go to the program; a new size of the window too."""

    def pass_on(number: int, frame: object) -> None:
        client.send({"signal": number})

    def resized(number: int, frame: object) -> None:
        rows, columns = _size()
        client.send({"rows": rows, "columns": columns})

    before = {number: signal.signal(number, pass_on) for number in PASSED_ON}
    if terminal:
        before[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, resized)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(client: Client, options: argparse.Namespace) -> int:
    """Run the program; its status as a shell would report it."""
    if not options.program:
        raise ControlError("no program to run (hardtack exec -- PROGRAM ARG…)")
    terminal = options.terminal or (os.isatty(0) and os.isatty(1) and not options.no_terminal)
    rows, columns = _size() if terminal else (0, 0)
    request: dict[str, object] = {
        "argv": list(options.program),
        "env": list(options.env),
        "terminal": terminal,
        "rows": rows,
        "columns": columns,
    }
    if options.workdir is not None:
        request["workdir"] = options.workdir
    if options.user is not None:
        request["user"] = options.user
    if terminal and "TERM" in os.environ:
        request["env"] = [f"TERM={os.environ['TERM']}", *options.env]
    client.send({"do": "exec", **request})
    client.next()  # it is ready for the streams
    streams = _Streams(terminal)
    socket.send_fds(client.connection, [b"\0"], streams.given)
    streams.handed_over()
    client.connection.settimeout(None)
    with _raw(terminal), _passing_on(client, terminal):
        status = int(str(client.next()["ok"]))
        streams.finish()
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code
