"""ICMP of both versions: echo, errors that come, errors that we send.

Errors are sent by the rules of RFC 1122 3.2.2 and RFC 4443 2.4: never about an error, a group, a
later fragment or a source that is not one host; and at a bounded rate (`limits`), but for lo.
Redirects are ignored: on a link with one router they could only come from a liar.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.net.ip.limits import ErrorLimit
from services.net.proto import address as kinds
from services.net.proto import icmp, icmpv6, ipv4, ipv6
from services.net.proto.icmp import IcmpError, Message
from services.net.proto.packet import Packet

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.net.ip.discovery import Discovery
    from services.net.ip.host import Host

QUOTE_V4_BYTES = 576 - 28
"""Of the datagram in question, header included (RFC 1812 4.3.2.3)."""
QUOTE_V6_BYTES = ipv6.MIN_MTU - 48

# What links carry, for routers that do not tell (RFC 1191 7.1).
_PLATEAUS = (32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68)


class Icmp:
    """The ICMP layer of a stack; its `input4` and `input6` are protocols like any transport."""

    def __init__(self, host: Host, send: Callable[[Packet], None], discovery: Discovery) -> None:
        self._host = host
        self._send_packet = send
        self._discovery = discovery
        self._limit = ErrorLimit()
        self.on_error: Callable[[IcmpError], None] = lambda _: None

    # What comes

    def input4(self, packet: Packet) -> None:
        """A message whose checksum is right."""
        message = packet.payload
        assert isinstance(message, Message)
        counters = self._host.icmp
        counters.InMsgs += 1
        counters.count_in(message.type)
        if message.type == icmp.ECHO:
            if not kinds.is_multicast(packet.dst) and not self._host.is_broadcast(packet.dst):
                self._echo(packet, message, icmp.ECHO_REPLY)
        elif message.type in icmp.ERROR_TYPES:
            self._reported(packet, message)

    def input6(self, packet: Packet) -> None:
        """A message whose checksum is right."""
        message = packet.payload
        assert isinstance(message, Message)
        counters = self._host.icmp6
        counters.InMsgs += 1
        counters.count_in(message.type)
        if message.type == icmpv6.ECHO:
            self._echo(packet, message, icmpv6.ECHO_REPLY)
        elif icmpv6.is_error(message.type):
            self._reported(packet, message)
        elif icmpv6.ROUTER_SOLICITATION <= message.type <= icmpv6.NEIGHBOUR_ADVERTISEMENT:
            try:
                self._discovery.input(packet, message)
            except ValueError:
                counters.InErrors += 1

    def _echo(self, packet: Packet, message: Message, kind: int) -> None:
        if not _is_one_host(packet.src) and packet.ifindex != 1:
            return
        src = kinds.ANY_V6 if kinds.is_multicast(packet.dst) else packet.dst
        answer = Message(kind, message.code, message.rest, message.body)
        self._send(packet, src, answer)

    def _reported(self, packet: Packet, message: Message) -> None:
        """Somebody complains about a datagram of ours: tell the transport that sent it."""
        is_v4 = len(packet.src) == 4
        counters = self._host.icmp if is_v4 else self._host.icmp6
        body = memoryview(message.body)
        try:
            quoted = ipv4.decode_quoted(body) if is_v4 else ipv6.decode_quoted(body)
        except ValueError:
            counters.InErrors += 1
            return
        data = bytes(body[quoted.start :])
        if len(data) < 8 or quoted.fragment_at or not self._host.is_local(quoted.src):
            counters.InErrors += 1
            return
        number, fatal = (icmp if is_v4 else icmpv6).errno_of(message.type, message.code)
        if not number:
            return
        self.on_error(
            IcmpError(
                message.type,
                message.code,
                _mtu_told(is_v4, message, quoted.end),
                quoted.proto,
                quoted.src,
                quoted.dst,
                data,
                packet.src,
                number,
                fatal,
            )
        )

    # What goes

    def port_unreachable(self, packet: Packet) -> None:
        """Nobody listens where the packet went."""
        if len(packet.src) == 4:
            self.error(packet, icmp.DEST_UNREACHABLE, icmp.PORT_UNREACHABLE)
        else:
            self.error(packet, icmpv6.DEST_UNREACHABLE, icmpv6.PORT_UNREACHABLE)

    def protocol_unreachable(self, packet: Packet) -> None:
        """Nobody speaks the packet's protocol. In IPv6 that is a problem of a parameter."""
        if len(packet.src) == 4:
            self.error(packet, icmp.DEST_UNREACHABLE, icmp.PROTOCOL_UNREACHABLE)
        elif packet.proto != ipv6.NO_NEXT_HEADER:
            self.error(packet, icmpv6.PARAMETER_PROBLEM, icmpv6.UNKNOWN_NEXT_HEADER, 6)

    def error(
        self,
        packet: Packet,
        kind: int,
        code: int,
        rest: int = 0,
        quote: bytes | memoryview | None = None,
        even_to_group: bool = False,
    ) -> None:
        """Send an error about a packet that came, if the rules allow it.

        `quote`: the datagram as it came; without it, it is encoded anew.
        """
        host = self._host
        counters = host.icmp if len(packet.src) == 4 else host.icmp6
        if not self._may_complain(packet, even_to_group):
            return
        if packet.ifindex != 1:
            refusal = self._limit.refuses(packet.src, host.now_ns)
            if refusal is not None:
                setattr(counters, refusal, getattr(counters, refusal) + 1)
                return
        if quote is None:
            quote = wire_bytes(packet)
        longest = QUOTE_V4_BYTES if len(packet.src) == 4 else QUOTE_V6_BYTES
        src = packet.dst if host.is_local(packet.dst) else bytes(len(packet.dst))
        self._send(packet, src, Message(kind, code, rest, bytes(quote[:longest])))

    def _may_complain(self, packet: Packet, even_to_group: bool) -> bool:
        src, dst = packet.src, packet.dst
        if not _is_one_host(src) and packet.ifindex != 1:
            return False
        if not even_to_group and (kinds.is_multicast(dst) or self._host.is_broadcast(dst)):
            return False
        payload = packet.payload
        if packet.proto == icmp.PROTO and len(src) == 4:
            first = _first_byte(packet)
            return first not in icmp.ERROR_TYPES and first >= 0
        if packet.proto == icmpv6.PROTO and len(src) == 16:
            first = payload.type if isinstance(payload, Message) else _first_byte(packet)
            return first >= 128
        return True

    def _send(self, packet: Packet, src: bytes, message: Message) -> None:
        """Answer a packet. Where there is no way back, there is no answer."""
        counters = self._host.icmp if len(packet.src) == 4 else self._host.icmp6
        ifindex = packet.ifindex if kinds.is_link_local(packet.src) and packet.ifindex != 1 else 0
        answer = Packet(packet.proto, src, packet.src, message, 64, packet.tos, ifindex)
        answer.proto = icmp.PROTO if len(packet.src) == 4 else icmpv6.PROTO
        counters.count_out(message.type)
        try:
            self._send_packet(answer)
        except PosixError:
            counters.OutErrors += 1


def wire_bytes(packet: Packet) -> bytes:
    """A packet as it would look on the wire, uncut."""
    body = b"".join(packet.payload.encode(packet.src, packet.dst, offload=False))
    length = min(len(body), 0xFFFF - 20)
    if len(packet.src) == 4:
        flags = ipv4.DONT_FRAGMENT if packet.dont_fragment else 0
        head = ipv4.header(
            packet.src, packet.dst, packet.proto, length, packet.ttl, packet.tos, 0, flags
        )
    else:
        head = ipv6.header(packet.src, packet.dst, packet.proto, length, packet.ttl, packet.tos)
    return head + body


def _first_byte(packet: Packet) -> int:
    """The type of an ICMP message; -1: there is none."""
    if isinstance(packet.payload, Message):
        return packet.payload.type
    parts = packet.payload.encode(packet.src, packet.dst, offload=True)
    return parts[0][0] if parts and len(parts[0]) else -1


def _is_one_host(address: bytes) -> bool:
    """Whether a source can be answered at all."""
    if len(address) == 4:
        return 0 < address[0] < 224
    return not kinds.is_multicast(address) and not kinds.is_unspecified(address)


def _mtu_told(is_v4: bool, message: Message, datagram_bytes: int) -> int:
    """The MTU in "fragmentation needed" or "packet too big"; 0 for other errors."""
    if not is_v4:
        if message.type != icmpv6.PACKET_TOO_BIG:
            return 0
        return max(message.rest, ipv6.MIN_MTU)
    if (message.type, message.code) != (icmp.DEST_UNREACHABLE, icmp.FRAGMENTATION_NEEDED):
        return 0
    told = message.rest & 0xFFFF
    if told:
        return told
    return next((mtu for mtu in _PLATEAUS if mtu < datagram_bytes), _PLATEAUS[-1])
