"""Options of IPPROTO_TCP (tcp(7)): each is an attribute of the connection's settings, or its state."""

from __future__ import annotations

import struct
from errno import EINVAL, ENOENT, ENOPROTOOPT
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.net.socket import abi
from services.net.socket.abi import IPPROTO_TCP, NS_PER_S
from services.net.socket.options import integer, packed
from services.net.tcp.connection import State

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
_INFO = struct.Struct("<8B24I4Q6I4Q2I6Q")
"""struct tcp_info up to tcpi_reord_seen's neighbours; what is not known is 0."""


def get(socket: TcpSocket, level: int, option: int) -> bytes:
    """getsockopt(2) at IPPROTO_TCP; ENOPROTOOPT."""
    if level != IPPROTO_TCP:
        raise PosixError(ENOPROTOOPT)
    settings, connection = socket.settings, socket.connection
    if option in SWITCHES:
        return packed(int(getattr(settings, SWITCHES[option])))
    if option in SECONDS:
        return packed(getattr(settings, SECONDS[option]) // NS_PER_S)
    if option in COUNTS:
        return packed(getattr(settings, COUNTS[option]))
    if option == abi.TCP_MAXSEG:
        if connection is not None and connection.state is not State.CLOSE:
            return packed(connection.mss)
        return packed(settings.max_segment or DEFAULT_MSS)
    if option == abi.TCP_CONGESTION:
        return settings.congestion.encode().ljust(16, b"\0")
    if option == abi.TCP_INFO:
        return info(socket)
    if option == abi.TCP_USER_TIMEOUT:
        return packed(settings.user_timeout_ns // NS_PER_MS)
    if option == abi.TCP_LINGER2:
        linger = settings.linger2_ns
        return packed(-1 if linger < 0 else linger // NS_PER_S)
    if option == abi.TCP_DEFER_ACCEPT:
        return packed(settings.defer_accept_ns // NS_PER_S)
    if option == abi.TCP_NOTSENT_LOWAT:
        return packed(settings.notsent_low_water_bytes)
    if option == abi.TCP_FASTOPEN:
        return packed(0)
    if option in KEPT:
        return packed(socket.kept.get((level, option), 0))
    raise PosixError(ENOPROTOOPT)


def put(socket: TcpSocket, level: int, option: int, value: bytes, privileged: bool) -> None:
    """setsockopt(2) at IPPROTO_TCP; ENOPROTOOPT, EINVAL, ENOENT for an unknown algorithm."""
    if level != IPPROTO_TCP:
        raise PosixError(ENOPROTOOPT)
    settings = socket.settings
    if option == abi.TCP_CONGESTION:
        _congestion(socket, value)
        return
    number = integer(value)
    if option in SWITCHES:
        setattr(settings, SWITCHES[option], bool(number))
    elif option in SECONDS:
        setattr(settings, SECONDS[option], _within(number, 1, MAX_KEEP_S) * NS_PER_S)
    elif option in COUNTS:
        setattr(settings, COUNTS[option], _within(number, 1, MAX_KEEP_COUNT))
    elif option == abi.TCP_MAXSEG:
        settings.max_segment = _within(number, 88, MAX_SEGMENT) if number else 0
    elif option == abi.TCP_USER_TIMEOUT:
        settings.user_timeout_ns = _within(number, 0, 0x7FFF_FFFF) * NS_PER_MS
    elif option == abi.TCP_LINGER2:
        settings.linger2_ns = -1 if number < 0 else min(number, 60) * NS_PER_S
    elif option == abi.TCP_DEFER_ACCEPT:
        settings.defer_accept_ns = max(number, 0) * NS_PER_S
    elif option == abi.TCP_NOTSENT_LOWAT:
        settings.notsent_low_water_bytes = number & 0xFFFF_FFFF
    elif option == abi.TCP_FASTOPEN:
        if number:
            raise PosixError(ENOPROTOOPT)
    elif option in KEPT:
        socket.kept[level, option] = number
    else:
        raise PosixError(ENOPROTOOPT)
    if socket.connection is not None:
        socket.connection.settings_changed()


def _within(number: int, low: int, high: int) -> int:
    if not low <= number <= high:
        raise PosixError(EINVAL)
    return number


def _congestion(socket: TcpSocket, value: bytes) -> None:
    name = value.split(b"\0", 1)[0].decode("ascii", "replace")
    if name not in CONGESTION_NAMES:
        raise PosixError(ENOENT)
    socket.settings.congestion = name
    if socket.connection is not None:
        socket.connection.settings_changed()


def info(socket: TcpSocket) -> bytes:
    """TCP_INFO: struct tcp_info (linux/tcp.h); times in µs, sizes in bytes."""
    connection = socket.connection
    if connection is None:
        state = State.LISTEN if socket.listener is not None else State.CLOSE
        return struct.pack("<B", state).ljust(_INFO.size, b"\0")
    known = connection.info()
    g = known.get
    options_bits = (g("timestamps", 0) and 1) | (g("sack", 0) and 2) | (g("scaled", 0) and 4)
    scales = (g("send_scale", 0) & 15) | (g("receive_scale", 0) & 15) << 4
    return _INFO.pack(
        connection.state, g("ca_state", 0), g("retransmits", 0) & 255, g("probes", 0) & 255,
        g("backoff", 0) & 255, options_bits, scales, 0,
        g("rto_us", 0), g("ato_us", 0), g("send_mss", 0), g("receive_mss", 0),
        g("unacked", 0), g("sacked", 0), g("lost", 0), g("retransmitted", 0), 0,
        g("last_data_sent_ms", 0), 0, g("last_data_received_ms", 0), g("last_ack_received_ms", 0),
        g("pmtu", 0), g("receive_ssthresh", 0), g("rtt_us", 0), g("rttvar_us", 0),
        g("ssthresh", 0), g("cwnd", 0), g("advertised_mss", 0), g("reordering", 3),
        g("receive_rtt_us", 0), g("receive_space", 0), g("total_retransmits", 0),
        0, 0xFFFF_FFFF_FFFF_FFFF, g("bytes_acked", 0), g("bytes_received", 0),
        g("segments_out", 0), g("segments_in", 0), g("unsent_bytes", 0), g("min_rtt_us", 0),
        g("data_segments_in", 0), g("data_segments_out", 0),
        0, 0, 0, 0, 0, 0, g("bytes_sent", 0), g("bytes_retransmitted", 0), 0, 0, 0, 0,
    )  # fmt: skip
