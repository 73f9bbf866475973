"""A listening port: half-open connections, the accept queue, cookies (listen(2), tcp(7)).

As Linux has it: the accept queue holds `backlog` + 1 connections. While it is full, SYNs are
dropped, and so is the ACK that would complete a handshake: the client believes to be connected
and the SYN-ACK is repeated until there is room or the retries are used up. Half-open connections
are bounded by the backlog, too; beyond it SYNs are answered with cookies, which keep no state.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from bus.census import kind
from services.net.tcp import cookies, handshake, send
from services.net.tcp.limits import MS, SECOND, path_mss
from services.net.tcp.segment import ACK, SYN, Segment
from services.net.tcp.sequence import MASK
from services.net.tcp.state import LISTEN

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.net.proto.packet import Packet
    from services.net.tcp.connection import Connection
    from services.net.tcp.limits import Settings
    from services.net.tcp.table import Tcp

V4, V6 = 1, 2
"""Bits of `Listener.families`."""

_COOKIES_VALID_NS = 128 * SECOND


def _nothing() -> None:
    """An owner that does not want to be told."""


LISTENER = kind("net", "listener")


class Listener:
    """See the module. `settings` are each new connection's; others may be put in their place."""

    __slots__ = (
        "accepted",
        "address",
        "backlog",
        "closed",
        "cookies_until_ns",
        "families",
        "half_open",
        "on_change",
        "owner",
        "port",
        "settings",
        "tcp",
    )

    state = LISTEN

    def __init__(
        self,
        tcp: Tcp,
        address: bytes | None,
        port: int,
        families: int,
        backlog: int,
        settings: Settings,
    ) -> None:
        LISTENER.made()
        self.tcp = tcp
        self.address = address
        self.port = port
        self.families = families
        self.backlog = backlog
        self.settings = settings
        self.accepted: deque[Connection] = deque()
        self.half_open: dict[Connection, None] = {}
        self.cookies_until_ns = -1  # a cookie that was sent may be answered until then
        self.closed = False
        self.owner: Any = None
        self.on_change: Callable[[], None] = _nothing

    def __del__(self) -> None:
        LISTENER.freed()

    @property
    def is_full(self) -> bool:
        """Whether no further connection fits into the accept queue."""
        return len(self.accepted) > self.backlog

    def accept(self) -> Connection | None:
        """The oldest connection that is complete; its owner is the caller from now on."""
        return self.accepted.popleft() if self.accepted else None

    def close(self) -> None:
        """Stop listening. What was not accepted is reset; half-open ones are forgotten."""
        if self.closed:
            return
        self.closed = True
        self.tcp.stop_listening(self)
        for c in list(self.half_open):
            c.tcp.forget(c)
        self.half_open.clear()
        while self.accepted:
            self.accepted.popleft().abort()

    def on_syn(self, packet: Packet, segment: Segment, iss: int | None = None) -> None:
        """A SYN for this port, from a peer of which nothing is known (`iss`: but that)."""
        tcp = self.tcp
        if self.is_full:
            tcp.counters["ListenOverflows"] += 1
            tcp.counters["ListenDrops"] += 1
            return
        if len(self.half_open) >= min(self.backlog, tcp.limits.max_syn_backlog):
            if not tcp.limits.syn_cookies:
                tcp.counters["ListenDrops"] += 1
                return
            self._send_cookie(packet, segment)
            return
        c = tcp.make_passive(packet, segment, self.settings, iss)
        if c is None:
            tcp.counters["ListenDrops"] += 1
            return
        c.listener = self
        self.half_open[c] = None
        handshake.send_syn(c, ACK)
        send.arm(c, tcp.now_ns + c.rtt.rto)

    def admit(self, c: Connection, segment: Segment) -> bool:
        """Whether a handshake may complete now."""
        if self.is_full:
            self.tcp.counters["ListenOverflows"] += 1
            return False
        if c.defer_accept_ns and not segment.payload:
            # TCP_DEFER_ACCEPT: the bare ACK is ignored until time is up.
            return self.tcp.now_ns - c.opened_ns >= c.defer_accept_ns
        return True

    def enter(self, c: Connection) -> None:
        """A handshake is complete."""
        self.half_open.pop(c, None)
        c.listener = None
        self.tcp.counters["PassiveOpens"] += 1
        self.accepted.append(c)
        self.tcp.listeners_changed[self] = None

    def lost(self, c: Connection) -> None:
        """A half-open connection is over."""
        self.half_open.pop(c, None)
        c.listener = None

    # ------------------------------------------------------------------ cookies

    def _send_cookie(self, packet: Packet, segment: Segment) -> None:
        tcp = self.tcp
        now = tcp.now_ns
        key = (packet.dst, segment.target_port, packet.src, segment.source_port)
        path = tcp.path_back(packet)
        if path is None:
            return
        announced = min(path_mss(path.mtu, packet.src), 65535)
        default = 536 if len(packet.src) == 4 else 1220
        number = tcp.secrets.cookie(key, segment.seq, min(segment.mss or default, announced), now)
        stamps = None
        limits = tcp.limits
        scale = None
        sack_ok = False
        if segment.stamps is not None and limits.timestamps:
            sack_ok = segment.sack_ok and limits.sack
            if segment.scale is not None and limits.window_scaling:
                scale = self._scale()
            stamp = (now // MS + tcp.stamp_offset(packet.dst, packet.src)) & MASK
            folded = cookies.fold_options(stamp, None if scale is None else segment.scale, sack_ok)
            stamps = (folded, segment.stamps[0])
        answer = Segment(
            segment.target_port,
            segment.source_port,
            number,
            segment.seq + 1 & MASK,
            SYN | ACK,
            min(self._receive_limit(), 65535),
            b"",
            stamps,
            mss=announced,
            scale=scale,
            sack_ok=sack_ok,
        )
        tcp.counters["SyncookiesSent"] += 1
        self.cookies_until_ns = now + _COOKIES_VALID_NS
        tcp.send(packet.dst, packet.src, answer, packet.ifindex)

    def _receive_limit(self) -> int:
        return self.settings.receive_limit_bytes or self.tcp.limits.receive_bytes

    def _scale(self) -> int:
        largest = self._receive_limit()
        if self.settings.receive_limit_bytes is None:
            largest = max(largest, self.tcp.limits.receive_max_bytes)
        return handshake.scale_for(largest)

    def from_cookie(self, packet: Packet, segment: Segment) -> Connection | None:
        """The connection that an ACK completes, if what it acknowledges is a cookie of ours."""
        tcp = self.tcp
        now = tcp.now_ns
        if now >= self.cookies_until_ns:
            return None
        key = (packet.dst, segment.target_port, packet.src, segment.source_port)
        mss = tcp.secrets.check(key, segment.seq - 1, segment.ack - 1 & MASK, now)
        if not mss:
            tcp.counters["SyncookiesFailed"] += 1
            return None
        if self.is_full:
            tcp.counters["ListenOverflows"] += 1
            return None
        scale, sack_ok = None, False
        if segment.stamps is not None:
            scale, sack_ok = cookies.unfold_options(segment.stamps[1])
        syn = Segment(
            segment.source_port,
            segment.target_port,
            segment.seq - 1 & MASK,
            0,
            SYN,
            0,
            b"",
            segment.stamps,
            mss=mss,
            scale=scale,
            sack_ok=sack_ok,
        )
        c = tcp.make_passive(packet, syn, self.settings, iss=segment.ack - 1 & MASK)
        if c is None:
            return None
        tcp.counters["SyncookiesRecv"] += 1
        c.listener = self
        c.defer_accept_ns = 0  # there is nobody who would wait
        return c
