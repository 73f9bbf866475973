"""Who is connected to whom, and who waits: what /proc/net/tcp and its like, and ss, tell.

A connection may have no socket: in a listener's queue, closed by its program, or in TIME_WAIT.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from services.net.socket.abi import AF_INET, AF_INET6
from services.net.socket.stream import TcpSocket
from services.net.tcp.limits import NEVER
from services.net.tcp.state import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.net.socket.network import Network
    from services.net.tcp.connection import Connection
    from services.net.tcp.timewait import TimeWait

NO_TIMER, RETRANSMIT, KEEPALIVE, TIME_WAITS, PROBE = 0, 1, 2, 3, 4
"""Which timer runs (proc(5), sock_diag(7))."""
UNACKED = (State.SYN_SENT, State.SYN_RECV, State.FIN_WAIT1, State.CLOSING, State.LAST_ACK)
"""States in which a SYN or FIN is out: it has a sequence number too."""


@attrs.frozen
class TcpSeen:
    """One line: a listener, a connection or what is left of one."""

    family: int
    state: int
    local: tuple[bytes, int]
    remote: tuple[bytes, int] | None = None
    socket: TcpSocket | None = None
    connection: Connection | None = None
    receive_queue: int = 0
    """Bytes not read; of a listener, connections not accepted."""
    send_queue: int = 0
    """Bytes not acknowledged."""
    timer: int = NO_TIMER
    expires_ns: int = 0
    """How long the timer still runs."""
    retransmits: int = 0
    probes: int = 0
    uid: int = 0

    @property
    def inode(self) -> int:
        """Of the socket; 0 without."""
        return self.socket.inode if self.socket is not None else 0


def tcp(network: Network) -> Iterator[TcpSeen]:
    """All of TCP: listeners first, then what is connected, then TIME_WAIT."""
    families: dict[Connection, tuple[int, int]] = {}
    sockets = [one for one in network.sockets.values() if isinstance(one, TcpSocket)]
    for socket in sockets:
        if socket.listener is not None:
            assert socket.local is not None
            waiting = len(socket.listener.accepted)
            yield TcpSeen(
                socket.family, State.LISTEN, socket.local, None, socket, None, waiting,
                uid=socket.uid,
            )  # fmt: skip
            for pending in (*socket.listener.accepted, *socket.listener.half_open):
                families[pending] = socket.family, socket.uid
    shown = set[int]()
    for socket in sockets:
        connection = socket.connection
        if connection is not None and connection.state is not State.CLOSE:
            shown.add(id(connection))
            yield _connection(network, connection, socket.family, socket)
    for connection in list(network.tcp.connections.values()):
        if id(connection) not in shown:
            family, uid = families.get(connection, (_family(connection.local[0]), 0))
            yield _connection(network, connection, family, None, uid)
    for record in list(network.tcp.time_waits.records.values()):
        yield _time_wait(network, record)


def _family(address: bytes) -> int:
    return AF_INET if len(address) == 4 else AF_INET6


def _connection(
    network: Network, c: Connection, family: int, socket: TcpSocket | None, uid: int = 0
) -> TcpSeen:
    timer, at_ns = NO_TIMER, 0
    if c.retransmit_at != NEVER:
        at_ns = c.retransmit_at
        timer = RETRANSMIT if c.snd_nxt > c.snd_una else PROBE
    elif c.keep_at != NEVER:
        timer, at_ns = KEEPALIVE, c.keep_at
    return TcpSeen(
        family,
        c.state,
        c.local,
        c.remote,
        socket,
        c,
        c.readable_bytes,
        c.unacked_bytes + (c.state in UNACKED),
        timer,
        max(at_ns - network.now_ns, 0),
        c.backoff if timer == RETRANSMIT else 0,
        c.backoff if timer == PROBE else c.keep_probes,
        socket.uid if socket is not None else uid,
    )


def _time_wait(network: Network, record: TimeWait) -> TcpSeen:
    left = max(record.ends_ns - network.now_ns, 0)
    return TcpSeen(
        _family(record.local[0]),
        State.TIME_WAIT,
        record.local,
        record.remote,
        timer=TIME_WAITS,
        expires_ns=left,
    )
