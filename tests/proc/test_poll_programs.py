"""Do whole programs wait, wake and get interrupted on Hardtack as on this machine's Linux?"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.programs.command import Command
from tests.programs.oracle import compare, missing_needs

GUESTS = Path(__file__).parent / "guests"
PYTHON = "/usr/bin/python3"


@pytest.mark.slow
@pytest.mark.parametrize("script", ["waiting.py"])
def test_a_program_waits_as_on_linux(script: str) -> None:
    if missing_needs([PYTHON]):
        pytest.skip(f"no {PYTHON}")
    files = {script: (GUESTS / script).read_bytes()}
    result = compare(Command(script, (PYTHON, "-S", script), (PYTHON,), files=files))
    if not result.same:
        pytest.fail(result.report(), pytrace=False)
