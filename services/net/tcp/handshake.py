"""Opening: SYN, SYN-ACK, and simultaneous open (RFC 9293 3.5, 3.10.7.3, 3.10.7.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.net.proto.packet import Packet
from services.net.tcp import challenge, ending, expiry, receive, send
from services.net.tcp.limits import MS, NEVER
from services.net.tcp.segment import ACK, FIN, PROTO_TCP, RST, SYN, Segment
from services.net.tcp.sequence import MASK, unwrap
from services.net.tcp.state import ESTABLISHED, SYN_RECV, SYN_SENT

if TYPE_CHECKING:
    from services.net.tcp.connection import Connection

QUICK_ACKS = 16
"""Segments acknowledged at once at the start, while the peer's window is small."""


def scale_for(limit_bytes: int) -> int:
    """The least shift by which a window of this size can be told (RFC 7323 2.3)."""
    scale = 0
    while limit_bytes >> scale > 65535 and scale < 14:
        scale += 1
    return scale


def prepare(c: Connection) -> None:
    """Choose what we offer in our SYN."""
    limits = c.tcp.limits
    c.stamp_offset = c.tcp.stamp_offset(c.local_address, c.remote_address)
    c.scale_on = limits.window_scaling
    if c.scale_on:
        largest = c.receive_limit
        if not c.receive_fixed:
            largest = max(largest, limits.receive_max_bytes)
        c.rcv_scale = scale_for(largest)
    c.stamps_on = limits.timestamps
    c.sack_on = limits.sack
    send.set_path(c)


def start(c: Connection) -> None:
    """Active open: send the SYN."""
    prepare(c)
    c.state = SYN_SENT
    c.snd_nxt = c.iss + 1
    c.tcp.counters["ActiveOpens"] += 1
    send_syn(c, 0)
    send.arm(c, c.tcp.now_ns + c.rtt.rto)


def send_syn(c: Connection, flags: int) -> None:
    """Send SYN, or SYN-ACK: window unscaled, options as they are offered or agreed on."""
    tcp = c.tcp
    window = min(c.receive_limit, 65535)
    if c.state is SYN_RECV:
        c.rcv_adv = max(c.rcv_adv, c.rcv_nxt + window)
    segment = Segment(
        c.local_port,
        c.remote_port,
        c.iss & MASK,
        c.rcv_nxt & MASK if flags else 0,
        SYN | flags,
        window,
        b"",
        send.stamps(c),
        mss=c.mss_announced,
        scale=c.rcv_scale if c.scale_on else None,
        sack_ok=c.sack_on,
    )
    if not flags and segment.stamps is not None:
        segment.stamps = (segment.stamps[0], 0)
    c.acked_to = c.rcv_nxt
    c.sent_ns = tcp.now_ns
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


def agree(c: Connection, segment: Segment) -> None:
    """Take the peer's SYN in: its number, and what both sides offer."""
    c.irs = segment.seq
    c.rcv_nxt = c.acked_to = segment.seq + 1
    c.rcv_adv = c.rcv_nxt + min(c.receive_limit, 65535)
    c.snd_wl1 = segment.seq
    c.snd_wnd = c.max_window = segment.window
    if c.scale_on and segment.scale is not None:
        c.snd_scale = segment.scale
    else:
        c.scale_on = False
        c.rcv_scale = 0
    c.sack_on = c.sack_on and segment.sack_ok
    c.stamps_on = c.stamps_on and segment.stamps is not None
    if segment.stamps is not None:
        c.ts_recent = segment.stamps[0]
        c.ts_recent_ns = c.tcp.now_ns
    default = 536 if len(c.remote_address) == 4 else 1220
    c.peer_mss = max(segment.mss or default, 64)
    send.set_path(c)
    c.rcv_mss = min(c.peer_mss, 536, c.receive_limit)


def in_syn_sent(c: Connection, segment: Segment) -> None:
    """A segment arrives in SYN_SENT (RFC 9293 3.10.7.3)."""
    flags = segment.flags
    tcp = c.tcp
    if flags & ACK:
        ack = unwrap(segment.ack, c.snd_una)
        echoes = segment.stamps is None or not c.stamps_on or _echoes(c, segment.stamps[1])
        if not c.iss < ack <= c.snd_nxt or not echoes:
            if not flags & RST:
                tcp.answer_reset(c.local_address, c.remote_address, segment)
            return
    if flags & RST:
        if flags & ACK:
            ending.was_reset(c)
        return
    if not flags & SYN:
        return
    if not flags & ACK:
        _simultaneous(c, segment)
        return
    agree(c, segment)
    c.snd_una = c.snd_nxt
    _sample(c, segment)
    established(c)
    if segment.payload or flags & FIN:
        receive.after_syn(c, segment)
    if c.state is ESTABLISHED:
        send.ack(c)
        if c.loopback:
            tcp.try_fuse(c)


def _echoes(c: Connection, echo: int) -> bool:
    """Whether a SYN-ACK echoes a timestamp that we can have sent (Linux checks this, too)."""
    now = c.tcp.now_ns // MS + c.stamp_offset
    return ((now - echo) & MASK) <= (c.tcp.now_ns - c.opened_ns) // MS + 1


def _sample(c: Connection, segment: Segment) -> None:
    """The first round trip; by timestamps if our SYN was repeated. Cookies have sent none."""
    now = c.tcp.now_ns
    if c.retransmit_at == NEVER:
        return
    if not c.backoff:
        c.rtt.sample(max(now - c.sent_ns, 1))
    elif c.stamps_on and segment.stamps is not None:
        c.rtt.sample(((now // MS + c.stamp_offset - segment.stamps[1] & MASK) or 1) * MS)


def _simultaneous(c: Connection, segment: Segment) -> None:
    """Both sides have sent SYN (RFC 9293 3.5, figure 7)."""
    agree(c, segment)
    c.state = SYN_RECV
    c.changed = True
    send_syn(c, ACK)
    send.arm(c, c.tcp.now_ns + c.rtt.backed_off(c.backoff))


def established(c: Connection) -> None:
    """The handshake is complete on our side."""
    tcp = c.tcp
    c.state = ESTABLISHED
    c.changed = True
    c.retransmit_at = NEVER
    c.backoff = 0
    c.failing_since_ns = 0
    c.send.rebase(c.snd_una)
    c.small_to = c.snd_una
    c.snd_urgent = c.snd_una
    c.board.settle(c.snd_una)
    c.recovery_point = c.snd_una
    c.quick = QUICK_ACKS
    c.copied_mark = c.rcv_nxt
    c.copied_mark_ns = tcp.now_ns
    tcp.counters["CurrEstab"] += 1
    if c._keepalive:
        expiry.arm_keepalive(c)


def completed(c: Connection, segment: Segment) -> bool:
    """An acceptable segment with ACK arrives in SYN_RECV; False: it ends here."""
    ack = unwrap(segment.ack, c.snd_una)
    tcp = c.tcp
    if c.unanswered:
        return False
    if not c.snd_una < ack <= c.snd_nxt:
        tcp.answer_reset(c.local_address, c.remote_address, segment)
        return False
    listener = c.listener
    if listener is not None and not listener.admit(c, segment):
        return False
    c.snd_una = c.iss + 1
    _sample(c, segment)
    window = segment.window << c.snd_scale
    c.snd_wnd = c.max_window = window
    c.snd_wl1 = unwrap(segment.seq, c.rcv_nxt)
    established(c)
    if listener is not None:
        listener.enter(c)
    return True


def repeated_syn(c: Connection, segment: Segment) -> None:
    """A SYN arrives in SYN_RECV: our SYN-ACK was lost, or somebody guesses."""
    if c.unanswered:
        return
    same = unwrap(segment.seq, c.rcv_nxt) == c.rcv_nxt - 1
    if same and not segment.flags & ACK:
        c.tcp.counters["RetransSegs"] += 1
        send_syn(c, ACK)
    elif same and c.listener is None and unwrap(segment.ack, c.snd_una) == c.snd_nxt:
        # Simultaneous open: the peer's SYN-ACK acknowledges our SYN.
        c.snd_una = c.snd_nxt
        c.snd_wnd = c.max_window = segment.window
        established(c)
        send.ack(c)
    else:
        challenge.answer(c)


def accept_syn(c: Connection) -> None:
    """Answer a SYN at last."""
    if c.unanswered:
        c.unanswered = False
        c.tcp.counters["PassiveOpens"] += 1
        send_syn(c, ACK)
        send.arm(c, c.tcp.now_ns + c.rtt.rto)


def refuse(c: Connection) -> None:
    """Answer a SYN with RST."""
    if c.unanswered:
        c.unanswered = False
        send.refuse(c)
        ending.finish(c, 0)
        c.changed = False
