"""A terminal: line discipline, window size, session, foreground group, and what is on its way out.

Two kinds have a wire of their own: `Pty`, whose other end is a master file, and `Console`, whose
other end is the host's terminal. The wire feeds typed bytes with `feed` (which takes as many as
there is room for; `roomy` is woken when there is more) and carries away what is in `out`.

`epoch` counts hang-ups: a file of an earlier epoch reads end of file and gets EIO for the rest.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from services.proc.abi import (
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLRDNORM,
    POLLWRNORM,
    SIGCONT,
    SIGHUP,
    SIGWINCH,
)
from services.proc.park import WaitQueue
from services.proc.signals import send
from services.proc.tty.ldisc import Discipline
from services.proc.tty.termios import VMIN, VTIME

if TYPE_CHECKING:
    from services.proc.kernel import Kernel
    from services.proc.task import Session, Thread
    from services.proc.tty.termios import Termios

READABLE, WRITABLE = POLLIN | POLLRDNORM, POLLOUT | POLLWRNORM
OUT_BYTES = 8192
"""Output that may wait to be carried away before writers wait."""
BACKLOG_BYTES = 8192
"""Typed bytes that may wait for the line discipline to have room."""
GULP_BYTES = 1024
"""The line discipline is fed in pieces, so that their echo finds room."""


class Terminal:
    """See the module's docstring. `rdev` is its device number, `name` its path in /dev."""

    def __init__(self, kernel: Kernel, rdev: int, name: bytes) -> None:
        self.kernel = kernel
        self.rdev = rdev
        self.name = name
        self.discipline = Discipline(self)
        self.session: Session | None = None
        """The session that it controls."""
        self.foreground = 0
        """The foreground process group; it counts only while there is a session."""
        self.detached: set[int] = set()
        """Processes of the session that gave it up on their own (TIOCNOTTY)."""
        self.size = bytes(8)
        """struct winsize."""
        self.exclusive = False
        self.held = False
        """Output was suspended with TCOOFF."""
        self.gone = False
        """The wire is cut for good."""
        self.epoch = 0
        self.opens = 0
        self.out = bytearray()
        self.backlog = bytearray()
        self.queue = WaitQueue()
        self.roomy = WaitQueue()

    # The line discipline's wire -----------------------------------------------------------------

    def signal(self, number: int) -> None:
        """Send a signal to the foreground group."""
        if self.session is not None and self.foreground:
            for process in self.kernel.group(self.foreground):
                send.to_process(process, send.kernel_info(number))

    def discard_output(self) -> None:
        """Forget what is not carried away yet."""
        self.out.clear()
        self.drained()

    # From the wire ------------------------------------------------------------------------------

    def feed(self, data: bytes) -> int:
        """Type bytes; replies with how many there was room for."""
        taken = min(len(data), BACKLOG_BYTES - len(self.backlog))
        self.backlog += data[:taken]
        self.digest()
        return taken

    def digest(self) -> None:
        """Pass the backlog on as far as there is room; show the echo; tell who waits."""
        discipline, backlog = self.discipline, self.backlog
        was_stopped, had = discipline.stopped, len(backlog)
        while backlog:
            done = discipline.receive(bytes(backlog[:GULP_BYTES]))
            del backlog[:done]
            self.show_echo()
            if not done:
                break
        if was_stopped and not discipline.stopped:
            self.show_echo()
            self.queue.wake(WRITABLE)
        self.note_flow()
        if len(backlog) < had:
            self.roomy.wake(WRITABLE)
        if discipline.available(self.least()):
            self.queue.wake(READABLE)

    def least(self) -> int:
        """How many bytes poll(2) waits for (VMIN, where VTIME is 0)."""
        cc = self.discipline.termios.cc
        return cc[VMIN] if cc[VMIN] and not cc[VTIME] else 1

    def flush_input(self) -> None:
        """Forget what was typed and not yet read."""
        self.discipline.flush_input()
        self.backlog.clear()
        self.roomy.wake(WRITABLE)

    def note_flow(self) -> None:
        """Output may have been stopped or started."""

    def configure(self, termios: Termios) -> None:
        """tcsetattr(3)."""
        self.discipline.configure(termios)
        self.note_flow()
        self.show_echo()
        self.digest()
        self.queue.wake(READABLE | WRITABLE)  # a change may make either direction ready

    # To the wire --------------------------------------------------------------------------------

    def room(self) -> int:
        """How much more output is taken now."""
        if self.discipline.stopped or self.held:
            return 0
        return OUT_BYTES - len(self.out)

    def emit(self, data: bytes) -> None:
        """Output, already processed."""
        self.out += data
        self.carry()

    def show_echo(self) -> None:
        """Let the echo out, unless output is stopped or nobody carries it away."""
        echo = self.discipline.echo
        if echo and not self.discipline.stopped:
            if len(self.out) < 2 * OUT_BYTES:
                self.emit(bytes(echo))
            echo.clear()

    def carry(self) -> None:
        """There is output: tell the wire."""

    async def push(self, thread: Thread | None) -> None:
        """Carry output away in the writer's own task, where the wire can."""

    def drained(self) -> None:
        """The wire took output: writers may go on."""
        if len(self.out) < OUT_BYTES:
            self.queue.wake(WRITABLE)

    async def last_words(self) -> None:
        """A file of it was closed."""

    # Window size --------------------------------------------------------------------------------

    def resize(self, size: bytes) -> None:
        """TIOCSWINSZ: a change is told with SIGWINCH."""
        if size != self.size:
            self.size = size
            self.signal(SIGWINCH)

    def resize_to(self, rows: int, columns: int) -> None:
        """The same, in characters."""
        self.resize(struct.pack("<4H", rows, columns, 0, 0))

    # Hanging up ---------------------------------------------------------------------------------

    def disown(self) -> None:
        """The session's leader is gone: the terminal is hung up (setsid(2), tty(4)).

        The foreground group is told by the caller, to whom it is still shown.
        """
        if self.session is not None:
            self.let_go()
            self.cut()

    def let_go(self) -> None:
        """No session's terminal any more."""
        self.session = None
        self.detached.clear()

    def cut(self) -> None:
        """All files that are open now read as ended."""
        self.epoch += 1
        self.flush_input()
        self.queue.wake(READABLE | WRITABLE | POLLERR | POLLHUP)

    def hang_up(self) -> None:
        """The wire is cut: the session's leader is told (SIGHUP, SIGCONT)."""
        session = self.session
        if session is not None:
            leader = self.kernel.processes.get(session.sid)
            if leader is not None:
                send.to_process(leader, send.kernel_info(SIGHUP))
                send.to_process(leader, send.kernel_info(SIGCONT))
            self.let_go()
        self.cut()
