"""Options of IPPROTO_TCP (tcp(7)): attributes of a connection's settings, or its state."""

from __future__ import annotations

import struct
from errno import EINVAL, ENOENT, ENOPROTOOPT
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.net.socket import abi
from services.net.socket.abi import IPPROTO_TCP, NS_PER_S
from services.net.socket.options import integer, packed
from services.net.tcp.state import State

if TYPE_CHECKING:
    from services.net.socket.stream import TcpSocket

NS_PER_MS = 1_000_000
INT_MAX = 0x7FFF_FFFF
PLAIN = {
    abi.TCP_NODELAY: ("nodelay", 1, 0, 1),
    abi.TCP_CORK: ("cork", 1, 0, 1),
    abi.TCP_QUICKACK: ("quickack", 1, 0, 1),
    abi.TCP_KEEPIDLE: ("keep_idle_ns", NS_PER_S, 1, 32767),
    abi.TCP_KEEPINTVL: ("keep_interval_ns", NS_PER_S, 1, 32767),
    abi.TCP_KEEPCNT: ("keep_count", 1, 1, 127),
    abi.TCP_SYNCNT: ("syn_retries", 1, 1, 127),
    abi.TCP_USER_TIMEOUT: ("user_timeout_ns", NS_PER_MS, 0, INT_MAX),
    abi.TCP_LINGER2: ("linger2_ns", NS_PER_S, 0, 60),
    abi.TCP_DEFER_ACCEPT: ("defer_accept_ns", NS_PER_S, 0, INT_MAX),
    abi.TCP_NOTSENT_LOWAT: ("notsent_lowat", 1, 0, INT_MAX),
}
"""Options that are a setting: its name, its unit, the range of what may be set."""
SWITCHES = frozenset((abi.TCP_NODELAY, abi.TCP_CORK, abi.TCP_QUICKACK))
CONGESTION_NAMES = ("cubic", "reno")
MAX_FIN_S = 60
SEGMENT_RANGE = (88, 32767)
KEPT = frozenset((abi.TCP_WINDOW_CLAMP, abi.TCP_THIN_LINEAR_TIMEOUTS, abi.TCP_TIMESTAMP))
DEFAULT_MSS = 536
WORDS = (
    "rto", "ato", "snd_mss", "rcv_mss", "unacked", "sacked", "lost", "retrans", "fackets",
    "last_data_sent", "last_ack_sent", "last_data_recv", "last_ack_recv", "pmtu", "rcv_ssthresh",
    "rtt", "rttvar", "snd_ssthresh", "snd_cwnd", "advmss", "reordering", "rcv_rtt", "rcv_space",
    "total_retrans",
)  # fmt: skip
LONGS = (
    "pacing_rate", "max_pacing_rate", "bytes_acked", "bytes_received", "segs_out", "segs_in",
    "notsent_bytes", "min_rtt", "data_segs_in", "data_segs_out", "delivery_rate", "busy_time",
    "rwnd_limited", "sndbuf_limited", "delivered", "delivered_ce", "bytes_sent", "bytes_retrans",
    "dsack_dups", "reord_seen", "rcv_ooopack", "snd_wnd",
)  # fmt: skip
_INFO = struct.Struct("<8B24I4Q6I4Q2I2Q4I")
"""struct tcp_info (linux/tcp.h) to snd_wnd; what is not counted is 0."""


def get(socket: TcpSocket, level: int, option: int) -> bytes:
    """getsockopt(2) at IPPROTO_TCP; ENOPROTOOPT."""
    if level != IPPROTO_TCP:
        raise PosixError(ENOPROTOOPT)
    if option in PLAIN:
        name, unit, _, _ = PLAIN[option]
        value = int(socket.setting(name))
        return packed(-1 if value < 0 else value // unit)
    if option == abi.TCP_MAXSEG:
        connection = socket.connection
        if connection is not None and connection.state is not State.CLOSE:
            return packed(connection.mss)
        return packed(socket.settings.max_segment or DEFAULT_MSS)
    if option == abi.TCP_CONGESTION:
        return bytes(socket.setting("congestion").encode().ljust(16, b"\0"))
    if option == abi.TCP_INFO:
        return info(socket)
    if option in KEPT:
        return packed(socket.kept.get((level, option), 0))
    raise PosixError(ENOPROTOOPT)


def put(socket: TcpSocket, level: int, option: int, value: bytes, privileged: bool) -> None:
    """setsockopt(2) at IPPROTO_TCP; ENOPROTOOPT, EINVAL, ENOENT for an unknown algorithm."""
    if level != IPPROTO_TCP:
        raise PosixError(ENOPROTOOPT)
    if option == abi.TCP_CONGESTION:
        _congestion(socket, value)
        return
    number = integer(value)
    if option in SWITCHES:
        socket.set_setting(PLAIN[option][0], bool(number))
    elif option == abi.TCP_LINGER2:
        socket.set_setting("linger2_ns", -1 if number < 0 else min(number, MAX_FIN_S) * NS_PER_S)
    elif option == abi.TCP_MAXSEG:
        socket.set_setting("max_segment", _within(number, *SEGMENT_RANGE) if number else 0)
    elif option in PLAIN:
        name, unit, low, high = PLAIN[option]
        socket.set_setting(name, _within(number, low, high) * unit)
    elif option in KEPT:
        socket.kept[level, option] = number
    else:
        raise PosixError(ENOPROTOOPT)


def _within(number: int, low: int, high: int) -> int:
    if not low <= number <= high:
        raise PosixError(EINVAL)
    return number


def _congestion(socket: TcpSocket, value: bytes) -> None:
    name = value.split(b"\0", 1)[0].decode("ascii", "replace")
    if name not in CONGESTION_NAMES:
        raise PosixError(ENOENT)
    socket.set_setting("congestion", name)


def info(socket: TcpSocket) -> bytes:
    """TCP_INFO: struct tcp_info (linux/tcp.h); times in µs, sizes in bytes."""
    connection = socket.connection
    if connection is None:
        state = State.LISTEN if socket.listener is not None else State.CLOSE
        return struct.pack("<B", state).ljust(_INFO.size, b"\0")
    known = connection.info()
    g = known.get
    scales = g("snd_wscale", 0) & 15 | (g("rcv_wscale", 0) & 15) << 4
    heads = (
        connection.state, g("ca_state", 0), g("retransmits", 0) & 255, g("probes", 0) & 255,
        g("backoff", 0) & 255, g("options", 0), scales, 0,
    )  # fmt: skip
    words = [g(name, 0) for name in WORDS]
    longs = [g(name, 0) for name in LONGS]
    return _INFO.pack(*heads, *words, *longs)
