"""Formats of fcntl: what its argument is depends on the command, and so does its result."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from .filestat import open_flags
from .model import ResultKind
from .scalars import INT, signal_name
from .tables import files as t
from .text import address, hexadecimal, members, signed, unsigned

if TYPE_CHECKING:
    from .model import Ctx, Format

_FLOCK = struct.Struct("<hhxxxxqqi4x")
_OWNER = struct.Struct("<Ii")
(F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETLK, F_SETLK, F_SETLKW, F_SETOWN, F_GETOWN,
 F_SETSIG, F_GETSIG) = range(12)  # fmt: skip
F_SETOWN_EX, F_GETOWN_EX = 15, 16
F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW = 36, 37, 38
F_SETLEASE, F_GETLEASE, F_NOTIFY = 1024, 1025, 1026
F_DUPFD_CLOEXEC, F_SETPIPE_SZ, F_GETPIPE_SZ, F_ADD_SEALS, F_GET_SEALS = range(1030, 1035)
F_GET_RW_HINT, F_SET_RW_HINT, F_GET_FILE_RW_HINT, F_SET_FILE_RW_HINT = range(1035, 1039)

_NO_ARGUMENT = {F_GETFD, F_GETFL, F_GETOWN, F_GETSIG, F_GETLEASE, F_GETPIPE_SZ, F_GET_SEALS}
_AT_EXIT = {F_GETLK, F_OFD_GETLK, F_GETOWN_EX} | _NO_ARGUMENT


def _lock(with_pid: bool) -> Format:
    def render(word: int, ctx: Ctx) -> str:
        raw = ctx.fetch(word, _FLOCK.size)
        if raw is None:
            return address(word)
        kind, whence, start, length, pid = _FLOCK.unpack(raw)
        fields = {
            "l_type": t.LOCK_TYPES.value(unsigned(kind, 16)),
            "l_whence": t.SEEK.value(unsigned(whence, 16)),
            "l_start": str(start),
            "l_len": str(length),
        }
        if with_pid:
            fields["l_pid"] = str(pid)
        return members(**fields)

    return render


def _owner(word: int, ctx: Ctx) -> str:
    raw = ctx.fetch(word, _OWNER.size)
    if raw is None:
        return address(word)
    kind, pid = _OWNER.unpack(raw)
    return members(type=t.OWNER_TYPES.value(kind), pid=str(pid))


_ARGUMENTS: dict[int, Format] = {
    F_DUPFD: INT,
    F_DUPFD_CLOEXEC: INT,
    F_SETOWN: INT,
    F_SETPIPE_SZ: INT,
    F_SETFD: lambda word, ctx: t.FD_FLAGS.flags(unsigned(word)),
    F_SETFL: lambda word, ctx: open_flags(unsigned(word)),
    F_GETLK: _lock(with_pid=True),
    F_OFD_GETLK: _lock(with_pid=True),
    F_SETLK: _lock(with_pid=False),
    F_SETLKW: _lock(with_pid=False),
    F_OFD_SETLK: _lock(with_pid=False),
    F_OFD_SETLKW: _lock(with_pid=False),
    F_SETOWN_EX: _owner,
    F_GETOWN_EX: _owner,
    F_SETSIG: lambda word, ctx: signal_name(signed(word)),
    F_SETLEASE: lambda word, ctx: t.LOCK_TYPES.value(unsigned(word)),
    F_NOTIFY: lambda word, ctx: t.NOTIFY_FLAGS.flags(unsigned(word)),
    F_ADD_SEALS: lambda word, ctx: t.SEALS.flags(unsigned(word)),
}


def FCNTL_ARGUMENT(word: int, ctx: Ctx) -> str:
    """Write fcntl's third argument, as its command reads it."""
    command = unsigned(ctx.args[1])
    if command in _NO_ARGUMENT:
        return ""
    render = _ARGUMENTS.get(command)
    return hexadecimal(word) if render is None else render(word, ctx)


def fcntl_split(ctx: Ctx) -> int:
    """Say how many of fcntl's parameters print at entry."""
    return 2 if unsigned(ctx.args[1]) in _AT_EXIT else 3


def fcntl_note(ctx: Ctx) -> str | None:
    """Explain fcntl's result: `flags O_RDWR|O_APPEND`."""
    command, result = unsigned(ctx.args[1]), ctx.result or 0
    if ctx.failed:
        return None
    if command == F_GETFD:
        return f"flags {t.FD_FLAGS.plain_flags(result)}" if result else None
    if command == F_GETFL:
        return f"flags {open_flags(result)}"
    if command == F_GET_SEALS:
        return f"seals {t.SEALS.plain_flags(result)}" if result else None
    if command == F_GETLEASE:
        return t.LOCK_TYPES.names.get(result)
    if command == F_GETSIG and result:
        name = signal_name(result)
        return name if name.startswith("SIG") else None
    return None


def fcntl_result(ctx: Ctx) -> ResultKind:
    """Say whether fcntl's result is a word of flags."""
    in_hex = unsigned(ctx.args[1]) in (F_GETFD, F_GETFL, F_GET_SEALS, F_GETLEASE)
    return ResultKind.HEX if in_hex else ResultKind.DECIMAL
