"""Does a file say what was last written to it, whichever way it is written and read?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.programs.command import Command
from tests.programs.oracle import on_hardtack, on_host, scratch_directory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

COUNT = 1500
FILES = {"old": bytes(range(1, 256)) * 600}
SAID = f"fsx: {COUNT} operations, ok\n".encode()


def _run(programs: Path, path: str, seed: int, options: Sequence[str] | None) -> None:
    command = Command("fsx", (str(programs / "fsx"), path, str(seed), str(COUNT)))
    with scratch_directory(FILES) as scratch:
        if options is None:
            outcome = on_host(command, scratch)
        else:
            words = [word.replace("SCRATCH", str(scratch)) for word in options]
            outcome = on_hardtack(command, scratch, options=words)
    assert (outcome.stdout, outcome.stderr, outcome.status) == (SAID, b"", 0)


@pytest.mark.parametrize("path", ["new", "old"])
def test_the_oracle_is_clean(user_programs: Path, path: str) -> None:
    _run(user_programs, path, 1, None)


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("new", ()),
        ("old", ()),
        ("old", ("--ram", "64M")),
        ("/mnt/old", ("--bind", "SCRATCH:/mnt:rw")),
        ("/mnt/new", ("--bind", "SCRATCH:/mnt:rw")),
        ("/mnt/new", ("--image", "mem:64M")),
    ],
    ids=["memory", "overlay", "small", "bind", "bind-new", "image"],
)
@pytest.mark.parametrize("seed", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 3, 4))])
def test_a_file_says_what_was_written(
    user_programs: Path, path: str, options: tuple[str, ...], seed: int
) -> None:
    _run(user_programs, path, seed, options)
