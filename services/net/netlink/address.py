"""RTM_GETADDR, RTM_NEWADDR, RTM_DELADDR: addresses of interfaces (rtnetlink(7))."""

from __future__ import annotations

import struct
from errno import EADDRNOTAVAIL, EEXIST, EINVAL, ENODEV, EOPNOTSUPP
from functools import partial
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.net.ip.timers import NEVER, Timer
from services.net.netlink import abi
from services.net.netlink.message import Refused, attribute, name, number, text, u8, u32
from services.net.netlink.query import Answer, Handler, Query
from services.net.proto import address as kinds
from services.net.socket.abi import AF_INET, AF_INET6

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.net.ip.interface import Interface, InterfaceAddress
    from services.net.ip.stack import Stack

IFADDR = struct.Struct("<BBBBI")
"""struct ifaddrmsg: family, prefix length, flags, scope, interface."""
CACHE = struct.Struct("<4I")
"""struct ifa_cacheinfo: preferred and valid for so many seconds; made, changed at (10 ms)."""
NS_PER_S, NS_PER_TICK = 1_000_000_000, 10_000_000
WIDTHS = {AF_INET: 4, AF_INET6: 16}
PROTO_LOOPBACK, PROTO_LINK_LOCAL, PROTO_RA = 1, 3, 2
"""IFAPROT_KERNEL_*: why the kernel gave an IPv6 address."""


def body(stack: Stack, interface: Interface, one: InterfaceAddress) -> bytes:
    """What RTM_NEWADDR tells of an address; attributes in Linux's order."""
    flags = flags_of(stack, interface, one)
    narrow = len(one.address) == 4
    family = AF_INET if narrow else AF_INET6
    cache = CACHE.pack(
        _left_s(one.preferred_until_ns, stack.now_ns),
        _left_s(one.valid_until_ns, stack.now_ns),
        one.made_ns // NS_PER_TICK & 0xFFFF_FFFF,
        one.changed_ns // NS_PER_TICK & 0xFFFF_FFFF,
    )
    parts = [IFADDR.pack(family, one.prefix_bits, flags & 0xFF, one.scope, interface.index)]
    parts.append(attribute(abi.IFA_ADDRESS, one.address))
    if narrow:
        parts.append(attribute(abi.IFA_LOCAL, one.address))
        if one.shown_broadcast is not None:
            parts.append(attribute(abi.IFA_BROADCAST, one.shown_broadcast))
        parts.append(text(abi.IFA_LABEL, one.label or interface.name))
        parts.append(u32(abi.IFA_FLAGS, flags))
        parts.append(attribute(abi.IFA_CACHEINFO, cache))
    else:
        parts.append(attribute(abi.IFA_CACHEINFO, cache))
        parts.append(u32(abi.IFA_FLAGS, flags))
        origin = _origin(interface, one)
        if origin:
            parts.append(u8(abi.IFA_PROTO, origin))
    return b"".join(parts)


def flags_of(stack: Stack, interface: Interface, one: InterfaceAddress) -> int:
    """IFA_F_* as of now."""
    flags = one.flags
    if one.valid_until_ns == NEVER:
        flags |= abi.IFA_F_PERMANENT
    if one.preferred_until_ns <= stack.now_ns:
        flags |= abi.IFA_F_DEPRECATED
    if len(one.address) == 4 and primary_of(interface, one) is not one:
        flags |= abi.IFA_F_SECONDARY
    return flags


def primary_of(interface: Interface, one: InterfaceAddress) -> InterfaceAddress:
    """The first IPv4 address of the same network on the interface."""
    for other in interface.addresses:
        if other.prefix_bits == one.prefix_bits and kinds.shares_prefix(
            other.address, one.address, one.prefix_bits
        ):
            return other
    return one


def in_order(interface: Interface, width: int) -> list[InterfaceAddress]:
    """An interface's IPv4 (4) or IPv6 (16) addresses as Linux keeps them.

    IPv4's secondaries come last; of IPv6 the widest scope comes first, and of one scope the
    youngest.
    """
    own = [one for one in interface.addresses if len(one.address) == width]
    if width == 4:
        return sorted(own, key=lambda one: primary_of(interface, one) is not one)
    own.reverse()
    return sorted(own, key=lambda one: one.scope)


def _origin(interface: Interface, one: InterfaceAddress) -> int:
    """IFA_PROTO: 0 for an address that somebody gave."""
    if kinds.is_loopback(one.address):
        return PROTO_LOOPBACK
    suffix = kinds.interface_identifier(interface.mac)
    if one.address == kinds.LINK_LOCAL_PREFIX + suffix:
        return PROTO_LINK_LOCAL
    advertised = not one.on_link and not one.flags & abi.IFA_F_NOPREFIXROUTE
    return PROTO_RA if advertised else 0


def _left_s(until_ns: int, now_ns: int) -> int:
    if until_ns == NEVER:
        return abi.FOR_EVER
    return min(-(min(now_ns - until_ns, 0) // NS_PER_S), abi.FOR_EVER - 1)


def dump(query: Query) -> Iterator[Answer]:
    """All addresses, IPv4's first; with strict checking of one interface if one is given."""
    wanted = 0
    if query.strict:
        wanted = IFADDR.unpack(query.fixed(IFADDR.size))[4]
        if wanted:
            query.interface(wanted)
    stack, family = query.network.stack, query.family
    for width in (4, 16):
        if family in WIDTHS and WIDTHS[family] != width:
            continue
        for interface in list(stack.interfaces.values()):
            if wanted not in (0, interface.index):
                continue
            for one in in_order(interface, width):
                yield abi.RTM_NEWADDR, body(stack, interface, one)


def get(query: Query) -> list[Answer]:
    """One address: of IPv6 only, as on Linux."""
    if query.family != AF_INET6:
        raise PosixError(EOPNOTSUPP)
    asked = query.attributes(IFADDR.size)
    address = asked.get(abi.IFA_LOCAL, asked.get(abi.IFA_ADDRESS, b""))
    if len(address) != 16:
        raise PosixError(EINVAL)
    wanted, stack = IFADDR.unpack(query.fixed(IFADDR.size))[4], query.network.stack
    for interface in stack.interfaces.values():
        one = interface.find(address)
        if one is not None and wanted in (0, interface.index):
            return [(abi.RTM_NEWADDR, body(stack, interface, one))]
    raise PosixError(EADDRNOTAVAIL)


class Given:
    """What RTM_NEWADDR and RTM_DELADDR say, checked; EINVAL, ENODEV, EOPNOTSUPP."""

    __slots__ = ("address", "asked", "bits", "flags", "interface", "scope", "words")

    def __init__(self, query: Query) -> None:
        family, self.bits, flags, self.scope, index = IFADDR.unpack(query.fixed(IFADDR.size))
        self.asked = asked = query.attributes(IFADDR.size)
        self.words = "ipv4" if family == AF_INET else "ipv6"
        self.flags = number(asked.get(abi.IFA_FLAGS), flags)
        if family not in WIDTHS:
            raise PosixError(EOPNOTSUPP)
        width = WIDTHS[family]
        if self.bits > 8 * width:
            raise self.refused(EINVAL, "Invalid prefix length")
        first, second = (abi.IFA_LOCAL, abi.IFA_ADDRESS)
        self.address = asked.get(first, asked.get(second, b"") if family == AF_INET6 else b"")
        if len(self.address) != width:
            raise self.refused(EINVAL, "Local address is not supplied")
        try:
            self.interface = query.interface(index)
        except PosixError:
            raise self.refused(ENODEV, "Device not found") from None
        peer = asked.get(second, self.address)
        if first in asked and peer != self.address:
            raise self.refused(EOPNOTSUPP, "Peer addresses are not supported")

    def refused(self, error: int, words: str) -> Refused:
        """Linux's words begin with the family; IPv6's then with a small letter."""
        if self.words == "ipv6" and words.startswith("Address"):
            words = words[0].lower() + words[1:]
        return Refused(error, f"{self.words}: {words}")

    def lifetimes(self) -> tuple[int, int]:
        """Preferred, valid: seconds; EINVAL where they cannot be."""
        cache = self.asked.get(abi.IFA_CACHEINFO)
        if cache is None or len(cache) < CACHE.size:
            return abi.FOR_EVER, abi.FOR_EVER
        preferred, valid, _, _ = CACHE.unpack(cache[: CACHE.size])
        if not valid or preferred > valid:
            raise self.refused(EINVAL, "address lifetime invalid")
        return preferred, valid


def add(query: Query) -> list[Answer]:
    """Give an interface an address, or an address new lifetimes."""
    given, stack = Given(query), query.network.stack
    lifetimes = given.lifetimes()
    one = given.interface.find(given.address)
    if one is not None:
        if one.prefix_bits != given.bits or query.exclusive or not query.replace:
            raise given.refused(EEXIST, "Address already assigned")
    else:
        one = _attach(stack, given)
    one.flags = given.flags & ~(abi.IFA_F_PERMANENT | abi.IFA_F_SECONDARY | abi.IFA_F_DEPRECATED)
    if abi.IFA_LABEL in given.asked:
        one.label = name(given.asked[abi.IFA_LABEL])[:15].decode("ascii", "replace")
    _set_lifetimes(stack, given.interface, one, *lifetimes)
    return []


def _attach(stack: Stack, given: Given) -> InterfaceAddress:
    address, interface = given.address, given.interface
    if len(address) == 16 and kinds.is_multicast(address):
        flag = 'Cannot assign multicast address without "IFA_F_MCAUTOJOIN" flag'
        raise given.refused(EINVAL, flag)
    if len(address) == 16 and kinds.is_loopback(address) and not interface.is_loopback:
        raise given.refused(EADDRNOTAVAIL, "Cannot assign loopback address on this device")
    try:
        if given.flags & abi.IFA_F_NOPREFIXROUTE:
            one = stack.attach_address(interface, address, given.bits, on_link=False)
        else:
            one = stack.add_address(interface.index, address, given.bits)
    except PosixError as error:
        if error.errno == EINVAL:
            raise given.refused(EINVAL, "Invalid address") from None
        raise
    if len(address) == 4:
        one.scope = given.scope
        one.shown_broadcast = given.asked.get(abi.IFA_BROADCAST)
    return one


def _set_lifetimes(
    stack: Stack, interface: Interface, one: InterfaceAddress, preferred_s: int, valid_s: int
) -> None:
    """As RFC 4862 5.5.4 has it: deprecated first, then gone."""
    now_ns = stack.now_ns
    one.changed_ns = now_ns
    one.preferred_until_ns = _end_ns(now_ns, preferred_s)
    one.valid_until_ns = _end_ns(now_ns, valid_s)
    if one.timer is not None:
        stack.timers.clear(one.timer)
        one.timer = None
    if one.valid_until_ns != NEVER or one.preferred_until_ns != NEVER:
        one.timer = Timer(partial(_expire, stack, interface, one))
        stack.timers.set(one.timer, min(one.preferred_until_ns, one.valid_until_ns))
    stack.generation += 1


def _end_ns(now_ns: int, lifetime_s: int) -> int:
    return NEVER if lifetime_s == abi.FOR_EVER else now_ns + lifetime_s * NS_PER_S


def _expire(stack: Stack, interface: Interface, one: InterfaceAddress, now_ns: int) -> None:
    if one.valid_until_ns <= now_ns:
        stack.detach_address(interface, one.address)
    elif one.timer is not None:
        stack.timers.set(one.timer, one.valid_until_ns)
        stack.generation += 1  # deprecated now


def remove(query: Query) -> list[Answer]:
    """Take an address away, and with a primary IPv4 address its secondaries (promotion is off)."""
    given, stack = Given(query), query.network.stack
    interface, one = given.interface, given.interface.find(given.address)
    if one is None or (one.prefix_bits != given.bits and abi.IFA_ADDRESS in given.asked):
        raise given.refused(EADDRNOTAVAIL, "Address not found")
    if abi.IFA_LABEL in given.asked:
        label = name(given.asked[abi.IFA_LABEL]).decode("ascii", "replace")
        if label != (one.label or interface.name):
            raise given.refused(EADDRNOTAVAIL, "Address not found")
    gone = [one]
    if len(one.address) == 4 and primary_of(interface, one) is one:
        gone += [other for other in interface.addresses if primary_of(interface, other) is one]
    for each in dict.fromkeys(gone):
        stack.remove_address(interface.index, each.address)
        _forget_routes(stack, interface, each.address)
    return []


def _forget_routes(stack: Stack, interface: Interface, address: bytes) -> None:
    """Routes go with their source address, and all with an interface's last IPv4 address."""
    last = len(address) == 4 and not any(len(own.address) == 4 for own in interface.addresses)
    for route in list(stack.routes):
        lost = last and len(route.network) == 4 and route.ifindex == interface.index
        if lost or route.source == address:
            stack.remove_route(route)


HANDLERS = {
    abi.RTM_GETADDR: Handler(get, dump),
    abi.RTM_NEWADDR: Handler(add),
    abi.RTM_DELADDR: Handler(remove),
}
