"""Formats of bytes in traced memory: paths, buffers, string arrays, I/O vectors."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from .model import Out
from .text import PATH_MAX, address, array, c_string, members, quote, quote_hex, unsigned

if TYPE_CHECKING:
    from .model import Ctx, Format

_POINTER = struct.Struct("<Q")
_IOVEC = struct.Struct("<QQ")
_CHUNK_BYTES = 512


def path(vaddr: int, ctx: Ctx, limit: int = PATH_MAX) -> str:
    """Write a path: all of it, up to PATH_MAX."""
    found = c_string(vaddr, limit, ctx)
    if found is None:
        return address(vaddr)
    content, whole = found
    return quote(content) if whole else quote(content[: limit - 1], more=True)


def PATH(word: int, ctx: Ctx) -> str:
    """Write a path that the call names."""
    return path(word, ctx)


def STRING(word: int, ctx: Ctx) -> str:
    """Write a zero-terminated string, cut at the context's limit."""
    found = c_string(word, ctx.string_limit + 1, ctx)
    if found is None:
        return address(word)
    content, whole = found
    return quote(content) if whole else quote(content[: ctx.string_limit], more=True)


def counted(vaddr: int, length: int, ctx: Ctx, hexed: bool = False) -> str:
    """Write `length` bytes, cut at the context's limit."""
    if not vaddr:
        return "NULL"
    content = ctx.peek(vaddr, min(length, ctx.string_limit))
    if content is None:
        return address(vaddr)
    write = quote_hex if hexed else quote
    return write(content, length > ctx.string_limit)


def buffer(size_arg: int, bits: int = 64) -> Format:
    """Make the format of a buffer that the call reads, its size in another argument."""
    return lambda word, ctx: counted(word, unsigned(ctx.args[size_arg], bits), ctx)


def _filled(word: int, ctx: Ctx) -> str:
    if ctx.failed:
        return address(word)
    return counted(word, ctx.result or 0, ctx)


FILLED = Out(_filled)
"""A buffer that the call fills in, as far as its result says."""


def _filled_hex(word: int, ctx: Ctx) -> str:
    return address(word) if ctx.failed else counted(word, ctx.result or 0, ctx, hexed=True)


FILLED_HEX = Out(_filled_hex)


def filled(size_arg: int) -> Out:
    """Make the format of a buffer that is filled in, and no further than its size."""

    def render(word: int, ctx: Ctx) -> str:
        if ctx.failed:
            return address(word)
        return counted(word, min(ctx.result or 0, ctx.args[size_arg]), ctx)

    return Out(render)


def _filled_path(word: int, ctx: Ctx) -> str:
    return address(word) if ctx.failed else path(word, ctx, ctx.result or PATH_MAX)


FILLED_PATH = Out(_filled_path)


def _arguments(word: int, ctx: Ctx) -> str:
    """Write a NULL-terminated array of strings, at most the context's limit of them."""
    if not word:
        return "NULL"
    shown: list[str] = []
    while True:
        at = word + 8 * len(shown)
        raw = ctx.peek(at, 8)
        if raw is None:
            if not shown:
                return address(word)
            return "[" + ", ".join([*shown, f"... /* {address(at)} */"]) + "]"
        pointer = _POINTER.unpack(raw)[0]
        if not pointer:
            return "[" + ", ".join(shown) + "]"
        if len(shown) >= ctx.string_limit:
            return "[" + ", ".join([*shown, "..."]) + "]"
        shown.append(STRING(pointer, ctx))


ARGUMENTS: Format = _arguments


def _environment(word: int, ctx: Ctx) -> str:
    """Count a NULL-terminated array of strings: `0x7ffc… /* 12 vars */`."""
    if ctx.peek(word, 8) is None:
        return address(word)
    count = 0
    while True:
        chunk = ctx.readable(word + 8 * count, _CHUNK_BYTES)
        words = [number for (number,) in _POINTER.iter_unpack(chunk[: len(chunk) // 8 * 8])]
        ended = 0 in words
        count += words.index(0) if ended else len(words)
        if ended or not words:
            break
    plural = "" if count == 1 else "s"
    return f"{address(word)} /* {count} var{plural}{'' if ended else ', unterminated'} */"


ENVIRONMENT: Format = _environment


def iovec(vaddr: int, count: int, ctx: Ctx, length: int | None = None) -> str:
    """Write an array of I/O vectors with their bytes, of which only `length` are meant."""
    left = length

    def element(raw: bytes, ctx: Ctx) -> str:
        nonlocal left
        base, size = _IOVEC.unpack(raw)
        shown = size if left is None else min(size, left)
        if left is not None:
            left -= shown
        return members(iov_base=counted(base, shown, ctx), iov_len=str(size))

    def bare(raw: bytes, ctx: Ctx) -> str:
        base, size = _IOVEC.unpack(raw)
        return members(iov_base=address(base), iov_len=str(size))

    return array(vaddr, count, 16, bare if ctx.failed else element, ctx, fetch=ctx.peek)


def vectors(count_arg: int) -> Format:
    """Make the format of I/O vectors that the call reads from, or only names."""
    return lambda word, ctx: iovec(word, ctx.args[count_arg], ctx)


def bare_vectors(count_arg: int) -> Format:
    """Make the format of I/O vectors of another address space."""

    def element(raw: bytes, ctx: Ctx) -> str:
        base, size = _IOVEC.unpack(raw)
        return members(iov_base=address(base), iov_len=str(size))

    return lambda word, ctx: array(word, ctx.args[count_arg], 16, element, ctx, fetch=ctx.peek)


def filled_vectors(count_arg: int) -> Out:
    """Make the format of I/O vectors that the call fills in, as far as its result says."""
    return Out(lambda word, ctx: iovec(word, ctx.args[count_arg], ctx, ctx.result or 0))


def number_at(size: int, is_signed: bool) -> Format:
    """Make the format of a number in memory."""

    def render(word: int, ctx: Ctx) -> str:
        raw = ctx.fetch(word, size)
        if raw is None:
            return address(word)
        return f"[{int.from_bytes(raw, 'little', signed=is_signed)}]"

    return render


USHORT_AT = number_at(2, False)
INT_AT = number_at(4, True)
UINT_AT = number_at(4, False)
LONG_AT = number_at(8, True)
ULONG_AT = number_at(8, False)


def ADDR_AT(word: int, ctx: Ctx) -> str:
    """Write the pointer that a pointer points to."""
    raw = ctx.fetch(word, 8)
    return address(word) if raw is None else f"[{address(_POINTER.unpack(raw)[0])}]"


def offset_change(word: int, ctx: Ctx) -> str:
    """Write what the call made of an offset in memory: ` => [4096]`."""
    raw = ctx.fetch(word, 8)
    if raw is None or not ctx.result:
        return ""
    return f" => [{_POINTER.unpack(raw)[0]}]"


def numbers(count: int, vaddr: int, ctx: Ctx, size: int = 4, is_signed: bool = True) -> str:
    """Write an array of numbers."""

    def element(raw: bytes, ctx: Ctx) -> str:
        return str(int.from_bytes(raw, "little", signed=is_signed))

    return array(vaddr, count, size, element, ctx)
