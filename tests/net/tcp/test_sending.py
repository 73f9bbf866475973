"""When does data leave, and in what pieces?"""

from __future__ import annotations

import errno
import itertools
from typing import TYPE_CHECKING

from services.net.tcp.limits import MS, SECOND, Settings
from services.net.tcp.segment import ACK, FIN, PSH, URG
from services.net.tcp.state import State
from tests.net.tcp.test_ending import accepted
from tests.net.tcp.world import A, B, Link, Puppet, World, connect, pair, transfer

if TYPE_CHECKING:
    from services.net.tcp.connection import Connection


def sizes(peer: Puppet) -> list[int]:
    return [len(s.payload) for s in peer.take()]


def test_nagle_holds_a_small_segment_behind_a_small_one() -> None:
    world = World()
    c, peer = accepted(world)
    for _ in range(5):
        c.write(b"ab")
    assert sizes(peer) == [2]
    peer.send(ACK)
    assert sizes(peer) == [8]


def test_nagle_as_minshall_lets_one_small_segment_follow_full_ones() -> None:
    world = World()
    c, peer = accepted(world)
    c.write(b"x" * 1500)
    assert sizes(peer) == [1448, 52]
    c.write(b"y" * 1500)
    assert sizes(peer) == [1448]
    peer.send(ACK)
    assert sizes(peer) == [52]


def test_nodelay_sends_all_and_releases_what_waits() -> None:
    world = World()
    c, peer = accepted(world)
    c.write(b"ab")
    c.write(b"cd")
    assert sizes(peer) == [2]
    c.nodelay = True
    assert sizes(peer) == [2]
    c.write(b"ef")
    c.write(b"gh")
    assert sizes(peer) == [2, 2]


def test_a_cork_holds_what_does_not_fill_a_segment() -> None:
    world = World()
    c, peer = accepted(world)
    c.nodelay = True
    c.cork = True
    for _ in range(3):
        c.write(b"x" * 1000)
    assert sizes(peer) == [1448, 1448]
    c.cork = False
    assert sizes(peer) == [104]


def test_more_holds_and_the_next_write_releases() -> None:
    world = World()
    c, peer = accepted(world)
    c.write(b"head", more=True)
    assert sizes(peer) == []
    c.write(b"body")
    assert sizes(peer) == [8]


def test_a_cork_is_drawn_after_200_ms() -> None:
    world = World()
    c, peer = accepted(world)
    c.cork = True
    c.write(b"forgotten")
    world.run(150 * MS)
    assert sizes(peer) == []
    world.run(150 * MS)
    assert sizes(peer) == [9]


def test_drawing_a_cork_late_is_no_timeout() -> None:
    """The deadline of the holding is not that of the segment which was held."""
    world = World(link=Link(delay_ns=30 * MS))
    c, s, _ = connect(world, world.host(A), world.host(B))
    c.cork = True
    c.write(b"x" * 100)
    world.run(c.retransmit_at - world.now - MS)
    c.cork = False
    world.run(SECOND)
    assert s.read(1000) == b"x" * 100
    assert c.lifetime_retransmits == 0


def test_a_fin_held_by_a_closed_window_has_its_own_timeout() -> None:
    world = World()
    c, peer = accepted(world)
    peer.send(ACK, window=0)
    c.shutdown_write()
    for _ in range(60):
        world.run(SECOND)
        if peer.take():
            peer.send(ACK, window=0)
    peer.send(ACK, window=1000)
    (fin,) = peer.take()
    assert fin.flags & FIN
    world.run(2 * SECOND)
    assert peer.take()[-1].flags & FIN  # sent again soon, though the probes were far apart


def test_no_segment_exceeds_the_mtu() -> None:
    """SACK and D-SACK blocks share the segment with data."""
    world = World(3, Link(delay_ns=5 * MS, loss=0.03, duplicate=0.05), wire=True)
    c, s, _ = connect(world, world.host(A), world.host(B))
    one, two = bytes(400_000), bytes(400_000)
    todo = {c: one, s: two}

    def pump() -> bool:
        for end in (c, s):
            todo[end] = todo[end][end.write(todo[end][:30_000]) :]
            end.read(1 << 20)
        return not any(todo.values())

    assert world.run(600 * SECOND, pump)
    sizes = {sum(map(len, p.payload.encode(A, B, False))) for p in world.sent}
    assert max(sizes) == 1480
    assert any(p.payload.sacks and p.payload.payload for p in world.sent)


def test_fin_releases_what_is_held() -> None:
    world = World()
    c, peer = accepted(world)
    c.cork = True
    c.write(b"end")
    c.shutdown_write()
    (last,) = peer.take()
    assert (bytes(last.payload), last.flags) == (b"end", FIN | PSH | ACK)


def test_the_send_buffer_is_bounded_and_its_owner_is_told() -> None:
    world = World()
    c, peer = accepted(world)
    c.send_limit_bytes = 10_000
    told = []
    c.on_change = lambda: told.append(c.send_space_bytes)
    assert c.write(b"x" * 30_000) == 10_000
    assert c.write(b"x") == 0
    assert (c.send_space_bytes, c.writable, c.unacked_bytes) == (0, False, 10_000)
    got = 0
    while got < 10_000:
        got += sum(sizes(peer))
        peer.send(ACK)
    assert len(told) == 1
    assert told[0] >= 10_000 // 3
    assert c.writable


def test_who_never_filled_the_buffer_is_told_as_well() -> None:
    """POLLOUT goes away when a write leaves little space, not only when one fails."""
    world = World()
    c, peer = accepted(world)
    c.send_limit_bytes = 9000
    told = []
    c.on_change = lambda: told.append(c.writable)
    assert c.write(b"x" * 8000) == 8000
    assert not c.writable
    peer.take()
    peer.send(ACK)
    assert told == [True]


def test_notsent_lowat() -> None:
    world = World()
    c, peer = accepted(world)
    c.notsent_lowat = 2000
    c.control.cwnd = 1448
    c.write(b"x" * 3000)
    assert (c.unsent_bytes, c.writable) == (1552, True)
    c.write(b"x" * 3000)
    assert not c.writable
    told = []
    c.on_change = lambda: told.append(c.unsent_bytes)
    while not told:
        assert peer.take()
        peer.send(ACK)
    assert told[0] < 2000


def test_large_segments_are_handed_down_where_the_path_can_cut_them() -> None:
    world = World()
    world.gso = True
    c, s, _ = connect(world, world.host(A), world.host(B))
    c.control.cwnd = 1 << 20
    s.receive_limit = 1 << 20
    c.snd_wnd = 1 << 20
    c.write(b"x" * 200_000)
    big = [p.payload for p in world.sent if len(p.payload.payload) > 1448]
    assert big
    for segment in big:
        assert segment.gso_bytes == 1448
        assert len(segment.payload) <= 65535 - 120
    assert all(len(b.payload) % 1448 == 0 for b in big[:-1])


def test_received_segments_may_be_large() -> None:
    world = World()
    c, peer = accepted(world)
    peer.send(PSH | ACK, b"x" * 60_000)
    assert c.readable_bytes == 60_000
    assert peer.take()[-1].ack == peer.seq


# ---------------------------------------------------------------------- windows


def test_a_zero_window_is_probed_ever_less_often() -> None:
    world = World()
    c, peer = accepted(world)
    c.write(b"first")
    peer.take()
    peer.send(ACK, window=0)
    c.write(b"x" * 5000)
    at: list[float] = []
    for _ in range(3000):
        world.run(100 * MS)
        got = peer.take()
        if got:
            at.append(world.now / SECOND)
            assert all(s.payload == b"" and s.seq == peer.ack - 1 & 0xFFFFFFFF for s in got)
            peer.send(ACK, window=0)
    gaps = [b - a for a, b in itertools.pairwise(at)]
    assert len(at) >= 8
    assert all(b >= a * 1.5 for a, b in itertools.pairwise(gaps) if b < 100)
    assert c.state is State.ESTABLISHED
    peer.send(ACK, window=65535)
    assert sum(sizes(peer)) == 5000


def test_a_zero_window_of_a_living_peer_lasts_for_hours() -> None:
    world = World()
    c, peer = accepted(world)
    peer.send(ACK, window=0)
    c.write(b"x")
    for _ in range(3 * 3600 // 30):
        world.run(30 * SECOND)
        if peer.take():
            peer.send(ACK, window=0)
    assert c.state is State.ESTABLISHED


def test_a_dead_peer_with_a_zero_window_is_given_up() -> None:
    world = World()
    c, peer = accepted(world)
    peer.send(ACK, window=0)
    c.write(b"x")
    world.run(1500 * SECOND)
    assert (c.state, c.error) == (State.CLOSE, errno.ETIMEDOUT)


def test_an_orphan_does_not_wait_for_a_window_forever() -> None:
    world = World()
    c, peer = accepted(world)
    peer.send(ACK, window=0)
    c.write(b"x")
    c.close()
    for _ in range(3600 // 5):
        world.run(5 * SECOND)
        if peer.take():
            peer.send(ACK, window=0)
    assert c.state is State.CLOSE
    assert c.tcp.orphans == 0


def test_a_shrunk_window_is_respected_and_survived() -> None:
    world = World()
    c, peer = accepted(world)
    c.write(b"x" * 5000)
    assert sum(sizes(peer)) == 5000
    peer.send(ACK, ack=peer.ack - 4000, window=0)
    for _ in range(1500):
        world.run(SECOND)
        for segment in peer.take():
            assert segment.seq == c.snd_una & 0xFFFFFFFF, "beyond the window"
            peer.send(ACK, ack=c.snd_una, window=0)
    assert c.state is State.ESTABLISHED
    peer.send(ACK, ack=peer.ack, window=10000)
    assert c.unacked_bytes == 0


def test_a_small_window_does_not_make_silly_segments() -> None:
    """RFC 9293 3.8.6.2.1: less than a segment waits, unless it is half of the largest window."""
    world = World()
    c, peer = accepted(world)
    c.write(b"x" * 100_000)
    while sizes(peer):
        peer.send(ACK, window=65535)
    c.write(b"y" * 10_000)
    peer.take()
    peer.send(ACK, window=0)
    c.write(b"z" * 10_000)
    peer.send(ACK, window=500)
    assert sizes(peer) == []
    world.run(300 * MS)
    assert sizes(peer) == [500]  # the probe's time has come: some data after all


def test_the_receiver_does_not_offer_silly_windows() -> None:
    world = World()
    tcp = world.host(A, receive_bytes=20_000, receive_max_bytes=20_000)
    listener = tcp.listen(None, 40000, 3, 8)
    peer = Puppet(world, tcp)
    peer.call(mss=1460, stamps=(1, 0))
    c = listener.accept()
    assert c is not None
    while c.rcv_adv > c.rcv_nxt:
        peer.send(ACK, b"x" * min(1448, c.rcv_adv - c.rcv_nxt))
    world.run(SECOND)
    peer.take()
    for _ in range(10):
        c.read(100)
    assert peer.take() == []
    c.read(1000)
    (update,) = peer.take()
    assert update.window >= 1448
    edge = c.rcv_adv
    c.read(10)
    world.run(SECOND)
    assert c.rcv_adv == edge


def test_a_window_update_that_is_lost_is_made_up_for() -> None:
    world = World()
    c, s, _ = connect(world, world.host(A), world.host(B, receive_bytes=30_000))
    s.receive_limit_bytes = 30_000
    c.write(b"x" * 100_000)
    world.run(SECOND)
    assert s.readable_bytes >= 29_000
    world.link.drop = lambda p: p.src == B
    s.read(100_000)
    world.run(100 * MS)
    world.link.drop = None
    got = bytearray()
    assert world.run(60 * SECOND, lambda: got.extend(s.read(1 << 20)) or len(got) >= 70_000)


def test_windows_open_for_a_fast_reader() -> None:
    """Receive and send buffers follow what the path can hold."""
    world = World(link=Link(delay_ns=20 * MS))
    c, s, _ = connect(world, world.host(A), world.host(B))
    data = bytes(20 << 20)
    got, took = transfer(world, c, s, data)
    assert len(got) == len(data)
    assert s.receive_limit > 1 << 20
    assert took < 1.5 * SECOND
    tcp = s.tcp
    world.run(100 * SECOND)
    s.close()
    world.run(100 * SECOND)
    assert tcp.grown_bytes == c.tcp.grown_bytes == 0


def test_buffers_together_grow_only_so_far() -> None:
    world = World(link=Link(delay_ns=20 * MS))
    c, s, _ = connect(
        world, world.host(A, grown_max_bytes=300_000), world.host(B, grown_max_bytes=200_000)
    )
    data = bytes(4 << 20)
    assert transfer(world, c, s, data)[0] == data
    assert s.receive_limit <= (128 << 10) + 200_000
    assert c.send_limit <= (128 << 10) + 300_000


def test_a_fixed_buffer_does_not_grow() -> None:
    world = World(link=Link(delay_ns=20 * MS))
    settings = Settings(receive_limit_bytes=50_000, send_limit_bytes=40_000)
    c, s, _ = connect(
        world, world.host(A), world.host(B), settings=settings, listener_settings=settings
    )
    data = bytes(2 << 20)
    assert transfer(world, c, s, data)[0] == data
    assert (c.send_limit_bytes, s.receive_limit_bytes) == (40_000, 50_000)


# ---------------------------------------------------------------------- urgent


def urgent_pair(inline: bool = False) -> tuple[World, Connection, Connection]:
    world, c, s = pair()
    s.oob_inline = inline
    c.write(b"abc")
    assert c.write_urgent(ord("U"))
    c.write(b"def")
    world.run(SECOND)
    return world, c, s


def test_urgent_data_out_of_band() -> None:
    """As Linux 6.18 answers, but for FIONREAD at the mark (Linux: 0)."""
    _, _, s = urgent_pair()
    assert s.urgent_ready
    assert s.readable_bytes == 3
    assert not s.at_mark
    assert s.read_urgent(peek=True) == ord("U")
    assert s.read(100) == b"abc"
    assert s.at_mark
    assert s.read_urgent() == ord("U")
    assert s.read_urgent() == -1
    assert not s.urgent_ready
    assert s.at_mark
    assert s.peek(100) == b"def"
    assert s.at_mark
    assert s.read(2) == b"de"
    assert not s.at_mark
    assert s.read(100) == b"f"


def test_urgent_data_in_line() -> None:
    _, _, s = urgent_pair(inline=True)
    assert s.read_urgent() == -1
    assert s.urgent_ready
    assert s.readable_bytes == 7
    assert s.read(100) == b"abc"
    assert s.at_mark
    assert s.read(100) == b"Udef"


def test_a_second_urgent_byte_makes_the_first_one_data() -> None:
    world, c, s = urgent_pair()
    c.write_urgent(ord("V"))
    c.write(b"ghi")
    world.run(SECOND)
    assert s.read(100) == b"abcUdef"
    assert s.read_urgent() == ord("V")
    assert s.read(100) == b"ghi"


def test_a_second_urgent_byte_while_at_the_first_mark_discards_that() -> None:
    world, c, s = urgent_pair()
    assert s.read(100) == b"abc"
    assert s.at_mark
    c.write_urgent(ord("V"))
    c.write(b"ghi")
    world.run(SECOND)
    assert not s.at_mark
    assert s.read(100) == b"def"
    assert s.read_urgent() == ord("V")
    assert s.read(100) == b"ghi"


def test_urgent_data_that_nobody_takes_is_skipped() -> None:
    _, _, s = urgent_pair()
    memory = memoryview(bytearray(100))
    assert s.read_into(memory, [(0, 50)]) == 3
    assert s.read_into(memory, [(10, 2), (20, 50)]) == 3
    assert bytes(memory[:3]) + bytes(memory[10:12]) + bytes(memory[20:21]) == b"abcdef"
    assert s.read_urgent() == -1
    assert not s.urgent_ready


def test_the_urgent_pointer_comes_before_the_byte() -> None:
    world = World()
    c, peer = accepted(world)
    peer.send(URG | ACK, b"12", urgent=3)
    assert c.readable_bytes == 2
    assert not c.urgent_ready
    peer.send(ACK, b"!4")
    assert c.urgent_ready
    assert c.read_urgent() == ord("!")
    assert c.read(10) == b"12"
    assert c.read(10) == b"4"


def test_urgency_is_told_even_through_a_closed_window() -> None:
    world = World()
    c, peer = accepted(world)
    peer.send(ACK, window=0)
    peer.take()
    c.write_urgent(7)
    (told,) = peer.take()
    assert told.flags & URG
    assert told.payload == b""
    assert told.urgent == 1


def test_end_of_data_after_an_urgent_byte() -> None:
    world, c, s = pair()
    c.write_urgent(1)
    c.shutdown_write()
    world.run(SECOND)
    assert s.urgent_ready
    assert s.at_eof
    assert s.read(10) == b""
    assert s.tcp.connections
    assert B in world.hosts
