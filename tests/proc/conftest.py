"""A machine without a processor. A test that waits asks for pytest-trio's `autojump_clock` too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.proc.guest import running_machine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.proc.guest import Guest, GuestMachine


@pytest.fixture
async def machine() -> AsyncIterator[GuestMachine]:
    async with running_machine() as made:
        yield made


@pytest.fixture
async def guest(machine: GuestMachine) -> Guest:
    return await machine.guest()
