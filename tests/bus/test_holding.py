"""Do calls to a service that is restarted wait for it, and do faults at its door lose nothing?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from bus.core import Bus, Port
from bus.errors import ServiceUnavailable
from bus.message import Request, request

if TYPE_CHECKING:
    from trio.testing import MockClock

    from bus.core import Handler


@request("held")
class Add(Request[int]):
    """Adds to a sum, so that a call that is made twice is seen."""

    amount: int


class Sum:
    def __init__(self) -> None:
        self.total = 0

    async def add(self, call: Add) -> int:
        self.total += call.amount
        return self.total


def new_bus() -> tuple[Bus, Port]:
    bus = Bus({"held": 0, "caller": 1}, {"caller": frozenset({"held"})})
    return bus, bus.port("caller", "held")


async def test_a_call_to_a_held_service_waits_until_it_is_served(autojump_clock: MockClock) -> None:
    bus, port = new_bus()
    counter = Sum()
    bus.serve("held", {Add: counter.add})
    bus.hold("held")
    replies: list[int] = []

    async def call(amount: int) -> None:
        replies.append(await port.call(Add(amount)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call, 1)
        nursery.start_soon(call, 2)
        await trio.testing.wait_all_tasks_blocked()
        assert not replies
        bus.serve("held", {Add: counter.add})
    assert counter.total == 3
    assert sorted(replies) in ([1, 3], [2, 3])
    assert await port.call(Add(4)) == 7


async def test_a_held_call_fails_when_the_service_is_given_up() -> None:
    bus, port = new_bus()
    bus.serve("held", {Add: Sum().add})
    bus.hold("held")

    async def call() -> None:
        with pytest.raises(ServiceUnavailable, match="held is not running"):
            await port.call(Add(1))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await trio.testing.wait_all_tasks_blocked()
        bus.withdraw("held")


async def test_what_is_interposed_holds_over_a_restart_and_comes_off() -> None:
    bus, port = new_bus()
    struck: list[str] = []

    def wrapper(kind: type[Any], handler: Handler, caller: str) -> Handler:
        async def handle(call: Any) -> Any:
            struck.append(kind.__name__)
            return await handler(call)

        return handle

    bus.interpose("held", wrapper)
    bus.serve("held", {Add: Sum().add})
    await port.call(Add(1))
    bus.hold("held")
    bus.serve("held", {Add: Sum().add})
    await port.call(Add(1))
    bus.interpose("held", None)
    await port.call(Add(1))
    assert struck == ["Add", "Add"]


async def test_a_crash_at_the_door_repeats_nothing() -> None:
    bus, port = new_bus()
    counter, left = Sum(), [1]

    def on_bug(service: str, crash: object) -> None:
        bus.hold(service)
        nursery.start_soon(restart)

    async def restart() -> None:
        await trio.lowlevel.checkpoint()
        bus.serve("held", {Add: counter.add})

    def wrapper(kind: type[Any], handler: Handler, caller: str) -> Handler:
        async def handle(call: Any) -> Any:
            if not left:
                return await handler(call)
            left.pop()
            bus.fall("held", "Add", RuntimeError("injected"))
            await bus.up("held")
            return await bus.ask("held", call)

        return handle

    bus.on_bug = on_bug
    bus.serve("held", {Add: counter.add})
    bus.interpose("held", wrapper)
    async with trio.open_nursery() as nursery:
        assert await port.call(Add(5)) == 5
    assert counter.total == 5


async def test_a_crash_that_nobody_supervises_is_told_to_the_caller() -> None:
    bus, _ = new_bus()
    bus.serve("held", {Add: Sum().add})
    with pytest.raises(ServiceUnavailable, match="not restarted"):
        bus.fall("held", "Add", RuntimeError("injected"))


async def test_a_hung_call_ends_with_the_restart(autojump_clock: MockClock) -> None:
    bus, _ = new_bus()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bus.hang, "held")
        await trio.testing.wait_all_tasks_blocked()
        assert len(bus.hanging["held"]) == 1
        bus.release_hung("held")
    assert not bus.hanging["held"]
