"""Urgent data: one byte out of band, as sockets have it (RFC 6093, tcp(7)).

The urgent pointer stands after the urgent byte (RFC 6093 section 2 describes the two readings;
like Linux and all others, the byte before the pointer is taken). The byte is taken out of the
stream, unless SO_OOBINLINE, and a read never runs across the place where it stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.net.tcp import fuse, send

if TYPE_CHECKING:
    from services.net.tcp.connection import Connection
    from services.net.tcp.segment import Segment


def write(c: Connection, byte: int) -> bool:
    """Queue an urgent byte; the pointer goes out even if the window is closed."""
    if c.fused is not None:
        fuse.part(c)
    if c.send_space_bytes <= 0:
        return False
    c.send.append(bytes((byte,)))
    c.snd_urgent = c.send.end
    before = c.acked_to, c.snd_nxt
    nodelay, c._nodelay = c._nodelay, True
    send.push(c)
    c._nodelay = nodelay
    if (c.acked_to, c.snd_nxt) == before and c.snd_nxt < c.snd_urgent:
        send.ack(c)
    return True


def pointed_at(c: Connection, segment: Segment, seq: int) -> None:
    """A segment with URG arrived."""
    place = seq + segment.urgent - 1
    if place < _next_to_read(c) or place < c.rcv_nxt:
        return
    if c.urgent_seq >= 0 and place <= c.urgent_seq:
        return
    if c.urgent_seq >= 0 and c.urgent_byte >= 0 and not c.oob_inline:
        pass  # the older byte was not taken: it stays in the stream, as in Linux
    c.urgent_seq = place
    c.urgent_byte = -1
    c.changed = True


def _next_to_read(c: Connection) -> int:
    return c.rcv_nxt - c.receive.length - (1 if c.fin_received else 0)


def look(c: Connection) -> None:
    """Data has arrived: the urgent byte may be among it."""
    offset = c.urgent_seq - _next_to_read(c)
    if c.urgent_byte == -1 and 0 <= offset < c.receive.length:
        c.urgent_byte = c.receive.peek(offset + 1)[offset]
        c.changed = True


def limit(c: Connection, limit_bytes: int) -> int:
    """How many bytes a read may take: up to the mark; the byte at the mark is skipped."""
    offset = c.urgent_seq - _next_to_read(c)
    if offset == 0 and c.receive.length:
        if not c.oob_inline:
            c.receive.drop(1)
        if c.urgent_byte == -2 or c.oob_inline:
            c.urgent_byte = -1
            c.urgent_seq = -1
        elif not c.oob_inline:
            c.urgent_seq = _next_to_read(c) - 1
        return limit_bytes
    if 0 < offset < limit_bytes:
        return offset
    return limit_bytes


def readable(c: Connection) -> int:
    """Bytes to read, less the urgent one out of line."""
    length = c.receive.length
    offset = c.urgent_seq - _next_to_read(c)
    if not c.oob_inline and 0 <= offset < length:
        length -= 1
    return length


def read(c: Connection, peek: bool) -> int:
    """Take the urgent byte."""
    byte = c.urgent_byte
    if c.oob_inline or byte < 0:
        return -1
    if not peek:
        c.urgent_byte = -2
        if c.urgent_seq < _next_to_read(c):
            c.urgent_seq = -1
            c.urgent_byte = -1
    return byte


def at_mark(c: Connection) -> bool:
    """Whether the next byte to read is the urgent one."""
    return c.urgent_seq >= 0 and c.urgent_seq == _next_to_read(c)
