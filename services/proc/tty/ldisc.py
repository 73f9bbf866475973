"""The line discipline: what typed characters become (termios(3); Linux's n_tty, which it follows).

The buffer holds what was typed and not yet read. Positions count from the first character ever:
`_tail` is the next one to be read, `_canon` the end of the last complete line. In canonical mode a
`mark` is the position of a line's last character; where that character is DISABLED, it stands for
end of file and is not read. Switching modes reinterprets what is buffered, as on Linux.

Pure: signals and the loss of pending output are told to a `Wire`; echo gathers in `echo`, already
processed for output, until the terminal takes it.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Protocol

from services.proc.abi import SIGINT, SIGQUIT, SIGTSTP
from services.proc.tty import termios as t
from services.proc.tty.erase import Eraser
from services.proc.tty.output import LOWER, NEWLINE, RETURN, Output

BUFFER_BYTES = 4096
ECHO_BYTES = 4096
_SIGNALS = ((t.VINTR, SIGINT), (t.VQUIT, SIGQUIT), (t.VSUSP, SIGTSTP))
_CONTROL = re.compile(rb"[\x00-\x1f\x7f\xff]").search
_SLOW = t.ISTRIP | t.IUCLC | t.PARMRK


def special_characters(termios: t.Termios) -> frozenset[int]:
    """The characters that these settings give a meaning, or may."""
    iflag, lflag, cc = termios.iflag, termios.lflag, termios.cc
    special: set[int] = set()
    if iflag & (t.IGNCR | t.ICRNL):
        special.add(RETURN)
    if iflag & t.INLCR:
        special.add(NEWLINE)
    if lflag & t.ICANON:
        special |= {cc[t.VERASE], cc[t.VKILL], cc[t.VEOF], NEWLINE, cc[t.VEOL]}
        if lflag & t.IEXTEN:
            special |= {cc[t.VWERASE], cc[t.VLNEXT], cc[t.VEOL2]}
            if lflag & t.ECHO:
                special.add(cc[t.VREPRINT])
    if iflag & t.IXON:
        special |= {cc[t.VSTART], cc[t.VSTOP]}
    if lflag & t.ISIG:
        special |= {cc[index] for index, _ in _SIGNALS}
    special.discard(t.DISABLED)
    return frozenset(special)


class Wire(Protocol):
    """What a line discipline can make happen."""

    def signal(self, number: int) -> None:
        """Send a signal to the foreground process group."""

    def discard_output(self) -> None:
        """Forget output that has not gone out yet."""


class Discipline:
    """One terminal's input buffer, its settings, and the echo."""

    def __init__(self, wire: Wire, termios: t.Termios = t.STANDARD) -> None:
        self._wire = wire
        self.output = Output(termios)
        self.echo = bytearray()
        self.stopped = False
        """Output is held back (IXON)."""
        self._buffer = bytearray()
        self._tail = 0
        self._canon = 0
        self._marks: deque[int] = deque()
        self._literal = False
        """LNEXT was typed."""
        self._eraser = Eraser(self.output)
        self._adopt(termios)

    # Settings -----------------------------------------------------------------------------------

    @property
    def termios(self) -> t.Termios:
        """The settings in force."""
        return self.output.termios

    def _adopt(self, termios: t.Termios) -> None:
        self.output.termios = termios
        self._canonical = bool(termios.lflag & t.ICANON)
        self._special = special = special_characters(termios)
        pattern = b"[" + b"".join(re.escape(bytes((c,))) for c in sorted(special)) + b"]"
        self._find_special = re.compile(pattern if special else b"(?!)").search
        self._slow = bool(termios.iflag & _SLOW)

    def configure(self, termios: t.Termios) -> None:
        """tcsetattr(3)."""
        old = self.termios
        if (old.lflag ^ termios.lflag) & (t.ICANON | t.EXTPROC):
            self._marks.clear()
            self._canon = self._tail
            if termios.lflag & t.ICANON and self._buffer:
                self._canon = self._head
                self._marks.append(self._head - 1)
            self._eraser.erasing = self._literal = False
        self._adopt(termios)
        if old.iflag & t.IXON and not termios.iflag & t.IXON:
            self.stopped = False

    # Reading ------------------------------------------------------------------------------------

    @property
    def _head(self) -> int:
        return self._tail + len(self._buffer)

    def available(self, least: int = 1) -> bool:
        """Whether a read would get a line, or without canonical mode `least` bytes."""
        if self._canonical:
            return self._canon != self._tail
        return len(self._buffer) >= least

    @property
    def canonical(self) -> bool:
        """Line by line (ICANON)."""
        return self._canonical

    @property
    def pending(self) -> int:
        """FIONREAD: bytes that can be read now."""
        if not self._canonical:
            return len(self._buffer)
        ends = sum(self._buffer[mark - self._tail] == t.DISABLED for mark in self._marks)
        return self._canon - self._tail - ends

    def take(self, count: int) -> bytes:
        """What a read of `count` bytes gets; b"" is end of file. Only where `available`."""
        if not self._canonical:
            return self._consume(min(count, len(self._buffer)))
        size = min(count, self._canon - self._tail)
        marks = self._marks
        if marks and marks[0] < self._tail + size:
            length = marks.popleft() - self._tail + 1
            line = self._consume(length)
            return line[:-1] if line[-1] == t.DISABLED else line
        part = self._consume(size)
        if size == count and marks and marks[0] == self._tail and self._buffer[0] == t.DISABLED:
            marks.popleft()  # the end of file just behind a read that it fits is that read's
            self._consume(1)
        return part

    def _consume(self, count: int) -> bytes:
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        self._tail += count
        self._canon = max(self._canon, self._tail)
        return data

    def flush_input(self) -> None:
        """tcflush(3), TCIFLUSH."""
        self._tail = self._canon = self._head
        self._buffer.clear()
        self._marks.clear()
        self._eraser.erasing = self._literal = False

    # Typing -------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> int:
        """Take typed characters; replies with how many, fewer where the buffer is full."""
        done = 0
        while done < len(data):
            room = BUFFER_BYTES - len(self._buffer)
            if self._slow:
                room = -(-room // 3)
            room -= 1
            if room <= 0:
                if not self._canonical or self._canon != self._tail:
                    break  # somebody has to read first
                if room < 0:
                    del self._buffer[-1:]  # a line too long: its end is lost, the newline is not
                room = 1
            self._receive(data[done : done + room])
            done += room
        return min(done, len(data))

    def _receive(self, data: bytes) -> None:
        if self._slow or self._literal:
            for c in data:
                self._receive_one(c)
            return
        if self.termios.lflag & t.EXTPROC:
            self._buffer += data
            return
        at = 0
        while at < len(data):
            found = self._find_special(data, at)
            end = found.start() if found else len(data)
            if end > at:
                self._ordinary(data[at:end])
            if found:
                self._special_one(data[end])
                end += 1
            at = end
            if self._is_literal() and at < len(data):
                self._receive_one(data[at])
                at += 1

    def _is_literal(self) -> bool:
        return self._literal

    def _receive_one(self, c: int) -> None:
        iflag = self.termios.iflag
        literal, self._literal = self._literal, False
        if iflag & t.ISTRIP:
            c &= 0x7F
        if iflag & t.IUCLC and self.termios.lflag & t.IEXTEN:
            c = LOWER[c]
        if c in self._special and not literal:
            self._special_one(c)
        else:
            self._ordinary(bytes((c,)))

    def _ordinary(self, run: bytes) -> None:
        """Characters without a meaning of their own."""
        self._restart_by_any()
        if self.termios.lflag & t.ECHO:
            self._finish_erasing()
            self._note_column()
            if _CONTROL(run):
                for c in run:
                    self._echo(self.output.echoed(c))
            else:
                self._echo(self.output.process(run))
        if self.termios.iflag & t.PARMRK:
            run = run.replace(b"\xff", b"\xff\xff")
        self._buffer += run

    def _restart_by_any(self) -> None:
        iflag = self.termios.iflag
        if self.stopped and iflag & t.IXON and iflag & t.IXANY:
            self.stopped = False

    def _special_one(self, c: int) -> None:
        """A character that the settings may give a meaning."""
        iflag, lflag, cc = self.termios.iflag, self.termios.lflag, self.termios.cc
        if iflag & t.IXON and c in (cc[t.VSTART], cc[t.VSTOP]):
            self.stopped = c != cc[t.VSTART]
            return
        if lflag & t.ISIG:
            for index, number in _SIGNALS:
                if c == cc[index]:
                    self._interrupt(c, number)
                    return
        self._restart_by_any()
        if c == RETURN:
            if iflag & t.IGNCR:
                return
            if iflag & t.ICRNL:
                c = NEWLINE
        elif c == NEWLINE and iflag & t.INLCR:
            c = RETURN
        if self._canonical and self._editing(c):
            return
        if lflag & t.ECHO:
            self._finish_erasing()
            if c == NEWLINE:
                self._echo_raw(c)
            else:
                self._note_column()
                self._echo(self.output.echoed(c))
        self._buffer.append(c)

    def _interrupt(self, c: int, number: int) -> None:
        """INTR, QUIT, SUSP: the signal, then the flush, then the echo."""
        self._wire.signal(number)
        if not self.termios.lflag & t.NOFLSH:
            self.echo.clear()
            self._wire.discard_output()
            self.flush_input()
        if self.termios.iflag & t.IXON:
            self.stopped = False
        if self.termios.lflag & t.ECHO:
            self._echo(self.output.echoed(c))

    def _editing(self, c: int) -> bool:
        """Canonical mode's own characters; False where `c` is none of them."""
        lflag, cc = self.termios.lflag, self.termios.cc
        extended = bool(lflag & t.IEXTEN)
        if c == t.DISABLED:
            return False
        if c in (cc[t.VERASE], cc[t.VKILL]) or (extended and c == cc[t.VWERASE]):
            self._echo(self._eraser.erase(self._buffer, self._canon - self._tail, c))
        elif extended and c == cc[t.VLNEXT]:
            self._literal = True
            if lflag & t.ECHO:
                self._finish_erasing()
                if lflag & t.ECHOCTL:
                    self._echo_raw(0x5E)
                    self._echo_raw(8)
        elif extended and lflag & t.ECHO and c == cc[t.VREPRINT]:
            self._reprint(c)
        elif c == NEWLINE:
            if lflag & (t.ECHO | t.ECHONL):
                self._echo_raw(c)
            self._end_line(c)
        elif c == cc[t.VEOF]:
            self._end_line(t.DISABLED)
        elif c == cc[t.VEOL] or (extended and c == cc[t.VEOL2]):
            if lflag & t.ECHO:
                self._note_column()
                self._echo(self.output.echoed(c))
            self._end_line(c)
        else:
            return False
        return True

    def _end_line(self, c: int) -> None:
        self._marks.append(self._head)
        self._buffer.append(c)
        self._canon = self._head

    def _reprint(self, c: int) -> None:
        self._finish_erasing()
        self._echo(self.output.echoed(c))
        self._echo_raw(NEWLINE)
        for typed in self._buffer[self._canon - self._tail :]:
            self._echo(self.output.echoed(typed))

    # Echo ---------------------------------------------------------------------------------------

    def _echo(self, shown: bytes) -> None:
        if len(self.echo) < ECHO_BYTES:
            self.echo += shown

    def _echo_raw(self, c: int) -> None:
        self._echo(self.output.process(bytes((c,))))

    def _note_column(self) -> None:
        """The column where the line began, for erasing tabs."""
        if self._canon == self._head:
            self.output.canon_column = self.output.column

    def _finish_erasing(self) -> None:
        if self._eraser.erasing:
            self._echo(self._eraser.finish())
