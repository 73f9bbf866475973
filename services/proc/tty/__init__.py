"""Terminals: line discipline, job control, pseudoterminals, the console.

- `termios.py`, `output.py`, `erase.py`, `ldisc.py`: what bytes become on their way in and out.
- `terminal.py`, `jobs.py`: a terminal and who may use it.
- `file.py`, `ioctls.py`, `open.py`: what programs have open.
- `pty.py`, `console.py`: the two kinds of wire.
"""

from services.proc.tty.console import attach_console

__all__ = ["attach_console"]
