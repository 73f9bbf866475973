"""Packet mode of a pty's master (ioctl_tty(2), TIOCPKT): what has happened at the slave, as bits.

While it is on, each read of the master starts with a byte: 0 before data, or the bits of what has
happened since (and then nothing else). Programs that carry terminals over a network (rlogin,
expect) stop and flush their own end by it.
"""

from __future__ import annotations

from services.proc.tty import termios as t

FLUSHREAD, FLUSHWRITE, STOP, START, NOSTOP, DOSTOP, IOCTL = 1, 2, 4, 8, 16, 32, 64
DATA = b"\0"
CTRL_Q, CTRL_S = 0x11, 0x13


def usual_flow(termios: t.Termios) -> bool:
    """Whether ^S and ^Q stop and start output."""
    usual = termios.cc[t.VSTOP] == CTRL_S and termios.cc[t.VSTART] == CTRL_Q
    return bool(termios.iflag & t.IXON) and usual


class Packets:
    """The bits, and whether anybody wants them."""

    __slots__ = ("_stopped", "on", "status")

    def __init__(self) -> None:
        self.on = False
        self.status = 0
        self._stopped = False

    def switch(self, on: bool) -> None:
        """TIOCPKT; what happened before does not count."""
        if on and not self.on:
            self.status = 0
        self.on = on

    def tell(self, bits: int, instead_of: int = 0) -> bool:
        """Something happened; False where nobody wants to know."""
        if self.on:
            self.status = self.status & ~instead_of | bits
        return self.on

    def output_is(self, stopped: bool) -> bool:
        """Output is stopped, or not; whether that is news to tell."""
        if stopped == self._stopped:
            return False
        self._stopped = stopped
        return self.tell(STOP, START) if stopped else self.tell(START, STOP)

    def settings(self, old: t.Termios, new: t.Termios) -> bool:
        """The slave's settings change; whether that is news to tell."""
        before, after = usual_flow(old), usual_flow(new)
        extproc = (old.lflag | new.lflag) & t.EXTPROC
        news = False
        if before != after:
            news = self.tell(DOSTOP, NOSTOP) if after else self.tell(NOSTOP, DOSTOP)
        return self.tell(IOCTL) if extproc else news

    def take(self) -> bytes:
        """The byte that the next read is about; empty where nothing has happened."""
        status, self.status = self.status, 0
        return bytes((status,)) if self.on and status else b""
