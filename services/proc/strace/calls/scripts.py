"""Signatures of the calls on scripts, which strace does not know: the arguments as signed words."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from ..buffers import buffer
from ..model import Signature, call
from ..scalars import FD, UINT, ULONG
from ..text import address

if TYPE_CHECKING:
    from ..model import Ctx

_IN_REGISTERS, _MOST = 4, 8
_POINTER_LIKE = 1 << 20


def _argument(word: int) -> str:
    """Write a number, or what is large enough to be an address in hexadecimal."""
    return str(word) if abs(word) < _POINTER_LIKE else f"{word:#x}"


def _arguments(word: int, ctx: Ctx) -> str:
    """Write as many words as the second argument says; the last register may lead to the rest."""
    count = ctx.args[1] & 0xFFFF_FFFF
    given = struct.unpack("<4q", struct.pack("<4Q", *ctx.args[2:6]))
    if count <= _IN_REGISTERS:
        return ", ".join(map(_argument, given[:count]))
    shown = [_argument(value) for value in given[:3]]
    size = 8 * (min(count, _MOST) - 3)
    rest = ctx.peek(ctx.args[5], size)
    if rest is None or len(rest) < size:
        return ", ".join([*shown, address(ctx.args[5])])
    return ", ".join([*shown, *(_argument(value) for (value,) in struct.iter_unpack("<q", rest))])


SCRIPTS: dict[str, Signature] = {
    "register_lua_syscall": call(script=buffer(1), size=ULONG),
    "lua_syscall": call(fd=FD, count=UINT, arguments=_arguments),
}
