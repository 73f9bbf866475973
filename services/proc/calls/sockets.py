"""Sockets: so far only the AF_UNIX pairs of socketpair(2); all else is EAFNOSUPPORT.

The calls decode and encode; `unixpair.UnixSocket` does the work. A pair is connected and has no
names: addresses read as AF_UNIX alone, and a destination is refused as Linux refuses it.
"""

from __future__ import annotations

import struct
from errno import (
    EAFNOSUPPORT,
    ECONNREFUSED,
    EINVAL,
    EISCONN,
    EMSGSIZE,
    ENOTCONN,
    ENOTSOCK,
    EOPNOTSUPP,
    EPROTONOSUPPORT,
    ESOCKTNOSUPPORT,
)
from typing import TYPE_CHECKING, NoReturn

from bus.errors import PosixError
from services.fs.api import Access
from services.proc.abi import AT_FDCWD, O_CLOEXEC, O_NONBLOCK, s32
from services.proc.calls import paths
from services.proc.calls.control import Control, parse_control, tell_control
from services.proc.calls.files import close_fd, install, iovecs
from services.proc.descriptors import drop
from services.proc.files.unixpair import (
    DATAGRAM,
    SEQPACKET,
    SHUT_BOTH,
    STREAM,
    UnixSocket,
    make_pair,
    sender_of,
)
from services.proc.park import Interrupted
from services.proc.table import PARTIAL, syscall

if TYPE_CHECKING:
    from services.drivers.ram.api import Extent
    from services.proc.files.unix_core import Received
    from services.proc.task import Thread

    Vectors = list[tuple[int, int]]

AF_UNIX, AF_INET, AF_INET6 = 1, 2, 10
TYPES = {STREAM: STREAM, DATAGRAM: DATAGRAM, 3: DATAGRAM, SEQPACKET: SEQPACKET}
MSG_PEEK, MSG_CTRUNC, MSG_TRUNC, MSG_DONTWAIT, MSG_WAITALL = 2, 8, 0x20, 0x40, 0x100
MSG_WAITFORONE, MSG_CMSG_CLOEXEC = 0x10000, 0x4000_0000
SOCKADDR_UN_BYTES = 110
MAX_MESSAGES = 1024
_HEADER = struct.Struct("<QI4xQQQQI4x")
"""struct msghdr: name, its length, iovec, its length, control, its length, flags."""
HEADER_BYTES, MMSG_BYTES, MAX_TRANSFER_BYTES = 56, 64, 0x7FFF_F000
NO_ADDRESS = AF_UNIX.to_bytes(2, "little")


def socket_at(t: Thread, fd: int) -> UnixSocket:
    """The socket behind a descriptor; EBADF, ENOTSOCK."""
    file = t.file(fd)
    if not isinstance(file, UnixSocket):
        raise PosixError(ENOTSOCK)
    return file


@syscall(41, "socket", support=PARTIAL, note="no network yet: EAFNOSUPPORT")
def sys_socket(t: Thread, family: int, type_: int, protocol: int) -> int:
    """socket(2)."""
    if s32(type_) & ~(0xF | O_CLOEXEC | O_NONBLOCK):
        raise PosixError(EINVAL)
    raise PosixError(EAFNOSUPPORT)


@syscall(53, "socketpair", support=PARTIAL, note="AF_UNIX only")
async def sys_socketpair(t: Thread, family: int, type_: int, protocol: int, where: int) -> int:
    """socketpair(2)."""
    family, type_, protocol = s32(family), s32(type_), s32(protocol)
    if type_ & ~(0xF | O_CLOEXEC | O_NONBLOCK):
        raise PosixError(EINVAL)
    if family != AF_UNIX:
        raise PosixError(EOPNOTSUPP if family in (AF_INET, AF_INET6) else EAFNOSUPPORT)
    if protocol not in (0, AF_UNIX):
        raise PosixError(EPROTONOSUPPORT)
    kind = TYPES.get(type_ & 0xF)
    if kind is None:
        raise PosixError(ESOCKTNOSUPPORT)
    first, second = await make_pair(t, kind, type_ & O_NONBLOCK)
    cloexec = bool(type_ & O_CLOEXEC)
    try:
        one = await install(t, first, cloexec)
    except PosixError:
        await second.closed(t)
        raise
    other = -1
    try:
        other = await install(t, second, cloexec)
        await t.copyout(where, struct.pack("<ii", one, other))
    except PosixError:
        await close_fd(t, one)
        if other >= 0:
            await close_fd(t, other)
        raise
    return 0


# Sending -------------------------------------------------------------------------------------


async def _refuse_address(t: Thread, socket: UnixSocket, name: int, length: int) -> None:
    """A destination: streams are connected, sequenced packets ignore it, nobody has that name."""
    if not name or not length or socket.type == SEQPACKET:
        return
    if socket.type == STREAM:
        raise PosixError(EISCONN)
    await _refuse(t, name, length)


async def _refuse(t: Thread, name: int, length: int) -> NoReturn:
    """An address: whatever it names, nobody listens there. EINVAL, ECONNREFUSED, ENOENT, ..."""
    if not 2 < s32(length) <= SOCKADDR_UN_BYTES:
        raise PosixError(EINVAL)
    address = await t.copyin(name, s32(length))
    if int.from_bytes(address[:2], "little") != AF_UNIX:
        raise PosixError(EINVAL)
    path = address[2:].split(b"\0", 1)[0]
    if path:
        cred = t.process.credentials.cred
        at = paths.base(t, AT_FDCWD, path)
        await paths.walk(t, at, path, lambda at, path: Access(at, path, 0, cred))
    raise PosixError(ECONNREFUSED)


async def _send(
    t: Thread, socket: UnixSocket, extents: list[Extent], flags: int, control: Control | None
) -> int:
    if control is None:
        return await socket.send(t, extents, flags, sender_of(t), [])
    for file in control.files:
        file.holders += 1
    try:
        sender = control.sender or sender_of(t)
        return await socket.send(t, extents, flags, sender, control.files)
    except BaseException:
        for file in control.files:
            await drop(file, t)
        raise


@syscall(44, "sendto", bound=66 << 10)
async def sys_sendto(
    t: Thread, fd: int, buffer: int, count: int, flags: int, name: int, length: int
) -> int:
    """sendto(2), send(2)."""
    socket = socket_at(t, fd)
    await _refuse_address(t, socket, name, length)
    extents = await t.extents(buffer, min(count, MAX_TRANSFER_BYTES), False)
    return await _send(t, socket, extents, flags, None)


async def _send_message(t: Thread, socket: UnixSocket, where: int, flags: int) -> int:
    raw = await t.copyin(where, HEADER_BYTES)
    name, name_size, vector, vectors, control, control_size, _ = _HEADER.unpack(raw)
    if vectors > 1024:
        raise PosixError(EMSGSIZE)
    await _refuse_address(t, socket, name, name_size)
    parsed = await parse_control(t, control, control_size) if control_size else None
    extents = await _buffers(t, await iovecs(t, vector, vectors), 0, False)
    return await _send(t, socket, extents, flags, parsed)


@syscall(46, "sendmsg", bound=84 << 10)
async def sys_sendmsg(t: Thread, fd: int, where: int, flags: int) -> int:
    """sendmsg(2)."""
    return await _send_message(t, socket_at(t, fd), where, flags & 0xFFFF_FFFF)


@syscall(307, "sendmmsg", bound=84 << 10)
async def sys_sendmmsg(t: Thread, fd: int, where: int, count: int, flags: int) -> int:
    """sendmmsg(2)."""
    socket, done = socket_at(t, fd), 0
    while done < min(count & 0xFFFF_FFFF, MAX_MESSAGES):
        at = where + MMSG_BYTES * done
        try:
            sent = await _send_message(t, socket, at, flags & 0xFFFF_FFFF)
        except Exception:
            if done:
                break
            raise
        await t.copyout(at + HEADER_BYTES, sent.to_bytes(4, "little"))
        done += 1
    return done


# Receiving -----------------------------------------------------------------------------------


async def _buffers(t: Thread, vectors: Vectors, skipped: int, write: bool) -> list[Extent]:
    """The runs behind a message's buffers, without their first `skipped` bytes."""
    extents: list[Extent] = []
    for start, size in vectors:
        if skipped < size:
            extents += await t.extents(start + skipped, size - skipped, write)
        skipped = max(skipped - size, 0)
    return extents


async def _receive(t: Thread, socket: UnixSocket, vectors: Vectors, flags: int) -> Received:
    """Receive once, or with MSG_WAITALL until the buffers of a stream are full."""
    received = await socket.receive(t, await _buffers(t, vectors, 0, True), flags)
    if not flags & MSG_WAITALL or flags & MSG_PEEK or socket.type != STREAM:
        return received
    wanted = sum(size for _, size in vectors)
    while 0 < received.count < wanted and not received.files:
        try:
            extents = await _buffers(t, vectors, received.count, True)
            more = await socket.receive(t, extents, flags)
        except Interrupted:
            if t.kernel.interrupts(t):
                break
            continue  # the buffers moved while it waited
        except PosixError:
            break
        if not more.count:
            break
        received.count += more.count
        received.files += more.files
    return received


@syscall(45, "recvfrom", bound=84 << 10)
async def sys_recvfrom(
    t: Thread, fd: int, buffer: int, count: int, flags: int, name: int, length: int
) -> int:
    """recvfrom(2), recv(2): the sender has no name, so its address is empty."""
    socket = socket_at(t, fd)
    vectors = [(buffer, min(count, MAX_TRANSFER_BYTES))]
    received = await _receive(t, socket, vectors, flags & 0xFFFF_FFFF)
    for file in received.files:
        await drop(file, t)
    if name and length:
        await t.copyout(length, bytes(4))
    return received.count


async def _receive_message(t: Thread, socket: UnixSocket, where: int, flags: int) -> int:
    raw = await t.copyin(where, HEADER_BYTES)
    name, _, vector, vectors, control, room, _ = _HEADER.unpack(raw)
    if vectors > 1024:
        raise PosixError(EMSGSIZE)
    received = await _receive(t, socket, await iovecs(t, vector, vectors), flags)
    shown = flags & MSG_CMSG_CLOEXEC
    if received.truncated:
        shown |= MSG_TRUNC
    cloexec = bool(flags & MSG_CMSG_CLOEXEC)
    passes = socket.passes_credentials
    used, cut = await tell_control(t, received, control, room, cloexec, passes)
    if cut:
        shown |= MSG_CTRUNC
    if name:
        await t.copyout(where + 8, bytes(4))
    await t.copyout(where + 40, struct.pack("<QI", used, shown))
    return received.count


@syscall(47, "recvmsg", bound=84 << 10)
async def sys_recvmsg(t: Thread, fd: int, where: int, flags: int) -> int:
    """recvmsg(2)."""
    return await _receive_message(t, socket_at(t, fd), where, flags & 0xFFFF_FFFF)


@syscall(299, "recvmmsg", bound=84 << 10, support=PARTIAL, note="the timeout is ignored")
async def sys_recvmmsg(t: Thread, fd: int, where: int, count: int, flags: int, timer: int) -> int:
    """recvmmsg(2): MSG_WAITFORONE waits for the first only."""
    socket, done = socket_at(t, fd), 0
    flags &= 0xFFFF_FFFF
    wait_for_one, flags = flags & MSG_WAITFORONE, flags & ~MSG_WAITFORONE
    while done < min(count & 0xFFFF_FFFF, MAX_MESSAGES):
        at = where + MMSG_BYTES * done
        try:
            size = await _receive_message(t, socket, at, flags)
        except Exception:
            if done:
                break
            raise
        await t.copyout(at + HEADER_BYTES, size.to_bytes(4, "little"))
        done += 1
        if wait_for_one:
            flags |= MSG_DONTWAIT
    return done


# The rest ------------------------------------------------------------------------------------


@syscall(48, "shutdown")
def sys_shutdown(t: Thread, fd: int, how: int) -> int:
    """shutdown(2)."""
    socket, how = socket_at(t, fd), s32(how)
    if not 0 <= how <= 2:
        raise PosixError(EINVAL)
    if socket.peer is None and socket.type != DATAGRAM:
        raise PosixError(ENOTCONN)
    socket.shutdown((how + 1) & SHUT_BOTH)
    return 0


async def _tell_address(t: Thread, where: int, length_at: int) -> None:
    room = s32(int.from_bytes(await t.copyin(length_at, 4), "little"))
    if room < 0:
        raise PosixError(EINVAL)
    if room:
        await t.copyout(where, NO_ADDRESS[:room])
    await t.copyout(length_at, len(NO_ADDRESS).to_bytes(4, "little"))


@syscall(51, "getsockname")
async def sys_getsockname(t: Thread, fd: int, where: int, length: int) -> int:
    """getsockname(2): a pair has no names."""
    socket_at(t, fd)
    await _tell_address(t, where, length)
    return 0


@syscall(52, "getpeername")
async def sys_getpeername(t: Thread, fd: int, where: int, length: int) -> int:
    """getpeername(2)."""
    if socket_at(t, fd).peer is None:
        raise PosixError(ENOTCONN)
    await _tell_address(t, where, length)
    return 0


@syscall(42, "connect", support=PARTIAL, note="no names to connect to: ECONNREFUSED")
async def sys_connect(t: Thread, fd: int, name: int, length: int) -> int:
    """connect(2): nobody listens."""
    socket_at(t, fd)
    await _refuse(t, name, length)


@syscall(49, "bind", support=PARTIAL, note="EOPNOTSUPP")
def sys_bind(t: Thread, fd: int, name: int, length: int) -> int:
    """bind(2): pairs stay nameless."""
    socket_at(t, fd)
    raise PosixError(EOPNOTSUPP)


@syscall(50, "listen")
def sys_listen(t: Thread, fd: int, backlog: int) -> int:
    """listen(2): a connected socket cannot."""
    raise PosixError(EOPNOTSUPP if socket_at(t, fd).type == DATAGRAM else EINVAL)


@syscall(43, "accept")
def sys_accept(t: Thread, fd: int, name: int, length: int) -> int:
    """accept(2): nothing listens."""
    raise PosixError(EOPNOTSUPP if socket_at(t, fd).type == DATAGRAM else EINVAL)


@syscall(288, "accept4")
def sys_accept4(t: Thread, fd: int, name: int, length: int, flags: int) -> int:
    """accept(2) with flags."""
    if s32(flags) & ~(O_CLOEXEC | O_NONBLOCK):
        raise PosixError(EINVAL)
    raise PosixError(EOPNOTSUPP if socket_at(t, fd).type == DATAGRAM else EINVAL)
