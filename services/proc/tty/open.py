"""open(2) of terminals by device number: tty(4), console(4), pts(4)."""

from __future__ import annotations

import os
from errno import EBUSY, EIO, ENODEV, ENXIO
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc.abi import O_NOCTTY
from services.proc.capabilities import CAP_SYS_ADMIN
from services.proc.tty import jobs
from services.proc.tty.file import TerminalFile
from services.proc.tty.pty import SLAVE_MAJOR, Pty, open_ptmx, open_slave

if TYPE_CHECKING:
    from services.proc.task import Thread

TTY, CONSOLE, PTMX = (5, 0), (5, 1), (5, 2)
TERMINAL_DEVICES = frozenset((5, SLAVE_MAJOR))
"""Major numbers."""


def opened(thread: Thread, file: TerminalFile, flags: int) -> TerminalFile:
    """A leader without a terminal gets this one, unless O_NOCTTY is in `flags`."""
    if not flags & O_NOCTTY:
        jobs.take_on_open(thread.process, file.terminal, file.readable)
    return file


async def open_terminal(
    thread: Thread, number: tuple[int, int], node: int, flags: int
) -> TerminalFile:
    """The file of device `number`; on success it owns `node`'s reference."""
    kernel, kept = thread.kernel, flags & ~O_NOCTTY
    if number == PTMX:
        return await open_ptmx(thread, node, kept)
    if number == TTY:
        terminal = jobs.controlling(thread.process)
        if terminal is None:
            raise PosixError(ENXIO)
        return TerminalFile(kernel, node, kept, terminal)
    terminal = kernel.terminals.get(os.makedev(*number))
    if terminal is None:
        raise PosixError(ENODEV if number == CONSOLE else EIO)
    if terminal.exclusive and not thread.process.credentials.can(CAP_SYS_ADMIN):
        raise PosixError(EBUSY)
    if isinstance(terminal, Pty):
        return opened(thread, open_slave(thread, terminal, node, kept), flags)
    return TerminalFile(kernel, node, kept, terminal)
