"""The socket behind a descriptor, and socket addresses to and from user memory."""

from __future__ import annotations

from errno import EBADF, EINVAL, ENOTSOCK
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc.abi import O_PATH, s32
from services.proc.files.socket import Socket
from services.proc.table import syscall

if TYPE_CHECKING:
    from services.proc.descriptors import OpenFile
    from services.proc.task import Thread

STORAGE_BYTES, INT_BYTES = 128, 4
"""sizeof(struct sockaddr_storage), and of a socklen_t."""


def socket_at(t: Thread, fd: int) -> Socket:
    """The socket behind a descriptor; EBADF, ENOTSOCK."""
    file = file_at(t, fd)
    if not isinstance(file, Socket):
        raise PosixError(ENOTSOCK)
    return file


def file_at(t: Thread, fd: int) -> OpenFile:
    """What is open there, a socket or not; EBADF."""
    file = t.file(fd)
    if file.flags & O_PATH:
        raise PosixError(EBADF)
    return file


async def name_in(t: Thread, where: int, length: int) -> bytes:
    """A socket address that the program gives; EINVAL, EFAULT."""
    size = s32(length)
    if not 0 <= size <= STORAGE_BYTES:
        raise PosixError(EINVAL)
    return await t.copyin(where, size) if size else b""


async def name_out(t: Thread, name: bytes, where: int, length_at: int) -> None:
    """Tell a socket address: as much as there is room for, and how long it is; EFAULT, EINVAL."""
    room = s32(int.from_bytes(await t.copyin(length_at, INT_BYTES), "little"))
    if room >= 0:
        await t.copyout(length_at, len(name).to_bytes(INT_BYTES, "little"))
    else:
        raise PosixError(EINVAL)
    if room and name:
        await t.copyout(where, name[:room])


@syscall(51, "getsockname")
async def sys_getsockname(t: Thread, fd: int, where: int, length_at: int) -> int:
    """getsockname(2)."""
    await name_out(t, await socket_at(t, fd).name(), where, length_at)
    return 0


@syscall(52, "getpeername")
async def sys_getpeername(t: Thread, fd: int, where: int, length_at: int) -> int:
    """getpeername(2)."""
    await name_out(t, await socket_at(t, fd).peer_name(), where, length_at)
    return 0
