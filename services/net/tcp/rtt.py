"""Round-trip time and retransmission timeout (RFC 6298), in nanoseconds.

The lower bound of 200 ms on the variance term, the upper bound of 120 s on the timeout, and the
first timeout of 1 s are Linux's.
"""

from __future__ import annotations

from services.net.tcp.limits import MS, NEVER, SECOND

MIN_RTO = 200 * MS
MAX_RTO = 120 * SECOND
FIRST_RTO = SECOND
PTO_MARGIN = 10 * MS


class RoundTrip:
    """The estimator: `srtt` (0: no sample yet), `rttvar`, `rto` without back-off, `least`.

    `pto` is when a tail loss probe is due: two round trips (RFC 8985 7.2) and a margin for the
    peer's scheduling.
    """

    __slots__ = ("least", "pto", "rto", "rttvar", "srtt")

    def __init__(self) -> None:
        self.srtt = 0
        self.rttvar = 0
        self.rto = FIRST_RTO
        self.pto = FIRST_RTO
        self.least = NEVER

    def sample(self, rtt: int) -> None:
        """Take one measurement in; section 2.2 and 2.3."""
        if rtt < self.least:
            self.least = rtt
        srtt = self.srtt
        if srtt:
            delta = rtt - srtt
            self.srtt = srtt + (delta >> 3) or 1
            self.rttvar += ((delta if delta >= 0 else -delta) - self.rttvar) >> 2
        else:
            self.srtt = rtt or 1
            self.rttvar = rtt >> 1
        self.pto = (self.srtt << 1) + PTO_MARGIN
        term = self.rttvar << 2
        rto = self.srtt + (term if term > MIN_RTO else MIN_RTO)
        self.rto = rto if rto < MAX_RTO else MAX_RTO

    def backed_off(self, times: int) -> int:
        """The timeout after so many expiries in a row; section 5.5."""
        rto = self.rto << min(times, 16)
        return rto if rto < MAX_RTO else MAX_RTO
