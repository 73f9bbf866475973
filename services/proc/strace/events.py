"""Formats of waiting for events: poll, select, epoll."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from .clock import TIMESPEC, TIMEVAL
from .model import Out
from .signals import sigset
from .tables.events import EPOLL, POLL
from .text import address, array, members, signed, unsigned

if TYPE_CHECKING:
    from .model import Ctx, Format, Note

_POLLFD = struct.Struct("<iHH")
_EVENT = struct.Struct("<IQ")
MOST_FDS = 1 << 20
NOTE_MOST = 1000  # bytes that strace keeps of what poll found
EPOLL_CTL_DEL = 2


def _pollfd(raw: bytes, ctx: Ctx) -> str:
    fd, wanted, _ = _POLLFD.unpack(raw)
    return members(fd=str(fd)) if fd < 0 else members(fd=str(fd), events=POLL.flags(wanted))


def POLLFDS(word: int, ctx: Ctx) -> str:
    """Write what poll waits for."""
    return array(word, unsigned(ctx.args[1]), _POLLFD.size, _pollfd, ctx)


def _no_array(ctx: Ctx) -> bool:
    """Say whether poll has no descriptors, or its array would go on past the end of memory."""
    return (
        not ctx.args[0]
        or not unsigned(ctx.args[1])
        or ctx.args[0] + unsigned(ctx.args[1]) * _POLLFD.size > 1 << 64
    )


def _ready(ctx: Ctx) -> str:
    """Write what poll found, up to the context's limit."""
    vaddr, count = ctx.args[0], unsigned(ctx.args[1])
    if _no_array(ctx):
        return ""
    parts: list[str] = []
    room = NOTE_MOST
    for index in range(count):
        at = vaddr + index * _POLLFD.size
        raw = ctx.peek(at, _POLLFD.size)
        if raw is None:
            parts.append(address(at))
            break
        fd, _, found = _POLLFD.unpack(raw)
        if not found:
            continue
        text = members(fd=str(fd), revents=POLL.plain_flags(found))
        room -= len(text) + 2
        if len(parts) >= ctx.string_limit or room < 0:
            parts.append("...")
            break
        parts.append(text)
    return f"[{', '.join(parts)}]" if parts else ""


def _left(arg: int, write: Format, ctx: Ctx) -> list[str]:
    return [f"left {write(ctx.args[arg], ctx)}"] if ctx.args[arg] else []


def poll_note(timeout: int | None = None) -> Note:
    """Make the note of poll, or of ppoll with the position of its timeout."""

    def note(ctx: Ctx) -> str | None:
        if ctx.failed:
            return None
        if not ctx.result:
            return "Timeout"
        ready = [text for text in [_ready(ctx)] if text]
        left = [] if timeout is None or _no_array(ctx) else _left(timeout, TIMESPEC, ctx)
        return ", ".join(ready + left) or None

    return note


def _fd_set(word: int, ctx: Ctx) -> tuple[str, list[int]]:
    """Write a set of descriptors, and give them."""
    count = min(signed(ctx.args[0]), MOST_FDS)
    size = (count + 63) // 64 * 8 if count > 0 else 0
    raw = ctx.peek(word, size) if size else None
    if raw is None:
        return address(word), []
    mask = int.from_bytes(raw, "little")
    fds = [fd for fd in range(count) if mask >> fd & 1]
    return f"[{' '.join([str(fd) for fd in fds])}]", fds


def FD_SET(word: int, ctx: Ctx) -> str:
    """Write a set of descriptors that select waits for."""
    return _fd_set(word, ctx)[0]


_SETS = ((1, "in"), (2, "out"), (3, "except"))


def select_note(write: Format) -> Note:
    """Make the note of select, its timeout in a timeval or timespec."""

    def note(ctx: Ctx) -> str | None:
        if ctx.failed:
            return None
        if not ctx.result:
            return "Timeout"
        ready = ctx.result
        parts: list[str] = []
        for arg, name in _SETS:
            fds = _fd_set(ctx.args[arg], ctx)[1][:ready]
            ready -= len(fds)
            if fds:
                parts.append(f"{name} [{' '.join([str(fd) for fd in fds])}]")
        return ", ".join(parts + _left(4, write, ctx))

    return note


SELECT_NOTE = select_note(TIMEVAL)
PSELECT_NOTE = select_note(TIMESPEC)


def PSELECT_MASK(word: int, ctx: Ctx) -> str:
    """Write pselect6's pair of a signal set's address and size."""
    raw = ctx.peek(word, 16)
    if raw is None:
        return address(word)
    vaddr, size = struct.unpack("<QQ", raw)
    mask = ctx.peek(vaddr, 8) if size == 8 else None
    shown = address(vaddr) if mask is None else sigset(int.from_bytes(mask, "little"))
    return members(sigmask=shown, sigsetsize=str(size))


def _event(raw: bytes, ctx: Ctx) -> str:
    wanted, data = _EVENT.unpack(raw)
    return members(events=EPOLL.flags(wanted), data=members(u32=str(unsigned(data)), u64=str(data)))


def EPOLL_EVENT(word: int, ctx: Ctx) -> str:
    """Write the event that epoll_ctl sets."""
    if unsigned(ctx.args[1]) == EPOLL_CTL_DEL:
        return address(word)
    raw = ctx.fetch(word, _EVENT.size)
    return address(word) if raw is None else _event(raw, ctx)


def _events(word: int, ctx: Ctx) -> str:
    if ctx.failed:
        return address(word)
    return array(word, ctx.result or 0, _EVENT.size, _event, ctx)


EPOLL_EVENTS = Out(_events)
