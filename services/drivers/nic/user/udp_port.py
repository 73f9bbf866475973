"""A UDP port of the host's that leads to one of the guest's; see `datagrams`."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from services.drivers.nic.user import plan
from services.drivers.nic.user.hostside import endpoint, sockaddr
from services.drivers.nic.user.mapping import ANSWERED_NS, BATCH_DATAGRAMS, MAX_PEERS
from services.drivers.nic.user.poller import READABLE

if TYPE_CHECKING:
    import socket

    from services.drivers.nic.user.datagrams import Datagrams
    from services.drivers.nic.user.plan import Endpoint
    from services.net.proto.packet import Part

_PORTS = range(32768, 61000)


class PublishedPort:
    """A UDP port of the host's that leads to one of the guest's."""

    __slots__ = ("_by_client", "_clients", "_owner", "_port", "fd", "guest_port", "socket")

    def __init__(self, owner: Datagrams, host: socket.socket, guest_port: int) -> None:
        self._owner = owner
        self.socket = host
        self.fd = host.fileno()
        self.guest_port = guest_port
        self._clients: OrderedDict[int, tuple[Endpoint, int]] = OrderedDict()
        """By the gateway's port: the client and when it was used last, idle ones first."""
        self._by_client: dict[Endpoint, int] = {}
        self._port = 0

    def _port_of(self, client: Endpoint) -> int:
        port = self._by_client.get(client)
        if port is None:
            if len(self._clients) >= MAX_PEERS:
                self._forget(next(iter(self._clients)))
            port = self._port
            while _PORTS[port] in self._clients:
                port = (port + 1) % len(_PORTS)
            self._port = (port + 1) % len(_PORTS)
            port = self._by_client[client] = _PORTS[port]
        self._clients[port] = client, self._owner.gateway.now_ns
        self._clients.move_to_end(port)
        return port

    def _forget(self, port: int) -> None:
        client, _ = self._clients.pop(port)
        del self._by_client[client]

    def expire(self, now_ns: int) -> None:
        """Forget clients that have been idle for long."""
        while self._clients:
            port, (_, used) = next(iter(self._clients.items()))
            if used + ANSWERED_NS > now_ns:
                return
            self._forget(port)

    def on_host(self, events: int) -> None:
        """Datagrams of clients, a batch at the most."""
        if not events & READABLE:
            return
        owner, gateway = self._owner, self._owner.gateway
        for _ in range(BATCH_DATAGRAMS):
            if gateway.congested:
                owner.wait_for_room(self.fd)
                return
            try:
                data, found = self.socket.recvfrom(65536)
            except BlockingIOError:
                return
            except OSError:  # an error that an answer to a client met with
                continue
            port = self._port_of(endpoint(found))
            gateway.send_datagram((plan.GATEWAY, port), (plan.GUEST, self.guest_port), data)
        owner.poller.again(self.fd)

    def answer(self, port: int, data: Part) -> bool:
        """The guest writes to a client, by its port at the gateway; False if there is none."""
        known = self._clients.get(port)
        if known is None:
            return False
        client = known[0]
        self._port_of(client)
        try:
            self.socket.sendto(data, sockaddr(client))
        except OSError:
            self._owner.dropped += 1
        return True
