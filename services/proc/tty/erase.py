"""Taking typed characters back: ERASE, WERASE and KILL, and how that looks (termios(3)).

The rules are n_tty's `eraser`, with its three ways to show it: backspaces (ECHOE, ECHOKE), the
erased characters between backslash and slash (ECHOPRT), or the erasing character itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.proc.tty import termios as t
from services.proc.tty.output import NEWLINE, TAB, is_control

if TYPE_CHECKING:
    from services.proc.tty.output import Output

RUB_OUT = b"\b \b"


def _in_word(c: int) -> bool:
    """A letter, digit or underscore, where letters are Latin-1's, as they are for n_tty."""
    return bytes((c,)).isalnum() or c == 0x5F or (c >= 0xC0 and c not in (0xD7, 0xF7))


class Eraser:
    """Edits the end of an input buffer; replies with what is to be echoed."""

    __slots__ = ("erasing", "output")

    def __init__(self, output: Output) -> None:
        self.output = output
        self.erasing = False
        """A backslash of ECHOPRT is open."""

    def finish(self) -> bytes:
        """Close what ECHOPRT opened."""
        if not self.erasing:
            return b""
        self.erasing = False
        return self.output.process(b"/")

    def erase(self, buffer: bytearray, start: int, c: int) -> bytes:
        """Take back what the character `c` says, from the line that begins at `start`."""
        lflag, cc = self.output.termios.lflag, self.output.termios.cc
        if len(buffer) == start:
            return b""
        single = c == cc[t.VERASE]
        word = not single and c == cc[t.VWERASE]
        if not single and not word:
            shown = t.ECHO | t.ECHOK | t.ECHOKE | t.ECHOE
            if lflag & shown != shown:
                del buffer[start:]
                return self._killed() if lflag & t.ECHO else b""
        shown_bytes = self._take_back(buffer, start, single, word)
        if len(buffer) == start and lflag & t.ECHO:
            shown_bytes += self.finish()
        return shown_bytes

    def _killed(self) -> bytes:
        """A line that goes without being rubbed out."""
        termios = self.output.termios
        shown = self.finish() + self.output.echoed(termios.cc[t.VKILL])
        if termios.lflag & t.ECHOK:
            shown += self.output.process(bytes((NEWLINE,)))
        return shown

    def _take_back(self, buffer: bytearray, start: int, single: bool, word: bool) -> bytes:
        continues = self.output.continues
        shown, inside = b"", False
        while len(buffer) > start:
            at = len(buffer) - 1
            while continues(buffer[at]) and at > start:
                at -= 1
            first = buffer[at]
            if continues(first):
                break
            if word:
                if _in_word(first):
                    inside = True
                elif inside:
                    break
            gone = bytes(buffer[at:])
            del buffer[at:]
            if self.output.termios.lflag & t.ECHO:
                shown += self._show(gone, buffer, start, single)
            if single:
                break
        return shown

    def _show(self, gone: bytes, buffer: bytearray, start: int, single: bool) -> bytes:
        """How one erased character looks; `buffer` is what is left."""
        lflag, output = self.output.termios.lflag, self.output
        c = gone[0]
        if lflag & t.ECHOPRT:
            opening = b"" if self.erasing else output.process(b"\\")
            self.erasing = True
            return opening + output.echoed(c) + output.process(gone[1:])
        if single and not lflag & t.ECHOE:
            return output.echoed(output.termios.cc[t.VERASE])
        if c == TAB:
            return output.erase_tab(*self._columns(buffer, start))
        width = 1
        if is_control(c):
            width = 2 if lflag & t.ECHOCTL else 0
        return output.process(RUB_OUT * width)

    def _columns(self, buffer: bytearray, start: int) -> tuple[int, bool]:
        """Columns that the line takes behind its last tab, and whether there is one."""
        columns = 0
        for c in reversed(buffer[start:]):
            if c == TAB:
                return columns, True
            if is_control(c):
                columns += 2 if self.output.termios.lflag & t.ECHOCTL else 0
            elif not self.output.continues(c):
                columns += 1
        return columns, False
