"""How do connections begin, and what does a listener do when there are too many?"""

from __future__ import annotations

import errno
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from bus.errors import PosixError
from services.net.proto.packet import Packet
from services.net.tcp.limits import MS, SECOND, Settings
from services.net.tcp.segment import ACK, RST, SYN, Segment
from services.net.tcp.state import State
from tests.net.tcp.world import A6, B6, LO, A, B, Link, Puppet, World, connect, transfer

if TYPE_CHECKING:
    from services.net.tcp.connection import Connection


def drop_first(world: World, flags: int) -> list[Packet]:
    """Lose the first segment with exactly these flags."""
    lost: list[Packet] = []

    def drop(packet: Packet) -> bool:
        if not lost and packet.payload.flags == flags:
            lost.append(packet)
            return True
        return False

    world.link.drop = drop
    return lost


@pytest.mark.parametrize("flags", [SYN, SYN | ACK, ACK])
def test_any_segment_of_the_handshake_may_be_lost(flags: int) -> None:
    world = World()
    lost = drop_first(world, flags)
    client, server = world.host(A), world.host(B)
    listener = server.listen(None, 80)
    c = client.open((A, 40000), (B, 80))
    world.run(5 * SECOND, lambda: c.state is State.ESTABLISHED)
    c.write(b"hello")
    assert world.run(10 * SECOND, lambda: bool(listener.accepted))
    assert lost
    s = listener.accept()
    assert s is not None
    world.run(SECOND)
    assert s.read(100) == b"hello"


@pytest.mark.parametrize("stamps", [False, True])
@pytest.mark.parametrize("sack", [False, True])
@pytest.mark.parametrize("scaling", [False, True])
@pytest.mark.parametrize("who", ["client", "server"])
def test_options_are_agreed_on(stamps: bool, sack: bool, scaling: bool, who: str) -> None:
    world = World(wire=True)
    less = {"timestamps": stamps, "sack": sack, "window_scaling": scaling}
    client = world.host(A, **(less if who == "client" else {}))
    server = world.host(B, **(less if who == "server" else {}))
    c, s, _ = connect(world, client, server)
    for end in (c, s):
        assert (end.stamps_on, end.sack_on, end.scale_on) == (stamps, sack, scaling)
        assert end.mss == (1448 if stamps else 1460)
    assert (c.rcv_scale, c.snd_scale) == (s.snd_scale, s.rcv_scale)
    assert (c.rcv_scale > 0) == scaling
    syn_ack = next(p.payload for p in world.sent if p.payload.flags == SYN | ACK)
    assert (syn_ack.scale is not None) == scaling
    assert syn_ack.sack_ok == sack
    data = world.rng.randbytes(300000)
    assert transfer(world, c, s, data)[0] == data


def test_a_window_in_a_syn_is_not_scaled() -> None:
    world = World()
    tcp = world.host(A)
    c = tcp.open((A, 40000), (B, 80))
    peer = Puppet(world, tcp)
    peer.answer(mss=1460, scale=10, window=100)
    assert c.snd_wnd == 100
    peer.send(ACK, window=100)
    assert c.snd_wnd == 100 << 10


def test_a_peer_without_mss_gets_small_segments() -> None:
    world = World()
    tcp = world.host(A)
    c = tcp.open((A, 40000), (B, 80))
    Puppet(world, tcp).answer()
    assert c.mss == 536


def test_max_segment_is_announced_and_kept() -> None:
    world = World()
    c, s, _ = connect(world, world.host(A), world.host(B), settings=Settings(max_segment=700))
    syn = world.sent[0].payload
    assert syn.mss == 700
    data = bytes(10000)
    assert transfer(world, s, c, data)[0] == data
    assert transfer(world, c, s, data)[0] == data
    assert max(len(p.payload.payload) for p in world.sent) == 700 - 12


def test_simultaneous_open() -> None:
    world = World(link=Link(delay_ns=50 * MS))
    one, two = world.host(A), world.host(B)
    c = one.open((A, 5000), (B, 6000))
    s = two.open((B, 6000), (A, 5000))
    assert world.run(SECOND, lambda: c.state is State.ESTABLISHED is s.state)
    assert Counter(p.payload.flags for p in world.sent)[SYN | ACK] == 2
    data = world.rng.randbytes(100000)
    assert transfer(world, c, s, data)[0] == data
    assert transfer(world, s, c, data)[0] == data


def test_a_socket_may_connect_to_itself() -> None:
    world = World()
    host = world.host(LO)
    c = host.open((LO, 5000), (LO, 5000))
    world.run(SECOND)
    assert c.state is State.ESTABLISHED
    c.write(b"echo")
    world.run(SECOND)
    assert c.read(10) == b"echo"


def test_a_pair_in_use_cannot_be_opened_again() -> None:
    world = World()
    client = world.host(A)
    client.open((A, 40000), (B, 80))
    assert not client.reusable((A, 40000), (B, 80))
    with pytest.raises(PosixError) as caught:
        client.open((A, 40000), (B, 80))
    assert caught.value.errno == errno.EADDRNOTAVAIL


def test_the_number_of_connections_is_bounded() -> None:
    world = World()
    client = world.host(A, max_connections=3)
    for port in range(3):
        client.open((A, 40000 + port), (B, 80))
    with pytest.raises(PosixError) as caught:
        client.open((A, 50000), (B, 80))
    assert caught.value.errno == errno.ENOBUFS


def test_a_syn_ack_for_something_else_is_reset() -> None:
    world = World()
    tcp = world.host(A)
    c = tcp.open((A, 40000), (B, 80))
    peer = Puppet(world, tcp)
    syn = peer.take()[0]
    peer.send(SYN | ACK, ack=syn.seq + 2)
    (answer,) = peer.take()
    assert (answer.flags, answer.seq) == (RST, syn.seq + 2)
    assert c.state is State.SYN_SENT
    peer.send(RST | ACK, ack=syn.seq + 2)
    assert c.state is State.SYN_SENT


def test_the_most_specific_listener_wins() -> None:
    world = World()
    host = world.host(B, B6)
    anyone = host.listen(None, 80, 3)
    exact = host.listen(B, 80, 1)
    only_six = host.listen(None, 81, 2)
    client = world.host(A, A6)
    c = client.open((A, 1), (B, 80))
    d = client.open((A6, 2), (B6, 80))
    e = client.open((A, 3), (B, 81))
    f = client.open((A6, 4), (B6, 81))
    world.run(SECOND)
    assert (len(exact.accepted), len(anyone.accepted), len(only_six.accepted)) == (1, 1, 1)
    assert c.state == d.state == f.state == State.ESTABLISHED
    assert e.error == errno.ECONNREFUSED


def test_several_listeners_share_a_port() -> None:
    world = World()
    host = world.host(B)
    listeners = [host.listen(None, 80, 3, 1000) for _ in range(4)]
    client = world.host(A)
    for port in range(400):
        client.open((A, 10000 + port), (B, 80))
    world.run(SECOND)
    counts = [len(listener.accepted) for listener in listeners]
    assert sum(counts) == 400
    assert min(counts) > 50
    for listener in listeners[1:]:
        listener.close()
    client.open((A, 20000), (B, 80))
    world.run(SECOND)
    assert len(listeners[0].accepted) == counts[0] + 1


def open_many(world: World, count: int, backlog: int, **limits: int) -> tuple:
    """Many clients connect to a listener that accepts nothing."""
    client, server = world.host(A), world.host(B, **limits)
    listener = server.listen(None, 80, 3, backlog)
    told = []
    listener.on_change = lambda: told.append(len(listener.accepted))
    conns = [client.open((A, 10000 + i), (B, 80)) for i in range(count)]
    return client, server, listener, conns, told


def test_the_accept_queue_holds_one_more_than_the_backlog() -> None:
    world = World()
    _, server, listener, _, told = open_many(world, 10, 2)
    world.run(SECOND)
    assert len(listener.accepted) == 3
    assert told == [1, 2, 3]
    assert server.counters["ListenOverflows"] > 0


def test_who_found_the_queue_full_gets_in_later() -> None:
    """The last ACK is dropped: the client believes to be connected and sends."""
    world = World()
    client, server = world.host(A), world.host(B)
    listener = server.listen(None, 80, 3, 8)
    c = client.open((A, 40000), (B, 80))
    world.run(SECOND, lambda: bool(listener.half_open))
    listener.backlog = -1  # full
    world.run(100 * MS)
    assert c.state is State.ESTABLISHED
    assert not listener.accepted
    assert server.counters["ListenOverflows"] == 1
    c.write(b"patient")
    listener.backlog = 8
    assert world.run(30 * SECOND, lambda: bool(listener.accepted))
    s = listener.accept()
    assert s is not None
    world.run(5 * SECOND)
    assert s.read(100) == b"patient"


def test_closing_a_listener_resets_what_was_not_accepted() -> None:
    world = World()
    _, server, listener, conns, _ = open_many(world, 3, 8)
    world.run(SECOND)
    assert all(c.state is State.ESTABLISHED for c in conns)
    listener.close()
    world.run(SECOND)
    assert [c.error for c in conns] == [errno.ECONNRESET] * 3
    assert not server.connections
    assert not server.listeners


def test_a_half_open_connection_ends_at_last() -> None:
    world = World()
    server = world.host(A)
    listener = server.listen(None, 40000, 3, 8)
    peer = Puppet(world, server)
    peer.send(SYN)
    assert len(listener.half_open) == 1
    world.run(100 * SECOND)
    assert not listener.half_open
    assert not server.connections
    assert [s.flags for s in peer.take()] == [SYN | ACK] * 6
    assert server.next_deadline_ns is None


def test_a_half_open_connection_may_be_reset() -> None:
    world = World()
    server = world.host(A)
    listener = server.listen(None, 40000, 3, 8)
    peer = Puppet(world, server)
    peer.send(SYN)
    peer.take()
    peer.send(RST)
    assert not listener.half_open
    assert not server.connections
    assert server.counters["AttemptFails"] == 1


def test_a_syn_ack_does_not_complete_a_passive_open() -> None:
    """Only a simultaneous open may be completed so."""
    world = World()
    server = world.host(A)
    listener = server.listen(None, 40000, 3, 8)
    peer = Puppet(world, server)
    peer.send(SYN, mss=1460)
    answer = peer.take()[0]
    peer.send(SYN | ACK, seq=peer.seq - 1, ack=answer.seq + 1)
    assert not listener.accepted
    peer.send(ACK, ack=answer.seq + 1)
    assert len(listener.accepted) == 1


def test_deferred_accept_waits_for_data() -> None:
    world = World()
    client, server = world.host(A), world.host(B)
    listener = server.listen(None, 80, 3, 8, Settings(defer_accept_ns=5 * SECOND))
    c = client.open((A, 40000), (B, 80))
    world.run(SECOND)
    assert c.state is State.ESTABLISHED
    assert not listener.accepted
    c.write(b"GET")
    world.run(SECOND)
    s = listener.accept()
    assert s is not None
    assert s.read(10) == b"GET"
    silent = client.open((A, 40001), (B, 80))
    assert world.run(60 * SECOND, lambda: bool(listener.accepted))
    assert silent.state is State.ESTABLISHED


# ---------------------------------------------------------------------- cookies


def flood(world: World, server_port: int, count: int, deliver: object) -> None:
    """SYNs from nobody."""
    for i in range(count):
        src = bytes((192, 0, 2, i & 255))
        segment = Segment(1024 + i, server_port, i * 7919 & 0xFFFFFFFF, 0, SYN, 1000, mss=1460)
        world.deliver(Packet(6, src, B, segment, ifindex=1))


@pytest.mark.parametrize("stamps", [False, True])
def test_a_flood_keeps_nobody_out(stamps: bool) -> None:
    world = World()
    server = world.host(B)
    listener = server.listen(None, 80, 3, 16)
    flood(world, 80, 500, None)
    assert len(server.connections) == len(listener.half_open) == 16
    assert server.counters["SyncookiesSent"] == 484
    client = world.host(A, timestamps=stamps)
    c = client.open((A, 40000), (B, 80))
    world.run(SECOND)
    assert c.state is State.ESTABLISHED
    assert server.counters["SyncookiesRecv"] == 1
    s = listener.accept()
    assert s is not None
    assert (s.scale_on, s.sack_on, s.stamps_on) == (stamps, stamps, stamps)
    assert s.snd_scale == (c.rcv_scale if stamps else 0)
    assert s.mss == (1448 if stamps else 1460)
    assert s.rtt.srtt == 0
    data = world.rng.randbytes(200000)
    assert transfer(world, c, s, data)[0] == data
    assert transfer(world, s, c, data)[0] == data


def test_a_forged_or_old_cookie_is_reset() -> None:
    world = World()
    server = world.host(A)
    listener = server.listen(None, 40000, 3, 0)  # no backlog: cookies for all, as in Linux
    peer = Puppet(world, server)
    peer.send(SYN, mss=1460)
    cookie = peer.take()[0]
    peer.send(ACK, ack=cookie.seq + 2)
    assert peer.take()[-1].flags == RST
    assert server.counters["SyncookiesFailed"] == 1
    peer.send(ACK, seq=peer.seq + 1, ack=cookie.seq + 1)
    assert peer.take()[-1].flags == RST
    world.run(200 * SECOND)
    peer.send(ACK, ack=cookie.seq + 1)
    assert peer.take()[-1].flags == RST
    assert not listener.accepted
    assert not server.connections


def test_an_ack_without_a_flood_is_no_cookie() -> None:
    world = World()
    server = world.host(A)
    server.listen(None, 40000, 3, 10)
    peer = Puppet(world, server)
    peer.send(ACK, ack=12345)
    assert [s.flags for s in peer.take()] == [RST]
    assert server.counters["SyncookiesFailed"] == 0


@pytest.mark.parametrize(
    ("announced", "kept"), [(1460, 1460), (1400, 1360), (9000, 1460), (88, 64)]
)
def test_a_cookie_keeps_the_segment_size_or_less(announced: int, kept: int) -> None:
    world = World()
    server = world.host(A)
    listener = server.listen(None, 40000, 3, 0)
    Puppet(world, server).call(mss=announced)
    s = listener.accept()
    assert s is not None
    assert s.mss == kept


# ---------------------------------------------------------------------- the gateway's hook


def gateway(world: World) -> tuple:
    tcp = world.host(A)
    made: list[Connection] = []

    def on_syn(packet: Packet) -> bool:
        c = tcp.passive(packet)
        assert c is not None
        made.append(c)
        return True

    tcp.on_syn = on_syn
    peer = Puppet(world, tcp)
    peer.send(SYN, mss=1000, sack_ok=True)
    return tcp, made, peer


def test_a_syn_may_be_answered_later() -> None:
    world = World()
    tcp, (c,), peer = gateway(world)
    assert peer.take() == []
    peer.send(SYN, seq=1000, mss=1000, sack_ok=True)
    peer.send(ACK, ack=77)
    world.run(10 * SECOND)
    assert peer.take() == []
    assert c.state is State.SYN_RECV
    c.accept_syn()
    assert [s.flags for s in peer.take()] == [SYN | ACK]
    changes = []
    c.on_change = lambda: changes.append(c.state)
    peer.send(ACK)
    assert changes == [State.ESTABLISHED]
    assert len(tcp.connections) == 1


def test_a_syn_may_be_refused_later() -> None:
    world = World()
    tcp, (c,), peer = gateway(world)
    c.refuse()
    (answer,) = peer.take()
    assert (answer.flags, answer.seq, answer.ack) == (RST | ACK, 0, 1001)
    assert not tcp.connections
    assert tcp.next_deadline_ns is None


def test_an_unanswered_syn_may_be_taken_back() -> None:
    world = World()
    tcp, (c,), peer = gateway(world)
    peer.send(RST)
    assert c.state is State.CLOSE
    assert not tcp.connections
