"""Do real programs find what they promised, in the states that a power cut could leave?"""

from __future__ import annotations

import shutil

import pytest

from tests.crash.programs import PROGRAMS, Program, missing, run

pytestmark = pytest.mark.skipif(shutil.which("busybox") is None, reason="no programs here")
FEW, MANY = 25, 1000


def tried(program: Program, most: int) -> int:
    if missing(program):
        pytest.skip(f"no {', '.join(missing(program))} here")
    states, promised, wrong = run(program, most)
    assert promised, "it promised nothing"
    assert not wrong, f"{len(wrong)} of {states}: {wrong[0]}"
    return states


@pytest.mark.parametrize("program", PROGRAMS, ids=[one.name for one in PROGRAMS])
def test_a_program_finds_what_it_promised(program: Program) -> None:
    assert tried(program, FEW) == FEW


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS, ids=[one.name for one in PROGRAMS])
def test_a_program_finds_what_it_promised_in_a_thousand_states(program: Program) -> None:
    print(f"{program.name}: {tried(program, MANY)} states")
