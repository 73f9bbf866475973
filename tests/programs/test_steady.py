"""Does anything disturb a computation: preemption, a switch, a page fault, a signal?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.programs.command import Command
from tests.programs.oracle import compare

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("processes", [1, 3])
def test_computations_are_left_alone(user_programs: Path, processes: int) -> None:
    argv = (str(user_programs / "steady"), "100", str(processes))
    result = compare(Command("steady", argv))
    if not result.same:
        pytest.fail(result.report(), pytrace=False)
    assert result.hardtack.stdout == b"steady: ok\n"
