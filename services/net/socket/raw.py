"""Raw sockets (raw(7)) and ping sockets (icmp(7)): datagrams of IP itself."""

from __future__ import annotations

from errno import (
    EACCES,
    EADDRNOTAVAIL,
    EAGAIN,
    EDESTADDRREQ,
    EINVAL,
    EMSGSIZE,
    ENOPROTOOPT,
    ENOTCONN,
    EOPNOTSUPP,
)
from typing import TYPE_CHECKING

from bus.census import kind
from bus.errors import PosixError
from services.net.api import Amounts, Received
from services.net.proto.checksum import checksum
from services.net.proto.packet import Packet, Raw
from services.net.socket import abi, names, options, options_ip
from services.net.socket.abi import (
    AF_INET,
    AF_UNSPEC,
    IN,
    IPPROTO_ICMP,
    IPPROTO_ICMPV6,
    OUT,
    POLLERR,
    RAW,
    SHUT_IN,
    SOL_SOCKET,
)
from services.net.socket.base import gather, scatter, shut_bits, total
from services.net.socket.inbox import DATAGRAM, Inbox
from services.net.socket.inet import InetSocket

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.net.api import ControlMessage, Extents
    from services.net.ip.router import Path
    from services.net.socket.network import Network
    from services.net.socket.ports import Ports

MAX_BYTES = 65_535
ICMP_ECHO, ICMP_ECHO_REPLY, ICMPV6_ECHO, ICMPV6_ECHO_REPLY = 8, 0, 128, 129
ICMP_HEADER_BYTES, IP_HEADER_BYTES = 8, 20


class RawSocket(InetSocket):
    """SOCK_RAW: gets every datagram of its protocol, IPv4's with the IP header."""

    __slots__ = ("_checksum_at", "_filter", "_inbox")
    heap = kind("net", "raw socket")

    def __init__(
        self, network: Network, family: int, type_: int, protocol: int, inode: int, uid: int
    ) -> None:
        super().__init__(network, family, type_, protocol, inode, uid)
        self._inbox: Inbox[tuple[bytes, Packet, int, int]] = Inbox(DATAGRAM)
        self._checksum_at = 2 if protocol == IPPROTO_ICMPV6 else -1
        """IPV6_CHECKSUM."""
        self._filter = 0
        """ICMP_FILTER, ICMPV6_FILTER: types that are not wanted, as bits."""
        if type_ == RAW:
            self.kept[SOL_SOCKET, abi.SO_REUSEADDR] = 1
        if type_ == RAW and protocol == abi.IPPROTO_RAW and family == AF_INET:
            self.kept[abi.IPPROTO_IP, abi.IP_HDRINCL] = 1
        network.raws[self] = self.hear
        network.stack.raw_listeners.append(network.raws[self])

    def ready(self) -> int:
        """POLL bits."""
        now = OUT | (IN if self._inbox else 0) | (POLLERR if self.error else 0)
        return now | shut_bits(self.shut)

    # Names ----------------------------------------------------------------------------------

    def bind(self, name: bytes, privileged: bool) -> None:
        """bind(2): an address only, and of IPv6 a real one."""
        address, _ = self.local_name(name)
        if len(address) == 4 and self.family != AF_INET:
            raise PosixError(EADDRNOTAVAIL)
        self.local = address, self.protocol

    def connect(self, name: bytes) -> None:
        """connect(2)."""
        if names.family_of(name) == AF_UNSPEC:
            self.remote = None
            return
        address, port = self.remote_name(name)
        path = self.network.stack.route(address, self._source(), self.ifindex)
        self.remote = address, port
        if self.local is None:
            self.local = path.source, self.protocol

    def _source(self) -> bytes | None:
        return self.local[0] if self.local and any(self.local[0]) else None

    # Sending --------------------------------------------------------------------------------

    def send(
        self, extents: Extents, flags: int, name: bytes, control: Sequence[ControlMessage]
    ) -> int:
        """sendmsg(2)."""
        if flags & abi.MSG_OOB:
            raise PosixError(EOPNOTSUPP)
        size = total(extents)
        if size > MAX_BYTES:
            raise PosixError(EMSGSIZE)
        if name:
            address = self.remote_name(name)[0]
        elif self.remote is not None:
            address = self.remote[0]
        else:
            raise PosixError(EDESTADDRREQ)
        if self.network.stack.is_broadcast(address) and not self.kept.get(
            (SOL_SOCKET, abi.SO_BROADCAST)
        ):
            raise PosixError(EACCES)
        path = self.network.stack.route(address, self._source(), self.ifindex)
        data = gather(self.network.memory, extents, size)
        if self.kept.get((abi.IPPROTO_IP, abi.IP_HDRINCL)):
            packet = _with_header(data, path)
        else:
            data = self._prepare(data, path.source, address)
            packet = Packet(self.protocol, path.source, address, Raw(data), self.hops)
            packet.tos = self.service_class
        self.network.stack.output(packet, path)
        return size

    def _prepare(self, data: bytes, source: bytes, target: bytes) -> bytes:
        """Fill in the checksum, where that is the kernel's business (RFC 3542, 3.1)."""
        at = self._checksum_at
        if at < 0 or self.family == AF_INET:
            return data
        if len(data) < at + 2:
            raise PosixError(EINVAL)
        pseudo = source + target + len(data).to_bytes(4, "big") + bytes((0, 0, 0, self.protocol))
        bare = data[:at] + bytes(2) + data[at + 2 :]
        return data[:at] + checksum(pseudo + bare).to_bytes(2, "big") + data[at + 2 :]

    # Receiving ------------------------------------------------------------------------------

    def wants(self, packet: Packet, data: bytes) -> bool:
        """Whether a datagram is for this socket; `data` has no IP header."""
        if packet.proto != self.protocol or (len(packet.dst) == 4) != (self.family == AF_INET):
            return False
        if self.local is not None and any(self.local[0]) and self.local[0] != packet.dst:
            return False
        if self.remote is not None and self.remote[0] != packet.src:
            return False
        if self.ifindex and self.ifindex != packet.ifindex:
            return False
        if not self._filter or not data or (self.family == AF_INET and data[0] > 31):
            return True
        return not self._filter >> data[0] & 1

    def hear(self, packet: Packet, whole: bytes) -> bool:
        """A packet has come, IP header first; whether it was for this socket."""
        header_bytes = (whole[0] & 15) * 4 if len(packet.dst) == 4 else 40
        return self.offer(packet, whole[:header_bytes], whole[header_bytes:])

    def offer(self, packet: Packet, header: bytes, data: bytes) -> bool:
        """Take a datagram if it is wanted."""
        if not self.wants(packet, data):
            return False
        self.queue(packet, header + data if self.family == AF_INET else data, 0)
        return True

    def queue(self, packet: Packet, data: bytes, port: int) -> None:
        """Keep it until it is received, if there is room."""
        item = (data, packet, port, self.network.stack.now_ns)
        if self._inbox.put(item, self.receive_limit_bytes):
            self.tell(IN)

    def receive(self, extents: Extents, flags: int) -> Received:
        """recvmsg(2)."""
        if flags & abi.MSG_ERRQUEUE:
            raise PosixError(EAGAIN)
        if flags & abi.MSG_OOB:
            raise PosixError(EOPNOTSUPP)
        self.raise_error()
        if not self._inbox:
            if self.shut & SHUT_IN:
                return Received(0)
            raise PosixError(EAGAIN)
        data, packet, port, arrived_ns = self._inbox.first()
        if not flags & abi.MSG_PEEK:
            self._inbox.drop_first()
            self.refresh()
        count = scatter(self.network.memory, extents, data)
        shown = abi.MSG_TRUNC if count < len(data) else 0
        extras = options_ip.received_extras(self, packet, arrived_ns) if self.kept else ()
        name = self.shown(packet.src, port)
        return Received(len(data) if flags & abi.MSG_TRUNC else count, name, extras, shown)

    # The rest -------------------------------------------------------------------------------

    def shutdown(self, how: int) -> None:
        """shutdown(2): ENOTCONN where it is not connected, and yet it is shut."""
        self.shut |= how
        self.tell(self.ready())
        if self.remote is None:
            raise PosixError(ENOTCONN)

    def held(self) -> tuple[int, int]:
        """Charged bytes that wait to be received; nothing waits to be sent."""
        return self._inbox.charged_bytes, 0

    def amounts(self) -> Amounts:
        """The next datagram's size."""
        return Amounts(self._inbox.next_bytes(), 0, 0, False)

    @property
    def queued_bytes(self) -> int:
        """Charged bytes that wait to be received (/proc/net/raw)."""
        return self._inbox.charged_bytes

    def get_option(self, level: int, option: int, given: bytes) -> bytes:
        """getsockopt(2): a raw IPv6 socket has two options more."""
        if self._of_raw6(level, option):
            return options.packed(self._checksum_at if option == abi.IPV6_CHECKSUM else 0)
        return super().get_option(level, option, given)

    def set_option(self, level: int, option: int, value: bytes, privileged: bool) -> None:
        """setsockopt(2)."""
        if self._of_raw6(level, option):
            self._put_raw6(level, option, options.integer(value))
        else:
            super().set_option(level, option, value, privileged)

    def _of_raw6(self, level: int, option: int) -> bool:
        return (
            self.family != AF_INET
            and level in (abi.SOL_RAW, abi.IPPROTO_IPV6)
            and option in (abi.IPV6_CHECKSUM, abi.IPV6_HDRINCL)
        )

    def _put_raw6(self, level: int, option: int, number: int) -> None:
        """Where the checksum lies, an even offset, or none; whole headers are not taken."""
        if option == abi.IPV6_HDRINCL:
            if number:
                raise PosixError(ENOPROTOOPT)
        elif number > 0 and number & 1:
            raise PosixError(EINVAL)
        elif self.protocol == IPPROTO_ICMPV6 and level == abi.IPPROTO_IPV6:
            raise PosixError(EINVAL)  # that is fixed
        else:
            self._checksum_at = max(number, -1)

    def _filter_bytes(self, level: int, option: int) -> int:
        """The size of this socket's ICMP filter; EOPNOTSUPP, ENOPROTOOPT where it has none."""
        own, size = (abi.SOL_RAW, 4) if self.family == AF_INET else (IPPROTO_ICMPV6, 32)
        if level != own or option != abi.ICMP_FILTER:
            known = level in (abi.SOL_RAW, own) or self.family != AF_INET
            raise PosixError(ENOPROTOOPT if known else EOPNOTSUPP)
        if self.protocol not in (IPPROTO_ICMP, IPPROTO_ICMPV6):
            raise PosixError(EOPNOTSUPP)
        return size

    def get_own(self, level: int, option: int, given: bytes) -> bytes:
        """ICMP_FILTER, ICMPV6_FILTER."""
        return self._filter.to_bytes(self._filter_bytes(level, option), "little")

    def put_own(self, level: int, option: int, value: bytes, privileged: bool) -> None:
        """ICMP_FILTER, ICMPV6_FILTER: bits of types that are not wanted (raw(7), RFC 3542).

        As many of the first bytes are changed as are given.
        """
        if self.family == AF_INET and level != abi.SOL_RAW:
            raise PosixError(ENOPROTOOPT)
        if self.family != AF_INET and level == abi.SOL_RAW:
            options.integer(value)
        size = self._filter_bytes(level, option)
        new = value[:size]
        kept = self._filter.to_bytes(size, "little")[len(new) :]
        self._filter = int.from_bytes(new + kept, "little")

    def close(self, wait: bool) -> bool:
        """Nothing lingers."""
        self.closed = True
        self.network.stack.raw_listeners.remove(self.network.raws.pop(self))
        self.leave_groups()
        self._inbox.clear()
        return False


def _with_header(data: bytes, path: Path) -> Packet:
    """A packet whose IPv4 header the program made (raw(7)); its options and identifier are lost.

    EINVAL: it is none. EMSGSIZE: longer than the path takes, as it is not to be fragmented.
    """
    if len(data) < IP_HEADER_BYTES or not IP_HEADER_BYTES <= (data[0] & 15) * 4 <= len(data):
        raise PosixError(EINVAL)
    if len(data) > path.mtu:
        raise PosixError(EMSGSIZE)
    source = data[12:16] if any(data[12:16]) else path.source
    packet = Packet(data[9], source, data[16:20], Raw(data[(data[0] & 15) * 4 :]), data[8])
    packet.tos = data[1]
    packet.dont_fragment = bool(data[6] & 0x40)
    return packet


class PingSocket(RawSocket):
    """SOCK_DGRAM of ICMP: echo requests with an identifier that is the socket's port."""

    __slots__ = ()

    def ports(self) -> Ports:
        """Identifiers."""
        return self.network.ping_ports

    def bind(self, name: bytes, privileged: bool) -> None:
        """bind(2): the port is the identifier."""
        if self.binding is not None:
            raise PosixError(EINVAL)
        address, port = self.local_name(name)
        self.take_port(address, port)

    def connect(self, name: bytes) -> None:
        """connect(2)."""
        super().connect(name)
        self._identify()

    def _identify(self) -> int:
        if self.binding is None:
            address = self.local[0] if self.local else self.any_address
            self.take_port(address, 0)
        assert self.binding is not None
        return self.binding.port

    def _prepare(self, data: bytes, source: bytes, target: bytes) -> bytes:
        """Only echo requests; identifier and checksum are filled in."""
        echo = ICMP_ECHO if self.family == AF_INET else ICMPV6_ECHO
        if len(data) < ICMP_HEADER_BYTES or data[0] != echo or data[1]:
            raise PosixError(EINVAL)
        data = data[:2] + bytes(2) + self._identify().to_bytes(2, "big") + data[6:]
        if self.family != AF_INET:
            return super()._prepare(data, source, target)
        return data[:2] + checksum(data).to_bytes(2, "big") + data[4:]

    def offer(self, packet: Packet, header: bytes, data: bytes) -> bool:
        """Echo replies with this socket's identifier."""
        reply = ICMP_ECHO_REPLY if self.family == AF_INET else ICMPV6_ECHO_REPLY
        if (
            self.binding is not None
            and len(data) >= ICMP_HEADER_BYTES
            and data[0] == reply
            and packet.proto == self.protocol
            and (len(packet.dst) == 4) == (self.family == AF_INET)
            and int.from_bytes(data[4:6], "big") == self.binding.port
        ):
            self.queue(packet, data, 0)
            return True
        return False

    def close(self, wait: bool) -> bool:
        """Give the identifier back too."""
        self.release_port()
        return super().close(wait)
