"""Is a program told of its exceptions what Linux tells it, down to vector and error code?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.programs.command import Command
from tests.programs.oracle import compare

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("words", [(), ("breakpoints",)], ids=["each", "breakpoints"])
def test_traps(user_programs: Path, words: tuple[str, ...]) -> None:
    result = compare(Command("traps", (str(user_programs / "traps"), *words)))
    assert result.host.status == 0
    assert result.host.stdout.count(b"\n") > (1 if words else 250), "the oracle itself failed"
    if not result.same:
        pytest.fail(result.report(), pytrace=False)
