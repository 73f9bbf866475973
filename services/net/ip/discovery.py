"""IPv6 neighbour discovery (RFC 4861 sections 7.1, 7.2): soliciting, answering, announcing.

Routers are in `routers`. Left out: detection of duplicate addresses, redirects (ignored).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.net.ip.neighbour import is_plausible
from services.net.proto import address as kinds
from services.net.proto import icmpv6, ndp
from services.net.proto.packet import Packet

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.net.ip.host import Host
    from services.net.ip.interface import Interface
    from services.net.ip.neighbour import Neighbour, Neighbours
    from services.net.ip.routers import Routers
    from services.net.proto.icmp import Message


class Discovery:
    """Speaks neighbour discovery on all Ethernet interfaces."""

    def __init__(self, host: Host, neighbours: Neighbours, send: Callable[[Packet], None]) -> None:
        self._host = host
        self._neighbours = neighbours
        self._send_packet = send
        self.routers: Routers | None = None

    def send(self, interface: Interface, src: bytes, dst: bytes, message: Message) -> None:
        """Send a discovery message; what has no way is not sent."""
        packet = Packet(icmpv6.PROTO, src, dst, message, ndp.HOP_LIMIT, 0, interface.index)
        packet.loops = False
        self._host.icmp6.count_out(message.type)
        try:
            self._send_packet(packet)
        except PosixError:
            self._host.icmp6.OutErrors += 1

    def solicit(self, interface: Interface, neighbour: Neighbour, packet: Packet | None) -> None:
        """Ask the group that the neighbour is in, or itself if its MAC address is known."""
        target = neighbour.address
        src = self._source(interface, packet)
        if src is None:
            return
        dst = target if neighbour.mac else kinds.solicited_node(target)
        self.send(interface, src, dst, ndp.solicit(target, interface.mac))

    def _source(self, interface: Interface, packet: Packet | None) -> bytes | None:
        """Of the packet that wants to go, so that the answer finds us (7.2.2); else link-local."""
        own = [one.address for one in interface.addresses if len(one.address) == 16]
        if packet is not None and packet.src in own:
            return packet.src
        return next((one for one in own if kinds.is_link_local(one)), own[0] if own else None)

    def announce(self, interface: Interface, address: bytes) -> None:
        """An unsolicited advertisement: whoever knows the address now knows where it is (7.2.6)."""
        news = ndp.advertise(address, interface.mac, ndp.OVERRIDE)
        self.send(interface, address, kinds.ALL_NODES, news)

    def input(self, packet: Packet, message: Message) -> None:
        """A discovery message from the wire. ValueError: malformed, or from beyond the link."""
        if packet.ttl != ndp.HOP_LIMIT or message.code != 0:
            raise ValueError("discovery message from elsewhere")
        interface = self._host.interfaces[packet.ifindex]
        if interface.is_loopback:
            return
        if message.type == icmpv6.NEIGHBOUR_SOLICITATION:
            self._solicited(interface, packet, ndp.decode_neighbour(message))
        elif message.type == icmpv6.NEIGHBOUR_ADVERTISEMENT:
            self._advertised(interface, packet, message)
        elif message.type == icmpv6.ROUTER_ADVERTISEMENT and self.routers is not None:
            self.routers.advertised(interface, packet, ndp.decode_router(message))

    def _solicited(self, interface: Interface, packet: Packet, question: ndp.Neighbour) -> None:
        target, mac = question
        if kinds.is_multicast(target):
            raise ValueError("solicitation for a group")
        probes = kinds.is_unspecified(packet.src)  # is anyone using this address? (RFC 4862 5.4)
        if probes and (mac is not None or not kinds.is_multicast(packet.dst)):
            raise ValueError("solicitation from nobody")
        if interface.find(target) is None:
            return
        flags = ndp.OVERRIDE
        dst = kinds.ALL_NODES
        if not probes:
            if mac is not None and is_plausible(mac):
                self._neighbours.learn(interface, packet.src, mac)
            flags |= ndp.SOLICITED
            dst = packet.src
        self.send(interface, target, dst, ndp.advertise(target, interface.mac, flags))

    def _advertised(self, interface: Interface, packet: Packet, message: Message) -> None:
        target, mac = ndp.decode_neighbour(message)
        flags = message.rest
        to_group = kinds.is_multicast(packet.dst)
        if kinds.is_multicast(target) or (to_group and flags & ndp.SOLICITED):
            raise ValueError("advertisement of a group, or solicited by one")
        if self._host.is_local(target):
            return  # someone uses our address; there is no defence in IPv6
        known = self._neighbours.get(interface, target)
        if mac is None:
            mac = known.mac if known is not None else b""
        if known is None or not mac or not is_plausible(mac):
            return
        heard = self._neighbours.heard(
            interface,
            target,
            mac,
            solicited=flags & ndp.SOLICITED != 0,
            override=flags & ndp.OVERRIDE != 0,
        )
        if heard is not None:
            was_router = heard.is_router
            heard.is_router = flags & ndp.FROM_ROUTER != 0
            if was_router and not heard.is_router and self.routers is not None:
                self.routers.forget(interface, target)
