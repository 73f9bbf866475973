"""Formats of parameters that are words: descriptors, numbers, pointers, modes, flags, names.

A format that a signature names is written in capitals, as a constant; one that has to be made
for a table or an argument's position is a function in small letters that gives a format.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .model import call
from .tables.signals import SIGNALS
from .text import address, hexadecimal, octal, signed, unsigned

if TYPE_CHECKING:
    from .model import Ctx, Format
    from .xlat import Table

AT_FDCWD = -100


def INT(word: int, ctx: Ctx) -> str:
    """Write a signed 32-bit number."""
    return str(signed(word))


def UINT(word: int, ctx: Ctx) -> str:
    """Write an unsigned 32-bit number."""
    return str(unsigned(word))


def LONG(word: int, ctx: Ctx) -> str:
    """Write a signed 64-bit number."""
    return str(signed(word, 64))


def ULONG(word: int, ctx: Ctx) -> str:
    """Write an unsigned 64-bit number: a size."""
    return str(word)


def ADDR(word: int, ctx: Ctx) -> str:
    """Write a pointer."""
    return address(word)


def HEX(word: int, ctx: Ctx) -> str:
    """Write a 64-bit word in hexadecimal, and zero as 0."""
    return hexadecimal(word)


def HEX32(word: int, ctx: Ctx) -> str:
    """Write a 32-bit word in hexadecimal, and zero as 0."""
    return hexadecimal(unsigned(word))


def MODE(word: int, ctx: Ctx) -> str:
    """Write permission bits in octal."""
    return octal(unsigned(word, 16))


def UID(word: int, ctx: Ctx) -> str:
    """Write a user or group number, where -1 stands for no change."""
    number = unsigned(word)
    return "-1" if number == 0xFFFFFFFF else str(number)


def FD(word: int, ctx: Ctx) -> str:
    """Write a file descriptor, and with `path_of` what it is open on: `3</etc/passwd>`."""
    number = signed(word)
    path = ctx.path_of(number) if ctx.path_of is not None else None
    return str(number) if path is None else f"{number}<{path}>"


def DIRFD(word: int, ctx: Ctx) -> str:
    """Write the directory descriptor of an *at call."""
    if signed(word) != AT_FDCWD:
        return FD(word, ctx)
    path = ctx.path_of(AT_FDCWD) if ctx.path_of is not None else None
    return "AT_FDCWD" if path is None else f"AT_FDCWD<{path}>"


def signal_name(number: int) -> str:
    """Name a signal: `SIGCHLD`, or its number."""
    return SIGNALS.names.get(number) or str(number)


def SIGNAL(word: int, ctx: Ctx) -> str:
    """Write a signal."""
    return signal_name(signed(word))


def value(table: Table, bits: int = 32) -> Format:
    """Make the format of a word that is one of a table's values."""
    return lambda word, ctx: table.value(unsigned(word, bits))


def flags(table: Table, bits: int = 32) -> Format:
    """Make the format of a word that is a set of a table's flags."""
    return lambda word, ctx: table.flags(unsigned(word, bits))


RAW_WORDS = call(arg1=HEX, arg2=HEX, arg3=HEX, arg4=HEX, arg5=HEX, arg6=HEX)
