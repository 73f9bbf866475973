"""What `hardtack` runs: signals first, then the command line.

From here until the kernel takes care of signals (`relay.py`), and after it has, they end this
process with 128 + n and not a word. That takes a handler of our own: the default action is not
there for the first process of a container, and Python's own answer to SIGINT is a traceback.
"""

from __future__ import annotations

import os
import signal

WATCHED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def leave_at_once() -> None:
    """Have the watched signals end this process; those that our starter ignores stay ignored."""
    for number in WATCHED:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda number, _frame: os._exit(128 + number))


def main() -> int:
    """The `hardtack` command; its exit status."""
    leave_at_once()
    from boot.cli import main as command

    return command()
