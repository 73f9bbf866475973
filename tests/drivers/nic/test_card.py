"""Does the card keep its side of the bargain: order, silence when asked, and no trust?"""

from __future__ import annotations

from errno import EINVAL, ENODEV

import pytest
import trio

from bus.errors import PosixError
from services.drivers.nic.api import (
    BUFFER_BYTES,
    HEADER_BYTES,
    RECEIVE,
    Attach,
    Describe,
    Detach,
    DriverQueue,
    Kick,
    QueuePlace,
    place_queue,
)
from services.drivers.nic.service import NicService
from services.drivers.nic.settings import Network
from services.net.proto.packet import Frame
from tests.drivers.nic.guest import Net

pytestmark = pytest.mark.usefixtures("nothing_left")


class Wire:
    """A back end that keeps what it is sent, or refuses it."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.settled = 0
        self.full = False

    def send(self, frame: list[memoryview]) -> bool:
        if self.full:
            return False
        self.frames.append(b"".join(frame)[HEADER_BYTES:])
        return True

    def settle(self) -> None:
        self.settled += 1


@pytest.fixture
async def made() -> tuple[Net, NicService, Wire]:
    net = Net()
    service = NicService(net.ram, net.wires, Network("none"))
    wire = service.link.sender = Wire()
    service.rings.attach(net.receive_place, (net.send_place,))
    return net, service, wire


Made = tuple[Net, NicService, Wire]


async def test_frames_leave_in_order_and_their_buffers_come_back(made: Made) -> None:
    net, service, wire = made
    for number in range(200):
        net.transmit(Frame([b"%d" % number]))
    assert [int(frame) for frame in wire.frames] == list(range(200))
    assert net.send.outstanding == 0
    assert service.link.sent_frames == 200
    assert net.wires.interrupts == 0  # net did not want any for this queue


async def test_what_the_link_refuses_stays_in_the_ring(made: Made) -> None:
    net, service, wire = made
    wire.full = True
    for number in range(5):
        net.transmit(Frame([b"%d" % number]))
    assert net.send.outstanding == 5
    wire.full = False
    net.send.interrupts(True)
    service.rings.resume()
    assert wire.frames == [b"0", b"1", b"2", b"3", b"4"]
    assert net.wires.interrupts == 1


async def test_a_frame_in_pieces_arrives_whole(made: Made) -> None:
    net, _, wire = made
    net.memory[0x9000 : 0x9000 + HEADER_BYTES] = bytes(HEADER_BYTES)
    net.memory[0xA000:0xA005] = b"hello"
    net.memory[0xB000:0xB006] = b" world"
    net.send.add_chain([(0x9000, HEADER_BYTES), (0xA000, 5), (0xB000, 6)], 1)
    net.send.publish()
    net.wires.doorbell(1)
    assert wire.frames == [b"hello world"]


async def test_a_receive_buffer_in_pieces_is_filled(made: Made) -> None:
    net, service, _ = made
    net.reset()
    place = place_queue(0x1000, 64)
    queue: DriverQueue[int] = DriverQueue(net.memory, place, writable=True)
    queue.add_chain([(0x100000, 4096), (0x110000, 65536)], 1)
    queue.publish()
    service.rings.attach(place, (net.send_place,))
    data = bytes(range(256)) * 100
    assert service.link.deliver(Frame([data[:10], memoryview(data)[10:]]))
    assert queue.take() == (1, HEADER_BYTES + len(data))
    assert net.memory[0x100000 + HEADER_BYTES : 0x101000] == data[: 4096 - HEADER_BYTES]
    rest = data[4096 - HEADER_BYTES :]
    assert net.memory[0x110000 : 0x110000 + len(rest)] == rest
    assert not service.link.deliver(Frame([b"x"]))  # there was one buffer


async def test_one_interrupt_is_pending_at_the_most(made: Made) -> None:
    net, service, _ = made
    raised = []
    net.wires.interrupt = lambda: raised.append(1)
    for _ in range(3):
        assert service.link.deliver(Frame([b"x" * 60]))
        service.link.flush()
    service.link.flush()
    assert len(raised) == 1
    assert net.wires.coalesced == 2
    net.wires.acknowledge()
    service.link.flush()  # nothing new: nothing to tell
    assert len(raised) == 1
    net.receive.interrupts(False)
    service.link.deliver(Frame([b"x"]))
    service.link.flush()
    assert len(raised) == 1
    net.receive.interrupts(True)
    service.link.deliver(Frame([b"x"]))
    service.link.flush()
    assert len(raised) == 2


async def test_net_may_ring_the_doorbell_from_within_the_interrupt(made: Made) -> None:
    net, service, wire = made
    net.on_frame = lambda frame, checked: net.transmit(Frame([b"re: " + bytes(frame)]))
    for number in range(100):
        assert service.link.deliver(Frame([b"%d" % number]))
        service.link.flush()
    assert wire.frames == [b"re: %d" % number for number in range(100)]


async def test_what_makes_no_sense_ends_the_attachment(made: Made) -> None:
    net, service, wire = made
    net.send.add(len(net.memory) - 4, 64, 1)
    net.send.publish()
    net.wires.doorbell(1)
    assert service.rings.broken is not None
    assert "64 bytes" in service.rings.broken
    net.wires.doorbell(1)
    assert not service.link.deliver(Frame([b"x"]))
    net.reset()
    service.rings.attach(net.receive_place, (net.send_place,))
    assert service.rings.broken is None
    net.transmit(Frame([b"again"]))
    assert wire.frames == [b"again"]
    assert service.counters()["breaks"] == 1


async def test_small_buffers_are_refused(made: Made) -> None:
    net, service, wire = made
    net.send.add(0x9000, HEADER_BYTES - 1, 1)
    net.send.publish()
    net.wires.doorbell(1)
    assert not wire.frames
    assert service.counters()["dropped_malformed_chain"] == 1
    while net.receive.outstanding:
        service.link.deliver(Frame([b"x"]))
        net.receive.take()
    net.receive.add(0x100000, BUFFER_BYTES // 2, 1)
    net.receive.publish()
    assert not service.link.deliver(Frame([b"x"]))
    assert "receive buffer" in str(service.rings.broken)


async def test_doorbells_that_are_none_ring_nobody(made: Made) -> None:
    net, service, wire = made
    for number in (-1, 2, 99):
        net.wires.doorbell(number)
    assert wire.settled == 0
    for number in (-1, 2):
        with pytest.raises(PosixError) as told:
            await service.kick(Kick(number))
        assert told.value.errno == ENODEV
    await service.kick(Kick(1))
    await service.kick(Kick(RECEIVE))
    assert wire.settled == 1


async def test_after_detaching_memory_is_left_alone(made: Made) -> None:
    net, service, _ = made
    await service.detach(Detach())
    assert not service.link.deliver(Frame([b"x"]))
    net.wires.doorbell(1)
    with pytest.raises(PosixError):
        await service.kick(Kick(1))


async def test_none_has_no_link() -> None:
    net = Net()
    service = NicService(net.ram, net.wires, Network("none"))
    assert not (await service.describe(Describe())).present
    with pytest.raises(PosixError) as told:
        await net.attach(service)
    assert told.value.errno == ENODEV


async def test_queues_that_cannot_be_are_invalid() -> None:
    net = Net()
    service = NicService(net.ram, net.wires, Network("user"))
    good = net.receive_place
    outside = QueuePlace(64, len(net.memory), 0x1000, 0x2000)
    for attach in (Attach(good, ()), Attach(good, (outside,)), Attach(outside, (good,))):
        with pytest.raises(PosixError) as told:
            await service.attach(attach)
        assert told.value.errno == EINVAL
    service.close()


async def test_a_bug_behind_the_doorbell_is_the_drivers_own(made: Made) -> None:
    net, service, wire = made

    def bug() -> None:
        raise RuntimeError("a bug")

    wire.settle = bug  # type: ignore[method-assign]

    async def serve() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(service.run)
            net.wires.doorbell(1)  # does not raise here

    with pytest.raises(ExceptionGroup) as told:
        await serve()
    assert told.group_contains(RuntimeError, match="a bug")
