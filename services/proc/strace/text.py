"""strace's spellings: addresses, quoted bytes, octal modes, device numbers, arrays, booleans."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .model import Ctx

PATH_MAX = 4096
_NAMED = {0x22: '\\"', 0x5C: "\\\\", 9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r"}
_SHORT = {c: _NAMED.get(c) or (chr(c) if 0x20 <= c < 0x7F else f"\\{c:o}") for c in range(256)}
_OCTAL_THEN_DIGIT = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f-\xff](?=[0-7])")
_FORMATS = {0o140000: "S_IFSOCK", 0o120000: "S_IFLNK", 0o100000: "S_IFREG", 0o60000: "S_IFBLK",
            0o40000: "S_IFDIR", 0o20000: "S_IFCHR", 0o10000: "S_IFIFO"}  # fmt: skip
_MODE_BITS = ((0o4000, "S_ISUID"), (0o2000, "S_ISGID"), (0o1000, "S_ISVTX"))


def signed(word: int, bits: int = 32) -> int:
    """Read the low `bits` of a word as a two's complement number."""
    word &= (1 << bits) - 1
    return word - (1 << bits) if word >> (bits - 1) else word


def unsigned(word: int, bits: int = 32) -> int:
    """Read the low `bits` of a word."""
    return word & ((1 << bits) - 1)


def address(vaddr: int) -> str:
    """Write a pointer: `0x7ffc…`, or `NULL`."""
    return f"{vaddr & (1 << 64) - 1:#x}" if vaddr else "NULL"


def hexadecimal(number: int) -> str:
    """Write a number as C's %#x does: `0x1f`, and zero as `0`."""
    return f"{number:#x}" if number else "0"


def octal(number: int) -> str:
    """Write a number as C's %#03o does: `0644`, `007`, `000`."""
    return f"0{number:o}".zfill(3) if number else "000"


def escape(content: bytes) -> str:
    """Write bytes as the inside of a C string, with the shortest octal escapes."""
    if not _OCTAL_THEN_DIGIT.search(content):
        return "".join([_SHORT[c] for c in content])
    follow = (*content[1:], 0)
    return "".join(
        [
            f"\\{c:03o}" if 0x30 <= n <= 0x37 and len(_SHORT[c]) > 1 and c not in _NAMED
            else _SHORT[c]
            for c, n in zip(content, follow, strict=True)
        ]
    )  # fmt: skip


def quote(content: bytes, more: bool = False) -> str:
    """Write bytes in quotes; `more` tells that some are left out."""
    return f'"{escape(content)}"' + ("..." if more else "")


def quote_hex(content: bytes, more: bool = False) -> str:
    r"""Write bytes in quotes, each as `\x1f`."""
    return '"' + "".join([f"\\x{c:02x}" for c in content]) + '"' + ("..." if more else "")


def quote_field(content: bytes) -> str:
    """Write a fixed-size member that holds a zero-terminated string."""
    head, end, _ = content.partition(b"\0")
    return quote(head) if end else quote(content[:-1], more=True)


def c_string(vaddr: int, limit: int, ctx: Ctx) -> tuple[bytes, bool] | None:
    """Read a zero-terminated string of at most `limit` bytes, and say whether its end was seen.

    None if the memory ends before the string does.
    """
    if not vaddr:
        return None
    found = ctx.readable(vaddr, min(limit, 256))
    head, end, _ = found.partition(b"\0")
    if not end and len(found) == 256 < limit:
        found = ctx.readable(vaddr, limit)
        head, end, _ = found.partition(b"\0")
    if end:
        return head, True
    return (head, False) if len(found) >= limit else None


def mode(bits: int) -> str:
    """Write a file mode: `S_IFREG|0644`, `S_IFDIR|S_ISVTX|0777`."""
    names = [_FORMATS[bits & 0o170000]] if bits & 0o170000 in _FORMATS else []
    if not names and bits & 0o170000:
        return octal(bits)
    rest = bits & ~0o170000
    for bit, name in _MODE_BITS:
        if rest & bit:
            names.append(name)
            rest &= ~bit
    return "|".join([*names, octal(rest)])


def device(number: int) -> str:
    """Write a device number, as the kernel packs it for stat: `makedev(0x8, 0x1)`."""
    major = (number >> 8 & 0xFFF) | (number >> 32 & 0xFFFFF000)
    minor = (number & 0xFF) | (number >> 12 & 0xFFFFFF00)
    return f"makedev({hexadecimal(major)}, {hexadecimal(minor)})"


def members(**fields: str) -> str:
    """Write a structure: `{tv_sec=1, tv_usec=0}`."""
    return "{" + ", ".join([f"{name}={text}" for name, text in fields.items()]) + "}"


def listing(items: Iterable[str], more: bool = False) -> str:
    """Write an array whose elements are all at hand; `more` tells that some are left out."""
    return "[" + ", ".join([*items, *(["..."] if more else [])]) + "]"


def array(
    vaddr: int,
    count: int,
    size: int,
    render: Callable[[bytes, Ctx], str],
    ctx: Ctx,
    limit: int | None = None,
    fetch: Callable[[int, int], bytes | None] | None = None,
) -> str:
    """Write an array in traced memory, up to the context's limit of elements.

    An unreadable first element makes it a bare pointer; an unreadable later one ends it with
    `... /* 0x… */`.
    """
    if not vaddr:
        return "NULL"
    if not count:
        return "[]"
    if vaddr + count * size > 1 << 64:
        return address(vaddr)
    most = ctx.string_limit if limit is None else limit
    fetch = fetch or ctx.fetch
    parts: list[str] = []
    for index in range(min(count, most + 1)):
        at = vaddr + index * size
        element = fetch(at, size)
        if element is None:
            return listing([*parts, f"... /* {address(at)} */"]) if index else address(vaddr)
        parts.append(render(element, ctx) if index < most else "...")
    return listing(parts)
