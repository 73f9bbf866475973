"""Formats of prctl: by option, the arguments that it has and what its result means."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from .buffers import INT_AT, UINT_AT, counted
from .model import ResultKind
from .scalars import ADDR, HEX, INT, ULONG, signal_name
from .tables import prctl as t
from .tables.process import ARCH_PRCTL, CAPABILITIES, SECCOMP_OPERATIONS
from .text import address, c_string, hexadecimal, members, quote, signed, unsigned

if TYPE_CHECKING:
    from .model import Ctx, Format
    from .xlat import Table

_FPROG = struct.Struct("<H6xQ")
PR_MCE_KILL, PR_CAP_AMBIENT, PR_SET_SECCOMP = 33, 47, 22
PR_SET_VMA, PR_SET_PTRACER = 0x53564D41, 0x59616D61


def values(table: Table) -> Format:
    """Make the format of a 64-bit word that is one of a table's values."""
    return lambda word, ctx: table.value(word)


def values32(table: Table) -> Format:
    """Make the format of a 32-bit word that is one of a table's values."""
    return lambda word, ctx: table.value(unsigned(word))


def bits(table: Table) -> Format:
    """Make the format of a 64-bit word of flags."""
    return lambda word, ctx: table.flags(word)


def _name(limit: int) -> Format:
    def render(word: int, ctx: Ctx) -> str:
        found = c_string(word, limit + 1, ctx)
        if found is None or ctx.failed:
            return address(word)
        content, whole = found
        return quote(content) if whole else quote(content[:limit], more=True)

    return render


def FPROG(word: int, ctx: Ctx) -> str:
    """Write a struct sock_fprog."""
    raw = ctx.fetch(word, _FPROG.size)
    if raw is None:
        return address(word)
    length, program = _FPROG.unpack(raw)
    return members(len=str(length), filter=address(program))


def _hex_at(word: int, ctx: Ctx) -> str:
    raw = ctx.fetch(word, 8)
    return address(word) if raw is None else f"[{hexadecimal(int.from_bytes(raw, 'little'))}]"


def _bits_at(table: Table, named: bool) -> Format:
    def render(word: int, ctx: Ctx) -> str:
        raw = ctx.fetch(word, 4)
        if raw is None:
            return address(word)
        number = int.from_bytes(raw, "little")
        return f"[{table.value(number) if named else table.flags(number)}]"

    return render


def _seccomp_mode(word: int, ctx: Ctx) -> str:
    return t.SECCOMP_MODES.value(word)


def _signal(word: int, ctx: Ctx) -> str:
    return signal_name(word)


def _speculation(word: int, ctx: Ctx) -> str:
    known = ctx.args[1] in t.SPECULATIONS.names
    return t.SPECULATION_CONTROL.value(word) if known else hexadecimal(word)


def _tracer(word: int, ctx: Ctx) -> str:
    return "PR_SET_PTRACER_ANY" if word == (1 << 64) - 1 else str(signed(word))


_CAPABILITY = values(CAPABILITIES)
_REST = (HEX, HEX, HEX)
_NOTHING: tuple[Format, ...] = ()

# By option: the formats of the arguments it has, and whether they wait for the exit.
_OPTIONS: dict[int, tuple[tuple[Format, ...], bool]] = {
    1: ((_signal,), False),
    2: ((INT_AT,), True),
    3: (_NOTHING, True),
    4: ((values(t.DUMPABLE),), False),
    5: ((_bits_at(t.UNALIGN, named=False),), True),
    6: ((lambda word, ctx: t.UNALIGN.flags(unsigned(word)),), False),
    7: (_NOTHING, True),
    8: ((ULONG,), False),
    9: ((UINT_AT,), True),
    10: ((ULONG,), False),
    11: ((UINT_AT,), True),
    12: ((ULONG,), False),
    13: (_NOTHING, True),
    14: ((ULONG,), False),
    15: ((_name(15),), False),
    16: ((_name(16),), True),
    19: ((UINT_AT,), True),
    20: ((ULONG,), False),
    21: (_NOTHING, True),
    23: ((_CAPABILITY,), False),
    24: ((_CAPABILITY,), False),
    25: ((_bits_at(t.TSC, named=True),), True),
    26: ((values32(t.TSC),), False),
    27: (_NOTHING, True),
    28: ((bits(t.SECUREBITS),), False),
    29: ((ULONG,), False),
    30: (_NOTHING, True),
    31: (_NOTHING, False),
    32: (_NOTHING, False),
    35: ((values32(t.SET_MM), *_REST), False),
    36: ((ULONG,), False),
    37: ((INT_AT,), True),
    38: ((ULONG, *_REST), False),
    40: ((_hex_at,), True),
    41: ((ULONG, *_REST), False),
    52: ((values(t.SPECULATIONS),), True),
    53: ((values(t.SPECULATIONS), _speculation), False),
    57: ((ULONG, *_REST), False),
    59: ((values(t.SYSCALL_DISPATCH), HEX, HEX, ADDR), False),
    PR_SET_PTRACER: ((_tracer,), False),
}


def _option(ctx: Ctx) -> tuple[tuple[Format, ...], bool]:
    """Give an option's formats; for some, they depend on the first argument."""
    option, first = unsigned(ctx.args[0]), ctx.args[1]
    if option == PR_MCE_KILL and first == 1:
        return (values(t.MCE_KILL), values(t.MCE_POLICIES), HEX, HEX), False
    if option == PR_MCE_KILL:
        return (values(t.MCE_KILL), *_REST), False
    if option == PR_CAP_AMBIENT:
        second = _CAPABILITY if first in (1, 2, 3) else HEX
        return (values(t.CAP_AMBIENT), second, HEX, HEX), False
    if option == PR_SET_SECCOMP:
        rest: tuple[Format, ...] = {1: (), 2: (FPROG,)}.get(first, _REST)
        return (_seccomp_mode, *rest), False
    if option == PR_SET_VMA:
        if first == 0:
            return (values(t.SET_VMA), ADDR, ULONG, _name(80)), False
        return (values(t.SET_VMA), *_REST), False
    return _OPTIONS.get(option, ((HEX, *_REST), False))


def prctl_argument(position: int) -> Format:
    """Make the format of one of prctl's arguments after the option (positions 0 to 3)."""

    def render(word: int, ctx: Ctx) -> str:
        formats, _ = _option(ctx)
        return formats[position](word, ctx) if position < len(formats) else ""

    return render


def prctl_split(ctx: Ctx) -> int:
    """Say how many of prctl's parameters print at entry."""
    return 1 if _option(ctx)[1] else 5


def _hex_note(table: Table, result: int) -> str | None:
    return table.flags(result) if result else None


def prctl_note(ctx: Ctx) -> str | None:
    """Explain prctl's result."""
    option, result = unsigned(ctx.args[0]), ctx.result or 0
    if ctx.failed:
        return None
    if option == 3:
        return t.DUMPABLE.names.get(result)
    if option == 27:
        return _hex_note(t.SECUREBITS, result)
    if option == 34:
        return t.MCE_POLICIES.names.get(result)
    if option == 52:
        return t.SPECULATION_STATUS.flags(result)
    return None


def prctl_result(ctx: Ctx) -> ResultKind:
    """Say whether prctl's result is a word of flags."""
    return ResultKind.HEX if unsigned(ctx.args[0]) in (27, 52) else ResultKind.DECIMAL


def ARCH_ARGUMENT(word: int, ctx: Ctx) -> str:
    """Write arch_prctl's address."""
    code = unsigned(ctx.args[0])
    if code == 0x1011:
        return ""
    if code in (0x1003, 0x1004):
        return _hex_at(word, ctx)
    return hexadecimal(word)


def arch_split(ctx: Ctx) -> int:
    """Say how many of arch_prctl's parameters print at entry."""
    return 1 if unsigned(ctx.args[0]) in (0x1003, 0x1004) else 2


def arch_code(word: int, ctx: Ctx) -> str:
    """Write arch_prctl's code."""
    return ARCH_PRCTL.value(unsigned(word))


def SECCOMP_FLAGS(word: int, ctx: Ctx) -> str:
    """Write seccomp's flags, which only a filter has."""
    if unsigned(ctx.args[0]) == 1:
        return t.SECCOMP_FILTER_FLAGS.flags(unsigned(word))
    return hexadecimal(unsigned(word))


def SECCOMP_ARGUMENT(word: int, ctx: Ctx) -> str:
    """Write seccomp's last argument, as its operation reads it."""
    operation = unsigned(ctx.args[0])
    if operation == 1:
        return FPROG(word, ctx)
    if operation == 2:
        raw = ctx.peek(word, 4)
        if raw is None:
            return address(word)
        return f"[{t.SECCOMP_ACTIONS.value(int.from_bytes(raw, 'little'))}]"
    if operation == 3:
        return _notification_sizes(word, ctx)
    return address(word)


def _notification_sizes(word: int, ctx: Ctx) -> str:
    raw = ctx.fetch(word, 6)
    if raw is None:
        return address(word)
    a, b, c = struct.unpack("<3H", raw)
    return members(seccomp_notif=str(a), seccomp_notif_resp=str(b), seccomp_data=str(c))


def seccomp_split(ctx: Ctx) -> int:
    """Say how many of seccomp's parameters print at entry."""
    return 2 if unsigned(ctx.args[0]) == 3 else 3


SECCOMP_OPERATION: Format = lambda word, ctx: SECCOMP_OPERATIONS.value(unsigned(word))  # noqa: E731


def SYSLOG_ACTION(word: int, ctx: Ctx) -> str:
    """Write syslog's action, a number with its name."""
    number = signed(word)
    name = _SYSLOG.get(number, "SYSLOG_ACTION_???")
    return f"{number} /* {name} */"


_SYSLOG = {
    0: "SYSLOG_ACTION_CLOSE", 1: "SYSLOG_ACTION_OPEN", 2: "SYSLOG_ACTION_READ",
    3: "SYSLOG_ACTION_READ_ALL", 4: "SYSLOG_ACTION_READ_CLEAR", 5: "SYSLOG_ACTION_CLEAR",
    6: "SYSLOG_ACTION_CONSOLE_OFF", 7: "SYSLOG_ACTION_CONSOLE_ON",
    8: "SYSLOG_ACTION_CONSOLE_LEVEL", 9: "SYSLOG_ACTION_SIZE_UNREAD",
    10: "SYSLOG_ACTION_SIZE_BUFFER",
}  # fmt: skip
_READS = (2, 3, 4)
_SETS_LEVEL = 8
_WITHOUT = (0, 1, 5, 6, 7, 9, 10)


def SYSLOG_BUFFER(word: int, ctx: Ctx) -> str:
    """Write syslog's buffer, if its action has one."""
    action = signed(ctx.args[0])
    if action in _WITHOUT:
        return ""
    if action in _READS and not ctx.failed:
        return counted(word, ctx.result or 0, ctx)
    return address(word)


def SYSLOG_LENGTH(word: int, ctx: Ctx) -> str:
    """Write syslog's length, if its action has one."""
    action = signed(ctx.args[0])
    if action in _WITHOUT:
        return ""
    return t.LOG_LEVELS.decimal(signed(word)) if action == _SETS_LEVEL else INT(word, ctx)


def syslog_split(ctx: Ctx) -> int:
    """Say how many of syslog's parameters print at entry."""
    return 1 if signed(ctx.args[0]) in _READS else 3
