"""What faults at a service's door do to calls, and to which."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import pytest
import trio

from bus.core import Bus, Port
from bus.errors import PosixError, ServiceUnavailable
from bus.faults import FaultError, FaultRegistry
from bus.injector import ASK_AGAIN_S, ServiceInjector
from bus.message import Request, request

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trio.testing import MockClock

    from bus.core import Handler


@request("till", errors=(errno.EPIPE,))
class Add(Request[int]):
    """Adds to a sum, so that a call that is made twice is seen."""

    amount: int
    path: bytes = b""
    socket: int = 0


@request("till", idempotent=True)
class Total(Request[int]):
    """The sum."""


class Till:
    def __init__(self) -> None:
        self.total = self.calls = 0
        self.handlers: Mapping[type[Any], Handler] = {Add: self.add, Total: self.tell}

    async def add(self, call: Add) -> int:
        self.calls += 1
        self.total += call.amount
        return self.total

    async def tell(self, call: Total) -> int:
        self.calls += 1
        return self.total


class Scope:
    def process(self) -> tuple[int, str] | None:
        return 7, "nginx"

    def paths(self, request: Any) -> Iterable[str]:
        return [request.path.decode()] if type(request) is Add else []

    def peers(self, request: Any) -> Iterable[str]:
        return ["10.0.0.1:80"]

    def filters(self, service: str) -> frozenset[str]:
        return frozenset({"path", "address", "connection"})


class Shop:
    """A bus with a till, two who may call it, and faults."""

    def __init__(self) -> None:
        ranks, peers = {"till": 0, "clerk": 1, "thief": 1}, frozenset({"till"})
        self.bus = Bus(ranks, {"clerk": peers, "thief": peers})
        self.till = Till()
        self.bus.serve("till", self.till.handlers)
        self.clerk, self.thief = self.bus.port("clerk", "till"), self.bus.port("thief", "till")
        self.faults = FaultRegistry(tuple(ranks))
        self.faults.own("till", ServiceInjector(self.bus, "till", Scope()))

    def supervised(self) -> None:
        """What falls is held, and served again in a while."""

        async def restart() -> None:
            await trio.sleep(1)
            self.bus.release_hung("till")
            self.bus.serve("till", self.till.handlers)

        def on_bug(service: str, crash: Any) -> None:
            self.bus.hold(service)
            trio.lowlevel.spawn_system_task(restart)

        self.bus.on_bug = on_bug


@pytest.fixture
def shop() -> Shop:
    return Shop()


async def _seconds(port: Port, call: Request[int]) -> tuple[float, int]:
    began = trio.current_time()
    reply = await port.call(call)
    return trio.current_time() - began, reply


@pytest.mark.parametrize("at", ["start", "end", "any"])
async def test_a_crash_loses_no_call(shop: Shop, at: str, autojump_clock: MockClock) -> None:
    shop.supervised()
    shop.faults.add(f"till:crash,at={at},times=3")
    for count in range(1, 6):
        assert await shop.clerk.call(Add(1)) == count
    assert shop.till.total == 5
    assert shop.faults.injected() == {("till", "crash"): 3}


async def test_a_crash_at_the_end_follows_an_error_too(
    shop: Shop, autojump_clock: MockClock
) -> None:
    shop.supervised()

    async def full(call: Add) -> int:
        raise PosixError(errno.EPIPE)

    shop.bus.serve("till", {**shop.till.handlers, Add: full})
    shop.faults.add("till:crash,at=end,times=1")
    with pytest.raises(PosixError) as refused:
        await shop.clerk.call(Add(1))
    assert refused.value.errno == errno.EPIPE
    assert shop.bus.is_held("till")
    assert await shop.clerk.call(Total()) == 0


async def test_a_crash_of_what_nobody_restarts_is_told(shop: Shop) -> None:
    shop.faults.add("till:crash")
    with pytest.raises(ServiceUnavailable, match="till crashed in Add and is not restarted"):
        await shop.clerk.call(Add(1))


async def test_a_hung_call_is_made_after_the_restart(shop: Shop, autojump_clock: MockClock) -> None:
    shop.supervised()
    shop.faults.add("till:hang")

    async def heartbeat() -> None:
        await trio.sleep(3)
        assert shop.bus.hanging["till"]
        shop.bus.bug("till", "ping", RuntimeError("hung"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(heartbeat)
        took, reply = await _seconds(shop.clerk, Add(2))
    assert (took, reply, shop.till.calls) == (4, 2, 1)


async def test_delay_and_jitter(shop: Shop, autojump_clock: MockClock) -> None:
    shop.faults.add("till:delay,time=2s,jitter=500ms")
    times = [(await _seconds(shop.clerk, Add(1)))[0] for _ in range(20)]
    assert all(1.5 <= one <= 2.5 for one in times)
    assert max(times) - min(times) > 0.3


@pytest.mark.parametrize("which", ["request", "reply", "any"])
async def test_what_is_dropped_is_asked_for_again_and_done_once(
    shop: Shop, which: str, autojump_clock: MockClock
) -> None:
    shop.faults.add(f"till:drop,which={which}")
    assert await _seconds(shop.clerk, Add(3)) == (pytest.approx(ASK_AGAIN_S), 3)
    assert shop.till.calls == 1


async def test_a_duplicate_runs_twice_only_where_that_is_harmless(shop: Shop) -> None:
    shop.faults.add("till:duplicate")
    assert await shop.clerk.call(Add(3)) == 3
    assert shop.till.calls == 1
    assert await shop.clerk.call(Total()) == 3
    assert shop.till.calls == 3


async def test_a_corrupt_reply_is_noticed_or_wrong(shop: Shop, autojump_clock: MockClock) -> None:
    shop.faults.add("till:corrupt")
    replies = [await _seconds(shop.clerk, Total()) for _ in range(200)]
    noticed = [reply for took, reply in replies if took]
    wrong = [reply for took, reply in replies if not took]
    assert noticed
    assert set(noticed) == {0}
    assert wrong
    assert 0 not in wrong


async def test_errors_are_those_that_a_request_declares(shop: Shop) -> None:
    shop.faults.add("till:error")
    with pytest.raises(PosixError, match="EPIPE"):
        await shop.clerk.call(Add(1))
    assert await shop.clerk.call(Total()) == 0
    with pytest.raises(FaultError, match=r"no such request .*they answer EPIPE"):
        shop.faults.add("till:error,errno=EIO")


@pytest.mark.parametrize(
    ("filters", "strikes"),
    [
        ("request=Add", True),
        ("request=A*", True),
        ("request=Total", False),
        ("caller=clerk", True),
        ("caller=thief", False),
        ("process=7", True),
        ("process=ngi*", True),
        ("process=8", False),
        ("process=redis", False),
        ("path=/data/*", True),
        ("path=/etc/*", False),
        ("address=10.0.0.1", True),
        ("address=10.0.0.1:80", True),
        ("address=10.0.0.2", False),
        ("connection=5", True),
        ("connection=6", False),
    ],
)
async def test_filters(shop: Shop, filters: str, strikes: bool, autojump_clock: MockClock) -> None:
    shop.faults.add(f"till:delay,time=1s,{filters}")
    took, _ = await _seconds(shop.clerk, Add(1, b"/data/x", 5))
    assert took == (1 if strikes else 0)
    shop.faults.clear()
    assert (await _seconds(shop.clerk, Add(1, b"/data/x", 5)))[0] == 0


async def test_callers_are_told_apart_over_a_restart(shop: Shop, autojump_clock: MockClock) -> None:
    shop.faults.add("till:delay,time=1s,caller=thief")
    shop.bus.hold("till")
    shop.bus.serve("till", shop.till.handlers)
    assert (await _seconds(shop.clerk, Add(1)))[0] == 0
    assert (await _seconds(shop.thief, Add(1)))[0] == 1


def test_with_nothing_armed_ports_call_the_handlers_themselves(shop: Shop) -> None:
    number = shop.faults.add("till:delay")
    assert shop.clerk.handlers[Add] != shop.till.add
    shop.faults.clear(number)
    assert shop.clerk.handlers[Add] == shop.till.add


@pytest.mark.parametrize(
    ("spec", "cure"),
    [
        ("till:delay,request=Sub", r"it has Add, Total"),
        ("clerk:crash", "takes no messages"),
    ],
)
def test_what_cannot_be_is_refused(shop: Shop, spec: str, cure: str) -> None:
    shop.faults.own("clerk", ServiceInjector(shop.bus, "clerk", Scope()))
    with pytest.raises(FaultError, match=cure):
        shop.faults.add(spec)
