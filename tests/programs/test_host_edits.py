"""Does a running program see what is done to the host's files meanwhile?"""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.programs.command import Command
from tests.programs.commands.python import PYTHON
from tests.programs.oracle import REPOSITORY, hardtack_argv, missing_needs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE_S = 60.0
NAMES_S = 10.0
"""Names are followed within two seconds; this is for a slow machine."""

ECHO = """
import sys
for line in sys.stdin:
    try: said = open(line.strip()).read()
    except OSError as refusal: said = refusal.strerror
    print(said, flush=True)
"""


class Reader:
    """A program on Hardtack that reads files when it is told to."""

    def __init__(self, scratch: Path) -> None:
        command = Command("reader", (PYTHON, "-I", "-S", "-u", "-c", ECHO))
        argv = ["timeout", "-s", "KILL", str(PATIENCE_S), *hardtack_argv(command, scratch)]
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
        )

    def read(self, path: Path) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(path, file=self.process.stdin, flush=True)
        return self.process.stdout.readline().rstrip("\n")

    def until(self, path: Path, said: str) -> str:
        """Read again until it says that, or for a while."""
        end = time.monotonic() + NAMES_S
        while (now := self.read(path)) != said and time.monotonic() < end:
            time.sleep(0.1)
        return now


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    if absent := missing_needs((PYTHON, "timeout")):
        pytest.skip(f"not on this machine: {', '.join(absent)}")
    started = Reader(tmp_path)
    yield started
    started.process.kill()
    started.process.communicate()


def test_edits_are_seen_by_the_next_open(reader: Reader, tmp_path: Path) -> None:
    path, new = tmp_path / "file", tmp_path / "new"
    path.write_text("0")
    for turn in range(60):
        assert reader.read(path) == str(turn % 10)
        text = str((turn + 1) % 10)
        if turn % 3:
            path.write_text(text)
        else:
            new.write_text(text)
            os.rename(new, path)
    path.unlink()
    assert reader.read(path) == "No such file or directory"
    path.write_text("again")
    assert reader.until(path, "again") == "again"
    (tmp_path / "moved").mkdir()
    os.rename(path, tmp_path / "moved/file")
    assert reader.until(tmp_path / "moved/file", "again") == "again"
    assert reader.read(path) == "No such file or directory"
