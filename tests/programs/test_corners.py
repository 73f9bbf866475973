"""Does every corner case of the calls about processes, time and limits get Linux's answer?"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.programs.command import Command
from tests.programs.oracle import compare

if TYPE_CHECKING:
    from pathlib import Path

SUBJECTS = {
    "time": 300,
    "timers": 90,
    "events": 80,
    "ids": 130,
    "limits": 250,
    "scheduling": 180,
    "prctl": 90,
    "process": 140,
    "system": 35,
    "signals": 70,
    "stack": 10,
    "futex": 15,
}
"""How many lines there must be at least, lest the oracle itself has failed."""


@pytest.mark.skipif(os.geteuid() != 0, reason="the oracle changes users, and must be root")
@pytest.mark.parametrize("subject", SUBJECTS)
def test_corners(user_programs: Path, subject: str) -> None:
    result = compare(Command("corners", (str(user_programs / "corners"), subject)))
    assert result.host.status == 0
    assert result.host.stdout.count(b"\n") > SUBJECTS[subject], "the oracle itself failed"
    if not result.same:
        pytest.fail(result.report(), pytrace=False)
