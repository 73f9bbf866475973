"""The routing table: longest prefix first, then the lowest metric.

For each prefix length in use there is a dict from network to its routes, so a lookup costs one
dict access for each length in use. It is not on the data path: `Router` keeps what it found.
"""

from __future__ import annotations

import errno
from bisect import insort
from typing import TYPE_CHECKING, NamedTuple

from bus.errors import PosixError
from services.net.proto.address import network_of

if TYPE_CHECKING:
    from collections.abc import Iterator

PROTOCOL_KERNEL, PROTOCOL_BOOT, PROTOCOL_STATIC, PROTOCOL_RA = 2, 3, 4, 9
"""RTPROT_*, rtnetlink(7)."""

METRIC_V6_ON_LINK = 256
METRIC_V6_DEFAULT = 1024
"""Linux's metrics of routes that nobody gave one."""


class Route(NamedTuple):
    """Where datagrams to a network go."""

    network: bytes  # host bits are zero
    prefix_bits: int
    ifindex: int
    gateway: bytes | None = None  # None: the destination is on the link
    metric: int = 0
    source: bytes | None = None  # the preferred source address
    protocol: int = PROTOCOL_BOOT
    mtu: int = 0  # bytes; 0: the interface's
    error: int = 0  # errno of an unreachable, prohibited or black-hole route


def _metric(route: Route) -> int:
    return route.metric


class RoutingTable:
    """The routes of both families. Whoever changes it has paths found anew."""

    def __init__(self) -> None:
        # By width of an address, then by prefix length, longest first.
        self._networks: dict[int, dict[int, dict[bytes, list[Route]]]] = {4: {}, 16: {}}
        self._lengths: dict[int, list[int]] = {4: [], 16: []}

    def __iter__(self) -> Iterator[Route]:
        for width, lengths in self._lengths.items():
            for bits in lengths:
                for routes in self._networks[width][bits].values():
                    yield from routes

    def add(self, route: Route) -> None:
        """EINVAL: not a network. EEXIST: one with the same network, metric and next hop."""
        width = len(route.network)
        bits = route.prefix_bits
        if width not in self._networks or not 0 <= bits <= 8 * width:
            raise PosixError(errno.EINVAL)
        if network_of(route.network, bits) != route.network:
            raise PosixError(errno.EINVAL)
        if bits not in self._networks[width]:
            self._networks[width][bits] = {}
            insort(self._lengths[width], bits, key=int.__neg__)
        routes = self._networks[width][bits].setdefault(route.network, [])
        if any(_same(route, other) for other in routes):
            raise PosixError(errno.EEXIST)
        insort(routes, route, key=_metric)

    def remove(self, route: Route) -> None:
        """ESRCH: there is no route with this network, metric and next hop."""
        width, bits = len(route.network), route.prefix_bits
        networks = self._networks.get(width, {}).get(bits, {})
        routes = networks.get(route.network, [])
        found = next((other for other in routes if _same(route, other)), None)
        if found is None:
            raise PosixError(errno.ESRCH)
        routes.remove(found)
        if not routes:
            del networks[route.network]
            if not networks:
                del self._networks[width][bits]
                self._lengths[width].remove(bits)

    def remove_where(self, ifindex: int, protocol: int | None = None) -> None:
        """Remove an interface's routes, all or those of one origin."""
        for route in list(self):
            if route.ifindex == ifindex and protocol in (None, route.protocol):
                self.remove(route)

    def lookup(self, dst: bytes, ifindex: int = 0, on_link: bool = False) -> Route | None:
        """The best route to an address; through one interface, if `ifindex` is not 0.

        `on_link`: of those without a gateway, which is how a gateway itself is reached.
        """
        width = len(dst)
        tables = self._networks[width]
        number = int.from_bytes(dst, "big")
        for bits in self._lengths[width]:
            shift = 8 * width - bits
            routes = tables[bits].get((number >> shift << shift).to_bytes(width, "big"))
            if routes is None:
                continue
            if not ifindex and not on_link:
                return routes[0]
            for route in routes:
                if ifindex in (0, route.ifindex) and not (on_link and route.gateway):
                    return route
        return None


def _same(left: Route, right: Route) -> bool:
    return (
        left.metric == right.metric
        and left.ifindex == right.ifindex
        and left.gateway == right.gateway
    )
