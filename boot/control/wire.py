"""What goes over a control socket: frames of JSON, each with its length before it.

A frame is four bytes, big-endian, and so many bytes of UTF-8 JSON, which is an object. A client
sends `{"do": COMMAND, ...}` and gets one answer or more: `{"ok": ...}`, `{"error": TEXT}`, or in
a stream `{"part": ...}` before them. A request is small, an answer may be large. Whatever breaks
these rules is a `WireError`, in words.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket

MAX_REQUEST_BYTES = 256 << 10
MAX_ANSWER_BYTES = 64 << 20
_LENGTH = struct.Struct(">I")

Message = dict[str, Any]


class WireError(Exception):
    """The other end does not speak this protocol; says where it went wrong."""


class ControlError(Exception):
    """A command cannot be done: cause and cure in one line."""


def encode(message: Message) -> bytes:
    """The frame of a message."""
    data = json.dumps(message, separators=(",", ":"), ensure_ascii=True).encode()
    return _LENGTH.pack(len(data)) + data


def decode(data: bytes) -> Message:
    """The message of a frame's content."""
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):
        raise WireError("a frame that is no JSON") from None
    if not isinstance(message, dict):
        raise WireError("a frame that is no JSON object")
    return message


def receive(connection: socket.socket, most_bytes: int) -> Message | None:
    """The next message; None at the end. WireError; TimeoutError as the socket is set."""
    head = _exactly(connection, _LENGTH.size, at_start=True)
    if head is None:
        return None
    (length,) = _LENGTH.unpack(head)
    if length > most_bytes:
        raise WireError(f"a frame of {length:,} bytes, where {most_bytes:,} are the most")
    data = _exactly(connection, length)
    assert data is not None
    return decode(data)


def _exactly(connection: socket.socket, count: int, at_start: bool = False) -> bytes | None:
    pieces, left = [], count
    while left:
        piece = connection.recv(min(left, 1 << 16))
        if not piece:
            if at_start and left == count:
                return None
            raise WireError("a frame that ends early")
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)
