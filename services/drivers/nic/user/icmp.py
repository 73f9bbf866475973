"""The gateway's ICMP: echoes, neighbour and router discovery, errors towards the guest. Pure."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from services.drivers.nic.user import plan
from services.net.proto import address, icmp, icmpv6, ipv4, ipv6, ndp, udp
from services.net.proto.packet import Packet

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.drivers.nic.user.plan import Endpoint
    from services.net.proto.ipheader import IpHeader
    from services.net.proto.packet import Part, Payload

_QUOTED_BYTES, _QUOTED_BYTES_V6 = 548, 1232
"""How much of a datagram its error quotes: the whole stays within the least MTU (RFC 1812 4.3.2.3,
RFC 4443 2.4)."""

_CODES = {
    errno.ENETUNREACH: (icmp.NET_UNREACHABLE, icmpv6.NO_ROUTE),
    errno.ECONNREFUSED: (icmp.PORT_UNREACHABLE, icmpv6.PORT_UNREACHABLE),
    errno.EACCES: (icmp.ADMIN_PROHIBITED, icmpv6.ADMIN_PROHIBITED),
    errno.EPERM: (icmp.ADMIN_PROHIBITED, icmpv6.ADMIN_PROHIBITED),
}
"""(IPv4's, IPv6's) code of "destination unreachable"; the host is unreachable for all others."""


class Origin:
    """A datagram of the guest's, as an error quotes it."""

    __slots__ = ("dst", "proto", "quoted", "src")

    def __init__(self, head: IpHeader, payload: memoryview) -> None:
        self.src, self.dst, self.proto = head.src, head.dst, head.proto
        self.quoted = _quote(head.src, head.dst, head.proto, payload, len(payload))

    @classmethod
    def of_datagram(cls, source: Endpoint, target: Endpoint, data: Part) -> Origin:
        """A UDP datagram that is long gone, from its endpoints and data."""
        datagram = udp.Datagram(source[1], target[1], data)
        return cls._of_payload(source[0], target[0], udp.PROTO, datagram)

    @classmethod
    def of_segment(cls, packet: Packet) -> Origin:
        """A TCP segment that was decoded."""
        return cls._of_payload(packet.src, packet.dst, packet.proto, packet.payload)

    @classmethod
    def of_message(cls, source: bytes, target: bytes, message: icmp.Message) -> Origin:
        """An ICMP message that was decoded."""
        proto = icmp.PROTO if len(source) == 4 else icmp.PROTO_V6
        return cls._of_payload(source, target, proto, message)

    @classmethod
    def _of_payload(cls, src: bytes, dst: bytes, proto: int, payload: Payload) -> Origin:
        made = cls.__new__(cls)
        made.src, made.dst, made.proto = src, dst, proto
        whole = memoryview(b"".join(payload.encode(src, dst, False)))
        made.quoted = _quote(src, dst, proto, whole, len(whole))
        return made


def _quote(src: bytes, dst: bytes, proto: int, payload: memoryview, length: int) -> bytes:
    if len(src) == 4:
        head = ipv4.header(src, dst, proto, length, 64, 0, 0, ipv4.DONT_FRAGMENT)
        return head + bytes(payload[: _QUOTED_BYTES - len(head)])
    head = ipv6.header(src, dst, proto, length, 64, 0)
    return head + bytes(payload[: _QUOTED_BYTES_V6 - len(head)])


class Icmp:
    """Answers for the gateway's own addresses; `send` takes packets to the guest."""

    def __init__(self, send: Callable[[Packet], None]) -> None:
        self._send = send
        self.on_echo: Callable[[bytes, bytes, icmp.Message], None] = _nobody
        """(source, target, request): the guest pings somebody else."""

    def input(self, head: IpHeader, message: icmp.Message) -> bytes | None:
        """One message of the guest's; its MAC address if it told one."""
        v6 = len(head.src) == 16
        if message.type == (icmpv6.ECHO if v6 else icmp.ECHO):
            self._echo(head, message)
        elif v6 and message.type == icmpv6.NEIGHBOUR_SOLICITATION and head.ttl == ndp.HOP_LIMIT:
            return self._solicited(head, ndp.decode_neighbour(message))
        elif v6 and message.type == icmpv6.ROUTER_SOLICITATION and head.ttl == ndp.HOP_LIMIT:
            self._advertise_router(head)
        return None

    def _echo(self, head: IpHeader, message: icmp.Message) -> None:
        kind = icmpv6.ECHO_REPLY if len(head.src) == 16 else icmp.ECHO_REPLY
        if head.dst in plan.OURS:
            reply = icmp.Message(kind, 0, message.rest, bytes(message.body))
            self._send(Packet(head.proto, head.dst, head.src, reply))
        else:
            self.on_echo(head.src, head.dst, message)

    def _solicited(self, head: IpHeader, asked: ndp.Neighbour) -> bytes | None:
        if asked.target not in plan.OURS:
            return None
        flags = ndp.FROM_ROUTER | ndp.OVERRIDE
        if address.is_unspecified(head.src):  # duplicate address detection
            target = address.ALL_NODES
        else:
            target = head.src
            flags |= ndp.SOLICITED
        answer = ndp.advertise(asked.target, plan.GATEWAY_MAC, flags)
        self._send(Packet(icmp.PROTO_V6, asked.target, target, answer, ttl=ndp.HOP_LIMIT))
        return asked.mac

    def _advertise_router(self, head: IpHeader) -> None:
        """No prefix for autoconfiguration: net gives the guest its address (`Card.addresses`)."""
        router = ndp.Router(64, 0, 1800, 0, 0, plan.GATEWAY_MAC, plan.MTU, ())
        target = address.ALL_NODES if address.is_unspecified(head.src) else head.src
        answer = ndp.advertise_router(router)
        self._send(
            Packet(icmp.PROTO_V6, plan.GATEWAY_LINK_LOCAL, target, answer, ttl=ndp.HOP_LIMIT)
        )

    def unreachable(self, origin: Origin, number: int, reporter: bytes | None) -> None:
        """Destination unreachable, for a host's errno."""
        codes = _CODES.get(number, (icmp.HOST_UNREACHABLE, icmpv6.ADDRESS_UNREACHABLE))
        kinds = (icmp.DEST_UNREACHABLE, icmpv6.DEST_UNREACHABLE)
        self._error(origin, kinds, codes, reporter)

    def protocol_unreachable(self, origin: Origin) -> None:
        """The gateway forwards TCP, UDP and nothing else."""
        codes = (icmp.PROTOCOL_UNREACHABLE, icmpv6.ADMIN_PROHIBITED)
        self._error(origin, (icmp.DEST_UNREACHABLE, icmpv6.DEST_UNREACHABLE), codes, None)

    def expired(self, origin: Origin) -> None:
        """The datagram's time to live ended at the gateway."""
        self._error(origin, (icmp.TIME_EXCEEDED, icmpv6.TIME_EXCEEDED), (0, 0), None)

    def _error(
        self,
        origin: Origin,
        kinds: tuple[int, int],
        codes: tuple[int, int],
        reporter: bytes | None,
    ) -> None:
        v6 = len(origin.src) == 16
        message = icmp.Message(kinds[v6], codes[v6], 0, origin.quoted)
        if reporter is None or len(reporter) != len(origin.src):
            reporter = origin.dst if origin.dst in plan.OURS else plan.gateway_of(origin.src)
        proto = icmp.PROTO_V6 if v6 else icmp.PROTO
        self._send(Packet(proto, reporter, origin.src, message))


def _nobody(source: bytes, target: bytes, request: icmp.Message) -> None:
    """There is no way out."""
