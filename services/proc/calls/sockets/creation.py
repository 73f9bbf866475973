"""socket(2) and socketpair(2)."""

from __future__ import annotations

import struct
from errno import EAFNOSUPPORT, EINVAL
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc.abi import O_CLOEXEC, O_NONBLOCK, s32
from services.proc.calls.files import close_fd, install
from services.proc.descriptors import drop
from services.proc.files import unix
from services.proc.files.socket import AF_INET, AF_UNIX, SOCK_PACKET
from services.proc.table import syscall

if TYPE_CHECKING:
    from services.proc.files.socket import Create, Socket
    from services.proc.task import Thread

TYPE_MASK, SOCK_TYPES = 0xF, 11
AF_MAX = 46
FD_PAIR_BYTES = 8
BUILT_IN: dict[int, Create] = {AF_UNIX: unix.create}


def _split_type(type_: int) -> tuple[int, int]:
    """Type and flags (SOCK_NONBLOCK is O_NONBLOCK, SOCK_CLOEXEC O_CLOEXEC); EINVAL."""
    type_ = s32(type_)
    flags = type_ & ~TYPE_MASK
    if flags & ~(O_CLOEXEC | O_NONBLOCK):
        raise PosixError(EINVAL)
    return type_ & TYPE_MASK, flags


async def _create(t: Thread, family: int, type_: int, protocol: int, flags: int) -> Socket:
    """A new socket of no descriptor yet; EAFNOSUPPORT, EINVAL, and what the family says."""
    if not 0 <= family < AF_MAX:
        raise PosixError(EAFNOSUPPORT)
    if type_ >= SOCK_TYPES:
        raise PosixError(EINVAL)
    families = t.kernel.families
    if family == AF_INET and type_ == SOCK_PACKET:
        family = 17  # an uncouth way to ask for a packet socket that Linux still serves
    create = families.get(family) or BUILT_IN.get(family)
    if create is None:
        raise PosixError(EAFNOSUPPORT)
    return await create(t, type_, protocol, flags & O_NONBLOCK)


@syscall(41, "socket")
async def sys_socket(t: Thread, family: int, type_: int, protocol: int) -> int:
    """socket(2)."""
    kind, flags = _split_type(type_)
    socket = await _create(t, s32(family), kind, s32(protocol), flags)
    return await install(t, socket, bool(flags & O_CLOEXEC))


@syscall(53, "socketpair")
async def sys_socketpair(t: Thread, family: int, type_: int, protocol: int, where: int) -> int:
    """socketpair(2): Linux wants room for the answer first, then looks at the family."""
    kind, flags = _split_type(type_)
    await t.extents(where, FD_PAIR_BYTES, True)
    pair: list[Socket] = []
    fds: list[int] = []
    try:
        for _ in range(2):
            made = await _create(t, s32(family), kind, s32(protocol), flags)
            made.holders += 1
            pair.append(made)
        await pair[0].pair(t, pair[1])
        fds += [t.install(made, bool(flags & O_CLOEXEC)) for made in pair]
        await t.copyout(where, struct.pack("<ii", *fds))
    except BaseException:
        for fd in fds:
            await close_fd(t, fd)
        raise
    finally:
        for made in pair:
            await drop(made, t)
    return 0
