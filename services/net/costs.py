"""What net's objects cost in bytes, measured when the kernel starts (`bus/census.py`)."""

from __future__ import annotations

import itertools
from functools import partial
from types import SimpleNamespace
from typing import Any

from services.net.ip.neighbour import NEIGHBOUR, Neighbour
from services.net.ip.router import PATH, Path
from services.net.socket.base import NetSocket
from services.net.socket.datagram import UdpSocket
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

    def address() -> bytes:
        return b"%16d" % next(numbers)

    def connection() -> Connection:
        path = PathInfo(1500, loopback=False)
        local, remote = (address(), 40000), (address(), 40001)
        return Connection(tcp, local, remote, path, Settings(), next(numbers) & 0xFFFF_FFFF)

    def listener() -> Listener:
        return Listener(tcp, address(), 40000, 3, 128, Settings())

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
    CONNECTION.measure(connection, beside_bytes=ENTRY_BYTES)
    LISTENER.measure(listener, beside_bytes=ENTRY_BYTES)
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
