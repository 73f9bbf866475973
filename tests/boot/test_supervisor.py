"""Does everything that was started stop, in order, in time, and without leaving a task behind?"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.lowlevel

from boot.supervisor import ServiceFailed, supervise
from boot.topology import Restart, ServiceSpec, Topology
from bus.core import Bus
from bus.errors import ServiceUnavailable
from bus.message import Request, request
from bus.ring import Lifecycle
from tests.boot.stubs import StubService

if TYPE_CHECKING:
    from trio.testing import MockClock

TOPOLOGY = Topology(
    (
        ServiceSpec("low", 0, restart=Restart(shutdown_s=2)),
        ServiceSpec("high", 1, frozenset({"low"}), restart=Restart(shutdown_s=2)),
    )
)


@request("low")
class Ask(Request[int]):
    """Answered with 1, or with an accident."""

    accident: bool = False


class Low(StubService):
    def __init__(self) -> None:
        super().__init__("low", [])
        self.handlers = {Ask: self.ask}

    async def ask(self, call: Ask) -> int:
        if call.accident:
            raise RuntimeError("an accident")
        return 1


def new_bus() -> Bus:
    return Bus(TOPOLOGY.ranks, TOPOLOGY.peers)


def never(names: list[str]) -> None:
    raise AssertionError(f"stuck: {names}")


async def test_a_service_is_served_between_start_and_stop() -> None:
    bus = new_bus()
    port = bus.port("high", "low")
    async with supervise(bus, TOPOLOGY, never) as supervisor:
        await supervisor.start("low", Low)
        assert await port.call(Ask()) == 1
    with pytest.raises(ServiceUnavailable):
        await port.call(Ask())
    events = [event for _, event in bus.rings["low"].snapshot()]
    assert events == [Lifecycle("started", 1), Lifecycle("stopped", 1)]


async def test_a_handlers_bug_leaves_an_epitaph_and_the_service_goes_on() -> None:
    bus = new_bus()
    port = bus.port("high", "low")
    async with supervise(bus, TOPOLOGY, never) as supervisor:
        await supervisor.start("low", Low)
        with pytest.raises(ServiceUnavailable):
            await port.call(Ask(accident=True))
        assert await port.call(Ask()) == 1
    (epitaph,) = supervisor.epitaphs
    assert (epitaph.service, epitaph.generation) == ("low", 1)
    assert "an accident" in epitaph.crash.error
    assert [type(event).__name__ for _, event in epitaph.history] == ["Lifecycle", "Crashed"]


class BreaksAtOnce(StubService):
    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        raise RuntimeError("cannot even start")


async def test_a_service_that_cannot_start_fails_the_block() -> None:
    with pytest.raises(ServiceFailed, match="cannot even start"):
        async with supervise(new_bus(), TOPOLOGY, never) as supervisor:
            await supervisor.start("low", lambda: BreaksAtOnce("low", []))


class Prepares(StubService):
    async def start(self) -> None:
        self.journal.append(f"start {self.name}")
        self.handlers = {}


async def test_a_service_prepares_before_it_runs() -> None:
    journal: list[str] = []
    async with supervise(new_bus(), TOPOLOGY, never) as supervisor:
        await supervisor.start("low", lambda: Prepares("low", journal))
    assert journal == [f"{what} low" for what in ("build", "start", "run", "stop", "end", "close")]


async def test_what_the_block_raises_comes_out_as_it_is() -> None:
    journal: list[str] = []

    async def divide() -> None:
        _ = 1 / 0

    async def block() -> None:
        async with supervise(new_bus(), TOPOLOGY, never) as supervisor:
            await supervisor.start("low", lambda: StubService("low", journal))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(divide)
                await trio.sleep_forever()

    with pytest.raises(ZeroDivisionError):
        await block()
    assert journal[-1] == "close low"


class Clumsy(StubService):
    """Fails in every hook of its end."""

    async def stop(self) -> None:
        raise OSError("cannot flush")

    def close(self) -> None:
        raise OSError("cannot close")


async def test_failures_of_the_end_are_recorded_and_stop_nobody_else() -> None:
    journal: list[str] = []
    async with supervise(new_bus(), TOPOLOGY, never) as supervisor:
        await supervisor.start("low", lambda: StubService("low", journal))
        await supervisor.start("high", lambda: Clumsy("high", journal))
    assert [epitaph.crash.where for epitaph in supervisor.epitaphs] == ["stop", "close"]
    assert journal[-3:] == ["stop low", "end low", "close low"]


class Deaf(StubService):
    """Ignores its cancellation until `release`; its flush never ends either."""

    release: Any

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        with trio.CancelScope(shield=True):
            await self.release.wait()

    async def stop(self) -> None:
        await trio.sleep_forever()


async def test_a_service_that_will_not_stop_is_named_when_its_time_is_up(
    autojump_clock: MockClock,
) -> None:
    journal: list[str] = []
    deaf = Deaf("high", journal)
    deaf.release = trio.Event()
    stuck: list[str] = []

    def on_stuck(names: list[str]) -> None:
        stuck.extend(names)
        deaf.release.set()

    async with supervise(new_bus(), TOPOLOGY, on_stuck) as supervisor:
        await supervisor.start("low", lambda: StubService("low", journal))
        await supervisor.start("high", lambda: deaf)
        began = trio.current_time()
    assert stuck == ["high"]
    assert trio.current_time() - began == pytest.approx(4)
    assert journal[-1] == "close low"  # the others were stopped all the same


async def test_cancelling_the_block_stops_everything_in_order() -> None:
    journal: list[str] = []
    with trio.CancelScope() as scope:
        async with supervise(new_bus(), TOPOLOGY, never) as supervisor:
            for name in ("low", "high"):
                await supervisor.start(name, lambda name=name: StubService(name, journal))  # type: ignore[misc]
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    ends = ("stop", "end", "close")
    assert journal[-6:] == [f"{what} {name}" for name in ("high", "low") for what in ends]


class Counter(StubService):
    """Keeps a count; crashes on request; can be told to fail at its next starts."""

    bad_starts = 0

    def __init__(self, kept: int | None, journal: list[str]) -> None:
        super().__init__("low", journal)
        self.count = kept or 0
        self.handlers = {Ask: self.ask}

    async def start(self) -> None:
        if Counter.bad_starts:
            Counter.bad_starts -= 1
            raise OSError("not yet")

    def keep(self) -> int:
        return self.count

    async def ask(self, call: Ask) -> int:
        if call.accident:
            raise RuntimeError("an accident")
        self.count += 1
        return self.count


async def test_what_a_service_keeps_is_its_next_incarnations(autojump_clock: MockClock) -> None:
    bus, journal = new_bus(), list[str]()
    port = bus.port("high", "low")
    async with supervise(bus, TOPOLOGY, never) as supervisor:
        build = lambda: Counter(supervisor.kept.get("low"), journal)  # noqa: E731
        await supervisor.start("low", build)
        assert await port.call(Ask()) == 1
        with pytest.raises(ServiceUnavailable):
            await port.call(Ask(accident=True))
        assert await port.call(Ask()) == 2
        (child,) = supervisor.children
        assert (child.generation, len(child.recoveries)) == (2, 1)
    assert journal == [
        "build low", "run low", "end low", "build low", "run low",
        "stop low", "end low", "close low",
    ]  # fmt: skip


async def test_failed_restarts_are_repeated_after_pauses_that_double(
    autojump_clock: MockClock,
) -> None:
    bus = new_bus()
    port = bus.port("high", "low")
    async with supervise(bus, TOPOLOGY, never) as supervisor:
        await supervisor.start("low", lambda: Counter(supervisor.kept.get("low"), []))
        await trio.sleep(1)
        Counter.bad_starts = 4
        began = trio.current_time()
        with pytest.raises(ServiceUnavailable):
            await port.call(Ask(accident=True))
        await port.call(Ask())
        assert trio.current_time() - began == pytest.approx(0.01 + 0.02 + 0.04 + 0.08, abs=0.001)


async def test_a_service_that_fails_too_often_ends_the_block_in_words(
    autojump_clock: MockClock,
) -> None:
    bus = new_bus()
    port = bus.port("high", "low")

    async def block() -> None:
        async with supervise(bus, TOPOLOGY, never) as supervisor:
            await supervisor.start("low", lambda: Counter(None, []))
            while True:
                with pytest.raises(ServiceUnavailable):
                    await port.call(Ask(accident=True))
                await trio.lowlevel.checkpoint()

    with pytest.raises(ServiceFailed, match=r"low failed: RuntimeError.*13 times in 10 s"):
        await block()


class Sleepy(StubService):
    """Its tasks stop moving when it is told to; its next incarnation is well."""

    asleep = False

    async def ping(self) -> None:
        if Sleepy.asleep:
            Sleepy.asleep = False
            await trio.sleep_forever()


async def test_a_service_whose_tasks_hang_is_restarted(autojump_clock: MockClock) -> None:
    bus = new_bus()
    async with supervise(bus, TOPOLOGY, never) as supervisor:
        await supervisor.start("low", lambda: Sleepy("low", []))
        Sleepy.asleep = True
        await trio.sleep(3)
        (child,) = supervisor.children
        assert (child.generation, child.hangs) == (2, 1)
        assert child.recoveries[0] == pytest.approx(1.0, abs=0.1)
    assert "no answer in 1 s" in supervisor.epitaphs[0].crash.error


async def test_a_host_that_stops_us_all_for_a_while_is_no_hang() -> None:
    topology = Topology((ServiceSpec("low", 0, restart=Restart(hang_s=0.2)),))

    class Slow(Low):
        async def ping(self) -> None:
            await trio.sleep(0.01)
            time.sleep(0.4)  # noqa: ASYNC251 (the host runs something else)
            await trio.sleep(0.01)

    bus = Bus(topology.ranks, topology.peers)
    async with supervise(bus, topology, never) as supervisor:
        await supervisor.start("low", Slow)
        await trio.sleep(1.5)
        (child,) = supervisor.children
        assert (child.generation, child.hangs) == (1, 0)


async def test_a_call_that_hangs_is_repeated_by_the_next_incarnation(
    autojump_clock: MockClock,
) -> None:
    bus = new_bus()
    port = bus.port("high", "low")
    async with supervise(bus, TOPOLOGY, never) as supervisor:
        await supervisor.start("low", lambda: Counter(supervisor.kept.get("low"), []))

        def hang_once(kind: Any, handler: Any, caller: str) -> Any:
            async def handle(call: Any) -> Any:
                bus.interpose("low", None)
                await bus.hang("low")
                await bus.up("low")
                return await bus.ask("low", call)

            return handle

        bus.interpose("low", hang_once)
        assert await port.call(Ask()) == 1
        (child,) = supervisor.children
        assert child.hangs == 1
