"""Acknowledgements that arrive (RFC 9293 3.10.7.4, fifth; RFC 2018; RFC 5961 section 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.net.tcp import challenge, recovery
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
        if ack > c.snd_nxt or ack < una - c.max_window:
            challenge.answer(c)
            return False
        if segment.sacks and c.sack_on:
            _take_sacks(c, segment, ack)
        return True
    window = segment.window << c.snd_scale
    opened = False
    if window != c.snd_wnd:
        if ack > una or seq > c.snd_wl1 or (seq == c.snd_wl1 and window > c.snd_wnd):
            opened = True
            c.snd_wnd = window
            c.snd_wl1 = seq
            if window > c.max_window:
                c.max_window = window
    elif seq > c.snd_wl1:
        c.snd_wl1 = seq
    c.heard_ns = c.tcp.now_ns
    c.keep_probes = 0
    fresh = _take_sacks(c, segment, ack) if segment.sacks and c.sack_on else 0
    if ack > una:
        _advance(c, segment, ack)
    elif c.snd_nxt > una:
        if fresh or (not size and not opened and not c.sack_on):
            recovery.duplicate(c, fresh)
    else:
        c.backoff = 0  # an answer to a probe
        if opened and c.retransmit_at != NEVER:
            c.retransmit_at = NEVER
    return True


def _advance(c: Connection, segment: Segment, ack: int) -> None:
    """New data is acknowledged."""
    una = c.snd_una
    nxt = c.snd_nxt
    acked = ack - una
    flight = nxt - una
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
    c.probing = False
    board = c.board
    if phase or c.duplicates or board.sacked_bytes:
        board.advance(ack)
        recovery.progress(c, segment, acked, flight)
    elif flight + c.mss > c.control.cwnd or (
        c.control.cwnd < c.control.ssthresh and flight << 1 > c.control.cwnd
    ):
        # Only a window that was in use may grow (RFC 7661).
        c.control.on_ack(acked, now, c.rtt.srtt)
        if not c.send_fixed and c.send_limit < c.control.cwnd << 1:
            c.send_limit = min(c.control.cwnd << 1, max(c.tcp.limits.send_max_bytes, c.send_limit))
    if ack == nxt:
        c.retransmit_at = NEVER
    else:
        at = c.retransmit_at = now + c.rtt.rto
        if at < c.alarm_ns:
            c.tcp.timers.arm(c, at)


def _take_sacks(c: Connection, segment: Segment, ack: int) -> int:
    """Take SACK blocks into the scoreboard; replies with how many bytes they newly cover."""
    board = c.board
    nxt = c.snd_nxt
    una = max(c.snd_una, ack)
    fresh = 0
    for index, (left, right) in enumerate(segment.sacks):
        start = unwrap(left, una)
        end = unwrap(right, una)
        if start < end <= nxt:
            if index == 0 and (end <= ack or _inside_second(segment, start, end, una)):
                recovery.duplicate_received(c, start, end)
            elif start > una:
                fresh += board.add(start, end)
            elif end > una:
                continue  # overlaps the acknowledgement: no receiver of ours would say so
    return fresh


def _inside_second(segment: Segment, start: int, end: int, near: int) -> bool:
    """Whether the first block is a D-SACK within the second one (RFC 2883 section 4)."""
    if len(segment.sacks) < 2:
        return False
    left, right = segment.sacks[1]
    return unwrap(left, near) <= start and end <= unwrap(right, near)
