"""Is a call the same thing inline and over a connection?"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from bus.errors import MalformedRequest, PosixError, ServiceUnavailable
from bus.ring import Crashed, Malformed, Undeclared
from tests.bus.sample_api import (
    Double,
    Echo,
    Elsewhere,
    Fail,
    Lie,
    Nothing,
    Point,
    Shape,
    Unserved,
    Wait,
)

if TYPE_CHECKING:
    from tests.bus.conftest import Linked

SHAPE = Shape(
    name="ünï",
    raw=b"\0\xff",
    flag=True,
    ratio=0.5,
    corners=(Point(-1, 2**64 - 1), Point(-(2**63), 0)),
    pair=(7, "seven"),
    weights=[3, 1, 2],
    groups=frozenset({5, 1}),
    parent=Shape("", b"", False, 0.0, (), (0, ""), [], frozenset(), None, None),
    kind=Nothing(),
)


async def test_a_call_gives_the_typed_reply(linked: Linked) -> None:
    assert await linked.port.call(Double(21)) == 42
    assert await linked.port.call(Echo(SHAPE)) == SHAPE


async def test_calls_are_counted_by_request(linked: Linked) -> None:
    for _ in range(3):
        await linked.port.call(Double(1))
    await linked.port.call(Echo(SHAPE))
    assert linked.port.counts == {Double: 3, Echo: 1}


async def test_an_errno_is_part_of_the_reply(linked: Linked) -> None:
    with pytest.raises(PosixError) as told:
        await linked.port.call(Fail("errno"))
    assert told.value.errno == errno.ENOENT
    assert not linked.bus.rings["sample"].counts


async def test_an_undeclared_errno_passes_and_is_noted(linked: Linked) -> None:
    with pytest.raises(PosixError):
        await linked.port.call(Fail("undeclared"))
    ((_, event),) = linked.bus.rings["sample"].snapshot()
    assert event == Undeclared("Fail", errno.EPIPE)


async def test_a_malformed_request_blames_its_sender(linked: Linked) -> None:
    with pytest.raises(MalformedRequest, match="out of range") as told:
        await linked.port.call(Fail("malformed"))
    assert told.value.sender == "caller"
    ((_, event),) = linked.bus.rings["caller"].snapshot()
    assert event == Malformed("sample", "Fail", "`how` is out of range")
    assert not linked.bus.rings["sample"].counts


@pytest.mark.parametrize("how", ["bug", "key", "group"])
async def test_a_bug_is_the_callees_alone(linked: Linked, how: str) -> None:
    told: list[tuple[str, Crashed]] = []
    linked.bus.on_bug = lambda service, crash: told.append((service, crash))
    with pytest.raises(ServiceUnavailable, match="sample failed in Fail"):
        await linked.port.call(Fail(how))
    ((service, crash),) = told
    assert (service, crash.where) == ("sample", "Fail")
    assert "raise failures[request.how]" in crash.traceback
    assert linked.bus.rings["sample"].snapshot()[-1][1] == crash
    assert await linked.port.call(Double(4)) == 8


async def test_unavailability_further_down_passes_through(linked: Linked) -> None:
    with pytest.raises(ServiceUnavailable, match="my own callee is down"):
        await linked.port.call(Fail("unavailable"))


async def test_a_request_that_nobody_serves_is_the_senders_fault(linked: Linked) -> None:
    for request in (Unserved(), Elsewhere()):
        with pytest.raises(MalformedRequest, match=type(request).__name__):
            await linked.port.call(request)
    assert await linked.port.call(Double(1)) == 2


async def test_a_service_that_is_down_is_unavailable_until_it_is_back(linked: Linked) -> None:
    linked.bus.withdraw("sample")
    with pytest.raises(ServiceUnavailable, match="sample is not running"):
        await linked.port.call(Double(1))
    linked.bus.serve("sample", linked.service.handlers)
    assert await linked.port.call(Double(1)) == 2


async def test_a_cancelled_caller_cancels_the_handler(linked: Linked) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(linked.port.call, Wait())
        await wait_all_tasks_blocked()
        assert linked.service.waiting == 1
        nursery.cancel_scope.cancel()
    assert (linked.service.waiting, linked.service.cancelled) == (0, 1)
    assert await linked.port.call(Double(1)) == 2


async def test_a_handler_may_answer_although_it_was_cancelled(linked: Linked) -> None:
    replies: list[Any] = []
    with trio.CancelScope() as scope:

        async def call() -> None:
            replies.append(await linked.port.call(Wait(partial=True)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await wait_all_tasks_blocked()
            scope.cancel()
    assert replies == [Nothing()]


async def test_a_deadline_ends_the_call_and_the_handler(
    linked: Linked, autojump_clock: MockClock
) -> None:
    began = trio.current_time()
    with pytest.raises(ServiceUnavailable, match=r"caller→sample Wait: no reply in 3 s"):
        await linked.port.call_within(Wait(), 3)
    assert trio.current_time() - began == pytest.approx(3, abs=0.1)
    assert linked.service.waiting == 0
    assert await linked.port.call_within(Double(5), 3) == 10


async def test_one_slow_call_holds_no_other_up(linked: Linked) -> None:
    replies: list[Any] = []

    async def call(request: Any) -> None:
        replies.append(await linked.port.call(request))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call, Wait())
        await wait_all_tasks_blocked()
        await call(Double(3))
        linked.service.gate.set()
    assert replies == [6, Point(1, 2)]


async def test_many_callers_get_their_own_replies(linked: Linked) -> None:
    async def call(number: int) -> None:
        assert await linked.port.call(Double(number)) == 2 * number

    async with trio.open_nursery() as nursery:
        for number in range(300):
            nursery.start_soon(call, number)


async def test_a_reply_of_the_wrong_type_is_noticed_where_it_is_checked(
    linked: Linked, placement: str
) -> None:
    if placement == "inline":  # typed by mypy; nothing is checked on the fast path
        assert await linked.port.call(Lie()) == "three"  # type: ignore[comparison-overlap]
        return
    with pytest.raises(ServiceUnavailable, match="int expected, not str"):
        await linked.port.call(Lie())
    assert linked.bus.rings["sample"].counts == {"Crashed": 1}
