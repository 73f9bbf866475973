"""Does ss(8) get to know the sockets that there are?"""

from __future__ import annotations

import struct
from errno import EINPROGRESS, EINVAL, ENOENT, EOPNOTSUPP
from typing import NamedTuple

import pytest

from bus.errors import PosixError
from services.net import census
from services.net.netlink import abi, diag
from services.net.netlink.message import attribute, attributes
from services.net.socket import names
from services.net.tcp.state import State
from tests.net.netlink.asker import Asker
from tests.net.netlink.test_bytecode import port as port_filter
from tests.net.netlink.test_rtnetlink import refused
from tests.net.proto.scapyoracle import ip

TCP, UDP, RAW, INET, INET6 = 6, 17, 255, 2, 10
ALL = 0xFFF
LO = ip("127.0.0.1")


class Seen(NamedTuple):
    state: int
    local: tuple[bytes, int]
    remote: tuple[bytes, int]
    queues: tuple[int, int]
    inode: int
    timer: int
    extras: dict[int, bytes]


@pytest.fixture
def asker() -> Asker:
    return Asker(abi.NETLINK_SOCK_DIAG)


def show(
    asker: Asker, protocol: int, states: int = ALL, family: int = INET, extensions: int = 0,
    code: bytes = b"",
) -> list[Seen]:  # fmt: skip
    body = struct.pack("<BBBBI", family, protocol, extensions, 0, states) + bytes(48)
    body += attribute(diag.BYTECODE, code) if code else b""
    found = []
    for answer in asker.ask(diag.SOCK_DIAG_BY_FAMILY, body, abi.F_DUMP):
        _, state, timer, _ = answer.body[:4]
        ports = struct.unpack_from(">HH", answer.body, 4)
        size = 4 if family == INET else 16
        source, target = answer.body[8 : 8 + size], answer.body[24 : 24 + size]
        _, received, sent, _, inode = struct.unpack_from("<5I", answer.body, 52)
        extras = attributes(answer.body[72:])
        found.append(
            Seen(state, (source, ports[0]), (target, ports[1]), (received, sent), inode, timer,
                 extras)
        )  # fmt: skip
    return found


def connect(asker: Asker, port: int) -> None:
    """A listener of inode 11 and a connection of inode 12 to it, not accepted yet."""
    network = asker.network
    listener = network.open(INET, 1, 0, 11, 0, True)
    listener.bind(names.encode(LO, port, INET), True)
    listener.listen(7)
    client = network.open(INET, 1, 0, 12, 1000, False)
    with refused(EINPROGRESS):
        client.connect(names.encode(LO, port, INET))
    network.settle()


def test_tcp(asker: Asker) -> None:
    connect(asker, 80)
    listener, client, child = show(asker, TCP)
    assert (listener.state, listener.inode, listener.queues) == (State.LISTEN, 11, (1, 7))
    assert listener.local == (LO, 80)
    assert (client.state, client.inode, client.remote) == (State.ESTABLISHED, 12, (LO, 80))
    assert (child.state, child.inode, child.remote) == (State.ESTABLISHED, 0, client.local)
    assert [s.state for s in show(asker, TCP, 1 << State.LISTEN)] == [State.LISTEN]
    assert show(asker, TCP, family=INET6) == []


def test_extensions(asker: Asker) -> None:
    connect(asker, 80)
    wanted = 1 << diag.INFO - 1 | 1 << diag.CONG - 1 | 1 << diag.SKMEMINFO - 1
    client = show(asker, TCP, 1 << State.ESTABLISHED, extensions=wanted)[0]
    assert client.extras[diag.CONG] == b"cubic\0"
    assert client.extras[diag.INFO][0] == State.ESTABLISHED
    assert len(client.extras[diag.SKMEMINFO]) == 36
    assert diag.INFO not in show(asker, TCP)[0].extras


def test_filters(asker: Asker) -> None:
    connect(asker, 80)
    only = show(asker, TCP, code=port_filter(12, 80))  # destination port
    assert [seen.inode for seen in only] == [12]
    with refused(EINVAL):
        show(asker, TCP, code=b"\x63\4\4\0")


def test_time_wait(asker: Asker) -> None:
    connect(asker, 80)
    network = asker.network
    client = next(s for s in network.sockets.values() if s.inode == 12)
    listener = next(s for s in network.sockets.values() if s.inode == 11)
    child = network.admit(listener.accept(13, 0))
    network.close(client, False)
    network.settle()
    network.close(child, False)
    network.settle()
    (waiting,) = show(asker, TCP, 1 << State.TIME_WAIT)
    assert (waiting.timer, waiting.inode) == (census.TIME_WAITS, 0)


def test_syn_sent_has_a_timer(asker: Asker) -> None:
    client = asker.network.open(INET, 1, 0, 12, 0, True)
    with refused(EINPROGRESS):
        client.connect(names.encode(ip("10.0.2.99"), 80, INET))
    (seen,) = show(asker, TCP)
    assert (seen.state, seen.timer, seen.queues) == (State.SYN_SENT, census.RETRANSMIT, (0, 1))


def test_udp_and_raw(asker: Asker) -> None:
    network = asker.network
    udp = network.open(INET6, 2, 0, 21, 0, True)
    udp.bind(names.encode(bytes(16), 5353, INET6), True)
    network.open(INET, 3, 1, 22, 0, True)
    network.open(INET, 2, 1, 23, 0, True)  # ping: no raw socket
    (seen,) = show(asker, UDP, family=INET6)
    assert (seen.local, seen.state, seen.inode) == ((bytes(16), 5353), State.CLOSE, 21)
    assert seen.extras[diag.V6ONLY] == b"\0"
    (seen,) = show(asker, RAW)
    assert (seen.local[1], seen.inode) == (1, 22)


def test_exactly_one(asker: Asker) -> None:
    connect(asker, 80)
    client = show(asker, TCP)[1]
    identity = struct.pack(">HH", client.local[1], 80) + LO.ljust(16, b"\0") * 2 + bytes(4)
    head = struct.pack("<BBBBI", INET, TCP, 0, 0, ALL)
    (answer,) = asker.ask(diag.SOCK_DIAG_BY_FAMILY, head + identity + b"\xff" * 8)
    assert struct.unpack_from("<5I", answer.body, 52)[4] == 12
    for cookie in (bytes(8), b"\xff" * 8):
        wrong = identity.replace(LO, ip("127.0.0.2"))
        with refused(ENOENT):
            asker.ask(diag.SOCK_DIAG_BY_FAMILY, head + wrong + cookie)


@pytest.mark.parametrize(
    ("kind", "family", "protocol", "error"),
    [
        (20, 1, 0, ENOENT),
        (20, INET, 132, ENOENT),
        (21, INET, TCP, EOPNOTSUPP),
        (18, INET, TCP, EINVAL),
        (99, INET, TCP, EINVAL),
    ],
)
def test_what_is_not_here(asker: Asker, kind: int, family: int, protocol: int, error: int) -> None:
    body = struct.pack("<BBBBI", family, protocol, 0, 0, ALL) + bytes(48)
    with pytest.raises(PosixError) as raised:
        asker.ask(kind, body, abi.F_DUMP)
    assert raised.value.errno == error
