"""Which way does a datagram go? Routes, source addresses (RFC 1122, RFC 6724), path MTUs.

Paths are found once and kept by (destination, source, interface) until the configuration's
generation moves on.
"""

from __future__ import annotations

import errno
from collections import OrderedDict
from typing import TYPE_CHECKING

from bus.census import kind
from bus.errors import PosixError
from services.net.ip.neighbour import NOBODY, Neighbour
from services.net.ip.timers import Timer
from services.net.proto import address as kinds
from services.net.proto import ipv6

if TYPE_CHECKING:
    from services.net.ip.host import Host
    from services.net.ip.interface import Interface, InterfaceAddress
    from services.net.ip.routes import Route

_MAX_PATHS = 2048
_MAX_EXCEPTIONS = 1024
_EXCEPTION_NS = 600 * 1_000_000_000  # Linux's mtu_expires
MIN_PATH_MTU_V4 = 552  # Linux's min_pmtu


PATH = kind("net", "path")


class Path:
    """A way to a destination. Compare `generation` with the stack's before using it again."""

    __slots__ = (
        "destination",
        "generation",
        "group",
        "gso",
        "ident",
        "interface",
        "loopback",
        "mtu",
        "neighbour",
        "next_hop",
        "offload",
        "room",
        "source",
    )

    def __init__(
        self,
        interface: Interface,
        source: bytes,
        destination: bytes,
        next_hop: bytes,
        mtu: int,
        *,
        loopback: bool,
        group: bool,
        generation: int,
        ident: int,
    ) -> None:
        PATH.made()
        self.interface = interface
        self.source = source  # unspecified: the interface has no address of the family
        self.destination = destination  # as asked for, but the unspecified address is ourselves
        self.next_hop = next_hop
        self.mtu = mtu  # bytes of an IP datagram
        self.loopback = loopback  # handed over inside
        self.group = group  # multicast or broadcast
        self.generation = generation
        self.ident = ident  # IPv4 identification used last (RFC 6864)
        self.offload = interface.offload
        self.gso = interface.gso and not loopback
        self.room = mtu - (20 if len(destination) == 4 else 40)  # bytes behind the IP header
        self.neighbour = NOBODY

    def __del__(self) -> None:
        PATH.freed()

    def __repr__(self) -> str:
        return (
            f"Path({self.source.hex()} > {self.destination.hex()} via {self.next_hop.hex()}, "
            f"{self.interface.name}, mtu={self.mtu}, loopback={self.loopback})"
        )


class Router:
    """Finds and keeps paths."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._paths: dict[tuple[bytes, bytes | None, int], Path] = {}
        self._exceptions: OrderedDict[bytes, tuple[int, int]] = OrderedDict()  # mtu, until
        self._expiry = Timer(self._expire)

    def route(self, dst: bytes, src: bytes | None = None, ifindex: int = 0) -> Path:
        """The path to `dst`, from an own address and through an interface if they are given.

        ENETUNREACH: no route. EINVAL: `src` is not ours, or cannot go there. ENODEV: no such
        interface. EADDRNOTAVAIL: no IPv6 address to send from. Also the errno of a route that
        forbids.
        """
        key = (dst, src, ifindex)
        path = self._paths.get(key)
        if path is None or path.generation != self._host.generation:
            path = self._find(dst, src, ifindex)
            self._paths.pop(key, None)
            if len(self._paths) >= _MAX_PATHS:
                del self._paths[next(iter(self._paths))]
            self._paths[key] = path
        return path

    def shrink(self) -> int:
        """Forget all paths; who uses one has it still. Replies with how many went."""
        gone = len(self._paths)
        self._paths.clear()
        return gone

    def flush(self) -> None:
        """Find all paths anew, and forget what was learnt of their MTUs."""
        self._exceptions.clear()
        self._host.generation += 1

    def update_mtu(self, dst: bytes, mtu: int) -> None:
        """Someone on the way takes no more than `mtu` bytes (RFC 1191, RFC 8201).

        To be called by the transport that has matched the ICMP error to what it sent. Forgotten
        after ten minutes. Less than 552 (IPv4) or 1280 bytes (IPv6) is not believed.
        """
        mtu = max(mtu, MIN_PATH_MTU_V4 if len(dst) == 4 else ipv6.MIN_MTU)
        host = self._host
        try:
            path = self.route(dst)
        except PosixError:
            return  # no longer a destination
        if path.loopback or mtu >= path.mtu:
            return
        self._exceptions.pop(dst, None)
        if len(self._exceptions) >= _MAX_EXCEPTIONS:
            self._exceptions.popitem(last=False)
        until_ns = host.now_ns + _EXCEPTION_NS
        self._exceptions[dst] = (mtu, until_ns)
        if len(self._exceptions) == 1:
            host.timers.set(self._expiry, until_ns)
        host.generation += 1

    def _expire(self, now_ns: int) -> None:
        """Entries are in the order of their end."""
        exceptions, host = self._exceptions, self._host
        while exceptions:
            dst, (_, until_ns) = next(iter(exceptions.items()))
            if until_ns > now_ns:
                host.timers.set(self._expiry, until_ns)
                break
            del exceptions[dst]
        host.generation += 1

    def _mtu(self, dst: bytes, interface: Interface, route: Route | None = None) -> int:
        mtu = interface.mtu
        if len(dst) == 16 and interface.mtu_v6:
            mtu = min(mtu, interface.mtu_v6)
        if route is not None and route.mtu:
            mtu = min(mtu, route.mtu)
        if dst in self._exceptions:
            mtu = min(mtu, self._exceptions[dst][0])
        return mtu

    # Finding a path

    def _find(self, dst: bytes, src: bytes | None, ifindex: int) -> Path:
        host = self._host
        if len(dst) not in (4, 16) or (src is not None and len(src) != len(dst)):
            raise PosixError(errno.EINVAL)
        if src is not None and kinds.is_unspecified(src):
            src = None
        if src is not None and not host.is_local(src):
            raise PosixError(errno.EINVAL)
        interface = host.interface(ifindex) if ifindex else None
        if kinds.is_unspecified(dst):  # as connect(2) to INADDR_ANY does
            dst = src or (kinds.LOOPBACK_V4 if len(dst) == 4 else kinds.LOOPBACK_V6)
        if host.is_local(dst):
            own = kinds.LOOPBACK_V4 if kinds.is_loopback(dst) and len(dst) == 4 else dst
            return self._path(host.loopback, src or own, dst, dst, loopback=True)
        if kinds.is_multicast(dst) or host.is_broadcast(dst):
            return self._find_group(dst, src, interface)
        route = host.routes.lookup(dst, ifindex)
        if route is None:
            host.ip_counters(dst).OutNoRoutes += 1
            raise PosixError(errno.ENETUNREACH)
        if route.error:
            raise PosixError(route.error)
        out = host.interfaces[route.ifindex]
        next_hop = route.gateway or dst
        source = src or route.source or self.select_source(dst, next_hop, out)
        if not out.is_loopback and kinds.is_loopback(source):
            raise PosixError(errno.EINVAL)
        return self._path(out, source, dst, next_hop, out.is_loopback, route=route)

    def _find_group(self, dst: bytes, src: bytes | None, interface: Interface | None) -> Path:
        """Multicast and broadcast leave where they are told to, or where the source lives."""
        host = self._host
        if interface is None:
            interface = host.broadcasts.get(dst)
        if interface is None and src is not None:
            interface = host.local.get(src)
        if interface is None:
            route = host.routes.lookup(dst)
            if route is None and len(dst) == 16:
                # Linux keeps ff00::/8 in every interface's table.
                others = [one for one in host.interfaces.values() if one.up and one.mac != bytes(6)]
                interface = others[0] if others else None
            elif route is not None:
                interface = host.interfaces[route.ifindex]
        if interface is None or not interface.up:
            raise PosixError(errno.ENETUNREACH)
        source = src or self.select_source(dst, dst, interface)
        return self._path(interface, source, dst, dst, interface.is_loopback, group=True)

    def _path(
        self,
        interface: Interface,
        source: bytes,
        dst: bytes,
        next_hop: bytes,
        loopback: bool,
        group: bool = False,
        route: Route | None = None,
    ) -> Path:
        host = self._host
        path = Path(
            interface,
            source,
            dst,
            next_hop,
            self._mtu(dst, interface, route),
            loopback=loopback,
            group=group,
            generation=host.generation,
            ident=int.from_bytes(host.random(2), "big"),
        )
        if group and not loopback:
            is_broadcast = len(dst) == 4 and not kinds.is_multicast(dst)
            mac = kinds.MAC_BROADCAST if is_broadcast else kinds.multicast_mac(dst)
            path.neighbour = Neighbour.fixed(interface, dst, mac)
        return path

    # Source addresses

    def select_source(self, dst: bytes, next_hop: bytes, interface: Interface) -> bytes:
        """An own address to send from. IPv6 without any: EADDRNOTAVAIL. IPv4: 0.0.0.0, as DHCP
        needs it.
        """
        if len(dst) == 4:
            return self._select_source_v4(next_hop, interface)
        best = self._best_v6(dst, interface.addresses)
        if best is None and not kinds.is_link_local(dst):
            best = self._best_v6(
                dst, [a for i in self._host.interfaces.values() if i.up for a in i.addresses]
            )
        if best is None:
            raise PosixError(errno.EADDRNOTAVAIL)
        return best.address

    def _select_source_v4(self, next_hop: bytes, interface: Interface) -> bytes:
        """Of the next hop's network; else the interface's first; else any that is not lo's."""
        own = [one for one in interface.addresses if len(one.address) == 4]
        for one in own:
            if kinds.shares_prefix(one.address, next_hop, one.prefix_bits):
                return one.address
        if own:
            return own[0].address
        for other in self._host.interfaces.values():
            if other.up and not other.is_loopback:
                for one in other.addresses:
                    if len(one.address) == 4:
                        return one.address
        return kinds.ANY_V4

    def _best_v6(self, dst: bytes, candidates: list[InterfaceAddress]) -> InterfaceAddress | None:
        """RFC 6724 section 5, rules 2, 3 and 8. The loopback address is for itself alone."""
        now_ns = self._host.now_ns
        wanted = _scope(dst)

        def rank(one: InterfaceAddress) -> tuple[bool, int, bool, int]:
            scope = _scope(one.address)
            fits = scope >= wanted
            return (
                fits,
                -scope if fits else scope,  # the smallest that fits, else the largest
                one.preferred_until_ns > now_ns,
                kinds.common_bits(one.address, dst),
            )

        usable = [
            one
            for one in candidates
            if len(one.address) == 16 and not kinds.is_loopback(one.address)
        ]
        return max(usable, key=rank, default=None)


def _scope(address: bytes) -> int:
    """The scope of an IPv6 address as the multicast scope numbers have it (RFC 4291 2.7)."""
    if address[0] == 0xFF:
        return address[1] & 0x0F
    if kinds.is_link_local(address) or kinds.is_loopback(address):
        return 2
    if address[0] == 0xFE and address[1] & 0xC0 == 0xC0:
        return 5  # fec0::/10, the site-local addresses of old
    return 14
