"""Options of SOL_SOCKET (socket(7)), and how values are packed.

What SO_RCVTIMEO, SO_SNDTIMEO and SO_PASSCRED mean is the caller's business, who does the waiting;
they are kept here with the others so that getsockopt(2) answers.
"""

from __future__ import annotations

import struct
from errno import EINVAL, ENODEV, ENOPROTOOPT, EPERM
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.net.socket import abi
from services.net.socket.abi import SOL_SOCKET

if TYPE_CHECKING:
    from services.net.socket.base import NetSocket

SWITCHES = frozenset(
    (
        abi.SO_DEBUG, abi.SO_REUSEADDR, abi.SO_DONTROUTE, abi.SO_BROADCAST, abi.SO_KEEPALIVE,
        abi.SO_OOBINLINE, abi.SO_NO_CHECK, abi.SO_REUSEPORT, abi.SO_PASSCRED, abi.SO_TIMESTAMP,
        abi.SO_TIMESTAMPNS, abi.SO_RXQ_OVFL,
    )
)  # fmt: skip
NUMBERS = frozenset((abi.SO_PRIORITY, abi.SO_MARK, abi.SO_BUSY_POLL, abi.SO_INCOMING_CPU))
PRIVILEGED = frozenset((abi.SO_DEBUG, abi.SO_MARK, abi.SO_SNDBUFFORCE, abi.SO_RCVBUFFORCE))


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
    """An int as getsockopt(2) tells it."""
    return struct.pack("<i", value)


def get(socket: NetSocket, option: int) -> bytes:
    """SOL_SOCKET of getsockopt(2); ENOPROTOOPT."""
    if option in SWITCHES or option in NUMBERS:
        return packed(socket.kept.get((SOL_SOCKET, option), 0))
    if option == abi.SO_ERROR:
        return packed(socket.take_error())
    if option == abi.SO_LINGER:
        word = socket.kept.get((SOL_SOCKET, option), 0)
        return struct.pack("<ii", *divmod(word, 1 << 32))
    if option == abi.SO_BINDTODEVICE:
        name = socket.network.interface_name(socket.ifindex)
        return name + b"\0" if name else b""
    values = {
        abi.SO_TYPE: socket.type,
        abi.SO_DOMAIN: socket.family,
        abi.SO_PROTOCOL: socket.protocol,
        abi.SO_SNDBUF: socket.send_limit_bytes,
        abi.SO_RCVBUF: socket.receive_limit_bytes,
        abi.SO_RCVLOWAT: socket.low_water_bytes,
        abi.SO_SNDLOWAT: 1,
        abi.SO_ACCEPTCONN: 0,
    }
    if option not in values:
        raise PosixError(ENOPROTOOPT)
    return packed(values[option])


def put(socket: NetSocket, option: int, value: bytes, privileged: bool) -> None:
    """SOL_SOCKET of setsockopt(2); ENOPROTOOPT, EINVAL, EPERM."""
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
    elif option == abi.SO_LINGER:
        if len(value) < 8:
            raise PosixError(EINVAL)
        seconds = integer(value[4:])
        socket.kept[SOL_SOCKET, option] = bool(number) << 32 | seconds & 0x7FFF_FFFF
    elif option in (abi.SO_SNDBUF, abi.SO_SNDBUFFORCE):
        socket.send_limit_bytes = _buffer(number, abi.SEND_MIN_BYTES, option == abi.SO_SNDBUFFORCE)
        socket.limits_changed()
    elif option in (abi.SO_RCVBUF, abi.SO_RCVBUFFORCE):
        socket.receive_limit_bytes = _buffer(
            number, abi.RECEIVE_MIN_BYTES, option == abi.SO_RCVBUFFORCE
        )
        socket.limits_changed()
    elif option == abi.SO_RCVLOWAT:
        socket.low_water_bytes = (number if number >= 0 else 0x7FFF_FFFF) or 1
        socket.limits_changed()
    else:
        raise PosixError(ENOPROTOOPT)


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
