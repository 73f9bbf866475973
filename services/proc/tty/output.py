"""The output half of a line discipline: OPOST and what goes with it, and the echo (termios(3)).

It keeps the cursor's column, which tabs need, and the column where the line being typed began.
Pure: bytes in, bytes out.
"""

from __future__ import annotations

from services.proc.tty import termios as t

_CONTROL_BYTES = bytes((*range(32), 127))
_CONTINUATION = bytes(range(0x80, 0xC0))
_PLAIN_ONLY = t.OLCUC | t.OCRNL | t.ONOCR | t.ONLRET
_LOWER_CASE = (*range(0x61, 0x7B), *range(0xDF, 0xF7), *range(0xF8, 0x100))
_UPPER_CASE = (*range(0x41, 0x5B), *range(0xC0, 0xD7), *range(0xD8, 0xDF))
UPPER = bytes(c - 32 if c in _LOWER_CASE else c for c in range(256))
LOWER = bytes(c + 32 if c in _UPPER_CASE else c for c in range(256))
"""OLCUC and IUCLC take bytes for Latin-1, as the kernel's ctype.h does."""
TAB, NEWLINE, RETURN, BACKSPACE = 9, 10, 13, 8


def is_control(c: int) -> bool:
    """iscntrl(3) of one byte."""
    return c < 32 or c == 127


class Output:
    """Turns what a program writes, and what is echoed, into what the terminal shows."""

    __slots__ = ("canon_column", "column", "termios", "transparent")

    def __init__(self, termios: t.Termios) -> None:
        self.termios = termios
        self.column = 0
        self.canon_column = 0
        self.transparent = False
        """Somebody else does the processing."""

    def process(self, data: bytes) -> bytes:
        """What `data` becomes on its way out (OPOST)."""
        oflag = self.termios.oflag
        if not oflag & t.OPOST or self.transparent:
            return data
        if oflag & _PLAIN_ONLY or oflag & t.TABDLY == t.XTABS:
            return b"".join([self._character(c) for c in data])
        self._track(data, bool(oflag & t.ONLCR))
        return data.replace(b"\n", b"\r\n") if oflag & t.ONLCR else data

    def _track(self, data: bytes, newline_returns: bool) -> None:
        """Move the column as `data` will."""
        start = data.rfind(b"\r")
        if newline_returns:
            start = max(start, data.rfind(b"\n"))
        if start >= 0:
            self.column = self.canon_column = 0
            data = data[start + 1 :]
        elif b"\n" in data:
            self.canon_column = self.column
        if b"\t" in data or b"\b" in data:
            for c in data:
                self._advance(c)
        else:
            utf8 = self.termios.iflag & t.IUTF8
            hidden = _CONTROL_BYTES + _CONTINUATION if utf8 else _CONTROL_BYTES
            self.column += len(data.translate(None, hidden))

    def _advance(self, c: int) -> None:
        if c == TAB:
            self.column += 8 - (self.column & 7)
        elif c == BACKSPACE:
            self.column = max(self.column - 1, 0)
        elif not is_control(c) and not self.continues(c):
            self.column += 1

    def continues(self, c: int) -> bool:
        """Whether a byte belongs to the character before it (IUTF8)."""
        return c & 0xC0 == 0x80 and bool(self.termios.iflag & t.IUTF8)

    def _character(self, c: int) -> bytes:
        """One byte under the rarer flags of c_oflag."""
        oflag = self.termios.oflag
        if c == NEWLINE:
            if oflag & t.ONLRET:
                self.column = 0
            if oflag & t.ONLCR:
                self.column = self.canon_column = 0
                return b"\r\n"
            self.canon_column = self.column
        elif c == RETURN:
            if oflag & t.ONOCR and not self.column:
                return b""
            if oflag & t.OCRNL:
                if oflag & t.ONLRET:
                    self.column = self.canon_column = 0
                return b"\n"
            self.column = self.canon_column = 0
        elif c == TAB and oflag & t.TABDLY == t.XTABS:
            spaces = 8 - (self.column & 7)
            self.column += spaces
            return b" " * spaces
        else:
            if oflag & t.OLCUC:
                c = UPPER[c]
            self._advance(c)
        return bytes((c,))

    # Echo ---------------------------------------------------------------------------------------

    def echoed(self, c: int) -> bytes:
        """A typed character as it is echoed: ^X for control characters under ECHOCTL."""
        if is_control(c) and c != TAB and self.termios.lflag & t.ECHOCTL:
            self.column += 2
            return bytes((0x5E, c ^ 0x40))
        if c == 0xFF:  # n_tty's own escape, which it shows as it is
            self.column += 1
            return b"\xff"
        return self.process(bytes((c,)))

    def erase_tab(self, columns: int, after_tab: bool) -> bytes:
        """Backspaces over a tab that follows `columns` columns of its line (or of the last tab)."""
        if not after_tab:
            columns += self.canon_column
        count = 8 - (columns & 7)
        self.column = max(self.column - count, 0)
        return b"\b" * count
