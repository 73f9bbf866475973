"""Does every call on memory, with every odd argument, answer and leave what Linux does?"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from tests.programs.command import Command
from tests.programs.oracle import compare

if TYPE_CHECKING:
    from pathlib import Path

ORDER_OF_CHECKS_SINCE = (6, 17)
"""mremap(2) checks its arguments in another order since; the program follows that."""


def test_memory_calls_answer_as_on_linux(user_programs: Path) -> None:
    version = re.match(r"(\d+)\.(\d+)", os.uname().release)
    if version is None or tuple(map(int, version.groups())) < ORDER_OF_CHECKS_SINCE:
        pytest.skip(f"Linux {os.uname().release} is no oracle for this")
    result = compare(Command("mapping", (str(user_programs / "mapping"),)))
    assert result.host.stdout.endswith(b"\nend\n"), "the oracle itself failed"
    if not result.same:
        pytest.fail(result.report(), pytrace=False)
