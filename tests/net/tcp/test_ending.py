"""How do connections end, orderly and otherwise?"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from bus.errors import PosixError
from services.net.tcp.limits import MS, SECOND, Settings
from services.net.tcp.segment import ACK, FIN, PSH, RST, SYN
from services.net.tcp.state import State
from tests.net.tcp.world import LO, A, B, Link, Puppet, World, connect, pair, transfer

if TYPE_CHECKING:
    from services.net.tcp.connection import Connection


def accepted(world: World, **limits: int) -> tuple[Connection, Puppet]:
    """A connection whose peer is a puppet."""
    tcp = world.host(A, **limits)
    listener = tcp.listen(None, 40000, 3, 8)
    peer = Puppet(world, tcp)
    peer.call(mss=1460, stamps=(1, 0))
    c = listener.accept()
    assert c is not None
    return c, peer


def test_half_close_lets_the_other_way_go_on() -> None:
    world, c, s = pair()
    c.write(b"question")
    c.shutdown_write()
    assert c.write(b"more") == 0
    world.run(SECOND)
    assert s.read(100) == b"question"
    assert s.at_eof
    answer = world.rng.randbytes(500_000)
    assert transfer(world, s, c, answer)[0] == answer
    world.run(SECOND)
    assert c.state is State.CLOSE
    assert len(c.tcp.time_waits) == 1
    assert not s.tcp.time_waits


def test_both_close_at_once() -> None:
    world, c, s = pair()
    c.close()
    s.close()
    world.run(SECOND)
    assert c.state is s.state is State.CLOSE
    assert c.error == s.error == 0
    assert len(c.tcp.time_waits) == len(s.tcp.time_waits) == 1
    world.run(61 * SECOND)
    for tcp in world.tcps:
        assert not tcp.connections
        assert not tcp.time_waits
        assert tcp.orphans == 0
        assert tcp.counters["CurrEstab"] == 0
        assert tcp.next_deadline_ns is None


@pytest.mark.parametrize("lose", [1, 2, 3])
def test_any_segment_of_the_close_may_be_lost(lose: int) -> None:
    """The n-th segment after the close begins."""
    world, c, s = pair()
    world.run(SECOND)
    seen = 0

    def drop(packet: object) -> bool:
        nonlocal seen
        seen += 1
        return seen == lose

    world.link.drop = drop
    s.on_change = lambda: s.close() if s.at_eof else None
    c.close()
    world.run(30 * SECOND)
    assert c.state is s.state is State.CLOSE
    assert c.error == s.error == 0
    assert not s.tcp.connections
    assert len(c.tcp.time_waits) == 1


def test_unread_data_turns_close_into_reset() -> None:
    world, c, s = pair()
    c.write(b"unread")
    world.run(SECOND)
    s.close()
    assert s.state is State.CLOSE
    world.run(SECOND)
    assert (c.state, c.error) == (State.CLOSE, errno.ECONNRESET)
    assert s.tcp.counters["TCPAbortOnClose"] == 1
    assert s.tcp.orphans == 0


def test_data_for_an_orphan_is_refused() -> None:
    world, c, s = pair()
    s.close()
    world.run(SECOND)
    assert c.state is State.CLOSE_WAIT
    assert c.write(b"anybody there?") == 14
    world.run(SECOND)
    assert c.error == errno.EPIPE
    assert c.state is s.state is State.CLOSE
    assert s.tcp.counters["TCPAbortOnData"] == 1


def test_data_after_shutdown_of_both_ways_is_refused() -> None:
    world, c, s = pair()
    s.shutdown_read()
    c.write(b"still welcome")
    world.run(SECOND)
    assert c.error == 0
    s.shutdown_write()
    world.run(SECOND)
    c.write(b"not any more")
    world.run(SECOND)
    assert c.error == errno.EPIPE


def test_abort_resets() -> None:
    world, c, s = pair()
    c.write(b"x" * 1000)
    told = []
    c.on_change = lambda: told.append("c")
    s.on_change = lambda: told.append("s")
    c.abort()
    assert (c.state, c.error, told) == (State.CLOSE, errno.ECONNABORTED, [])
    world.run(SECOND)
    assert (s.state, s.error) == (State.CLOSE, errno.ECONNRESET)
    assert told == ["s", "s"] or told == ["s"]
    assert not c.tcp.time_waits
    assert c.tcp.next_deadline_ns is None


def test_what_came_before_a_reset_can_be_read() -> None:
    world, c, s = pair()
    c.write(b"last words")
    world.run(SECOND)
    c.abort()
    world.run(SECOND)
    assert s.error == errno.ECONNRESET
    assert not s.at_eof
    assert s.read(100) == b"last words"
    assert s.at_eof


def test_a_reset_in_close_wait_is_a_broken_pipe() -> None:
    world = World()
    c, peer = accepted(world)
    peer.send(FIN | ACK)
    assert c.state is State.CLOSE_WAIT
    peer.send(RST, seq=peer.seq)
    assert (c.state, c.error) == (State.CLOSE, errno.EPIPE)


def test_an_orphan_waits_only_so_long_for_the_fin() -> None:
    world = World()
    c, peer = accepted(world)
    c.close()
    assert peer.take()[-1].flags & FIN
    peer.send(ACK)
    assert c.state is State.FIN_WAIT2
    assert c.tcp.orphans == 1
    world.run(59 * SECOND)
    assert c.state is State.FIN_WAIT2
    world.run(2 * SECOND)
    assert c.state is State.CLOSE
    assert c.tcp.orphans == 0
    peer.send(FIN | ACK)
    assert peer.take()[-1].flags == RST


def test_an_owner_waits_forever_for_the_fin() -> None:
    world = World()
    c, peer = accepted(world)
    c.shutdown_write()
    peer.take()
    peer.send(ACK)
    world.run(3600 * SECOND)
    assert c.state is State.FIN_WAIT2
    peer.send(PSH | ACK, b"late")
    assert c.read(10) == b"late"


def test_negative_linger2_does_not_wait() -> None:
    world = World()
    c, peer = accepted(world)
    c.linger2_ns = -1
    c.close()
    peer.take()
    peer.send(ACK)
    assert c.state is State.CLOSE
    assert peer.take()[-1].flags & RST


def test_an_orphan_gives_up_on_a_silent_peer() -> None:
    world = World()
    c, peer = accepted(world)
    c.write(b"lost")
    c.close()
    world.run(60 * SECOND)
    assert c.state is State.FIN_WAIT1
    world.run(200 * SECOND)
    assert c.state is State.CLOSE
    assert peer.take()[-1].flags & RST
    assert c.tcp.orphans == 0


def test_too_many_orphans_are_reset() -> None:
    world = World()
    c, peer = accepted(world, max_orphans=0)
    c.close()
    assert peer.take()[-1].flags & RST
    assert c.tcp.counters["TCPAbortOnMemory"] == 1


def test_fin_with_data_and_out_of_order() -> None:
    world = World()
    c, peer = accepted(world)
    start = peer.seq
    peer.send(FIN | PSH | ACK, b"world", seq=start + 5)
    assert not c.fin_received
    peer.send(ACK, b"hello", seq=start)
    assert c.fin_received
    assert c.read(100) == b"helloworld"
    assert c.at_eof
    assert peer.take()[-1].ack == (start + 11) & 0xFFFFFFFF
    peer.send(PSH | ACK, b"beyond the end", seq=start + 11)
    assert c.read(100) == b""


def test_a_fin_below_what_has_come_is_a_lie() -> None:
    world = World()
    c, peer = accepted(world)
    peer.send(ACK, b"abcdefgh")
    peer.send(FIN | ACK, seq=peer.seq - 4)
    peer.send(ACK, b"ij")
    assert c.read(100) == b"abcdefghij"
    assert not c.fin_received


def test_nothing_beyond_a_fin_counts_even_if_it_comes_first() -> None:
    world = World()
    c, peer = accepted(world)
    start = peer.seq
    peer.send(FIN | ACK, seq=start + 4)
    peer.send(ACK, b"abcdefgh", seq=start)
    assert c.read(100) == b"abcd"
    assert c.at_eof


# ---------------------------------------------------------------------- TIME_WAIT


def time_wait(world: World) -> tuple[Connection, Puppet]:
    """A puppet's connection that we have closed first."""
    c, peer = accepted(world)
    c.close()
    peer.take()
    peer.send(FIN | ACK)
    assert len(c.tcp.time_waits) == 1
    peer.take()
    return c, peer


def test_a_repeated_fin_is_acknowledged_and_renews_the_wait() -> None:
    world = World()
    c, peer = time_wait(world)
    world.run(50 * SECOND)
    peer.send(FIN | ACK, seq=peer.seq - 1)
    (answer,) = peer.take()
    assert (answer.flags, answer.ack) == (ACK, peer.seq)
    world.run(50 * SECOND)
    assert len(c.tcp.time_waits) == 1
    world.run(11 * SECOND)
    assert not c.tcp.time_waits
    assert not c.tcp.time_waits.holds_port(40000)


def test_time_wait_ignores_resets() -> None:
    world = World()
    c, peer = time_wait(world)
    peer.send(RST, seq=peer.seq)
    assert len(c.tcp.time_waits) == 1
    assert c.tcp.time_waits.holds_port(40000)


def test_a_newer_syn_takes_over_from_time_wait() -> None:
    world = World()
    c, peer = time_wait(world)
    world.run(2 * SECOND)
    old = c.snd_nxt
    peer.send(SYN, seq=5, mss=1460)
    (answer,) = peer.take()
    assert answer.flags == SYN | ACK
    assert 0 < (answer.seq - old) & 0xFFFFFFFF < 1 << 31
    assert not c.tcp.time_waits


def test_an_older_syn_does_not() -> None:
    world = World()
    c, peer = time_wait(world)
    peer.send(SYN, seq=peer.seq - 100, stamps=(1, 0), mss=1460)
    (answer,) = peer.take()
    assert (answer.flags, answer.ack) == (ACK, peer.seq)
    assert len(c.tcp.time_waits) == 1


def test_without_timestamps_the_sequence_number_decides() -> None:
    world = World()
    tcp = world.host(A)
    listener = tcp.listen(None, 40000, 3, 8)
    peer = Puppet(world, tcp)
    peer.call(mss=1460)
    c = listener.accept()
    assert c is not None
    c.close()
    peer.take()
    peer.send(FIN | ACK)
    peer.take()
    end = peer.seq
    peer.send(SYN, seq=end, mss=1460)
    assert [s.flags for s in peer.take()] == [ACK]
    world.run(SECOND)
    peer.send(SYN, seq=end - 1000, mss=1460)
    assert [s.flags for s in peer.take()] == [ACK]
    peer.send(SYN, seq=end + 1, mss=1460)
    assert [s.flags for s in peer.take()] == [SYN | ACK]
    assert not tcp.time_waits


def test_an_active_open_may_take_over_after_a_second() -> None:
    world = World()
    client, server = world.host(A), world.host(B)
    c, s, listener = connect(world, client, server)
    c.close()
    s.close()
    world.run(500 * MS)
    assert len(client.time_waits) == 1
    assert not client.reusable((A, 40000), (B, 80))
    with pytest.raises(PosixError):
        client.open((A, 40000), (B, 80))
    world.run(SECOND)
    d, _, _ = connect(world, client, server, listener=listener)
    assert d.state is State.ESTABLISHED
    assert not client.time_waits


def test_without_timestamps_no_active_open_takes_over() -> None:
    world = World()
    client, server = world.host(A, timestamps=False), world.host(B)
    c, s, _ = connect(world, client, server)
    c.close()
    s.close()
    world.run(10 * SECOND)
    assert not client.reusable((A, 40000), (B, 80))
    world.run(60 * SECOND)
    assert client.reusable((A, 40000), (B, 80))


def test_the_number_of_records_is_bounded() -> None:
    world = World()
    host = world.host(LO, max_time_waits=5)
    listener = host.listen(None, 80, 3, 100)
    for port in range(20):
        c, s, _ = connect(world, host, host, LO, LO, client_port=1000 + port, listener=listener)
        c.close()
        s.close()
        world.settle()
    assert len(host.time_waits) == 5
    assert host.counters["TCPTimeWaitOverflow"] >= 15
    assert set(host.time_waits._ports) <= {80, *range(1000, 1020)}
    world.run(100 * SECOND)
    assert not host.time_waits._ports


def test_time_waits_do_not_answer_each_other_forever() -> None:
    world, c, s = pair()
    c.close()
    s.close()
    world.run(SECOND)
    one = next(iter(c.tcp.time_waits.records.values()))
    two = next(iter(s.tcp.time_waits.records.values()))
    one.snd_nxt += 1000  # they disagree, both ways
    two.snd_nxt += 777
    before = len(world.sent)
    c.tcp.time_waits._answer(one, world.sent[-1])
    world.run(10 * SECOND)
    assert len(world.sent) - before < 60


def test_lingering_owners_are_told_when_all_is_acknowledged() -> None:
    world = World(link=Link(delay_ns=100 * MS))
    c, s, _ = connect(world, world.host(A), world.host(B))
    c.write(b"x" * 5000)
    states = []
    c.on_change = lambda: states.append(c.state)
    c.close()
    world.run(SECOND)
    assert State.FIN_WAIT2 in states
    assert c.unacked_bytes == 0
    s.close()


def test_closing_before_it_is_open() -> None:
    world = World(link=Link(loss=1.0))
    client = world.host(A)
    c = client.open((A, 40000), (B, 80), Settings())
    c.close()
    assert c.state is State.CLOSE
    assert not client.connections
    assert client.next_deadline_ns is None
