"""Closing: FIN, RST, the orphan's last states, TIME_WAIT (RFC 9293 3.6, 3.10.4, 3.10.5)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from services.net.tcp import fuse, send
from services.net.tcp.limits import NEVER
from services.net.tcp.state import (
    CLOSE,
    CLOSE_WAIT,
    CLOSING,
    ESTABLISHED,
    FIN_WAIT1,
    FIN_WAIT2,
    LAST_ACK,
    SYN_RECV,
    SYN_SENT,
)
from services.net.tcp.timewait import TimeWait

if TYPE_CHECKING:
    from services.net.tcp.connection import Connection


def finish(c: Connection, error: int) -> None:
    """The connection is over: it leaves the table; `error` is told to the owner if not 0."""
    tcp = c.tcp
    state = c.state
    if state is CLOSE:
        return
    if c.fused is not None:
        fuse.part(c)
    if state is ESTABLISHED or state is CLOSE_WAIT:
        tcp.counters["CurrEstab"] -= 1
    if c.orphan:
        tcp.orphans -= 1
    c.state = CLOSE
    c.changed = True
    if error:
        c.error = error
    if tcp.connections.get(c.key) is c:
        del tcp.connections[c.key]
    if c.listener is not None:
        c.listener.lost(c)
    tcp.grown_bytes -= c.grown_bytes
    c.grown_bytes = 0
    tcp.timers.forget(c)
    c.retransmit_at = c.ack_at = c.keep_at = NEVER
    c.send.drop_to(c.send.end)
    c.reassembly.clear()
    c.board.forget()


def was_reset(c: Connection) -> None:
    """A believable RST has arrived."""
    tcp = c.tcp
    state = c.state
    if state is SYN_SENT:
        error = errno.ECONNREFUSED
        tcp.counters["AttemptFails"] += 1
    elif state is CLOSE_WAIT:
        error = errno.EPIPE
        tcp.counters["EstabResets"] += 1
    else:
        error = errno.ECONNRESET
        if state is ESTABLISHED:
            tcp.counters["EstabResets"] += 1
        elif state is SYN_RECV:
            tcp.counters["AttemptFails"] += 1
            error = errno.ECONNREFUSED if c.listener is None else errno.ECONNRESET
    finish(c, error)


def shutdown_write(c: Connection) -> None:
    """Queue a FIN behind what was written."""
    state = c.state
    if state is ESTABLISHED:
        _queue_fin(c, FIN_WAIT1)
    elif state is CLOSE_WAIT:
        _queue_fin(c, LAST_ACK)


def _queue_fin(c: Connection, state: object) -> None:
    if c.fused is not None:
        fuse.part(c)
    c.tcp.counters["CurrEstab"] -= 1
    c.fin_queued = True
    c.state = FIN_WAIT1 if state is FIN_WAIT1 else LAST_ACK
    send.push(c)


def close(c: Connection) -> None:
    """The owner will not read or write any more. `on_change` goes on, for SO_LINGER."""
    state = c.state
    tcp = c.tcp
    if state is CLOSE or c.orphan:
        return
    if state is SYN_SENT:
        finish(c, 0)
        c.changed = False
        return
    if c.unanswered:
        c.refuse()
        return
    if state is SYN_RECV:
        abort(c)
        return
    if c.receive.length:
        tcp.counters["TCPAbortOnClose"] += 1
        abort(c)
        return
    if tcp.orphans >= tcp.limits.max_orphans:
        tcp.counters["TCPAbortOnMemory"] += 1
        abort(c)
        return
    c.orphan = True
    tcp.orphans += 1
    shutdown_write(c)
    if c.state is FIN_WAIT2:
        await_fin(c)


def abort(c: Connection) -> None:
    """End at once: RST, unless the peer has no state that it would end."""
    state = c.state
    if state is CLOSE:
        return
    if c.unanswered:
        c.refuse()
        return
    if c.fused is not None:
        fuse.part(c)
    if state is not SYN_SENT and (state not in (LAST_ACK, CLOSING) or c.send.end > c.snd_nxt):
        send.reset(c)
    finish(c, 0 if c.orphan else errno.ECONNABORTED)
    c.changed = False


def refuse_data(c: Connection) -> None:
    """Data came that nobody will read: RST, and the end (RFC 2525 2.17)."""
    send.reset(c)
    finish(c, errno.ECONNRESET)


def fin_received(c: Connection) -> None:
    """The peer's FIN is next in order."""
    c.rcv_nxt += 1
    if c.rcv_adv < c.rcv_nxt:
        c.rcv_adv = c.rcv_nxt
    c.fin_received = True
    c.changed = True
    c.pingpong = False
    c.reassembly.clear()
    state = c.state
    if state is ESTABLISHED or state is SYN_RECV:
        c.state = CLOSE_WAIT
    elif state is FIN_WAIT1:
        c.state = CLOSING
    elif state is FIN_WAIT2:
        send.ack(c)
        time_wait(c)


def fin_acknowledged(c: Connection) -> bool:
    """Everything up to our FIN is acknowledged; False: the connection is over."""
    state = c.state
    if state is FIN_WAIT1:
        c.state = FIN_WAIT2
        c.changed = True
        if c.orphan:
            await_fin(c)
            return c.state is FIN_WAIT2
    elif state is CLOSING:
        time_wait(c)
        return False
    elif state is LAST_ACK:
        finish(c, 0)
        return False
    return True


def await_fin(c: Connection) -> None:
    """FIN_WAIT2 without an owner lasts only so long (TCP_LINGER2, tcp_fin_timeout)."""
    if c.linger2_ns < 0:
        c.tcp.counters["TCPAbortOnLinger"] += 1
        abort(c)
        return
    at = c.keep_at = c.tcp.now_ns + (c.linger2_ns or c.tcp.limits.time_wait_ns)
    if at < c.alarm_ns:
        c.tcp.timers.arm(c, at)


def time_wait(c: Connection) -> None:
    """Both FINs are acknowledged: a small record stays in our place for 2 MSL."""
    tcp = c.tcp
    record = TimeWait(c)
    finish(c, 0)
    tcp.time_waits.enter(record)
