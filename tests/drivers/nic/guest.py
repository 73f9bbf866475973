"""Net's side of a card, without a kernel: queues in a small RAM, and frames as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.drivers.nic.api import (
    BUFFER_BYTES,
    HEADER,
    HEADER_BYTES,
    NEEDS_CHECKSUM,
    RECEIVE,
    Attach,
    DriverQueue,
    Wires,
    place_queue,
)
from services.drivers.nic.link import encode_header
from services.drivers.ram.api import Ram

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.drivers.nic.service import NicService
    from services.net.proto.packet import Frame

RECEIVE_BUFFERS = 32
SEND_BUFFERS = 32
QUEUE = 64


class Net:
    """Queues, buffers, and `on_frame(frame with Ethernet header, good checksum)` for what comes."""

    def __init__(self) -> None:
        self.ram = Ram(32 << 20)
        self.memory = self.ram.bytes
        self.wires = Wires()
        self.wires.interrupt = self.drain
        self.receive_place = place_queue(0x1000, QUEUE)
        self.send_place = place_queue(0x3000, QUEUE)
        self.on_frame: Callable[[memoryview, bool], None] = lambda frame, checked: None
        self.backlog: list[Frame] = []
        self.received = 0
        self.gso_received = 0
        self.interrupts = 0
        self.reset()

    def reset(self) -> None:
        self.receive: DriverQueue[int] = DriverQueue(self.memory, self.receive_place, writable=True)
        self.send: DriverQueue[int] = DriverQueue(self.memory, self.send_place, writable=False)
        self.send.interrupts(False)
        base = 0x10000
        self.refill = True
        self.held: list[int] = []
        """Receive buffers that were not given back to the card."""
        for number in range(RECEIVE_BUFFERS):
            self.receive.add(
                base + number * BUFFER_BYTES, BUFFER_BYTES, base + number * BUFFER_BYTES
            )
        base += RECEIVE_BUFFERS * BUFFER_BYTES
        self.free = [base + number * BUFFER_BYTES for number in range(SEND_BUFFERS)]
        self.receive.publish()

    def give_back(self) -> None:
        """Give the card all receive buffers that were held back, and those to come."""
        self.refill = True
        for paddr in self.held:
            self.receive.add(paddr, BUFFER_BYTES, paddr)
        self.held.clear()
        self.receive.publish()
        self.wires.doorbell(RECEIVE)

    async def attach(self, service: NicService) -> None:
        await service.attach(Attach(self.receive_place, (self.send_place,)))

    def drain(self) -> None:
        """The interrupt's handler, inline."""
        self.interrupts += 1
        while True:
            taken = None
            while (taken := self.receive.take()) is not None:
                paddr, length = taken
                flags, gso, *_ = HEADER.unpack_from(self.memory, paddr)
                self.received += 1
                self.gso_received += gso != 0
                self.on_frame(
                    self.memory[paddr + HEADER_BYTES : paddr + length], bool(flags & NEEDS_CHECKSUM)
                )
                if self.refill:
                    self.receive.add(paddr, BUFFER_BYTES, paddr)
                else:
                    self.held.append(paddr)
            if self.refill and self.receive.publish():
                self.wires.doorbell(RECEIVE)
            self.wires.acknowledge()
            self._push()
            if not self._pending():
                return

    def _pending(self) -> bool:
        taken = self.receive._areas.used[1] != self.receive._seen  # a peek, for the test alone
        return bool(taken)

    def transmit(self, frame: Frame) -> None:
        self.backlog.append(frame)
        self._push()

    def _push(self) -> None:
        while (taken := self.send.take()) is not None:
            self.free.append(taken[0])
        pushed = False
        while self.backlog and self.free:
            frame = self.backlog.pop(0)
            paddr = at = self.free.pop()
            for part in (encode_header(frame), *frame.parts):
                self.memory[at : at + len(part)] = part
                at += len(part)
            self.send.add(paddr, at - paddr, paddr)
            pushed = True
        if pushed and self.send.publish():
            self.wires.doorbell(1)
            while (taken := self.send.take()) is not None:
                self.free.append(taken[0])
