"""/proc/net/{dev,if_inet6,arp,igmp,igmp6,dev_mcast}: interfaces, neighbours, groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.net.ip.interface import SCOPE_HOST, SCOPE_LINK, SCOPE_SITE
from services.net.ip.neighbour import PERMANENT
from services.net.netlink.address import flags_of
from services.net.proto import address as kinds
from services.net.report.format import words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from services.net.ip.interface import Interface
    from services.net.socket.network import Network

ATF_COM, ATF_PERM = 2, 4
SCOPES = {SCOPE_HOST: 0x10, SCOPE_LINK: 0x20, SCOPE_SITE: 0x40}
"""As IPv6's own header file numbers them."""
LOADED, NO_REPORT = 4, 8
"""MAF_*: flags of a group in igmp6."""


def _dev(network: Network) -> Iterable[str]:
    yield "Inter-|   Receive                                                |  Transmit"
    yield (
        " face |bytes    packets errs drop fifo frame compressed multicast|"
        "bytes    packets errs drop fifo colls carrier compressed"
    )
    for c in network.stack.interfaces.values():
        yield (
            f"{c.name:>6}: {c.rx_bytes:7} {c.rx_packets:7} {c.rx_errors:4} "
            f"{c.rx_dropped:4}    0     0          0 {c.multicast:9} "
            f"{c.tx_bytes:8} {c.tx_packets:7} {c.tx_errors:4} {c.tx_dropped:4}    0     0       0"
            "          0"
        )


def _if_inet6(network: Network) -> Iterable[str]:
    stack = network.stack
    for index, interface in stack.interfaces.items():
        for own in interface.addresses:
            if len(own.address) == 16:
                flags = flags_of(stack, interface, own) & 0xFF
                yield (
                    f"{own.address.hex()} {index:02x} {own.prefix_bits:02x} "
                    f"{SCOPES.get(own.scope, 0):02x} {flags:02x} {interface.name:>8}"
                )


def _arp(network: Network) -> Iterable[str]:
    yield "IP address       HW type     Flags       HW address            Mask     Device"
    for neighbour in network.stack.neighbours.entries():
        if len(neighbour.address) != 4 or neighbour.interface is None:
            continue
        address = ".".join(map(str, neighbour.address))
        flags = ATF_COM if neighbour.mac else 0
        flags |= ATF_PERM if neighbour.state == PERMANENT else 0
        mac = (neighbour.mac or bytes(6)).hex(":")
        device = neighbour.interface.name
        yield f"{address:<16} 0x1         0x{flags:x}         {mac}     *        {device}"


# Groups -------------------------------------------------------------------------------------


def _groups(interface: Interface, width: int) -> dict[bytes, int]:
    """Groups and how often they are joined, the youngest first; those of everybody last."""
    found = {
        group: users
        for group, users in reversed(interface.groups.items())
        if len(group) == width and group not in EVERYBODY[width]
    }
    if interface.up:
        for group in EVERYBODY[width]:
            found[group] = 1 + interface.groups.get(group, 0)
    return found


EVERYBODY = {4: (kinds.ALL_HOSTS,), 16: (kinds.ALL_NODES, kinds.ALL_NODES_OF_INTERFACE)}


def _igmp(network: Network) -> Iterable[str]:
    yield "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter"
    for index, interface in network.stack.interfaces.items():
        groups = _groups(interface, 4)
        yield f"{index}\t{interface.name:<10}: {len(groups):5}      V3"
        for group, users in groups.items():
            yield f"\t\t\t\t{words_of(group)} {users:5} 0:{0:08X}\t\t0"


def _igmp6(network: Network) -> Iterable[str]:
    for index, interface in network.stack.interfaces.items():
        for group, users in _groups(interface, 16).items():
            flags = LOADED
            if group in EVERYBODY[16]:
                flags = NO_REPORT | (LOADED if group == kinds.ALL_NODES else 0)
            yield f"{index:<4} {interface.name:<15} {group.hex()} {users:5} {flags:08X} 0"


def _dev_mcast(network: Network) -> Iterable[str]:
    """Which group addresses an interface takes; lo takes what it is given."""
    for index, interface in network.stack.interfaces.items():
        if interface.is_loopback:
            continue
        counts: dict[bytes, int] = {}
        for width in (16, 4):
            for group in reversed(_groups(interface, width)):
                if group != kinds.ALL_NODES_OF_INTERFACE:
                    mac = kinds.multicast_mac(group)
                    counts[mac] = counts.get(mac, 0) + 1
        for mac, count in counts.items():
            yield f"{index:<4} {interface.name:<15} {count:<5} 0     {mac.hex()}"


MAKERS: dict[str, Callable[[Network], Iterable[str]]] = {
    "dev": _dev,
    "if_inet6": _if_inet6,
    "arp": _arp,
    "igmp": _igmp,
    "igmp6": _igmp6,
    "dev_mcast": _dev_mcast,
}
