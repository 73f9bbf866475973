"""getsockopt(2) and setsockopt(2)."""

from __future__ import annotations

from errno import EINVAL
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc.abi import s32
from services.proc.calls.sockets.names import INT_BYTES, socket_at
from services.proc.files.socket import SOL_SOCKET, NeedsRoom
from services.proc.files.sockoptions import SO_BINDTODEVICE, VALUE_BYTES
from services.proc.table import syscall

if TYPE_CHECKING:
    from services.proc.task import Thread

VALUE_MAX_BYTES = 1 << 16


@syscall(55, "getsockopt")
async def sys_getsockopt(
    t: Thread, fd: int, level: int, option: int, where: int, length_at: int
) -> int:
    """getsockopt(2)."""
    socket = socket_at(t, fd)
    room = s32(int.from_bytes(await t.copyin(length_at, INT_BYTES), "little"))
    if room < 0:
        if s32(level) != SOL_SOCKET:
            await socket.get_option(t, s32(level), s32(option), 0)
        raise PosixError(EINVAL)
    try:
        value = (await socket.get_option(t, s32(level), s32(option), room))[:room]
    except NeedsRoom as short:
        await t.copyout(length_at, short.length_bytes.to_bytes(INT_BYTES, "little"))
        raise
    await t.copyout(where, value)
    await t.copyout(length_at, len(value).to_bytes(INT_BYTES, "little"))
    return 0


@syscall(54, "setsockopt")
async def sys_setsockopt(
    t: Thread, fd: int, level: int, option: int, where: int, length: int
) -> int:
    """setsockopt(2): no more of the value is read than Linux would."""
    socket, level, option, length = socket_at(t, fd), s32(level), s32(option), s32(length)
    if length < 0:
        raise PosixError(EINVAL)
    if level == SOL_SOCKET:
        if length < INT_BYTES and option != SO_BINDTODEVICE:
            raise PosixError(EINVAL)
        size = min(length, VALUE_BYTES.get(option, INT_BYTES))
    else:
        size = min(length, VALUE_MAX_BYTES)
    await socket.set_option(t, level, option, await t.copyin(where, size) if size else b"")
    return 0
