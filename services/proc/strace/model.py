"""What a signature is made of: the traced memory, one call's context, decoders, signatures.

Rules of use:
- A call in progress has one `Ctx`. It is made at entry; `Ctx.at_exit` gives the one for the exit,
  which keeps what was remembered at entry (`saved`): the size of a socket address before the
  kernel rewrote it, say. Decoders are shared and have no state of their own.
- A decoder marked "exit", and every decoder after it, prints when the result is known. This is
  how strace splits an unfinished line, too.
- `Ctx.fetch` is the only way to structures in memory. It refuses NULL, memory that is not wholly
  readable, and, once the call has failed, everything: whatever is decoded at the exit of a failed
  call prints as the bare pointer. `Ctx.peek` reads in spite of failure, for the few that do.
- Rendering is pure: it reads traced memory, and changes nothing but `Ctx.saved`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Literal, Protocol

MAX_ERRNO = 4095
WORD = (1 << 64) - 1
NO_ARGS = (0, 0, 0, 0, 0, 0)

Args = tuple[int, int, int, int, int, int]
Phase = Literal["enter", "exit"]


def six(words: Iterable[int]) -> Args:
    """Give up to six raw words as a call's arguments, zeros for those that are missing."""
    padded = [*(word & WORD for word in words), *NO_ARGS]
    return (padded[0], padded[1], padded[2], padded[3], padded[4], padded[5])


class Memory(Protocol):
    """The traced process's memory, as its page tables map it."""

    def read(self, vaddr: int, length: int) -> bytes | None:
        """Give up to `length` readable bytes from `vaddr`, or None if there is not even one."""


class NoMemory:
    """An address space with nothing mapped: every pointer prints bare."""

    def read(self, vaddr: int, length: int) -> bytes | None:
        """Give None."""
        return None


@dataclass(frozen=True, slots=True)
class Ctx:
    """One system call as a decoder sees it.

    `args` are the six raw words (unsigned 64 bits). `result` is what the call left in RAX, as a
    signed word: -4095..-1 is an errno; None at entry. `stack_pointer` matters to rt_sigreturn
    alone. `string_limit` is strace's -s, for strings (bytes) and arrays (elements).
    """

    memory: Memory = field(default_factory=NoMemory)
    args: Args = NO_ARGS
    result: int | None = None
    path_of: Callable[[int], str | None] | None = None
    stack_pointer: int = 0
    string_limit: int = 32
    saved: dict[str, Any] = field(default_factory=dict)

    def at_exit(self, result: int | None) -> Ctx:
        """Give the same call, ended with `result`, remembering what entry saved."""
        return replace(self, result=result)

    def with_args(self, args: Args) -> Ctx:
        """Give the same call with other arguments, sharing what entry saved."""
        return replace(self, args=args)

    @property
    def failed(self) -> bool:
        """Whether the call has ended with an errno."""
        return self.result is not None and -MAX_ERRNO <= self.result < 0

    @property
    def exiting(self) -> bool:
        """Whether the call has ended."""
        return self.result is not None

    def peek(self, vaddr: int, length: int) -> bytes | None:
        """Read exactly `length` bytes, or give None."""
        if not vaddr:
            return None
        found = self.readable(vaddr, length)
        return found if len(found) == length else None

    def readable(self, vaddr: int, length: int) -> bytes:
        """Read up to `length` bytes: as many as are mapped one after another."""
        found = self.memory.read(vaddr, length) if length else None
        if found is None or len(found) >= length:
            return found or b""
        return found + self.readable(vaddr + len(found), length - len(found))

    def fetch(self, vaddr: int, length: int) -> bytes | None:
        """Read exactly `length` bytes, or give None; None at the exit of a failed call."""
        return None if self.failed else self.peek(vaddr, length)


Format = Callable[[int, Ctx], str]
Note = Callable[["Ctx"], str | None]
Split = Callable[["Ctx"], int]
ResultOf = Callable[["Ctx"], "ResultKind"]


class ResultKind(Enum):
    """How a successful result is written."""

    DECIMAL = "decimal"
    HEX = "hex"
    OCTAL = "octal"
    UNSIGNED = "unsigned"
    NEVER = "never"  # the call does not return: `= ?`


@dataclass(frozen=True, slots=True)
class Decoder:
    """One parameter: its name, the raw word it reads, when it can be read, how it is written.

    An empty rendering means that the parameter is not shown (open's mode without O_CREAT).
    A joined one follows the text before it with no comma (`[0] => [4096]`).
    """

    name: str
    render: Format
    when: Phase = "enter"
    arg: int = 0
    joined: bool = False
    remember: Format | None = None


@dataclass(frozen=True, slots=True)
class Signature:
    """How a call is printed: its parameters in strace's order, its result, what follows it.

    `result_of` says how the result is written where that depends on the arguments. `note` gives
    the text in parentheses after the result, None if there is none. `split` says how many decoders
    print at entry, where that depends on the arguments. A `tight` signature prints the comma
    before its first exit decoder at exit rather than at entry.
    """

    params: tuple[Decoder, ...]
    result: ResultKind = ResultKind.DECIMAL
    note: Note | None = None
    split: Split | None = None
    tight: bool = False
    result_of: ResultOf | None = None

    def entry_count(self, ctx: Ctx) -> int:
        """Say how many of the decoders print at entry."""
        if self.split is not None:
            return self.split(ctx)
        whens = [decoder.when for decoder in self.params]
        return whens.index("exit") if "exit" in whens else len(whens)


@dataclass(frozen=True, slots=True)
class Out:
    """A format for memory that the kernel fills in: it prints at exit."""

    render: Format
    remember: Format | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A format for what a call changed in its previous parameter, printed after it at exit."""

    render: Format


@dataclass(frozen=True, slots=True)
class At:
    """A format whose raw word is not the one at its own position."""

    arg: int
    render: Format | Out


def _decoder(name: str, kind: Format | Out | Change | At, arg: int) -> Decoder:
    if isinstance(kind, At):
        return _decoder(name, kind.render, kind.arg)
    if isinstance(kind, Change):
        return Decoder(name, kind.render, "exit", arg - 1, joined=True)
    if isinstance(kind, Out):
        return Decoder(name, kind.render, "exit", arg, remember=kind.remember)
    return Decoder(name, kind, "enter", arg)


def call(
    result: ResultKind = ResultKind.DECIMAL,
    note: Note | None = None,
    split: Split | None = None,
    tight: bool = False,
    result_of: ResultOf | None = None,
    /,
    **params: Format | Out | Change | At,
) -> Signature:
    """Write a signature: its parameters by name, in the order in which strace prints them."""
    decoders: list[Decoder] = []
    arg = 0
    for name, kind in params.items():
        decoders.append(_decoder(name, kind, arg))
        arg += not isinstance(kind, Change)
    return Signature(tuple(decoders), result, note, split, tight, result_of)
