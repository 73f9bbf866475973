"""Ping out of the guest: echo requests leave by the host's ping sockets, icmp(7).

Such a socket needs no privileges where net.ipv4.ping_group_range allows it; where it does not, a
raw socket is tried (CAP_NET_RAW), and else the guest is told that it is prohibited. The host's
kernel or we choose another identifier, so there is a socket for each of the guest's; the one used
least recently gives way. Answers have the guest's identifier again.
"""

from __future__ import annotations

import errno
import socket
import sys
from collections import OrderedDict
from typing import TYPE_CHECKING

from services.drivers.nic.user import plan
from services.drivers.nic.user.hostside import endpoint, family_of, sockaddr
from services.drivers.nic.user.icmp import Origin
from services.drivers.nic.user.poller import READABLE
from services.net.proto import icmp, icmpv6
from services.net.proto.packet import Packet

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.drivers.nic.user.gateway import Gateway
    from services.drivers.nic.user.poller import Poller

MAX_SOCKETS = 64
BATCH_ANSWERS = 64
IDLE_NS = 30_000_000_000
_SOL_RAW, _ICMP_FILTER, _ALL_BUT_ECHO_REPLY = 255, 1, (0xFFFF_FFFE).to_bytes(4, sys.byteorder)
_PROTOS = {socket.AF_INET: socket.IPPROTO_ICMP, socket.AF_INET6: socket.IPPROTO_ICMPV6}

_Key = tuple[bytes, int, socket.AddressFamily]


class _Pinger:
    """The host's socket for one identifier of the guest's."""

    __slots__ = ("_owner", "_raw_ident", "fd", "ident", "key", "socket", "source", "used")

    def __init__(self, owner: Echoes, key: _Key) -> None:
        self._owner = owner
        self.key = key
        self.source, self.ident, family = key
        self.used = owner.gateway.now_ns
        self._raw_ident: int | None = None
        try:
            host = socket.socket(family, socket.SOCK_DGRAM, _PROTOS[family])
        except PermissionError:
            host = socket.socket(family, socket.SOCK_RAW, _PROTOS[family])
            if family == socket.AF_INET:
                host.setsockopt(_SOL_RAW, _ICMP_FILTER, _ALL_BUT_ECHO_REPLY)
            self._raw_ident = int.from_bytes(owner.random(2), "big")
        self.socket = host
        host.setblocking(False)
        self.fd = host.fileno()

    def send(self, target: bytes, request: icmp.Message) -> None:
        """One request, by this socket's own identifier. OSError."""
        rest = (self._raw_ident or 0) << 16 | request.rest & 0xFFFF
        message = icmp.Message(request.type, 0, rest, request.body)
        self.socket.sendto(b"".join(message.encode(b"", b"", False)), sockaddr((target, 0)))

    def _read(self, data: bytes) -> icmp.Message | None:
        """What arrived at the socket, as an answer for the guest; None if it is none."""
        v6 = len(self.source) == 16
        raw = self._raw_ident
        if raw is not None and not v6 and data:
            data = data[(data[0] & 15) << 2 :]  # raw sockets of IPv4 show the IP header, raw(7)
        if len(data) < icmp.HEADER_BYTES or data[0] != (
            icmpv6.ECHO_REPLY if v6 else icmp.ECHO_REPLY
        ):
            return None
        ident, sequence = int.from_bytes(data[4:6], "big"), int.from_bytes(data[6:8], "big")
        if raw is not None and ident != raw:
            return None
        return icmp.Message(data[0], data[1], self.ident << 16 | sequence, data[8:])

    def on_host(self, events: int) -> None:
        """Hand the guest the answers that have come."""
        if not events & READABLE:
            return
        gateway = self._owner.gateway
        for _ in range(BATCH_ANSWERS):
            try:
                data, found = self.socket.recvfrom(65536)
            except OSError:
                return
            answer = self._read(data)
            if answer is not None:
                proto = icmp.PROTO_V6 if len(self.source) == 16 else icmp.PROTO
                gateway.send(Packet(proto, endpoint(found)[0], self.source, answer))
        self._owner.poller.again(self.fd)


class Echoes:
    """All sockets, the one used least recently first."""

    def __init__(self, gateway: Gateway, poller: Poller, random: Callable[[int], bytes]) -> None:
        self.gateway = gateway
        self.random = random
        self.poller = poller
        self._pingers: OrderedDict[_Key, _Pinger] = OrderedDict()
        gateway.icmp.on_echo = self.on_echo

    def on_echo(self, source: bytes, target: bytes, request: icmp.Message) -> None:
        """The guest pings an address that is not the gateway's."""
        outside = plan.to_host((target, 0), bytes)
        try:
            if outside is None:
                raise OSError(errno.EHOSTUNREACH, "")
            key = source, request.rest >> 16, family_of(target)
            pinger = self._pingers.get(key) or self._open(key)
            self._pingers.move_to_end(key)
            pinger.used = self.gateway.now_ns
            pinger.send(outside[0], request)
        except BlockingIOError:
            return
        except OSError as error:
            if not plan.is_group(target):
                origin = Origin.of_message(source, target, request)
                self.gateway.unreachable(origin, error.errno or errno.EHOSTUNREACH)

    def _open(self, key: _Key) -> _Pinger:
        if len(self._pingers) >= MAX_SOCKETS:
            self._close(next(iter(self._pingers.values())))
        pinger = self._pingers[key] = _Pinger(self, key)
        self.poller.add(pinger.fd, pinger.on_host)
        return pinger

    def _close(self, pinger: _Pinger) -> None:
        del self._pingers[pinger.key]
        self.poller.remove(pinger.fd)
        pinger.socket.close()

    def expire(self) -> None:
        """Forget sockets that have been idle for long."""
        before_ns = self.gateway.now_ns - IDLE_NS
        for pinger in [one for one in self._pingers.values() if one.used <= before_ns]:
            self._close(pinger)

    def close(self) -> None:
        """Give all sockets back."""
        for pinger in list(self._pingers.values()):
            self._close(pinger)
