"""What a connection may be told (`Settings`), what a host decides (`Limits`), what a path is.

Times are in nanoseconds of the monotonic clock, sizes in bytes. Defaults are Linux's (tcp(7)),
where it has one.
"""

from __future__ import annotations

import functools
from typing import Any

import attrs

MS = 1_000_000
SECOND = 1_000_000_000
NEVER = 1 << 63
"""A deadline that is not set: later than any time."""


@attrs.frozen(eq=False)
class Settings:
    """Socket options, as they are for a new connection; a listener's are inherited.

    Shared by all sockets that have them alike: `with_setting` makes others.
    """

    nodelay: bool = False
    cork: bool = False
    quickack: bool = True
    keepalive: bool = False
    keep_idle_ns: int = 7200 * SECOND
    keep_interval_ns: int = 75 * SECOND
    keep_count: int = 9
    user_timeout_ns: int = 0
    """0: none (RFC 5482, TCP_USER_TIMEOUT)."""
    send_limit_bytes: int | None = None
    """None: starts at `Limits.send_bytes` and grows with the congestion window."""
    receive_limit_bytes: int | None = None
    """None: starts at `Limits.receive_bytes` and grows with what is read per round trip."""
    congestion: str = "cubic"
    max_segment: int = 0
    """TCP_MAXSEG; 0: the path decides."""
    syn_retries: int = 6
    linger2_ns: int = 60 * SECOND
    """How long FIN_WAIT2 may last without an owner; negative: not at all (TCP_LINGER2)."""
    defer_accept_ns: int = 0
    """How long a listener waits for data before a connection without any is accepted; 0: not."""
    notsent_lowat: int = 0
    """Writable only while fewer unsent bytes are queued; 0: no such limit (TCP_NOTSENT_LOWAT)."""
    oob_inline: bool = False
    ttl: int = 64
    tos: int = 0
    ifindex: int = 0
    dont_fragment: bool = True


@functools.lru_cache(512)
def with_setting(settings: Settings, name: str, value: Any) -> Settings:
    """The same settings but one; the same object for the same wish, as long as it is remembered."""
    return attrs.evolve(settings, **{name: value})


@attrs.define
class Limits:
    """What Linux has in /proc/sys/net/ipv4/tcp_*: bounds for all connections together."""

    fusing: bool = True
    timestamps: bool = True
    sack: bool = True
    window_scaling: bool = True
    syn_cookies: bool = True
    send_bytes: int = 128 << 10
    send_max_bytes: int = 4 << 20
    receive_bytes: int = 128 << 10
    receive_max_bytes: int = 6 << 20
    grown_max_bytes: int = 256 << 20
    """How much all buffers together may grow beyond what they begin with."""
    max_connections: int = 65536
    max_orphans: int = 8192
    max_time_waits: int = 32768
    max_syn_backlog: int = 4096
    syn_ack_retries: int = 5
    orphan_limit_ns: int = 102_200 * MS
    """The same without an owner: what 8 retries come to (tcp_orphan_retries)."""
    retry_limit_ns: int = 924_600 * MS
    """How long data may stay unacknowledged: what 15 retries come to (tcp_retries2)."""
    time_wait_ns: int = 60 * SECOND
    reuse_time_wait: bool = True
    """Whether an active open may take a pair over from TIME_WAIT (tcp_tw_reuse)."""
    challenge_acks_per_second: int = 1000
    invalid_interval_ns: int = 500 * MS
    """A connection answers bad segments at most once per this (tcp_invalid_ratelimit)."""


@attrs.frozen
class PathInfo:
    """What the way to a peer is like."""

    mtu: int
    loopback: bool = False
    gso: bool = False
    """Whether segments of up to 64 KiB may be handed down with `gso_bytes`."""


def path_mss(mtu: int, address: bytes) -> int:
    """The payload of a full segment without options: MTU less IP and TCP headers (RFC 6691).

    An IPv4 datagram has at most 65535 bytes, whatever the MTU (loopback's is 65536).
    """
    return min(mtu, 65535) - 40 if len(address) == 4 else mtu - 60
