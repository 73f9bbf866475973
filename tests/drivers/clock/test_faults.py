"""What faults of the clock do to the time."""

from __future__ import annotations

import pytest

from bus.faults import FaultError, FaultRegistry
from services.drivers.clock.api import BOOTTIME, MONOTONIC, REALTIME, Now
from services.drivers.clock.service import ClockService

SECOND = 1_000_000_000


class Clocks:
    def __init__(self) -> None:
        self.host_ns = 1000 * SECOND
        self.service = ClockService(
            realtime_ns=lambda: self.host_ns + 5000 * SECOND,
            monotonic_ns=lambda: self.host_ns,
            boottime_ns=lambda: self.host_ns,
        )
        self.registry = FaultRegistry(("clock",))
        self.registry.own("clock", self.service.injector)

    async def now(self, clock: int) -> float:
        told: int = await self.service.handlers[Now](Now(clock))
        return told / SECOND


async def test_a_jump_moves_the_time_of_day_alone_and_once() -> None:
    clocks = Clocks()
    clocks.registry.add("clock:jump,by=-1h")
    assert await clocks.now(REALTIME) == 6000 - 3600
    assert (await clocks.now(MONOTONIC), await clocks.now(BOOTTIME)) == (0, 0)
    assert await clocks.now(REALTIME) == 6000 - 3600
    clocks.registry.clear()
    assert await clocks.now(REALTIME) == 6000 - 3600


async def test_the_time_of_day_does_not_jump_before_1970() -> None:
    clocks = Clocks()
    clocks.registry.add("clock:jump,by=-9000s")
    assert await clocks.now(REALTIME) == 0


async def test_drift_moves_all_clocks_and_what_it_has_added_stays() -> None:
    clocks = Clocks()
    number = clocks.registry.add("clock:drift,ppm=100000")
    clocks.host_ns += 10 * SECOND
    assert [await clocks.now(c) for c in (MONOTONIC, BOOTTIME, REALTIME)] == [11, 11, 6011]
    clocks.registry.clear(number)
    clocks.host_ns += 10 * SECOND
    assert [await clocks.now(c) for c in (MONOTONIC, BOOTTIME, REALTIME)] == [21, 21, 6021]
    clocks.registry.add("clock:drift,ppm=-500000")
    clocks.host_ns += 10 * SECOND
    assert await clocks.now(MONOTONIC) == 26
    assert clocks.registry.injected() == {("clock", "drift"): 2}


@pytest.mark.parametrize(
    ("spec", "cure"), [("ppm=600000", "up to 500000"), ("ppm=1,times=3", "it has no times")]
)
def test_what_cannot_be_is_refused(spec: str, cure: str) -> None:
    with pytest.raises(FaultError, match=cure):
        Clocks().registry.add(f"clock:drift,{spec}")
