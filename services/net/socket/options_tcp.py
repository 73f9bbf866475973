"""Options of IPPROTO_TCP (tcp(7)): attributes of a connection's settings, or its state."""

from __future__ import annotations

import struct
from errno import EINVAL, ENOENT, ENOPROTOOPT, EOPNOTSUPP
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
MAX_FIN_S = 120
MAX_RTO_S, MAX_DEFERRAL_S = 120, 127 + 248 * 120
LEAST_CLAMP_BYTES = 1152
SEGMENT_RANGE = (88, 32767)
KEPT = frozenset(
    (
        abi.TCP_WINDOW_CLAMP, abi.TCP_THIN_LINEAR_TIMEOUTS, abi.TCP_THIN_DUPACK, abi.TCP_FASTOPEN,
        abi.TCP_TIMESTAMP,
    )
)  # fmt: skip
FIXED = {
    abi.TCP_SAVE_SYN: 2, abi.TCP_FASTOPEN_CONNECT: 1, abi.TCP_FASTOPEN_NO_COOKIE: 1,
    abi.TCP_INQ: 1,
}  # fmt: skip
"""What is not here: off, and cannot be set to what Linux would take (up to this)."""
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


def get(socket: TcpSocket, option: int) -> bytes:
    """getsockopt(2) at IPPROTO_TCP; ENOPROTOOPT."""
    if option == abi.TCP_LINGER2:
        ns = int(socket.setting("linger2_ns"))
        return packed(-1 if ns < 0 else (ns or socket.network.tcp.limits.time_wait_ns) // NS_PER_S)
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
        return packed(socket.kept.get((IPPROTO_TCP, option), 0))
    if option in FIXED:
        return packed(0)
    raise PosixError(ENOPROTOOPT)


def put(socket: TcpSocket, option: int, value: bytes) -> None:
    """setsockopt(2) at IPPROTO_TCP; ENOPROTOOPT, EINVAL, EOPNOTSUPP, ENOENT: no such algorithm."""
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
    elif option == abi.TCP_DEFER_ACCEPT:
        socket.set_setting("defer_accept_ns", deferral_s(number) * NS_PER_S)
    elif option == abi.TCP_NOTSENT_LOWAT:
        socket.set_setting("notsent_lowat", number & 0xFFFF_FFFF)
    elif option in PLAIN:
        name, unit, low, high = PLAIN[option]
        socket.set_setting(name, _within(number, low, high) * unit)
    elif option in KEPT:
        socket.kept[IPPROTO_TCP, option] = _kept(socket, option, number)
    elif option in FIXED:
        if number:
            raise PosixError(EOPNOTSUPP if 0 < number <= FIXED[option] else EINVAL)
    else:
        raise PosixError(ENOPROTOOPT)


def _kept(socket: TcpSocket, option: int, number: int) -> int:
    """What is remembered of an option that changes nothing by itself."""
    fresh = socket.connection is None
    if option == abi.TCP_WINDOW_CLAMP:
        if not number and not (fresh and socket.listener is None):
            raise PosixError(EINVAL)
        return max(number, LEAST_CLAMP_BYTES) if number else 0
    if option == abi.TCP_FASTOPEN:
        if number < 0 or not fresh:
            raise PosixError(EINVAL)
        # How many may be pending; none is ever, as tcp_fastopen is 0.
        return min(number, socket.network.max_backlog)
    if option in (abi.TCP_THIN_LINEAR_TIMEOUTS, abi.TCP_THIN_DUPACK):
        _within(number, 0, 1)
    return 0 if option == abi.TCP_THIN_DUPACK else number


def deferral_s(seconds: int) -> int:
    """TCP_DEFER_ACCEPT is kept as retransmissions: the time after which the next one would be."""
    passed, timeout = 0, 1
    while passed < seconds and timeout:
        passed += timeout
        timeout = min(2 * timeout, MAX_RTO_S)
    return min(passed, MAX_DEFERRAL_S)


def _within(number: int, low: int, high: int) -> int:
    if not low <= number <= high:
        raise PosixError(EINVAL)
    return number


def _congestion(socket: TcpSocket, value: bytes) -> None:
    if not value:
        raise PosixError(EINVAL)
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
