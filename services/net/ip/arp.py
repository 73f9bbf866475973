"""ARP: asking for neighbours, answering, announcing (RFC 826, RFC 1122 2.3.2, RFC 5227).

What others say of themselves is learnt only if they ask for an address of ours or if we know them
already, so that a storm of replies or requests for others changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.net.ip.neighbour import is_plausible
from services.net.proto import address as kinds
from services.net.proto import arp, ethernet
from services.net.proto.packet import Frame

if TYPE_CHECKING:
    from services.net.ip.host import Host
    from services.net.ip.interface import Interface
    from services.net.ip.neighbour import Neighbour, Neighbours
    from services.net.ip.router import Router
    from services.net.proto.packet import Packet


class ArpSpeaker:
    """Speaks ARP on all Ethernet interfaces."""

    def __init__(self, host: Host, router: Router, neighbours: Neighbours) -> None:
        self._host = host
        self._router = router
        self._neighbours = neighbours
        self.conflicts = 0  # someone else claims an address of ours

    def request(self, interface: Interface, neighbour: Neighbour, packet: Packet | None) -> None:
        """Ask everyone, or the neighbour alone if its MAC address is known."""
        sender = kinds.ANY_V4
        if packet is not None and self._host.is_local(packet.src):
            sender = packet.src
        if sender == kinds.ANY_V4 or kinds.is_loopback(sender):
            sender = self._router.select_source(neighbour.address, neighbour.address, interface)
        question = arp.Arp(
            arp.REQUEST, interface.mac, sender, neighbour.mac or kinds.MAC_ANY, neighbour.address
        )
        self._send(interface, neighbour.mac or kinds.MAC_BROADCAST, question)

    def announce(self, interface: Interface, address: bytes) -> None:
        """A gratuitous request: whoever knows the address now knows where it is."""
        news = arp.Arp(arp.REQUEST, interface.mac, address, kinds.MAC_ANY, address)
        self._send(interface, kinds.MAC_BROADCAST, news)

    def _send(self, interface: Interface, dst: bytes, message: arp.Arp) -> None:
        frame = Frame([ethernet.header(dst, interface.mac, ethernet.ARP) + message.encode()])
        interface.tx_packets += 1
        interface.tx_bytes += frame.length_bytes
        interface.transmit(frame)

    def input(self, interface: Interface, data: memoryview, *, to_us: bool) -> None:
        """A packet from the wire; `to_us`: in a frame to our own MAC address."""
        try:
            message = arp.decode(data)
        except ValueError:
            interface.rx_dropped += 1
            return
        sender, mac = message.sender, message.sender_mac
        if not is_plausible(mac) or kinds.is_loopback(sender) or sender[0] >= 224:
            interface.rx_dropped += 1
            return
        host = self._host
        if host.is_local(sender):
            self.conflicts += mac != interface.mac
            return
        asks_us = (
            message.operation == arp.REQUEST
            and host.is_local(message.target)
            and not kinds.is_loopback(message.target)
        )
        if asks_us:
            if sender != kinds.ANY_V4:  # a probe for duplicates (RFC 5227 2.1.1)
                self._neighbours.learn(interface, sender, mac)
            answer = arp.Arp(arp.REPLY, interface.mac, message.target, mac, sender)
            self._send(interface, mac, answer)
        elif message.operation == arp.REPLY or sender == message.target:
            solicited = message.operation == arp.REPLY and to_us
            self._neighbours.heard(interface, sender, mac, solicited=solicited, override=True)
