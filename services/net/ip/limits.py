"""How many errors we send: token buckets, one for all and one for each host (RFC 1812 4.3.2.8).

The rates are Linux's defaults (icmp(7): icmp_msgs_per_sec, icmp_msgs_burst, icmp_ratelimit).
"""

from __future__ import annotations

_GLOBAL_PER_S, _GLOBAL_BURST = 1000, 50
_HOST_PER_S, _HOST_BURST = 1, 6
_MAX_HOSTS = 1024
_SECOND_NS = 1_000_000_000


class TokenBucket:
    """Holds up to `burst` tokens and gains `per_s` a second; times in ns."""

    __slots__ = ("_burst", "_full_at_ns", "_interval_ns")

    def __init__(self, per_s: int, burst: int) -> None:
        self._interval_ns = _SECOND_NS // per_s
        self._burst = burst
        self._full_at_ns = 0  # each token taken moves this on by one interval

    def take(self, now_ns: int) -> bool:
        """Take a token; False: there is none."""
        full_at_ns = max(self._full_at_ns, now_ns) + self._interval_ns
        if full_at_ns - now_ns > self._burst * self._interval_ns:
            return False
        self._full_at_ns = full_at_ns
        return True


class ErrorLimit:
    """May an ICMP error be sent to this host now?"""

    __slots__ = ("_all", "_hosts")

    def __init__(self) -> None:
        self._all = TokenBucket(_GLOBAL_PER_S, _GLOBAL_BURST)
        self._hosts: dict[bytes, TokenBucket] = {}

    def refuses(self, host: bytes, now_ns: int) -> str | None:
        """None: send it. Else the name of the SNMP counter of what is not sent."""
        bucket = self._hosts.pop(host, None)
        if bucket is None:
            if len(self._hosts) >= _MAX_HOSTS:
                del self._hosts[next(iter(self._hosts))]
            bucket = TokenBucket(_HOST_PER_S, _HOST_BURST)
        self._hosts[host] = bucket  # the one used last is forgotten last
        if not bucket.take(now_ns):
            return "OutRateLimitHost"
        if not self._all.take(now_ns):
            return "OutRateLimitGlobal"
        return None
