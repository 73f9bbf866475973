"""Who is bound to which port, of one protocol (bind(2), ip(7), SO_REUSEADDR and SO_REUSEPORT).

A wildcard is None as an address; an IPv6 socket's wildcard covers IPv4 too unless it is v6-only.
Two bindings of a port exclude each other where their addresses meet, unless both say
SO_REUSEADDR (and, for TCP, the other does not listen), or both say SO_REUSEPORT and have one owner.
"""

from __future__ import annotations

from errno import EADDRINUSE
from typing import TYPE_CHECKING

import attrs

from bus.census import kind
from bus.errors import PosixError

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator


@attrs.define
class Policy:
    """Which ports are given out (net.ipv4.ip_local_port_range), and which are for all to bind."""

    first: int = 32768
    last: int = 60999
    unprivileged: int = 1024
    """net.ipv4.ip_unprivileged_port_start."""


BINDING = kind("net", "bound port")


class Binding:
    """One socket's hold on a port."""

    __slots__ = (
        "address",
        "ifindex",
        "listening",
        "port",
        "reuse",
        "reuse_port",
        "uid",
        "versions",
    )

    def __init__(
        self,
        address: bytes | None,
        port: int,
        versions: int,
        *,
        reuse: bool,
        reuse_port: bool,
        uid: int,
        ifindex: int = 0,
    ) -> None:
        BINDING.made()
        self.address = address
        self.port = port
        self.versions = versions
        """Bits of what it receives: 1 IPv4, 2 IPv6."""
        self.reuse = reuse
        self.reuse_port = reuse_port
        self.uid = uid
        self.ifindex = ifindex
        self.listening = False

    def __del__(self) -> None:
        BINDING.freed()

    def meets(self, other: Binding) -> bool:
        """Whether a packet could be meant for both."""
        if not self.versions & other.versions:
            return False
        if self.ifindex and other.ifindex and self.ifindex != other.ifindex:
            return False
        return self.address is None or other.address is None or self.address == other.address

    def tolerates(self, other: Binding) -> bool:
        """Whether it may have the port although they meet; what it does itself is not asked."""
        if self.reuse and other.reuse and not other.listening:
            return True
        return self.reuse_port and other.reuse_port and self.uid == other.uid


class Ports:
    """All bindings of TCP, or of UDP."""

    def __init__(self, random: Callable[[int], bytes], policy: Policy | None = None) -> None:
        self._random = random
        self._policy = policy or Policy()
        self._bound: dict[int, list[Binding]] = {}

    def conflict(self, wanted: Binding) -> bool:
        """Whether somebody else's binding excludes `wanted`."""
        return any(
            other is not wanted and other.meets(wanted) and not wanted.tolerates(other)
            for other in self._bound.get(wanted.port, ())
        )

    def bind(self, wanted: Binding, busy: Container[int] = ()) -> None:
        """Take the port, or, where it is 0, a free one; EADDRINUSE.

        `busy` are further ports that may not be taken (those of connections, for TCP).
        """
        if wanted.port:
            if wanted.port in busy or self.conflict(wanted):
                raise PosixError(EADDRINUSE)
        else:
            wanted.port = self._free(wanted, busy)
        self._bound.setdefault(wanted.port, []).append(wanted)

    def ephemeral(self) -> Iterator[int]:
        """All ephemeral ports, from a random one on."""
        first, last = self._policy.first, self._policy.last
        count = last - first + 1
        start = int.from_bytes(self._random(4), "little") % count
        for step in range(count):
            yield first + (start + step) % count

    def _free(self, wanted: Binding, busy: Container[int]) -> int:
        for port in self.ephemeral():
            if port not in self._bound and port not in busy:
                return port
        for wanted.port in self.ephemeral():
            if wanted.port not in busy and not self.conflict(wanted):
                return wanted.port
        wanted.port = 0
        raise PosixError(EADDRINUSE)

    def is_bound(self, port: int) -> bool:
        """Whether a socket was bound to it."""
        return port in self._bound

    def release(self, binding: Binding) -> None:
        """Give the port up."""
        holders = self._bound.get(binding.port)
        if holders and binding in holders:
            holders.remove(binding)
            if not holders:
                del self._bound[binding.port]
