"""ioctl(2) on terminals, as a table: settings, size, job control, queues (tty_ioctl(4)).

A handler gets the file that was named, `file.terminal`, and whether that file is the master side
of a pseudoterminal. Settings and size are the slave's on both sides; job control on the master
acts for the slave, as on Linux.
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable
from errno import EINVAL, EIO, ENOTTY, EPERM
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc.abi import SIGTTOU, s32
from services.proc.capabilities import CAP_SYS_ADMIN
from services.proc.tty import jobs
from services.proc.tty import termios as t

if TYPE_CHECKING:
    from services.proc.task import Thread
    from services.proc.tty.file import TerminalFile

Serve = Callable[["TerminalFile", "Thread", int], Awaitable[int]]

TIOCSPGRP = 0x5410
N_TTY = 0
TCIFLUSH, TCOFLUSH, TCIOFLUSH = range(3)
TCOOFF, TCOON, TCIOFF, TCION = range(4)
WINSIZE_BYTES = 8


async def put_int(thread: Thread, where: int, value: int) -> int:
    """Store a C int for the program."""
    await thread.copyout(where, struct.pack("<i", value))
    return 0


async def get_int(thread: Thread, where: int) -> int:
    """Fetch a C int from the program."""
    (value,) = struct.unpack("<i", await thread.copyin(where, 4))
    return int(value)


def may_change(file: TerminalFile, thread: Thread) -> None:
    """Setting a terminal from the background stops the group (SIGTTOU)."""
    if not file.is_master:
        jobs.check_background(thread, file.terminal, SIGTTOU)


def own(file: TerminalFile, thread: Thread) -> None:
    """ENOTTY unless it is the caller's controlling terminal; a master may always ask."""
    if not file.is_master and jobs.controlling(thread.process) is not file.terminal:
        raise PosixError(ENOTTY)


# Settings ---------------------------------------------------------------------------------------


async def get_termios(file: TerminalFile, thread: Thread, where: int) -> int:
    """TCGETS."""
    await thread.copyout(where, file.terminal.discipline.termios.pack())
    return 0


async def get_termios2(file: TerminalFile, thread: Thread, where: int) -> int:
    """TCGETS2."""
    await thread.copyout(where, file.terminal.discipline.termios.pack2())
    return 0


def setter(size_bytes: int, flush: bool) -> Serve:
    """TCSETS, TCSETSW, TCSETSF and their twins; output never lags, so W waits for nothing."""

    async def set_termios(file: TerminalFile, thread: Thread, where: int) -> int:
        may_change(file, thread)
        terminal = file.terminal
        image = await thread.copyin(where, size_bytes)
        if flush:
            terminal.flush_input()
        old = terminal.discipline.termios
        terminal.configure(t.Termios.unpack(image, old))
        return 0

    return set_termios


async def get_line(file: TerminalFile, thread: Thread, where: int) -> int:
    """TIOCGETD."""
    return await put_int(thread, where, N_TTY)


async def set_line(file: TerminalFile, thread: Thread, where: int) -> int:
    """TIOCSETD: there is no other line discipline."""
    if await get_int(thread, where) != N_TTY:
        raise PosixError(EINVAL)
    return 0


async def get_size(file: TerminalFile, thread: Thread, where: int) -> int:
    """TIOCGWINSZ."""
    await thread.copyout(where, file.terminal.size)
    return 0


async def set_size(file: TerminalFile, thread: Thread, where: int) -> int:
    """TIOCSWINSZ."""
    file.terminal.resize(await thread.copyin(where, WINSIZE_BYTES))
    return 0


# Job control ------------------------------------------------------------------------------------


async def get_group(file: TerminalFile, thread: Thread, where: int) -> int:
    """TIOCGPGRP."""
    own(file, thread)
    terminal = file.terminal
    group = terminal.foreground if terminal.session is not None else 0
    return await put_int(thread, where, group)


async def set_group(file: TerminalFile, thread: Thread, where: int) -> int:
    """TIOCSPGRP."""
    try:
        may_change(file, thread)
    except PosixError as error:
        raise PosixError(ENOTTY if error.errno == EIO else error.errno) from None
    group = await get_int(thread, where)
    if group < 0:
        raise PosixError(EINVAL)
    jobs.set_foreground(thread.process, file.terminal, group)
    return 0


async def get_session(file: TerminalFile, thread: Thread, where: int) -> int:
    """TIOCGSID."""
    own(file, thread)
    session = file.terminal.session
    if session is None:
        raise PosixError(ENOTTY)
    return await put_int(thread, where, session.sid)


async def take_control(file: TerminalFile, thread: Thread, steal: int) -> int:
    """TIOCSCTTY."""
    jobs.acquire(thread.process, file.terminal, s32(steal) == 1, file.readable)
    return 0


async def give_up_control(file: TerminalFile, thread: Thread, _: int) -> int:
    """TIOCNOTTY."""
    if file.is_master:
        raise PosixError(ENOTTY)
    jobs.give_up(thread.process, file.terminal)
    return 0


async def hang_up(file: TerminalFile, thread: Thread, _: int) -> int:
    """TIOCVHANGUP, for root."""
    if not thread.process.credentials.can(CAP_SYS_ADMIN):
        raise PosixError(EPERM)
    file.terminal.hang_up()
    return 0


# Queues -----------------------------------------------------------------------------------------


async def count_input(file: TerminalFile, thread: Thread, where: int) -> int:
    """FIONREAD, TIOCINQ."""
    return await put_int(thread, where, file.waiting())


async def count_output(file: TerminalFile, thread: Thread, where: int) -> int:
    """TIOCOUTQ: a pseudoterminal's output has gone out as soon as it is written."""
    return await put_int(thread, where, 0)


async def flush(file: TerminalFile, thread: Thread, which: int) -> int:
    """TCFLSH."""
    may_change(file, thread)
    which = s32(which)
    if which not in (TCIFLUSH, TCOFLUSH, TCIOFLUSH):
        raise PosixError(EINVAL)
    file.flush(which != TCOFLUSH, which != TCIFLUSH)
    return 0


async def flow(file: TerminalFile, thread: Thread, action: int) -> int:
    """TCXONC."""
    may_change(file, thread)
    action, terminal = s32(action), file.terminal
    if action in (TCOOFF, TCOON):
        terminal.held = action == TCOOFF
        if not terminal.held:
            terminal.discipline.stopped = False
            terminal.show_echo()
            terminal.drained()
        terminal.note_flow()
    elif action in (TCIOFF, TCION):
        c = terminal.discipline.termios.cc[t.VSTOP if action == TCIOFF else t.VSTART]
        if c != t.DISABLED:
            terminal.emit(bytes((c,)))
            terminal.carry()
    else:
        raise PosixError(EINVAL)
    return 0


async def send_break(file: TerminalFile, thread: Thread, _: int) -> int:
    """TCSBRK, TCSBRKP and the like: no line to break, and nothing to wait for (tcdrain)."""
    may_change(file, thread)
    await file.terminal.push(thread)
    return 0


# Access -----------------------------------------------------------------------------------------


def set_exclusive(exclusive: bool) -> Serve:
    """TIOCEXCL, TIOCNXCL."""

    async def set_mode(file: TerminalFile, thread: Thread, _: int) -> int:
        file.terminal.exclusive = exclusive
        return 0

    return set_mode


async def get_exclusive(file: TerminalFile, thread: Thread, where: int) -> int:
    """TIOCGEXCL."""
    return await put_int(thread, where, int(file.terminal.exclusive))


async def get_device(file: TerminalFile, thread: Thread, where: int) -> int:
    """TIOCGDEV: the device number behind /dev/tty or /dev/console."""
    return await put_int(thread, where, file.terminal.rdev)


async def refuse_input(file: TerminalFile, thread: Thread, _: int) -> int:
    """TIOCSTI: EIO, as where dev.tty.legacy_tiocsti is off."""
    raise PosixError(EIO)


COMMANDS: dict[int, Serve] = {
    0x5401: get_termios,
    0x5402: setter(t.OLD_BYTES, False),  # TCSETS
    0x5403: setter(t.OLD_BYTES, False),  # TCSETSW
    0x5404: setter(t.OLD_BYTES, True),  # TCSETSF
    0x802C_542A: get_termios2,
    0x402C_542B: setter(t.NEW_BYTES, False),  # TCSETS2
    0x402C_542C: setter(t.NEW_BYTES, False),  # TCSETSW2
    0x402C_542D: setter(t.NEW_BYTES, True),  # TCSETSF2
    0x5409: send_break,  # TCSBRK
    0x5425: send_break,  # TCSBRKP
    0x5427: send_break,  # TIOCSBRK
    0x5428: send_break,  # TIOCCBRK
    0x540A: flow,
    0x540B: flush,
    0x540C: set_exclusive(True),
    0x540D: set_exclusive(False),
    0x8004_5440: get_exclusive,
    0x540E: take_control,
    0x5422: give_up_control,
    0x540F: get_group,
    TIOCSPGRP: set_group,
    0x5429: get_session,
    0x5411: count_output,
    0x541B: count_input,
    0x5412: refuse_input,
    0x5413: get_size,
    0x5414: set_size,
    0x5423: set_line,
    0x5424: get_line,
    0x5437: hang_up,
    0x8004_5432: get_device,
}
