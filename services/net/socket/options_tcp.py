"""Options of IPPROTO_TCP (tcp(7)): each is an attribute of the connection's settings, or its state."""

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
SECONDS = {
    abi.TCP_KEEPIDLE: "keep_idle_ns",
    abi.TCP_KEEPINTVL: "keep_interval_ns",
}
COUNTS = {abi.TCP_KEEPCNT: "keep_count", abi.TCP_SYNCNT: "syn_retries"}
SWITCHES = {abi.TCP_NODELAY: "nodelay", abi.TCP_CORK: "cork", abi.TCP_QUICKACK: "quickack"}
CONGESTION_NAMES = ("cubic", "reno")
MAX_KEEP_S, MAX_KEEP_COUNT = 32767, 127
KEPT = frozenset((abi.TCP_WINDOW_CLAMP, abi.TCP_THIN_LINEAR_TIMEOUTS, abi.TCP_TIMESTAMP))
DEFAULT_MSS = 536
MAX_SEGMENT = 32767
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
    connection, setting = socket.connection, socket.setting
    if option in SWITCHES:
        return packed(int(setting(SWITCHES[option])))
    if option in SECONDS:
        return packed(setting(SECONDS[option]) // NS_PER_S)
    if option in COUNTS:
        return packed(setting(COUNTS[option]))
    if option == abi.TCP_MAXSEG:
        if connection is not None and connection.state is not State.CLOSE:
            return packed(connection.mss)
        return packed(setting("max_segment") or DEFAULT_MSS)
    if option == abi.TCP_CONGESTION:
        return setting("congestion").encode().ljust(16, b"\0")
    if option == abi.TCP_INFO:
        return info(socket)
    if option == abi.TCP_USER_TIMEOUT:
        return packed(setting("user_timeout_ns") // NS_PER_MS)
    if option == abi.TCP_LINGER2:
        linger = setting("linger2_ns")
        return packed(-1 if linger < 0 else linger // NS_PER_S)
    if option == abi.TCP_DEFER_ACCEPT:
        return packed(setting("defer_accept_ns") // NS_PER_S)
    if option == abi.TCP_NOTSENT_LOWAT:
        return packed(setting("notsent_lowat"))
    if option == abi.TCP_FASTOPEN:
        return packed(0)
    if option in KEPT:
        return packed(socket.kept.get((level, option), 0))
    raise PosixError(ENOPROTOOPT)


def put(socket: TcpSocket, level: int, option: int, value: bytes, privileged: bool) -> None:
    """setsockopt(2) at IPPROTO_TCP; ENOPROTOOPT, EINVAL, ENOENT for an unknown algorithm."""
    if level != IPPROTO_TCP:
        raise PosixError(ENOPROTOOPT)
    change = socket.set_setting
    if option == abi.TCP_CONGESTION:
        _congestion(socket, value)
        return
    number = integer(value)
    if option in SWITCHES:
        change(SWITCHES[option], bool(number))
    elif option in SECONDS:
        change(SECONDS[option], _within(number, 1, MAX_KEEP_S) * NS_PER_S)
    elif option in COUNTS:
        change(COUNTS[option], _within(number, 1, MAX_KEEP_COUNT))
    elif option == abi.TCP_MAXSEG:
        change("max_segment", _within(number, 88, MAX_SEGMENT) if number else 0)
    elif option == abi.TCP_USER_TIMEOUT:
        change("user_timeout_ns", _within(number, 0, 0x7FFF_FFFF) * NS_PER_MS)
    elif option == abi.TCP_LINGER2:
        change("linger2_ns", -1 if number < 0 else min(number, 60) * NS_PER_S)
    elif option == abi.TCP_DEFER_ACCEPT:
        change("defer_accept_ns", max(number, 0) * NS_PER_S)
    elif option == abi.TCP_NOTSENT_LOWAT:
        change("notsent_lowat", number & 0xFFFF_FFFF)
    elif option == abi.TCP_FASTOPEN:
        if number:
            raise PosixError(ENOPROTOOPT)
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
