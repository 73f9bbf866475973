"""A guest behind the gateway, and proof that it leaves nothing behind."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


def open_descriptors() -> set[str]:
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{fd} {os.readlink(f'/proc/self/fd/{fd}')}")
        except OSError:  # the listing's own
            continue
    return found


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """No descriptor that the test opened is open when it ends."""
    before = open_descriptors()
    yield
    left = {one for one in open_descriptors() - before if "hardtack-ram" not in one}
    assert not left
