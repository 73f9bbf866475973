"""Whose port is it? Of connections too, as Linux's bind buckets have it."""

from __future__ import annotations

import random
from errno import EADDRINUSE, EINPROGRESS

import pytest

from bus.errors import PosixError
from services.net.api import Board
from services.net.socket import abi, names
from services.net.socket.abi import AF_INET, AF_INET6, SOL_SOCKET
from services.net.socket.network import Network
from services.net.socket.stream import TcpSocket
from tests.net.proto.scapyoracle import ip

STREAM = 1
LO, LO6, OTHER = ip("127.0.0.1"), ip("::1"), ip("127.0.0.2")
ANY, ANY6 = bytes(4), bytes(16)
PORT = 7000


@pytest.fixture
def network() -> Network:
    return Network(Board(), memoryview(bytearray(4096)), random.Random(6).randbytes)


def socket(network: Network, family: int = AF_INET, *, reuse: bool = False) -> TcpSocket:
    made = network.open(family, STREAM, 0, 1, 0, True)
    assert isinstance(made, TcpSocket)
    made.set_option(SOL_SOCKET, abi.SO_REUSEADDR, bytes([reuse, 0, 0, 0]), True)
    return made


def bind(one: TcpSocket, address: bytes, port: int = PORT) -> int:
    """The errno."""
    try:
        one.bind(names.encode(address, port, one.family), True)
    except PosixError as error:
        return error.errno
    return 0


def connection(network: Network, *, reuse: bool) -> tuple[TcpSocket, TcpSocket, TcpSocket]:
    """A listener at `PORT`, a client of it, and what was accepted."""
    listener = socket(network, reuse=reuse)
    assert not bind(listener, LO)
    listener.listen(5)
    client = socket(network)
    try:
        client.connect(names.encode(LO, PORT, AF_INET))
    except PosixError as error:
        assert error.errno == EINPROGRESS  # noqa: PT017
    network.settle()
    child = listener.accept(2, 0)
    network.admit(child)
    assert isinstance(child, TcpSocket)
    return listener, client, child


def test_of_another_address_or_version(network: Network) -> None:
    connection(network, reuse=False)
    assert not bind(socket(network, AF_INET6), LO6)
    assert not bind(socket(network), OTHER)


def test_a_wildcard_meets_connections(network: Network) -> None:
    listener, *_ = connection(network, reuse=False)
    network.close(listener, False)
    assert bind(socket(network), ANY) == EADDRINUSE
    assert bind(socket(network, AF_INET6), ANY6) == EADDRINUSE
    alone = socket(network, AF_INET6)
    alone.set_option(abi.IPPROTO_IPV6, abi.IPV6_V6ONLY, b"\1\0\0\0", True)
    assert not bind(alone, ANY6)


def test_reuse_must_be_wanted_by_both(network: Network) -> None:
    listener, *_ = connection(network, reuse=False)
    network.close(listener, False)
    assert bind(socket(network, reuse=True), LO) == EADDRINUSE


def test_reuse_wanted_by_both(network: Network) -> None:
    listener, *_ = connection(network, reuse=True)
    assert bind(socket(network, reuse=True), LO) == EADDRINUSE  # it listens
    network.close(listener, False)
    assert bind(socket(network), LO) == EADDRINUSE
    assert not bind(socket(network, reuse=True), LO)


def test_the_client_s_own_port(network: Network) -> None:
    _, client, _ = connection(network, reuse=True)
    assert client.local is not None
    assert bind(socket(network, reuse=True), LO, client.local[1]) == EADDRINUSE
