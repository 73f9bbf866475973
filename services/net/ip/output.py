"""From a transport's packet to frames.

The way of almost all packets is short: a path, the encoded payload, an IP header, a neighbour that
is fresh, the interface. What is special (groups, segmentation, fragments, neighbours to be asked
for) leaves it at two points.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.net.ip import fragment
from services.net.ip.neighbour import NONE
from services.net.proto import address as kinds
from services.net.proto import ethernet, gso, ipv4, ipv6
from services.net.proto.packet import GSO_TCPV4, GSO_TCPV6, Frame, Packet

if TYPE_CHECKING:
    from services.net.ip.host import Host
    from services.net.ip.loopback import Loopback
    from services.net.ip.neighbour import Neighbour, Neighbours
    from services.net.ip.router import Path, Router
    from services.net.proto.packet import Part

_TCP = 6


class Output:
    """Sends packets."""

    def __init__(
        self, host: Host, router: Router, neighbours: Neighbours, loopback: Loopback
    ) -> None:
        self._host = host
        self._router = router
        self._neighbours = neighbours
        self._loopback = loopback

    def send(self, packet: Packet, path: Path | None = None) -> None:
        """Send a packet, which is the stack's from here on.

        A path of an earlier generation, or none, is found anew. EMSGSIZE: too long for IP, or for
        the path and not to be fragmented. Also what `Router.route` raises. What is lost further
        down (queues full, no such neighbour) is no error here.
        """
        host = self._host
        if path is None or path.generation != host.generation:
            path = self._path_of(packet)
        counters = host.ip if len(packet.dst) == 4 else host.ip6
        counters.OutRequests += 1
        if path.loopback:
            if path.group and not path.interface.is_member(path.destination):
                return
            self._loopback.put(packet, path.interface.index)
            return
        payload = packet.payload
        offload = payload.checksum_at >= 0 and (path.offload or payload.gso_bytes > 0)
        parts = payload.encode(packet.src, packet.dst, offload)
        length = 0
        for part in parts:
            length += len(part)
        if path.group or payload.gso_bytes or length > path.room:
            self._send_special(packet, path, parts, length)
        else:
            self._emit(packet, path, parts, length, offload)

    def _path_of(self, packet: Packet) -> Path:
        """Find the way; it also gives the source address if the packet has none.

        A source that is not ours (raw sockets may forge one) does not help to find it.
        """
        src = packet.src
        known = src if self._host.is_local(src) else None
        path = self._router.route(packet.dst, known, packet.ifindex)
        if kinds.is_unspecified(src):
            packet.src = path.source
        return path

    def _emit(
        self, packet: Packet, path: Path, parts: list[Part], length: int, offload: bool
    ) -> None:
        """Send one whole datagram. `offload`: its checksum is partial."""
        src = packet.src
        if len(src) == 4:
            self._host.ip.OutTransmits += 1
            path.ident = ident = (path.ident + 1) & 0xFFFF
            flags = 0x4000 if packet.dont_fragment else 0
            head = ipv4.header(
                src, packet.dst, packet.proto, length, packet.ttl, packet.tos, ident, flags
            )
        else:
            self._host.ip6.OutTransmits += 1
            head = ipv6.header(src, packet.dst, packet.proto, length, packet.ttl, packet.tos)
        neighbour = path.neighbour
        if neighbour.fresh_until_ns <= self._host.now_ns:
            neighbour = self._wake_neighbour(path)
        parts.insert(0, neighbour.prefix + head)
        if offload:
            start = ethernet.HEADER_BYTES + len(head)
            frame = Frame(parts, start, packet.payload.checksum_at)
            if not path.offload:
                frame = gso.complete(frame)
        else:
            frame = Frame(parts)
        self._transmit(packet, path, neighbour, frame, length + ethernet.HEADER_BYTES + len(head))

    def _wake_neighbour(self, path: Path) -> Neighbour:
        """The neighbour of a path whose neighbour is not known to be fresh."""
        neighbour = path.neighbour
        if neighbour.state == NONE:
            neighbour = self._neighbours.obtain(path.interface, path.next_hop)
            path.neighbour = neighbour
        self._neighbours.use(neighbour)
        return neighbour

    def _transmit(
        self, packet: Packet, path: Path, neighbour: Neighbour, frame: Frame, length: int
    ) -> None:
        """Hand a frame to the interface, or to the neighbour table until its neighbour is known."""
        interface = path.interface
        now_ns = self._host.now_ns
        if neighbour.fresh_until_ns > now_ns:
            neighbour.used_ns = now_ns
            interface.tx_packets += 1
            interface.tx_bytes += length
            interface.transmit(frame)
        else:
            self._neighbours.hold(interface, neighbour, frame, packet)

    # What is special

    def _send_special(self, packet: Packet, path: Path, parts: list[Part], length: int) -> None:
        """To a group; to be segmented; or too long."""
        if path.group:
            if packet.loops:
                self._loop_back(packet, path)
            if packet.ttl == 0:
                return
            self._host.ip_counters(packet.dst).OutMcastPkts += 1
        payload = packet.payload
        size = payload.gso_bytes
        head_bytes = (parts[0][12] >> 4) * 4 if size and packet.proto == _TCP else 0
        if size and length - head_bytes > size:
            self._send_segmented(packet, path, parts, length, head_bytes)
        elif length <= path.room:
            offload = payload.checksum_at >= 0 and (path.offload or size > 0)
            self._emit(packet, path, parts, length, offload)
        else:
            self._send_fragments(packet, path)

    def _loop_back(self, packet: Packet, path: Path) -> None:
        """Members here get what goes to their group, and everyone what is broadcast."""
        dst, interface = packet.dst, path.interface
        if kinds.is_multicast(dst) and not interface.is_member(dst):
            return
        copy = Packet(packet.proto, packet.src, dst, packet.payload, packet.ttl, packet.tos)
        self._loopback.put(copy, interface.index)

    def _send_segmented(
        self, packet: Packet, path: Path, parts: list[Part], length: int, head_bytes: int
    ) -> None:
        """Leave the cutting to the interface, or do it here."""
        is_v4 = len(packet.src) == 4
        if length > (0xFFFF - ipv4.HEADER_BYTES if is_v4 else ipv6.MAX_PAYLOAD_BYTES):
            raise PosixError(errno.EMSGSIZE)
        size = packet.payload.gso_bytes
        if size + head_bytes > path.room:
            raise PosixError(errno.EMSGSIZE)
        count = -(-(length - head_bytes) // size)
        if is_v4:
            self._host.ip.OutTransmits += count
            flags = 0x4000 if packet.dont_fragment else 0
            ident = (path.ident + 1) & 0xFFFF
            path.ident = (path.ident + count) & 0xFFFF
            head = ipv4.header(
                packet.src, packet.dst, _TCP, length, packet.ttl, packet.tos, ident, flags
            )
        else:
            self._host.ip6.OutTransmits += count
            head = ipv6.header(packet.src, packet.dst, _TCP, length, packet.ttl, packet.tos)
        neighbour = self._wake_neighbour(path)
        parts.insert(0, neighbour.prefix + head)
        start = ethernet.HEADER_BYTES + len(head)
        frame = Frame(
            parts,
            start,
            packet.payload.checksum_at,
            GSO_TCPV4 if is_v4 else GSO_TCPV6,
            size,
            start + head_bytes,
        )
        if path.gso:
            self._transmit(packet, path, neighbour, frame, start + length)
        else:
            for piece in gso.split(frame):
                if neighbour.prefix != parts[0][:14]:  # learnt since, by the first piece
                    piece.parts[0] = neighbour.prefix + bytes(piece.parts[0][14:])
                self._transmit(packet, path, neighbour, piece, piece.length_bytes)

    def _send_fragments(self, packet: Packet, path: Path) -> None:
        counters = self._host.ip_counters(packet.dst)
        payload = b"".join(packet.payload.encode(packet.src, packet.dst, offload=False))
        is_v4 = len(packet.src) == 4
        longest = ipv4.MAX_BYTES - ipv4.HEADER_BYTES if is_v4 else ipv6.MAX_PAYLOAD_BYTES
        if packet.dont_fragment or len(payload) > longest:
            counters.FragFails += 1
            raise PosixError(errno.EMSGSIZE)
        if is_v4:
            path.ident = ident = (path.ident + 1) & 0xFFFF
        else:
            ident = int.from_bytes(self._host.random(4), "big")
        neighbour = self._wake_neighbour(path)
        for head, piece in fragment.cut(packet, payload, path.mtu, ident):
            counters.FragCreates += 1
            counters.OutTransmits += 1
            head = neighbour.prefix + head
            self._transmit(packet, path, neighbour, Frame([head, piece]), len(head) + len(piece))
        counters.FragOKs += 1
