"""Urgent data of AF_UNIX streams (MSG_OOB): one byte with a mark, as Linux has had it since 5.15.

The urgent byte is a message of its own, `StreamSocket.urgent` until it is received with MSG_OOB or
passed over. A receive stops before it, and the next one skips it (without SO_OOBINLINE) or begins
with it. A received urgent byte stays in the inbox, empty, so that receives still stop there.

The order of cases is that of manage_oob() in net/unix/af_unix.c, which programs may rely on.
"""

from __future__ import annotations

from errno import EFAULT, EINVAL
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc.files.anon import scatter, total
from services.proc.files.sockoptions import SO_OOBINLINE
from services.proc.files.unix.messages import Message, Taken

if TYPE_CHECKING:
    from services.drivers.ram.api import Extent
    from services.proc.files.unix.stream import StreamSocket


def unread(message: Message) -> int:
    """Bytes of a message that are not received yet."""
    return len(message.data) - message.head


class Reader:
    """One receive over an inbox that holds a mark: walks it as Linux does."""

    __slots__ = ("_inline", "_peek", "_socket", "at", "finished", "stopped")

    def __init__(self, socket: StreamSocket, peek: bool) -> None:
        self._socket = socket
        self._peek = peek
        self._inline = bool(socket.options.get(SO_OOBINLINE))
        self.at = 0
        """Where in the inbox it is; a peek walks on, else what is behind is gone."""
        self.finished: list[Message] = []
        self.stopped = False
        """It met a mark that it may not pass."""

    def _here(self) -> Message | None:
        inbox = self._socket.inbox
        return inbox[self.at] if self.at < len(inbox) else None

    def remove(self) -> None:
        """The message here leaves the inbox."""
        inbox = self._socket.inbox
        self.finished.append(inbox[self.at])
        del inbox[self.at]

    def step(self) -> None:
        """Go on to the next message: past this one, or without it."""
        if self._peek:
            self.at += 1
        else:
            self.remove()

    def next(self, copied: bool) -> Message | None:
        """The message to read from, or None: at the end, or at a mark where it has to stop."""
        socket = self._socket
        while (message := self._here()) is not None:
            urgent = socket.urgent
            if message is not urgent and unread(message):
                return message
            if not unread(message):
                if copied and (urgent is None or message is urgent):
                    self.stopped = True
                    return None
                self.step()
                continue
            if copied:
                self.stopped = True
                return None
            if self._peek:
                if self._inline:
                    return message
                self.at += 1
                continue
            socket.urgent = None
            if self._inline:
                return message
            self.remove()
        return None


def take_marked(socket: StreamSocket, extents: list[Extent], peek: bool) -> Taken | None:
    """As `Inbox.take_stream`, in an inbox that holds a mark; None if there is nothing to read."""
    reader, parts, left = Reader(socket, peek), list[memoryview](), total(extents)
    taken: Taken | None = None
    while (message := reader.next(bool(parts))) is not None:
        if taken is None:
            taken = Taken(message)
        elif socket.passes and message.sender != taken.first.sender:
            taken.final = True
            break
        part = memoryview(message.data)[message.head : message.head + left]
        parts.append(part)
        left -= len(part)
        parcel = message.parcel
        if parcel is not None:
            taken.parcel = parcel
        if not peek:
            message.head += len(part)
            message.parcel = None
        if peek or not unread(message):
            reader.step()
        if parcel is not None:
            taken.final = True
        if taken.final or (not left and not peek):
            break
    if taken is None:
        for message in reader.finished:
            message.source.freed(message.charged)
        return None
    taken.finished = reader.finished
    taken.final = taken.final or reader.stopped
    data = b"".join(parts)
    taken.count = len(data)
    if data:
        scatter(socket.memory, extents, data)
    return taken


def take_urgent(socket: StreamSocket, extents: list[Extent], peek: bool) -> None:
    """recv(2) with MSG_OOB: one byte; EINVAL where there is none, or it comes in line."""
    message, inbox = socket.urgent, socket.inbox
    if message is None or socket.options.get(SO_OOBINLINE):
        raise PosixError(EINVAL)
    if not extents:
        raise PosixError(EFAULT)
    scatter(socket.memory, extents, bytes(message.data))
    if peek:
        return
    socket.urgent = None
    message.head = 1
    where = inbox.index(message)
    if where and not unread(inbox[where - 1]):
        before = inbox[where - 1]
        del inbox[where - 1]
        before.source.freed(before.charged)


def at_mark(socket: StreamSocket) -> bool:
    """SIOCATMARK: the next receive begins at the mark."""
    inbox, urgent = socket.inbox, socket.urgent
    if not inbox:
        return False
    if inbox[0] is urgent:
        return True
    following = inbox[1] if len(inbox) > 1 else None
    return not unread(inbox[0]) and (urgent is None or following is urgent)


def readable(socket: StreamSocket) -> bool:
    """Whether there are bytes that an ordinary receive gets."""
    inline = bool(socket.options.get(SO_OOBINLINE))
    return any(
        unread(message) and (inline or message is not socket.urgent) for message in socket.inbox
    )
