"""Does the topology hold at boot, and does a nested call blame the right service?"""

from __future__ import annotations

import pytest

from bus.core import Bus, RankError
from bus.errors import MalformedRequest, ServiceUnavailable
from bus.message import Request, request
from bus.ring import Ring
from tests.bus.conftest import PEERS, RANKS
from tests.bus.sample_api import Double, Fail
from tests.bus.sample_service import SampleService


@request("deep")
class Inner(Request[int]):
    """Asked of `deep` by `sample`."""

    number: int


def test_a_call_against_the_rank_is_refused_at_boot() -> None:
    with pytest.raises(RankError, match=r"low \(rank 0\) may not call high \(rank 1\)"):
        Bus({"low": 0, "high": 1}, {"low": frozenset({"high"})})
    with pytest.raises(RankError, match="may not call"):
        Bus({"one": 1, "two": 1}, {"one": frozenset({"two"})})
    with pytest.raises(RankError, match="no such service"):
        Bus({"one": 1}, {"one": frozenset({"ghost"})})


def test_a_port_that_the_topology_does_not_list_is_refused() -> None:
    with pytest.raises(RankError, match="does not let caller call deep"):
        Bus(RANKS, PEERS).port("caller", "deep")


def test_a_service_cannot_serve_the_requests_of_another() -> None:
    with pytest.raises(MalformedRequest, match="Double is no request to deep"):
        Bus(RANKS, PEERS).serve("deep", {Double: SampleService().double})


async def test_a_callee_that_sends_rubbish_further_down_has_a_bug_itself() -> None:
    bus = Bus(RANKS, PEERS)
    down = bus.port("sample", "deep")

    async def inner(call: Inner) -> int:
        raise MalformedRequest("`number` is out of range")

    async def double(call: Double) -> int:
        return await down.call(Inner(call.number))

    bus.serve("deep", {Inner: inner})
    bus.serve("sample", {Double: double})
    with pytest.raises(ServiceUnavailable, match="sample failed in Double"):
        await bus.port("caller", "sample").call(Double(-1))
    assert bus.rings["sample"].counts == {"Malformed": 1, "Crashed": 1}
    assert not bus.rings["caller"].counts
    assert not bus.rings["deep"].counts


def test_a_handler_that_does_not_wait_finishes_on_the_spot() -> None:
    bus = Bus(RANKS, PEERS)
    bus.serve("sample", SampleService().handlers)
    coroutine = bus.port("caller", "sample").call(Double(4))
    with pytest.raises(StopIteration) as finished:
        coroutine.send(None)
    assert finished.value.value == 8


def test_a_failure_on_the_spot_needs_no_trio_either() -> None:
    bus = Bus(RANKS, PEERS)
    bus.serve("sample", SampleService().handlers)
    with pytest.raises(ServiceUnavailable):
        bus.port("caller", "sample").call(Fail("bug")).send(None)


def test_a_ring_keeps_the_newest_and_counts_all() -> None:
    ring = Ring(capacity=3)
    for number in range(5):
        ring.record(number)
    ring.record("x")
    assert ring.snapshot() == ((3, 3), (4, 4), (5, "x"))
    assert ring.counts == {"int": 5, "str": 1}


def test_a_request_is_declared_once() -> None:
    with pytest.raises(TypeError, match=r"deep.Inner is declared twice"):
        request("deep")(type("Inner", (Inner,), {"__orig_bases__": (Request[int],)}))
