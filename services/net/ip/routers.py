"""What routers tell hosts (RFC 4861 section 6.3) and the addresses made of it (RFC 4862 5.5).

Default routers and prefixes are bounded in number; each has a timer that ends it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.net.ip.neighbour import is_plausible
from services.net.ip.routes import (
    METRIC_V6_DEFAULT,
    METRIC_V6_ON_LINK,
    PROTOCOL_RA,
    Route,
)
from services.net.ip.timers import NEVER, Timer
from services.net.proto import address as kinds
from services.net.proto import ipv6, ndp

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.net.ip.discovery import Discovery
    from services.net.ip.host import Host
    from services.net.ip.interface import Interface, InterfaceAddress
    from services.net.ip.neighbour import Neighbours
    from services.net.proto.packet import Packet

MAX_ROUTES = 32
"""Default routers and on-link prefixes, of one interface."""
MAX_ADDRESSES = 16

_SOLICITATIONS = 3
_SOLICIT_EVERY_NS = 4_000_000_000
_SECOND_NS = 1_000_000_000
_TWO_HOURS_S = 7200


class Routers:
    """Asks for routers, and believes them."""

    def __init__(
        self,
        host: Host,
        discovery: Discovery,
        neighbours: Neighbours,
        add_address: Callable[[Interface, bytes], InterfaceAddress],
    ) -> None:
        self._host = host
        self._discovery = discovery
        self._neighbours = neighbours
        self._add_address = add_address
        self._routes: dict[Route, Timer] = {}
        self._asking: dict[int, Timer] = {}

    # Asking

    def begin(self, interface: Interface) -> None:
        """An interface has come up: ask up to three times (6.3.7)."""
        self.end(interface)
        if interface.is_loopback or not interface.accept_ra or interface.mtu < ipv6.MIN_MTU:
            return
        self._ask(interface, _SOLICITATIONS, self._host.now_ns)

    def end(self, interface: Interface) -> None:
        """An interface goes down: nothing that routers told of it holds any more."""
        timer = self._asking.pop(interface.index, None)
        if timer is not None:
            self._host.timers.clear(timer)
        for route in [one for one in self._routes if one.ifindex == interface.index]:
            self._remove(route)

    def _ask(self, interface: Interface, times: int, now_ns: int) -> None:
        own = next((a.address for a in interface.addresses if kinds.is_link_local(a.address)), None)
        if own is not None and len(own) == 16:
            question = ndp.solicit_router(interface.mac)
            self._discovery.send(interface, own, kinds.ALL_ROUTERS, question)
        if times > 1:
            timer = Timer(partial(self._ask, interface, times - 1))
            self._asking[interface.index] = timer
            self._host.timers.set(timer, now_ns + _SOLICIT_EVERY_NS)
        else:
            self._asking.pop(interface.index, None)

    # Believing

    def advertised(self, interface: Interface, packet: Packet, news: ndp.Router) -> None:
        """A router advertisement. ValueError: not from a router on the link."""
        if not kinds.is_link_local(packet.src):
            raise ValueError("router advertisement from elsewhere")
        if not interface.accept_ra:
            return
        timer = self._asking.pop(interface.index, None)
        if timer is not None:
            self._host.timers.clear(timer)
        self._set_parameters(interface, news)
        if news.mac is not None and is_plausible(news.mac):
            known = self._neighbours.learn(interface, packet.src, news.mac)
            if known is not None:
                known.is_router = True
        default = Route(
            kinds.ANY_V6, 0, interface.index, packet.src, METRIC_V6_DEFAULT, protocol=PROTOCOL_RA
        )
        self._keep(default, news.lifetime_s)
        for prefix in news.prefixes:
            self._believe_prefix(interface, prefix)

    def forget(self, interface: Interface, router: bytes) -> None:
        """A neighbour says that it is no router any more (7.2.5)."""
        for route in [one for one in self._routes if one.gateway == router]:
            if route.ifindex == interface.index:
                self._remove(route)

    def _set_parameters(self, interface: Interface, news: ndp.Router) -> None:
        if news.hop_limit:
            interface.hop_limit = news.hop_limit
        if 0 < news.reachable_ms <= 3_600_000:
            interface.reachable_ns = news.reachable_ms * 1_000_000
        if 100 <= news.retransmit_ms <= 60_000:  # faster would be a storm
            interface.retransmit_ns = news.retransmit_ms * 1_000_000
        if ipv6.MIN_MTU <= news.mtu <= interface.mtu and news.mtu != interface.mtu_v6:
            interface.mtu_v6 = news.mtu
            self._host.generation += 1

    def _believe_prefix(self, interface: Interface, told: ndp.Prefix) -> None:
        bits = told.prefix_bits
        network = kinds.network_of(told.prefix, bits)
        if kinds.is_link_local(network) or kinds.is_multicast(network):
            return
        if told.flags & ndp.ON_LINK and bits:
            route = Route(
                network, bits, interface.index, metric=METRIC_V6_ON_LINK, protocol=PROTOCOL_RA
            )
            self._keep(route, told.valid_s)
        if told.flags & ndp.AUTONOMOUS and bits == 64 and told.preferred_s <= told.valid_s:
            self._autoconfigure(interface, network, told)

    def _autoconfigure(self, interface: Interface, network: bytes, told: ndp.Prefix) -> None:
        """RFC 4862 5.5.3: an address of one's own, or a longer life for it."""
        host = self._host
        address = network[:8] + kinds.interface_identifier(interface.mac)
        one = interface.find(address)
        if one is None:
            automatic = sum(other.timer is not None for other in interface.addresses)
            if not told.valid_s or automatic >= MAX_ADDRESSES:
                return
            try:
                one = self._add_address(interface, address)
            except PosixError:
                return  # it has too many
            timer = one.timer = Timer(partial(self._expire_address, interface, one))
        elif one.timer is None:
            return  # somebody gave it by hand
        else:
            timer = one.timer
            left_s = (one.valid_until_ns - host.now_ns) // _SECOND_NS
            if told.valid_s <= _TWO_HOURS_S and told.valid_s <= left_s:
                # A forged advertisement must not take addresses away (5.5.3 e).
                told = told._replace(valid_s=min(left_s, _TWO_HOURS_S))
        one.preferred_until_ns = _end(host.now_ns, told.preferred_s)
        one.valid_until_ns = _end(host.now_ns, told.valid_s)
        host.timers.set(timer, min(one.preferred_until_ns, one.valid_until_ns))
        host.generation += 1

    def _expire_address(self, interface: Interface, one: InterfaceAddress, now_ns: int) -> None:
        """Preferred no longer, or not valid any more."""
        host = self._host
        if one not in interface.addresses:
            return
        if one.valid_until_ns <= now_ns:
            host.detach_address(interface, one.address)
        elif one.timer is not None:
            host.timers.set(one.timer, one.valid_until_ns)
            host.generation += 1

    def _keep(self, route: Route, lifetime_s: int) -> None:
        """Add a route, let it live longer, or end it."""
        if lifetime_s == 0:
            if route in self._routes:
                self._remove(route)
            return
        timer = self._routes.get(route)
        if timer is None:
            if sum(other.ifindex == route.ifindex for other in self._routes) >= MAX_ROUTES:
                return
            try:
                self._host.add_route(route)
            except PosixError:
                return  # a route by hand goes before
            timer = self._routes[route] = Timer(partial(self._expire_route, route))
        self._host.timers.set(timer, _end(self._host.now_ns, lifetime_s))

    def _expire_route(self, route: Route, _: int) -> None:
        self._remove(route)

    def _remove(self, route: Route) -> None:
        timer = self._routes.pop(route)
        self._host.timers.clear(timer)
        try:
            self._host.remove_route(route)
        except PosixError:
            return  # somebody else removed it


def _end(now_ns: int, lifetime_s: int) -> int:
    return NEVER if lifetime_s == ndp.INFINITE_S else now_ns + lifetime_s * _SECOND_NS
