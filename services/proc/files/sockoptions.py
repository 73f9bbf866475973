"""The options of SOL_SOCKET that are the same for all families (socket(7), net/core/sock.c)."""

from __future__ import annotations

import struct
from errno import EACCES, EDOM, EINVAL, ENOPROTOOPT, EPERM
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc.abi import s32

if TYPE_CHECKING:
    from services.proc.files.socket import Socket
    from services.proc.task import Thread

SOL_SOCKET = 1
SO_DEBUG, SO_REUSEADDR, SO_TYPE, SO_ERROR, SO_DONTROUTE, SO_BROADCAST = range(1, 7)
SO_SNDBUF, SO_RCVBUF, SO_KEEPALIVE, SO_OOBINLINE, SO_NO_CHECK, SO_PRIORITY = range(7, 13)
SO_LINGER, SO_BSDCOMPAT, SO_REUSEPORT, SO_PASSCRED, SO_PEERCRED = range(13, 18)
SO_RCVLOWAT, SO_SNDLOWAT, SO_RCVTIMEO, SO_SNDTIMEO = range(18, 22)
SO_PEERNAME, SO_PASSSEC, SO_TIMESTAMPNS, SO_MARK = 28, 34, 35, 36
SO_SELECT_ERR_QUEUE, SO_TIMESTAMP_NEW, SO_TIMESTAMPNS_NEW = 45, 63, 64
SO_TIMESTAMP, SO_ACCEPTCONN, SO_SNDBUFFORCE, SO_RCVBUFFORCE = 29, 30, 32, 33
SO_PEERGROUPS, SO_PASSRIGHTS = 59, 83
SO_PROTOCOL, SO_DOMAIN, SO_RCVTIMEO_NEW, SO_SNDTIMEO_NEW = 38, 39, 66, 67
TIMEOUTS = {
    SO_RCVTIMEO: "receive_timeout_ns", SO_RCVTIMEO_NEW: "receive_timeout_ns",
    SO_SNDTIMEO: "send_timeout_ns", SO_SNDTIMEO_NEW: "send_timeout_ns",
}  # fmt: skip
SWITCHES = frozenset(
    (SO_DEBUG, SO_REUSEADDR, SO_DONTROUTE, SO_BROADCAST, SO_KEEPALIVE, SO_OOBINLINE, SO_NO_CHECK,
     SO_REUSEPORT, SO_PASSSEC, SO_SELECT_ERR_QUEUE)
)  # fmt: skip
"""On or off, and remembered; what they do is the family's business."""
STAMPS = (SO_TIMESTAMP, SO_TIMESTAMPNS, SO_TIMESTAMP_NEW, SO_TIMESTAMPNS_NEW)
"""How the time of arrival is told; setting one unsets the others. Kept under SO_TIMESTAMP."""
BUFFER_MAX_BYTES = 4 << 20
"""net.core.wmem_max and rmem_max."""
DEFAULT_BUFFER_BYTES = 212992
SEND_MIN_BYTES, RECEIVE_MIN_BYTES = 4608, 2304
TIMEVAL_BYTES, LINGER_BYTES, INT_BYTES = 16, 8, 4
JIFFY_NS = 4_000_000
"""Timeouts are told in whole ones, rounded up."""
NS_PER_S, NS_PER_US, US_PER_S, FAR_NS = 1_000_000_000, 1_000, 1_000_000, 1 << 62
SO_BINDTODEVICE, SO_TIMESTAMPING, SO_MAX_PACING_RATE, DEVICE_NAME_BYTES = 25, 37, 47, 15
VALUE_BYTES = {
    SO_LINGER: LINGER_BYTES, SO_BINDTODEVICE: DEVICE_NAME_BYTES, SO_TIMESTAMPING: 8,
    SO_MAX_PACING_RATE: 8, **dict.fromkeys(TIMEOUTS, TIMEVAL_BYTES),
}  # fmt: skip
"""How much of a value setsockopt(2) reads; the others are ints."""


def get_common(socket: Socket, option: int, room: int) -> bytes:
    """The value of an option of SOL_SOCKET; ENOPROTOOPT."""
    if option in TIMEOUTS:
        seconds, ns = divmod(max(getattr(socket, TIMEOUTS[option]), 0), NS_PER_S)
        return struct.pack("<qq", seconds, ns // NS_PER_US)
    if option == SO_LINGER:
        return struct.pack("<ii", *divmod(socket.options.get(option, 0), 1 << 32))
    return struct.pack("<i", _get_int(socket, option))


def _get_int(socket: Socket, option: int) -> int:
    if option in STAMPS:
        kept = socket.options.get(SO_TIMESTAMP, 0)
        return int(kept == option or (option == SO_TIMESTAMP_NEW and kept == SO_TIMESTAMPNS_NEW))
    if option in SWITCHES or option in (SO_PRIORITY, SO_MARK):
        return socket.options.get(option, 0)
    if option == SO_ERROR:
        return socket.take_error()
    if option == SO_ACCEPTCONN:
        return int(socket.accepts())
    values = {
        SO_TYPE: socket.type,
        SO_SNDBUF: socket.send_bytes,
        SO_RCVBUF: socket.receive_bytes,
        SO_SNDLOWAT: 1,
        SO_RCVLOWAT: socket.receive_low_bytes,
        SO_PROTOCOL: socket.protocol,
        SO_DOMAIN: socket.family,
        SO_BSDCOMPAT: 0,
    }
    if option not in values:
        raise PosixError(ENOPROTOOPT)
    return values[option]


def set_common(socket: Socket, thread: Thread, option: int, value: bytes) -> None:
    """Set an option of SOL_SOCKET: `value` has at least four bytes. EINVAL, EDOM, EPERM, ..."""
    number = s32(int.from_bytes(value[:INT_BYTES], "little"))
    privileged = not thread.process.credentials.euid
    if option in STAMPS:
        socket.options[SO_TIMESTAMP] = option if number else 0
    elif option == SO_DEBUG and number and not privileged:
        raise PosixError(EACCES)
    elif option in SWITCHES:
        socket.options[option] = int(bool(number))
    elif option in TIMEOUTS:
        setattr(socket, TIMEOUTS[option], _timeout(value))
    elif option == SO_LINGER:
        socket.options[option] = _linger(socket.options.get(option, 0), value)
    elif option in (SO_PRIORITY, SO_MARK):
        if not privileged and (option == SO_MARK or not 0 <= number <= 6):
            raise PosixError(EPERM)
        socket.options[option] = number
    elif option == SO_RCVLOWAT:
        socket.receive_low_bytes = 0x7FFF_FFFF if number < 0 else number or 1
    elif option in (SO_SNDBUF, SO_RCVBUF, SO_SNDBUFFORCE, SO_RCVBUFFORCE):
        _set_buffer(socket, option, number, privileged)
    elif option != SO_BSDCOMPAT:
        raise PosixError(ENOPROTOOPT)


def _timeout(value: bytes) -> int:
    """A struct timeval in ns: 0 is for ever, and a negative one (-1) does not wait at all."""
    if len(value) < TIMEVAL_BYTES:
        raise PosixError(EINVAL)
    seconds, us = struct.unpack("<qq", value[:TIMEVAL_BYTES])
    if not 0 <= us < US_PER_S:
        raise PosixError(EDOM)
    if seconds < 0:
        return -1
    ns: int = seconds * NS_PER_S + -(-us * NS_PER_US // JIFFY_NS) * JIFFY_NS
    return ns if ns < FAR_NS else 0


def _linger(before: int, value: bytes) -> int:
    """A struct linger as one number, on << 32 | seconds; switching it off keeps the seconds."""
    if len(value) < LINGER_BYTES:
        raise PosixError(EINVAL)
    if not any(value[:INT_BYTES]):
        return before & 0xFFFF_FFFF
    seconds = int.from_bytes(value[INT_BYTES:LINGER_BYTES], "little")
    return 1 << 32 | min(seconds, 0x7FFF_FFFF)


def _set_buffer(socket: Socket, option: int, size: int, privileged: bool) -> None:
    if option in (SO_SNDBUFFORCE, SO_RCVBUFFORCE):
        if not privileged:
            raise PosixError(EPERM)
        size = min(max(size, 0), 0x3FFF_FFFF)
    else:
        size = min(size & 0xFFFF_FFFF, BUFFER_MAX_BYTES)
    if option in (SO_SNDBUF, SO_SNDBUFFORCE):
        socket.send_bytes = max(2 * size, SEND_MIN_BYTES)
        socket.queue.wake()
    else:
        socket.receive_bytes = max(2 * size, RECEIVE_MIN_BYTES)


def stamp_of(option: int, when_ns: int) -> tuple[int, int, bytes]:
    """The control message that tells when a packet came, as `option` of STAMPS has it."""
    seconds, ns = divmod(when_ns, NS_PER_S)
    fine = option in (SO_TIMESTAMPNS, SO_TIMESTAMPNS_NEW)
    return SOL_SOCKET, option, struct.pack("<qq", seconds, ns if fine else ns // NS_PER_US)
