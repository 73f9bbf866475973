"""An interface, its addresses and its counters (netdevice(7), proc(5) on /proc/net/dev)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.net.ip.timers import NEVER
from services.net.proto import address as kinds

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.net.ip.timers import Timer
    from services.net.proto.packet import Frame

LOOPBACK_INDEX = 1
LOOPBACK_MTU = 65536
MAX_ADDRESSES = 64
"""Of one interface; routers advertise no more than this either."""

SCOPE_UNIVERSE, SCOPE_SITE, SCOPE_LINK, SCOPE_HOST = 0, 200, 253, 254
"""RT_SCOPE_*, rtnetlink(7)."""

IFF_UP, IFF_BROADCAST, IFF_LOOPBACK, IFF_RUNNING, IFF_MULTICAST = 0x1, 0x2, 0x8, 0x40, 0x1000


class InterfaceAddress:
    """An address that an interface has."""

    __slots__ = (
        "address",
        "broadcast",
        "changed_ns",
        "flags",
        "label",
        "made_ns",
        "on_link",
        "preferred_until_ns",
        "prefix_bits",
        "scope",
        "shown_broadcast",
        "timer",
        "valid_until_ns",
    )

    def __init__(
        self, address: bytes, prefix_bits: int, on_link: bool = True, made_ns: int = 0
    ) -> None:
        self.address = address
        self.on_link = on_link  # comes with a route to its network
        self.prefix_bits = prefix_bits
        self.broadcast = kinds.broadcast_of(address, prefix_bits)
        self.scope = SCOPE_UNIVERSE
        if kinds.is_loopback(address):
            self.scope = SCOPE_HOST
        elif kinds.is_link_local(address):
            self.scope = SCOPE_LINK
        elif address[0] == 0xFE and address[1] & 0xC0 == 0xC0:
            self.scope = SCOPE_SITE  # fec0::/10, of old (RFC 3879)
        # What only netlink tells.
        self.shown_broadcast = None if self.scope == SCOPE_HOST else self.broadcast
        self.label = ""  # of IPv4; else the interface's name
        self.flags = 0  # IFA_F_*, as given
        self.made_ns = self.changed_ns = made_ns
        # By autoconfiguration alone (RFC 4862 5.5); else for ever.
        self.preferred_until_ns = NEVER
        self.valid_until_ns = NEVER
        self.timer: Timer | None = None

    def __repr__(self) -> str:
        return f"InterfaceAddress({self.address.hex()}/{self.prefix_bits})"


class Interface:
    """A network interface. Counted are bytes of whole frames."""

    __slots__ = (
        "accept_ra",
        "addresses",
        "groups",
        "gso",
        "hop_limit",
        "index",
        "mac",
        "mtu",
        "mtu_v6",
        "multicast",
        "name",
        "offload",
        "reachable_ns",
        "retransmit_ns",
        "rx_bytes",
        "rx_dropped",
        "rx_errors",
        "rx_packets",
        "transmit",
        "tx_bytes",
        "tx_dropped",
        "tx_errors",
        "tx_packets",
        "up",
    )

    def __init__(
        self,
        index: int,
        name: str,
        mac: bytes,
        mtu: int,
        transmit: Callable[[Frame], None],
        offload: bool,
        gso: bool,
    ) -> None:
        self.index = index
        self.name = name
        self.mac = mac
        self.mtu = mtu  # bytes of an IP datagram
        self.transmit = transmit
        self.offload = offload  # completes transport checksums
        self.gso = gso  # cuts TCP into segments, which takes `offload` as well
        self.up = False
        self.addresses: list[InterfaceAddress] = []
        self.groups: dict[bytes, int] = {}  # multicast group to how often it was joined
        # What routers say (RFC 4861 6.3.2); `mtu_v6` 0: nothing.
        self.accept_ra = True
        self.mtu_v6 = 0
        self.hop_limit = 64
        self.reachable_ns = 30_000_000_000
        self.retransmit_ns = 1_000_000_000

        self.rx_packets = 0
        self.rx_bytes = 0
        self.rx_errors = 0
        self.rx_dropped = 0
        self.multicast = 0
        self.tx_packets = 0
        self.tx_bytes = 0
        self.tx_errors = 0
        self.tx_dropped = 0

    @property
    def is_loopback(self) -> bool:
        """Whether this is lo."""
        return self.index == LOOPBACK_INDEX

    @property
    def flags(self) -> int:
        """IFF_*, as SIOCGIFFLAGS gives them."""
        kind = IFF_LOOPBACK if self.is_loopback else IFF_BROADCAST | IFF_MULTICAST
        return kind | (IFF_UP | IFF_RUNNING if self.up else 0)

    def find(self, address: bytes) -> InterfaceAddress | None:
        """The interface's own record of an address."""
        return next((one for one in self.addresses if one.address == address), None)

    def is_member(self, group: bytes) -> bool:
        """Whether datagrams to a multicast group are taken here."""
        return group in self.groups or group in _EVERYONES

    def __repr__(self) -> str:
        return f"Interface({self.index}, {self.name!r}, mtu={self.mtu}, up={self.up})"


_EVERYONES = frozenset({kinds.ALL_HOSTS, kinds.ALL_NODES, kinds.ALL_NODES_OF_INTERFACE})
