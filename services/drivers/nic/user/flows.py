"""All TCP connections across the gateway, and how they come to be.

A guest's SYN: the host connects first, then the SYN is answered, or refused as the host was. A
connection to a published port: accepted at once, since the host's kernel has done so, and opened
towards the guest from the gateway's address; refused there, it is reset here.
"""

from __future__ import annotations

import errno
import resource
import socket
from typing import TYPE_CHECKING

from services.drivers.nic.user import plan
from services.drivers.nic.user.flow import CONNECTING, OPENING, Flow
from services.drivers.nic.user.hostside import family_of, sockaddr
from services.drivers.nic.user.icmp import Origin

if TYPE_CHECKING:
    from services.drivers.nic.user.gateway import Gateway
    from services.drivers.nic.user.plan import Endpoint
    from services.drivers.nic.user.poller import Poller
    from services.drivers.nic.user.resolver import Resolver
    from services.net.proto.packet import Packet

BUDGET_BYTES = 1 << 20
"""What is taken from host sockets before other tasks have their turn."""
SPARE_DESCRIPTORS = 256
"""Left for the rest of the kernel."""
_PORTS = range(1024, 65536)

_BY_RESET = frozenset({errno.ECONNREFUSED, errno.ECONNRESET, errno.EMFILE, errno.ENFILE})
"""What the guest is told by RST; everything else about a connect(2) that failed, by ICMP."""


def raise_descriptor_limit() -> int:
    """Use what the host allows (a soft limit of 1024 is usual); replies with it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return 65536 if hard == resource.RLIM_INFINITY else hard


class Flows:
    """Bounded by `limit`, which leaves descriptors for others."""

    def __init__(self, gateway: Gateway, poller: Poller, resolver: Resolver, limit: int) -> None:
        self.gateway = gateway
        self._poller = poller
        self._resolver = resolver
        self.limit = limit
        self.changed: list[Flow] = []
        self.budget = BUDGET_BYTES
        self._open: set[Flow] = set()
        self._waiting: set[Flow] = set()
        self._port = int.from_bytes(gateway.tcp.random(2), "big") % len(_PORTS)
        self.opened = self.accepted = self.refused = 0
        gateway.tcp.on_syn = self.on_syn

    def __len__(self) -> int:
        return len(self._open)

    def on_syn(self, packet: Packet) -> bool:
        """The guest opens a connection: connect on the host. False: RST."""
        segment = packet.payload
        target = packet.dst, segment.target_port  # type: ignore[attr-defined]
        host_target = plan.to_host(target, self._resolver.name_server)
        if host_target is None or len(self._open) >= self.limit:
            self.refused += 1
            if host_target is None and packet.dst not in plan.OURS:
                self.tell_refusal(packet, errno.EHOSTUNREACH)
                return True
            return False
        try:
            host = socket.socket(family_of(host_target[0]), socket.SOCK_STREAM)
        except OSError as error:
            self.refused += 1
            self.tell_refusal(packet, error.errno or 0)
            return (error.errno or 0) not in _BY_RESET
        host.setblocking(False)
        host.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        number = host.connect_ex(sockaddr(host_target))
        if number not in (0, errno.EINPROGRESS):
            host.close()
            self.refused += 1
            self.tell_refusal(packet, number)
            return number not in _BY_RESET
        connection = self.gateway.tcp.passive(packet)
        if connection is None:
            host.close()
            return False
        self._enter(Flow(self, connection, host, CONNECTING, packet))
        self.opened += 1
        return True

    def tell_refusal(self, packet: Packet | None, number: int) -> None:
        """ICMP for what is not told by RST."""
        if packet is not None and number not in _BY_RESET:
            self.gateway.unreachable(Origin.of_segment(packet), number)

    def accept(self, host: socket.socket, guest_port: int) -> None:
        """A connection to a published port, which the host's kernel has accepted."""
        host.setblocking(False)
        host.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        remote = plan.GUEST, guest_port
        local = self._free_port(remote) if len(self._open) < self.limit else None
        if local is None:
            self.refused += 1
            host.close()
            return
        self._enter(Flow(self, self.gateway.tcp.open(local, remote), host, OPENING))
        self.accepted += 1

    def _free_port(self, remote: Endpoint) -> Endpoint | None:
        tcp = self.gateway.tcp
        for _ in range(256):
            self._port = (self._port + 1) % len(_PORTS)
            local = plan.GATEWAY, _PORTS[self._port]
            if tcp.reusable(local, remote):
                return local
        return None

    def _enter(self, flow: Flow) -> None:
        self._open.add(flow)
        self._poller.add(flow.fd, flow.on_host)

    def forget(self, flow: Flow) -> None:
        """The flow is over; its socket is about to be closed."""
        self._open.discard(flow)
        self._waiting.discard(flow)
        self._poller.remove(flow.fd)

    def put_off(self, flow: Flow) -> None:
        """The host has data for which there is no budget, or no buffer in the guest."""
        flow.readable = False
        if self.gateway.congested:
            self._waiting.add(flow)
        else:
            self._poller.again(flow.fd)

    def resume(self) -> None:
        """There are receive buffers again."""
        waiting, self._waiting = self._waiting, set()
        for flow in waiting:
            self._poller.again(flow.fd)

    def settle(self) -> None:
        """Handle what the last batch changed, and what that changed in its turn."""
        while self.changed:
            changed, self.changed = self.changed, []
            for flow in changed:
                flow.settle()

    def close(self) -> None:
        """Reset all."""
        for flow in list(self._open):
            flow.close()
        self.changed.clear()
        self._waiting.clear()
