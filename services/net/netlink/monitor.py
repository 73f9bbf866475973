"""Who has joined a multicast group of NETLINK_ROUTE hears what changes.

Nothing in the stack calls here. While somebody listens, the monitor keeps what it told last, and
compares whenever the stack's `generation` (or that of its neighbours) has moved: what is new or
different is RTM_NEW..., what is gone RTM_DEL... with the body that it had. So all causes are
covered alike: netlink, ioctls, routers, timers. Changes that cancel out between two looks are not
told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from services.net.netlink import abi, address, link, neighbour, route

if TYPE_CHECKING:
    from collections.abc import Hashable

    from services.net.socket.network import Network


class Change(NamedTuple):
    """What the members of a group are told."""

    group: int
    type: int
    body: bytes


class _Kept(NamedTuple):
    """One thing as it was told last: `mark` is what matters of it."""

    group: int
    mark: Hashable
    body: bytes


LINK, ADDRESS, ROUTE, NEIGHBOUR = (
    abi.RTM_NEWLINK,
    abi.RTM_NEWADDR,
    abi.RTM_NEWROUTE,
    abi.RTM_NEWNEIGH,
)
GROUPS = {
    abi.GROUP_LINK: LINK,
    abi.GROUP_IPV4_ADDRESS: ADDRESS,
    abi.GROUP_IPV6_ADDRESS: ADDRESS,
    abi.GROUP_IPV4_ROUTE: ROUTE,
    abi.GROUP_IPV6_ROUTE: ROUTE,
    abi.GROUP_NEIGH: NEIGHBOUR,
}
"""Groups to which something can happen, and the kind of message. In the others nothing does."""
Key = tuple[int, "Hashable"]


def _coming(change: Change) -> int:
    if change.type != ROUTE:
        return -1
    bits, kind = change.body[1], change.body[7]
    return 0 if kind == abi.LOCAL and bits in (32, 128) else 2 if kind == abi.BROADCAST else 1


def _leaving(change: Change) -> int:
    return (2, 0, 1)[_coming(change._replace(type=ROUTE))] if change.type == ROUTE + 1 else -1


class Monitor:
    """See the module's docstring."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._kept: dict[Key, _Kept] = {}
        self._seen = (-1, -1)

    def _moved(self) -> tuple[int, int]:
        stack = self._network.stack
        return stack.generation, stack.neighbours.changes

    def begin(self) -> None:
        """Somebody listens now: what is there is no news."""
        self._kept, self._seen = self._snapshot(), self._moved()

    def collect(self) -> list[Change]:
        """What has changed since the last time."""
        now = self._moved()
        if now == self._seen:
            return []
        self._seen = now
        before, after = self._kept, self._snapshot()
        self._kept = after
        gone = [
            Change(kept.group, key[0] + 1, kept.body)
            for key, kept in before.items()
            if key not in after
        ]
        new = [
            Change(kept.group, key[0], kept.body)
            for key, kept in after.items()
            if key not in before or before[key].mark != kept.mark
        ]
        # As Linux goes about it: an address before its routes, its own route before the others.
        return sorted(gone, key=_leaving) + sorted(new, key=_coming)

    def _snapshot(self) -> dict[Key, _Kept]:
        found: dict[Key, _Kept] = {}
        self._links(found)
        self._routes(found)
        self._neighbours(found)
        return found

    def _links(self, found: dict[Key, _Kept]) -> None:
        stack = self._network.stack
        for interface in stack.interfaces.values():
            mark = link.body(interface, stats=False)
            whole = link.body(interface, 0xFFFF_FFFF)
            found[LINK, interface.index] = _Kept(abi.GROUP_LINK, mark, whole)
            for one in interface.addresses:
                group = abi.GROUP_IPV4_ADDRESS if len(one.address) == 4 else abi.GROUP_IPV6_ADDRESS
                body = address.body(stack, interface, one)
                lives: Hashable = (
                    address.flags_of(stack, interface, one), one.prefix_bits, one.label,
                    one.preferred_until_ns, one.valid_until_ns,
                )  # fmt: skip
                found[ADDRESS, (interface.index, one.address)] = _Kept(group, lives, body)

    def _routes(self, found: dict[Key, _Kept]) -> None:
        for width, group in ((4, abi.GROUP_IPV4_ROUTE), (16, abi.GROUP_IPV6_ROUTE)):
            for entry in route.entries(self._network.stack, width):
                body = route.body(entry)
                found[ROUTE, body] = _Kept(group, body, body)

    def _neighbours(self, found: dict[Key, _Kept]) -> None:
        stack = self._network.stack
        for one in stack.neighbours.entries():
            if one.interface is not None and one.state:
                mark = (one.state, one.mac)
                body = neighbour.body(one, stack.now_ns)
                key = (one.interface.index, one.address)
                found[NEIGHBOUR, key] = _Kept(abi.GROUP_NEIGH, mark, body)
