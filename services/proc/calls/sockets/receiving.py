"""recv(2), recvfrom(2), recvmsg(2), recvmmsg(2)."""

from __future__ import annotations

import struct
from errno import EAGAIN, EINVAL
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc.calls.files import CHUNK_BYTES, MAX_TRANSFER_BYTES
from services.proc.calls.poll import time_at
from services.proc.calls.sockets.control import ControlOut
from services.proc.calls.sockets.names import name_out, socket_at
from services.proc.calls.sockets.sending import (
    HEADER_BYTES,
    MMSG_BYTES,
    MSG_CMSG_COMPAT,
    PACKET_MAX_BYTES,
    buffers,
    header,
    more,
    user_range,
    without,
)
from services.proc.descriptors import drop
from services.proc.files.readiness import time_left
from services.proc.files.socket import (
    MSG_DONTWAIT,
    MSG_OOB,
    MSG_PEEK,
    MSG_WAITALL,
)
from services.proc.park import Interrupted
from services.proc.table import syscall
from services.vm.api import PageMiss

if TYPE_CHECKING:
    from services.drivers.ram.api import Extent
    from services.proc.files.socket import Received, Socket
    from services.proc.task import Thread

    Vectors = list[tuple[int, int]]

MSG_WAITFORONE, MSG_CMSG_CLOEXEC = 0x10000, 0x4000_0000
NAME_LENGTH_AT, CONTROL_LENGTH_AT = 8, 40
NS_PER_S = 1_000_000_000


async def _room(t: Thread, socket: Socket, vectors: Vectors, flags: int) -> list[Extent]:
    """The runs to receive into. As on Linux a bad buffer shows only once there are data."""
    limit = CHUNK_BYTES if socket.stream else PACKET_MAX_BYTES
    try:
        return await buffers(t, vectors, True, limit)
    except PosixError:
        # A stream keeps what could not be copied, a packet is lost.
        lost = await socket.receive(t, [], flags | (MSG_PEEK if socket.stream else 0))
        await _discard(t, lost)
        if socket.at_end():
            return []
        raise


async def _discard(t: Thread, received: Received) -> None:
    for file in received.files:
        await drop(file, t)


async def _receive_once(t: Thread, socket: Socket, vectors: Vectors, flags: int) -> Received:
    """Receive; the buffers are looked up anew where they have moved while it waited."""
    while True:
        extents = await _room(t, socket, vectors, flags)
        try:
            return await socket.receive(t, extents, flags)
        except Interrupted:
            if t.kernel.interrupts(t) or not socket.holders:
                raise


async def _receive(t: Thread, socket: Socket, vectors: Vectors, flags: int) -> Received:
    """Receive once, or with MSG_WAITALL until the buffers of a stream are full."""
    received = await _receive_once(t, socket, vectors, flags)
    if flags & MSG_WAITALL and socket.stream and not flags & (MSG_PEEK | MSG_OOB):
        wanted = min(sum(size for _, size in vectors), MAX_TRANSFER_BYTES)
        while 0 < received.count < wanted and not received.final:
            rest = without(vectors, received.count)
            try:
                more = await _receive_once(t, socket, rest, flags)
            except (PosixError, Interrupted):
                break
            if not more.count:
                break
            received.count += more.count
            received.files += more.files
            received.final = more.final
    return received


@syscall(45, "recvfrom", bound=84 << 10)
async def sys_recvfrom(
    t: Thread, fd: int, buffer: int, count: int, flags: int, name: int, length_at: int
) -> int:
    """recvfrom(2), recv(2)."""
    flags &= 0xFFFF_FFFF
    if not flags & ~MSG_DONTWAIT and not name and 0 < count <= 4096:
        try:
            extents = t.space.memory.extents(buffer, count, True)
        except (PageMiss, PosixError):
            pass
        else:
            return await socket_at(t, fd).take(t, extents, flags)
    count = min(count, MAX_TRANSFER_BYTES)
    user_range(buffer, count)
    socket = socket_at(t, fd)
    received = await _receive(t, socket, [(buffer, count)], flags)
    if received.files:
        await _discard(t, received)
    if name:
        await name_out(t, received.name, name, length_at)
    return received.count


async def _receive_message(t: Thread, socket: Socket, where: int, flags: int) -> tuple[int, int]:
    """recvmsg(2): its result, and the MSG_ flags that came with it."""
    name, _, vectors, control, room = await header(t, where)
    received = await _receive(t, socket, vectors, flags)
    cloexec = bool(flags & MSG_CMSG_CLOEXEC)
    out = ControlOut(t, control, room)
    await out.tell(received, cloexec)
    shown = flags & MSG_CMSG_CLOEXEC | received.flags | out.flags
    if name:
        await name_out(t, received.name, name, where + NAME_LENGTH_AT)
    await t.copyout(where + CONTROL_LENGTH_AT, struct.pack("<QI", out.used, shown))
    return received.count, shown


def _flags(flags: int) -> int:
    flags &= 0xFFFF_FFFF
    if flags & MSG_CMSG_COMPAT:
        raise PosixError(EINVAL)
    return flags


@syscall(47, "recvmsg", bound=84 << 10)
async def sys_recvmsg(t: Thread, fd: int, where: int, flags: int) -> int:
    """recvmsg(2)."""
    flags = _flags(flags)
    count, _ = await _receive_message(t, socket_at(t, fd), where, flags)
    return count


@syscall(299, "recvmmsg", bound=84 << 10)
async def sys_recvmmsg(t: Thread, fd: int, where: int, count: int, flags: int, timer: int) -> int:
    """recvmmsg(2): the timeout is looked at after each message, as on Linux (BUGS).

    An error after the first message is what the socket's next operation tells.
    """
    flags, deadline = _flags(flags), None
    timeout = await time_at(t, timer, 1)
    if timeout is not None:
        deadline = await t.kernel.timers.now() + timeout
    socket = socket_at(t, fd)
    error = socket.take_error()
    if error:
        raise PosixError(error)
    done, left = 0, timeout
    wait_for_one, flags = flags & MSG_WAITFORONE, flags & ~MSG_WAITFORONE
    while done < count & 0xFFFF_FFFF and (not done or more(t)):
        at = where + MMSG_BYTES * done
        try:
            size, shown = await _receive_message(t, socket, at, flags)
            await t.copyout(at + HEADER_BYTES, size.to_bytes(4, "little"))
        except (PosixError, Interrupted) as failure:
            if not done:
                raise
            if isinstance(failure, PosixError) and failure.errno != EAGAIN:
                socket.error = failure.errno
            break
        done += 1
        if wait_for_one:
            flags |= MSG_DONTWAIT
        if deadline is not None:
            left = await time_left(t, deadline)
            if not left:
                break
        if shown & MSG_OOB:
            break
    if done and left is not None:
        await t.copyout(timer, struct.pack("<qq", *divmod(left, NS_PER_S)))
    return done
