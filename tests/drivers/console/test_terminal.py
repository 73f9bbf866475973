"""Is the host's terminal raw while the guest has it, and as it was on every way out?"""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from services.drivers.console.terminal import HostTerminal

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT = "tests.drivers.console.guest_of_terminal"
ROOT = Path(__file__).parents[3]


class OnTerminal:
    """A child with a pseudo-terminal of its own; `master` is our end of it."""

    def __init__(self, how: str) -> None:
        self.master, self.slave = os.openpty()
        self.before = termios.tcgetattr(self.slave)
        self.child = subprocess.Popen(
            [sys.executable, "-m", SCRIPT, how],
            stdin=self.slave,
            stdout=self.slave,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            cwd=ROOT,
        )

    def settings(self) -> list[Any]:
        return termios.tcgetattr(self.slave)

    def read_until(self, wanted: bytes) -> bytes:
        got = b""
        while wanted not in got:
            got += os.read(self.master, 1000)
        return got

    def wait_ready(self) -> int:
        """Wait until the console has the terminal; the number of the process that runs it."""
        line = self.read_until(b"READY")
        while not line.endswith(b"\n"):
            line += os.read(self.master, 1000)
        return int(line.split()[1])


def wait_state(pid: int, state: str) -> None:
    """Wait until a process is in a state of proc(5)'s stat."""
    stat = Path(f"/proc/{pid}/stat")
    while stat.read_text().rpartition(")")[2].split()[0] != state:
        time.sleep(0.001)


@contextmanager
def on_terminal(how: str) -> Iterator[OnTerminal]:
    made = OnTerminal(how)
    try:
        yield made
    finally:
        if made.child.poll() is None:
            made.child.kill()
        made.child.wait()
        os.close(made.master)
        os.close(made.slave)


def is_raw(settings: list[Any]) -> bool:
    return not settings[3] & (termios.ICANON | termios.ECHO | termios.ISIG)


def test_the_terminal_is_raw_while_the_guest_runs_and_sigterm_restores_it() -> None:
    with on_terminal("wait") as terminal:
        terminal.wait_ready()
        assert is_raw(terminal.settings())
        terminal.child.send_signal(signal.SIGTERM)
        assert terminal.child.wait() == 0
        assert terminal.settings() == terminal.before


@pytest.mark.parametrize("how", ["raise", "exit", "return"])
def test_every_other_way_out_restores_it(how: str) -> None:
    with on_terminal(how) as terminal:
        terminal.wait_ready()
        assert terminal.child.wait() == {"raise": 1, "exit": 1, "return": 0}[how]
        assert terminal.settings() == terminal.before


def test_a_keyboard_interrupt_restores_it() -> None:
    with on_terminal("wait") as terminal:
        terminal.wait_ready()
        terminal.child.send_signal(signal.SIGINT)
        assert terminal.child.wait() != 0
        assert terminal.settings() == terminal.before


def test_sigtstp_lends_the_terminal_to_the_shell() -> None:
    with on_terminal("shell") as terminal:
        pid = terminal.wait_ready()
        assert is_raw(terminal.settings())
        os.kill(pid, signal.SIGTSTP)
        wait_state(pid, "T")
        assert terminal.settings() == terminal.before
        os.kill(pid, signal.SIGCONT)
        while not is_raw(terminal.settings()):
            time.sleep(0.001)
        os.kill(pid, signal.SIGTERM)
        assert terminal.child.wait() == 0
        assert terminal.settings() == terminal.before


def test_sigtstp_that_cannot_stop_us_leaves_the_terminal_raw() -> None:
    with on_terminal("resize") as terminal:  # a session of its own: an orphaned process group
        pid = terminal.wait_ready()
        os.kill(pid, signal.SIGTSTP)
        terminal.read_until(b"SIZE")  # what waits for the size looks again after a suspension
        assert is_raw(terminal.settings())
        os.kill(pid, signal.SIGTERM)
        assert terminal.child.wait() == 0
        assert terminal.settings() == terminal.before


def test_a_new_size_is_told() -> None:
    with on_terminal("resize") as terminal:
        terminal.wait_ready()
        fcntl.ioctl(terminal.master, termios.TIOCSWINSZ, struct.pack("4H", 33, 77, 0, 0))
        assert b"SIZE 33 77" in terminal.read_until(b"77")
        terminal.child.send_signal(signal.SIGTERM)
        assert terminal.child.wait() == 0


def test_restore_undoes_enter_any_number_of_times() -> None:
    master, slave = os.openpty()
    try:
        before = termios.tcgetattr(slave)
        terminal = HostTerminal(slave)
        for _ in range(2):
            assert terminal.enter()
            assert terminal.enter()
            assert is_raw(termios.tcgetattr(slave))
            terminal.restore()
            terminal.restore()
            assert termios.tcgetattr(slave) == before
        terminal.close()
    finally:
        os.close(master)
        os.close(slave)


def test_a_terminal_that_was_hung_up_is_no_error() -> None:
    master, slave = os.openpty()
    terminal = HostTerminal(slave)
    terminal.enter()
    os.close(master)
    terminal.close()
    os.close(slave)
