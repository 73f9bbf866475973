"""Urgent data: one byte out of band, as sockets have it (RFC 6093, tcp(7)).

The urgent pointer stands after the urgent byte (RFC 6093 section 2 describes the two readings;
like all others, the byte before the pointer is taken). The byte is not part of the stream, unless
SO_OOBINLINE, and a read never runs across the place where it stands, the mark. Once the stream was
read beyond the mark, a byte that was not taken is lost.

`urgent_seq` is where the mark stands, -1: there is none. `urgent_byte` is the byte, or what has
become of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.net.tcp import fuse, send

if TYPE_CHECKING:
    from services.net.tcp.byte_queue import Piece
    from services.net.tcp.connection import Connection
    from services.net.tcp.segment import Segment

ABSENT, TAKEN = -1, -2
"""Values of `urgent_byte`: not arrived yet; read by MSG_OOB."""


def write(c: Connection, byte: int) -> bool:
    """Queue an urgent byte; the pointer goes out even if the byte cannot."""
    if c.fused is not None:
        fuse.part(c)
    if c.send_space_bytes <= 0:
        c.starved = True
        return False
    c.send.append(bytes((byte,)))
    c.snd_urgent = c.send.end
    nodelay, c._nodelay = c._nodelay, True
    sent = c.snd_nxt
    send.push(c)
    c._nodelay = nodelay
    if c.snd_nxt == sent:
        send.ack(c)
    return True


def pointed_at(c: Connection, segment: Segment, seq: int) -> None:
    """A segment with URG arrived: where the mark stands, if that is news; perhaps the byte."""
    mark = seq + segment.urgent - 1
    read = _read_to(c)
    if mark >= read and mark >= c.rcv_nxt and mark > c.urgent_seq:
        if c.urgent_seq == read and not c.oob_inline and c.receive.length:
            c.receive.drop(1)  # the reader stands at an older mark: its byte must not turn up
        c.urgent_seq = mark
        c.urgent_byte = ABSENT
        c.changed = True
    if c.urgent_byte == ABSENT and 0 <= c.urgent_seq - seq < len(segment.payload):
        c.urgent_byte = segment.payload[c.urgent_seq - seq]
        c.changed = True


def look(c: Connection) -> None:
    """More data is in order: the byte that a mark announced may be among it."""
    offset = c.urgent_seq - _read_to(c)
    if c.urgent_byte == ABSENT and 0 <= offset < c.receive.length:
        c.urgent_byte = c.receive.peek(1, offset)[0]
        c.changed = True


def _read_to(c: Connection) -> int:
    """The sequence number of the next byte to read."""
    return c.rcv_nxt - c.receive.length - (1 if c.fin_received else 0)


def span(c: Connection) -> tuple[int, int]:
    """What a read may take now: (bytes to skip first, bytes at most)."""
    length = c.receive.length
    offset = c.urgent_seq - _read_to(c)
    if offset == 0 and length and not c.oob_inline:
        return 1, length - 1
    if 0 < offset < length:
        return 0, offset
    return 0, length


def read_stream(c: Connection, limit_bytes: int) -> Piece:
    """`Connection.read` while there is a mark."""
    skip, most = span(c)
    c.receive.drop(skip)
    data = c.receive.take(min(limit_bytes, most))
    passed(c)
    return data


def passed(c: Connection) -> None:
    """After a read: forget the mark if it lies behind."""
    if c.urgent_seq < _read_to(c):
        c.urgent_seq = -1
        c.urgent_byte = ABSENT


def read(c: Connection, peek: bool) -> int:
    """MSG_OOB: take the urgent byte; -1 if there is none."""
    byte = c.urgent_byte
    if c.oob_inline or byte < 0:
        return -1
    if not peek:
        c.urgent_byte = TAKEN
    return byte


def at_mark(c: Connection) -> bool:
    """SIOCATMARK: whether the next byte to read is the urgent one."""
    return c.urgent_seq >= 0 and c.urgent_seq == _read_to(c)
