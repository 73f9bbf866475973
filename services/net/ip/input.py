"""From frames, and from loopback, to transports.

Nothing here raises for what is in a frame: it is dropped and counted. A frame lies in RAM that its
sender may still change, so it is copied once; what decoders get is a view on that copy, which they
may keep.
"""

from __future__ import annotations

from struct import error as StructError
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.net.ip import fragment
from services.net.ip.icmp import wire_bytes
from services.net.ip.reassembly import Reassembly
from services.net.proto import address as kinds
from services.net.proto import icmp, icmpv6, ipv4, ipv6, udp
from services.net.proto.checksum import ChecksumError
from services.net.proto.ipheader import ParameterProblem
from services.net.proto.packet import Packet, Payload, Raw

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.net.ip.arp import ArpSpeaker
    from services.net.ip.host import Host
    from services.net.ip.icmp import Icmp
    from services.net.ip.interface import Interface
    from services.net.proto.ipheader import IpHeader

    Decoder = Callable[[memoryview, bytes, bytes, bool], Payload]
    RawListener = Callable[[Packet, bytes], bool]

_IPV4, _ARP, _IPV6 = b"\x08\x00", b"\x08\x06", b"\x86\xdd"
_TCP = 6
_MALFORMED = (ValueError, IndexError, StructError)


class Input:
    """Takes frames and packets apart and gives them to protocols."""

    def __init__(self, host: Host, icmp_layer: Icmp, arp: ArpSpeaker) -> None:
        self._host = host
        self._icmp = icmp_layer
        self._arp = arp
        self.fragments = Reassembly(host.timers, self._reassembly_failure, self._reassembly_timeout)
        self.protocols: dict[int, Callable[[Packet], None]] = {}
        self.decoders: dict[int, Decoder] = {}
        self.raw_listeners: list[RawListener] = []
        self.on_malformed: Callable[[int, bool], None] | None = None

    # From the wire

    def frame(self, ifindex: int, frame: memoryview, checked: bool = False) -> None:
        """A frame came. `checked`: its transport checksum is good, or was left to be completed by
        a peer on this host.
        """
        interface = self._host.interfaces.get(ifindex)
        if interface is None or not interface.up:
            return
        data = bytes(frame)
        interface.rx_packets += 1
        interface.rx_bytes += len(data)
        if len(data) < 14:
            interface.rx_errors += 1
            return
        mac = data[:6]
        to_us = mac == interface.mac
        if not to_us:
            if not mac[0] & 1:
                return  # somebody else's, on a shared link
            if mac != kinds.MAC_BROADCAST:
                interface.multicast += 1
        kind = data[12:14]
        datagram = memoryview(data)[14:]
        if kind == _IPV4:
            self._host.ip.InReceives += 1
            self._ipv4(interface, datagram, to_us, checked)
        elif kind == _IPV6:
            self._host.ip6.InReceives += 1
            self._ipv6(interface, datagram, to_us, checked)
        elif kind == _ARP:
            self._arp.input(interface, datagram, to_us=to_us)
        else:
            interface.rx_dropped += 1

    def _ipv4(self, interface: Interface, datagram: memoryview, to_us: bool, checked: bool) -> None:
        host = self._host
        counters = host.ip
        try:
            head = ipv4.decode(datagram)
        except ParameterProblem as problem:
            counters.InHdrErrors += 1
            self._complain(interface, datagram, problem)
            return
        except ValueError:
            counters.InHdrErrors += 1
            return
        dst = head.dst
        if not self._is_sane_v4(head):
            counters.InAddrErrors += 1
            return
        if dst not in host.local:
            if dst[0] & 0xF0 == 0xE0:
                if not interface.is_member(dst):
                    counters.InDiscards += 1
                    return
                counters.InMcastPkts += 1
            elif not host.is_broadcast(dst):
                counters.InAddrErrors += 1  # we do not route
                return
            if head.proto == _TCP:
                counters.InDiscards += 1
                return
        elif not to_us:
            counters.InDiscards += 1  # one host's datagram in a frame to many (RFC 1122 3.3.6)
            return
        if head.more_fragments or head.fragment_at:
            self._fragment(interface, head, datagram)
        else:
            self._deliver(interface, head, datagram, checked)

    def _is_sane_v4(self, head: IpHeader) -> bool:
        """No martians (RFC 1812 5.3.7): addresses that no host has, ours as a source, loopback."""
        src, dst = head.src, head.dst
        host = self._host
        first = src[0]
        if not 0 < first < 224:
            # Who has no address yet may ask everyone (DHCP).
            return src == kinds.ANY_V4 and (dst == kinds.BROADCAST_V4 or dst[0] & 0xF0 == 0xE0)
        if first == 127 or src in host.local or src in host.broadcasts:
            return False
        return dst[0] not in (0, 127)

    def _ipv6(self, interface: Interface, datagram: memoryview, to_us: bool, checked: bool) -> None:
        host = self._host
        counters = host.ip6
        try:
            head = ipv6.decode(datagram)
        except ParameterProblem as problem:
            counters.InHdrErrors += 1
            self._complain(interface, datagram, problem)
            return
        except ValueError:
            counters.InHdrErrors += 1
            return
        dst = head.dst
        if not self._is_sane_v6(head):
            counters.InAddrErrors += 1
            return
        if dst not in host.local:
            if dst[0] != 0xFF:
                counters.InAddrErrors += 1
                return
            if not interface.is_member(dst) or head.proto == _TCP:
                counters.InDiscards += 1
                return
            counters.InMcastPkts += 1
        elif not to_us:
            counters.InDiscards += 1
            return
        if head.more_fragments or head.fragment_at:
            self._fragment(interface, head, datagram)
        else:
            self._deliver(interface, head, datagram, checked)

    def _is_sane_v6(self, head: IpHeader) -> bool:
        """RFC 4291 2.5, 2.7; mapped IPv4 addresses would pass for 127.0.0.1 higher up."""
        src, dst = head.src, head.dst
        if src[0] == 0xFF or src in self._host.local:
            return False
        if src[:8] == bytes(8) and (src == kinds.LOOPBACK_V6 or kinds.is_v4_mapped(src)):
            return False
        if dst[0] == 0xFF:
            return dst[1] & 0x0F > 1  # neither reserved nor of one interface alone
        return dst not in (kinds.LOOPBACK_V6, kinds.ANY_V6) and not kinds.is_v4_mapped(dst)

    def _fragment(self, interface: Interface, head: IpHeader, datagram: memoryview) -> None:
        counters = self._host.ip_counters(head.src)
        counters.ReasmReqds += 1
        if len(datagram) > head.end:
            datagram = memoryview(bytes(datagram[: head.end]))  # padding is not to be kept
        done = self.fragments.add(head, datagram, self._host.now_ns)
        if done is None:
            return
        first_head, first, payload = done
        whole = fragment.joined(first_head, first, payload)
        try:
            if whole is None:
                raise ValueError("too long")
            view = memoryview(whole)
            head = ipv4.decode(view) if len(head.src) == 4 else ipv6.decode(view)
            if head.more_fragments or head.fragment_at:
                raise ValueError("fragments within fragments")
        except ValueError:
            counters.ReasmFails += 1
            return
        counters.ReasmOKs += 1
        self._deliver(interface, head, view, checked=False)

    def _deliver(
        self, interface: Interface, head: IpHeader, datagram: memoryview, checked: bool
    ) -> None:
        """A whole datagram for us: decode what it carries, give it to raw sockets and protocol."""
        src, dst, proto = head.src, head.dst, head.proto
        body = datagram[head.start : head.end]
        taken = self._give_to_raw(interface, head, datagram) if self.raw_listeners else False
        decoder = self.decoders.get(proto)
        handler = self.protocols.get(proto)
        if decoder is None or handler is None or not _fits_family(proto, src):
            self._unknown_protocol(_packet_of(interface, head, Raw(body)), taken)
            return
        try:
            payload = decoder(body, src, dst, checked)
        except _MALFORMED as problem:
            self._malformed(proto, src, isinstance(problem, ChecksumError))
            return
        counters = self._host.ip if len(src) == 4 else self._host.ip6
        counters.InDelivers += 1
        try:
            handler(_packet_of(interface, head, payload))
        except PosixError:
            return  # it wanted to answer, and there was no way

    def _give_to_raw(self, interface: Interface, head: IpHeader, datagram: memoryview) -> bool:
        """A packet of their own, for they may keep it.

        IPv6 extension headers are not shown, as if there were none.
        """
        if len(head.src) == 4:
            data = bytes(datagram[: head.end])
        else:
            length = head.end - head.start
            data = ipv6.header(head.src, head.dst, head.proto, length, head.ttl, head.tos)
            data += datagram[head.start : head.end]
        body = datagram[head.start : head.end]
        return self._offer(_packet_of(interface, head, Raw(body)), data)

    def _offer(self, packet: Packet, data: bytes) -> bool:
        """Each listener gets it, whoever else took it."""
        taken = False
        for listener in self.raw_listeners:
            taken |= bool(listener(packet, data))
        return taken

    # From loopback

    def packet(self, packet: Packet) -> None:
        """A packet that was handed over inside."""
        counters = self._host.ip_counters(packet.dst)
        counters.InReceives += 1
        proto = packet.proto
        payload = packet.payload
        taken = False
        if self.raw_listeners:
            taken = self._offer(packet, wire_bytes(packet))
        handler = self.protocols.get(proto)
        if handler is None or not _fits_family(proto, packet.src):
            self._unknown_protocol(packet, taken)
            return
        if payload.__class__ is Raw and proto in self.decoders:
            try:
                packet.payload = self.decoders[proto](
                    memoryview(payload.encode(packet.src, packet.dst, False)[0]),
                    packet.src,
                    packet.dst,
                    False,
                )
            except _MALFORMED as problem:
                self._malformed(proto, packet.src, isinstance(problem, ChecksumError))
                return
        counters.InDelivers += 1
        try:
            handler(packet)
        except PosixError:
            return  # likewise

    # What is wrong

    def _unknown_protocol(self, packet: Packet, taken: bool) -> None:
        """A raw socket may speak it; else the sender is told."""
        counters = self._host.ip_counters(packet.dst)
        if taken:
            counters.InDelivers += 1
            return
        counters.InUnknownProtos += 1
        self._icmp.protocol_unreachable(packet)

    def _malformed(self, proto: int, src: bytes, bad_checksum: bool) -> None:
        host = self._host
        is_v4 = len(src) == 4
        if proto == udp.PROTO:
            datagrams = host.udp if is_v4 else host.udp6
            datagrams.InErrors += 1
            datagrams.InCsumErrors += bad_checksum
        elif proto in (icmp.PROTO, icmpv6.PROTO):
            messages = host.icmp if is_v4 else host.icmp6
            messages.InMsgs += 1
            messages.InErrors += 1
            messages.InCsumErrors += bad_checksum
        elif self.on_malformed is not None:
            self.on_malformed(proto, bad_checksum)

    def _complain(
        self, interface: Interface, datagram: memoryview, problem: ParameterProblem
    ) -> None:
        """Tell the sender of a bad header, if it is for us and the rest of it makes sense."""
        try:
            if datagram[0] >> 4 == 4:
                head = ipv4.decode_quoted(datagram)
                kind, rest = icmp.PARAMETER_PROBLEM, problem.pointer << 24
                sane = self._is_sane_v4(head)
            else:
                head = ipv6.decode_quoted(datagram)
                kind, rest = icmpv6.PARAMETER_PROBLEM, problem.pointer
                sane = self._is_sane_v6(head)
        except ValueError:
            return
        for_us = head.dst in self._host.local or problem.even_to_group
        if not sane or not for_us or head.fragment_at:
            return
        body = Raw(datagram[head.start : head.end])
        packet = Packet(head.proto, head.src, head.dst, body, ifindex=interface.index)
        self._icmp.error(packet, kind, problem.code, rest, datagram, problem.even_to_group)

    def _reassembly_failure(self, src: bytes) -> None:
        self._host.ip_counters(src).ReasmFails += 1

    def _reassembly_timeout(
        self, src: bytes, head: IpHeader | None, first: memoryview | None
    ) -> None:
        self._host.ip_counters(src).ReasmTimeout += 1
        if head is None or first is None:
            return  # who sent it cannot be told what it was (RFC 1122 3.3.2)
        packet = Packet(head.proto, head.src, head.dst, Raw(first[head.start : head.end]))
        kind = icmp.TIME_EXCEEDED if len(head.src) == 4 else icmpv6.TIME_EXCEEDED
        self._icmp.error(packet, kind, icmp.REASSEMBLY_TIMEOUT, 0, first)


def _packet_of(interface: Interface, head: IpHeader, payload: Payload) -> Packet:
    return Packet(
        head.proto,
        head.src,
        head.dst,
        payload,
        head.ttl,
        head.tos,
        interface.index,
        head.dont_fragment,
    )


def _fits_family(proto: int, src: bytes) -> bool:
    """ICMP is IPv4's and ICMPv6 is IPv6's; all else is for both."""
    return proto != (icmpv6.PROTO if len(src) == 4 else icmp.PROTO)
