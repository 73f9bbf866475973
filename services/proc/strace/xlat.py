"""Tables of constants: a number to its name, a word of flags to its names.

A table is written as text, `"NAME=value NAME=value …"`, in the order in which strace tries the
names; `unknown` is the comment that strace gives a word in which it knows nothing (`O_???`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def parse(text: str) -> Iterator[tuple[str, int]]:
    """Read `NAME=value` pairs; an underscore in a name stands for itself, `+` for a space."""
    for pair in text.split():
        name, _, value = pair.rpartition("=")
        yield name.replace("+", " "), int(value, 0)


class Table:
    """One set of constants, of one system call parameter or structure member."""

    def __init__(self, unknown: str, text: str) -> None:
        self.unknown = unknown
        self.pairs = tuple(parse(text))
        self.names = {value: name for name, value in reversed(self.pairs)}

    def value(self, number: int) -> str:
        """Name one value: `SEEK_SET`, or `0x9 /* SEEK_??? */`."""
        name = self.names.get(number)
        return name if name is not None else self.nameless(number)

    def decimal(self, number: int) -> str:
        """Name one value whose unknown numbers are written in decimal."""
        name = self.names.get(number)
        return name if name is not None else f"{number} /* {self.unknown} */"

    def flags(self, word: int) -> str:
        """Name each flag of a word: `O_WRONLY|O_CREAT|0x10000000`."""
        if not word:
            return self.names.get(0, "0")
        found, rest = self.split(word)
        if not found:
            return self.nameless(word)
        return "|".join(found) + (f"|{rest:#x}" if rest else "")

    def plain_flags(self, word: int) -> str:
        """Name each flag of a word, with no comment if there is none to name."""
        found, rest = self.split(word)
        return "|".join([*found, *([f"{rest:#x}"] if rest else [])])

    def split(self, word: int) -> tuple[list[str], int]:
        """Give the names of the flags in a word, and the bits that have none."""
        found = []
        for name, value in self.pairs:
            if value and word & value == value:
                found.append(name)
                word &= ~value
                if not word:
                    break
        return found, word

    def nameless(self, number: int) -> str:
        """Write a number that has no name."""
        digits = f"{number:#x}" if number else "0"
        return f"{digits} /* {self.unknown} */" if self.unknown else digits
