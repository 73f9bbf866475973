"""The host's terminal: raw while the guest has it, as it was whenever the guest has not.

Rules: `enter` and `restore` may be called any number of times, from any state. The settings to go
back to are read once, before the first change. `restore` also works from a background process
group (it would be stopped by SIGTTOU otherwise), from an exit hook and from a signal handler.
A process in the background does not touch the terminal: `enter` then changes nothing, and is
tried again at the next SIGCONT.
"""

from __future__ import annotations

import atexit
import os
import signal
import termios

_IFLAG, _OFLAG, _CFLAG, _LFLAG, _CC = 0, 1, 2, 3, 6
_INPUT_OFF = (
    termios.IGNBRK
    | termios.BRKINT
    | termios.PARMRK
    | termios.ISTRIP
    | termios.INLCR
    | termios.IGNCR
    | termios.ICRNL
    | termios.IXON
)
_LOCAL_OFF = termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN


class HostTerminal:
    """The settings of the terminal behind `fd` (termios(3), cfmakeraw)."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._saved = termios.tcgetattr(fd)
        self.raw = False
        atexit.register(self.restore)

    def foreground(self) -> bool:
        """Whether our process group may change the terminal."""
        try:
            return os.tcgetpgrp(self._fd) == os.getpgrp()
        except OSError:  # not our controlling terminal: nobody's job control is in the way
            return True

    def enter(self) -> bool:
        """Make the terminal raw; False, with nothing changed, in the background or hung up."""
        if not self.foreground():
            return False
        raw = [*self._saved[:_CC], list(self._saved[_CC])]
        raw[_IFLAG] &= ~_INPUT_OFF
        raw[_OFLAG] &= ~termios.OPOST
        raw[_LFLAG] &= ~_LOCAL_OFF
        raw[_CFLAG] = (raw[_CFLAG] & ~(termios.CSIZE | termios.PARENB)) | termios.CS8
        raw[_CC][termios.VMIN] = 1
        raw[_CC][termios.VTIME] = 0
        self.raw = True
        try:
            termios.tcsetattr(self._fd, termios.TCSANOW, raw)
        except termios.error:
            self.raw = False
        return self.raw

    def restore(self) -> None:
        """Put the terminal back as it was found. Never waits (TCSANOW)."""
        if not self.raw:
            return
        self.raw = False
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
        try:
            termios.tcsetattr(self._fd, termios.TCSANOW, self._saved)
        except termios.error:
            pass  # the terminal was hung up: there is nothing left to restore
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def close(self) -> None:
        """Restore for good."""
        self.restore()
        atexit.unregister(self.restore)
