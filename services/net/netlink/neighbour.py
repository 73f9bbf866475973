"""RTM_GETNEIGH, RTM_NEWNEIGH, RTM_DELNEIGH: neighbours on the link (rtnetlink(7))."""

from __future__ import annotations

import struct
from errno import EEXIST, EINVAL, ENOENT, EOPNOTSUPP
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.net.ip.neighbour import NONE, PERMANENT, REACHABLE, STALE, Neighbour
from services.net.netlink import abi
from services.net.netlink.message import Refused, attribute, number, u32
from services.net.netlink.query import Answer, Handler, Query
from services.net.socket.abi import AF_INET, AF_INET6

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.net.ip.interface import Interface

NDMSG = struct.Struct("<BxxxiHBB")
"""struct ndmsg: family, interface, state, flags, type."""
CACHE = struct.Struct("<4I")
"""struct nda_cacheinfo: confirmed, used, updated so long ago (10 ms); references."""
WIDTHS = {AF_INET: 4, AF_INET6: 16}
NS_PER_TICK = 10_000_000
MAC_BYTES = 6


def state_of(one: Neighbour, now_ns: int) -> int:
    """NUD_*: what was reachable and has not been confirmed since is stale."""
    return STALE if one.state == REACHABLE and one.fresh_until_ns <= now_ns else one.state


def body(one: Neighbour, now_ns: int) -> bytes:
    """What RTM_NEWNEIGH tells of a neighbour."""
    assert one.interface is not None
    family = AF_INET if len(one.address) == 4 else AF_INET6
    flags = abi.NTF_ROUTER if one.is_router else 0
    state = state_of(one, now_ns)
    parts = [
        NDMSG.pack(family, one.interface.index, state, flags, abi.UNICAST),
        attribute(abi.NDA_DST, one.address),
    ]
    if one.mac:
        parts.append(attribute(abi.NDA_LLADDR, one.mac))
    parts.append(u32(abi.NDA_PROBES, one.probes))
    since = [(now_ns - then) // NS_PER_TICK for then in (one.updated_ns, one.used_ns)]
    cache = CACHE.pack(since[0] & 0xFFFF_FFFF, since[1] & 0xFFFF_FFFF, since[0] & 0xFFFF_FFFF, 0)
    parts.append(attribute(abi.NDA_CACHEINFO, cache))
    return b"".join(parts)


def dump(query: Query) -> Iterator[Answer]:
    """All neighbours, of a family and an interface if they are given; proxies there are none."""
    if query.family == abi.AF_BRIDGE:
        raise PosixError(EOPNOTSUPP)
    wanted, flags = 0, 0
    if len(query.message.body) >= NDMSG.size:
        _, wanted, _, flags, _ = NDMSG.unpack(query.message.body[: NDMSG.size])
        asked = query.attributes(NDMSG.size)
        wanted = number(asked.get(abi.NDA_IFINDEX), wanted if query.strict else 0)
    if flags & abi.NTF_PROXY:
        return
    stack = query.network.stack
    for family, width in WIDTHS.items():
        if query.family not in (0, family):
            continue
        for one in stack.neighbours.entries():
            fits = one.interface is not None and wanted in (0, one.interface.index)
            if fits and len(one.address) == width and one.state != NONE:
                yield abi.RTM_NEWNEIGH, body(one, stack.now_ns)


def _named(query: Query) -> tuple[Interface, bytes]:
    """The interface and address that are meant; EINVAL, ENODEV, EOPNOTSUPP."""
    family, index, _, flags, _ = NDMSG.unpack(query.fixed(NDMSG.size))
    if family not in WIDTHS or flags & abi.NTF_PROXY:
        raise PosixError(EOPNOTSUPP)
    address = query.attributes(NDMSG.size).get(abi.NDA_DST)
    if address is None:
        raise Refused(EINVAL, "Network address not specified")
    if len(address) != WIDTHS[family]:
        raise Refused(EINVAL, "Invalid network address")
    if not index:
        raise Refused(EINVAL, "No device specified")
    return query.interface(index), address


def get(query: Query) -> list[Answer]:
    """One neighbour; ENOENT."""
    interface, address = _named(query)
    stack = query.network.stack
    found = stack.neighbours.get(interface, address)
    if found is None:
        raise Refused(ENOENT, "Neighbour entry not found")
    return [(abi.RTM_NEWNEIGH, body(found, stack.now_ns))]


def add(query: Query) -> list[Answer]:
    """Make or change an entry: permanent, reachable or stale."""
    interface, address = _named(query)
    state = NDMSG.unpack(query.fixed(NDMSG.size))[2]
    mac = query.attributes(NDMSG.size).get(abi.NDA_LLADDR)
    neighbours = query.network.stack.neighbours
    found = neighbours.get(interface, address)
    if found is None and not query.create:
        raise PosixError(ENOENT)
    if found is not None and query.exclusive:
        raise PosixError(EEXIST)
    if mac is None and found is not None:
        mac = found.mac
    if not mac:
        raise Refused(EINVAL, "No link layer address given")
    if len(mac) != MAC_BYTES:
        raise Refused(EINVAL, "Invalid link address")
    if interface.is_loopback:
        raise PosixError(EOPNOTSUPP)  # nothing is resolved there
    if state == PERMANENT:
        neighbours.set_permanent(interface, address, mac)
    elif state in (REACHABLE, STALE):
        neighbours.remove(interface, address)
        one = neighbours.learn(interface, address, mac)
        if one is not None and state == REACHABLE:
            neighbours.confirm(one)
    else:
        raise PosixError(EOPNOTSUPP)
    return []


def remove(query: Query) -> list[Answer]:
    """Forget a neighbour; ENOENT."""
    interface, address = _named(query)
    if not query.network.stack.neighbours.remove(interface, address):
        raise PosixError(ENOENT)
    return []


HANDLERS = {
    abi.RTM_GETNEIGH: Handler(get, dump),
    abi.RTM_NEWNEIGH: Handler(add),
    abi.RTM_DELNEIGH: Handler(remove),
}
