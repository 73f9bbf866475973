"""Put a look at the clock into every loop and every function of a script: pure text.

LuaJIT's hooks do not fire in compiled traces, and a signal cannot stop them. So the script itself
counts: after every `do` and `repeat`, at the head of every function and before every `goto` stands

    __left=__left-1 if __left<0 then __left=__look() end

which is compiled like the rest, for a fifth of a nanosecond a turn. Whatever runs for ever passes
one of these places: a loop has a body, recursion a function's head, a jump backwards a `goto`.

The scanner agrees with LuaJIT's (lj_lex.c) on where strings, comments and numbers end, or refuses;
where text is put into what is no statement, LuaJIT refuses the script. On one line, so that the
numbers of lines in messages stay right.
"""

from __future__ import annotations

import re

CHECK = " __left=__left-1 if __left<0 then __left=__look() end "
RESERVED = frozenset(("__left", "__look"))

_TOKEN = re.compile(
    r"(?P<space>\s+)"
    r"|--\[(?P<long_comment>=*)\["
    r"|(?P<comment>--[^\n]*)"
    r"|\[(?P<long>=*)\["
    r"|(?P<quoted>\"(?:[^\"\\\n]|\\z\s*+|\\[^\rz])*+\"|'(?:[^'\\\n]|\\z\s*+|\\[^\rz])*+')"
    r"|(?P<number>0[xX](?:[pP][+-]|[\w.\x80-\xff])*|\.?[0-9](?:[eE][+-]|[\w.\x80-\xff])*)"
    r"|(?P<name>[A-Za-z_\x80-\xff][\w\x80-\xff]*)"
    r"|(?P<quote>[\"'])"
    r"|(?P<other>.)",
    re.ASCII | re.DOTALL,
)
_BOXED = re.compile(
    r"0[xX][0-9a-fA-F.pP+-]*(?:[uU]?[lL][lL]|[iI])|[0-9.eE+-]*(?:[uU]?[lL][lL]|[iI])"
)


class BadScript(Exception):
    """The text cannot be a script: why, and on which line."""


def instrument(source: str, *, trusted: bool = False) -> str:
    """The same script with its checks; `source` has a character for each byte (latin-1).

    `trusted`: our own, which may name the counter.
    """
    source = source.replace("\r\n", "\n")
    _refuse_bytes(source)
    pieces: list[str] = []
    at, heads = 0, 0
    while at < len(source):
        match = _TOKEN.match(source, at)
        assert match is not None, "the last alternative takes anything"
        kind, text, end = match.lastgroup, match[0], match.end()
        if kind in ("long", "long_comment"):
            end = _closing(source, match[kind], end, at)
            text = source[at:end]
        elif kind == "quote":
            raise BadScript(f"line {_line(source, at)}: unfinished string")
        elif kind == "number" and _BOXED.fullmatch(text):
            raise BadScript(f"line {_line(source, at)}: {text}: no 64-bit or complex numbers")
        elif kind == "name":
            if text in RESERVED and not trusted:
                raise BadScript(f"line {_line(source, at)}: {text} is the kernel's own name")
            if text == "goto":
                pieces.append(CHECK)
            elif text == "function":
                heads += 1
        pieces.append(text)
        if text in ("do", "repeat") and kind == "name":
            pieces.append(CHECK)
        elif text == ")" and heads and kind == "other":
            pieces.append(CHECK)
            heads = 0
        at = end
    return "".join(pieces)


def _refuse_bytes(source: str) -> None:
    """What LuaJIT reads in ways of its own; byte code begins with an escape."""
    for bad, what in (("\0", "a NUL byte"), ("\r", "a carriage return"), ("\x1b", "an escape")):
        if bad in source:
            raise BadScript(f"line {_line(source, source.index(bad))}: {what}")


def _line(source: str, at: int) -> int:
    return source.count("\n", 0, at) + 1


def _closing(source: str, level: str, start: int, at: int) -> int:
    """Where a long string or comment ends."""
    end = source.find(f"]{level}]", start)
    if end < 0:
        raise BadScript(f"line {_line(source, at)}: unfinished long string or comment")
    return end + len(level) + 2
