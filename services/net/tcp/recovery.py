"""Loss recovery: when it begins, what it does on each acknowledgement, when it ends.

Phases: OPEN; RECOVERY after fast retransmit (RFC 6675 with SACK, RFC 6582 without); LOSS after a
timeout (RFC 5681 3.1). In all three the scoreboard says what is lost and what is in the pipe, and
`send.push` retransmits what fits under the congestion window.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.net.tcp import send
from services.net.tcp.scoreboard import DUP_THRESH

if TYPE_CHECKING:
    from services.net.tcp.connection import Connection
    from services.net.tcp.segment import Segment

OPEN, RECOVERY, LOSS = 0, 1, 2


def duplicate(c: Connection, fresh: int) -> None:
    """An acknowledgement that moved nothing, or told of `fresh` bytes beyond a hole."""
    c.duplicates += 1
    board = c.board
    if not c.sack_on:
        board.duplicate_bytes = min(board.duplicate_bytes + c.mss, c.snd_nxt - c.snd_una)
    else:
        board.judge(c.mss)
    if c.phase == OPEN and (board.lost_to > c.snd_una or c.duplicates >= DUP_THRESH):
        _begin(c)


def _begin(c: Connection) -> None:
    """Fast retransmit: RFC 6675 section 5, step 4; RFC 6582 section 3.2, step 2."""
    una = c.snd_una
    if not c.sack_on and una < c.recovery_point:
        return  # duplicates of what a timeout has sent again
    board = c.board
    c.phase = RECOVERY
    c.recovery_point = c.snd_nxt
    c.undo = None
    c.control.on_loss(c.snd_nxt - una, c.tcp.now_ns)
    c.tcp.counters["TCPFastRetrans"] += 1
    end = min(una + c.mss, c.snd_nxt)
    if board.ranges:
        end = min(end, board.ranges[0][0])
    board.lost_to = max(board.lost_to, end)
    board.sent_again_to = end
    send.again(c, una, end)
    send.arm(c, c.tcp.now_ns + c.rtt.rto)


def progress(c: Connection, segment: Segment, acked: int, flight: int) -> None:
    """`acked` bytes of `flight` left the scoreboard, while something was amiss."""
    board = c.board
    control = c.control
    if c.phase == OPEN:
        c.duplicates = 0
        board.duplicate_bytes = 0
        control.on_ack(acked, c.tcp.now_ns, c.rtt.srtt)
    elif c.snd_una >= c.recovery_point:
        _end(c)
    elif c.phase == RECOVERY:
        if c.sack_on:
            board.judge(c.mss)
            if board.lost_to <= c.snd_una:
                # A partial acknowledgement says that the next segment is missing, too.
                board.lost_to = min(c.snd_una + c.mss, c.snd_nxt)
        else:
            board.duplicate_bytes = max(board.duplicate_bytes - max(acked - c.mss, 0), 0)
            board.lost_to = min(c.snd_una + c.mss, c.snd_nxt)
            board.sent_again_to = c.snd_una
    else:
        control.on_ack(acked, c.tcp.now_ns, c.rtt.srtt)


def _end(c: Connection) -> None:
    """All that was in flight when the loss was found is acknowledged."""
    board = c.board
    if c.phase == RECOVERY:
        # RFC 6582 section 3.2, step 3: no burst of what the window would allow now.
        in_pipe = board.pipe(c.snd_una, c.snd_nxt)
        c.control.cwnd = min(c.control.ssthresh, max(in_pipe, c.mss) + c.mss)
        if c.sack_on:
            c.control.cwnd = c.control.ssthresh
    c.phase = OPEN
    c.duplicates = 0
    board.duplicate_bytes = 0
    board.lost_to = board.sent_again_to = c.snd_una
    if board.ranges:
        board.judge(c.mss)
        if board.lost_to > c.snd_una:
            _begin(c)


def timed_out(c: Connection) -> None:
    """The retransmission timer has expired: everything that is not held is lost (RFC 6675 5.1)."""
    board = c.board
    una = c.snd_una
    if board.ranges and board.ranges[0][0] <= una:
        board.forget()  # the peer went back on a SACK
    board.duplicate_bytes = 0
    c.duplicates = 0
    c.control.on_timeout(c.snd_nxt - una, c.tcp.now_ns, c.phase != LOSS)
    c.phase = LOSS
    c.recovery_point = c.snd_nxt
    c.timed_to = 0
    c.undo = None
    board.lost_to = c.snd_nxt
    board.sent_again_to = una


def duplicate_received(c: Connection, start: int, end: int) -> None:
    """The peer got something twice (RFC 2883)."""
    c.tcp.counters["TCPDSACKRecv"] += 1
