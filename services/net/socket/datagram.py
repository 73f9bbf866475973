"""UDP sockets (udp(7), RFC 768), and ping sockets (icmp(7)), which are like them but for the port.

A datagram is charged to its receiver by what Linux's socket buffer for it would take, and dropped
where SO_RCVBUF has no room left for it.
"""

from __future__ import annotations

from errno import (
    EACCES,
    EAGAIN,
    EDESTADDRREQ,
    EINVAL,
    EMSGSIZE,
    ENOPROTOOPT,
    ENOTCONN,
    EOPNOTSUPP,
    EPIPE,
)
from typing import TYPE_CHECKING

from bus.census import kind as charge_kind
from bus.errors import PosixError
from services.net.api import Amounts, Received
from services.net.proto.packet import Packet, Part
from services.net.proto.udp import Datagram
from services.net.socket import abi, names, options, options_ip
from services.net.socket.abi import (
    AF_INET,
    AF_INET6,
    AF_UNSPEC,
    IN,
    IPPROTO_UDP,
    OUT,
    POLLERR,
    SHUT_IN,
    SHUT_OUT,
    SOL_SOCKET,
)
from services.net.socket.base import gather, scatter, shut_bits, total
from services.net.socket.inbox import DATAGRAM, Inbox
from services.net.socket.inet import InetSocket

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.net.api import ControlMessage, Extents
    from services.net.socket.network import Network
    from services.net.socket.ports import Ports

MAX_BYTES = 0xFFFF
MAX_PAYLOAD_BYTES = {4: 65_507, 16: 65_527}
"""By the length of an address: IPv6's limit leaves its header out."""
LOOPS = {
    4: (abi.IPPROTO_IP, abi.IP_MULTICAST_LOOP),
    16: (abi.IPPROTO_IPV6, abi.IPV6_MULTICAST_LOOP),
}
"""What a datagram costs its receiver beside its data."""


class UdpSocket(InetSocket):
    """One UDP socket."""

    __slots__ = ("_corked", "_inbox", "drops")
    heap = charge_kind("net", "UDP socket")

    def __init__(
        self, network: Network, family: int, type_: int, protocol: int, inode: int, uid: int
    ) -> None:
        super().__init__(network, family, type_, protocol, inode, uid)
        self._inbox: Inbox[tuple[Part, Packet, int, int]] = Inbox(DATAGRAM)
        """(data, packet, source port, when: MONOTONIC ns) of what has come."""
        self._corked: bytes = b""
        self.drops = 0

    # Readiness ------------------------------------------------------------------------------

    def ready(self) -> int:
        """As datagram_poll of Linux has it."""
        now = OUT | shut_bits(self.shut)
        if self._inbox:
            now |= IN
        if self.error:
            now |= POLLERR
        return now

    # Names ----------------------------------------------------------------------------------

    def ports(self) -> Ports:
        """UDP's."""
        return self.network.udp_ports

    def take_port(self, address: bytes, port: int) -> None:
        """Bind, and receive from now on."""
        super().take_port(address, port)
        self.network.udp.add(self)

    def connect(self, name: bytes) -> None:
        """connect(2): fix the peer; AF_UNSPEC dissolves it."""
        if names.family_of(name) == AF_UNSPEC:
            self._dissolve()
            return
        if self.family == AF_INET6 and names.family_of(name) == AF_INET:
            address, port, _ = names.decode(name, AF_INET)
        else:
            address, port = self.remote_name(name)
        if names.needs_scope(address) and not (self.scope or self._leave_by(address, ())[0]):
            raise PosixError(EINVAL)
        path = self.network.stack.route(address, self._bound_address(), self.ifindex)
        self._check_destination(address)
        if self.local is None:
            self.take_port(path.source, 0)
        elif names.is_any(self.local[0]):
            self.local = path.source, self.local[1]
        self.network.udp.remove(self)
        self.remote = address, port
        self.network.udp.add(self)

    def _dissolve(self) -> None:
        if self.remote is None:
            return
        self.network.udp.remove(self)
        self.remote = None
        binding = self.binding
        if binding is not None:
            bound = binding.address if binding.address is not None else self.any_address
            self.local = bound, binding.port
        self.network.udp.add(self)

    def _bound_address(self) -> bytes | None:
        if self.local is None or names.is_any(self.local[0]):
            return None
        return None if names.is_multicast(self.local[0]) else self.local[0]

    def _check_destination(self, address: bytes) -> None:
        if self.network.stack.is_broadcast(address) and not self.kept.get(
            (SOL_SOCKET, abi.SO_BROADCAST)
        ):
            raise PosixError(EACCES)

    # Sending --------------------------------------------------------------------------------

    def send(
        self, extents: Extents, flags: int, name: bytes, control: Sequence[ControlMessage]
    ) -> int:
        """sendmsg(2): one datagram."""
        if flags & abi.MSG_OOB:
            raise PosixError(EOPNOTSUPP)
        size = total(extents)
        if size > MAX_BYTES:
            raise PosixError(EMSGSIZE)
        address, port = self._destination(name)
        data = gather(self.network.memory, extents, size) if size else b""
        if flags & abi.MSG_MORE or self.kept.get((IPPROTO_UDP, abi.UDP_CORK)):
            if len(self._corked) + size > MAX_PAYLOAD_BYTES[len(address)]:
                raise PosixError(EMSGSIZE)
            self._corked += data
            return size
        data, self._corked = self._corked + data, b""
        self._transmit(address, port, data, control)
        return size

    def _destination(self, name: bytes) -> tuple[bytes, int]:
        if not name:
            if self.remote is None:
                raise PosixError(EDESTADDRREQ)
            return self.remote
        family = names.family_of(name)
        if family == AF_UNSPEC and self.family == AF_INET:
            name = AF_INET.to_bytes(2, "little") + name[2:]
        elif self.family == AF_INET6:
            if family == AF_UNSPEC:
                return self._destination(b"")
            if family == AF_INET:
                address, port, _ = names.decode(name, AF_INET)
                return address, port
            if family != AF_INET6:
                raise PosixError(EINVAL)
        address, port = self.remote_name(name)
        if not port:
            raise PosixError(EINVAL)
        return address, port

    def _transmit(
        self, address: bytes, port: int, data: bytes, control: Sequence[ControlMessage]
    ) -> None:
        ifindex, source = self._leave_by(address, control)
        path = self.network.stack.route(address, source, ifindex)
        self._check_destination(address)
        if len(data) > MAX_PAYLOAD_BYTES[len(address)]:
            raise PosixError(EMSGSIZE)
        self.raise_error()
        if self.shut & SHUT_OUT:
            raise PosixError(EPIPE)
        if self.local is None:
            self.take_port(self.any_address, 0)
        assert self.local is not None
        segment = self.kept.get((IPPROTO_UDP, abi.UDP_SEGMENT), 0)
        for level, kind, body in control:
            if (level, kind) == (IPPROTO_UDP, abi.UDP_SEGMENT) and len(body) >= 2:
                segment = int.from_bytes(body[:2], "little")
        step = segment or len(data) or 1
        for start in range(0, len(data) or 1, step):
            payload = Datagram(self.local[1], port, data[start : start + step])
            self._launch(Packet(IPPROTO_UDP, path.source, address, payload, ifindex=ifindex), path)

    def _launch(self, packet: Packet, path: object) -> None:
        packet.ttl, packet.tos = self._ttl_for(packet.dst), self.service_class
        discover = self.kept.get((abi.IPPROTO_IP, abi.IP_MTU_DISCOVER), 1)
        packet.dont_fragment = discover in (2, 3)
        packet.loops = bool(self.kept.get(LOOPS[len(packet.dst)], 1))
        self.network.udp.counters(packet.dst).OutDatagrams += 1
        self.network.stack.output(packet, path)  # type: ignore[arg-type]

    def _ttl_for(self, address: bytes) -> int:
        if not names.is_multicast(address):
            return self.hops
        if len(address) == 4:
            return self.kept.get((abi.IPPROTO_IP, abi.IP_MULTICAST_TTL), 1)
        return max(self.kept.get((abi.IPPROTO_IPV6, abi.IPV6_MULTICAST_HOPS), 1), 1)

    def _leave_by(
        self, address: bytes, control: Sequence[ControlMessage]
    ) -> tuple[int, bytes | None]:
        """(interface, source address) as bound, or as IP_PKTINFO says."""
        ifindex, source = self.ifindex, self._bound_address()
        if names.is_multicast(address):
            ifindex = ifindex or self.network.multicast_interface(self, address)
        for level, kind, body in control:
            if (level, kind) == (abi.IPPROTO_IP, abi.IP_PKTINFO) and len(body) >= 12:
                ifindex = int.from_bytes(body[:4], "little") or ifindex
                source = body[4:8] if any(body[4:8]) else source
            elif (level, kind) == (abi.IPPROTO_IPV6, abi.IPV6_PKTINFO) and len(body) >= 20:
                ifindex = int.from_bytes(body[16:20], "little") or ifindex
                source = body[:16] if any(body[:16]) else source
        if source is not None and len(source) != len(address):
            source = None
        return ifindex, source

    # Receiving ------------------------------------------------------------------------------

    def deliver(self, packet: Packet, data: bytes | memoryview, source_port: int) -> None:
        """A datagram for this socket has come."""
        item = (data, packet, source_port, self.network.stack.now_ns)
        if self.shut & SHUT_IN or not self._inbox.put(item, self.receive_limit_bytes):
            self.drops += 1
            counters = self.network.udp.counters(packet.dst)
            counters.RcvbufErrors += 1
            counters.InErrors += 1
            return
        self.tell(IN)

    def receive(self, extents: Extents, flags: int) -> Received:
        """recvmsg(2): one datagram; what has no room is lost."""
        if flags & abi.MSG_ERRQUEUE:
            raise PosixError(EAGAIN)
        self.raise_error()
        if not self._inbox:
            if self.shut & SHUT_IN and self.remote is not None:
                return Received(0)
            raise PosixError(EAGAIN)
        data, packet, source_port, arrived_ns = self._inbox.first()
        if not flags & abi.MSG_PEEK:
            self._inbox.drop_first()
            if not self._inbox:
                self.refresh()
        count = scatter(self.network.memory, extents, data)
        size, shown = len(data), 0
        if count < size:
            shown |= abi.MSG_TRUNC
        extras = options_ip.received_extras(self, packet, arrived_ns) if self.kept else ()
        name = self.shown(packet.src, source_port)
        return Received(size if flags & abi.MSG_TRUNC else count, name, extras, shown)

    def fail(self, error: int, hard: bool) -> None:
        """ICMP told of something that was sent: a connected socket learns of it (udp(7))."""
        if self.remote is not None and (hard or self._wants_errors):
            self.error = error
            self.tell(POLLERR)

    @property
    def _wants_errors(self) -> bool:
        return bool(self.kept.get((abi.IPPROTO_IP, abi.IP_RECVERR)))

    # The rest -------------------------------------------------------------------------------

    def shutdown(self, how: int) -> None:
        """shutdown(2): ENOTCONN where it is not connected, and yet it is shut."""
        self.shut |= how
        self.tell(self.ready())
        if self.remote is None:
            raise PosixError(ENOTCONN)

    def amounts(self) -> Amounts:
        """The next datagram's size."""
        return Amounts(self._inbox.next_bytes(), 0, 0, False)

    def held(self) -> tuple[int, int]:
        """Charged bytes that wait to be received; nothing waits to be sent."""
        return self._inbox.charged_bytes, 0

    @property
    def queued_bytes(self) -> int:
        """Charged bytes that wait to be received (/proc/net/udp)."""
        return self._inbox.charged_bytes

    def get_own(self, level: int, option: int, given: bytes) -> bytes:
        """IPPROTO_UDP."""
        if level != IPPROTO_UDP:
            return super().get_own(level, option, given)
        if option not in (abi.UDP_CORK, abi.UDP_SEGMENT, abi.UDP_GRO):
            raise PosixError(ENOPROTOOPT)
        return options.packed(self.kept.get((level, option), 0))

    def put_own(self, level: int, option: int, value: bytes, privileged: bool) -> None:
        """IPPROTO_UDP; UDP_GRO allows datagrams to be merged, which never happens."""
        if level != IPPROTO_UDP:
            raise PosixError(ENOPROTOOPT)
        number = options.integer(value)
        if option not in (abi.UDP_CORK, abi.UDP_SEGMENT, abi.UDP_GRO):
            raise PosixError(ENOPROTOOPT)
        if option != abi.UDP_SEGMENT:
            number = int(bool(number))
        if option == abi.UDP_SEGMENT and not 0 <= number <= 0xFFFF:
            raise PosixError(EINVAL)
        self.kept[level, option] = number
        if option == abi.UDP_CORK and not number and self._corked and self.remote is not None:
            data, self._corked = self._corked, b""
            self._transmit(*self.remote, data, ())

    def close(self, wait: bool) -> bool:
        """Nothing lingers."""
        self.closed = True
        self.network.udp.remove(self)
        self.release_port()
        self.leave_groups()
        self._inbox.clear()
        return False
