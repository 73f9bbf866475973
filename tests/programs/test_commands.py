"""Does an unmodified program do on Hardtack what it does on Linux?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.programs.commands import COMMANDS
from tests.programs.known_gaps import marks
from tests.programs.oracle import compare, unmet

if TYPE_CHECKING:
    from tests.programs.command import Command


def _parameters() -> list[object]:
    return [
        pytest.param(
            command, id=name, marks=[*([pytest.mark.slow] if command.slow else []), *marks(name)]
        )
        for name, command in COMMANDS.items()
    ]


@pytest.mark.parametrize("command", _parameters())
def test_command_does_what_it_does_on_linux(command: Command) -> None:
    if absent := unmet(command):
        pytest.skip(f"not on this machine: {', '.join(absent)}")
    result = compare(command)
    if not result.same:
        pytest.fail(result.report(), pytrace=False)
