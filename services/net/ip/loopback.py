"""Packets on their way inside: handed over as they are, payload object and all."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.net.ip.interface import Interface
    from services.net.proto.packet import Packet

MAX_PACKETS = 1000
"""Linux's netdev_max_backlog; what is beyond is dropped, as there."""
BATCH = 64


class Loopback:
    """The queue between `output` and `pump`."""

    __slots__ = ("_deliver", "_interface", "_queue")

    def __init__(self, interface: Interface, deliver: Callable[[Packet], None]) -> None:
        self._interface = interface
        self._deliver = deliver
        self._queue: deque[Packet] = deque()

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, packet: Packet, ifindex: int) -> None:
        """Let a packet arrive, through lo or as a copy of what went to a group."""
        interface = self._interface
        if len(self._queue) >= MAX_PACKETS:
            interface.rx_dropped += 1
            return
        packet.ifindex = ifindex
        if ifindex == interface.index:
            size = packet.payload.size_bytes + (20 if len(packet.dst) == 4 else 40)
            interface.tx_packets += 1
            interface.rx_packets += 1
            interface.tx_bytes += size  # of IP: as on Linux, lo's frames have no header here
            interface.rx_bytes += size
        self._queue.append(packet)

    def pump(self) -> bool:
        """Deliver up to `BATCH` packets; True: there are more."""
        queue = self._queue
        deliver = self._deliver
        for _ in range(min(len(queue), BATCH)):
            deliver(queue.popleft())
        return len(queue) > 0
