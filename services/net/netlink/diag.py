"""NETLINK_SOCK_DIAG: sockets as ss(8) asks for them (sock_diag(7), linux/inet_diag.h).

TCP, UDP and raw sockets are here. AF_UNIX is not net's: ENOENT, as without Linux's unix_diag, and
ss then reads /proc/net/unix.
"""

from __future__ import annotations

import struct
from errno import EINVAL, ENOENT, EOPNOTSUPP
from typing import TYPE_CHECKING, NamedTuple

from bus.errors import PosixError
from services.net import census
from services.net.netlink.bytecode import Subject, accepts, check
from services.net.netlink.message import attribute, u8
from services.net.netlink.query import Answer, Handler, Query
from services.net.socket.abi import (
    AF_INET,
    AF_INET6,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPPROTO_RAW,
    IPPROTO_TCP,
    IPPROTO_UDP,
)
from services.net.socket.abi import IPV6_TCLASS as OPTION_TCLASS
from services.net.socket.raw import PingSocket
from services.net.socket.stream import TcpSocket
from services.net.tcp.state import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.net.netlink.message import Message
    from services.net.socket.base import NetSocket
    from services.net.socket.inet import InetSocket
    from services.net.socket.network import Network

SOCK_DIAG_BY_FAMILY, SOCK_DESTROY = 20, 21
REQUEST = struct.Struct("<BBBBI")
"""struct inet_diag_req_v2: family, protocol, extensions, raw protocol, states; then an id."""
ID_BYTES, REQUEST_BYTES = 48, 56
BYTECODE = 1
HEAD, TAIL = struct.Struct("<BBBB"), struct.Struct("<5I")
PORTS = struct.Struct(">HH")
MEMINFO, INFO, CONG, TOS, TCLASS, SKMEMINFO, SHUTDOWN, V6ONLY = 1, 2, 4, 5, 6, 7, 8, 11
NO_COOKIE = b"\xff" * 8
NS_PER_MS = 1_000_000
MAPPED = bytes(10) + b"\xff\xff"


class Line(NamedTuple):
    """One socket, of whatever protocol."""

    family: int
    state: int
    local: tuple[bytes, int]
    remote: tuple[bytes, int] | None
    receive_queue: int
    send_queue: int
    uid: int
    inode: int
    ifindex: int
    cookie: int
    socket: InetSocket | None
    tcp: census.TcpSeen | None = None


def handler(message: Message) -> Handler:
    """Who serves a request: EINVAL, ENOENT for a family that is not here, EOPNOTSUPP."""
    if message.type not in (SOCK_DIAG_BY_FAMILY, SOCK_DESTROY) or len(message.body) < 2:
        raise PosixError(EINVAL)
    family, protocol = message.body[:2]
    if family not in (AF_INET, AF_INET6) or protocol not in LISTERS:
        raise PosixError(ENOENT)
    if message.type == SOCK_DESTROY:
        raise PosixError(EOPNOTSUPP)
    return HANDLER


def dump(query: Query) -> Iterator[Answer]:
    """All sockets of a family and protocol in the states that are asked for."""
    family, protocol, extensions, raw, states = REQUEST.unpack_from(query.fixed(REQUEST_BYTES))
    ports = PORTS.unpack_from(query.message.body, REQUEST.size)
    code = query.attributes(REQUEST_BYTES).get(BYTECODE, b"")
    if code:
        check(code)
    for line in LISTERS[protocol](query.network):
        if line.family != family or not states >> line.state & 1:
            continue
        if raw and protocol == IPPROTO_RAW and raw != line.local[1]:
            continue
        remote_port = line.remote[1] if line.remote else 0
        if ports[0] not in (0, line.local[1]) or ports[1] not in (0, remote_port):
            continue
        if code and not accepts(code, _subject(line)):
            continue
        yield SOCK_DIAG_BY_FAMILY, body(line, extensions)


def get(query: Query) -> list[Answer]:
    """The one socket that a request names by its addresses and ports; ENOENT."""
    family, protocol, extensions, _, _ = REQUEST.unpack_from(query.fixed(REQUEST_BYTES))
    wanted = query.message.body[REQUEST.size : REQUEST_BYTES]
    for line in LISTERS[protocol](query.network):
        named = _identity(line)
        same = named[: ID_BYTES - 12] == wanted[: ID_BYTES - 12]
        if line.family == family and same and wanted[-8:] in (NO_COOKIE, named[-8:]):
            return [(SOCK_DIAG_BY_FAMILY, body(line, extensions))]
    raise PosixError(ENOENT)


def _subject(line: Line) -> Subject:
    remote = line.remote or (bytes(len(line.local[0])), 0)
    return Subject(
        _shown(line.local[0], line.family),
        line.local[1],
        _shown(remote[0], line.family),
        remote[1],
        line.ifindex,
        line.socket is not None and line.socket.binding is None,
    )


# Listing ------------------------------------------------------------------------------------


def _tcp(network: Network) -> Iterator[Line]:
    for seen in census.tcp(network):
        socket = seen.socket
        send_queue = seen.send_queue
        if socket is not None and socket.listener is not None:
            send_queue = socket.listener.backlog
        yield Line(
            seen.family, seen.state, seen.local, seen.remote, seen.receive_queue, send_queue,
            seen.uid, seen.inode, socket.ifindex if socket is not None else 0,
            socket.handle if socket is not None else 0, socket, seen,
        )  # fmt: skip


def _datagrams(sockets: list[InetSocket]) -> Iterator[Line]:
    for socket in sockets:
        state = State.ESTABLISHED if socket.remote is not None else State.CLOSE
        queued: int = getattr(socket, "queued_bytes", 0)
        local = socket.local or (socket.any_address, 0)
        yield Line(
            socket.family, state, local, socket.remote, queued, 0, socket.uid, socket.inode,
            socket.ifindex, socket.handle, socket,
        )  # fmt: skip


def _raw(network: Network) -> Iterator[Line]:
    for socket in list(network.raws):
        if isinstance(socket, PingSocket):
            continue
        (line,) = _datagrams([socket])
        yield line._replace(local=(line.local[0], socket.protocol))


LISTERS = {
    IPPROTO_TCP: _tcp,
    IPPROTO_UDP: lambda network: _datagrams([*network.udp.sockets()]),
    IPPROTO_RAW: _raw,
}


# Telling ------------------------------------------------------------------------------------


def _shown(address: bytes, family: int) -> bytes:
    if family == AF_INET6 and len(address) == 4:
        return MAPPED + address if any(address) else bytes(16)
    if family == AF_INET and len(address) == 16:
        return bytes(4)
    return address


def _identity(line: Line) -> bytes:
    """struct inet_diag_sockid; the cookie is net's own number of the socket."""
    remote = line.remote or (b"", 0)
    source, target = _shown(line.local[0], line.family), _shown(remote[0], line.family)
    return (
        PORTS.pack(line.local[1], remote[1])
        + source.ljust(16, b"\0")
        + target.ljust(16, b"\0")
        + struct.pack("<IQ", line.ifindex, line.cookie)
    )


def body(line: Line, extensions: int) -> bytes:
    """struct inet_diag_msg, and the attributes that `extensions` asks for (bit n - 1 for n)."""
    timer = retransmits = expires_ms = 0
    if line.tcp is not None:
        timer, expires_ms = line.tcp.timer, line.tcp.expires_ns // NS_PER_MS
        retransmits = line.tcp.probes if timer > census.RETRANSMIT else line.tcp.retransmits
    parts = [
        HEAD.pack(line.family, line.state, timer, min(retransmits, 255)),
        _identity(line),
        TAIL.pack(expires_ms, line.receive_queue, line.send_queue, line.uid, line.inode),
    ]
    socket = line.socket
    if socket is not None:
        parts.append(u8(SHUTDOWN, socket.shut))
        for kind, value in _extras(socket, line):
            if kind == V6ONLY or extensions >> kind - 1 & 1:
                parts.append(attribute(kind, value))
    return b"".join(parts)


def _extras(socket: NetSocket, line: Line) -> Iterator[tuple[int, bytes]]:
    """The attributes that there are to be had of a socket."""
    receive, send = line.receive_queue, line.send_queue
    listens = line.state == State.LISTEN
    if listens:
        receive = send = 0
    yield TOS, bytes((socket.kept.get((IPPROTO_IP, 1), 0) & 0xFF,))
    if line.family == AF_INET6:
        yield TCLASS, bytes((max(socket.kept.get((IPPROTO_IPV6, OPTION_TCLASS), 0), 0),))
        if listens or line.state == State.CLOSE:
            yield V6ONLY, bytes((line.socket is not None and line.socket.v6_only,))
    yield MEMINFO, struct.pack("<4I", receive, send, 0, send)
    limits = socket.receive_limit_bytes, socket.send_limit_bytes
    if line.tcp is not None and line.tcp.connection is not None:
        limits = line.tcp.connection.receive_limit, line.tcp.connection.send_limit
    yield SKMEMINFO, struct.pack("<9I", receive, limits[0], 0, limits[1], 0, send, 0, 0, 0)
    if isinstance(socket, TcpSocket):
        from services.net.socket.options_tcp import info

        yield INFO, info(socket)
        yield CONG, str(socket.setting("congestion")).encode() + b"\0"


HANDLER = Handler(get, dump)
