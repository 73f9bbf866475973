"""What faults of the card do to frames, in both directions."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
import trio

from bus.faults import FaultRegistry
from services.drivers.nic.faults import NicFaults
from services.drivers.nic.link import Link
from services.drivers.nic.rings import HEADER_BYTES
from services.net.proto.packet import Frame

if TYPE_CHECKING:
    from trio.testing import MockClock


class Ends:
    """A link with both its ends: what arrives at each, and when."""

    def __init__(self) -> None:
        self.link = Link()
        self.link.rings = self  # type: ignore[assignment]
        self.link.sender = self  # type: ignore[assignment]
        self.faults = NicFaults(self.link)
        self.registry = FaultRegistry(("nic",))
        self.registry.own("nic", self.faults)
        self.sent: list[bytes] = []
        self.received: list[bytes] = []
        self.times: list[float] = []
        self.flushes = self.settles = 0
        self._buffer = bytearray(128)

    def send(self, frame: list[memoryview]) -> bool:
        self.sent.append(b"".join(frame)[HEADER_BYTES:])
        self.times.append(trio.current_time())
        return True

    def settle(self) -> None:
        self.settles += 1

    def reserve(self) -> list[memoryview]:
        self._buffer = bytearray(128)
        return [memoryview(self._buffer)]

    def commit(self, length_bytes: int) -> None:
        self.received.append(bytes(self._buffer[HEADER_BYTES:length_bytes]))
        self.times.append(trio.current_time())

    def flush(self) -> None:
        self.flushes += 1

    def give(self, incoming: bool, *payloads: bytes) -> None:
        for payload in payloads:
            if incoming:
                assert self.link.deliver(Frame([payload]))
            else:
                assert self.link.transmit([memoryview(bytes(HEADER_BYTES) + payload)])

    def got(self, incoming: bool) -> list[bytes]:
        return self.received if incoming else self.sent


@pytest.fixture(params=[True, False], ids=["in", "out"])
def incoming(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


PAYLOADS = [b"%04d" % number for number in range(400)]


async def _run(
    spec: str, incoming: bool, payloads: list[bytes] = PAYLOADS, for_s: float = 10
) -> Ends:
    ends = Ends()
    ends.registry.add(spec)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ends.faults.run)
        for payload in payloads:
            ends.give(incoming, payload)
            await trio.sleep(0.001)
        await trio.sleep(for_s)
        nursery.cancel_scope.cancel()
    return ends


async def test_loss(incoming: bool, autojump_clock: MockClock) -> None:
    got = (await _run("nic:loss,probability=25", incoming)).got(incoming)
    assert 250 < len(got) < 350
    assert got == sorted(got)


async def test_correlated_loss_comes_in_bursts(autojump_clock: MockClock) -> None:
    def bursts(ends: Ends) -> int:
        lost = [payload not in ends.sent for payload in PAYLOADS]
        return sum(now and not before for before, now in itertools.pairwise(lost))

    alone = await _run("nic:loss,probability=30", False)
    together = await _run("nic:loss,probability=30,correlation=90", False)
    assert bursts(together) < bursts(alone) / 2
    gilbert = await _run("nic:loss,to_bad=5,to_good=20", False)
    assert 0 < bursts(gilbert) < bursts(alone) / 2


async def test_a_partition_and_its_direction(autojump_clock: MockClock) -> None:
    ends = Ends()
    number = ends.registry.add("nic:partition,direction=in")
    ends.give(True, b"lost")
    ends.give(False, b"sent")
    ends.registry.clear(number)
    ends.give(True, b"back")
    assert (ends.received, ends.sent) == ([b"back"], [b"sent"])


async def test_delay(incoming: bool, autojump_clock: MockClock) -> None:
    began = trio.current_time()
    ends = await _run("nic:delay,time=1s,jitter=100ms", incoming, PAYLOADS[:20])
    assert sorted(ends.got(incoming)) == PAYLOADS[:20]
    assert ends.got(incoming) != PAYLOADS[:20]
    assert min(ends.times) >= began + 0.9
    assert max(ends.times) <= began + 1.2
    assert (ends.flushes if incoming else ends.settles) > 0


async def test_what_waits_comes_at_once_when_the_fault_is_cleared(
    incoming: bool, autojump_clock: MockClock
) -> None:
    ends = Ends()
    number = ends.registry.add("nic:delay,time=1h")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ends.faults.run)
        ends.give(incoming, b"late")
        await trio.sleep(1)
        assert not ends.got(incoming)
        ends.registry.clear(number)
        await trio.sleep(1)
        assert ends.got(incoming) == [b"late"]
        nursery.cancel_scope.cancel()


async def test_duplicates(incoming: bool, autojump_clock: MockClock) -> None:
    got = (await _run("nic:duplicate,interval=2", incoming, PAYLOADS[:4])).got(incoming)
    assert got == [b"0000", b"0001", b"0001", b"0002", b"0003", b"0003"]


async def test_one_bit_is_corrupted(incoming: bool, autojump_clock: MockClock) -> None:
    got = (await _run("nic:corrupt", incoming, PAYLOADS[:50])).got(incoming)
    for clean, spoilt in zip(PAYLOADS[:50], got, strict=True):
        flipped = int.from_bytes(clean, "big") ^ int.from_bytes(spoilt, "big")
        assert flipped.bit_count() == 1


async def test_reordering(incoming: bool, autojump_clock: MockClock) -> None:
    ends = await _run("nic:reorder,gap=2,interval=3,times=1,time=1s", incoming, PAYLOADS[:6])
    assert ends.got(incoming) == [b"0000", b"0001", b"0003", b"0004", b"0002", b"0005"]


async def test_a_rate(incoming: bool, autojump_clock: MockClock) -> None:
    ends = await _run("nic:rate,bytes=40", incoming, PAYLOADS[:10])
    assert ends.got(incoming) == PAYLOADS[:10]
    assert max(ends.times) - min(ends.times) == pytest.approx(0.9, abs=0.01)
    slow = await _run("nic:rate,bytes=4", incoming, PAYLOADS[:10])
    assert len(slow.got(incoming)) < 10


def test_with_nothing_armed_the_link_has_its_own_methods() -> None:
    ends = Ends()
    number = ends.registry.add("nic:loss")
    assert "transmit" in vars(ends.link)
    ends.registry.clear(number)
    assert not {"transmit", "commit"} & vars(ends.link).keys()
