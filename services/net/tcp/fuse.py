"""Fused loopback: two connections of one host whose data goes straight across.

Both ends are ESTABLISHED, everything sent has been received, nothing is urgent. From then on
`Connection.write` appends to the other's receive queue and moves both ends' sequence numbers as
if the bytes had been sent and acknowledged. What does not fit there waits in the writer's send
buffer, and `refill` moves it when the reader has made room: so the two hold as many bytes as they
would otherwise. MSG_MORE and TCP_CORK hold a part of a segment back, as usual, for 200 ms.

Everything else (FIN, RST, urgent data) parts them first: the windows are put as an exchange of
segments would have left them, and real segments go on from the same sequence numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.net.tcp import send
from services.net.tcp.limits import MS, NEVER
from services.net.tcp.sequence import MASK
from services.net.tcp.state import ESTABLISHED

if TYPE_CHECKING:
    from services.net.tcp.byte_queue import Piece
    from services.net.tcp.connection import Connection

_HOLD_NS = 200 * MS


def join(one: Connection, other: Connection) -> bool:
    """Fuse them if that changes nothing that anybody can see."""
    if one is other or not (_ready(one, other) and _ready(other, one)):
        return False
    for c, peer in ((one, other), (other, one)):
        c.fused = peer
        c.snd_una = c.snd_nxt
        c.send.drop_to(c.send.end)
        c.board.forget()
        c.board.settle(c.snd_una)
        c.phase = 0
        c.duplicates = 0
        c.backoff = 0
        c.failing_since_ns = 0
        c.timed_to = c.tail_to = 0
        c.undo = None
        c.retransmit_at = c.ack_at = NEVER
        if c.starved:
            c.starved = False
            c.changed = True
    return True


def _ready(c: Connection, peer: Connection) -> bool:
    """Whether everything that one end has sent has arrived at the other, and nothing waits."""
    return (
        c.state is ESTABLISHED
        and c.fused is None
        and not c.fin_queued
        and c.send.end == c.snd_nxt
        and (c.snd_nxt - peer.rcv_nxt) & MASK == 0
        and not c.reassembly.runs
        and c.urgent_seq < 0
        and c.snd_urgent <= c.snd_nxt
        and c.fin_seq < 0
    )


def part(c: Connection) -> None:
    """End it: both ends go on with segments."""
    peer = c.fused
    if peer is None:
        return
    now = c.tcp.now_ns
    for end, other in ((c, peer), (peer, c)):
        end.fused = None
        end.rcv_adv = max(end.rcv_adv, end.rcv_nxt)
        end.acked_to = end.rcv_nxt
        window = send.advertise(end)
        other.snd_wnd = window << end.rcv_scale
        other.snd_wl1 = other.rcv_nxt
        other.max_window = max(other.max_window, other.snd_wnd)
        if end.stamps_on:
            end.ts_recent = (now // MS + other.stamp_offset) & MASK
            end.ts_recent_ns = now
        end.received_ns = end.heard_ns = now
        if end.send.base == end.send.end:
            end.send.rebase(end.snd_nxt)
        end.small_to = end.snd_una
        end.recovery_point = end.snd_una
        end.board.settle(end.snd_una)
        end.snd_urgent = end.snd_una
        end.retransmit_at = NEVER
    for end in (c, peer):
        if end.send.end > end.snd_nxt:
            send.push(end)


def room(c: Connection) -> int:
    """What a writer's peer can take at once beyond the writer's own buffer."""
    peer = c.fused
    if peer is None or c.send.end > c.send.base:
        return 0
    return max(peer.receive_limit - peer.receive.length, 0)


def write(c: Connection, peer: Connection, data: Piece, more: bool) -> int:
    """`Connection.write` where something is held back or does not fit."""
    buffer = c.send
    if buffer.end == buffer.base:
        buffer.rebase(c.snd_nxt)
    size = min(len(data), max(c.send_limit - buffer.end + buffer.base, 0) + room(c))
    short = size < len(data)
    if size:
        if short:
            data = memoryview(data)[:size]
        buffer.append(data if type(data) is bytes else bytes(data))
    refill(c, more)
    if short or not c.writable:
        c.starved = True
    return size


def refill(c: Connection, more: bool = False) -> None:
    """Move what waits in a writer's buffer to its peer's queue, as far as there is room."""
    peer = c.fused
    if peer is None:
        return
    buffer = c.send
    queue = peer.receive
    waiting = buffer.end - buffer.base
    count = min(waiting, peer.receive_limit - queue.length)
    held = count == waiting and (more or c._cork)
    if held:
        count -= count % c.mss
    if count > 0:
        base = buffer.base
        for piece in buffer.pieces(base, base + count):
            queue.append(piece)
        buffer.drop_to(base + count)
        c.snd_nxt = c.snd_una = peer.rcv_nxt = base + count
        waiting -= count
    if waiting and held:
        if c.retransmit_at == NEVER:
            send.arm(c, c.tcp.now_ns + _HOLD_NS)
    else:
        c.retransmit_at = NEVER
    starved, c.starved = c.starved, waiting > 0
    if count > 0:
        peer.on_change()
    if starved and c.writable:
        c.on_change()


def release(c: Connection) -> None:
    """What was held back has waited long enough."""
    cork, c._cork = c._cork, False
    refill(c)
    c._cork = cork
