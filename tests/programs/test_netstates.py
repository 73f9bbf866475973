"""Do calls on Internet sockets answer as Linux's do in every state, and does poll(2) agree?

The program prints one line for each step; its output on this host is the oracle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.programs.command import Command
from tests.programs.oracle import compare, unmet

if TYPE_CHECKING:
    from pathlib import Path

FEWEST_STEPS = 1000


def test_every_state(user_programs: Path) -> None:
    command = Command("netstates", (str(user_programs / "netstates"),), alone=True)
    if absent := unmet(command):
        pytest.skip(f"not on this machine: {', '.join(absent)}")
    result = compare(command)
    assert result.host.stdout.count(b" -> ") > FEWEST_STEPS, "the oracle itself failed"
    if not result.same:
        pytest.fail(result.report(), pytrace=False)
