"""Does every bad pointer get the answer that Linux gives?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.programs.command import Command
from tests.programs.oracle import Outcome, compare

if TYPE_CHECKING:
    from pathlib import Path

SHOWN = 80


def _cases(outcome: Outcome) -> dict[str, str]:
    lines = (line.split(" -> ") for line in outcome.stdout.decode().splitlines())
    return dict(lines)


def test_bad_pointers(user_programs: Path) -> None:
    result = compare(Command("efault", (str(user_programs / "efault"),)))
    host, hardtack = _cases(result.host), _cases(result.hardtack)
    assert len(host) > 1000, "the oracle itself failed"
    wrong = [
        f"{case}: {answer} on host, {hardtack.get(case, 'no answer')} on hardtack"
        for case, answer in host.items()
        if hardtack.get(case) != answer
    ]
    if wrong:
        hidden = [f"... and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else []
        heading = f"{len(wrong)} of {len(host)} cases differ"
        error = result.hardtack.stderr.decode("utf-8", "backslashreplace")
        pytest.fail("\n".join([heading, *wrong[:SHOWN], *hidden, error]), pytrace=False)
    if not result.same:
        pytest.fail(result.report(), pytrace=False)
