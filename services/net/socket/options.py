"""Options of SOL_SOCKET (socket(7)), and how values are packed.

What SO_RCVTIMEO, SO_SNDTIMEO and SO_PASSCRED mean is the caller's business, who does the waiting;
they are kept here with the others so that getsockopt(2) answers.
"""

from __future__ import annotations

import struct
from errno import EINVAL, ENODEV, ENOPROTOOPT, EOPNOTSUPP, EPERM
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.net.socket import abi
from services.net.socket.abi import NS_PER_S, SOL_SOCKET

if TYPE_CHECKING:
    from services.net.socket.base import NetSocket

SWITCHES = frozenset(
    (
        abi.SO_DEBUG, abi.SO_REUSEADDR, abi.SO_DONTROUTE, abi.SO_BROADCAST, abi.SO_KEEPALIVE,
        abi.SO_OOBINLINE, abi.SO_NO_CHECK, abi.SO_REUSEPORT, abi.SO_RXQ_OVFL,
    )
)  # fmt: skip
NUMBERS = frozenset((abi.SO_PRIORITY, abi.SO_MARK, abi.SO_INCOMING_CPU))
PRIVILEGED = frozenset((abi.SO_DEBUG, abi.SO_MARK, abi.SO_SNDBUFFORCE, abi.SO_RCVBUFFORCE))
FIXED = {
    abi.SO_WIFI_STATUS: 0, abi.SO_PEEK_OFF: -1, abi.SO_NOFCS: 0, abi.SO_LOCK_FILTER: 0,
    abi.SO_SELECT_ERR_QUEUE: 0, abi.SO_BUSY_POLL: 0, abi.SO_ZEROCOPY: 0,
    abi.SO_PREFER_BUSY_POLL: 0, abi.SO_RESERVE_MEM: 0, abi.SO_RCVMARK: 0,
}  # fmt: skip
"""What Linux has and this stack does not: it takes no other value than this, its default."""
FIXED_WIDE = {abi.SO_TIMESTAMPING: bytes(8), abi.SO_MAX_PACING_RATE: b"\xff" * 8}
IGNORED = frozenset((abi.SO_BSDCOMPAT, abi.SO_CNX_ADVICE))
"""Without effect on Linux too, or mere advice."""
OF_LOCAL_SOCKETS = frozenset((abi.SO_PASSCRED, abi.SO_PASSSEC, abi.SO_PASSPIDFD))
STAMPS = frozenset(
    (abi.SO_TIMESTAMP, abi.SO_TIMESTAMPNS, abi.SO_TIMESTAMP_NEW, abi.SO_TIMESTAMPNS_NEW)
)
"""One of them at a time: in which form the time of arrival is told."""
STAMP = (SOL_SOCKET, -abi.SO_TIMESTAMP)
"""Key of the one that is on."""
SEND_LOCK, RECEIVE_LOCK = 1, 2
"""SO_BUF_LOCK: the buffer was set by hand, and does not grow by itself."""


def integer(value: bytes) -> int:
    """An int option; EINVAL where it is shorter."""
    if len(value) < 4:
        raise PosixError(EINVAL)
    return int.from_bytes(value[:4], "little", signed=True)


def integer_or_byte(value: bytes) -> int:
    """An int option that may come as one byte (ip(7))."""
    if not value:
        raise PosixError(EINVAL)
    return integer(value) if len(value) >= 4 else value[0]


def packed(value: int) -> bytes:
    """A number as getsockopt(2) tells it: its low 32 bits."""
    return struct.pack("<I", value & 0xFFFF_FFFF)


def stamp(option: int, realtime_ns: int) -> tuple[int, int, bytes]:
    """The time of arrival (REALTIME) as the control message that one of `STAMPS` asks for."""
    seconds, ns = divmod(realtime_ns, NS_PER_S)
    micro = option in (abi.SO_TIMESTAMP, abi.SO_TIMESTAMP_NEW)
    return SOL_SOCKET, option, struct.pack("<qq", seconds, ns // 1000 if micro else ns)


def get(socket: NetSocket, option: int) -> bytes:
    """SOL_SOCKET of getsockopt(2); ENOPROTOOPT, EOPNOTSUPP."""
    kept = socket.kept
    if option in SWITCHES or option in NUMBERS:
        return packed(kept.get((SOL_SOCKET, option), 0))
    if option in STAMPS:
        return packed(int(kept.get(STAMP) == option))
    if option == abi.SO_ERROR:
        return packed(socket.take_error())
    if option == abi.SO_LINGER:
        word = kept.get((SOL_SOCKET, option), 0)
        return struct.pack("<ii", *divmod(word, 1 << 32))
    if option == abi.SO_BINDTODEVICE:
        name = socket.network.interface_name(socket.ifindex)
        return name + b"\0" if name else b""
    if option == abi.SO_MEMINFO:
        return _memory(socket)
    if option in FIXED_WIDE:
        return FIXED_WIDE[option]
    if option in OF_LOCAL_SOCKETS:
        return packed(_local_option(socket, option))
    if option == abi.SO_PEEK_OFF and socket.type == abi.RAW:
        raise PosixError(EOPNOTSUPP)
    values = FIXED | {
        abi.SO_TYPE: socket.type,
        abi.SO_DOMAIN: socket.family,
        abi.SO_PROTOCOL: socket.protocol,
        abi.SO_SNDBUF: socket.send_limit_bytes,
        abi.SO_RCVBUF: socket.receive_limit_bytes,
        abi.SO_RCVLOWAT: socket.low_water_bytes,
        abi.SO_SNDLOWAT: 1,
        abi.SO_ACCEPTCONN: 0,
        abi.SO_BSDCOMPAT: 0,
        abi.SO_BINDTOIFINDEX: socket.ifindex,
        abi.SO_BUF_LOCK: kept.get((SOL_SOCKET, abi.SO_BUF_LOCK), 0),
    }
    if option not in values:
        raise PosixError(ENOPROTOOPT)
    return packed(values[option])


def _memory(socket: NetSocket) -> bytes:
    """SO_MEMINFO: what lies in the buffers and how much may; nothing else is accounted for."""
    amounts = socket.held()
    limits = socket.receive_limit_bytes, socket.send_limit_bytes
    return struct.pack("<9I", amounts[0], limits[0], 0, limits[1], 0, amounts[1], 0, 0, 0)


def _local_option(socket: NetSocket, option: int) -> int:
    """Options about the sender's credentials: of netlink; EOPNOTSUPP on the Internet's."""
    if socket.family in (abi.AF_INET, abi.AF_INET6):
        raise PosixError(EOPNOTSUPP)
    if option != abi.SO_PASSCRED:
        raise PosixError(ENOPROTOOPT)
    return socket.kept.get((SOL_SOCKET, option), 0)


def put(socket: NetSocket, option: int, value: bytes, privileged: bool) -> None:
    """SOL_SOCKET of setsockopt(2); ENOPROTOOPT, EOPNOTSUPP, EINVAL, EPERM, ENODEV."""
    if option == abi.SO_BINDTODEVICE:
        _bind_to_device(socket, value)
        return
    number = integer(value)
    if option in PRIVILEGED and not privileged and (option != abi.SO_DEBUG or number):
        raise PosixError(EPERM)
    if option in SWITCHES:
        socket.kept[SOL_SOCKET, option] = int(bool(number))
    elif option in NUMBERS:
        socket.kept[SOL_SOCKET, option] = number
    elif option in STAMPS:
        if number:
            socket.kept[STAMP] = option
        elif socket.kept.get(STAMP):
            socket.kept[STAMP] = 0
    elif option == abi.SO_LINGER:
        if len(value) < 8:
            raise PosixError(EINVAL)
        seconds = integer(value[4:])
        socket.kept[SOL_SOCKET, option] = bool(number) << 32 | seconds & 0x7FFF_FFFF
    elif option in BUFFERS:
        _set_buffer(socket, option, number)
    elif option == abi.SO_RCVLOWAT:
        socket.set_low_water((number if number >= 0 else 0x7FFF_FFFF) or 1)
    else:
        _put_rare(socket, option, number, value)


def _put_rare(socket: NetSocket, option: int, number: int, value: bytes) -> None:
    if option == abi.SO_BINDTOIFINDEX:
        if number < 0:
            raise PosixError(EINVAL)
        socket.ifindex = number  # there need not be such an interface yet
    elif option == abi.SO_BUF_LOCK:
        if number & ~(SEND_LOCK | RECEIVE_LOCK):
            raise PosixError(EINVAL)
        socket.kept[SOL_SOCKET, option] = number
    elif option in OF_LOCAL_SOCKETS:
        _local_option(socket, option)
        socket.kept[SOL_SOCKET, option] = int(bool(number))
    elif option in FIXED_WIDE:
        if value.ljust(8, b"\0")[:8] != FIXED_WIDE[option]:
            raise PosixError(ENOPROTOOPT)
    elif option not in IGNORED and (option not in FIXED or number != FIXED[option]):
        raise PosixError(ENOPROTOOPT)


BUFFERS = frozenset((abi.SO_SNDBUF, abi.SO_SNDBUFFORCE, abi.SO_RCVBUF, abi.SO_RCVBUFFORCE))


def _set_buffer(socket: NetSocket, option: int, number: int) -> None:
    key = SOL_SOCKET, abi.SO_BUF_LOCK
    if option in (abi.SO_SNDBUF, abi.SO_SNDBUFFORCE):
        socket.send_limit_bytes = _buffer(number, abi.SEND_MIN_BYTES, option == abi.SO_SNDBUFFORCE)
        lock = SEND_LOCK
    else:
        socket.receive_limit_bytes = _buffer(
            number, abi.RECEIVE_MIN_BYTES, option == abi.SO_RCVBUFFORCE
        )
        lock = RECEIVE_LOCK
    socket.kept[key] = socket.kept.get(key, 0) | lock
    socket.limits_changed()


def _buffer(wanted: int, least: int, force: bool) -> int:
    """Twice what was asked for, within bounds, as Linux accounts for its overhead."""
    most = 1 << 26 if force else abi.BUFFER_MAX_BYTES
    return max(2 * min(wanted & 0xFFFF_FFFF, most), least)


def _bind_to_device(socket: NetSocket, value: bytes) -> None:
    name = value.split(b"\0", 1)[0]
    if not name:
        socket.ifindex = 0
        return
    index = socket.network.interface_index(name)
    if not index:
        raise PosixError(ENODEV)
    socket.ifindex = index
