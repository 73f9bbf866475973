"""One UDP port of the guest's as the host's network sees it; see `datagrams`."""

from __future__ import annotations

import errno
import socket
import struct
from collections import OrderedDict
from typing import TYPE_CHECKING

from services.drivers.nic.user import plan
from services.drivers.nic.user.hostside import endpoint, sockaddr
from services.drivers.nic.user.icmp import Origin
from services.drivers.nic.user.poller import FAILED, READABLE

if TYPE_CHECKING:
    from services.drivers.nic.user.datagrams import Datagrams
    from services.drivers.nic.user.plan import Endpoint
    from services.net.proto.packet import Part

MAX_PEERS = 1024
UNANSWERED_NS, ANSWERED_NS = 30_000_000_000, 120_000_000_000
BATCH_DATAGRAMS = 64
_IP_RECVERR, _IPV6_RECVERR = 11, 25
_EXTENDED_ERROR = struct.Struct("=IBBBxII")
_ORIGIN_ICMP, _ORIGIN_ICMP6 = 2, 3


class Mapping:
    """One port of the guest's as the host's network sees it."""

    __slots__ = ("_owner", "answered", "fd", "guest", "key", "peers", "socket", "used")

    def __init__(self, owner: Datagrams, guest: Endpoint, family: socket.AddressFamily) -> None:
        self._owner = owner
        self.key = guest, family
        self.guest = guest
        self.used = owner.gateway.now_ns
        self.answered = False
        self.peers: OrderedDict[Endpoint, Endpoint] = OrderedDict()
        """Whom the guest wrote to: the host's endpoint, and what the guest calls it."""
        self.socket = host = socket.socket(family, socket.SOCK_DGRAM)
        try:
            host.setblocking(False)
            if family == socket.AF_INET:
                host.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
            else:
                host.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                host.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
        except OSError:
            host.close()
            raise
        self.fd = host.fileno()

    @property
    def expires_ns(self) -> int:
        """When it will have been idle for long enough."""
        return self.used + (ANSWERED_NS if self.answered else UNANSWERED_NS)

    def send(self, inside: Endpoint, outside: Endpoint, data: Part) -> None:
        """One datagram of the guest's. An error is told to the guest; a full socket drops."""
        peers = self.peers
        if peers.get(outside) != inside:
            peers[outside] = inside
            if len(peers) > MAX_PEERS:
                peers.popitem(last=False)
        self.used = self._owner.gateway.now_ns
        for _ in range(3):  # the first attempts may meet with errors of earlier datagrams
            try:
                self.socket.sendto(data, sockaddr(outside))
                return
            except BlockingIOError:
                self._owner.dropped += 1
                return
            except OSError as error:
                if self._read_errors():
                    continue
                number = error.errno or errno.EHOSTUNREACH
                origin = Origin.of_datagram(self.guest, inside, data)
                self._owner.gateway.unreachable(origin, number)
                return

    def on_host(self, events: int) -> None:
        """The socket has become ready, EPOLL bits."""
        if events & FAILED:
            self._read_errors()
        if events & READABLE:
            self.receive()

    def receive(self) -> None:
        """Hand the guest what came, a batch at the most."""
        owner, recv = self._owner, self.socket.recvfrom
        gateway = owner.gateway
        for _ in range(BATCH_DATAGRAMS):
            if gateway.congested:
                owner.wait_for_room(self.fd)
                return
            try:
                data, found = recv(65536)
            except BlockingIOError:
                return
            except OSError:  # an error of an earlier datagram; it is in the error queue
                self._read_errors()
                continue
            peer = self.peers.get(endpoint(found))
            if peer is None:
                owner.dropped += 1
                continue
            self.answered = True
            self.used = gateway.now_ns
            gateway.send_datagram(peer, self.guest, data)
        owner.poller.again(self.fd)

    def _read_errors(self) -> bool:
        """Tell the guest of what the network reported; whether there was anything."""
        seen = False
        for _ in range(BATCH_DATAGRAMS):
            try:
                data, notes, _, found = self.socket.recvmsg(65536, 512, socket.MSG_ERRQUEUE)
            except OSError:
                return seen
            seen = True
            outside = endpoint(found)
            inside = self.peers.get(outside, plan.from_host(outside))
            for _, _, note in notes:
                if len(note) < _EXTENDED_ERROR.size:
                    continue
                number, origin, _, _, _, _ = _EXTENDED_ERROR.unpack_from(note)
                if origin in (_ORIGIN_ICMP, _ORIGIN_ICMP6):
                    about = Origin.of_datagram(self.guest, inside, data)
                    self._owner.gateway.unreachable(about, number, inside[0])
        return seen

    def close(self) -> None:
        """Give the socket back."""
        self.socket.close()
