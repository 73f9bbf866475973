"""The network as a whole: the IP stack, TCP, UDP, and all sockets. Pure: time is set from outside.

    network.now_ns = now            # before anything else
    network.open(...); socket.write(...); network.input(...)
    network.settle()                # after it: deliver what loopback holds

`settle` is where loopback's packets arrive, so no protocol is ever entered from within itself.
"""

from __future__ import annotations

from errno import (
    EADDRNOTAVAIL,
    EAFNOSUPPORT,
    EINVAL,
    EMSGSIZE,
    ENFILE,
    ENODEV,
    EPERM,
    EPROTONOSUPPORT,
    ESOCKTNOSUPPORT,
)
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.net.api import BOARD_SLOTS
from services.net.ip.stack import Stack
from services.net.netlink.abi import AF_NETLINK
from services.net.netlink.hub import Hub
from services.net.proto import udp
from services.net.socket import abi, options_group
from services.net.socket.abi import (
    AF_INET,
    AF_INET6,
    DATAGRAM,
    IPPROTO_ICMP,
    IPPROTO_ICMPV6,
    IPPROTO_TCP,
    IPPROTO_UDP,
    RAW,
    STREAM,
)
from services.net.socket.datagram import UdpSocket
from services.net.socket.ports import Policy, Ports
from services.net.socket.raw import PingSocket, RawSocket
from services.net.socket.stream import TcpSocket
from services.net.socket.udp_table import UdpTable
from services.net.tcp import segment
from services.net.tcp.limits import PathInfo, Settings
from services.net.tcp.table import Tcp

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.net.api import Board
    from services.net.proto.icmp import IcmpError
    from services.net.proto.packet import Packet
    from services.net.socket.base import NetSocket
    from services.net.socket.inet import InetSocket
    from services.net.tcp.connection import Connection

MAX_ROUNDS = 256
"""Batches of loopback packets that one `settle` delivers; the rest waits for the next timer."""


class Network:
    """See the module's docstring."""

    def __init__(self, board: Board, memory: memoryview, random: Callable[[int], bytes]) -> None:
        self.board = board
        self.memory = memory
        self.stack = stack = Stack(random=random)
        self.tcp = Tcp(output=self._send_segment, path=self._path_for, random=random)
        self.port_policy = policy = Policy()
        self.tcp_ports, self.udp_ports, self.ping_ports = (Ports(random, policy) for _ in range(3))
        self.tcp_defaults = Settings()
        """What a TCP socket starts with."""
        self.v6_only = False
        """net.ipv6.bindv6only."""
        self.udp = UdpTable(self)
        self.raws: dict[RawSocket, Callable[[Packet, bytes], bool]] = {}
        """Raw sockets, and how each hears of packets."""
        self.sockets: dict[int, NetSocket] = {}
        self.max_backlog = 4096
        """net.core.somaxconn."""
        self.realtime_offset_ns = 0
        """REALTIME less MONOTONIC, for SO_TIMESTAMP; the shell sets it."""
        self.netlink = Hub(self)
        self.watching = False
        """Somebody wants to hear of changes (`Hub.look`)."""
        self._free_slots = list(range(BOARD_SLOTS - 1, -1, -1))
        self._last_handle = 0
        self.more_to_deliver = False
        self._outgrown: list[Connection] = []
        """Connections whose segments are longer than their paths allow by now."""
        stack.protocols[IPPROTO_TCP] = self.tcp.input
        stack.protocols[IPPROTO_UDP] = self.udp.input
        stack.decoders[IPPROTO_TCP] = segment.decode
        stack.decoders[IPPROTO_UDP] = udp.decode
        stack.on_icmp_error = self._icmp_error
        stack.on_malformed = self._malformed

    # Time -----------------------------------------------------------------------------------

    @property
    def now_ns(self) -> int:
        """MONOTONIC, as the shell last said."""
        return self.stack.now_ns

    @now_ns.setter
    def now_ns(self, now_ns: int) -> None:
        self.stack.now_ns = self.tcp.now_ns = now_ns

    @property
    def next_deadline_ns(self) -> int | None:
        """When `run_timers` wants to be called."""
        if self.more_to_deliver:
            return self.stack.now_ns
        first, second = self.tcp.next_deadline_ns, self.stack.next_deadline_ns
        if first is None or second is None:
            return second if first is None else first
        return min(first, second)

    @property
    def free_slots(self) -> list[int]:
        """Places on the board that no socket has."""
        return self._free_slots

    def run_timers(self) -> None:
        """Do what is due."""
        self.tcp.run_timers()
        self.stack.run_timers()
        self.settle()

    def settle(self) -> None:
        """Deliver what loopback holds, and what comes of that."""
        while self._outgrown:  # they are being sent from where this is found out
            self.tcp.outgrown(self._outgrown.pop())
        pump = self.stack.pump
        for _ in range(MAX_ROUNDS):
            if not pump():
                self.more_to_deliver = False
                break
        else:
            self.more_to_deliver = True
        if self.watching:
            self.netlink.look()

    # Between the protocols ------------------------------------------------------------------

    def _send_segment(self, packet: Packet, connection: Connection | None) -> None:
        """TCP's way out; what cannot be routed is lost, as on a wire."""
        try:
            self.stack.output(packet)
        except PosixError as error:
            if connection is not None:
                connection.soft_error = error.errno
                if error.errno == EMSGSIZE:
                    self._outgrown.append(connection)

    def _path_for(self, dst: bytes, src: bytes) -> PathInfo:
        path = self.stack.route(dst, src)
        return PathInfo(path.mtu, path.loopback, path.gso)

    def _icmp_error(self, error: IcmpError) -> None:
        if error.proto == IPPROTO_TCP:
            self.tcp.icmp_error(error)
        elif error.proto == IPPROTO_UDP:
            self.udp.failed(error)

    def _malformed(self, protocol: int, bad_checksum: bool) -> None:
        """A transport's decoder refused what had come; UDP's are counted by the stack."""
        if protocol == IPPROTO_TCP:
            self.tcp.counters["InErrs"] += 1
            self.tcp.counters["InCsumErrors"] += bad_checksum

    # Sockets --------------------------------------------------------------------------------

    def open(
        self,
        family: int,
        type_: int,
        protocol: int,
        inode: int,
        uid: int,
        privileged: bool,
        pid: int = 0,
    ) -> NetSocket:
        """socket(2): EAFNOSUPPORT, EPROTONOSUPPORT, ESOCKTNOSUPPORT, EPERM, ENFILE."""
        if family == AF_NETLINK:
            return self.admit(self.netlink.open(type_, protocol, inode, uid, pid, privileged))
        if family not in (AF_INET, AF_INET6):
            raise PosixError(EAFNOSUPPORT)
        if not 0 <= protocol < 256:
            raise PosixError(EINVAL)
        icmp = IPPROTO_ICMP if family == AF_INET else IPPROTO_ICMPV6
        kind: type[InetSocket]
        if type_ == STREAM:
            kind, own = TcpSocket, (IPPROTO_TCP,)
        elif type_ == DATAGRAM:
            kind, own = (PingSocket, (icmp,)) if protocol == icmp else (UdpSocket, (IPPROTO_UDP,))
        elif type_ == RAW:
            return self.admit(self._open_raw(family, protocol, inode, uid, privileged))
        else:
            raise PosixError(ESOCKTNOSUPPORT)
        if protocol not in (0, *own):
            raise PosixError(EPROTONOSUPPORT)
        return self.admit(kind(self, family, type_, own[0], inode, uid))

    def _open_raw(
        self, family: int, protocol: int, inode: int, uid: int, privileged: bool
    ) -> RawSocket:
        if not protocol:
            raise PosixError(EPROTONOSUPPORT)
        if not privileged:
            raise PosixError(EPERM)
        return RawSocket(self, family, RAW, protocol, inode, uid)

    def admit(self, socket: NetSocket) -> NetSocket:
        """Give a socket its handle and its slot on the board; ENFILE."""
        if not self._free_slots:
            socket.close(False)
            raise PosixError(ENFILE)
        self._last_handle += 1
        socket.handle, socket.slot = self._last_handle, self._free_slots.pop()
        self.sockets[socket.handle] = socket
        socket.charge_options()
        self.board.ready[socket.slot] = socket.ready()
        return socket

    def close(self, socket: NetSocket, wait: bool) -> bool:
        """The last descriptor is gone. True: it lingers; it keeps its slot until closed again."""
        if socket.close(wait):
            return True
        if self.sockets.pop(socket.handle, None) is not None:
            self.board.ready[socket.slot] = 0
            self._free_slots.append(socket.slot)
            socket.slot = -1
        return False

    # Interfaces -----------------------------------------------------------------------------

    def interface_name(self, index: int) -> bytes:
        """By index; b"" where there is none."""
        interface = self.stack.interfaces.get(index)
        return interface.name.encode() if interface is not None else b""

    def interface_index(self, name: bytes) -> int:
        """By name; 0 where there is none."""
        for index, interface in self.stack.interfaces.items():
            if interface.name.encode() == name:
                return index
        return 0

    def group_interface(self, group: bytes, where: bytes, index: int) -> int:
        """The interface on which a group is joined: by index, address or route; ENODEV."""
        if index:
            if index not in self.stack.interfaces:
                raise PosixError(ENODEV)
            return index
        if where and any(where):
            for number, interface in self.stack.interfaces.items():
                if any(own.address == where for own in interface.addresses):
                    return number
            raise PosixError(ENODEV)
        try:
            return self.stack.route(group).interface.index
        except PosixError:
            raise PosixError(ENODEV) from None

    def multicast_interface(self, socket: InetSocket, address: bytes) -> int:
        """IP_MULTICAST_IF or IPV6_MULTICAST_IF as an index; 0 where it was not set."""
        if len(address) == 16:
            return socket.kept.get((abi.IPPROTO_IPV6, abi.IPV6_MULTICAST_IF), 0)
        index = socket.kept.get(options_group.OUT_INDEX, 0)
        word = socket.kept.get((abi.IPPROTO_IP, abi.IP_MULTICAST_IF), 0)
        if index or not word:
            return index
        try:
            return self.group_interface(address, word.to_bytes(4, "big"), 0)
        except PosixError:
            raise PosixError(EADDRNOTAVAIL) from None

    def join(self, key: tuple[bytes, int]) -> None:
        """One more member of a group on an interface."""
        self.stack.join(key[1], key[0])

    def leave(self, key: tuple[bytes, int]) -> None:
        """One member less."""
        self.stack.leave(key[1], key[0])
