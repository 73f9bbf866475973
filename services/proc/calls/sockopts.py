"""getsockopt(2) and setsockopt(2) at level SOL_SOCKET (socket(7), unix(7))."""

from __future__ import annotations

import struct
from errno import EDOM, EINVAL, ENOPROTOOPT, EOPNOTSUPP
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc.abi import s32
from services.proc.calls.sockets import AF_UNIX, socket_at
from services.proc.files.unixpair import SO_PASSCRED, SO_RCVTIMEO, SO_SNDTIMEO
from services.proc.table import PARTIAL, syscall

if TYPE_CHECKING:
    from services.proc.files.unixpair import UnixSocket
    from services.proc.task import Thread

SOL_SOCKET = 1
SO_REUSEADDR, SO_TYPE, SO_ERROR, SO_BROADCAST, SO_SNDBUF, SO_RCVBUF, SO_KEEPALIVE = (
    2, 3, 4, 6, 7, 8, 9,
)  # fmt: skip
SO_PRIORITY, SO_LINGER, SO_REUSEPORT, SO_PEERCRED, SO_RCVLOWAT = 12, 13, 15, 17, 18
SO_SNDLOWAT, SO_ACCEPTCONN, SO_PROTOCOL, SO_DOMAIN = 19, 30, 38, 39
SO_DEBUG, SO_DONTROUTE, SO_OOBINLINE, SO_NO_CHECK, SO_TIMESTAMP = 1, 5, 10, 11, 29
KEPT = frozenset(
    (SO_DEBUG, SO_REUSEADDR, SO_DONTROUTE, SO_BROADCAST, SO_KEEPALIVE, SO_OOBINLINE, SO_NO_CHECK,
     SO_PRIORITY, SO_REUSEPORT, SO_PASSCRED, SO_TIMESTAMP)
)  # fmt: skip
"""Integers that are remembered; only SO_PASSCRED does something."""
BUFFER_MAX_BYTES = 212992
SEND_MIN_BYTES, RECEIVE_MIN_BYTES = 4608, 2304
DEFAULT_BUFFER_BYTES = 212992


def _get(socket: UnixSocket, option: int) -> bytes:
    if option in (SO_RCVTIMEO, SO_SNDTIMEO):
        seconds, ns = divmod(socket.options.get(option, 0), 1_000_000_000)
        return struct.pack("<qq", seconds, ns // 1000)
    if option == SO_LINGER:
        return struct.pack("<ii", *divmod(socket.options.get(option, 0), 1 << 32))
    if option == SO_PEERCRED:
        peer = socket.credentials
        return struct.pack("<iII", *peer)
    if option == SO_ERROR:
        value, socket.error = socket.error, 0
    elif option in KEPT:
        value = socket.options.get(option, 0)
    else:
        values = {
            SO_TYPE: socket.type,
            SO_SNDBUF: socket.send_bytes,
            SO_RCVBUF: socket.options.get(SO_RCVBUF, DEFAULT_BUFFER_BYTES),
            SO_SNDLOWAT: 1,
            SO_RCVLOWAT: socket.options.get(SO_RCVLOWAT, 1),
            SO_ACCEPTCONN: 0,
            SO_PROTOCOL: 0,
            SO_DOMAIN: AF_UNIX,
        }
        if option not in values:
            raise PosixError(ENOPROTOOPT)
        value = values[option]
    return struct.pack("<i", value)


@syscall(55, "getsockopt", support=PARTIAL, note="SOL_SOCKET only")
async def sys_getsockopt(
    t: Thread, fd: int, level: int, option: int, where: int, length_at: int
) -> int:
    """getsockopt(2)."""
    socket = socket_at(t, fd)
    if s32(level) != SOL_SOCKET:
        raise PosixError(EOPNOTSUPP)
    room = s32(int.from_bytes(await t.copyin(length_at, 4), "little"))
    if room < 0:
        raise PosixError(EINVAL)
    value = _get(socket, s32(option))[:room]
    await t.copyout(where, value)
    await t.copyout(length_at, len(value).to_bytes(4, "little"))
    return 0


@syscall(54, "setsockopt", support=PARTIAL, note="SOL_SOCKET only")
async def sys_setsockopt(
    t: Thread, fd: int, level: int, option: int, where: int, length: int
) -> int:
    """setsockopt(2)."""
    socket, option, length = socket_at(t, fd), s32(option), s32(length)
    if s32(level) != SOL_SOCKET:
        raise PosixError(EOPNOTSUPP)
    if length < 4:
        raise PosixError(EINVAL)
    (value,) = struct.unpack("<i", await t.copyin(where, 4))
    if option in (SO_RCVTIMEO, SO_SNDTIMEO):
        await _set_timeout(t, socket, option, where, length)
    elif option == SO_LINGER:
        if length < 8:
            raise PosixError(EINVAL)
        (seconds,) = struct.unpack("<i", await t.copyin(where + 4, 4))
        socket.options[option] = bool(value) << 32 | seconds & 0x7FFF_FFFF
    elif option == SO_SNDBUF:
        socket.send_bytes = max(2 * min(value & 0xFFFF_FFFF, BUFFER_MAX_BYTES), SEND_MIN_BYTES)
        socket.queue.wake()
    elif option == SO_RCVBUF:
        size = max(2 * min(value & 0xFFFF_FFFF, BUFFER_MAX_BYTES), RECEIVE_MIN_BYTES)
        socket.options[option] = size
    elif option == SO_RCVLOWAT:
        socket.options[option] = max(value, 1)
    elif option in KEPT:
        socket.options[option] = value if option == SO_PRIORITY else int(bool(value))
    else:
        raise PosixError(ENOPROTOOPT)
    return 0


async def _set_timeout(t: Thread, socket: UnixSocket, option: int, where: int, length: int) -> None:
    if length < 16:
        raise PosixError(EINVAL)
    seconds, us = struct.unpack("<qq", await t.copyin(where, 16))
    if not 0 <= us < 1_000_000:
        raise PosixError(EDOM)
    ns = max(seconds, 0) * 1_000_000_000 + us * 1000
    socket.options[option] = min(ns, 1 << 62)
