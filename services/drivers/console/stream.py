"""One standard stream of the host, as something that never blocks and is ours alone.

The descriptor that we were started with belongs to an open file description that others share
(the shell, the next program in a pipeline): setting O_NONBLOCK on it would change it under them.
So a stream takes a private descriptor, by what it is:

- terminal or pipe: opened a second time through /proc/self/fd, which makes a description of our
  own that may be non-blocking;
- socket: a duplicate, used with MSG_DONTWAIT;
- regular file, /dev/null and all else that epoll refuses (EPERM): a duplicate, always ready;
- where opening again is refused (another user's pipe, no /proc): a duplicate that is touched only
  when poll(2) says so, with at most `SAFE_WRITE_BYTES` at once, which a writable pipe is
  certain to take without blocking (PIPE_BUF, pipe(7)).

`try_read` and `try_write` answer None where they would have had to wait.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SAFE_WRITE_BYTES = select.PIPE_BUF
MAX_READ_BYTES = 1 << 20
MAX_WRITE_BYTES = 1 << 20


def _reopen(fd: int) -> int | None:
    """A second open file description of what `fd` is, non-blocking; None where refused."""
    access = fcntl.fcntl(fd, fcntl.F_GETFL) & (os.O_ACCMODE | os.O_APPEND)
    try:
        return os.open(f"/proc/self/fd/{fd}", access | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None


def _pollable(fd: int) -> bool:
    """Whether epoll(7) accepts the descriptor; if not, it is always ready."""
    with select.epoll() as probe:
        try:
            probe.register(fd, select.EPOLLIN)
        except PermissionError:
            return False
    return True


def _is_closed(fd: int) -> bool:
    """Whether we were started without it: no description, or one that only holds the number."""
    try:
        return bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_PATH)
    except OSError:
        return True


class HostStream:
    """A standard stream of the host; close it when done. `fd` is private to this object.

    `mode` is 0 for a stream that we were started without.
    """

    def __init__(self, fd: int) -> None:
        self._receive: Callable[[int, int], bytes] = os.read
        self._send: Callable[[int, memoryview], int] = os.write
        self._socket: socket.socket | None = None
        self._most = MAX_WRITE_BYTES
        self._ask_first = False
        if _is_closed(fd):
            self.fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            self.mode = 0
            self.terminal = self.pollable = False
        else:
            self.mode = os.fstat(fd).st_mode
            self.terminal = os.isatty(fd)
            self.pollable = _pollable(fd)
            self._take_private(fd)
        self._poll_read, self._poll_write = select.poll(), select.poll()
        self._poll_read.register(self.fd, select.POLLIN)
        self._poll_write.register(self.fd, select.POLLOUT)

    def _take_private(self, fd: int) -> None:
        if stat.S_ISSOCK(self.mode):
            self._socket = made = socket.socket(fileno=os.dup(fd))
            self.fd = made.fileno()
            self._receive = lambda _fd, length: made.recv(length, socket.MSG_DONTWAIT)
            self._send = lambda _fd, data: made.send(data, socket.MSG_DONTWAIT)
            return
        again = _reopen(fd) if self.pollable else None
        if again is None:
            self.fd = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
            self._ask_first = self.pollable
            self._most = SAFE_WRITE_BYTES if self.pollable else MAX_WRITE_BYTES
        else:
            self.fd = again

    def ready(self) -> tuple[bool, bool]:
        """(readable, writable) at this moment; an error or the end counts as ready (poll(2))."""
        return bool(self._poll_read.poll(0)), bool(self._poll_write.poll(0))

    def try_read(self, length_bytes: int) -> bytes | None:
        """Bytes that are there, b"" at the end, None where it would wait."""
        if self._ask_first and not self._poll_read.poll(0):
            return None
        try:
            return self._receive(self.fd, min(length_bytes, MAX_READ_BYTES))
        except BlockingIOError:
            return None

    def try_write(self, data: memoryview) -> int | None:
        """How many bytes the host took, None where it would wait."""
        if self._ask_first and not self._poll_write.poll(0):
            return None
        try:
            return self._send(self.fd, data[: self._most])
        except BlockingIOError:
            return None

    def size(self) -> tuple[int, int]:
        """(rows, columns) of a terminal; (0, 0) of anything else."""
        if not self.terminal:
            return 0, 0
        with contextlib.suppress(OSError):  # hung up
            columns, rows = os.get_terminal_size(self.fd)
            return rows, columns
        return 0, 0

    def close(self) -> None:
        """Give the private descriptor back; the host's own stays open."""
        if self._socket is not None:
            self._socket.close()
        elif self.fd >= 0:
            os.close(self.fd)
        self.fd = -1
        self._socket = None
