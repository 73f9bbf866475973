"""Acknowledgements that arrive (RFC 9293 3.10.7.4, fifth; RFC 2018; RFC 5961 section 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.net.tcp import challenge, recovery, send
from services.net.tcp.limits import MS, NEVER
from services.net.tcp.sequence import HALF, MASK, unwrap

if TYPE_CHECKING:
    from services.net.tcp.connection import Connection
    from services.net.tcp.segment import Segment


def take(c: Connection, segment: Segment, seq: int, size: int) -> bool:
    """Take in what a segment acknowledges; False: it is not to be believed, drop all of it."""
    una = c.snd_una
    ack = una + ((segment.ack - una + HALF) & MASK) - HALF
    if ack > c.snd_nxt or ack < una:
        return _outside(c, segment, ack)
    window = segment.window << c.snd_scale
    moved = False
    if window != c.snd_wnd:
        if (
            ack > una
            or seq > c.snd_wl1
            or (seq == c.snd_wl1 and (window > c.snd_wnd or not window))
        ):
            moved = True
            c.snd_wnd = window
            c.snd_wl1 = seq
            if window > c.max_window:
                c.max_window = window
    elif seq > c.snd_wl1:
        c.snd_wl1 = seq
    c.heard_ns = c.tcp.now_ns
    c.keep_probes = 0
    if segment.sacks and c.sack_on:
        fresh, repeated = _take_sacks(c, segment, ack)
    else:
        fresh, repeated = 0, False
    if ack > una:
        _advance(c, segment, ack, fresh)
    elif c.snd_nxt > una:
        if fresh or (not size and not moved and not c.sack_on):
            recovery.duplicate(c, fresh)
    else:
        _probe_answered(c, moved)
    if c.tail_to and ack >= c.tail_to:
        recovery.judge_probe(c, ack, repeated, ack == una and not segment.sacks)
    return True


def _outside(c: Connection, segment: Segment, ack: int) -> bool:
    """What is acknowledged was so already, or was never sent (RFC 5961 section 5)."""
    if ack > c.snd_nxt or ack < c.snd_una - c.max_window:
        challenge.answer(c)
        return False
    if segment.sacks and c.sack_on:
        _take_sacks(c, segment, ack)
    return True


def _probe_answered(c: Connection, moved: bool) -> None:
    """Nothing was in flight: a window update, or the answer to a probe of ours."""
    c.failing_since_ns = 0
    if moved and c.snd_wnd > 0 and c.retransmit_at != NEVER:
        c.backoff = 0
        c.probing_since_ns = 0
        c.retransmit_at = NEVER


def _advance(c: Connection, segment: Segment, ack: int, fresh: int) -> None:
    """New data is acknowledged; `fresh` bytes beyond it are told of for the first time."""
    una = c.snd_una
    acked = ack - una
    flight = c.snd_nxt - una
    now = c.tcp.now_ns
    phase = c.phase
    if c.timed_to and ack >= c.timed_to:
        c.rtt.sample(now - c.timed_at)
        c.timed_to = 0
    elif phase and c.stamps_on and segment.stamps is not None and segment.stamps[1]:
        c.rtt.sample((((now // MS + c.stamp_offset - segment.stamps[1]) & MASK) or 1) * MS)
    c.snd_una = ack
    buffer = c.send
    if ack > buffer.base:
        end = buffer.end
        buffer.drop_to(ack if ack < end else end)
    c.backoff = 0
    c.failing_since_ns = 0
    c.probing_since_ns = 0
    board = c.board
    control = c.control
    # Only a window that was in use may grow (RFC 7661).
    limited = flight + c.mss > control.cwnd or (
        control.cwnd < control.ssthresh and flight << 1 > control.cwnd
    )
    if phase or c.duplicates or board.sacked_bytes:
        held = board.sacked_bytes
        board.advance(ack)
        delivered = acked + fresh - (held - board.sacked_bytes)
        recovery.progress(c, segment, acked, delivered, limited)
    elif limited:
        if control.ssthresh == NEVER and c.stamps_on and segment.stamps is not None:
            rtt_ms = (now // MS + c.stamp_offset - segment.stamps[1]) & MASK
            control.measured(ack, c.snd_nxt, rtt_ms * MS)
        control.on_ack(acked, now, c.rtt.srtt)
    if limited and not c.send_fixed and c.send_limit < control.cwnd << 1:
        send.grow_buffer(c)
    if ack == c.snd_nxt:
        c.retransmit_at = NEVER
    else:
        send.arm_retransmission(c)


def _take_sacks(c: Connection, segment: Segment, ack: int) -> tuple[int, bool]:
    """Take SACK blocks in; replies how many bytes they newly cover, whether one is a D-SACK."""
    board = c.board
    nxt = c.snd_nxt
    una = max(c.snd_una, ack)
    fresh = 0
    repeated = False
    for index, (left, right) in enumerate(segment.sacks):
        start = unwrap(left, una)
        end = unwrap(right, una)
        if not start < end <= nxt:
            continue
        if index == 0 and (end <= ack or _inside_second(segment, start, end, una)):
            repeated = True
            c.repeated_count += 1
            c.tcp.counters["TCPDSACKRecv"] += 1
        elif start > una:  # no receiver would tell of what touches the acknowledgement
            fresh += board.add(start, end)
    return fresh, repeated


def _inside_second(segment: Segment, start: int, end: int, near: int) -> bool:
    """Whether the first block is a D-SACK within the second one (RFC 2883 section 4)."""
    if len(segment.sacks) < 2:
        return False
    left, right = segment.sacks[1]
    return unwrap(left, near) <= start and end <= unwrap(right, near)
