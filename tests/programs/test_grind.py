"""Does the kernel survive random system calls from several processes at once?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.programs.command import Command
from tests.programs.oracle import LIMIT_S, on_hardtack, on_host, scratch_directory

if TYPE_CHECKING:
    from pathlib import Path

PROCESSES = 3
MILLION_LIMIT_S = 3600.0


def _grind(programs: Path, seed: int, calls: int, *, native: bool, limit_s: float) -> None:
    argv = (str(programs / "grind"), str(seed), str(calls), str(PROCESSES))
    command = Command("grind", argv)
    with scratch_directory({}) as scratch:
        run = on_host if native else on_hardtack
        outcome = run(command, scratch, limit_s)
    said = (outcome.stdout + outcome.stderr).decode("utf-8", "backslashreplace")
    assert not outcome.timed_out, f"no end after {limit_s} s:\n{said}"
    last = re.fullmatch(rf"grind: (\d+) calls, {PROCESSES} processes, ok\n", said)
    assert last, said
    assert int(last[1]) >= calls
    assert outcome.status == 0


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_oracle_is_clean(user_programs: Path, seed: int) -> None:
    _grind(user_programs, seed, 30_000, native=True, limit_s=LIMIT_S)


@pytest.mark.parametrize("seed", [1, 2])
def test_short(user_programs: Path, seed: int) -> None:
    _grind(user_programs, seed, 6_000, native=False, limit_s=LIMIT_S)


@pytest.mark.slow
def test_a_million(user_programs: Path) -> None:
    _grind(user_programs, 7, 1_000_000, native=False, limit_s=MILLION_LIMIT_S)
