"""Loss recovery: when it begins, what it does on each acknowledgement, when it ends.

Phases: OPEN; RECOVERY after fast retransmit (RFC 6675 with SACK, RFC 6582 without); LOSS after a
timeout (RFC 5681 3.1). In all three the scoreboard says what is lost and what is in the pipe, and
`send.push` retransmits what fits under the congestion window. In RECOVERY with SACK the window
follows what arrives (Proportional Rate Reduction, RFC 6937): the rate falls to what the control
wants within a round trip, and however much is found to be lost at once, no burst fills the hole.

If the first acknowledgement after a retransmission echoes a timestamp older than it, the original
had arrived after all (Eifel, RFC 3522): the window is restored (RFC 4015), and if it was reordering
that deceived us, more duplicates are asked for next time. A loss in the tail of a flight, which no
duplicate tells of, is looked for by a probe after two round trips (TLP, RFC 8985 section 7).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.net.tcp import send
from services.net.tcp.limits import MS
from services.net.tcp.scoreboard import DUP_THRESH, MAX_DUP_THRESH
from services.net.tcp.sequence import HALF, MASK
from services.net.tcp.state import LOSS, OPEN, RECOVERY

if TYPE_CHECKING:
    from services.net.tcp.connection import Connection
    from services.net.tcp.segment import Segment


def duplicate(c: Connection, delivered: int) -> None:
    """An acknowledgement that moved nothing, or told of `delivered` bytes beyond a hole."""
    c.duplicates += 1
    board = c.board
    una = c.snd_una
    if c.sack_on:
        board.judge(una, c.mss)
        if c.tail_to and board.highest >= c.tail_to:
            # What a probe sent has arrived, long after all else was sent: that is lost.
            board.lost_to = max(board.lost_to, board.ranges[-1][0])
            c.tail_to = 0
    else:
        board.duplicate_bytes = min(board.duplicate_bytes + c.mss, c.snd_nxt - una)
    if c.phase == OPEN and (board.lost_to > una or c.duplicates >= board.dup_thresh):
        _begin(c)
    if c.phase == RECOVERY and c.sack_on:
        _pace(c, delivered)


def _begin(c: Connection) -> None:
    """Fast retransmit: RFC 6675 section 5, step 4; RFC 6582 section 3.2, step 2."""
    una = c.snd_una
    if not c.sack_on and una < c.recovery_point:
        return  # duplicates of what a timeout has sent again
    board = c.board
    tcp = c.tcp
    _remember(c)
    c.phase = RECOVERY
    c.recovery_point = c.snd_nxt
    c.probing = False
    c.control.on_loss(c.snd_nxt - una, tcp.now_ns)
    c.recovery_flight, c.recovery_delivered, c.recovery_sent = c.snd_nxt - una, 0, 0
    if board.sent_again_to > una:
        c.undo = None
        return  # a loss after the last recovery's point, but found and sent again during it
    end = min(una + c.mss, c.snd_nxt)
    if board.ranges:
        end = min(end, board.ranges[0][0])
    tcp.counters["TCPFastRetrans"] += 1
    board.begin(una, end)
    board.sent_again(una, end, c.snd_nxt)
    send.again(c, una, end)
    send.arm(c, tcp.now_ns + c.rtt.rto)


def _pace(c: Connection, delivered: int) -> None:
    """The window after `delivered` bytes more have left the network: RFC 6937 section 3."""
    control = c.control
    c.recovery_delivered += delivered
    pipe = c.board.pipe(c.snd_una, c.snd_nxt)
    wanted = control.ssthresh
    if pipe > wanted:
        share = -(-c.recovery_delivered * wanted // c.recovery_flight)
        more = share - c.recovery_sent
    else:  # the Slow Start Reduction Bound: catch up, but as slow start does
        most = max(c.recovery_delivered - c.recovery_sent, delivered) + c.mss
        more = min(wanted - pipe, most)
    control.cwnd = pipe + max(more, 0)


def _remember(c: Connection) -> None:
    """What to restore if the loss turns out to be none, and when it was believed."""
    c.undo = None
    if c.stamps_on:
        stamp = (c.tcp.now_ns // MS + c.stamp_offset) & MASK
        c.undo = (c.control.cwnd, c.control.ssthresh, stamp)


def progress(c: Connection, segment: Segment, acked: int, delivered: int, limited: bool) -> None:
    """`acked` bytes more are acknowledged, while something is amiss.

    `delivered`: bytes that have left the network by it. `limited`: the congestion window was in
    use, and may grow.
    """
    board = c.board
    una = c.snd_una
    if c.undo is not None and _was_spurious(c, segment, acked):
        return
    if c.phase == OPEN:
        c.duplicates = 0
        board.duplicate_bytes = 0
        if limited:
            c.control.on_ack(acked, c.tcp.now_ns, c.rtt.srtt)
        if board.ranges:
            board.judge(una, c.mss)
            if board.lost_to > una:
                _begin(c)
    elif una >= c.recovery_point:
        _end(c)
    elif c.phase == RECOVERY:
        if c.sack_on:
            board.judge(una, c.mss)
        else:
            board.duplicate_bytes = max(board.duplicate_bytes - max(acked - c.mss, 0), 0)
            board.sent_again_to = una
            # A partial acknowledgement says that the next segment is missing, too.
            board.lost_to = max(board.lost_to, min(una + c.mss, c.snd_nxt))
    else:
        if board.ranges:
            board.judge(una, c.mss)
        # Not `acked`: a filled hole acknowledges at once what had arrived long before.
        c.control.on_ack(delivered, c.tcp.now_ns, c.rtt.srtt)
    if c.phase == RECOVERY and c.sack_on:
        _pace(c, delivered)


def _end(c: Connection) -> None:
    """All that was in flight when the loss was found is acknowledged."""
    board = c.board
    una = c.snd_una
    if c.phase == RECOVERY and not c.sack_on:
        # RFC 6582 section 3.2, step 3: no burst of what the window would allow now.
        in_flight = c.snd_nxt - una
        c.control.cwnd = min(c.control.ssthresh, max(in_flight, c.mss) + c.mss)
    elif c.phase == RECOVERY:
        c.control.cwnd = c.control.ssthresh
    c.phase = OPEN
    c.undo = None
    c.duplicates = 0
    if not board.ranges:
        board.settle(una)
        return
    board.judge(una, c.mss)
    if board.lost_to > una:
        _begin(c)


def _was_spurious(c: Connection, segment: Segment, acked: int) -> bool:
    """Eifel: whether the acknowledgement is of what was sent first, not of what was sent again."""
    undo, c.undo = c.undo, None
    if undo is None or segment.stamps is None:
        return False
    cwnd, ssthresh, stamp = undo
    if (segment.stamps[1] - stamp) & MASK < HALF:
        return False
    board = c.board
    una = c.snd_una
    if c.phase == RECOVERY:
        span = (max(board.highest, una) - una + acked) // c.mss + 1
        board.dup_thresh = min(max(board.dup_thresh, span), MAX_DUP_THRESH)
        c.tcp.counters["TCPTSReorder"] += 1
    else:
        c.tcp.counters["TCPSpuriousRTOs"] += 1
    c.control.undo(cwnd, ssthresh)
    c.phase = OPEN
    c.duplicates = 0
    board.settle(una)
    return True


def timed_out(c: Connection) -> None:
    """The retransmission timer has expired: everything that is not held is lost (RFC 6675 5.1)."""
    board = c.board
    una = c.snd_una
    if board.ranges and board.ranges[0][0] <= una:
        board.forget()  # the peer went back on a SACK
    if c.phase == OPEN:
        _remember(c)
    elif c.phase == RECOVERY:
        c.undo = None
    board.dup_thresh = DUP_THRESH
    board.duplicate_bytes = 0
    c.duplicates = 0
    c.control.on_timeout(c.snd_nxt - una, c.tcp.now_ns, c.phase != LOSS)
    c.phase = LOSS
    c.recovery_point = c.snd_nxt
    c.timed_to = c.tail_to = 0
    board.begin(una, c.snd_nxt)


def probe_tail(c: Connection) -> None:
    """TLP: new data if there is some, else the last segment again (RFC 8985 7.3)."""
    tcp = c.tcp
    tcp.counters["TCPLossProbes"] += 1
    una, nxt = c.snd_una, c.snd_nxt
    size = min(c.send.end - nxt, c.mss, una + c.snd_wnd - nxt)
    if size > 0:
        c.snd_nxt = nxt + size
        c.tail_again = False
        send.transmit(c, nxt, c.send.slice(nxt, nxt + size), 0)
    else:
        c.tail_again = True
        send.again(c, max(una, nxt - c.mss), nxt)
    c.tail_to = c.snd_nxt


def judge_probe(c: Connection, ack: int, repeated: bool, duplicate: bool) -> None:
    """What a probe sent is acknowledged: was it lost before? Then that was congestion (7.4.2).

    `repeated`: a D-SACK says that the peer had it already; so does a `duplicate` without SACK.
    An acknowledgement just up to it decides nothing: it may be that of the original.
    """
    if not c.tail_again or repeated or duplicate:
        c.tail_to = 0
    elif ack > c.tail_to:
        c.tail_to = 0
        c.tcp.counters["TCPLossProbeRecovery"] += 1
        if c.phase == OPEN:
            c.control.on_loss(c.control.cwnd, c.tcp.now_ns)
