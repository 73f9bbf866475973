"""What all Internet sockets have in common: names, binding, options by level."""

from __future__ import annotations

from errno import (
    EACCES,
    EADDRNOTAVAIL,
    EAFNOSUPPORT,
    EINVAL,
    ENETUNREACH,
    ENODEV,
    ENOPROTOOPT,
    ENOTCONN,
    EOPNOTSUPP,
)
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.net.socket import abi, names, options, options_ip
from services.net.socket.abi import AF_INET, AF_INET6, AF_UNSPEC, RAW, SOL_SOCKET, STREAM
from services.net.socket.base import NetSocket
from services.net.socket.ports import Binding

if TYPE_CHECKING:
    from services.net.socket.network import Network
    from services.net.socket.ports import Ports

V4, V6 = 1, 2
"""Bits of `Binding.versions`."""


class InetSocket(NetSocket):
    """A socket of AF_INET or AF_INET6."""

    __slots__ = ("groups", "local", "remote", "scope")

    def __init__(
        self, network: Network, family: int, type_: int, protocol: int, inode: int, uid: int
    ) -> None:
        super().__init__(network, family, type_, protocol, inode, uid)
        self.local: tuple[bytes, int] | None = None
        """Address and port, once bound; the address is zeros for the wildcard."""
        self.remote: tuple[bytes, int] | None = None
        """The peer of a connected socket."""
        self.scope = 0
        self.groups: set[tuple[bytes, int]] = set()
        """Multicast groups joined, with the interface's index."""
        if network.v6_only and family == AF_INET6:
            self.kept[abi.IPPROTO_IPV6, abi.IPV6_V6ONLY] = 1

    # Names ----------------------------------------------------------------------------------

    @property
    def any_address(self) -> bytes:
        """The wildcard of this family."""
        return names.ANY4 if self.family == AF_INET else names.ANY6

    @property
    def v6_only(self) -> bool:
        """IPV6_V6ONLY."""
        return bool(self.kept.get((abi.IPPROTO_IPV6, abi.IPV6_V6ONLY)))

    def shown(self, address: bytes, port: int) -> bytes:
        """A sockaddr as this socket's program sees it."""
        return names.encode(address, port, self.family, self.scope)

    def name(self, peer: bool) -> bytes:
        """getsockname(2), getpeername(2)."""
        if peer:
            if self.remote is None or not self.remote[1]:
                raise PosixError(ENOTCONN)  # a peer without a port is none, as on Linux
            return self.shown(*self.remote)
        return self.shown(*(self.local or (self.any_address, 0)))

    @property
    def peer_name(self) -> bytes:
        """The peer's sockaddr, whatever has become of the connection."""
        assert self.remote is not None
        return self.shown(*self.remote)

    def versions_of(self, address: bytes | None) -> int:
        """Which IP versions a binding to `address` (None: any) receives."""
        if address is not None:
            return V4 if len(address) == 4 else V6
        if self.family == AF_INET:
            return V4
        return V6 if self.v6_only else V4 | V6

    # Binding --------------------------------------------------------------------------------

    def ports(self) -> Ports:
        """The table of this protocol's ports."""
        raise NotImplementedError

    def busy_ports(self, binding: Binding) -> frozenset[int]:
        """Ports that it may not have although none is bound to them (of TCP: connections')."""
        return frozenset()

    def local_name(self, name: bytes) -> tuple[bytes, int]:
        """Decode and check the address to be bound to; EADDRNOTAVAIL, ENODEV, EAFNOSUPPORT."""
        family = names.family_of(name)
        if self.family == AF_INET and family == AF_UNSPEC and len(name) >= names.INET_BYTES:
            if any(name[4:8]):
                raise PosixError(EAFNOSUPPORT)  # only the wildcard has no family (ip(7))
            name = AF_INET.to_bytes(2, "little") + name[2:]
        address, port, scope = names.decode(name, self.family)
        if len(address) == 4 and self.family == AF_INET6 and self.v6_only:
            raise PosixError(EINVAL)
        self._check_local(address, scope)
        return address, port

    def _check_local(self, address: bytes, scope: int) -> None:
        stack = self.network.stack
        if names.needs_scope(address):
            if not scope and not self.ifindex:
                raise PosixError(EINVAL)
            if scope and scope not in stack.interfaces:
                raise PosixError(ENODEV)
            self.scope = scope
        if names.is_multicast(address) and len(address) == 16 and self.type == STREAM:
            raise PosixError(EINVAL)
        if names.is_any(address) or names.is_multicast(address) or stack.is_broadcast(address):
            return
        level, option = (
            (abi.IPPROTO_IP, abi.IP_FREEBIND)
            if len(address) == 4
            else (abi.IPPROTO_IPV6, abi.IPV6_FREEBIND)
        )
        if not stack.is_local(address) and not self.kept.get((level, option)):
            raise PosixError(EADDRNOTAVAIL)

    def bind(self, name: bytes, privileged: bool) -> None:
        """bind(2): EINVAL when bound already."""
        address, port = self.local_name(name)
        if self.binding is not None or self.closed:
            raise PosixError(EINVAL)
        if 0 < port < self.network.port_policy.unprivileged and not privileged:
            raise PosixError(EACCES)
        self.take_port(address, port)
        self.refresh()

    def take_port(self, address: bytes, port: int) -> None:
        """Enter a binding in the table and remember it; EADDRINUSE."""
        where = None if names.is_any(address) else address
        binding = Binding(
            where,
            port,
            self.versions_of(where),
            reuse=bool(self.kept.get((SOL_SOCKET, abi.SO_REUSEADDR))),
            reuse_port=bool(self.kept.get((SOL_SOCKET, abi.SO_REUSEPORT))),
            uid=self.uid,
            ifindex=self.ifindex,
        )
        self.ports().bind(binding, self.busy_ports(binding))
        self.binding = binding
        self.local = address, binding.port

    def release_port(self) -> None:
        """Give the binding back."""
        if self.binding is not None:
            self.ports().release(self.binding)
            self.binding = None

    def leave_groups(self) -> None:
        """The socket ends: so does its membership."""
        for key in self.groups:
            self.network.leave(key)
        self.groups.clear()

    def remote_name(self, name: bytes) -> tuple[bytes, int]:
        """Decode a destination; the wildcard means this host (ip(7))."""
        address, port, scope = names.decode(name, self.family)
        if scope:
            self.scope = scope
        if names.is_any(address):
            use_v4 = len(address) == 4 or (
                self.local is not None and len(self.local[0]) == 4 and self.family == AF_INET6
            )
            address = names.LOOPBACK4 if use_v4 else names.LOOPBACK6
        if len(address) == 4 and self.family == AF_INET6 and self.v6_only:
            raise PosixError(ENETUNREACH)
        return address, port

    # Options --------------------------------------------------------------------------------

    def get_option(self, level: int, option: int, given: bytes) -> bytes:
        """getsockopt(2): by level."""
        if level == SOL_SOCKET:
            return options.get(self, option)
        if self._of_ip(level):
            return options_ip.get(self, level, option)
        return self.get_own(level, option, given)

    def _of_ip(self, level: int) -> bool:
        """Whether a level is that of IP; an IPv6 socket has IPv4's too, but a raw one."""
        if level == abi.IPPROTO_IP:
            return self.family == AF_INET or self.type != RAW
        return level == abi.IPPROTO_IPV6 and self.family == AF_INET6

    def set_option(self, level: int, option: int, value: bytes, privileged: bool) -> None:
        """setsockopt(2): by level."""
        if level == SOL_SOCKET:
            options.put(self, option, value, privileged)
        elif self._of_ip(level):
            options_ip.put(self, level, option, value, privileged)
        else:
            self.put_own(level, option, value, privileged)
            return
        self.options_changed()

    def get_own(self, level: int, option: int, given: bytes) -> bytes:
        """Options of the socket's own protocol; EOPNOTSUPP (of IPv6, ENOPROTOOPT)."""
        raise PosixError(EOPNOTSUPP if self.family == AF_INET else ENOPROTOOPT)

    def put_own(self, level: int, option: int, value: bytes, privileged: bool) -> None:
        """Options of the socket's own protocol; ENOPROTOOPT."""
        raise PosixError(ENOPROTOOPT)

    def options_changed(self) -> None:
        """An option above the socket's own protocol was set."""

    @property
    def takes_all_groups(self) -> bool:
        """IP_MULTICAST_ALL: whatever comes to an IPv4 group of this host is for this socket too."""
        key = abi.IPPROTO_IP, abi.IP_MULTICAST_ALL
        return bool(self.kept.get(key, self.family == AF_INET))

    @property
    def hops(self) -> int:
        """TTL or hop limit of what is sent."""
        value = self.kept.get((abi.IPPROTO_IP, abi.IP_TTL), -1)
        if self.family == AF_INET6:
            value = self.kept.get((abi.IPPROTO_IPV6, abi.IPV6_UNICAST_HOPS), value)
        return value if value > 0 else options_ip.DEFAULT_TTL

    @property
    def service_class(self) -> int:
        """TOS or traffic class of what is sent."""
        if self.family == AF_INET6 and (abi.IPPROTO_IPV6, abi.IPV6_TCLASS) in self.kept:
            return max(self.kept[abi.IPPROTO_IPV6, abi.IPV6_TCLASS], 0)
        return self.kept.get((abi.IPPROTO_IP, abi.IP_TOS), 0)
