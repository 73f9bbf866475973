"""When is an acknowledgement sent, and what does it say?"""

from __future__ import annotations

from services.net.tcp.limits import MS, SECOND
from services.net.tcp.segment import ACK, PSH
from tests.net.tcp.test_ending import accepted
from tests.net.tcp.world import A, Puppet, World, pair

FULL = b"x" * 1448


def calm(world: World) -> tuple:
    """A connection beyond its quick start."""
    c, peer = accepted(world)
    c.quick = 0
    c.rcv_mss = 1448
    peer.take()
    return c, peer


def test_at_the_start_everything_is_acknowledged_at_once() -> None:
    world = World()
    _, peer = accepted(world)
    for _ in range(10):
        peer.send(PSH | ACK, b"x")
        assert len(peer.take()) == 1


def test_every_second_full_segment_is_acknowledged() -> None:
    world = World()
    _, peer = calm(world)
    counts = []
    for _ in range(6):
        peer.send(ACK, FULL)
        counts.append(len(peer.take()))
    assert counts == [0, 1, 0, 1, 0, 1]


def test_a_lone_segment_is_acknowledged_after_40_ms() -> None:
    world = World()
    c, peer = calm(world)
    peer.send(PSH | ACK, b"x")
    world.run(39 * MS)
    assert peer.take() == []
    world.run(2 * MS)
    assert [s.ack for s in peer.take()] == [peer.seq]
    assert c.tcp.counters["DelayedACKs"] == 1


def test_an_answer_carries_the_acknowledgement() -> None:
    world = World()
    c, peer = calm(world)
    peer.send(PSH | ACK, b"question")
    c.write(b"answer")
    (answer,) = peer.take()
    assert (answer.ack, bytes(answer.payload)) == (peer.seq, b"answer")
    world.run(100 * MS)
    assert peer.take() == []


def test_talking_ends_the_quick_start() -> None:
    world = World()
    c, peer = accepted(world)
    peer.send(PSH | ACK, b"1")
    c.write(b"one")
    peer.take()
    peer.send(PSH | ACK, b"2")
    assert peer.take() == []
    assert not c.quickack
    c.quickack = True
    assert len(peer.take()) == 1


def test_a_hole_is_told_of_at_once_and_in_full() -> None:
    world = World()
    tcp = world.host(A)
    tcp.listen(None, 40000, 3, 8)
    peer = Puppet(world, tcp)
    peer.call(mss=1460, stamps=(1, 0), sack_ok=True)
    start = peer.seq
    for n in (1, 3, 5, 7, 9):
        peer.send(ACK, b"%d" % n * 10, seq=start + n * 10)
    last = peer.take()[-1]
    assert last.ack == start
    assert last.sacks == tuple((start + n * 10, start + n * 10 + 10) for n in (9, 7, 5))
    peer.send(ACK, b"3" * 10, seq=start + 30)
    (told,) = peer.take()
    assert told.sacks[0] == (start + 30, start + 40)  # D-SACK (RFC 2883)
    peer.send(ACK, b"0" * 10, seq=start)
    (told,) = peer.take()
    assert told.ack == start + 20
    peer.send(ACK, b"0" * 10, seq=start)
    (told,) = peer.take()
    assert told.sacks[0] == (start, start + 10)


def test_without_sack_no_blocks() -> None:
    world = World()
    _, peer = accepted(world)
    start = peer.seq
    peer.send(ACK, b"x", seq=start + 10)
    (told,) = peer.take()
    assert (told.ack, told.sacks) == (start, ())


def test_filling_a_hole_is_acknowledged_at_once() -> None:
    world = World()
    c, peer = calm(world)
    start = peer.seq
    peer.send(ACK, b"b", seq=start + 1)
    peer.send(ACK, b"d", seq=start + 3)
    peer.take()
    peer.send(ACK, b"a", seq=start)
    assert [s.ack for s in peer.take()] == [start + 2]
    peer.send(ACK, b"c", seq=start + 2)
    assert [s.ack for s in peer.take()] == [start + 4]
    assert c.read(10) == b"abcd"


def test_the_echo_is_of_what_is_acknowledged() -> None:
    """RFC 7323 4.3: delayed: the earliest; across a hole: the last in order."""
    world = World()
    _, peer = calm(world)
    now = world.now // MS + 100
    peer.send(ACK, FULL, stamps=(now, 0))
    peer.send(ACK, FULL, stamps=(now + 1, 0))
    assert peer.take()[-1].stamps[1] == now
    peer.send(ACK, b"z", seq=peer.seq + 100, stamps=(now + 2, 0))
    assert peer.take()[-1].stamps[1] == now
    peer.send(ACK, b"y", stamps=(now + 3, 0))
    world.run(50 * MS)
    assert peer.take()[-1].stamps[1] == now + 3


def test_overlapping_segments_are_cut() -> None:
    world = World()
    c, peer = accepted(world)
    start = peer.seq
    peer.send(ACK, b"abcdef")
    peer.send(ACK, b"EFgh", seq=start + 4)
    assert c.read(100) == b"abcdefgh"
    peer.send(ACK, b"cd", seq=start + 2)
    assert c.read(100) == b""


def test_the_owner_is_told_of_data_once_per_segment() -> None:
    world = World()
    c, peer = accepted(world)
    told = []
    c.on_change = lambda: told.append(c.readable_bytes)
    peer.send(PSH | ACK, b"abc")
    peer.send(ACK)
    peer.send(PSH | ACK, b"z", seq=peer.seq + 1)
    peer.send(PSH | ACK, b"d")
    assert told == [3, 5]


def test_the_owner_may_do_anything_when_told() -> None:
    world, c, s = pair()

    def echo() -> None:
        while data := s.read(1000):
            s.write(data)
        if s.at_eof:
            s.close()

    s.on_change = echo
    c.write(b"hello")
    world.run(SECOND)
    assert c.read(10) == b"hello"
    c.write(b"bye")
    c.shutdown_write()
    world.run(SECOND)
    assert c.read(10) == b"bye"
    assert c.at_eof
    assert not s.tcp.connections


def test_read_into_memory_in_pieces() -> None:
    world, c, s = pair()
    c.write(b"0123456789" * 100)
    world.run(SECOND)
    memory = memoryview(bytearray(4096))
    assert s.read_into(memory, [(10, 5), (100, 7)], peek=True) == 12
    assert s.read_into(memory, [(1000, 600), (2000, 600)]) == 1000
    assert bytes(memory[10:15]) + bytes(memory[100:107]) == b"012345678901"
    assert bytes(memory[1000:1600]) + bytes(memory[2000:2400]) == b"0123456789" * 100
    assert s.readable_bytes == 0
