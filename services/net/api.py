"""What others may ask of the network: sockets of every family but AF_UNIX, and what is known of it.

**Net never waits for a program.** Every request is answered at once: what cannot be done yet is
EAGAIN, a connection that has begun is EINPROGRESS. The caller waits, on the board (below), and
asks again. So no request holds a buffer across a wait, and none needs to be cancelled.

Addresses are `struct sockaddr` images as programs give and get them (socket(7), ip(7), ipv6(7),
netlink(7), packet(7)): only net knows the families. Data goes between RAM and the protocol:
`extents` are (paddr, length_bytes) runs. Control messages are (level, type, body).

`Board` is how readiness is shared: a word for each socket, in RAM that both sides see, kept
current by net, so that poll(2) asks nobody; and an interrupt when something has happened.
"""

from __future__ import annotations

from errno import (
    EACCES,
    EADDRINUSE,
    EADDRNOTAVAIL,
    EAFNOSUPPORT,
    EAGAIN,
    EALREADY,
    ECONNABORTED,
    ECONNREFUSED,
    ECONNRESET,
    EDESTADDRREQ,
    EDOM,
    EHOSTUNREACH,
    EINPROGRESS,
    EINVAL,
    EISCONN,
    EMSGSIZE,
    ENETDOWN,
    ENETUNREACH,
    ENFILE,
    ENOBUFS,
    ENODEV,
    ENOENT,
    ENOMEM,
    ENOPROTOOPT,
    ENOTCONN,
    ENXIO,
    EOPNOTSUPP,
    EPERM,
    EPIPE,
    EPROTONOSUPPORT,
    ESOCKTNOSUPPORT,
    ETIMEDOUT,
)
from typing import TYPE_CHECKING

import attrs

from bus.message import Request, request

if TYPE_CHECKING:
    from collections.abc import Callable

Extents = list[tuple[int, int]]
ControlMessage = tuple[int, int, bytes]

FAMILIES = (2, 10, 16)
"""The address families that `Open` takes: AF_INET, AF_INET6, AF_NETLINK."""
BOARD_SLOTS = 1 << 16
"""How many sockets there can be at once."""
BOARD_BYTES = 4 * BOARD_SLOTS

TRANSFER_ERRORS = (
    EAGAIN, EPIPE, ENOTCONN, ECONNRESET, ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH,
    EMSGSIZE, EINVAL, EDESTADDRREQ, EISCONN, EOPNOTSUPP, EACCES, EAFNOSUPPORT, ENOBUFS, EPERM,
    ENETDOWN, ENXIO, ENODEV, ECONNABORTED, EADDRNOTAVAIL, EINPROGRESS, EALREADY, EADDRINUSE,
)  # fmt: skip


class Board:
    """Readiness of all sockets, as POLL bits, and the interrupt that says that it has changed.

    `ready[slot]` is current whenever net is not running. `listener(slot, events)` is called for
    each event, even if the bits stay as they were (new data, where there was some already):
    edge-triggered epoll(7) tells events, not states. It must only take note.
    """

    __slots__ = ("listener", "ready")

    def __init__(self) -> None:
        self.ready = memoryview(bytearray(BOARD_BYTES)).cast("I")
        """Until net has taken frames for it (`place`), which it does before it serves."""
        self.listener: Callable[[int, int], None] = _nobody

    def place(self, memory: memoryview) -> None:
        """Move the board into RAM; `memory` is `BOARD_BYTES` long."""
        self.ready = memory.cast("I")


def _nobody(slot: int, events: int) -> None:
    """Nobody listens yet."""


@attrs.frozen
class Opened:
    """A socket: its handle, its slot on the board, its protocol."""

    socket: int
    slot: int
    protocol: int = 0


@request(
    "net",
    errors=(EAFNOSUPPORT, EPROTONOSUPPORT, ESOCKTNOSUPPORT, EINVAL, EPERM, ENFILE, ENOBUFS),
)
class Open(Request[Opened]):
    """socket(2). `type` without flags; `inode` and `uid` are shown in /proc/net.

    `privileged`: CAP_NET_RAW, for raw and packet sockets; CAP_NET_ADMIN, to change anything by
    netlink. `pid` is what a netlink socket's port will be, if it is free.
    """

    family: int
    type: int
    protocol: int
    inode: int
    uid: int
    privileged: bool
    pid: int = 0


@request("net")
class Close(Request[bool]):
    """The last descriptor is gone. What was written goes on being sent.

    True: `wait` was asked for (SO_LINGER) and not all is acknowledged yet. The socket then keeps
    its slot; POLLHUP on the board says that it is done; and it is to be closed once more.
    """

    socket: int
    wait: bool = False


@request(
    "net", errors=(EINVAL, EADDRINUSE, EADDRNOTAVAIL, EACCES, EAFNOSUPPORT, ENODEV, EOPNOTSUPP)
)
class Bind(Request[None]):
    """bind(2); `privileged`: CAP_NET_BIND_SERVICE, for ports below 1024."""

    socket: int
    name: bytes
    privileged: bool


@request("net", errors=(EOPNOTSUPP, EINVAL, EADDRINUSE, EDESTADDRREQ))
class Listen(Request[None]):
    """listen(2)."""

    socket: int
    backlog: int


@request("net", errors=TRANSFER_ERRORS)
class Connect(Request[None]):
    """connect(2): EINPROGRESS where it takes time; then POLLOUT, and SO_ERROR says how it went."""

    socket: int
    name: bytes


@attrs.frozen
class Accepted:
    """A connection, taken from a listener's queue."""

    opened: Opened
    name: bytes
    """The peer's."""


@request("net", errors=(EAGAIN, EINVAL, EOPNOTSUPP, ECONNABORTED, ENFILE))
class Accept(Request[Accepted]):
    """accept(2)."""

    socket: int
    inode: int
    uid: int


@request("net", errors=TRANSFER_ERRORS)
class Write(Request[int]):
    """write(2), send(2) without flags: bytes taken, at least 1 of a non-empty buffer, or EAGAIN."""

    socket: int
    extents: Extents


@request("net", errors=TRANSFER_ERRORS)
class Read(Request[int]):
    """read(2), recv(2) without flags: bytes, 0 at the end of a stream, or EAGAIN."""

    socket: int
    extents: Extents


@request("net", errors=TRANSFER_ERRORS)
class Send(Request[int]):
    """sendmsg(2) with all there is; `name` empty where the program gave none."""

    socket: int
    extents: Extents
    flags: int
    name: bytes = b""
    control: tuple[ControlMessage, ...] = ()


@attrs.frozen
class Received:
    """What came: bytes in the buffer (MSG_TRUNC: of the packet), sender, extras, MSG_ flags."""

    count: int
    name: bytes = b""
    control: tuple[ControlMessage, ...] = ()
    flags: int = 0


@request("net", errors=TRANSFER_ERRORS)
class Receive(Request[Received]):
    """recvmsg(2), once."""

    socket: int
    extents: Extents
    flags: int


@request("net", errors=(ENOTCONN, EINVAL))
class Shutdown(Request[None]):
    """shutdown(2); `how` is 0, 1 or 2."""

    socket: int
    how: int


@request("net", errors=(ENOTCONN, EOPNOTSUPP))
class Name(Request[bytes]):
    """getsockname(2), or getpeername(2) where `peer`."""

    socket: int
    peer: bool


@request("net", errors=(ENOPROTOOPT, EINVAL, EOPNOTSUPP, ENOTCONN, EADDRNOTAVAIL, ENODEV))
class GetOption(Request[bytes]):
    """getsockopt(2): the value, at most `room` bytes; `given` is what the buffer held."""

    socket: int
    level: int
    option: int
    room: int
    given: bytes = b""


@request(
    "net",
    errors=(
        ENOPROTOOPT, EINVAL, EOPNOTSUPP, EDOM, EPERM, ENOTCONN, EADDRINUSE, EADDRNOTAVAIL, ENODEV,
        EISCONN, ENOBUFS, ENOMEM, EACCES,
    ),
)  # fmt: skip
class SetOption(Request[None]):
    """setsockopt(2); `privileged`: CAP_NET_ADMIN."""

    socket: int
    level: int
    option: int
    value: bytes
    privileged: bool


@attrs.frozen
class Amounts:
    """What lies in a socket's buffers, bytes."""

    readable: int
    """SIOCINQ; of the next datagram."""
    unsent: int
    """Not yet sent (SIOCOUTQNSD)."""
    unacknowledged: int
    """Sent or not, not yet acknowledged (SIOCOUTQ)."""
    at_mark: bool


@request("net", errors=(EINVAL,))
class Queued(Request[Amounts]):
    """SIOCINQ, SIOCOUTQ, SIOCOUTQNSD, SIOCATMARK."""

    socket: int


@request("net", errors=(EINVAL, ENODEV, EOPNOTSUPP, EPERM, EADDRNOTAVAIL, ENXIO))
class Configure(Request[bytes]):
    """netdevice(7): an ioctl on `struct ifreq` or `struct rtentry`; the structure as answered.

    `command` SIOCGIFCONF replies with all the `struct ifreq`s.
    """

    command: int
    argument: bytes
    privileged: bool


@request("net", errors=(EINVAL,), idempotent=True)
class Report(Request[bytes]):
    """The text of /proc/net/`name`: tcp, tcp6, udp, udp6, raw, dev, route, arp, snmp, …"""

    name: str


REPORTS = (
    "arp", "dev", "dev_mcast", "icmp", "icmp6", "if_inet6", "igmp", "igmp6", "ipv6_route",
    "netlink", "netstat", "packet", "raw", "raw6", "route", "snmp", "snmp6", "sockstat",
    "sockstat6", "tcp", "tcp6", "udp", "udp6",
)  # fmt: skip
"""What `Report` knows."""


@request("net", errors=(ENOENT,), idempotent=True)
class Setting(Request[bytes]):
    """The text of /proc/sys/net/`name`."""

    name: str


@request("net", errors=(ENOENT, EINVAL), idempotent=True)
class ChangeSetting(Request[None]):
    """Write /proc/sys/net/`name`; who may is for the caller to know."""

    name: str
    value: bytes


_FOR_ALL = ("all", "default", "lo")
READ_ONLY_SETTINGS = (
    "core/netdev_max_backlog", "core/rmem_default", "core/rmem_max", "core/wmem_default",
    "core/wmem_max", "ipv4/icmp_echo_ignore_all", "ipv4/icmp_echo_ignore_broadcasts",
    "ipv4/ip_default_ttl", "ipv4/ip_forward", "ipv4/ip_nonlocal_bind", "ipv4/ipfrag_high_thresh",
    "ipv4/ipfrag_time", "ipv4/ping_group_range", "ipv4/tcp_allowed_congestion_control",
    "ipv4/tcp_available_congestion_control", "ipv4/tcp_ecn", "ipv4/tcp_fastopen",
    "ipv4/tcp_moderate_rcvbuf", "ipv4/tcp_mtu_probing", "ipv4/tcp_retries2", "ipv4/tcp_rmem",
    "ipv4/tcp_wmem", "ipv6/ip6frag_high_thresh", "ipv6/ip6frag_time", "ipv6/ip_nonlocal_bind",
    *(f"ipv4/conf/{name}/{of}" for name in _FOR_ALL for of in ("forwarding", "rp_filter")),
    *(f"ipv6/conf/{name}/{of}" for name in _FOR_ALL for of in ("disable_ipv6", "forwarding")),
)  # fmt: skip
"""What `Setting` knows and `ChangeSetting` does not."""
SETTINGS = (
    "core/somaxconn", "ipv4/ip_local_port_range", "ipv4/ip_unprivileged_port_start",
    "ipv4/tcp_challenge_ack_limit", "ipv4/tcp_congestion_control", "ipv4/tcp_fin_timeout",
    "ipv4/tcp_invalid_ratelimit", "ipv4/tcp_keepalive_intvl", "ipv4/tcp_keepalive_probes",
    "ipv4/tcp_keepalive_time", "ipv4/tcp_max_orphans", "ipv4/tcp_max_syn_backlog",
    "ipv4/tcp_max_tw_buckets", "ipv4/tcp_notsent_lowat", "ipv4/tcp_sack", "ipv4/tcp_syn_retries",
    "ipv4/tcp_synack_retries", "ipv4/tcp_syncookies", "ipv4/tcp_timestamps", "ipv4/tcp_tw_reuse",
    "ipv4/tcp_window_scaling", "ipv6/bindv6only",
)  # fmt: skip
"""What both know; and `ChangeSetting` alone, ipv4/route/flush."""


@attrs.frozen
class Totals:
    """For `--stats` and /metrics."""

    sockets: int
    connections: int
    counters: tuple[tuple[str, int], ...]


@request("net")
class Evict(Request[tuple[tuple[str, int], ...]]):
    """Give back what the caches can do without; replies with entries by cache."""


@request("net", idempotent=True)
class Count(Request[Totals]):
    """How much there is, and what has happened since boot."""
