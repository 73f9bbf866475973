"""The console driver's service: reads, writes and waits on the host's three standard streams.

A handler tries first and waits only where the host would have made it wait, so that output to a
file or a roomy pipe costs one system call and no checkpoint. Nothing is buffered: when
`WriteStream` replies, the host has the bytes.

Any number of tasks may wait for the same direction of a stream: one of them, the leader, holds
Trio's single place in epoll, the rest park behind it and look again when it leaves.

A write that is cancelled after some bytes went out replies with their count (as write(2) does
when a signal arrives), so that no byte is written twice; with none out, it is cancelled.

`run` keeps the terminal: raw from start to end, restored around SIGTSTP, resized on SIGWINCH.
"""

from __future__ import annotations

import contextlib
import os
import signal
from errno import EIO, EPIPE
from typing import TYPE_CHECKING, Any

import trio

from bus.errors import MalformedRequest, PosixError
from services.drivers.console.api import (
    DescribeStream,
    ReadStream,
    StreamInfo,
    StreamReady,
    WaitResize,
    WaitStream,
    WriteStream,
)
from services.drivers.console.stream import HostStream
from services.drivers.console.terminal import HostTerminal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence


def _refused(error: OSError) -> PosixError:
    """What the guest is told of a host's error: the host's number where declared, else EIO."""
    if isinstance(error, ConnectionError):  # includes BrokenPipeError
        return PosixError(EPIPE)
    declared = error.errno is not None and error.errno in WriteStream.declaration.errors
    return PosixError(error.errno if declared and error.errno is not None else EIO)


class _Gate:
    """Where tasks wait for one direction of a stream; wake-ups may be spurious."""

    def __init__(self, wait_host: Callable[[int], Awaitable[None]], fd: int) -> None:
        self._wait_host = wait_host
        self._fd = fd
        self._led = False
        self._followers = trio.lowlevel.ParkingLot()

    async def wait(self) -> None:
        if self._led:
            await self._followers.park()
            return
        self._led = True
        try:
            await self._wait_host(self._fd)
        finally:
            self._led = False
            self._followers.unpark_all()


class _Stream:
    """A host stream with its two gates."""

    def __init__(self, fd: int) -> None:
        self.host = host = HostStream(fd)
        self.readable = _Gate(trio.lowlevel.wait_readable, host.fd)
        self.writable = _Gate(trio.lowlevel.wait_writable, host.fd)


Kept = tuple[list[_Stream], HostTerminal | None]


class ConsoleService:
    """Streams 0, 1, 2 are `fds`, the host's descriptors, which stay open and unchanged."""

    def __init__(self, fds: Sequence[int] = (0, 1, 2), kept: Kept | None = None) -> None:
        if kept is None:
            self._streams = [_Stream(fd) for fd in fds]
            first = self._streams[0].host
            self._terminal = HostTerminal(first.fd) if first.terminal else None
        else:
            self._streams, self._terminal = kept
        terminals = [stream.host for stream in self._streams if stream.host.terminal]
        self._screen = terminals[0] if terminals else None
        self._told_size = self._screen.size() if self._screen else (0, 0)
        self._resized = trio.lowlevel.ParkingLot()
        self.handlers: dict[type[Any], Callable[[Any], Awaitable[Any]]] = {
            DescribeStream: self.describe,
            ReadStream: self.read,
            WriteStream: self.write,
            StreamReady: self.ready,
            WaitStream: self.wait,
            WaitResize: self.wait_resize,
        }

    def keep(self) -> Kept:
        """The streams, with whom they wait for, and the terminal's settings."""
        self._resized.unpark_all()  # they ask again, of the next incarnation's size
        return self._streams, self._terminal

    def _stream(self, number: int) -> _Stream:
        if not 0 <= number < len(self._streams):
            raise MalformedRequest(f"stream {number} is none of 0, 1, 2")
        return self._streams[number]

    async def describe(self, request: DescribeStream) -> StreamInfo:
        """fstat(2) and isatty(3) of the host's stream."""
        host = self._stream(request.stream).host
        return StreamInfo(host.mode, host.terminal, *host.size())

    async def read(self, request: ReadStream) -> bytes:
        """Bytes that are there, else wait for some; b"" at the end."""
        if request.length_bytes < 0:
            raise MalformedRequest(f"length_bytes {request.length_bytes} is negative")
        stream = self._stream(request.stream)
        while True:
            try:
                data = stream.host.try_read(request.length_bytes)
            except OSError as error:
                raise _refused(error) from error
            if data is not None:
                return data
            await stream.readable.wait()

    async def write(self, request: WriteStream) -> int:
        """Hand all of the data to the host."""
        stream = self._stream(request.stream)
        data = memoryview(request.data)
        done = 0
        try:
            while done < len(data):
                count = stream.host.try_write(data[done:])
                if count is None:
                    await stream.writable.wait()
                else:
                    done += count
        except OSError as error:
            if not done:
                raise _refused(error) from error
        except trio.Cancelled:
            if not done:
                raise
        return done

    async def ready(self, request: StreamReady) -> tuple[bool, bool]:
        """poll(2) of the host's stream."""
        return self._stream(request.stream).host.ready()

    async def wait(self, request: WaitStream) -> None:
        """Wait for a direction to become ready."""
        stream = self._stream(request.stream)
        gate = stream.writable if request.write else stream.readable
        while not stream.host.ready()[request.write]:
            await gate.wait()

    async def wait_resize(self, request: WaitResize) -> tuple[int, int]:
        """Wait until the size differs from the one told last, or SIGWINCH says that it did."""
        size = self._screen.size() if self._screen else self._told_size
        if size == self._told_size:
            await self._resized.park()
            size = self._screen.size() if self._screen else size
        self._told_size = size
        return size

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the terminal until cancelled; it is restored on every way out."""
        if self._screen is None:
            task_status.started()
            await trio.sleep_forever()
        watched = [signal.SIGWINCH]
        if self._terminal is not None:
            watched += [signal.SIGTSTP, signal.SIGCONT]
        with trio.open_signal_receiver(*watched) as signals, contextlib.ExitStack() as leaving:
            if self._terminal is not None:
                leaving.callback(self._terminal.restore)
                self._terminal.enter()
            task_status.started()
            async for number in signals:
                if number == signal.SIGTSTP:
                    self._suspend()
                elif number == signal.SIGCONT and self._terminal is not None:
                    self._terminal.enter()
                self._resized.unpark_all()

    def _suspend(self) -> None:
        """Stop as SIGTSTP would have stopped us, with the terminal in order meanwhile."""
        assert self._terminal is not None
        self._terminal.restore()
        receiver = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)  # returns when somebody continues us
        signal.signal(signal.SIGTSTP, receiver)
        self._terminal.enter()  # at once: an orphaned process group is never stopped (setpgid(2))

    def restore_terminal(self) -> None:
        """For the last resort (a kernel that must leave without unwinding)."""
        if self._terminal is not None:
            self._terminal.restore()

    def close(self) -> None:
        """Give back the private descriptors and restore the terminal for good."""
        if self._terminal is not None:
            self._terminal.close()
        for stream in self._streams:
            stream.host.close()
