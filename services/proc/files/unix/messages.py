"""Messages between AF_UNIX sockets: an inbox, and what a message costs its sender (unix(7)).

Pure bookkeeping, in which no task ever waits. Stream sockets read across messages, but not past
one that carries descriptors; the others keep boundaries.
"""

from __future__ import annotations

from collections import deque
from sys import getsizeof
from typing import TYPE_CHECKING

from bus.census import kind
from services.proc.files.anon import scatter, total

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.drivers.ram.api import Extent
    from services.proc.files.unix.endpoint import UnixSocket
    from services.proc.files.unix.rights import Parcel

Sender = tuple[int, int, int]
"""pid, uid, gid: struct ucred."""
MESSAGE = kind("proc", "unix message")
SMALL_BYTES, SMALL_CHARGE = 192, 768
"""What is not longer than this costs that."""


def charge(length_bytes: int, stream: bool) -> int:
    """What a message counts against SO_SNDBUF: the truesize of Linux's socket buffer for it."""
    if length_bytes <= SMALL_BYTES:
        return SMALL_CHARGE
    if stream:
        paged = min((max(length_bytes - 3776, 0) + 4095) & ~4095, length_bytes)
    else:
        paged = (max(length_bytes - 16064, 0) + 4095) & ~4095
    linear = max(length_bytes - paged, 0) + 320
    return max(512, 1 << (linear - 1).bit_length()) + 256 + paged


class Message:
    """What one send put into an inbox; `head` bytes of a stream's are read."""

    __slots__ = ("charged", "data", "head", "parcel", "sender", "source", "stamp_ns")

    def __init__(
        self,
        data: bytes | bytearray,
        charged: int,
        source: UnixSocket,
        sender: Sender | None = None,
        parcel: Parcel | None = None,
    ) -> None:
        MESSAGE.made()
        self.data = data
        MESSAGE.grew(getsizeof(data))
        self.charged = charged
        self.source = source
        """Who sent it: whom it is charged to, and whose name it has."""
        self.sender = sender
        """None where nobody asked for credentials when it was sent."""
        self.parcel = parcel
        self.head = 0
        self.stamp_ns = 0
        """When it was sent (REALTIME), if the receiver had asked for time stamps."""

    def __del__(self) -> None:
        MESSAGE.grew(-getsizeof(self.data))
        MESSAGE.freed()


class Taken:
    """What was taken, or looked at, in one receive."""

    __slots__ = ("count", "final", "finished", "first", "parcel", "truncated")

    def __init__(self, first: Message) -> None:
        self.count = 0
        self.first = first
        self.finished: list[Message] = []
        """Messages that have left the inbox."""
        self.parcel: Parcel | None = None
        self.truncated = False
        self.final = False
        """Behind it is a mark or another sender: do not read on."""


class Inbox(deque[Message]):
    """The messages that a socket has not received yet."""

    def unread(self, all_of_them: bool) -> int:
        """SIOCINQ: bytes to read, or of the first packet only."""
        messages = self if all_of_them else list(self)[:1]
        return sum([len(message.data) - message.head for message in messages])

    def take_packet(self, memory: memoryview, extents: Sequence[Extent], peek: bool) -> Taken:
        """The first message; what has no room is lost. `count` is what was copied."""
        message = self[0]
        taken = Taken(message)
        room, size = total(extents), len(message.data)
        taken.count = min(room, size)
        if taken.count:
            scatter(memory, extents, memoryview(message.data)[: taken.count])
        taken.truncated = size > room
        taken.parcel = message.parcel
        if not peek:
            taken.finished.append(self.popleft())
        return taken

    def take_stream(
        self, memory: memoryview, extents: Sequence[Extent], peek: bool, one_sender: bool
    ) -> Taken:
        """Bytes of as many messages as fit, up to and with one that carries descriptors.

        A peek looks for descriptors further on, even where it has no room for bytes left.
        """
        taken, parts, left = Taken(self[0]), list[memoryview](), total(extents)
        for message in list(self) if len(self) > 1 else (self[0],):
            if one_sender and message.sender != taken.first.sender:
                taken.final = True
                break
            head = message.head
            part = memoryview(message.data)[head : head + left]
            parts.append(part)
            left -= len(part)
            parcel = message.parcel
            if parcel is not None:
                taken.parcel = parcel
            if not peek:
                message.head = head + len(part)
                message.parcel = None
                if message.head == len(message.data):
                    taken.finished.append(self.popleft())
            if parcel is not None:
                taken.final = True
            if taken.final or (not left and not peek):
                break
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        taken.count = len(data)
        if data:
            scatter(memory, extents, data)
        return taken
