"""RTM_GETROUTE, RTM_NEWROUTE, RTM_DELROUTE: routes, and which one an address takes.

The stack keeps Linux's table `main`; what Linux keeps in the table `local` follows from addresses,
and is made of them when it is asked for. There are no other tables.
"""

from __future__ import annotations

import struct
from errno import (
    EACCES,
    EEXIST,
    EHOSTUNREACH,
    EINVAL,
    ENETDOWN,
    ENETUNREACH,
    ENODEV,
    ENOENT,
    EOPNOTSUPP,
    ESRCH,
)
from typing import TYPE_CHECKING, NamedTuple

from bus.errors import PosixError
from services.net.ip.interface import LOOPBACK_INDEX, SCOPE_HOST, SCOPE_LINK, SCOPE_UNIVERSE
from services.net.ip.routes import (
    METRIC_V6_DEFAULT,
    METRIC_V6_ON_LINK,
    PROTOCOL_KERNEL,
    Route,
)
from services.net.netlink import abi
from services.net.netlink.address import primary_of
from services.net.netlink.message import Refused, attribute, attributes, number, u8, u32
from services.net.netlink.query import Answer, Handler, Query
from services.net.proto import address as kinds
from services.net.socket.abi import AF_INET, AF_INET6

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.net.ip.interface import Interface
    from services.net.ip.router import Path
    from services.net.ip.stack import Stack

RTMSG = struct.Struct("<BBBBBBBBI")
"""struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags."""
WIDTHS = {AF_INET: 4, AF_INET6: 16}
CACHE_BYTES = 32
ERRORS = {abi.BLACKHOLE: EINVAL, abi.UNREACHABLE: EHOSTUNREACH, abi.PROHIBIT: EACCES}
TYPES = {error: kind for kind, error in ERRORS.items()}
MULTICAST_V6 = b"\xff" + bytes(15)


class Entry(NamedTuple):
    """A route as Linux's tables have it."""

    route: Route
    table: int = abi.RT_TABLE_MAIN
    type: int = abi.UNICAST
    scope: int = SCOPE_UNIVERSE


# Tables -------------------------------------------------------------------------------------


def entries(stack: Stack, width: int) -> list[Entry]:
    """All routes of IPv4 (4) or IPv6 (16) in Linux's order: main, then local, as they are dumped.

    IPv4's lie in the order of their addresses, of one address the longest prefix first; IPv6's
    in that of a walk through their tree, from the leaves down.
    """
    found = [_main(stack, route) for route in stack.routes if len(route.network) == width]
    found = [entry for entry in found if entry.table == abi.RT_TABLE_MAIN]
    order = _order4 if width == 4 else _order6
    return sorted(found, key=order) + sorted(_local(stack, width), key=order)


def _order4(entry: Entry) -> tuple[bytes, int, int]:
    return entry.route.network, -entry.route.prefix_bits, entry.route.metric


def _order6(entry: Entry) -> tuple[str, int]:
    route = entry.route
    bits = f"{int.from_bytes(route.network, 'big'):0128b}"[: route.prefix_bits]
    return bits + "2", route.metric


def _main(stack: Stack, route: Route) -> Entry:
    """A route of the stack's own."""
    if route.error:
        return Entry(route, type=TYPES.get(route.error, abi.UNREACHABLE))
    if len(route.network) == 16:
        return Entry(route)
    interface = stack.interfaces[route.ifindex]
    if interface.is_loopback and route.protocol == PROTOCOL_KERNEL:
        return Entry(route, abi.RT_TABLE_LOCAL, abi.LOCAL, SCOPE_HOST)
    return Entry(route, scope=SCOPE_LINK if route.gateway is None else SCOPE_UNIVERSE)


def _local(stack: Stack, width: int) -> Iterator[Entry]:
    """What follows from the addresses that there are."""
    for interface in stack.interfaces.values():
        if interface.up and width == 4:
            yield from _local4(interface)
        elif interface.up:
            yield from _local6(interface)


def _local4(interface: Interface) -> Iterator[Entry]:
    index, table = interface.index, abi.RT_TABLE_LOCAL
    for one in interface.addresses:
        if len(one.address) != 4:
            continue
        first = primary_of(interface, one)
        bits, source = one.prefix_bits, first.address
        own = Route(one.address, 32, index, source=source, protocol=PROTOCOL_KERNEL)
        yield Entry(own, table, abi.LOCAL, SCOPE_HOST)
        if first is not one:
            continue
        network = kinds.network_of(one.address, bits)
        if interface.is_loopback and bits < 32:
            whole = Route(network, bits, index, source=source, protocol=PROTOCOL_KERNEL)
            yield Entry(whole, table, abi.LOCAL, SCOPE_HOST)
        for address in dict.fromkeys((one.shown_broadcast, one.broadcast)):
            if address not in (None, kinds.BROADCAST_V4):
                assert address is not None
                all_ones = Route(address, 32, index, source=source, protocol=PROTOCOL_KERNEL)
                yield Entry(all_ones, table, abi.BROADCAST, SCOPE_LINK)


def _local6(interface: Interface) -> Iterator[Entry]:
    index, table = interface.index, abi.RT_TABLE_LOCAL
    for one in interface.addresses:
        if len(one.address) == 16:
            yield Entry(Route(one.address, 128, index, protocol=PROTOCOL_KERNEL), table, abi.LOCAL)
    if not interface.is_loopback:
        groups = Route(MULTICAST_V6, 8, index, metric=METRIC_V6_ON_LINK, protocol=PROTOCOL_KERNEL)
        yield Entry(groups, table, abi.MULTICAST)


def body(entry: Entry) -> bytes:
    """What RTM_NEWROUTE tells of a route; attributes in Linux's order."""
    route, table, kind, scope = entry
    narrow = len(route.network) == 4
    head = RTMSG.pack(
        AF_INET if narrow else AF_INET6, route.prefix_bits, 0, 0, table, route.protocol, scope,
        kind, 0,
    )  # fmt: skip
    parts = [head, u32(abi.RTA_TABLE, table)]
    if route.prefix_bits:
        parts.append(attribute(abi.RTA_DST, route.network))
    if route.metric or not narrow:
        parts.append(u32(abi.RTA_PRIORITY, route.metric))
    if route.mtu:
        parts.append(attribute(abi.RTA_METRICS, u32(abi.RTAX_MTU, route.mtu)))
    if route.source is not None:
        parts.append(attribute(abi.RTA_PREFSRC, route.source))
    if route.gateway is not None:
        parts.append(attribute(abi.RTA_GATEWAY, route.gateway))
    if not (route.error and narrow):
        parts.append(u32(abi.RTA_OIF, route.ifindex))
    if not narrow:
        parts += [attribute(abi.RTA_CACHEINFO, bytes(CACHE_BYTES)), u8(abi.RTA_PREF, 0)]
    return b"".join(parts)


class _Filter:
    """What a strictly checked dump asks for; 0 for all."""

    __slots__ = ("ifindex", "protocol", "table", "type")

    def __init__(self, query: Query) -> None:
        _, _, _, _, table, self.protocol, _, self.type, _ = RTMSG.unpack(query.fixed(RTMSG.size))
        asked = query.attributes(RTMSG.size)
        self.table = number(asked.get(abi.RTA_TABLE), table)
        self.ifindex = number(asked.get(abi.RTA_OIF))

    def takes(self, entry: Entry) -> bool:
        """Whether an entry is asked for."""
        route = entry.route
        return (
            self.table in (0, entry.table)
            and self.protocol in (0, route.protocol)
            and self.type in (0, entry.type)
            and self.ifindex in (0, route.ifindex)
        )


def dump(query: Query) -> Iterator[Answer]:
    """All routes of a family, or of both."""
    flags = 0
    if len(query.message.body) >= RTMSG.size:
        flags = RTMSG.unpack(query.message.body[: RTMSG.size])[8]
    if flags & abi.RTM_F_CLONED:
        return  # exceptions to routes are told by RTM_GETROUTE of one address
    wanted = _Filter(query) if query.strict else None
    for family, width in WIDTHS.items():
        if query.family not in (0, family):
            continue
        if wanted is not None and query.family and wanted.table not in (0, *TABLES):
            words = "ipv4" if width == 4 else "ipv6"
            raise Refused(ENOENT, f"{words}: FIB table does not exist")
        for entry in entries(query.network.stack, width):
            if wanted is None or wanted.takes(entry):
                yield abi.RTM_NEWROUTE, body(entry)


TABLES = (abi.RT_TABLE_DEFAULT, abi.RT_TABLE_MAIN, abi.RT_TABLE_LOCAL)

# One address --------------------------------------------------------------------------------


def get(query: Query) -> list[Answer]:
    """Which way an address is reached (`ip route get`); the errno of a route that forbids."""
    family, _, _, tos, _, _, _, _, flags = RTMSG.unpack(query.fixed(RTMSG.size))
    if family not in WIDTHS:
        raise PosixError(EOPNOTSUPP)
    asked, width = query.attributes(RTMSG.size), WIDTHS[family]
    if abi.RTA_IIF in asked:
        raise PosixError(EINVAL)  # packets of others are not forwarded
    dst = asked.get(abi.RTA_DST, bytes(width))
    src = asked.get(abi.RTA_SRC)
    if len(dst) != width or (src is not None and len(src) != width):
        raise PosixError(EINVAL)
    ifindex = number(asked.get(abi.RTA_OIF))
    stack = query.network.stack
    if src is not None and not stack.is_local(src) and width == 4:
        raise PosixError(ENETUNREACH)
    path = stack.route(dst, src if src is None or stack.is_local(src) else None, ifindex)
    if flags & abi.RTM_F_FIB_MATCH:
        match = _match(stack, path, ifindex)
        # IPv4's two tables are one, `main`, while there are no rules of one's own.
        return [(abi.RTM_NEWROUTE, body(match._replace(table=abi.RT_TABLE_MAIN)))]
    if width == 4:
        return [(abi.RTM_NEWROUTE, _found4(query, path, dst, src, tos, asked))]
    return [(abi.RTM_NEWROUTE, _found6(stack, path, dst, src, ifindex))]


def _match(stack: Stack, path: Path, ifindex: int) -> Entry:
    """The route that an address's path comes from."""
    dst = path.destination
    for entry in _local(stack, len(dst)):
        if kinds.shares_prefix(entry.route.network, dst, entry.route.prefix_bits):
            return entry
    found = stack.routes.lookup(dst, ifindex)
    if found is None:
        raise PosixError(ENETUNREACH)
    return _main(stack, found)


def _found4(
    query: Query,
    path: Path,
    dst: bytes,
    src: bytes | None,
    tos: int,
    asked: dict[int, bytes],
) -> bytes:
    stack, reached = query.network.stack, path.destination
    kind, flags = abi.UNICAST, abi.RTM_F_CLONED
    if stack.is_local(reached):
        kind, flags = abi.LOCAL, flags | abi.RTCF_LOCAL
    elif kinds.is_multicast(reached):
        kind, flags = abi.MULTICAST, flags | abi.RTCF_MULTICAST
    elif stack.is_broadcast(reached):
        kind, flags = abi.BROADCAST, flags | abi.RTCF_BROADCAST
    member = kind == abi.MULTICAST and path.interface.is_member(reached)
    if member or kind == abi.BROADCAST:
        flags |= abi.RTCF_LOCAL
    main = abi.RT_TABLE_MAIN
    parts = [RTMSG.pack(AF_INET, 32, 32 if src else 0, tos, main, 0, 0, kind, flags)]
    parts.append(u32(abi.RTA_TABLE, main))
    parts.append(attribute(abi.RTA_DST, dst))
    if src:
        parts.append(attribute(abi.RTA_SRC, src))
    parts.append(u32(abi.RTA_OIF, path.interface.index))
    if not src:
        parts.append(attribute(abi.RTA_PREFSRC, path.source))
    if kind == abi.UNICAST and path.next_hop != reached:
        parts.append(attribute(abi.RTA_GATEWAY, path.next_hop))
    if path.mtu != path.interface.mtu:
        parts.append(attribute(abi.RTA_METRICS, u32(abi.RTAX_MTU, path.mtu)))
    if abi.RTA_MARK in asked:
        parts.append(attribute(abi.RTA_MARK, asked[abi.RTA_MARK]))
    uid = number(asked.get(abi.RTA_UID), query.uid)
    parts += [u32(abi.RTA_UID, uid), attribute(abi.RTA_CACHEINFO, bytes(CACHE_BYTES))]
    return b"".join(parts)


def _found6(stack: Stack, path: Path, dst: bytes, src: bytes | None, ifindex: int) -> bytes:
    entry = _match(stack, path, ifindex)
    route = entry.route
    head = RTMSG.pack(AF_INET6, 128, 128, 0, entry.table, route.protocol, 0, entry.type, 0)
    parts = [
        head,
        u32(abi.RTA_TABLE, entry.table),
        attribute(abi.RTA_DST, dst),
        attribute(abi.RTA_SRC, src or bytes(16)),
        attribute(abi.RTA_PREFSRC, path.source),
        u32(abi.RTA_PRIORITY, route.metric),
    ]
    if path.mtu != path.interface.mtu:
        parts.append(attribute(abi.RTA_METRICS, u32(abi.RTAX_MTU, path.mtu)))
    if route.gateway is not None:
        parts.append(attribute(abi.RTA_GATEWAY, route.gateway))
    parts.append(u32(abi.RTA_OIF, path.interface.index))
    parts += [attribute(abi.RTA_CACHEINFO, bytes(CACHE_BYTES)), u8(abi.RTA_PREF, 0)]
    return b"".join(parts)


# Changes ------------------------------------------------------------------------------------


class Given:
    """What RTM_NEWROUTE and RTM_DELROUTE say, checked; EINVAL, EOPNOTSUPP, ENODEV."""

    __slots__ = ("asked", "bits", "gateway", "ifindex", "metric", "network", "protocol", "scope",
                 "source", "type", "width")  # fmt: skip

    def __init__(self, query: Query) -> None:
        family, self.bits, src_bits, _, table, self.protocol, self.scope, self.type, _ = (
            RTMSG.unpack(query.fixed(RTMSG.size))
        )
        if family not in WIDTHS:
            raise PosixError(EOPNOTSUPP)
        self.width = width = WIDTHS[family]
        self.asked = asked = query.attributes(RTMSG.size)
        if number(asked.get(abi.RTA_TABLE), table) not in (0, abi.RT_TABLE_MAIN):
            raise Refused(EOPNOTSUPP, "There is no other table than main")
        for other in (abi.RTA_MULTIPATH, abi.RTA_VIA, abi.RTA_ENCAP, abi.RTA_NH_ID):
            if other in asked:
                raise PosixError(EOPNOTSUPP)
        if self.bits > 8 * width or src_bits:
            raise Refused(EINVAL, "Invalid prefix length")
        self.network = asked.get(abi.RTA_DST, bytes(width))
        self.gateway = asked.get(abi.RTA_GATEWAY)
        self.source = asked.get(abi.RTA_PREFSRC)
        self.ifindex = number(asked.get(abi.RTA_OIF))
        self.metric = number(asked.get(abi.RTA_PRIORITY))
        for address in (self.network, self.gateway, self.source):
            if address is not None and len(address) != width:
                raise PosixError(EINVAL)
        if self.gateway is not None and not any(self.gateway):
            self.gateway = None
        if kinds.network_of(self.network, self.bits) != self.network:
            if width == 4:
                raise Refused(EINVAL, "Invalid prefix for given prefix length")
            self.network = kinds.network_of(self.network, self.bits)

    def route(self, stack: Stack) -> Route:
        """The route that is to be made."""
        error = 0
        if self.type in ERRORS:
            error, self.ifindex, self.gateway = ERRORS[self.type], LOOPBACK_INDEX, None
        elif self.type not in (0, abi.UNICAST):
            raise PosixError(EOPNOTSUPP)
        if self.source is not None and not stack.is_local(self.source):
            words = "Invalid prefsrc address" if self.width == 4 else "Invalid source address"
            raise Refused(EINVAL, words)
        metric = self.metric or (METRIC_V6_DEFAULT if self.width == 16 else 0)
        metrics = attributes(self.asked.get(abi.RTA_METRICS, b""))
        mtu = number(metrics.get(abi.RTAX_MTU))
        return Route(
            self.network, self.bits, self.ifindex, self.gateway, metric, self.source,
            self.protocol, mtu, error,
        )  # fmt: skip


def add(query: Query) -> list[Answer]:
    """Add, replace or change a route, as NLM_F_CREATE, EXCL, REPLACE and APPEND say."""
    given, stack = Given(query), query.network.stack
    route = given.route(stack)
    if not route.ifindex and route.gateway is None:
        raise PosixError(ENODEV)
    if route.ifindex:
        query.interface(route.ifindex)
    elif given.width == 16 and kinds.is_link_local(given.gateway or b"\0\0"):
        raise Refused(EINVAL, "Egress device not specified")
    present = [
        other
        for other in stack.routes
        if (other.network, other.prefix_bits, other.metric)
        == (route.network, route.prefix_bits, route.metric)
    ]
    if present and query.exclusive:
        raise PosixError(EEXIST)
    if not present and not query.create:
        raise PosixError(ENOENT)
    replaced = present[0] if present and query.replace else None
    if replaced is not None:
        stack.remove_route(replaced)
    try:
        stack.add_route(route)
    except PosixError as error:
        if replaced is not None:
            stack.add_route(replaced)
        raise _reason(error, route) from None
    return []


def _reason(error: PosixError, route: Route) -> PosixError:
    """Linux's words for what the stack refuses."""
    narrow = len(route.network) == 4
    if error.errno == ENETUNREACH or (error.errno == EINVAL and route.gateway is not None):
        return (
            Refused(ENETUNREACH, "Nexthop has invalid gateway")
            if narrow
            else PosixError(EHOSTUNREACH)
        )
    if error.errno == ENETDOWN and narrow:
        return Refused(ENETDOWN, "Device for nexthop is not up")
    return error


def remove(query: Query) -> list[Answer]:
    """Remove the first route that fits what is given; ESRCH."""
    given, stack = Given(query), query.network.stack
    for entry in entries(stack, given.width):
        route = entry.route
        if (
            entry.table == abi.RT_TABLE_MAIN
            and (route.network, route.prefix_bits) == (given.network, given.bits)
            and given.metric in (0, route.metric)
            and given.type in (0, entry.type)
            and given.protocol in (0, route.protocol)
            and given.ifindex in (0, route.ifindex)
            and given.gateway in (None, route.gateway)
            and given.source in (None, route.source)
            and (given.width == 16 or given.scope in (abi.SCOPE_NOWHERE, entry.scope))
        ):
            stack.remove_route(route)
            return []
    raise PosixError(ESRCH)


HANDLERS = {
    abi.RTM_GETROUTE: Handler(get, dump),
    abi.RTM_NEWROUTE: Handler(add),
    abi.RTM_DELROUTE: Handler(remove),
}
