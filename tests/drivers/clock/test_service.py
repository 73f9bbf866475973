"""Does the clock tell the time, wait for it, and keep the guest's notion apart from the host's?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from bus.errors import MalformedRequest
from services.drivers.clock.api import BOOTTIME, MONOTONIC, REALTIME, Now, SetRealtime, Sleep
from services.drivers.clock.service import ClockService

if TYPE_CHECKING:
    from trio.testing import MockClock


class Hands:
    """Host clocks that a test turns by hand, ns."""

    def __init__(self) -> None:
        self.realtime = 1_700_000_000_000_000_000
        self.monotonic = 5_000
        self.boottime = 9_000

    def clock(self) -> ClockService:
        return ClockService(
            realtime_ns=lambda: self.realtime,
            monotonic_ns=lambda: self.monotonic,
            boottime_ns=lambda: self.boottime,
        )


def at_once(clock: ClockService, request: Any) -> Any:
    """Drive a handler outside Trio: it must not wait."""
    coroutine: Any = clock.handlers[type(request)](request)
    with pytest.raises(StopIteration) as finished:
        coroutine.send(None)
    return finished.value.value


def test_monotonic_and_boottime_start_at_boot() -> None:
    hands = Hands()
    clock = hands.clock()
    hands.monotonic += 70
    hands.boottime += 90
    assert at_once(clock, Now(MONOTONIC)) == 70
    assert at_once(clock, Now(BOOTTIME)) == 90


def test_realtime_is_the_hosts_until_it_is_set() -> None:
    hands = Hands()
    clock = hands.clock()
    assert at_once(clock, Now(REALTIME)) == hands.realtime
    at_once(clock, SetRealtime(1_000))
    hands.realtime += 5
    hands.monotonic += 5
    assert at_once(clock, Now(REALTIME)) == 1_005
    assert at_once(clock, Now(MONOTONIC)) == 5


@pytest.mark.parametrize("request_", [Now(3), Now(-1), SetRealtime(-1)])
def test_nonsense_is_the_senders_fault(request_: Any) -> None:
    coroutine: Any = Hands().clock().handlers[type(request_)](request_)
    with pytest.raises(MalformedRequest):
        coroutine.send(None)


def test_sleep_until_the_past_does_not_wait() -> None:
    hands = Hands()
    clock = hands.clock()
    assert at_once(clock, Sleep(0)) is None
    hands.monotonic += 10
    assert at_once(clock, Sleep(10)) is None


async def test_sleep_ends_no_earlier_than_asked(autojump_clock: MockClock) -> None:
    # The host's clock runs slower than Trio's here: a wake-up alone is no reason to return.
    clock = ClockService(monotonic_ns=lambda: int(trio.current_time() * 0.75e9))
    await clock.sleep(Sleep(2_000_000_000))
    now = await clock.handlers[Now](Now(MONOTONIC))
    assert 2_000_000_000 <= now < 2_000_100_000
