"""bind(2), listen(2), accept(2), connect(2), shutdown(2)."""

from __future__ import annotations

from errno import EINVAL
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc.abi import O_CLOEXEC, O_NONBLOCK, RLIMIT_NOFILE, s32
from services.proc.calls.files import install
from services.proc.calls.sockets.names import file_at, name_in, name_out, socket_at
from services.proc.descriptors import drop
from services.proc.table import syscall

if TYPE_CHECKING:
    from services.proc.task import Thread

SOMAXCONN = 4096
"""net.core.somaxconn."""


@syscall(49, "bind", bound=32 << 10)
async def sys_bind(t: Thread, fd: int, name: int, length: int) -> int:
    """bind(2)."""
    socket = socket_at(t, fd)
    await socket.bind(t, await name_in(t, name, length))
    return 0


@syscall(50, "listen")
async def sys_listen(t: Thread, fd: int, backlog: int) -> int:
    """listen(2): a backlog that is negative counts as a very long one."""
    socket, backlog = socket_at(t, fd), s32(backlog)
    await socket.listen(t, backlog if 0 <= backlog <= SOMAXCONN else SOMAXCONN)
    return 0


async def _accept(t: Thread, fd: int, name: int, length_at: int, flags: int) -> int:
    """The connection is lost where its peer's name cannot be told."""
    file_at(t, fd)
    if flags & ~(O_CLOEXEC | O_NONBLOCK):
        raise PosixError(EINVAL)
    table = t.process.descriptors
    assert table is not None
    table.check_room(t.process.limits[RLIMIT_NOFILE][0])
    socket = socket_at(t, fd)
    made, peer = await socket.hold(t, socket.accept(t, flags & O_NONBLOCK))
    if name:
        try:
            await name_out(t, peer, name, length_at)
        except PosixError:
            made.holders += 1
            await drop(made, t)
            raise
    return await install(t, made, bool(flags & O_CLOEXEC))


@syscall(43, "accept")
async def sys_accept(t: Thread, fd: int, name: int, length_at: int) -> int:
    """accept(2)."""
    return await _accept(t, fd, name, length_at, 0)


@syscall(288, "accept4")
async def sys_accept4(t: Thread, fd: int, name: int, length_at: int, flags: int) -> int:
    """accept4(2)."""
    return await _accept(t, fd, name, length_at, s32(flags))


@syscall(42, "connect", bound=32 << 10)
async def sys_connect(t: Thread, fd: int, name: int, length: int) -> int:
    """connect(2): Linux reads the name before it asks whether this is a socket."""
    file_at(t, fd)
    target = await name_in(t, name, length)
    socket = socket_at(t, fd)
    await socket.hold(t, socket.connect(t, target))
    return 0


@syscall(48, "shutdown")
async def sys_shutdown(t: Thread, fd: int, how: int) -> int:
    """shutdown(2)."""
    socket, how = socket_at(t, fd), s32(how)
    if not 0 <= how <= 2:
        raise PosixError(EINVAL)
    await socket.shutdown(t, how + 1)
    return 0
