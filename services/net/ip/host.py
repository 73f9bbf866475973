"""What all parts of a stack share: time, interfaces, addresses, routes, counters.

Every change of configuration moves `generation`; whoever keeps a `Path` compares. `local` and
`broadcasts` are views for the data path, made anew with each change.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.net.ip import interface as interfaces
from services.net.ip import routes as routing
from services.net.ip import snmp
from services.net.ip.interface import Interface, InterfaceAddress
from services.net.ip.routes import Route, RoutingTable
from services.net.ip.timers import Timers
from services.net.proto import address as kinds
from services.net.proto import ethernet, ipv6

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.net.proto.packet import Frame

_MAX_GROUPS = 1024


def _nowhere(_: Frame) -> None:
    """Nothing is transmitted through lo: its packets are handed over as they are."""


class Host:
    """State and configuration. Its methods change tables and send nothing."""

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self.now_ns = 0  # MONOTONIC; the shell sets it before it calls in
        self.random = random
        self.generation = 1
        self.timers = Timers()
        self.routes = RoutingTable()
        self.interfaces: dict[int, Interface] = {}
        self.local: dict[bytes, Interface] = {}
        self.broadcasts: dict[bytes, Interface] = {}

        self.ip = snmp.IpCounters(snmp.IP_NAMES)
        self.ip6 = snmp.IpCounters(snmp.IP6_NAMES)
        self.icmp = snmp.IcmpCounters(snmp.ICMP_NAMES)
        self.icmp6 = snmp.IcmpCounters(snmp.ICMPV6_NAMES)
        self.udp = snmp.UdpCounters()
        self.udp6 = snmp.UdpCounters()

        self.loopback = Interface(
            interfaces.LOOPBACK_INDEX,
            "lo",
            kinds.MAC_ANY,
            interfaces.LOOPBACK_MTU,
            _nowhere,
            offload=True,
            gso=True,
        )
        self.interfaces[interfaces.LOOPBACK_INDEX] = self.loopback
        self.loopback.addresses.append(InterfaceAddress(kinds.LOOPBACK_V4, 8))
        self.bring_up(self.loopback)

    # What is known of an address

    def is_local(self, address: bytes) -> bool:
        """Whether datagrams to this unicast address end here."""
        return address in self.local or (
            address[0] == 127 and len(address) == 4 and self.loopback.up
        )

    def is_broadcast(self, address: bytes) -> bool:
        """The limited broadcast address, or a directed one of a network of ours."""
        return address == kinds.BROADCAST_V4 or address in self.broadcasts

    def interface(self, ifindex: int) -> Interface:
        """ENODEV: there is no such interface."""
        found = self.interfaces.get(ifindex)
        if found is None:
            raise PosixError(errno.ENODEV)
        return found

    def ip_counters(self, address: bytes) -> snmp.IpCounters:
        """Those of the address's family."""
        return self.ip if len(address) == 4 else self.ip6

    # Interfaces

    def new_interface(
        self,
        name: str,
        mac: bytes,
        mtu: int,
        transmit: Callable[[Frame], None],
        *,
        offload: bool,
        gso: bool,
    ) -> Interface:
        """A further interface, down. EINVAL: MAC address or MTU; EEXIST: the name."""
        if len(mac) != 6 or ethernet.is_group(mac) or mtu < ethernet.MIN_MTU:
            raise PosixError(errno.EINVAL)
        if any(other.name == name for other in self.interfaces.values()):
            raise PosixError(errno.EEXIST)
        index = max(self.interfaces) + 1
        made = Interface(index, name, mac, mtu, transmit, offload, gso and offload)
        self.interfaces[index] = made
        return made

    def set_mtu(self, ifindex: int, mtu: int) -> None:
        """Bytes of an IP datagram. EINVAL: less than any link must carry. ENODEV."""
        interface = self.interface(ifindex)
        if not ethernet.MIN_MTU <= mtu <= interfaces.LOOPBACK_MTU:
            raise PosixError(errno.EINVAL)
        interface.mtu = mtu
        self.generation += 1

    def bring_up(self, interface: Interface) -> None:
        """Its IPv6 address is made, its connected routes return."""
        interface.up = True
        if interface.mtu >= ipv6.MIN_MTU:
            own = InterfaceAddress(kinds.LOOPBACK_V6, 128, made_ns=self.now_ns)
            if not interface.is_loopback:
                suffix = kinds.interface_identifier(interface.mac)
                address = kinds.LINK_LOCAL_PREFIX + suffix
                own = InterfaceAddress(address, 64, made_ns=self.now_ns)
            if interface.find(own.address) is None:
                interface.addresses.append(own)
                self._join_solicited(interface, own.address)
        self._refresh(interface)

    def take_down(self, interface: Interface) -> None:
        """All of its routes and IPv6 addresses go; IPv4 addresses wait for better times."""
        interface.up = False
        for one in list(interface.addresses):
            if len(one.address) == 16:
                self._forget(interface, one)
        self.routes.remove_where(interface.index)
        self._refresh(interface)

    # Addresses

    def attach_address(
        self, interface: Interface, address: bytes, prefix_bits: int, *, on_link: bool = True
    ) -> InterfaceAddress:
        """Give an interface an address. `on_link`: with a route to its network.

        EINVAL: not a unicast address or prefix. EEXIST. ENOBUFS: it has as many as it may.
        EACCES: IPv6 over an MTU below 1280 bytes, as Linux has it.
        """
        width = len(address)
        if width not in (4, 16) or not 0 <= prefix_bits <= 8 * width:
            raise PosixError(errno.EINVAL)
        if (
            kinds.is_unspecified(address)
            or kinds.is_multicast(address)
            or kinds.is_v4_mapped(address)
            or address == kinds.BROADCAST_V4
        ):
            raise PosixError(errno.EINVAL)
        if width == 16 and interface.mtu < ipv6.MIN_MTU:
            raise PosixError(errno.EACCES)
        if interface.find(address) is not None:
            raise PosixError(errno.EEXIST)
        if len(interface.addresses) >= interfaces.MAX_ADDRESSES:
            raise PosixError(errno.ENOBUFS)
        made = InterfaceAddress(address, prefix_bits, on_link, self.now_ns)
        interface.addresses.append(made)
        self._join_solicited(interface, address)
        self._refresh(interface)
        return made

    def detach_address(self, interface: Interface, address: bytes) -> None:
        """Take an address away. EADDRNOTAVAIL: it is not the interface's."""
        found = interface.find(address)
        if found is None:
            raise PosixError(errno.EADDRNOTAVAIL)
        self._forget(interface, found)
        self._refresh(interface)

    def _forget(self, interface: Interface, one: InterfaceAddress) -> None:
        interface.addresses.remove(one)
        if one.timer is not None:
            self.timers.clear(one.timer)
        if len(one.address) == 16 and not interface.is_loopback:
            self.leave(interface.index, kinds.solicited_node(one.address))

    def _join_solicited(self, interface: Interface, address: bytes) -> None:
        if len(address) == 16 and not interface.is_loopback:
            group = kinds.solicited_node(address)
            interface.groups[group] = interface.groups.get(group, 0) + 1

    # Routes

    def add_route(self, route: Route) -> None:
        """EINVAL, EEXIST; ENODEV; ENETDOWN; ENETUNREACH: the gateway is not on a link of ours."""
        gateway = route.gateway
        if gateway is not None:
            if len(gateway) != len(route.network) or self.is_local(gateway):
                raise PosixError(errno.EINVAL)
            on_link = self.routes.lookup(gateway, route.ifindex, on_link=True)
            if on_link is None or on_link.error:
                raise PosixError(errno.ENETUNREACH)
            if not route.ifindex:
                route = route._replace(ifindex=on_link.ifindex)
        if not self.interface(route.ifindex).up:
            raise PosixError(errno.ENETDOWN)
        self.routes.add(route)
        self.generation += 1

    def remove_route(self, route: Route) -> None:
        """ESRCH: there is no such route."""
        self.routes.remove(route)
        self.generation += 1

    # Multicast groups

    def join(self, ifindex: int, group: bytes) -> None:
        """Take datagrams to a group. Joined twice, it must be left twice.

        EINVAL: not a group. ENODEV. ENOBUFS: too many groups. No report is sent (IGMP, MLD).
        """
        interface = self.interface(ifindex)
        if not kinds.is_multicast(group):
            raise PosixError(errno.EINVAL)
        if group not in interface.groups and len(interface.groups) >= _MAX_GROUPS:
            raise PosixError(errno.ENOBUFS)
        interface.groups[group] = interface.groups.get(group, 0) + 1

    def leave(self, ifindex: int, group: bytes) -> None:
        """Undo one `join`. EADDRNOTAVAIL: not a member."""
        groups = self.interface(ifindex).groups
        times = groups.pop(group, 0)
        if not times:
            raise PosixError(errno.EADDRNOTAVAIL)
        if times > 1:
            groups[group] = times - 1

    # Views

    def _refresh(self, interface: Interface) -> None:
        """Make connected routes and the views anew after an interface changed."""
        self.routes.remove_where(interface.index, routing.PROTOCOL_KERNEL)
        if interface.up:
            for one in interface.addresses:
                self._connect(interface, one)
        self.local = {}
        self.broadcasts = {}
        for other in self.interfaces.values():
            if not other.up:
                continue
            for one in other.addresses:
                self.local.setdefault(one.address, other)
                if one.broadcast is not None:
                    # The lowest address is an ordinary one, as in Linux since 5.14.
                    self.broadcasts[one.broadcast] = other
        self.generation += 1

    def _connect(self, interface: Interface, one: InterfaceAddress) -> None:
        """The route to the address's own network, unless an earlier address made it."""
        width = len(one.address)
        if not one.on_link or one.prefix_bits == 8 * width:
            return
        network = kinds.network_of(one.address, one.prefix_bits)
        route = Route(
            network,
            one.prefix_bits,
            interface.index,
            metric=0 if width == 4 else routing.METRIC_V6_ON_LINK,
            source=one.address if width == 4 else None,
            protocol=routing.PROTOCOL_KERNEL,
        )
        try:
            self.routes.add(route)
        except PosixError:
            return
