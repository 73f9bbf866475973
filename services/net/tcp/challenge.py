"""Challenge ACKs: the answer to segments that may be blind attacks (RFC 5961).

A peer that has really lost the connection answers one with a RST that fits. They are limited per
connection (Linux: tcp_invalid_ratelimit) and for the host; the host's limit varies by chance from
second to second, or it would tell an attacker whether his guesses hit (CVE-2016-5696).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.net.tcp import send
from services.net.tcp.limits import SECOND

if TYPE_CHECKING:
    from services.net.tcp.connection import Connection
    from services.net.tcp.table import Tcp


class Allowance:
    """How many challenge ACKs the host may still send in this second."""

    __slots__ = ("_left", "_second")

    def __init__(self) -> None:
        self._second = -1
        self._left = 0

    def take(self, tcp: Tcp) -> bool:
        """Whether one more may go."""
        second = tcp.now_ns // SECOND
        if second != self._second:
            self._second = second
            limit = tcp.limits.challenge_acks_per_second
            half = (limit + 1) >> 1
            self._left = half + int.from_bytes(tcp.random(4), "big") % max(limit, 1)
        if self._left <= 0:
            return False
        self._left -= 1
        return True


def answer(c: Connection) -> None:
    """Tell the peer where we are, unless it was told a moment ago."""
    tcp = c.tcp
    now = tcp.now_ns
    if now - c.invalid_ns < tcp.limits.invalid_interval_ns:
        return
    if tcp.allowance.take(tcp):
        c.invalid_ns = now
        tcp.counters["TCPChallengeACK"] += 1
        send.ack(c)


def answer_duplicate(c: Connection, seq: int, size: int) -> None:
    """Answer a segment outside the window (RFC 9293 3.10.7.4, first); without data, not often."""
    now = c.tcp.now_ns
    if not size:
        if now - c.invalid_ns < c.tcp.limits.invalid_interval_ns:
            return
        c.invalid_ns = now
    elif c.sack_on and seq < c.rcv_nxt:
        c.dsack = (seq, min(seq + size, c.rcv_nxt))
    send.ack(c)
