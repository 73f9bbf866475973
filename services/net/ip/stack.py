"""The IP stack as its shell and the transports see it.

    stack = Stack(random)
    eth = stack.add_interface("eth0", mac, 1500, transmit, offload=True, gso=True)
    stack.add_address(eth.index, address, 24); stack.set_up(eth.index, True)
    stack.decoders[17] = udp.decode; stack.protocols[17] = on_datagram
    stack.now_ns = ...; stack.input(eth.index, frame, checked=False)
    while stack.pump(): ...
    stack.run_timers() when `next_deadline_ns` has come

The shell sets `now_ns` before each call. Whatever is sent is sent within the call, through the
interface's `transmit`, or waits in the loopback queue for `pump`, or for a neighbour.
Rooms: `host` (state), `router` (paths), `neighbour` with `arp` and `discovery`, `routers`,
`output`, `input` with `reassembly`, `icmp` with `limits`, `loopback`, `timers`, `snmp`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.net.ip.arp import ArpSpeaker
from services.net.ip.discovery import Discovery
from services.net.ip.host import Host
from services.net.ip.icmp import Icmp
from services.net.ip.input import Input
from services.net.ip.loopback import Loopback
from services.net.ip.neighbour import Neighbour, Neighbours
from services.net.ip.output import Output
from services.net.ip.router import Path, Router
from services.net.ip.routers import Routers
from services.net.proto import icmp, icmpv6
from services.net.proto.icmp import IcmpError

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.net.ip.interface import Interface, InterfaceAddress
    from services.net.ip.reassembly import Reassembly
    from services.net.proto.packet import Frame, Packet


class Stack(Host):
    """One host's IP."""

    def __init__(self, random: Callable[[int], bytes]) -> None:
        super().__init__(random)
        self.router = Router(self)
        self.neighbours = Neighbours(self, self._solicit, self._no_neighbour)
        self._arp = ArpSpeaker(self, self.router, self.neighbours)
        self._discovery = Discovery(self, self.neighbours, self._send)
        self._icmp = Icmp(self, self._send, self._discovery)
        self._input = Input(self, self._icmp, self._arp)
        self._loopback = Loopback(self.loopback, self._input.packet)
        self._output = Output(self, self.router, self.neighbours, self._loopback)
        self._routers = Routers(self, self._discovery, self.neighbours, self._autoconfigure)
        self._discovery.routers = self._routers

        self.protocols = self._input.protocols
        """By protocol number: who takes packets whose payload has been decoded."""
        self.decoders = self._input.decoders
        """By protocol number: bytes to payload; ValueError is counted and the packet dropped."""
        self.raw_listeners = self._input.raw_listeners
        """Each sees every packet for us (payload `Raw`, or as sent on loopback) and its bytes, IP
        header first; True: a raw socket took it, so that no protocol is unreachable."""
        self.on_icmp_error: Callable[[IcmpError], None] = lambda _: None
        """Told of errors about what we sent; nothing in them is verified."""
        self.protocols[icmp.PROTO] = self._icmp.input4
        self.protocols[icmpv6.PROTO] = self._icmp.input6
        self.decoders[icmp.PROTO] = self.decoders[icmpv6.PROTO] = icmp.decode
        self._icmp.on_error = self._report

        # The data path, without a frame of indirection.
        self.route: Callable[..., Path] = self.router.route
        self.output = self._output.send
        self.input = self._input.frame
        self.pump = self._loopback.pump
        self.unreachable = self._icmp.port_unreachable
        self.update_path_mtu = self.router.update_mtu

    # Configuration that is heard on the wire

    def add_interface(
        self,
        name: str,
        mac: bytes,
        mtu: int,
        transmit: Callable[[Frame], None],
        *,
        offload: bool,
        gso: bool,
    ) -> Interface:
        """An Ethernet interface, down at first. EINVAL: MAC address or MTU. EEXIST: the name.

        `transmit` sends or queues a frame, or drops it; it raises nothing. `offload`: it completes
        checksums; `gso`: it also cuts TCP into segments.
        """
        return self.new_interface(name, mac, mtu, transmit, offload=offload, gso=gso)

    def set_up(self, ifindex: int, up: bool) -> None:
        """Up: addresses are announced and routers asked for. Down: routes and neighbours go."""
        interface = self.interface(ifindex)
        if up == interface.up:
            return
        if up:
            self.bring_up(interface)
            for one in list(interface.addresses):
                self._announce(interface, one.address)
            self._routers.begin(interface)
        else:
            self._routers.end(interface)
            self.neighbours.flush(interface)
            self.take_down(interface)

    def add_address(self, ifindex: int, address: bytes, prefix_bits: int) -> InterfaceAddress:
        """Give an interface an address, with a route to its network; see `attach_address`."""
        interface = self.interface(ifindex)
        made = self.attach_address(interface, address, prefix_bits)
        self._announce(interface, address)
        return made

    def remove_address(self, ifindex: int, address: bytes) -> None:
        """EADDRNOTAVAIL: the interface has no such address. ENODEV."""
        self.detach_address(self.interface(ifindex), address)

    def _autoconfigure(self, interface: Interface, address: bytes) -> InterfaceAddress:
        made = self.attach_address(interface, address, 64, on_link=False)
        self._announce(interface, address)
        return made

    def _announce(self, interface: Interface, address: bytes) -> None:
        if not interface.up or interface.is_loopback:
            return
        if len(address) == 4:
            self._arp.announce(interface, address)
        else:
            self._discovery.announce(interface, address)

    # Time

    @property
    def next_deadline_ns(self) -> int | None:
        """When `run_timers` has something to do next; None: nothing is awaited."""
        return self.timers.next_deadline_ns

    def run_timers(self) -> None:
        """Do what is due at `now_ns`."""
        self.timers.run(self.now_ns)

    # Hints and hooks

    @property
    def has_loopback(self) -> bool:
        """Whether `pump` has something to do."""
        return len(self._loopback) > 0

    @property
    def fragments(self) -> Reassembly:
        """Datagrams of which fragments are missing."""
        return self._input.fragments

    @property
    def on_malformed(self) -> Callable[[int, bool], None] | None:
        """Told (protocol, whether its checksum was wrong) of what a transport's decoder refused."""
        return self._input.on_malformed

    @on_malformed.setter
    def on_malformed(self, listener: Callable[[int, bool], None] | None) -> None:
        self._input.on_malformed = listener

    def confirm(self, path: Path) -> None:
        """What was sent along this path has arrived: its neighbour is there (RFC 4861 7.3.1)."""
        self.neighbours.confirm(path.neighbour)

    def _send(self, packet: Packet) -> None:
        self._output.send(packet)

    def _report(self, error: IcmpError) -> None:
        self.on_icmp_error(error)

    def _solicit(self, interface: Interface, neighbour: Neighbour, packet: Packet | None) -> None:
        if len(neighbour.address) == 4:
            self._arp.request(interface, neighbour, packet)
        else:
            self._discovery.solicit(interface, neighbour, packet)

    def _no_neighbour(self, packet: Packet) -> None:
        """As if a router had reported it: the host is unreachable."""
        if len(packet.src) == 4:
            kind, code = icmp.DEST_UNREACHABLE, icmp.HOST_UNREACHABLE
            number, fatal = icmp.errno_of(kind, code)
        else:
            kind, code = icmpv6.DEST_UNREACHABLE, icmpv6.ADDRESS_UNREACHABLE
            number, fatal = icmpv6.errno_of(kind, code)
        data = b"".join(packet.payload.encode(packet.src, packet.dst, offload=True))[:64]
        self.on_icmp_error(
            IcmpError(
                kind,
                code,
                0,
                packet.proto,
                packet.src,
                packet.dst,
                data,
                packet.src,
                number,
                fatal,
            )
        )
