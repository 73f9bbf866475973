"""Net's end of the network card: rings and buffers in RAM, frames in and out.

Buffers hold the longest frame, so that segments of 64 KiB cross whole. A frame to be sent is
copied once, from the socket's buffer into a transmit buffer; one that came is decoded where it
lies, and the protocols copy what they keep. When no transmit buffer is free, frames wait in a
bounded queue, and then are dropped, as by any interface.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import attrs

from services.drivers.nic.api import (
    BUFFER_BYTES,
    DATA_VALID,
    HEADER,
    HEADER_BYTES,
    NEEDS_CHECKSUM,
    RECEIVE,
    Attach,
    DriverQueue,
    QueuePlace,
    place_queue,
    queue_bytes,
)
from services.net.ip.routes import METRIC_V6_DEFAULT, Route
from services.vm.api import PAGE_BYTES, AllocFrames

if TYPE_CHECKING:
    from bus.core import Port
    from services.drivers.nic.api import Card, Wires
    from services.drivers.ram.api import Ram
    from services.net.ip.interface import Interface
    from services.net.proto.packet import Frame
    from services.net.socket.network import Network

RECEIVE_BUFFERS = TRANSMIT_BUFFERS = 32
QUEUE_ENTRIES = 1024
"""Room for buffers that are not in one piece: 17 pages each at worst."""
MAX_WAITING_FRAMES = 1000
"""As `txqueuelen` of an Ethernet interface on Linux."""
TRANSMIT = 1

Extents = list[tuple[int, int]]


@attrs.define(eq=False)
class Buffer:
    """A frame's place in RAM, in as few runs as vm found."""

    extents: Extents


def runs_of(pfns: tuple[int, ...]) -> Extents:
    """Frames as (paddr, length_bytes) runs, neighbours merged."""
    runs: Extents = []
    for pfn in pfns:
        paddr = pfn * PAGE_BYTES
        if runs and sum(runs[-1]) == paddr:
            runs[-1] = runs[-1][0], runs[-1][1] + PAGE_BYTES
        else:
            runs.append((paddr, PAGE_BYTES))
    return runs


class CardEnd:
    """The interface that the card is, seen from net."""

    def __init__(self, ram: Ram, network: Network, wires: Wires) -> None:
        self._memory = ram.bytes
        self._network = network
        self._wires = wires
        self._receive: DriverQueue[Buffer] | None = None
        self._transmit: DriverQueue[Buffer] | None = None
        self._free: list[Buffer] = []
        self._waiting: deque[Frame] = deque()
        self._unpublished = False
        self.interface: Interface | None = None
        self.dropped = 0

    async def attach(self, vm: Port, nic: Port, card: Card) -> None:
        """Lay rings and buffers out in RAM, and tell the card."""
        receive = await self._place(vm)
        transmit = await self._place(vm)
        self._receive = DriverQueue(self._memory, receive, writable=True)
        self._transmit = DriverQueue(self._memory, transmit, writable=False)
        for _ in range(RECEIVE_BUFFERS):
            buffer = await self._buffer(vm)
            self._receive.add_chain(buffer.extents, buffer)
        self._free = [await self._buffer(vm) for _ in range(TRANSMIT_BUFFERS)]
        self._receive.publish()
        self._transmit.interrupts(False)
        await nic.call(Attach(receive, (transmit,)))
        self._add_interface(card)

    async def _place(self, vm: Port) -> QueuePlace:
        """A ring in neighbouring frames."""
        count = -(-queue_bytes(QUEUE_ENTRIES) // PAGE_BYTES)
        while True:
            runs = runs_of(await vm.call(AllocFrames(count, True)))
            for paddr, length in runs:
                if length >= queue_bytes(QUEUE_ENTRIES):
                    return place_queue(paddr, QUEUE_ENTRIES)

    async def _buffer(self, vm: Port) -> Buffer:
        return Buffer(runs_of(await vm.call(AllocFrames(BUFFER_BYTES // PAGE_BYTES, False))))

    def _add_interface(self, card: Card) -> None:
        stack = self._network.stack
        self.interface = interface = stack.add_interface(
            "eth0", card.mac, card.mtu, self.send, offload=card.offload, gso=card.offload
        )
        stack.set_up(interface.index, True)
        for own in card.addresses:
            stack.add_address(interface.index, own.address, own.prefix_bits)
            if own.gateway:
                width = len(own.address)
                metric = METRIC_V6_DEFAULT if width == 16 else 0
                stack.add_route(Route(bytes(width), 0, interface.index, own.gateway, metric))

    # Out ------------------------------------------------------------------------------------

    def send(self, frame: Frame) -> None:
        """Take a frame from the IP stack; it leaves at the next `flush`."""
        if not self._free:
            self._reclaim()
        if self._waiting or not self._free:
            if len(self._waiting) < MAX_WAITING_FRAMES:
                self._waiting.append(frame)
            else:
                self.dropped += 1
            return
        self._fill(frame)

    def _fill(self, frame: Frame) -> None:
        """Copy a frame into a buffer and put it on the ring."""
        buffer, memory = self._free.pop(), self._memory
        start = frame.checksum_start
        header = HEADER.pack(
            NEEDS_CHECKSUM if start >= 0 else 0,
            frame.gso_type,
            frame.header_bytes,
            frame.gso_bytes,
            max(start, 0),
            frame.checksum_at,
            0,
        )
        extents = buffer.extents
        if len(extents) == 1:
            at = begin = extents[0][0]
            for part in (header, *frame.parts):
                end = at + len(part)
                memory[at:end] = part
                at = end
            used = [(begin, at - begin)]
        else:
            used = _spread(memory, extents, b"".join((header, *frame.parts)))
        assert self._transmit is not None
        self._transmit.add_chain(used, buffer)
        self._unpublished = True

    def _reclaim(self) -> None:
        """Take back the buffers whose frames have left."""
        assert self._transmit is not None
        while (taken := self._transmit.take()) is not None:
            self._free.append(taken[0])

    def flush(self) -> None:
        """Ring for what was sent since the last time."""
        transmit = self._transmit
        while self._unpublished:
            self._unpublished = False
            assert transmit is not None
            if transmit.publish():
                self._wires.doorbell(TRANSMIT)
            self._reclaim()
            while self._waiting and self._free:
                self._fill(self._waiting.popleft())
        if self._waiting and transmit is not None:
            transmit.interrupts(True)

    # In -------------------------------------------------------------------------------------

    def drain(self, budget: int) -> bool:
        """Receive up to `budget` frames; True if there may be more."""
        receive, interface = self._receive, self.interface
        if receive is None or interface is None:
            return False
        memory, accept, index = self._memory, self._network.stack.input, interface.index
        taken_any = False
        for _ in range(budget):
            taken = receive.take()
            if taken is None:
                break
            taken_any = True
            buffer, written = taken
            extents = buffer.extents
            if len(extents) == 1:
                paddr = extents[0][0]
                whole = memory[paddr : paddr + written]
            else:
                whole = memoryview(b"".join(_pieces(memory, extents, written)))
            flags = whole[0]
            accept(index, whole[HEADER_BYTES:], bool(flags & (NEEDS_CHECKSUM | DATA_VALID)))
            receive.add_chain(extents, buffer)
        if taken_any and receive.publish():
            self._wires.doorbell(RECEIVE)
        if self._waiting:
            self._reclaim()
            while self._waiting and self._free:
                self._fill(self._waiting.popleft())
        return taken_any


def _pieces(memory: memoryview, extents: Extents, size: int) -> list[memoryview]:
    pieces = []
    for paddr, length in extents:
        pieces.append(memory[paddr : paddr + min(length, size)])
        size -= min(length, size)
        if not size:
            break
    return pieces


def _spread(
    memory: memoryview, extents: list[tuple[int, int]], data: bytes
) -> list[tuple[int, int]]:
    """Copy `data` into the runs; the runs as far as they were used."""
    used, at = [], 0
    for paddr, length in extents:
        piece = data[at : at + length]
        memory[paddr : paddr + len(piece)] = piece
        used.append((paddr, len(piece)))
        at += len(piece)
        if at == len(data):
            break
    return used
