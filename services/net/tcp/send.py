"""Segments that leave: what may be sent now, and how it is put together.

`push` is the one place that decides: retransmissions first, then new data as the peer's window,
the congestion window, Nagle (RFC 9293 3.7.4, as modified by Minshall: only an unacknowledged
*small* segment holds the next small one back) and silly-window avoidance (3.8.6.2.1) allow.
`transmit` is the one place that makes a segment of a synchronised connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.net.proto.packet import Packet
from services.net.tcp.limits import MS, NEVER, path_mss
from services.net.tcp.segment import (
    ACK,
    FIN,
    PROTO_TCP,
    PSH,
    RST,
    STAMPS_BYTES,
    URG,
    Segment,
)
from services.net.tcp.sequence import MASK
from services.net.tcp.state import (
    CLOSE_WAIT,
    CLOSING,
    ESTABLISHED,
    FIN_WAIT1,
    FIN_WAIT2,
    LAST_ACK,
    RECOVERY,
)

if TYPE_CHECKING:
    from services.net.tcp.connection import Connection

DELAYED_ACK = 40 * MS
_MAX_SEGMENT = 65535 - 60 - 60
"""Payload of the largest datagram, whatever its headers."""


def set_path(c: Connection) -> None:
    """Take the segment size from the path, TCP_MAXSEG, and what the peer announced."""
    path = c.path
    mss = path_mss(path.mtu, c.remote_address)
    if c.max_segment:
        mss = min(mss, c.max_segment)
    c.mss_announced = min(mss, 65535)
    mss = min(mss, c.peer_mss)
    if c.stamps_on:
        mss -= STAMPS_BYTES
    c.mss = max(mss, 8)
    c.gso_bytes_max = _MAX_SEGMENT // c.mss * c.mss if path.gso else c.mss
    c.control.set_mss(c.mss)


def stamps(c: Connection) -> tuple[int, int] | None:
    """The timestamps option of a segment that leaves now; the clock ticks in milliseconds."""
    if c.stamps_on:
        return (c.tcp.now_ns // MS + c.stamp_offset) & MASK, c.ts_recent
    return None


def advertise(c: Connection) -> int:
    """The window field; the right edge moves only by a worthwhile step (RFC 9293 3.8.6.2.2)."""
    nxt = c.rcv_nxt
    adv = c.rcv_adv
    edge = nxt + c.receive_limit - c.receive.length
    if edge > adv:
        gain = edge - adv
        if gain >= c.rcv_mss or gain << 1 >= c.receive_limit:
            adv = edge
    scale = c.rcv_scale
    window = adv - nxt >> scale
    if window > 65535:
        window = 65535
    adv = nxt + (window << scale)
    if adv > c.rcv_adv:
        c.rcv_adv = adv
    return window


def transmit(c: Connection, seq: int, payload: bytes | memoryview, flags: int) -> None:
    """Send one segment with ACK; nothing is left to acknowledge afterwards."""
    tcp = c.tcp
    window = advertise(c)
    rcv_nxt = c.rcv_nxt
    segment = Segment(
        c.local_port,
        c.remote_port,
        seq & MASK,
        rcv_nxt & MASK,
        flags | ACK,
        window,
        payload,
        ((tcp.now_ns // 1_000_000 + c.stamp_offset) & MASK, c.ts_recent) if c.stamps_on else None,
    )
    if len(payload) > c.mss:
        segment.gso_bytes = c.mss
    if c.snd_urgent > c.snd_una and c.snd_urgent > seq:
        segment.flags |= URG
        segment.urgent = min(c.snd_urgent - seq, 65535)
    if c.sack_on and (c.reassembly.runs or c.dsack is not None):
        segment.sacks = _sack_blocks(c, c.mss - len(payload) - 4 >> 3)
    c.acked_to = rcv_nxt
    c.ack_now = False
    c.ack_at = NEVER
    if c.quick:
        c.quick -= 1
    c.segments_out += 1
    tcp.counters["OutSegs"] += 1
    tcp.output(
        Packet(
            PROTO_TCP,
            c.local_address,
            c.remote_address,
            segment,
            c.ttl,
            c.tos,
            c.ifindex,
            c.dont_fragment,
        ),
        c,
    )


def _sack_blocks(c: Connection, room: int) -> tuple[tuple[int, int], ...]:
    """D-SACK first (RFC 2883), then the runs that grew last; no more than fit."""
    room = min(room, 3 if c.stamps_on else 4)
    if room <= 0:
        return ()
    blocks = []
    if c.dsack is not None:
        blocks.append(c.dsack)
        c.dsack = None
    blocks += c.reassembly.blocks(room - len(blocks))
    return tuple([(left & MASK, right & MASK) for left, right in blocks])


def ack(c: Connection) -> None:
    """Send an acknowledgement alone."""
    transmit(c, c.snd_nxt, b"", 0)


def delay_ack(c: Connection) -> None:
    """Acknowledge soon (RFC 9293 3.8.6.3): with data that leaves meanwhile, or alone."""
    if c.ack_at == NEVER:
        at = c.ack_at = c.tcp.now_ns + DELAYED_ACK
        if at < c.alarm_ns:
            c.tcp.timers.arm(c, at)


def arm(c: Connection, at_ns: int) -> None:
    """Set the retransmission deadline."""
    c.retransmit_at = at_ns
    if at_ns < c.alarm_ns:
        c.tcp.timers.arm(c, at_ns)


def arm_retransmission(c: Connection) -> None:
    """Something is in flight: set the deadline of a tail loss probe, or of the timeout.

    A probe comes first if nothing is amiss and none is under way (RFC 8985 7.2); a single segment
    may have its acknowledgement delayed, so it is given longer.
    """
    rtt = c.rtt
    wait = rtt.rto if not c.backoff else rtt.backed_off(c.backoff)
    if c.sack_on and not c.phase and not c.tail_to and not c.board.sacked_bytes and not c.backoff:
        c.probing = True
        pto = rtt.pto
        if c.snd_nxt - c.snd_una <= c.mss:
            pto += 200 * MS
        if pto < wait:
            wait = pto
    else:
        c.probing = False
    at = c.retransmit_at = c.tcp.now_ns + wait
    if at < c.alarm_ns:
        c.tcp.timers.arm(c, at)


def grow_buffer(c: Connection) -> None:
    """Let the send buffer hold two congestion windows, up to the host's limits."""
    tcp = c.tcp
    limits = tcp.limits
    wanted = min(c.control.cwnd << 1, limits.send_max_bytes)
    growth = wanted - c.send_limit
    if growth > 0 and tcp.grown_bytes + growth <= limits.grown_max_bytes:
        tcp.grown_bytes += growth
        c.grown_bytes += growth
        c.send_limit = wanted


def after_read(c: Connection) -> None:
    """The owner has read: open the window if that is worth a segment.

    As Linux: when the window that the peer knows can be doubled at least.
    """
    state = c.state
    if state is not ESTABLISHED and state is not FIN_WAIT1 and state is not FIN_WAIT2:
        return
    limit = c.receive_limit
    if not c.receive_fixed:
        limit = _tune(c)
    known = c.rcv_adv - c.rcv_nxt
    if known << 1 <= limit:
        window = min(limit - c.receive.length, 65535 << c.rcv_scale)
        gain = window - known
        if gain > 0 and gain >= known and (gain >= c.rcv_mss or window << 1 >= limit):
            ack(c)
    elif c.ack_at != NEVER and not c.receive.length and c.rcv_nxt - c.acked_to > c.rcv_mss:
        ack(c)


def _tune(c: Connection) -> int:
    """Let the receive buffer hold twice what is read in a round trip; replies with its size.

    The peer's window doubles each round trip in slow start, and so must ours.
    """
    limit = c.receive_limit
    tcp = c.tcp
    elapsed = tcp.now_ns - c.copied_mark_ns
    if elapsed >= (c.rtt.srtt or 200 * MS):
        read = c.rcv_nxt - c.receive.length
        copied = read - c.copied_mark
        c.copied_mark = read
        c.copied_mark_ns = tcp.now_ns
        if copied << 1 > limit and elapsed < (c.rtt.srtt or 200 * MS) << 2:
            limits = tcp.limits
            wanted = min((copied << 1) + 16 * c.rcv_mss, limits.receive_max_bytes)
            growth = wanted - limit
            if growth > 0 and tcp.grown_bytes + growth <= limits.grown_max_bytes:
                tcp.grown_bytes += growth
                c.grown_bytes += growth
                limit = c.receive_limit = wanted
    return limit


def push(c: Connection, more: bool = False) -> None:
    """Send all that may be sent now, in a state in which data may flow.

    Nothing if fused: a segment from before may still arrive and lead here.
    """
    state = c.state
    if c.fused is not None or (
        state is not ESTABLISHED and state not in (CLOSE_WAIT, FIN_WAIT1, CLOSING, LAST_ACK)
    ):
        return
    board = c.board
    nxt = c.snd_nxt
    una = c.snd_una
    if board.lost_to > una or board.sacked_bytes or board.duplicate_bytes:
        in_pipe = _retransmit(c, board.pipe(una, nxt))
    else:
        in_pipe = nxt - una
    end = c.send.end
    if nxt < end or (c.fin_queued and not c.fin_sent):
        _send_new(c, in_pipe, more)
    if c.snd_nxt > una:
        if c.retransmit_at == NEVER or nxt == una:
            arm_retransmission(c)
    elif c.retransmit_at == NEVER and (end > c.snd_nxt or (c.fin_queued and not c.fin_sent)):
        # Nothing is in flight that could be answered: probe the window, or end the holding.
        arm(c, c.tcp.now_ns + c.rtt.backed_off(c.backoff))


def _send_new(c: Connection, in_pipe: int, more: bool) -> None:
    """New data, and the FIN behind it."""
    mss = c.mss
    largest = c.gso_bytes_max
    if c.reassembly.runs:
        mss -= 4 + 8 * min(len(c.reassembly.runs), 3)  # room for the blocks
        largest = mss
    nxt, end = c.snd_nxt, c.send.end
    now = c.tcp.now_ns
    if not in_pipe and nxt == c.snd_una and now - c.sent_ns > c.rtt.rto:
        c.control.on_idle((now - c.sent_ns) // c.rtt.rto)
    edge = c.snd_una + c.snd_wnd
    room = c.control.cwnd - in_pipe
    while nxt < end:
        size = _size(c, end - nxt, edge - nxt, room, mss, more)
        if not size:
            break
        if size > largest:
            size = largest
        until = nxt + size
        flags = PSH if until == end else 0
        c.snd_nxt = until
        if flags and c.fin_queued and until < edge:
            flags |= FIN
            c.fin_sent = True
            c.snd_nxt = until + 1
        if size % mss:
            c.small_to = until
        if not c.timed_to and not c.phase:
            c.timed_to = until
            c.timed_at = now
        c.sent_ns = now
        c.recovery_sent += size
        transmit(c, nxt, c.send.slice(nxt, until), flags)
        nxt = until
        room -= size
    if c.fin_queued and not c.fin_sent and nxt == end and nxt < edge:
        c.fin_sent = True
        c.snd_nxt = nxt + 1
        transmit(c, nxt, b"", FIN)
    if c.sent_ns == now and now - c.received_ns < DELAYED_ACK:
        c.pingpong = True  # a dialogue: acknowledgements will ride on answers


def _size(c: Connection, waiting: int, window: int, room: int, mss: int, more: bool) -> int:
    """How much may go now: whole segments, or a part of one that has reason to; 0: nothing."""
    size = min(waiting, window, room)
    if size == waiting:
        part = size % mss
        if not part or c.fin_queued:
            return size
        if more or c._cork or not (c._nodelay or c.small_to <= c.snd_una):
            return size - part
        return size
    if size >= mss:
        return size - size % mss
    # Less than a segment: only half of the largest window that there ever was.
    return size if size == window > 0 and size << 1 >= c.max_window else 0


def _retransmit(c: Connection, in_pipe: int) -> int:
    """Send again what is deemed lost, as far as the congestion window allows."""
    board, control = c.board, c.control
    una = c.snd_una
    edge = una + c.snd_wnd
    while True:
        hole = board.next_lost(una, c.mss)
        if hole is None:
            if c.phase == RECOVERY and c.send.end <= c.snd_nxt:
                hole = board.next_suspect(c.mss)
            if hole is None:
                return in_pipe
        start, end = hole
        if (in_pipe and in_pipe + end - start > control.cwnd) or (start > una and start >= edge):
            return in_pipe
        again(c, start, end)
        board.sent_again(start, end, c.snd_nxt)
        in_pipe += end - start


def again(c: Connection, start: int, end: int) -> None:
    """Retransmit what has the sequence numbers `start` up to `end`, the FIN among them."""
    flags = PSH
    until = min(end, c.send.end)
    if end > until:
        flags |= FIN
    c.timed_to = 0
    c.lifetime_retransmits += 1
    c.bytes_retransmitted += until - start
    c.recovery_sent += until - start
    c.tcp.counters["RetransSegs"] += 1
    transmit(c, start, c.send.slice(start, until) if start < until else b"", flags)


def reset(c: Connection) -> None:
    """Send RST for a synchronised connection."""
    tcp = c.tcp
    tcp.counters["OutSegs"] += 1
    tcp.counters["OutRsts"] += 1
    segment = Segment(
        c.local_port,
        c.remote_port,
        c.snd_nxt & MASK,
        c.rcv_nxt & MASK,
        RST | ACK,
        0,
        b"",
        stamps(c),
    )
    tcp.output(
        Packet(PROTO_TCP, c.local_address, c.remote_address, segment, c.ttl, c.tos, c.ifindex), c
    )


def refuse(c: Connection) -> None:
    """Send RST for a SYN that was not answered yet."""
    c.tcp.counters["OutRsts"] += 1
    segment = Segment(c.local_port, c.remote_port, 0, c.rcv_nxt & MASK, RST | ACK, 0)
    c.tcp.send(c.local_address, c.remote_address, segment, c.ifindex)
