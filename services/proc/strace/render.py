"""From a call to its line: the part at entry, the part at exit, the result.

`render_entry` gives what is known when the call is made, `render_exit` the rest, and one after
the other they are the line that strace prints. Where no parameter has to wait for the exit, the
entry part ends just before the closing parenthesis. strace pads the line so that ` = ` starts at
column 40 (its -a); `render_exit` pads if it is told at which column it begins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .calls import SIGNATURES
from .model import MAX_ERRNO, Args, Ctx, ResultKind, Signature
from .scalars import RAW_WORDS
from .tables.errnos import ERRNOS, RESTARTS
from .text import hexadecimal, octal, unsigned

if TYPE_CHECKING:
    from .model import Decoder

RESULT_COLUMN = 40


def unknown_name(number: int) -> str:
    """Name a system call that has no name: `syscall_0x1ff`."""
    return f"syscall_{number:#x}"


def signature_of(name: str) -> Signature:
    """Give a call's signature; of an unknown call, six raw words."""
    return SIGNATURES.get(name, RAW_WORDS)


def _rendered(decoder: Decoder, ctx: Ctx) -> str:
    return decoder.render(ctx.args[decoder.arg], ctx)


def render_entry(name: str, args: Args, ctx: Ctx) -> str:
    """Write the part known at entry: `openat(AT_FDCWD, "/etc/passwd", O_RDONLY`."""
    ctx = _with_args(ctx, args)
    signature = signature_of(name)
    count = signature.entry_count(ctx)
    ctx.saved["entered"] = count
    for decoder in signature.params:
        if decoder.remember is not None:
            ctx.saved[decoder.name] = decoder.remember(args[decoder.arg], ctx)
    shown = [text for text in (_rendered(d, ctx) for d in signature.params[:count]) if text]
    waiting = signature.params[count:]
    comma = bool(shown and waiting and not signature.tight and not waiting[0].joined)
    return f"{name}({', '.join(shown)}{', ' if comma else ''}"


def render_exit(name: str, args: Args, ctx: Ctx, column: int | None = None) -> str:
    """Write the part known at exit: `"root"..., 4096) = 4096`.

    `column` is how many characters stand on the line already, for strace's alignment; without
    it, a single space stands before the result.
    """
    ctx = _with_args(ctx, args)
    signature = signature_of(name)
    count = ctx.saved.get("entered")
    count = signature.entry_count(ctx) if count is None else count
    begun = any(_rendered(d, ctx) for d in signature.params[:count]) if signature.tight else count
    waiting = signature.params[count:]
    comma = bool(begun) and (signature.tight or bool(waiting and waiting[0].joined))
    text = ""
    for decoder in waiting:
        shown = _rendered(decoder, ctx)
        if shown:
            text += (", " if comma and not decoder.joined else "") + shown
            comma = True
    text += ")"
    padding = 0 if column is None else RESULT_COLUMN - 1 - column - len(text)
    return f"{text}{' ' * padding} {render_result(signature, ctx)}"


def render_line(name: str, args: Args, result: int | None, ctx: Ctx, before: int = 0) -> str:
    """Write a whole line, as strace does a call that nothing interrupted.

    `before` is how many characters (a process number) will stand in front of it.
    """
    entry = render_entry(name, args, ctx)
    return entry + render_exit(name, args, ctx.at_exit(result), before + len(entry))


def render_result(signature: Signature, ctx: Ctx) -> str:
    """Write the result and its note: `= 3`, `= -1 ENOENT (No such file or directory)`."""
    result = ctx.result
    if result is None or signature.result is ResultKind.NEVER:
        return "= ?"
    said = signature.note(ctx) if signature.note is not None else None
    note = "" if said is None else f" ({said})"
    kind = signature.result if signature.result_of is None else signature.result_of(ctx)
    if -MAX_ERRNO <= result < 0:
        return f"= {errno_text(-result)}{note}"
    if kind is ResultKind.HEX:
        return f"= {hexadecimal(unsigned(result, 64))}{note}"
    if kind is ResultKind.OCTAL:
        return f"= {octal(unsigned(result, 64))}{note}"
    if kind is ResultKind.UNSIGNED:
        return f"= {unsigned(result, 64)}{note}"
    return f"= {result}{note}"


def errno_text(number: int) -> str:
    """Write an errno as a result: `-1 EPERM (Operation not permitted)`, `? ERESTARTSYS (…)`."""
    if number in RESTARTS:
        name, message = RESTARTS[number]
        return f"? {name} ({message})"
    if number in ERRNOS:
        name, message = ERRNOS[number]
        return f"-1 {name} ({message})"
    return f"-1 (errno {number})"


def _with_args(ctx: Ctx, args: Args) -> Ctx:
    return ctx if ctx.args == args else ctx.with_args(args)
