"""The kernel that is struck: a child of ours, with the load in it.

Its first process waits for the end of its standard input, which is a pipe of ours: so it stops
when we close that, and also when we are gone without having said so.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from typing import IO, TYPE_CHECKING, Any, Self

from boot.campaign import inside
from boot.campaign.loads import Expected, Http, Load, RedisLoad, compare_all
from boot.config import ConfigError
from boot.control.client import Client
from boot.control.place import connect
from boot.control.wire import ControlError
from boot.serve.clients import Redis
from boot.serve.kernel import search_path
from boot.serve.sites import LOOPBACK, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType

    from boot.campaign.ledger import Ledger

READY_S, CHECK_S, STOP_S = 120.0, 300.0, 20.0
GUESTS = "/campaign"
IMAGE_SIZE = "512M"
FIRST_PORT = 18080
RESTARTS = "100000/10"
"""Services may fail as often as they are struck."""


class KernelDied(Exception):
    """It ended, or stands still; the message is its last word."""


def make_image(folder: Path) -> None:
    """An empty disk for the load. ConfigError: it cannot be made."""
    words = ["image", "create", str(folder / "disk.ext4"), "--size", IMAGE_SIZE, "--force"]
    done = subprocess.run(
        [sys.executable, "-m", "boot", *words],
        capture_output=True,
        text=True,
        env=_environment(),
        check=False,
    )
    if done.returncode:
        reason = done.stderr.strip().removeprefix("hardtack: error: ")
        raise ConfigError(f"the disk of the campaign cannot be made: {reason}", "see TMPDIR")


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": search_path()}


class Kernel:
    """`hardtack run` with a script in it, over the files of `folder`."""

    def __init__(self, folder: Path, script: str, options: Sequence[str]) -> None:
        self.ports = {inside.HTTP_PORT: free_port(FIRST_PORT)}
        self.ports[inside.REDIS_PORT] = free_port(FIRST_PORT, list(self.ports.values()))
        self._socket = folder / "control"
        self._stderr = folder / "stderr"
        words = ["--control", str(self._socket), "--restarts", RESTARTS]
        words += ["--image", f"{folder}/disk.ext4:{inside.DATA}", "--bind", f"{folder}:{GUESTS}"]
        for port, here in self.ports.items():
            words += ["-p", f"{LOOPBACK}:{here}:{port}"]
        with self._stderr.open("wb") as errors:
            self.child = subprocess.Popen(
                [
                    *(sys.executable, "-m", "boot", "run", *words, *options),
                    *("--", "/bin/sh", "-c", script),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=_environment(),
                start_new_session=True,  # Ctrl-C is ours alone
            )
        self._client: Client | None = None
        self.stopping = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def runs(self) -> bool:
        """Whether it is there, and is to be."""
        return self.child.poll() is None and not self.stopping

    def check(self) -> None:
        """KernelDied: it is there no more."""
        if self.child.poll() is not None:
            raise KernelDied(self.last_words())

    def ask(self, command: str, **arguments: object) -> Any:
        """Over its control socket. KernelDied: no answer."""
        self.check()
        try:
            if self._client is None:
                self._client = Client(connect(self._socket), str(self._socket))
            return self._client.ask(command, **arguments)
        except (OSError, ControlError) as error:
            self.check()
            raise KernelDied(f"control socket: {error}") from None

    def complaints(self) -> list[str]:
        """What it said on standard error, but for the deaths that we caused."""
        text = self._stderr.read_text(errors="replace")
        return [line for line in text.splitlines() if line and not _caused(line)]

    def last_words(self) -> str:
        """The last line that it wrote."""
        said = self.complaints()
        return said[-1] if said else f"it ended with status {self.child.returncode}"

    def stop(self) -> int:
        """Ask, then insist; its exit status."""
        self.stopping = True
        if self._client is not None:
            self._client.connection.close()
            self._client = None
        assert self.child.stdin is not None
        with contextlib.suppress(OSError):
            self.child.stdin.close()
        for insist in (self.child.terminate, self.child.kill):
            try:
                return self.child.wait(STOP_S)
            except subprocess.TimeoutExpired:
                insist()
        return self.child.wait()


def _caused(line: str) -> bool:
    return "Injected(" in line or "Hung(" in line


def wait_for(kernel: Kernel, what: str, there: Callable[[], bool], limit_s: float) -> None:
    """Until something is so. KernelDied: the kernel ended, or it is not so in time."""
    deadline_s = time.monotonic() + limit_s
    while not there():
        kernel.check()
        if time.monotonic() > deadline_s:
            raise KernelDied(f"{what} after {limit_s:g} s")
        time.sleep(0.02)


def _redis_answers(port: int) -> Callable[[], bool]:
    def ask() -> bool:
        try:
            with Redis(LOOPBACK, port) as client:
                return client.command("PING") == "PONG"
        except (OSError, ValueError):
            return False

    return ask


class LoadedKernel(Kernel):
    """A kernel under load, from the start of the block to its end."""

    def __init__(
        self, folder: Path, ledger: Ledger, expected: Expected, options: Sequence[str]
    ) -> None:
        ledger.begin_anew()
        super().__init__(folder, inside.start_script(GUESTS), options)
        self._ledger = ledger
        http, redis = self.ports[inside.HTTP_PORT], self.ports[inside.REDIS_PORT]
        self._loads: list[Load] = [
            Http(ledger, http, running=self.runs),
            RedisLoad(ledger, redis, running=self.runs, expected=expected),
        ]
        assert self.child.stdout is not None
        self._reader = threading.Thread(target=self._hear, args=(self.child.stdout,), daemon=True)
        self._reader.start()

    def _hear(self, stream: IO[bytes]) -> None:
        for line in stream:
            if line.endswith(b"\n"):
                self._ledger.hear(line[:-1].decode(errors="replace"))

    def begin(self) -> None:
        """Until every load gets on. KernelDied."""
        answers = _redis_answers(self.ports[inside.REDIS_PORT])
        wait_for(self, "Redis does not answer", answers, READY_S)
        for load in self._loads:
            load.start()
        wait_for(self, "not every load gets on", lambda: all(self._ledger.rounds.values()), READY_S)

    def stop(self) -> int:
        """The loads outside first, so that they see no end of the kernel."""
        for load in self._loads:
            if load.is_alive():
                load.stop()
        status = super().stop()
        self._reader.join(STOP_S)
        return status


def look_for_everything(
    folder: Path, ledger: Ledger, expected: Expected, last_row: int, options: Sequence[str]
) -> int:
    """Boot afresh on the same disk and compare; how many values. KernelDied."""
    script = inside.check_script(GUESTS, last_row)
    with Kernel(folder, script, options) as kernel:
        assert kernel.child.stdout is not None
        checked = False
        for line in kernel.child.stdout:
            text = line.decode(errors="replace").rstrip("\n")
            if text == "sqlite checked":
                checked = True
                break
            ledger.hear(text)
        if not checked:
            raise KernelDied(f"SQLite could not be checked: {kernel.last_words()}")
        port = kernel.ports[inside.REDIS_PORT]
        wait_for(kernel, "Redis does not answer", _redis_answers(port), CHECK_S)
        return compare_all(ledger, port, expected) + min(last_row, inside.ROWS)
