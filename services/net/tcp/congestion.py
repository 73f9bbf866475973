"""Congestion control: how the window grows and by how much it shrinks.

The window itself, `cwnd`, and the threshold, `ssthresh`, are bytes and belong to the control
object. When there is a loss is decided elsewhere (`recovery.py`); a control only answers
"acknowledged", "lost" and "timed out". NewReno is RFC 5681 and 6582 with byte counting (RFC 3465);
CUBIC, in `cubic.py`, is RFC 9438. Both leave the first slow start by HyStart++ (`hystart.py`).
"""

from __future__ import annotations

from services.net.tcp.hystart import GROWTH_DIVISOR, HyStart
from services.net.tcp.limits import NEVER

INITIAL_SEGMENTS = 10
"""RFC 6928."""


class Control:
    """State common to all; alone, it is NewReno."""

    __slots__ = ("_acked", "_hystart", "cwnd", "mss", "ssthresh")

    name = "reno"

    def __init__(self, mss: int) -> None:
        self.mss = mss
        self.cwnd = INITIAL_SEGMENTS * mss
        self.ssthresh = NEVER
        self._acked = 0  # bytes acknowledged since the window grew last
        self._hystart: HyStart | None = None

    def set_mss(self, mss: int) -> None:
        """The segment size has changed: an untouched window scales with it."""
        if self.cwnd == INITIAL_SEGMENTS * self.mss:
            self.cwnd = INITIAL_SEGMENTS * mss
        self.mss = mss
        self.cwnd = max(self.cwnd, mss)

    def measured(self, ack: int, sent_to: int, rtt_ns: int) -> None:
        """The round trip of one acknowledgement, in the first slow start (`HyStart`)."""
        hystart = self._hystart
        if hystart is None:
            hystart = self._hystart = HyStart()
        if hystart.acknowledged(ack, sent_to, rtt_ns):
            self.ssthresh = self.cwnd
            self._hystart = None

    def slow_start(self, acked: int) -> int:
        """Grow by what was acknowledged, up to the threshold; replies with what is left of it."""
        room = self.ssthresh - self.cwnd
        if room <= 0:
            return acked
        if self._hystart is not None and self._hystart.conservative:
            acked //= GROWTH_DIVISOR
        if acked <= room:
            self.cwnd += acked
            return 0
        self.cwnd += room
        return acked - room

    def on_ack(self, acked: int, now_ns: int, srtt_ns: int) -> None:
        """`acked` new bytes were acknowledged while the window was in full use."""
        if self.cwnd < self.ssthresh:
            acked = self.slow_start(acked)
            if not acked:
                return
        self._acked += acked
        if self._acked >= self.cwnd:
            self._acked -= self.cwnd
            self.cwnd += self.mss

    def reduced(self, flight: int) -> int:
        """The threshold after a loss with so many bytes in flight (RFC 5681, equation 4)."""
        return max(flight >> 1, 2 * self.mss)

    def on_loss(self, flight: int, now_ns: int) -> None:
        """Fast retransmit begins: the window is reduced."""
        self.ssthresh = self.reduced(flight)
        self.cwnd = self.ssthresh
        self._acked = 0
        self._hystart = None

    def on_timeout(self, flight: int, now_ns: int, first: bool) -> None:
        """The retransmission timer has expired; `first`: not already in loss recovery."""
        if first:
            self.ssthresh = self.reduced(flight)
        self.cwnd = self.mss
        self._acked = 0
        self._hystart = None

    def on_idle(self, timeouts: int) -> None:
        """Nothing was sent for so many timeouts: back towards the initial window (RFC 2861)."""
        initial = min(INITIAL_SEGMENTS * self.mss, self.cwnd)
        self.ssthresh = max(self.ssthresh, (self.cwnd >> 1) + (self.cwnd >> 2))
        self.cwnd = max(self.cwnd >> min(timeouts, 32), initial)

    def undo(self, cwnd: int, ssthresh: int) -> None:
        """The loss was none: restore what was before it."""
        self.cwnd = max(self.cwnd, cwnd)
        self.ssthresh = ssthresh
