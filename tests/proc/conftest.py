"""A machine without a processor, on a clock that jumps when nothing else can happen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.proc.guest import running_machine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

    from tests.proc.guest import Guest, GuestMachine


@pytest.fixture
async def machine(autojump_clock: MockClock) -> AsyncIterator[GuestMachine]:
    async with running_machine() as made:
        yield made


@pytest.fixture
async def guest(machine: GuestMachine) -> Guest:
    return await machine.guest()
