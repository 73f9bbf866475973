"""What a connection does when one of its deadlines has passed.

`retransmit_at` serves the SYN, retransmission, and the zero-window probe (they exclude each other,
RFC 9293 3.8.1 and 3.8.6.1); `ack_at` the delayed acknowledgement; `keep_at` keepalive (3.8.4), and
the end of an orphan's FIN_WAIT2.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from services.net.tcp import ending, fuse, handshake, recovery, send
from services.net.tcp.limits import NEVER
from services.net.tcp.rtt import MAX_RTO
from services.net.tcp.segment import ACK
from services.net.tcp.state import CLOSE, FIN_WAIT2, SYN_RECV, SYN_SENT

if TYPE_CHECKING:
    from services.net.tcp.connection import Connection


def wake(c: Connection, now_ns: int) -> int:
    """Do what is due; replies with the next deadline."""
    if c.ack_at <= now_ns:
        c.ack_at = NEVER
        if c.fused is None and c.rcv_nxt > c.acked_to:
            c.tcp.counters["DelayedACKs"] += 1
            c.pingpong = False
            send.ack(c)
    if c.retransmit_at <= now_ns:
        c.retransmit_at = NEVER
        _retransmission(c, now_ns)
    if c.keep_at <= now_ns:
        c.keep_at = NEVER
        _keep(c, now_ns)
    if c.changed:
        c.changed = False
        c.on_change()
    return min(c.retransmit_at, c.ack_at, c.keep_at)


def _retransmission(c: Connection, now_ns: int) -> None:
    state = c.state
    if state is CLOSE:
        return
    if state is SYN_SENT or state is SYN_RECV:
        _repeat_syn(c, now_ns)
    elif c.fused is not None:
        fuse.release(c)
    elif c.snd_nxt > c.snd_una:
        _timeout(c, now_ns)
    elif c.send.end > c.snd_nxt or (c.fin_queued and not c.fin_sent):
        _probe(c, now_ns)


def _repeat_syn(c: Connection, now_ns: int) -> None:
    """SYN or SYN-ACK again, or give up."""
    tcp = c.tcp
    passive = c.state is SYN_RECV
    limit = tcp.limits.syn_ack_retries if passive else c.syn_retries
    timeout = c.user_timeout_ns
    if c.backoff >= limit or (timeout and now_ns - c.opened_ns >= timeout):
        tcp.counters["AttemptFails"] += 1
        tcp.counters["TCPAbortOnTimeout"] += 1
        ending.finish(c, c.soft_error or errno.ETIMEDOUT)
        return
    c.backoff += 1
    tcp.counters["RetransSegs"] += 1
    handshake.send_syn(c, ACK if passive else 0)
    send.arm(c, now_ns + c.rtt.backed_off(c.backoff))


def _given_up(c: Connection, now_ns: int) -> bool:
    """Whether the peer has been silent for too long; the connection is over then.

    The time counts from the first call; an answer sets it back (`acks`).
    """
    if not c.failing_since_ns:
        c.failing_since_ns = max(now_ns - c.rtt.rto, 1)
    limit = c.user_timeout_ns or c.tcp.limits.retry_limit_ns
    if c.orphan:
        limit = min(limit, c.tcp.limits.orphan_limit_ns)
    if now_ns - c.failing_since_ns < limit:
        return False
    if not c.snd_wnd and now_ns - c.heard_ns < MAX_RTO and not c.user_timeout_ns:
        return False  # it has shrunk its window to nothing, but it lives
    _give_up(c)
    return True


def _give_up(c: Connection) -> None:
    c.tcp.counters["TCPAbortOnTimeout"] += 1
    if c.orphan:
        send.reset(c)
    ending.finish(c, c.soft_error or errno.ETIMEDOUT)


def _timeout(c: Connection, now_ns: int) -> None:
    """The oldest segment in flight was not acknowledged in time (RFC 6298 5.4 to 5.7)."""
    if c.probing:
        c.probing = False
        recovery.probe_tail(c)
        send.arm(c, now_ns + c.rtt.rto)
        return
    if _given_up(c, now_ns):
        return
    c.tcp.counters["TCPTimeouts"] += 1
    c.backoff += 1
    recovery.timed_out(c)
    send.push(c)
    send.arm(c, now_ns + c.rtt.backed_off(c.backoff))


def _probe(c: Connection, now_ns: int) -> None:
    """Nothing is in flight but something waits: the window is closed, or it was held back.

    If the window has room for anything, a part goes, whatever Nagle or cork say. Else a segment
    that the peer must answer. While it answers, it may stay closed forever (RFC 9293 3.8.6.1),
    unless the owner is gone or has set a limit.
    """
    nxt = c.snd_nxt
    size = min(c.snd_una + c.snd_wnd, c.send.end) - nxt
    if size > 0:
        size = min(size, c.mss)
        c.snd_nxt = nxt + size
        if size < c.mss:
            c.small_to = c.snd_nxt
        c.sent_ns = now_ns
        send.transmit(c, nxt, c.send.slice(nxt, nxt + size), 0)
        send.push(c)
        return
    if c.snd_wnd and nxt == c.send.end:
        send.push(c)
        return
    if not c.probing_since_ns:
        c.probing_since_ns = now_ns
    waited = now_ns - c.probing_since_ns
    timeout = c.user_timeout_ns
    exhausted = c.orphan and c.rtt.backed_off(c.backoff) >= MAX_RTO
    if exhausted or (timeout and waited >= timeout):
        _give_up(c)
        return
    if c.backoff and _given_up(c, now_ns):
        return
    c.backoff = min(c.backoff + 1, 16)
    c.sent_ns = now_ns
    probe(c)
    send.arm(c, now_ns + c.rtt.backed_off(c.backoff))


def probe(c: Connection) -> None:
    """A segment before the window, which the peer must answer (RFC 9293 3.8.4)."""
    c.tcp.counters["TCPWinProbe"] += 1
    send.transmit(c, c.snd_una - 1, b"", 0)


def arm_keepalive(c: Connection) -> None:
    """The option, or its times, have changed."""
    if c.orphan or c.state in (CLOSE, SYN_SENT, SYN_RECV):
        return
    if not c._keepalive:
        c.keep_at = NEVER
        return
    c.keep_probes = 0
    at = c.keep_at = max(c.heard_ns + c._keep_idle_ns, c.tcp.now_ns + 1)
    if at < c.alarm_ns:
        c.tcp.timers.arm(c, at)


def _keep(c: Connection, now_ns: int) -> None:
    """Keepalive, or FIN_WAIT2 has lasted long enough."""
    if c.state is CLOSE:
        return
    if c.orphan and c.state is FIN_WAIT2:
        ending.finish(c, 0)
        return
    if not c._keepalive:
        return
    idle = now_ns - c.heard_ns
    if c.fused is not None or c.snd_nxt > c.snd_una or c.send.end > c.snd_nxt:
        # The peer is on this machine and there; or data in flight is probe enough.
        c.keep_at = now_ns + c._keep_idle_ns
        return
    if idle < c._keep_idle_ns:
        c.keep_at = c.heard_ns + c._keep_idle_ns
        return
    timeout = c.user_timeout_ns
    if c.keep_probes and (idle >= timeout if timeout else c.keep_probes >= c.keep_count):
        c.tcp.counters["TCPAbortOnTimeout"] += 1
        send.reset(c)
        ending.finish(c, c.soft_error or errno.ETIMEDOUT)
        return
    c.keep_probes += 1
    c.tcp.counters["TCPKeepAlive"] += 1
    probe(c)
    c.keep_at = now_ns + c.keep_interval_ns
