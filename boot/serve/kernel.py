"""The kernel that serves: a child of ours, started and stopped as a user would.

Its first process waits for the end of its standard input, which is a pipe of ours: so it stops
when we close the pipe, and also when we are gone without having said so.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from boot.serve.sites import Site

READY_S = 60.0
"""How long servers may take until they answer: a slow machine under load."""
STOP_S = 10.0
REPOSITORY = Path(__file__).resolve().parents[2]


class KernelEnded(Exception):
    """The kernel is over before it should be; the message is its last word."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class ServingKernel:
    """`hardtack run WORDS` in the background, from the start to the end of a with block."""

    def __init__(self, words: Sequence[str]) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed at the end of the block
        self._child = subprocess.Popen(
            [sys.executable, "-m", "boot", "run", *words],
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
            env={**os.environ, "PYTHONPATH": search_path()},
            start_new_session=True,  # Ctrl-C is ours alone
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        self._log.close()

    def check(self) -> None:
        """Raise KernelEnded if it runs no more."""
        if self._child.poll() is not None:
            raise KernelEnded(self.last_words(), self._child.returncode)

    def said(self) -> str:
        """What it wrote, and its servers where they have stopped."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace").strip()

    def last_words(self) -> str:
        """The last line that it wrote."""
        last = self.said().rpartition("\n")[2]
        return last or f"the kernel ended with status {self._child.returncode}"

    def stop(self) -> int:
        """Ask, then insist; its exit status."""
        assert self._child.stdin is not None
        self._child.stdin.close()
        for insist in (self._child.terminate, self._child.kill):
            try:
                return self._child.wait(STOP_S)
            except subprocess.TimeoutExpired:
                insist()
        return self._child.wait()

    def first_answer(self, site: Site, port: int) -> str:
        """Try a site until it answers; what `attempt` says. OSError, ValueError: it does not."""
        deadline = time.monotonic() + READY_S
        while True:
            self.check()
            try:
                return site.attempt(port)
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)


def search_path() -> str:
    """Where the child finds this package, wherever it is started."""
    known = os.environ.get("PYTHONPATH")
    return os.pathsep.join([str(REPOSITORY), *([known] if known else [])])
