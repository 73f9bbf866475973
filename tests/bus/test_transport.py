"""Does a connection let in who may, survive who may not, and tell everybody when it is lost?"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from bus.channel import GONE, Channel
from bus.core import Bus
from bus.errors import MalformedRequest, ServiceUnavailable
from bus.handshake import MAGIC, AuthenticationError
from bus.listener import Listener
from bus.message import Request, request
from bus.transport import (
    CALL,
    CANCEL,
    CANCEL_GRACE_S,
    HANDSHAKE_S,
    Connection,
    connect,
    connect_unix,
)
from bus.wire import MAX_FRAME_BYTES, codec_of
from tests.bus.conftest import PEERS, RANKS, SECRET, Linked, remote
from tests.bus.sample_api import Double, Echo, Point, Shape, Wait
from tests.bus.sample_service import SampleService

if TYPE_CHECKING:
    from pathlib import Path


@request("sample")
class Stubborn(Request[int]):
    """Ignores its cancellation until the gate opens."""


@pytest.fixture
async def stream(nursery: trio.Nursery) -> Linked:
    bus, service = Bus(RANKS, PEERS), SampleService()
    bus.serve("sample", service.handlers)
    return await remote(bus, service, nursery)


async def refused(listener: Listener, talk: Any) -> str:
    """Let `talk` converse with a listener over raw bytes; why the listener refused it."""
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listener.serve, theirs)
        await talk(ours)
        await trio.aclose_forcefully(ours)
    ((_, event),) = listener.ring.snapshot()
    return str(event.reason)  # type: ignore[attr-defined]


# Who is let in ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caller", "target", "reason"),
    [
        ("caller", "deep", "does not let caller call deep"),
        ("deep", "sample", "does not let deep call sample"),
        ("nobody", "sample", "does not let nobody call sample"),
        ("No Body", "sample", "is no name of a service"),
    ],
)
async def test_the_topology_decides_over_connections_too(
    caller: str, target: str, reason: str
) -> None:
    listener = Listener(Bus(RANKS, PEERS), SECRET)

    async def talk(stream: trio.abc.Stream) -> None:
        async with trio.open_nursery() as nursery:
            with pytest.raises(ServiceUnavailable, match="refuses"):
                await connect(stream, caller, target, SECRET, nursery)

    assert reason in await refused(listener, talk)


async def test_a_caller_with_another_secret_finds_out_and_is_not_let_in() -> None:
    async def talk(stream: trio.abc.Stream) -> None:
        async with trio.open_nursery() as nursery:
            with pytest.raises(AuthenticationError, match="callee"):
                await connect(stream, "caller", "sample", SECRET + b"!", nursery)

    await refused(Listener(Bus(RANKS, PEERS), SECRET), talk)


async def test_a_caller_without_the_secret_cannot_pass_by_repeating_what_it_heard() -> None:
    async def talk(stream: trio.abc.Stream) -> None:
        channel = Channel(stream)
        await channel.send_now([MAGIC, "caller", "sample", b"n" * 32])
        _, proof = await channel.receive()
        await channel.send_now([proof])
        assert await channel.receive() is GONE

    assert "proof for caller→sample is wrong" in await refused(
        Listener(Bus(RANKS, PEERS), SECRET), talk
    )


@pytest.mark.parametrize(
    "said", [b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\1\xc0", b"\0\0\0\x02\x91\xc0"]
)
async def test_strangers_are_shown_out(said: bytes) -> None:
    async def talk(stream: trio.abc.Stream) -> None:
        await stream.send_all(said)
        await wait_all_tasks_blocked()

    assert "WireError" in await refused(Listener(Bus(RANKS, PEERS), SECRET), talk)


async def test_who_says_nothing_does_not_stay(autojump_clock: MockClock) -> None:
    async def talk(stream: trio.abc.Stream) -> None:
        assert await stream.receive_some() == b""

    began = trio.current_time()
    assert "TooSlow" in await refused(Listener(Bus(RANKS, PEERS), SECRET), talk)
    assert trio.current_time() - began == pytest.approx(HANDSHAKE_S)


async def test_a_callee_that_says_nothing_is_unavailable(autojump_clock: MockClock) -> None:
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        with pytest.raises(ServiceUnavailable, match="did not greet"):
            await connect(ours, "caller", "sample", SECRET, nursery)
    await theirs.aclose()


async def test_a_short_secret_is_refused_outright() -> None:
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Listener(Bus(RANKS, PEERS), SECRET).serve, theirs)
        with pytest.raises(ValueError, match="shorter than 16"):
            await connect(ours, "caller", "sample", b"short", nursery)


async def test_a_unix_socket_is_its_owners_and_goes_with_the_listener(tmp_path: Path) -> None:
    path = str(tmp_path / "bus")
    bus, service = Bus(RANKS, PEERS), SampleService()
    bus.serve("sample", service.handlers)
    async with trio.open_nursery() as nursery:
        await nursery.start(Listener(bus, SECRET).listen_unix, path)
        assert stat.S_IMODE((await trio.Path(path).stat()).st_mode) == 0o600
        port = await connect_unix(path, "caller", "sample", SECRET, nursery)
        assert await port.call(Double(2)) == 4
        nursery.cancel_scope.cancel()
    assert not await trio.Path(path).exists()
    async with trio.open_nursery() as nursery:
        with pytest.raises(ServiceUnavailable, match="does not listen"):
            await connect_unix(path, "caller", "sample", SECRET, nursery)


async def test_another_user_is_not_let_in(tmp_path: Path) -> None:
    path = str(tmp_path / "bus")
    listener = Listener(Bus(RANKS, PEERS), SECRET, uids=frozenset({os.getuid() + 1}))
    async with trio.open_nursery() as nursery:
        await nursery.start(listener.listen_unix, path)
        with pytest.raises(ServiceUnavailable):
            await connect_unix(path, "caller", "sample", SECRET, nursery)
        nursery.cancel_scope.cancel()
    assert "may not connect" in str(listener.ring.snapshot())


# Connections that are lost ----------------------------------------------------------------------


async def test_a_lost_connection_ends_every_call(nursery: trio.Nursery) -> None:
    bus, service = Bus(RANKS, PEERS), SampleService()
    bus.serve("sample", service.handlers)
    ours, theirs = memory_stream_pair()
    nursery.start_soon(Listener(bus, SECRET).serve, theirs)
    port = await connect(ours, "caller", "sample", SECRET, nursery)
    ended: list[str] = []

    async def call() -> None:
        with pytest.raises(ServiceUnavailable, match="connection is lost"):
            await port.call(Wait())
        ended.append("lost")

    async with trio.open_nursery() as callers:
        for _ in range(70):  # more than the window: some still wait in line
            callers.start_soon(call)
        await wait_all_tasks_blocked()
        assert service.waiting == 64
        await trio.aclose_forcefully(theirs)
    assert len(ended) == 70
    assert service.waiting == 0
    with pytest.raises(ServiceUnavailable):
        await port.call(Double(1))


async def test_calls_of_a_peer_that_left_are_cancelled(stream: Linked) -> None:
    async with trio.open_nursery() as callers:

        async def call() -> None:
            with pytest.raises(ServiceUnavailable):
                await stream.port.call(Wait())

        callers.start_soon(call)
        await wait_all_tasks_blocked()
        await stream.connection._channel.close()
    await wait_all_tasks_blocked()
    assert (stream.service.waiting, stream.service.cancelled) == (0, 1)


async def test_a_callee_that_ignores_cancellation_is_left_behind(
    stream: Linked, autojump_clock: MockClock
) -> None:
    async def stubborn(request: Stubborn) -> int:
        with trio.CancelScope(shield=True):
            await stream.service.gate.wait()
        return 1

    stream.bus.serve("sample", {**stream.service.handlers, Stubborn: stubborn})
    began = trio.current_time()
    with trio.move_on_after(2) as scope:
        await stream.port.call(Stubborn())
    assert scope.cancelled_caught
    assert trio.current_time() - began == pytest.approx(2 + CANCEL_GRACE_S)
    stream.service.gate.set()  # its late reply disturbs nobody
    await wait_all_tasks_blocked()
    assert await stream.port.call(Double(3)) == 6


# Back-pressure and bounds -----------------------------------------------------------------------


async def test_no_more_calls_are_in_flight_than_the_window(nursery: trio.Nursery) -> None:
    bus, service = Bus(RANKS, PEERS), SampleService()
    bus.serve("sample", service.handlers)
    linked = await remote(bus, service, nursery, window=3)
    replies: list[Any] = []

    async def call() -> None:
        replies.append(await linked.port.call(Wait()))

    async with trio.open_nursery() as callers:
        for _ in range(10):
            callers.start_soon(call)
        await wait_all_tasks_blocked()
        assert service.waiting == 3
        service.gate.set()
    assert replies == [Point(1, 2)] * 10


def big(size: int) -> Echo:
    return Echo(Shape("", b"x" * size, True, 0.0, (), (0, ""), [], frozenset(), None, None))


async def test_a_request_or_reply_that_is_too_big_fails_alone(stream: Linked) -> None:
    with pytest.raises(MalformedRequest, match="exceeds"):
        await stream.port.call(big(MAX_FRAME_BYTES))
    reply = await stream.port.call(big(MAX_FRAME_BYTES - 1000))
    assert len(reply.raw) == MAX_FRAME_BYTES - 1000

    async def inflate(request: Echo) -> Shape:
        return big(MAX_FRAME_BYTES).shape

    stream.bus.serve("sample", {**stream.service.handlers, Echo: inflate})
    with pytest.raises(ServiceUnavailable, match="exceeds"):
        await stream.port.call(big(1))
    assert await stream.port.call(Double(1)) == 2


async def test_a_field_of_the_wrong_type_never_leaves(stream: Linked) -> None:
    with pytest.raises(MalformedRequest, match=r"Double.number: int expected, not str"):
        await stream.port.call(Double("5"))  # type: ignore[arg-type]
    with pytest.raises(MalformedRequest, match="64 bits"):
        await stream.port.call(Double(1 << 64))


@pytest.mark.parametrize(
    "messages",
    [
        [[CALL, 1, "sample.Wait", [False]], [CALL, 1, "sample.Wait", [False]]],
        [[CALL, number, "sample.Wait", [False]] for number in range(5)],
        [[7, 1]],
        [[CALL, "1", "sample.Wait", [False]]],
        [[CALL, 1]],
        ["hello"],
        [None],
        [[]],
        [[CANCEL, 1, 2]],
    ],
)
async def test_who_breaks_the_protocol_loses_the_connection(
    messages: list[Any], nursery: trio.Nursery
) -> None:
    bus, service = Bus(RANKS, PEERS), SampleService()
    bus.serve("sample", service.handlers)
    linked = await remote(bus, service, nursery, window=4)
    for message in messages:
        linked.connection._channel.post(message)
    while not linked.connection.lost:
        await wait_all_tasks_blocked()
    assert service.waiting == 0
    assert linked.listener is not None
    assert "WireError" in str(linked.listener.ring.snapshot())


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("sample.Double", ["5"]),
        ("sample.Double", []),
        ("sample.Double", [1, 2]),
        ("sample.Double", {"number": 1}),
        ("sample.Nonsense", [1]),
        (["sample.Double"], [1]),
        (None, None),
    ],
)
async def test_a_malformed_request_is_answered_and_blamed(
    stream: Linked, name: Any, fields: Any
) -> None:
    with pytest.raises(MalformedRequest):
        await stream.connection.call(name, fields, codec_of(int))
    assert stream.bus.rings["caller"].counts == {"Malformed": 1}
    assert await stream.port.call(Double(1)) == 2


@pytest.mark.parametrize(
    "reply",
    [[2, 0, 0, "x"], [2, 5, 0, 1], [2, 0, 9, 1], [2, 0, 1, -5], [2, 0, 4, None], "x", [2, 0]],
)
async def test_a_callee_that_talks_rubbish_is_lost(reply: Any, nursery: trio.Nursery) -> None:
    ours, theirs = memory_stream_pair()
    connection = Connection(Channel(ours), "sample", 4)
    await nursery.start(connection.run)
    async with trio.open_nursery() as callers:

        async def call() -> None:
            with pytest.raises(ServiceUnavailable):
                await connection.call("sample.Double", [1], codec_of(int))

        callers.start_soon(call)
        await wait_all_tasks_blocked()
        await Channel(theirs).send_now(reply)
    assert connection.lost
