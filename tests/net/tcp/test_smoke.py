"""Can two hosts open, talk both ways, and close?"""

from __future__ import annotations

import errno

import pytest

from services.net.tcp.limits import SECOND, Settings
from services.net.tcp.state import State
from tests.net.tcp.world import A6, B6, LO, A, B, Link, World, connect, pair, transfer


def test_handshake_data_both_ways_and_close() -> None:
    world, c, s = pair()
    assert c.write(b"hello") == 5
    world.settle()
    assert s.read(100) == b"hello"
    assert s.write(b"world!") == 6
    world.settle()
    assert c.read(3) == b"wor"
    assert c.read(100) == b"ld!"
    c.shutdown_write()
    world.run(SECOND)
    assert c.state is State.FIN_WAIT2
    assert s.state is State.CLOSE_WAIT
    assert s.at_eof
    s.close()
    world.run(SECOND)
    assert c.state is State.CLOSE
    assert s.state is State.CLOSE
    assert len(c.tcp.time_waits) == 1
    world.run(70 * SECOND)
    assert not c.tcp.time_waits
    assert not c.tcp.connections
    assert not s.tcp.connections
    assert c.tcp.next_deadline_ns is None


@pytest.mark.parametrize("wire", [False, True])
@pytest.mark.parametrize("gso", [False, True])
def test_a_megabyte(wire: bool, gso: bool) -> None:
    world = World(3, wire=wire)
    world.gso = gso
    c, s, _ = connect(world, world.host(A), world.host(B))
    data = world.rng.randbytes(1 << 20)
    got, _ = transfer(world, c, s, data)
    assert got == data


def test_version_6() -> None:
    world = World(3, wire=True)
    c, s, _ = connect(world, world.host(A6), world.host(B6), A6, B6)
    data = world.rng.randbytes(1 << 18)
    got, _ = transfer(world, c, s, data)
    assert got == data


@pytest.mark.parametrize("loss", [0.01, 0.1])
def test_loss(loss: float) -> None:
    world = World(4, Link(loss=loss, delay_ns=20_000_000))
    c, s, _ = connect(world, world.host(A), world.host(B))
    data = world.rng.randbytes(1 << 20)
    got, _ = transfer(world, c, s, data)
    assert got == data


def test_nobody_listens() -> None:
    world = World()
    client, server = world.host(A), world.host(B)
    c = client.open((A, 40000), (B, 80))
    world.run(SECOND)
    assert c.error == errno.ECONNREFUSED
    assert c.state is State.CLOSE
    assert server.counters["OutRsts"] == 1


def test_nobody_answers() -> None:
    world = World(link=Link(loss=1.0))
    client = world.host(A)
    c = client.open((A, 40000), (B, 80), Settings(syn_retries=2))
    assert world.run(60 * SECOND, lambda: c.error != 0)
    assert c.error == errno.ETIMEDOUT
    assert 6 * SECOND < world.now - 1000 * SECOND < 8 * SECOND


@pytest.mark.parametrize("fusing", [False, True])
def test_loopback(fusing: bool) -> None:
    world = World()
    host = world.host(LO, fusing=fusing)
    c, s, _ = connect(world, host, host, LO, LO)
    world.run(SECOND)
    assert (c.fused is s) == fusing
    data = world.rng.randbytes(3 << 20)
    got, _ = transfer(world, c, s, data)
    assert got == data
    back = world.rng.randbytes(1 << 20)
    got, _ = transfer(world, s, c, back)
    assert got == back
    world.run(100 * SECOND)
    assert not host.connections
    assert not host.time_waits
