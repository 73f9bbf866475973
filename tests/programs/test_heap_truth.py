"""Does what the ledger charges bound what a whole kernel took, for each thing programs multiply?

What is charged and reserved is never below the bytes that the interpreter asked for; what is
charged is within 10 % above those that the allocator gave, which rounds up.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from bench.heap import KINDS
from tests.conftest import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

FIRST_BYTES, SECOND_BYTES = 200_000, 1_000_000
MORE_KINDS = ("tcp", "udp", "netlink", "listen", "watch", "lock", "xattr", "link")
FORKS = "while :; do (exec sleep 1000) & done"


def truth(*words: str) -> dict[str, int]:
    """What `heap_truth` printed."""
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "tests.programs.heap_truth"),
            *(str(FIRST_BYTES), str(SECOND_BYTES), *words),
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    line = next((line for line in ended.stdout.splitlines() if line.startswith("{")), None)
    assert line is not None, ended.stdout + ended.stderr
    found: dict[str, int] = json.loads(line)
    return found


@pytest.mark.parametrize("kind", [*KINDS, *MORE_KINDS, "process"])
def test_the_charge_bounds_the_truth(user_programs: Path, kind: str) -> None:
    if kind == "process":
        seen = truth("/bin/sh", "-c", FORKS)
    else:
        seen = truth(str(user_programs / "abuser"), kind, "60")
    charged, taken, given = seen["charged"], seen["taken"], seen["given"]
    held = charged + seen["reserved"]
    assert taken <= held, f"{held / taken:.3f} of what was asked for"
    assert charged <= 1.1 * given, f"{charged / given:.3f} of what was given"
