"""Messages between AF_UNIX sockets: an inbox, and what a message costs its sender (unix(7)).

Pure bookkeeping, in which no task ever waits. Stream sockets read across messages, but not past
one that carries descriptors; the others keep boundaries. Descriptors in flight are holders of
their files until they are received or dropped.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from services.proc.files.anon import scatter, total

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.drivers.ram.api import Extent
    from services.proc.descriptors import OpenFile

MSG_PEEK, MSG_TRUNC = 2, 0x20

Sender = tuple[int, int, int]
"""pid, uid, gid: struct ucred."""


def charge(length_bytes: int, stream: bool) -> int:
    """What a message counts against SO_SNDBUF: the truesize of Linux's socket buffer for it."""
    if length_bytes <= 192:
        return 768
    if stream:
        paged = min((max(length_bytes - 3776, 0) + 4095) & ~4095, length_bytes)
    else:
        paged = (max(length_bytes - 16064, 0) + 4095) & ~4095
    linear = max(length_bytes - paged, 0) + 320
    return max(512, 1 << (linear - 1).bit_length()) + 256 + paged


class Message:
    """What one send put into the peer's inbox; `head` bytes of a stream's are read."""

    __slots__ = ("charged", "data", "files", "head", "sender")

    def __init__(
        self, data: bytes | bytearray, charged: int, sender: Sender, files: list[OpenFile]
    ) -> None:
        self.data = data
        self.charged = charged
        self.sender = sender
        self.files = files
        self.head = 0


class Received:
    """What a receive brought beside the bytes in the buffer."""

    __slots__ = ("count", "files", "freed", "sender", "truncated")

    def __init__(self, count: int) -> None:
        self.count = count
        self.freed = 0
        """Charged bytes that the sender has back."""
        self.truncated = False
        self.files: list[OpenFile] = []
        """Each with a holder that is now the receiver's."""
        self.sender: Sender | None = None

    def take_files(self, message: Message, peek: bool) -> None:
        """The message's descriptors; copies of them where it only peeks."""
        self.files += message.files
        if peek:
            for file in message.files:
                file.holders += 1
        else:
            message.files = []


class Inbox(deque[Message]):
    """The messages that a socket has not received yet."""

    def unread(self, stream: bool) -> int:
        """SIOCINQ: bytes to read; of the first packet only."""
        messages = self if stream else list(self)[:1]
        return sum([len(message.data) - message.head for message in messages])

    def take_packet(self, memory: memoryview, extents: Sequence[Extent], flags: int) -> Received:
        """The first message; what has no room is lost."""
        message = self[0]
        room, size = total(extents), len(message.data)
        count = min(room, size)
        if count:
            scatter(memory, extents, memoryview(message.data)[:count])
        received = Received(size if flags & MSG_TRUNC else count)
        received.truncated = size > room
        received.sender = message.sender
        peek = bool(flags & MSG_PEEK)
        if message.files:
            received.take_files(message, peek)
        if not peek:
            self.popleft()
            received.freed = message.charged
        return received

    def take_stream(
        self, memory: memoryview, extents: Sequence[Extent], peek: bool, one_sender: bool
    ) -> Received:
        """Bytes of as many messages as fit, up to and with one that carries descriptors."""
        received, parts, left = Received(0), list[memoryview](), total(extents)
        for message in list(self) if len(self) > 1 else (self[0],):
            if received.sender is None:
                received.sender = message.sender
            elif one_sender and message.sender != received.sender:
                break
            head = message.head
            part = memoryview(message.data)[head : head + left]
            parts.append(part)
            left -= len(part)
            carried = bool(message.files)
            if carried:
                received.take_files(message, peek)
            if not peek:
                message.head = head + len(part)
                if message.head == len(message.data):
                    self.popleft()
                    received.freed += message.charged
            if carried or not left:
                break
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        received.count = len(data)
        if data:
            scatter(memory, extents, data)
        return received
