"""Segments that arrive for a connection (RFC 9293 3.10.7.4).

The order of checks is the RFC's, with PAWS before them (RFC 7323 5.3) and RFC 5961's answers to
what might be forged. A plain segment in order skips them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.net.tcp import acks, challenge, ending, handshake, send, urgent
from services.net.tcp.limits import NEVER, SECOND
from services.net.tcp.segment import ACK, FIN, PSH, RST, SYN, URG
from services.net.tcp.sequence import HALF, MASK
from services.net.tcp.state import (
    CLOSE,
    ESTABLISHED,
    FIN_WAIT1,
    FIN_WAIT2,
    SYN_RECV,
    SYN_SENT,
)

if TYPE_CHECKING:
    from services.net.tcp.connection import Connection
    from services.net.tcp.segment import Segment

_PLAIN = ~(PSH | ACK)
_PAWS_VALID_NS = 24 * 86400 * SECOND
"""After so long without a segment the peer's clock may have wrapped (RFC 7323 5.5)."""


def arrives(c: Connection, segment: Segment) -> None:  # noqa: C901 (the fast path, in one piece)
    """A segment for a connection that is in the table."""
    c.segments_in += 1
    state = c.state
    if state is SYN_SENT:
        handshake.in_syn_sent(c, segment)
        return
    flags = segment.flags
    rcv_nxt = c.rcv_nxt
    seq = rcv_nxt + ((segment.seq - rcv_nxt + HALF) & MASK) - HALF
    payload = segment.payload
    size = len(payload)
    stamps = segment.stamps
    if (
        seq != rcv_nxt
        or flags & _PLAIN
        or not flags & ACK
        or state is not ESTABLISHED
        or (c.stamps_on and (stamps is None or (stamps[0] - c.ts_recent) & MASK >= HALF))
    ) and not _acceptable(c, segment, seq, size):
        return
    if stamps is not None and c.stamps_on and seq <= c.acked_to and not flags & RST:
        c.ts_recent = stamps[0]
        c.ts_recent_ns = c.tcp.now_ns
    state = c.state
    if state is SYN_RECV:
        if not handshake.completed(c, segment):
            return
        state = c.state
    if not acks.take(c, segment, seq, size):
        return
    if c.snd_una == c.snd_nxt and c.fin_sent and not ending.fin_acknowledged(c):
        return
    if flags & URG:
        urgent.pointed_at(c, segment, seq)
    if size or flags & FIN:
        _take_data(c, seq, payload, size, flags)
    if c.state is CLOSE:
        return
    if c.send.end > c.snd_nxt or c.phase or c.fin_queued or c.board.sacked_bytes:
        send.push(c)
    if c.ack_now:
        send.ack(c)
    if c.starved and c.writable:
        c.starved = False
        c.changed = True
    if c.loopback and c.state is ESTABLISHED and c.fused is None:
        c.tcp.try_fuse(c)


def after_syn(c: Connection, segment: Segment) -> None:
    """Data that came with a SYN-ACK."""
    _take_data(c, c.rcv_nxt, segment.payload, len(segment.payload), segment.flags)


def _acceptable(c: Connection, segment: Segment, seq: int, size: int) -> bool:
    """The checks before the acknowledgement is looked at; answers what has to be answered."""
    flags = segment.flags
    stamps = segment.stamps
    if c.stamps_on and not flags & RST:
        if stamps is None:
            c.tcp.counters["TSMissing"] += 1
            return False  # RFC 7323 3.2
        old = (stamps[0] - c.ts_recent) & MASK >= HALF
        if old and c.tcp.now_ns - c.ts_recent_ns < _PAWS_VALID_NS:
            c.tcp.counters["PAWSEstab"] += 1
            challenge.answer_duplicate(c, seq, size)
            return False
    end = seq + segment.length
    if seq > c.rcv_adv or end < c.acked_to:
        if not flags & RST:
            challenge.answer_duplicate(c, seq, size)
        return False
    if flags & RST:
        _reset(c, segment, seq)
        return False
    if flags & SYN:
        if c.state is SYN_RECV:
            handshake.repeated_syn(c, segment)
        else:
            c.tcp.counters["TCPSYNChallenge"] += 1
            challenge.answer(c)
        return False
    return bool(flags & ACK)


def _reset(c: Connection, segment: Segment, seq: int) -> None:
    """RST within the window: exactly the next number, or a challenge (RFC 5961 section 3)."""
    if seq == c.rcv_nxt:
        ending.was_reset(c)
    else:
        challenge.answer(c)


def _take_data(c: Connection, seq: int, payload: bytes | memoryview, size: int, flags: int) -> None:
    """Payload and FIN: seventh and eighth of the RFC's steps."""
    state = c.state
    if state is not ESTABLISHED and state is not FIN_WAIT1 and state is not FIN_WAIT2:
        if size or flags & FIN:
            # After the peer's FIN there can be only what it has sent before.
            send.ack(c)
        return
    tcp = c.tcp
    c.received_ns = tcp.now_ns
    rcv_nxt = c.rcv_nxt
    if (c.orphan or (c.read_shut and c.fin_queued)) and size and seq + size > rcv_nxt:
        tcp.counters["TCPAbortOnData"] += 1
        ending.refuse_data(c)
        return
    end = seq + size
    if flags & FIN and c.fin_seq < 0 and rcv_nxt <= end <= c.rcv_adv:
        c.fin_seq = end
    edge = c.rcv_adv if c.fin_seq < 0 else min(c.rcv_adv, c.fin_seq)
    if seq == rcv_nxt and end <= edge and not c.reassembly.runs:
        if size:
            c.receive.append(payload)
            c.rcv_nxt = end
            if size > c.rcv_mss:
                c.rcv_mss = min(size, c.mss_announced)
            _schedule_ack(c, size)
            c.changed = True
    elif size:
        _out_of_order(c, seq, payload, end, edge)
    else:
        c.ack_now = True
    if c.urgent_seq >= 0:
        urgent.look(c)
    if c.fin_seq == c.rcv_nxt:
        ending.fin_received(c)
        c.ack_now = True


def _schedule_ack(c: Connection, size: int) -> None:
    """Acknowledge every second full segment at once, others soon (RFC 9293 3.8.6.3)."""
    waiting = c.rcv_nxt - c.acked_to
    if waiting >= c.rcv_mss << 1 or (c.quick and not c.pingpong):
        c.ack_now = True
    elif c.ack_at == NEVER:
        send.delay_ack(c)


def _out_of_order(
    c: Connection, seq: int, payload: bytes | memoryview, end: int, edge: int
) -> None:
    """Data that does not begin at the next byte, or not only: keep what is new of it."""
    rcv_nxt = c.rcv_nxt
    c.ack_now = True
    if end <= rcv_nxt:
        _duplicate(c, seq, end)
        return
    if seq < rcv_nxt:
        _duplicate(c, seq, rcv_nxt)
        payload = payload[rcv_nxt - seq :]
        seq = rcv_nxt
    if end > edge:
        payload = payload[: edge - seq]
        end = edge
    if seq >= end:
        return
    runs = c.reassembly
    if not runs.add(seq, payload, c.receive_limit):
        _duplicate(c, seq, end)
        return
    if seq == rcv_nxt:
        c.rcv_nxt = runs.take(rcv_nxt, c.receive)
        c.changed = True
    else:
        c.out_of_order_count += 1
        c.tcp.counters["TCPOFOQueue"] += 1


def _duplicate(c: Connection, start: int, end: int) -> None:
    """What came was here already: say so (RFC 2883)."""
    if c.sack_on and start < end:
        c.dsack = (start, end)
        c.tcp.counters["TCPDSACKOldSent"] += 1
