"""Job control: who may do what with a controlling terminal (tty_ioctl(4), setpgid(2))."""

from __future__ import annotations

from errno import EIO, ENOTTY, EPERM, ESRCH
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc.abi import SIGCONT, SIGHUP, SIGTTIN
from services.proc.capabilities import CAP_SYS_ADMIN
from services.proc.park import Interrupted
from services.proc.signals import send
from services.proc.signals.core import SIG_IGN, bit
from services.proc.signals.deliver import orphaned

if TYPE_CHECKING:
    from services.proc.task import Process, Thread
    from services.proc.tty.terminal import Terminal


def controlling(process: Process) -> Terminal | None:
    """The process's controlling terminal."""
    terminal: Terminal | None = process.session.terminal
    if terminal is None or terminal.session is not process.session:
        return None
    return None if process.pid in terminal.detached else terminal


def is_leader(process: Process) -> bool:
    """Whether it leads its session."""
    return process.session.sid == process.pid


def check_background(thread: Thread, terminal: Terminal, signal: int) -> None:
    """Stop the whole group of a background process that touches its terminal.

    `signal` is SIGTTIN for reading and SIGTTOU for writing and setting. `Interrupted` makes the
    call start again when the group is continued. A process that ignores or blocks the signal gets
    EIO when it reads and its way otherwise; an orphaned group gets EIO, as nobody would continue
    it.
    """
    process = thread.process
    if process.pgid == terminal.foreground or not terminal.foreground:
        return
    if controlling(process) is not terminal:
        return
    if thread.blocked & bit(signal) or process.actions.get(signal).handler == SIG_IGN:
        if signal == SIGTTIN:
            raise PosixError(EIO)
        return
    if orphaned(process):
        raise PosixError(EIO)
    for member in process.kernel.group(process.pgid):
        send.to_process(member, send.kernel_info(signal))
    thread.work = True
    raise Interrupted


def take(process: Process, terminal: Terminal) -> None:
    """Make it the session's controlling terminal, with the leader's group in the foreground."""
    terminal.session = process.session
    terminal.foreground = process.pgid
    terminal.detached.clear()
    process.session.terminal = terminal


def take_on_open(process: Process, terminal: Terminal, readable: bool) -> None:
    """open(2) without O_NOCTTY: a leader without a terminal gets one that is free."""
    free = terminal.session is None and not terminal.gone
    if free and readable and is_leader(process) and controlling(process) is None:
        take(process, terminal)


def acquire(process: Process, terminal: Terminal, steal: bool, readable: bool) -> None:
    """TIOCSCTTY; `steal` takes it from another session, which root may."""
    root = process.credentials.can(CAP_SYS_ADMIN)
    if is_leader(process) and terminal.session is process.session:
        return
    if not is_leader(process) or controlling(process) is not None:
        raise PosixError(EPERM)
    if terminal.session is not None:
        if not steal or not root:
            raise PosixError(EPERM)
        terminal.session.terminal = None
    if not readable and not root:
        raise PosixError(EPERM)
    take(process, terminal)


def give_up(process: Process, terminal: Terminal) -> None:
    """TIOCNOTTY: a leader gives it up for the whole session, with SIGHUP to the foreground."""
    if controlling(process) is not terminal:
        raise PosixError(ENOTTY)
    if not is_leader(process):
        terminal.detached.add(process.pid)
        return
    terminal.signal(SIGHUP)
    terminal.signal(SIGCONT)
    process.session.terminal = None
    terminal.let_go()


def set_foreground(process: Process, terminal: Terminal, group: int) -> None:
    """TIOCSPGRP, after `check_background`."""
    if controlling(process) is not terminal:
        raise PosixError(ENOTTY)
    members = [p for p in process.kernel.processes.values() if p.pgid == group]
    if not members:
        raise PosixError(ESRCH)
    if all(member.session is not process.session for member in members):
        raise PosixError(EPERM)
    terminal.foreground = group
