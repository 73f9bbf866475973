"""A lab for each test, and proof that it leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from tests.interop import lab as labs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def children() -> set[int]:
    """Processes of ours."""
    found: set[int] = set()
    for task in os.listdir("/proc/self/task"):
        # A thread may end meanwhile.
        with (
            contextlib.suppress(FileNotFoundError, ProcessLookupError),
            open(f"/proc/self/task/{task}/children") as listing,
        ):
            found |= set(map(int, listing.read().split()))
    return found


@pytest.fixture
def lab(user_programs: Path) -> Iterator[labs.Lab]:
    """An empty lab; skips where there cannot be one."""
    reason = labs.missing("curl", "iperf3", "ping", "tshark", "busybox")
    if reason is not None:
        pytest.skip(reason)
    before = children()
    with labs.Lab() as made:
        yield made
    assert children() <= before
