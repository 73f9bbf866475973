"""Formats of futex: which arguments an operation has, and what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .clock import TIMESPEC
from .scalars import ADDR, HEX32, UINT
from .tables.prctl import FUTEX_COMPARISONS, FUTEX_OPERATIONS
from .tables.process import FUTEX_COMMANDS
from .text import hexadecimal, unsigned

if TYPE_CHECKING:
    from .model import Ctx, Format

PRIVATE, CLOCK_REALTIME = 128, 256
MATCH_ANY = 0xFFFFFFFF
_TIMED = (0, 9, 11)  # FUTEX_WAIT, FUTEX_WAIT_BITSET, FUTEX_WAIT_REQUEUE_PI
_PRIVATE_NAMES = {2: "|FUTEX_PRIVATE_FLAG"}


def _operation(word: int, ctx: Ctx) -> str:
    word = unsigned(word)
    command, options = word & 127, word & ~127
    name = FUTEX_COMMANDS.names.get(command)
    realtime = options & CLOCK_REALTIME
    if (
        name is None
        or options & ~(PRIVATE | CLOCK_REALTIME)
        or (realtime and command not in _TIMED)
    ):
        return FUTEX_COMMANDS.nameless(word)
    private = _PRIVATE_NAMES.get(command, "_PRIVATE") if options & PRIVATE else ""
    return f"{name}{private}{'|FUTEX_CLOCK_REALTIME' if realtime else ''}"


FUTEX_OPERATION: Format = _operation


def _bitset(word: int, ctx: Ctx) -> str:
    word = unsigned(word)
    return "FUTEX_BITSET_MATCH_ANY" if word == MATCH_ANY else hexadecimal(word)


def _wake_operation(word: int, ctx: Ctx) -> str:
    """Write the operation and comparison that FUTEX_WAKE_OP packs into a word."""
    word = unsigned(word)
    shift = "FUTEX_OP_OPARG_SHIFT<<28|" if word >> 31 else ""
    operation, comparison = word >> 28 & 7, word >> 24 & 15
    first = _packed(FUTEX_OPERATIONS.names.get(operation), operation, 28, FUTEX_OPERATIONS.unknown)
    second = _packed(
        FUTEX_COMPARISONS.names.get(comparison), comparison, 24, FUTEX_COMPARISONS.unknown
    )
    return (
        f"{shift}{first}|{hexadecimal(word >> 12 & 0xFFF)}<<12|{second}|{hexadecimal(word & 0xFFF)}"
    )


def _packed(name: str | None, number: int, shift: int, unknown: str) -> str:
    return f"{name}<<{shift}" if name else f"{hexadecimal(number)}<<{shift} /* {unknown} */"


# By command: what is at val, at timeout, at uaddr2, at val3; None where there is nothing.
_ARGUMENTS: dict[int, tuple[Format | None, Format | None, Format | None, Format | None]] = {
    0: (UINT, TIMESPEC, None, None),
    1: (UINT, None, None, None),
    2: (UINT, None, None, None),
    3: (UINT, UINT, ADDR, None),
    4: (UINT, UINT, ADDR, UINT),
    5: (UINT, UINT, ADDR, _wake_operation),
    6: (None, TIMESPEC, None, None),
    7: (None, None, None, None),
    8: (None, None, None, None),
    9: (UINT, TIMESPEC, None, _bitset),
    10: (UINT, None, None, _bitset),
    11: (UINT, TIMESPEC, ADDR, None),
    12: (UINT, UINT, ADDR, UINT),
    13: (None, TIMESPEC, None, None),
}
_UNKNOWN = (UINT, ADDR, ADDR, HEX32)


def futex_argument(position: int) -> Format:
    """Make the format of futex's val, timeout, uaddr2 or val3 (positions 0 to 3)."""

    def render(word: int, ctx: Ctx) -> str:
        formats = _ARGUMENTS.get(unsigned(ctx.args[1]) & 127, _UNKNOWN)
        write = formats[position]
        return "" if write is None else write(word, ctx)

    return render
