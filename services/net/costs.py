"""What net's objects cost in bytes, measured when the kernel starts (`bus/census.py`)."""

from __future__ import annotations

import itertools
from functools import partial
from types import SimpleNamespace
from typing import Any

from services.net.ip.neighbour import NEIGHBOUR, Neighbour
from services.net.ip.router import PATH, Path
from services.net.netlink.socket import MESSAGE, NetlinkSocket
from services.net.proto.packet import Packet
from services.net.proto.udp import Datagram
from services.net.socket.base import NetSocket
from services.net.socket.datagram import UdpSocket
from services.net.socket.inbox import DATAGRAM
from services.net.socket.ports import BINDING, Binding
from services.net.socket.raw import RawSocket
from services.net.socket.stream import TcpSocket
from services.net.tcp.connection import Connection
from services.net.tcp.limits import Limits, PathInfo, Settings
from services.net.tcp.listener import LISTENER, Listener
from services.net.tcp.record import CONNECTION
from services.net.tcp.timewait import RECORD, TimeWait

FAR = 1 << 40
ENTRY_BYTES = 104
"""A place in a table that is at its emptiest: two thirds of it free."""

CALLBACKS_BYTES = 5 * 64
"""Bound methods by which a socket hears of its connection, and those of its timers."""


def measure() -> None:
    """Find all costs, once a process."""
    if CONNECTION.cost_bytes:
        return
    numbers = itertools.count(FAR)
    network: Any = SimpleNamespace(
        raws={}, stack=SimpleNamespace(raw_listeners=[]), v6_only=False, tcp_defaults=Settings()
    )
    interface: Any = SimpleNamespace(offload=False, gso=False)
    tcp: Any = SimpleNamespace(limits=Limits(), now_ns=next(numbers))

    settings = Settings()

    def address() -> bytes:
        return b"%16d" % next(numbers)

    def connection() -> Connection:
        path = PathInfo(1500, loopback=False)
        local, remote = (address(), 40000), (address(), 40001)
        return Connection(tcp, local, remote, path, Settings(), next(numbers) & 0xFFFF_FFFF)

    def listener() -> Listener:
        return Listener(tcp, address(), 40000, 3, 128, settings)

    def binding() -> Binding:
        return Binding(address(), next(numbers), 3, reuse=False, reuse_port=False, uid=0)

    def packet() -> Packet:
        source, target = (b"%4d" % (next(numbers) % 10000) for _ in range(2))
        return Packet(17, source, target, Datagram(1, 1, b""))

    def raw() -> RawSocket:
        socket = RawSocket(network, 2, 3, 1, next(numbers), 0)
        network.raws.clear()
        network.stack.raw_listeners.clear()
        return socket

    RawSocket.heap.measure(raw, beside_bytes=ENTRY_BYTES)
    kinds: tuple[type[NetSocket], ...] = (TcpSocket, UdpSocket)
    for kind in kinds:
        kind.heap.measure(
            partial(kind, network, 2, 1, 6, next(numbers), 0), beside_bytes=ENTRY_BYTES
        )
    NetSocket.heap.measure(lambda: NetSocket(network, 2, 1, 6, next(numbers), 0))
    CONNECTION.measure(connection, beside_bytes=ENTRY_BYTES + CALLBACKS_BYTES)
    LISTENER.measure(lambda: [listener(), (0, 0)], beside_bytes=ENTRY_BYTES)
    BINDING.measure(lambda: [binding(), (0, 0)], beside_bytes=ENTRY_BYTES)
    DATAGRAM.measure(lambda: (b"", packet(), 1, next(numbers)), beside_bytes=16)
    MESSAGE.measure(lambda: (b"", next(numbers), next(numbers)), beside_bytes=16)
    hub: Any = None
    NetlinkSocket.heap.measure(
        lambda: NetlinkSocket(network, hub, 3, 0, next(numbers), 0), beside_bytes=2 * ENTRY_BYTES
    )
    passing = connection()
    RECORD.measure(lambda: TimeWait(passing), beside_bytes=ENTRY_BYTES)
    NEIGHBOUR.measure(lambda: Neighbour(interface, address()), beside_bytes=ENTRY_BYTES)
    PATH.measure(
        lambda: Path(
            interface,
            address(),
            address(),
            address(),
            1500,
            loopback=False,
            group=False,
            generation=1,
            ident=0,
        ),
        beside_bytes=ENTRY_BYTES,
    )
