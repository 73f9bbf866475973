"""Every test of vm ends with its invariants checked and every frame back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.vm.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def machine() -> Iterator[Machine]:
    made = Machine()
    yield made
    made.close()
