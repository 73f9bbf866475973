"""Whole lines that are not calls, and the pieces of a call that another thread interrupts.

When a second thread prints while a call is in progress, strace ends the line with
`<unfinished ...>`, and takes the call up again later with `<... read resumed>`. Each line of a
traced family of processes starts with the process's number, in one of two ways.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from .render import RESULT_COLUMN, render_entry, render_exit, signature_of
from .scalars import signal_name
from .signals import SIGINFO_BYTES, siginfo

if TYPE_CHECKING:
    from .model import Args, Ctx

UNFINISHED = " <unfinished ...>"
_SIGINFO_HEAD = struct.Struct("<iii4x")


def signal_line(signo: int, code: int = 0, errno: int = 0, fields: bytes = b"") -> str:
    """Write the delivery of a signal; `fields` is its siginfo_t from byte 16 on."""
    raw = _SIGINFO_HEAD.pack(signo, errno, code) + fields
    return f"--- {signal_name(signo)} {siginfo(raw.ljust(SIGINFO_BYTES, bytes(1)))} ---"


def stopped_line(signo: int) -> str:
    """Write that a signal stopped the process."""
    return f"--- stopped by {signal_name(signo)} ---"


def exited_line(status: int) -> str:
    """Write the end of a process that exited."""
    return f"+++ exited with {status & 0xFF} +++"


def killed_line(signo: int, dumped: bool = False) -> str:
    """Write the end of a process that a signal killed."""
    return f"+++ killed by {signal_name(signo)}{' (core dumped)' if dumped else ''} +++"


def exit_line(status: int) -> str:
    """Write the end of a process from its wait status, as wait4 gives it."""
    signo = status & 0x7F
    return killed_line(signo, bool(status & 0x80)) if signo else exited_line(status >> 8)


def superseded_line(pid: int) -> str:
    """Write the end of a thread whose process was replaced by another thread's execve."""
    return f"+++ superseded by execve in pid {pid} +++"


def unfinished(entry: str) -> str:
    """End the line of a call in progress: `read(3,  <unfinished ...>`."""
    return entry + UNFINISHED


def resumed(name: str, args: Args, ctx: Ctx, before: int = 0) -> str:
    """Write the rest of a call whose line another cut short: `<... read resumed>"x", 1) = 1`.

    `before` is how many characters (a process number) will stand in front of it.
    """
    start = f"<... {name} resumed>"
    return start + render_exit(name, args, ctx, before + len(start))


def abandoned(name: str, args: Args, ctx: Ctx, before: int = 0) -> str:
    """Write a call from which the process never came back: it was killed."""
    entry = render_entry(name, args, ctx)
    signature = signature_of(name)
    noted = signature.note is not None and signature.split is None
    waits = noted or signature.entry_count(ctx) < len(signature.params)
    text = f"{entry}{UNFINISHED if waits else ''})"
    return f"{text}{' ' * (RESULT_COLUMN - 1 - before - len(text))} = ?"


def pid_prefix(pid: int) -> str:
    """Give what stands before a line on a terminal when several processes are traced."""
    return f"[pid {pid:5}] "


def file_prefix(pid: int) -> str:
    """Give what stands before a line in a file when several processes are traced."""
    return f"{pid:<5} "
