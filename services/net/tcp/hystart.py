"""HyStart++ (RFC 9406): leaves the first slow start before a queue overflows.

Slow start doubles the window each round trip, so by the time the first loss tells of it, a whole
window too much is on its way. A queue that fills tells earlier, by round trips that grow. Then the
window grows by a quarter only, for a few rounds (Conservative Slow Start); if the round trips do
not shrink again meanwhile, congestion avoidance begins.
"""

from __future__ import annotations

from services.net.tcp.limits import MS, NEVER

MIN_THRESH, MAX_THRESH = 4 * MS, 16 * MS
MIN_DIVISOR, SAMPLES, GROWTH_DIVISOR, CSS_ROUNDS = 8, 8, 4, 5
"""MIN_RTT_DIVISOR, N_RTT_SAMPLE, CSS_GROWTH_DIVISOR and CSS_ROUNDS of section 4.3."""


class HyStart:
    """One connection's. `conservative`: the window is to grow by a quarter only."""

    __slots__ = ("_baseline", "_count", "_last", "_now", "_round_end", "_rounds", "conservative")

    def __init__(self) -> None:
        self._last = self._now = NEVER  # the least round trips of the last round, and of this one
        self._count = 0
        self._round_end = 0
        self._baseline = NEVER
        self._rounds = 0
        self.conservative = False

    def acknowledged(self, ack: int, sent_to: int, rtt_ns: int) -> bool:
        """One acknowledgement and its round trip; True: slow start is over.

        `sent_to`: what had been sent when it came.
        """
        if ack >= self._round_end:
            self._round_end = sent_to
            self._last, self._now, self._count = self._now, NEVER, 0
            if self.conservative:
                self._rounds += 1
                if self._rounds >= CSS_ROUNDS:
                    return True
        self._count += 1
        self._now = min(self._now, rtt_ns)
        if self._count < SAMPLES:
            return False
        if self.conservative:
            if self._now < self._baseline:  # it was jitter
                self.conservative = False
        elif self._last != NEVER:
            threshold = max(MIN_THRESH, min(self._last // MIN_DIVISOR, MAX_THRESH))
            if self._now >= self._last + threshold:
                self._baseline, self._rounds, self.conservative = self._now, 0, True
        return False
