"""Sets of system calls, in the words of strace's -e trace=.

    openat,read          these two
    %file,%network       every call of these classes
    !write               every call but write: a first item with `!` negates the whole list
    %desc,!write         a later item with `!` takes calls out of the set
    /^rt_                every call whose name matches a regular expression
    ?name                a name that may be unknown
    all, none            every call, no call

A name that is nowhere known is a ValueError, as strace says it: invalid system call 'foo'.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .calls import SIGNATURES
from .tables.classes import CLASSES

if TYPE_CHECKING:
    from collections.abc import Callable, Container

_KNOWN = frozenset(SIGNATURES).union(*CLASSES.values())


def _item(text: str, known: Container[str]) -> Callable[[str], bool]:
    """Read one item of a set."""
    optional, name = text.startswith("?"), text.removeprefix("?")
    if name in ("all", "none"):
        return lambda call: name == "all"
    if name.startswith("/"):
        try:
            pattern = re.compile(name[1:])
        except re.error as error:
            raise ValueError(f"invalid regular expression {name[1:]!r}: {error}") from error
        return lambda call: pattern.search(call) is not None
    members = CLASSES.get(name[1:]) if name.startswith("%") else None
    if members is None and (name in known or name in _KNOWN):
        members = frozenset({name})
    if members is None:
        members = CLASSES.get(name, frozenset() if optional else None)
    if members is None:
        raise ValueError(f"invalid system call {name!r}")
    return members.__contains__


def parse_set(text: str, known: Container[str] = ()) -> Callable[[str], bool]:
    """Read a set of calls, and give a function that says whether a call's name is in it.

    `known` are names beyond those that have a signature.
    """
    negated = text.startswith("!")
    items = (text.removeprefix("!") if negated else text).split(",")
    steps = [(not item.startswith("!"), _item(item.removeprefix("!"), known)) for item in items]

    def contains(call: str) -> bool:
        inside = False
        for adds, matches in steps:
            if matches(call):
                inside = adds
        return inside is not negated

    return contains
