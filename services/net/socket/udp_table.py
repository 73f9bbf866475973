"""Which UDP socket a datagram is for (RFC 1122, 4.1.3.5; RFC 4113 for the counters)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zlib import crc32

from services.net.socket.names import is_multicast

if TYPE_CHECKING:
    from services.net.ip.snmp import UdpCounters
    from services.net.proto.packet import Packet
    from services.net.socket.datagram import UdpSocket
    from services.net.socket.network import Network

NO_MATCH = -1


class UdpTable:
    """Bound sockets by port."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._by_port: dict[int, list[UdpSocket]] = {}

    def counters(self, address: bytes) -> UdpCounters:
        """Those of the IP version of `address`."""
        stack = self._network.stack
        return stack.udp if len(address) == 4 else stack.udp6

    def add(self, socket: UdpSocket) -> None:
        """It has a port now."""
        assert socket.local is not None
        self._by_port.setdefault(socket.local[1], []).append(socket)

    def remove(self, socket: UdpSocket) -> None:
        """It has none any more."""
        if socket.local is None:
            return
        sockets = self._by_port.get(socket.local[1])
        if sockets and socket in sockets:
            sockets.remove(socket)
            if not sockets:
                del self._by_port[socket.local[1]]

    @staticmethod
    def _score(socket: UdpSocket, packet: Packet, source_port: int) -> int:
        """How specifically a socket asks for this datagram; NO_MATCH: it does not."""
        score, binding, local = 0, socket.binding, socket.local
        if binding is None or local is None:
            return NO_MATCH
        if not binding.versions & (1 if len(packet.dst) == 4 else 2):
            return NO_MATCH
        if any(local[0]):
            if local[0] != packet.dst:
                return NO_MATCH
            score += 4
        if socket.remote is not None:
            if socket.remote != (packet.src, source_port):
                return NO_MATCH
            score += 8
        if socket.ifindex:
            if socket.ifindex != packet.ifindex:
                return NO_MATCH
            score += 2
        return score + (len(packet.dst) == 16 or binding.versions == 1)

    def input(self, packet: Packet) -> None:
        """Deliver a datagram, or say that nobody is there."""
        payload: Any = packet.payload
        source_port, port, data = payload.source_port, payload.target_port, payload.data
        sockets = self._by_port.get(port, ())
        if is_multicast(packet.dst) or self._network.stack.is_broadcast(packet.dst):
            self._spread(sockets, packet, source_port, data)
            return
        best: UdpSocket | None = None
        best_score: int = NO_MATCH
        ties: list[UdpSocket] = []
        for socket in sockets:
            score = self._score(socket, packet, source_port)
            if score > best_score:
                best, best_score, ties = socket, score, [socket]
            elif score == best_score and score != NO_MATCH:
                ties.append(socket)
        if best is None:
            self.counters(packet.dst).NoPorts += 1
            self._network.stack.unreachable(packet)
            return
        if len(ties) > 1:  # SO_REUSEPORT: one flow, one socket; else the youngest, as Linux
            shared = best.binding is not None and best.binding.reuse_port
            flow = crc32(packet.src, source_port)
            best = ties[flow % len(ties)] if shared else ties[-1]
        self.counters(packet.dst).InDatagrams += 1
        best.deliver(packet, data, source_port)

    def _spread(self, sockets: Any, packet: Packet, source_port: int, data: Any) -> None:
        for socket in list(sockets):
            if self._score(socket, packet, source_port) != NO_MATCH and (
                not is_multicast(packet.dst) or self._joined(socket, packet)
            ):
                self.counters(packet.dst).InDatagrams += 1
                socket.deliver(packet, data, source_port)

    @staticmethod
    def _joined(socket: UdpSocket, packet: Packet) -> bool:
        """A member of the group itself, or one who takes those of all (ip(7))."""
        if any(group == packet.dst for group, _ in socket.groups):
            return True
        return len(packet.dst) == 16 or socket.takes_all_groups

    def failed(self, error: Any) -> None:
        """ICMP told of a datagram of ours (`IcmpError`)."""
        transport = bytes(error.data[:4])
        if len(transport) < 4:
            return
        port, remote_port = transport[0] << 8 | transport[1], transport[2] << 8 | transport[3]
        for socket in list(self._by_port.get(port, ())):
            if socket.remote == (error.dst, remote_port):
                if error.mtu:
                    self._network.stack.update_path_mtu(error.dst, error.mtu)
                socket.fail(error.errno, error.fatal)

    def sockets(self) -> list[UdpSocket]:
        """All bound sockets, for /proc/net/udp."""
        return [socket for sockets in self._by_port.values() for socket in sockets]
