"""RTM_GETLINK, RTM_NEWLINK, RTM_SETLINK, RTM_DELLINK: interfaces (rtnetlink(7))."""

from __future__ import annotations

import struct
from errno import EBUSY, EEXIST, EINVAL, ENODEV, EOPNOTSUPP, ERANGE
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.net.ip.interface import LOOPBACK_MTU
from services.net.netlink import abi
from services.net.netlink.message import Refused, attribute, attributes, number, text, u8, u32
from services.net.netlink.message import name as string
from services.net.netlink.query import Answer, Handler, Query
from services.net.socket.abi import AF_INET6

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.net.ip.interface import Interface

IFINFO = struct.Struct("<BxHiII")
"""struct ifinfomsg: family, ARPHRD_ type, index, flags, mask of changed flags."""
ARPHRD_ETHER, ARPHRD_LOOPBACK = 1, 772
QUEUE_FRAMES = 1000
MIN_MTU, MAX_MTU = 68, 65535
"""Of Ethernet."""
GSO_BYTES, GSO_SEGMENTS = 65536, 65535
NAME_BYTES, RTGEN_BYTES = 16, 4
"""Of an interface's name; of struct rtgenmsg, padded."""
SETTABLE = frozenset((abi.IFLA_IFNAME, abi.IFLA_MTU, abi.IFLA_EXT_MASK, abi.IFLA_TXQLEN))
IFF_UP = 1
IF_READY = 0x8000_0000
IFF_SETTABLE = IFF_UP


def body(interface: Interface, change: int = 0, *, stats: bool = True, family: int = 0) -> bytes:
    """What RTM_NEWLINK tells of an interface; attributes in Linux's order."""
    lo, up = interface.is_loopback, interface.up
    flags = interface.flags | (abi.IFF_LOWER_UP if up else 0)
    kind = ARPHRD_LOOPBACK if lo else ARPHRD_ETHER
    state = abi.OPER_DOWN if not up else abi.OPER_UNKNOWN if lo else abi.OPER_UP
    parts = [
        IFINFO.pack(family, kind, interface.index, flags, change),
        text(abi.IFLA_IFNAME, interface.name),
        u32(abi.IFLA_TXQLEN, QUEUE_FRAMES),
        u8(abi.IFLA_OPERSTATE, state),
        u8(abi.IFLA_LINKMODE, 0),
        u32(abi.IFLA_MTU, interface.mtu),
        u32(abi.IFLA_MIN_MTU, 0 if lo else MIN_MTU),
        u32(abi.IFLA_MAX_MTU, 0 if lo else MAX_MTU),  # 0: none; of lo as Linux tells it
        u32(abi.IFLA_GROUP, 0),
        u32(abi.IFLA_PROMISCUITY, 0),
        u32(abi.IFLA_ALLMULTI, 0),
        u32(abi.IFLA_NUM_TX_QUEUES, 1),
        u32(abi.IFLA_GSO_MAX_SEGS, GSO_SEGMENTS),
        u32(abi.IFLA_GSO_MAX_SIZE, GSO_BYTES),
        u32(abi.IFLA_GRO_MAX_SIZE, GSO_BYTES),
        u32(abi.IFLA_TSO_MAX_SIZE, 524_280 if lo else GSO_BYTES),
        u32(abi.IFLA_TSO_MAX_SEGS, GSO_SEGMENTS),
        u32(abi.IFLA_NUM_RX_QUEUES, 1),
        u8(abi.IFLA_CARRIER, 1),
        u32(abi.IFLA_CARRIER_CHANGES, 0),
        u8(abi.IFLA_PROTO_DOWN, 0),
        attribute(abi.IFLA_ADDRESS, interface.mac),
        attribute(abi.IFLA_BROADCAST, bytes(6) if lo else b"\xff" * 6),
    ]
    if stats:
        parts += _counters(interface)
    parts.append(text(abi.IFLA_QDISC, "noqueue" if lo else "pfifo"))
    if not lo:
        parts.append(attribute(abi.IFLA_PERM_ADDRESS, interface.mac))
    parts.append(attribute(abi.IFLA_AF_SPEC, attribute(AF_INET6, inet6(interface))))
    parts.append(attribute(abi.IFLA_MAP, bytes(32)))
    return b"".join(parts)


def body6(interface: Interface) -> bytes:
    """What IPv6 tells of an interface to those who ask for its family (inet6_fill_ifinfo)."""
    lo, up = interface.is_loopback, interface.up
    flags = interface.flags | (abi.IFF_LOWER_UP if up else 0)
    kind = ARPHRD_LOOPBACK if lo else ARPHRD_ETHER
    state = abi.OPER_DOWN if not up else abi.OPER_UNKNOWN if lo else abi.OPER_UP
    parts = [
        IFINFO.pack(AF_INET6, kind, interface.index, flags, 0),
        text(abi.IFLA_IFNAME, interface.name),
        attribute(abi.IFLA_ADDRESS, interface.mac),
        u32(abi.IFLA_MTU, interface.mtu),
        u8(abi.IFLA_OPERSTATE, state),
        attribute(abi.IFLA_PROTINFO, inet6(interface)),
    ]
    return b"".join(parts)


def inet6(interface: Interface) -> bytes:
    """Attributes of IPv6's own; interface identifiers are made of MAC addresses (EUI-64)."""
    return u32(abi.IFLA_INET6_FLAGS, IF_READY if interface.up else 0) + u8(
        abi.IFLA_INET6_ADDR_GEN_MODE, 0
    )


def _counters(interface: Interface) -> list[bytes]:
    """struct rtnl_link_stats64 and its 32-bit elder."""
    i = interface
    first = (
        i.rx_packets, i.tx_packets, i.rx_bytes, i.tx_bytes, i.rx_errors, i.tx_errors,
        i.rx_dropped, i.tx_dropped, i.multicast,
    )  # fmt: skip
    wide = struct.pack("<25Q", *first, *[0] * 16)
    narrow = struct.pack("<24I", *[word & 0xFFFF_FFFF for word in first], *[0] * 15)
    return [attribute(abi.IFLA_STATS64, wide), attribute(abi.IFLA_STATS, narrow)]


def dump(query: Query) -> Iterator[Answer]:
    """All interfaces; what belongs to a bridge is nothing."""
    interfaces = list(query.network.stack.interfaces.values())
    if query.family == abi.AF_BRIDGE:
        return
    if query.family == AF_INET6:
        yield from ((abi.RTM_NEWLINK, body6(interface)) for interface in interfaces)
        return
    asked = query.attributes(IFINFO.size) if len(query.message.body) > IFINFO.size else {}
    stats = not number(asked.get(abi.IFLA_EXT_MASK)) & abi.RTEXT_FILTER_SKIP_STATS
    for interface in interfaces:
        yield abi.RTM_NEWLINK, body(interface, stats=stats)


def find(query: Query, asked: dict[int, bytes]) -> Interface:
    """By index, else by name; EINVAL where neither is given, ENODEV."""
    index = IFINFO.unpack(query.fixed(IFINFO.size))[2]
    if index < 0:
        raise PosixError(EINVAL)
    if index:
        return query.interface(index)
    for kind in (abi.IFLA_IFNAME, abi.IFLA_ALT_IFNAME):
        if kind in asked:
            return query.interface_named(asked[kind])
    raise PosixError(ENODEV if query.message.type == abi.RTM_NEWLINK else EINVAL)


def get(query: Query) -> list[Answer]:
    """One interface."""
    asked = query.attributes(IFINFO.size)
    stats = not number(asked.get(abi.IFLA_EXT_MASK)) & abi.RTEXT_FILTER_SKIP_STATS
    return [(abi.RTM_NEWLINK, body(find(query, asked), stats=stats))]


def put(query: Query) -> list[Answer]:
    """Change an interface; EOPNOTSUPP for what cannot be changed, and for making one."""
    asked = query.attributes(IFINFO.size)
    _, _, index, flags, change = IFINFO.unpack(query.fixed(IFINFO.size))
    try:
        interface = find(query, asked)
    except PosixError as error:
        if error.errno == ENODEV and not index and query.create:
            raise _cannot_make(asked) from None
        raise
    if query.exclusive and query.create:
        raise PosixError(EEXIST)
    if not asked.keys() <= SETTABLE:
        raise PosixError(EOPNOTSUPP)
    if number(asked.get(abi.IFLA_TXQLEN), QUEUE_FRAMES) != QUEUE_FRAMES:
        raise PosixError(EOPNOTSUPP)
    stack = query.network.stack
    if index and abi.IFLA_IFNAME in asked:
        _rename(query, interface, string(asked[abi.IFLA_IFNAME]))
    if abi.IFLA_MTU in asked:
        _set_mtu(query, interface, number(asked[abi.IFLA_MTU]))
    if flags or change:
        wanted = interface.flags & ~change | flags & change if change else flags
        if (wanted ^ interface.flags) & (change or IFF_SETTABLE) & ~IFF_SETTABLE:
            raise PosixError(EOPNOTSUPP)
        stack.set_up(interface.index, bool(wanted & IFF_UP))
    return []


def _cannot_make(asked: dict[int, bytes]) -> PosixError:
    """Interfaces are not made here: as Linux without the kind's module."""
    info = attributes(asked.get(abi.IFLA_LINKINFO, b""))
    if abi.IFLA_INFO_KIND in info:
        return Refused(EOPNOTSUPP, "Unknown device type")
    return PosixError(EOPNOTSUPP)


def _rename(query: Query, interface: Interface, wanted: bytes) -> None:
    """EINVAL: no name at all. EEXIST: another's. EBUSY: it is up."""
    if wanted == interface.name.encode():
        return
    if not wanted or len(wanted) >= NAME_BYTES or wanted in (b".", b".."):
        raise PosixError(EINVAL)
    if any(byte in b"/:" or byte <= 0x20 for byte in wanted):
        raise PosixError(EINVAL)
    if query.network.interface_index(wanted):
        raise PosixError(EEXIST)
    if interface.up:
        raise PosixError(EBUSY)
    try:
        interface.name = wanted.decode()
    except UnicodeDecodeError:
        raise PosixError(ERANGE) from None
    query.network.stack.generation += 1


def _set_mtu(query: Query, interface: Interface, mtu: int) -> None:
    if not interface.is_loopback and mtu < MIN_MTU:
        raise Refused(EINVAL, "mtu less than device minimum")
    if mtu > (LOOPBACK_MTU if interface.is_loopback else MAX_MTU):
        raise Refused(EINVAL, "mtu greater than device maximum")
    query.network.stack.set_mtu(interface.index, mtu)


def remove(query: Query) -> list[Answer]:
    """EOPNOTSUPP: no interface goes."""
    find(query, query.attributes(IFINFO.size))
    raise PosixError(EOPNOTSUPP)


def get_namespace(query: Query) -> list[Answer]:
    """RTM_GETNSID: another network namespace has no number here, as there is none."""
    asked = query.attributes(RTGEN_BYTES)
    if not asked.keys() & {abi.NETNSA_PID, abi.NETNSA_FD}:
        raise Refused(EINVAL, "Peer netns reference is missing")
    return [(abi.RTM_NEWNSID, bytes(RTGEN_BYTES) + u32(abi.NETNSA_NSID, -1))]


HANDLERS = {
    abi.RTM_GETNSID: Handler(get_namespace),
    abi.RTM_GETLINK: Handler(get, dump),
    abi.RTM_NEWLINK: Handler(put),
    abi.RTM_SETLINK: Handler(put),
    abi.RTM_DELLINK: Handler(remove),
}
