"""The gateway's core: one end of an Ethernet link whose other end is the guest.

It answers ARP and neighbour discovery for its own addresses and echo requests to them, ends the
guest's TCP with our own `Tcp` facing the other way, and hands datagrams up. What these lead to on
the host is not known here: `on_syn` and `on_datagram` are the shell's.

Frames that find no receive buffer wait in `backlog`, in order; while there is any the gateway is
`congested`, and the shell stops reading from the host. So nothing is lost for want of buffers,
and the backlog is bounded by what TCP's windows let be in flight (and by `BACKLOG_FRAMES`).

Pure: time is `now_ns`, set by the shell before each entry. Malformed input is counted and dropped.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from services.drivers.nic.user import plan
from services.drivers.nic.user.fragments import Fragments
from services.drivers.nic.user.icmp import Icmp, Origin
from services.net.proto import arp, ethernet, icmp, ipv4, ipv6, udp
from services.net.proto.packet import GSO_TCPV4, GSO_TCPV6, Frame, Packet
from services.net.tcp import segment as tcp_segment
from services.net.tcp.limits import Limits, PathInfo
from services.net.tcp.table import Tcp

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.drivers.nic.user.plan import Endpoint
    from services.net.proto.ipheader import IpHeader
    from services.net.proto.packet import Part
    from services.net.tcp.connection import Connection

BACKLOG_FRAMES = 16_384
MOST_BYTES = 2 << 20
"""What a connection may hold in either direction: some milliseconds of a link without delay."""
TCP, UDP, ICMP, ICMPV6 = 6, 17, icmp.PROTO, icmp.PROTO_V6
_V4_BYTES, _V6_BYTES = 14 + 20, 14 + 40


class Gateway:
    """`emit` puts a frame into a receive buffer of the guest's, or returns False."""

    def __init__(self, emit: Callable[[Frame], bool], random: Callable[[int], bytes]) -> None:
        self._emit = emit
        path = PathInfo(plan.MTU, loopback=False, gso=True)
        self.tcp = Tcp(
            output=self._tcp_output,
            path=lambda dst, src: path,
            random=random,
            limits=Limits(fusing=False, send_max_bytes=MOST_BYTES, receive_max_bytes=MOST_BYTES),
        )
        self.on_datagram: Callable[[Endpoint, Endpoint, Part], None] = _nobody
        """(source, target, data): a UDP datagram of the guest's; `data` is good until then."""
        self.backlog: deque[Frame] = deque()
        self.guest_mac = plan.GUEST_MAC
        self.malformed = self.refused = self.dropped = 0
        """Frames that made no sense; that led nowhere; that did not fit into the backlog."""
        self._fragments = Fragments()
        self.icmp = Icmp(self.send)
        self._ident = 0
        self._now_ns = 0

    @property
    def congested(self) -> bool:
        """Whether frames wait for receive buffers: nothing more should be made from host data."""
        return bool(self.backlog)

    @property
    def now_ns(self) -> int:
        """MONOTONIC, as the shell told it last."""
        return self._now_ns

    @now_ns.setter
    def now_ns(self, value: int) -> None:
        self._now_ns = self.tcp.now_ns = value

    # from the guest

    def input(self, frame: memoryview, checked: bool) -> None:
        """One frame; `checked`: its transport checksum is good or was left to us."""
        try:
            kind = frame[12] << 8 | frame[13]
            if kind == ethernet.IPV4:
                self._ip(ipv4.decode(frame[14:]), frame[14:], checked)
            elif kind == ethernet.IPV6:
                self._ip(ipv6.decode(frame[14:]), frame[14:], checked)
            elif kind == ethernet.ARP:
                self._arp(arp.decode(frame[14:]))
        except (ValueError, IndexError):
            self.malformed += 1

    def _arp(self, asked: arp.Arp) -> None:
        if asked.operation != arp.REQUEST or asked.target not in (plan.GATEWAY, plan.DNS):
            return
        self.guest_mac = asked.sender_mac
        reply = arp.Arp(arp.REPLY, plan.GATEWAY_MAC, asked.target, asked.sender_mac, asked.sender)
        self._put(Frame([self._ethernet(ethernet.ARP) + reply.encode()]))

    def _ip(self, head: IpHeader, datagram: memoryview, checked: bool) -> None:
        payload = datagram[head.start : head.end]
        if head.proto == ICMPV6 and not head.fragment_at and not head.more_fragments:
            self._icmp_input(head, payload, checked)  # its sources may be link-local or none
            return
        if not plan.may_send(head.src):
            self.refused += 1
            return
        if head.more_fragments or head.fragment_at:
            whole = self._fragments.add(head, payload, self._now_ns)
            if whole is None:
                return
            payload, checked = memoryview(whole), False
        if head.ttl <= 1 and head.dst not in plan.OURS:
            self.icmp.expired(Origin(head, payload))
        elif head.proto == TCP:
            segment = tcp_segment.decode(payload, head.src, head.dst, checked)
            self.tcp.input(Packet(TCP, head.src, head.dst, segment, head.ttl, head.tos))
        elif head.proto == UDP:
            found = udp.decode(payload, head.src, head.dst, checked)
            source = head.src, found.source_port
            self.on_datagram(source, (head.dst, found.target_port), found.data)
        elif head.proto == ICMP:
            self._icmp_input(head, payload, checked)
        else:
            self.icmp.protocol_unreachable(Origin(head, payload))

    def _icmp_input(self, head: IpHeader, payload: memoryview, checked: bool) -> None:
        mac = self.icmp.input(head, icmp.decode(payload, head.src, head.dst, checked))
        if mac is not None:
            self.guest_mac = mac

    # to the guest

    def _ethernet(self, kind: int) -> bytes:
        return ethernet.header(self.guest_mac, plan.GATEWAY_MAC, kind)

    def _tcp_output(self, packet: Packet, connection: Connection | None) -> None:
        self.send(packet)

    def send(self, packet: Packet) -> None:
        """One IP datagram to the guest, fragmented if it must be."""
        src, dst, payload = packet.src, packet.dst, packet.payload
        parts = payload.encode(src, dst, True)
        length = sum(map(len, parts))
        gso = payload.gso_bytes if payload.gso_bytes and length > plan.MTU - 60 else 0
        v4 = len(dst) == 4
        if length > plan.MTU - (20 if v4 else 40) and not gso:
            self._send_fragments(packet, payload.encode(src, dst, False), length)
            return
        if v4:
            self._ident = ident = (self._ident + 1) & 0xFFFF
            ip = ipv4.header(
                src, dst, packet.proto, length, packet.ttl, packet.tos, ident, ipv4.DONT_FRAGMENT
            )
            head = self._ethernet(ethernet.IPV4) + ip + parts[0]
        else:
            ip = ipv6.header(src, dst, packet.proto, length, packet.ttl, packet.tos)
            head = self._ethernet(ethernet.IPV6) + ip + parts[0]
        parts[0] = head
        if payload.checksum_at < 0:
            self._put(Frame(parts))
            return
        start = _V4_BYTES if v4 else _V6_BYTES
        kind = (GSO_TCPV4 if v4 else GSO_TCPV6) if gso else 0
        self._put(Frame(parts, start, payload.checksum_at, kind, gso, len(head) if gso else 0))

    def _send_fragments(self, packet: Packet, parts: list[Part], length: int) -> None:
        data = memoryview(b"".join(parts))
        src, dst, proto, ttl, tos = packet.src, packet.dst, packet.proto, packet.ttl, packet.tos
        v4 = len(dst) == 4
        step = (plan.MTU - (20 if v4 else 48)) & ~7
        self._ident = ident = (self._ident + 1) & 0xFFFF
        for at in range(0, length, step):
            piece = data[at : at + step]
            more = at + step < length
            if v4:
                mark = at >> 3 | (ipv4.MORE_FRAGMENTS if more else 0)
                head = ipv4.header(src, dst, proto, len(piece), ttl, tos, ident, mark)
            else:
                head = ipv6.header(src, dst, ipv6.FRAGMENT, 8 + len(piece), ttl, tos)
                head += ipv6.fragment_header(proto, ident, at, more)
            kind = ethernet.IPV4 if v4 else ethernet.IPV6
            self._put(Frame([self._ethernet(kind) + head, piece]))

    def _put(self, frame: Frame) -> None:
        if not self.backlog and self._emit(frame):
            return
        if len(self.backlog) < BACKLOG_FRAMES:
            self.backlog.append(frame)
        else:
            self.dropped += 1

    def flush_backlog(self) -> bool:
        """Emit what waits; True if nothing waits any more."""
        backlog, emit = self.backlog, self._emit
        while backlog and emit(backlog[0]):
            backlog.popleft()
        return not backlog

    def send_datagram(self, source: Endpoint, target: Endpoint, data: bytes) -> None:
        """One UDP datagram to the guest."""
        datagram = udp.Datagram(source[1], target[1], data)
        self.send(Packet(UDP, source[0], target[0], datagram))

    def unreachable(self, origin: Origin, number: int, reporter: bytes | None = None) -> None:
        """Tell the guest that what it sent met with errno `number`, by way of ICMP."""
        self.icmp.unreachable(origin, number, reporter)


def _nobody(source: Endpoint, target: Endpoint, data: Part) -> None:
    """Datagrams lead nowhere yet."""
