"""Does every bad pointer get the answer that Linux gives?

One freedom is left: a transfer that meets a bad page part of the way may move the bytes before it
or none, and Linux does now one, now the other (by pages in a pipe, by bytes in a file).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.programs.command import Command
from tests.programs.oracle import Outcome, compare

if TYPE_CHECKING:
    from pathlib import Path

SHOWN = 80
FEWEST_CASES = 1000


def _cases(outcome: Outcome) -> dict[str, str]:
    lines = outcome.stdout.decode().splitlines()
    return dict(line.split(" -> ") for line in lines if " -> " in line)


def _stops_short(answer: str) -> bool:
    return answer == "EFAULT" or (answer.isdigit() and answer != "0")


def _agree(case: str, host: str, hardtack: str | None) -> bool:
    if hardtack is None or host == hardtack:
        return host == hardtack
    _, argument, kind = case.split()
    partial = kind == "straddle" or argument.startswith("base")
    return (
        partial and "EFAULT" in (host, hardtack) and _stops_short(host) and _stops_short(hardtack)
    )


def test_bad_pointers(user_programs: Path) -> None:
    result = compare(Command("efault", (str(user_programs / "efault"),)))
    host, hardtack = _cases(result.host), _cases(result.hardtack)
    assert len(host) > FEWEST_CASES, "the oracle itself failed"
    wrong = [
        f"{case}: {answer} on host, {hardtack.get(case, 'no answer')} on hardtack"
        for case, answer in host.items()
        if not _agree(case, answer, hardtack.get(case))
    ]
    error = result.hardtack.stderr.decode("utf-8", "backslashreplace")
    if wrong:
        hidden = [f"... and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else []
        heading = f"{len(wrong)} of {len(host)} cases differ"
        pytest.fail("\n".join([heading, *wrong[:SHOWN], *hidden, error]), pytrace=False)
    assert (result.hardtack.status, error, result.leaks) == (result.host.status, "", ())
