"""UDP across the gateway: a table of mappings, each a host socket of one port of the guest's.

Outbound (RFC 4787): one mapping for each of the guest's ports and the host's address family, the
same for all targets (endpoint-independent mapping); what comes back is let in from endpoints that
the guest has written to (address and port-dependent filtering). A mapping lasts while it is used:
30 s after a lone question, 120 s once there was an answer, as Linux's conntrack has it.

Published ports: a host socket for each; a client of it becomes a port of the gateway's address, so
that the guest can tell clients apart and its answers find their way.

What the host's network reports of a datagram (IP_RECVERR, ip(7)) becomes an ICMP error towards the
guest. Everything is bounded; the mapping that was used least recently gives way.
"""

from __future__ import annotations

import errno
from collections import OrderedDict
from typing import TYPE_CHECKING

from services.drivers.nic.user import plan
from services.drivers.nic.user.hostside import family_of
from services.drivers.nic.user.icmp import Origin
from services.drivers.nic.user.mapping import Mapping
from services.drivers.nic.user.udp_port import PublishedPort

if TYPE_CHECKING:
    import socket

    from services.drivers.nic.user.gateway import Gateway
    from services.drivers.nic.user.plan import Endpoint
    from services.drivers.nic.user.poller import Poller
    from services.drivers.nic.user.resolver import Resolver
    from services.net.proto.packet import Part

MAX_MAPPINGS = 4096


class Datagrams:
    """All mappings, the one used least recently first, and the published ports."""

    def __init__(self, gateway: Gateway, poller: Poller, resolver: Resolver) -> None:
        self.gateway = gateway
        self.poller = poller
        self._resolver = resolver
        self._mappings: OrderedDict[tuple[Endpoint, int], Mapping] = OrderedDict()
        self._published: dict[int, list[PublishedPort]] = {}
        self._waiting: set[int] = set()
        self.dropped = 0
        gateway.on_datagram = self.on_datagram

    def __len__(self) -> int:
        return len(self._mappings)

    def publish(self, host: socket.socket, guest_port: int) -> None:
        """A bound, non-blocking socket whose datagrams go to a port of the guest's."""
        port = PublishedPort(self, host, guest_port)
        self._published.setdefault(guest_port, []).append(port)
        self.poller.add(port.fd, port.on_host)

    def on_datagram(self, source: Endpoint, target: Endpoint, data: Part) -> None:
        """The guest sends."""
        published = self._published.get(source[1], ()) if target[0] == plan.GATEWAY else ()
        if any(port.answer(target[1], data) for port in published):
            return
        outside = plan.to_host(target, self._resolver.name_server)
        if outside is None:
            self._refuse(source, target, data)
            return
        key = source, family_of(outside[0])
        mapping = self._mappings.get(key)
        if mapping is None:
            try:
                mapping = self._map(*key)
            except OSError as error:
                origin = Origin.of_datagram(source, target, data)
                self.gateway.unreachable(origin, error.errno or errno.EHOSTUNREACH)
                return
        self._mappings.move_to_end(key)
        mapping.send(target, outside, data)

    def _refuse(self, source: Endpoint, target: Endpoint, data: Part) -> None:
        """Nothing is there; groups are not told (RFC 1122 3.2.2)."""
        self.dropped += 1
        if plan.is_group(target[0]):
            return
        number = errno.ECONNREFUSED if target[0] in plan.OURS else errno.EHOSTUNREACH
        self.gateway.unreachable(Origin.of_datagram(source, target, data), number)

    def _map(self, guest: Endpoint, family: socket.AddressFamily) -> Mapping:
        if len(self._mappings) >= MAX_MAPPINGS:
            self._unmap(next(iter(self._mappings.values())))
        mapping = self._mappings[guest, family] = Mapping(self, guest, family)
        self.poller.add(mapping.fd, mapping.on_host)
        return mapping

    def _unmap(self, mapping: Mapping) -> None:
        self._mappings.pop(mapping.key, None)
        self._waiting.discard(mapping.fd)
        self.poller.remove(mapping.fd)
        mapping.close()

    def wait_for_room(self, fd: int) -> None:
        """The guest has no receive buffers: look at this socket again when it has."""
        self._waiting.add(fd)

    def resume(self) -> None:
        """There are receive buffers again."""
        waiting, self._waiting = self._waiting, set()
        for fd in waiting:
            self.poller.again(fd)

    def expire(self) -> None:
        """Forget what has been idle for long; to be called every few seconds."""
        now_ns = self.gateway.now_ns
        for mapping in [one for one in self._mappings.values() if one.expires_ns <= now_ns]:
            self._unmap(mapping)
        for ports in self._published.values():
            for port in ports:
                port.expire(now_ns)

    def close(self) -> None:
        """Give all sockets back."""
        for mapping in list(self._mappings.values()):
            self._unmap(mapping)
        for ports in self._published.values():
            for port in ports:
                self.poller.remove(port.fd)
                port.socket.close()
        self._published.clear()
