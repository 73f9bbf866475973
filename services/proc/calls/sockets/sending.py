"""send(2), sendto(2), sendmsg(2), sendmmsg(2)."""

from __future__ import annotations

import struct
from errno import EFAULT, EINVAL, EMSGSIZE
from typing import TYPE_CHECKING

from bus.errors import PosixError
from bus.ledger import OutOfHeap
from services.proc.calls.files import CHUNK_BYTES, IOV_MAX, MAX_TRANSFER_BYTES, iovecs
from services.proc.calls.sockets.control import control_in
from services.proc.calls.sockets.names import STORAGE_BYTES, name_in, socket_at
from services.proc.files.socket import MSG_DONTWAIT, MSG_NOSIGNAL
from services.proc.table import syscall
from services.vm.api import PageMiss

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.drivers.ram.api import Extent
    from services.proc.files.socket import ControlMessage, Socket
    from services.proc.task import Thread

    Vectors = list[tuple[int, int]]

MSG_CMSG_COMPAT = 0x8000_0000
INTERNAL_FLAGS = 0x0811_0000
"""MSG_ flags that only the kernel itself may set; a program's are ignored."""
HEADER = struct.Struct("<Qi4xQQQQI4x")
"""struct msghdr: name, its length, iovec, its length, control, its length, flags."""
HEADER_BYTES, MMSG_BYTES = 56, 64
USER_TOP = 1 << 47
PACKET_MAX_BYTES = 16 << 20
"""No packet is larger; so much of a buffer is enough to find that it is too large."""
INT_MAX = 0x7FFF_FFFF


BATCHED_BYTES = 72 << 10
"""What a message after the first may add, as a sendmsg or recvmsg of its own."""


def more(t: Thread) -> bool:
    """Whether the heap has room for one more message; without, a batch ends and tells its count."""
    try:
        t.kernel.admission.more(BATCHED_BYTES)
    except OutOfHeap:
        return False
    return True


def user_range(vaddr: int, length: int) -> None:
    """access_ok(): EFAULT for a buffer that is not all in the user's half."""
    if vaddr + length > USER_TOP:
        raise PosixError(EFAULT)


async def buffers(t: Thread, vectors: Vectors, write: bool, limit: int) -> list[Extent]:
    """The runs behind a message's buffers, up to `limit` bytes; EFAULT."""
    extents: list[Extent] = []
    for start, size in vectors:
        take = min(size, limit)
        if take:
            extents += await t.extents(start, take, write)
            limit -= take
    return extents


def without(vectors: Vectors, skipped: int) -> Vectors:
    """Buffers without their first `skipped` bytes."""
    rest: Vectors = []
    for start, size in vectors:
        if skipped < size:
            rest.append((start + skipped, size - skipped))
        skipped = max(skipped - size, 0)
    return rest


async def _send(
    t: Thread,
    socket: Socket,
    vectors: Vectors,
    flags: int,
    name: bytes | None,
    control: Sequence[ControlMessage],
) -> int:
    """One message; a stream's in pieces, so that no call faults in a gigabyte at once."""
    length = min(sum(size for _, size in vectors), MAX_TRANSFER_BYTES)
    if not socket.stream or length <= CHUNK_BYTES:
        try:
            extents = await buffers(t, vectors, False, min(length, PACKET_MAX_BYTES))
        except PosixError:
            await socket.before_data(t, flags, name)
            raise
        return await socket.send(t, extents, flags, name, control)
    done = 0
    while done < length:
        size = min(CHUNK_BYTES, length - done)
        try:
            extents = await buffers(t, without(vectors, done), False, size)
            sent = await socket.send(t, extents, flags, name, control)
        except Exception:
            if done:
                return done
            raise
        done += sent
        control = ()
        if sent < size:
            break
    return done


@syscall(44, "sendto", bound=66 << 10)
async def sys_sendto(
    t: Thread, fd: int, buffer: int, count: int, flags: int, name: int, length: int
) -> int:
    """sendto(2), send(2)."""
    if not flags & ~(MSG_NOSIGNAL | MSG_DONTWAIT) and 0 < count <= 4096 and length <= STORAGE_BYTES:
        memory = t.space.memory
        try:
            extents = memory.extents(buffer, count, False)
            named = memory.read_bytes(name, length) if name else b""
        except (PageMiss, PosixError):
            pass
        else:
            return await socket_at(t, fd).send(t, extents, flags, named or None)
    count = min(count, MAX_TRANSFER_BYTES)
    user_range(buffer, count)
    socket = socket_at(t, fd)
    target = await name_in(t, name, length) if name else None
    flags &= 0xFFFF_FFFF & ~INTERNAL_FLAGS
    return await _send(t, socket, [(buffer, count)], flags, target or None, ())


async def header(t: Thread, where: int) -> tuple[int, int, Vectors, int, int]:
    """A struct msghdr: name, its length, buffers, control and its length; EINVAL, EMSGSIZE."""
    raw = await t.copyin(where, HEADER_BYTES)
    name, name_size, vector, vectors, control, control_size, _ = HEADER.unpack(raw)
    if name and name_size < 0:
        raise PosixError(EINVAL)
    if vectors > IOV_MAX:
        raise PosixError(EMSGSIZE)
    spans = await iovecs(t, vector, vectors)
    for start, size in spans:
        user_range(start, min(size, MAX_TRANSFER_BYTES))
    return name, min(name_size, STORAGE_BYTES), spans, control, control_size


async def _send_message(t: Thread, socket: Socket, where: int, flags: int) -> int:
    name, name_size, vectors, control_at, control_size = await header(t, where)
    target = await name_in(t, name, name_size) if name and name_size else None
    control: list[ControlMessage] = []
    if control_at and control_size:
        control = await control_in(t, control_at, control_size)
    return await _send(t, socket, vectors, flags, target, control)


def _flags(flags: int) -> int:
    flags &= 0xFFFF_FFFF
    if flags & MSG_CMSG_COMPAT:
        raise PosixError(EINVAL)
    return flags & ~INTERNAL_FLAGS


@syscall(46, "sendmsg", bound=84 << 10)
async def sys_sendmsg(t: Thread, fd: int, where: int, flags: int) -> int:
    """sendmsg(2)."""
    flags = _flags(flags)
    return await _send_message(t, socket_at(t, fd), where, flags)


@syscall(307, "sendmmsg", bound=84 << 10)
async def sys_sendmmsg(t: Thread, fd: int, where: int, count: int, flags: int) -> int:
    """sendmmsg(2): an error after the first message is not told."""
    flags = _flags(flags)
    socket, done = socket_at(t, fd), 0
    while done < min(count & 0xFFFF_FFFF, IOV_MAX) and (not done or more(t)):
        at = where + MMSG_BYTES * done
        try:
            sent = await _send_message(t, socket, at, flags)
            await t.copyout(at + HEADER_BYTES, sent.to_bytes(4, "little"))
        except Exception:
            if done:
                break
            raise
        done += 1
    return done
