"""What happens when segments are lost, late, or only seem to be?"""

from __future__ import annotations

import errno
import itertools
from typing import TYPE_CHECKING

import pytest

from services.net.tcp.congestion import Control
from services.net.tcp.cubic import Cubic, make_control
from services.net.tcp.limits import MS, NEVER, SECOND
from services.net.tcp.rtt import MAX_RTO, MIN_RTO, RoundTrip
from services.net.tcp.segment import ACK
from services.net.tcp.state import State
from tests.net.tcp.test_ending import accepted
from tests.net.tcp.world import A, B, Link, Puppet, World, connect, transfer

if TYPE_CHECKING:
    from services.net.proto.packet import Packet
    from services.net.tcp.connection import Connection

MSS = 1448


def sacking(world: World, **limits: int) -> tuple[Connection, Puppet]:
    """A connection to a puppet that knows SACK, with a wide window and 20 segments in flight."""
    tcp = world.host(A, **limits)
    listener = tcp.listen(None, 40000, 3, 8)
    peer = Puppet(world, tcp)
    peer.call(mss=1460, stamps=(1, 0), sack_ok=True, scale=7)
    c = listener.accept()
    assert c is not None
    c.snd_wnd = c.max_window = 1 << 20
    c.control.cwnd = 20 * MSS
    world.run(20 * MS)
    c.write(b"x" * (20 * MSS))
    assert len(peer.take()) == 20
    return c, peer


def sack(peer: Puppet, c: Connection, *numbers: int, ack: int = 0, echo: int | None = None) -> None:
    """Acknowledge segments below `ack`, and tell that some others are held, by number."""
    base = c.send.end - 20 * MSS if c.send.end else 0
    blocks = [(base + n * MSS, base + (n + 1) * MSS) for n in numbers]
    options = {}
    if echo is not None:
        options["stamps"] = (c.tcp.now_ns // MS & 0xFFFFFFFF, echo)
    peer.send(
        ACK,
        ack=base + ack * MSS,
        sacks=tuple((a & 0xFFFFFFFF, b & 0xFFFFFFFF) for a, b in blocks),
        **options,
    )


def numbers(peer: Puppet, first: int) -> list[int]:
    """Which segments have come, counted from sequence number `first`."""
    return [((s.seq - first) & 0xFFFFFFFF) // MSS for s in peer.take() if s.payload]


def test_three_segments_held_above_mean_loss() -> None:
    world = World()
    c, peer = sacking(world)
    first = c.snd_una
    sack(peer, c, 1)
    sack(peer, c, 3)
    assert numbers(peer, first) == []
    assert c.phase == 0
    sack(peer, c, 5)
    assert numbers(peer, first) == [0]
    assert c.phase == 1
    assert c.control.ssthresh == int(20 * MSS * 0.7)
    sack(peer, c, ack=20)
    assert c.control.cwnd == int(20 * MSS * 0.7)


def test_many_losses_at_once_make_no_burst() -> None:
    """However much is found to be lost, an acknowledgement lets out little more than it took in."""
    world = World()
    c, peer = sacking(world)
    first = c.snd_una
    for n in (17, 18, 19):
        sack(peer, c, n)
    assert numbers(peer, first) == [0, 1, 2]  # fast retransmit; one delivered, and one more
    sack(peer, c, ack=1)
    assert numbers(peer, first) == [3, 4]
    sack(peer, c, ack=3)
    assert numbers(peer, first) == [5, 6, 7]


def test_few_losses_shrink_the_window_in_proportion() -> None:
    """About seven segments leave for ten that arrive, and never none for long."""
    world = World()
    c, peer = sacking(world)
    first = c.snd_una
    c.write(b"y" * (20 * MSS))
    sent = []
    for n in range(1, 20):
        peer.send(ACK, ack=first, sacks=(block(first, 1, n + 1),))
        sent.append(len(numbers(peer, first)))
    assert sent[:3] == [1, 1, 1]  # limited transmit (RFC 3042) twice, fast retransmit
    assert 10 <= sum(sent[3:]) <= 12  # of sixteen
    assert max(sent) == 1
    assert "000" not in "".join(map(str, sent))


def test_several_holes_are_filled_as_the_pipe_allows() -> None:
    world = World()
    c, peer = sacking(world)
    first = c.snd_una
    for n in range(4, 20):
        sack(peer, c, n)
    assert sorted(numbers(peer, first)) == [0, 1, 2, 3]
    assert c.lifetime_retransmits == 4
    sack(peer, c, ack=20)
    assert c.phase == 0
    assert c.unacked_bytes == 0


def test_new_data_goes_out_during_recovery() -> None:
    world = World()
    c, peer = sacking(world)
    first = c.snd_una
    c.write(b"y" * (20 * MSS))
    for n in range(1, 20):
        base = first + n * MSS
        peer.send(ACK, ack=first, sacks=(((first + MSS) & 0xFFFFFFFF, (base + MSS) & 0xFFFFFFFF),))
    sent = numbers(peer, first)
    assert sent[0] == 0 or sent.count(0) == 1
    assert [n for n in sent if n >= 20][:3] == [20, 21, 22]


def test_what_was_sent_again_in_one_recovery_is_not_in_the_next() -> None:
    """A second loss, beyond the recovery point of the first, is found and repaired meanwhile."""
    world = World()
    c, peer = sacking(world)
    first = c.snd_una
    c.write(b"y" * (20 * MSS))
    for n in (1, 3, 5):
        peer.send(ACK, ack=first, sacks=(block(first, n, n + 1),))
    lost = (c.recovery_point - first) // MSS + 1
    for n in range(6, lost):
        peer.send(ACK, ack=first, sacks=(block(first, 1, n + 1),))
    for n in range(lost + 1, lost + 6):
        peer.send(ACK, ack=first, sacks=(block(first, lost + 1, n + 1), block(first, 1, lost)))
    assert numbers(peer, first).count(lost) == 2
    peer.send(ACK, ack=first + lost * MSS, sacks=(block(first, lost + 1, lost + 6),))
    assert c.phase == 1
    assert c.recovery_point > first + lost * MSS
    assert lost not in numbers(peer, first)
    peer.send(ACK, ack=c.snd_nxt)
    assert (c.phase, c.unacked_bytes) == (0, 0)


def block(first: int, start: int, end: int) -> tuple[int, int]:
    """A SACK block of segments `start` up to `end`, counted from `first`."""
    return (first + start * MSS) & 0xFFFFFFFF, (first + end * MSS) & 0xFFFFFFFF


def test_a_lost_retransmission_does_not_wait_for_the_timeout() -> None:
    world = World(link=Link(delay_ns=10 * MS))
    lost = 0

    def drop(packet: Packet) -> bool:
        """The 30th segment, and its first retransmission."""
        nonlocal lost
        segment = packet.payload
        here = packet.dst == B and segment.payload and c.send.base
        if here and segment.seq == (c.iss + 1 + 29 * MSS) & 0xFFFFFFFF and lost < 2:
            lost += 1
            return True
        return False

    c, s, _ = connect(world, world.host(A), world.host(B))
    world.link.drop = drop
    data = world.rng.randbytes(1 << 20)
    assert transfer(world, c, s, data)[0] == data
    assert lost == 2
    assert c.tcp.counters["TCPTimeouts"] == 0


def test_a_loss_at_the_end_is_probed_for() -> None:
    world = World(link=Link(delay_ns=10 * MS))
    c, s, _ = connect(world, world.host(A), world.host(B))
    c.write(b"x" * 5 * MSS)
    world.run(SECOND)
    s.read(1 << 20)
    count = 0

    def drop(packet: Packet) -> bool:
        nonlocal count
        if packet.dst == B and packet.payload.payload:
            count += 1
            return count in (4, 5)
        return False

    world.link.drop = drop
    c.write(b"y" * 5 * MSS)
    start = world.now
    assert world.run(5 * SECOND, lambda: s.readable_bytes == 5 * MSS)
    assert world.now - start < 150 * MS  # two round trips and a margin; a timeout takes 200 ms
    assert c.tcp.counters["TCPLossProbes"] == 1
    assert c.tcp.counters["TCPTimeouts"] == 0


def test_a_needless_probe_costs_nothing() -> None:
    world = World(link=Link(delay_ns=10 * MS))
    c, s, _ = connect(world, world.host(A), world.host(B))
    c.write(b"x" * 5 * MSS)
    world.run(SECOND)
    s.read(1 << 20)
    cwnd = c.control.cwnd
    world.link.delay_ns = 80 * MS
    c.write(b"y" * 5 * MSS)
    world.run(SECOND)
    assert c.tcp.counters["TCPLossProbes"] == 1
    assert c.tcp.counters["TCPDSACKRecv"] == 1
    assert c.control.cwnd >= cwnd
    assert c.tail_to == 0


def test_new_reno_repairs_one_hole_per_round_trip() -> None:
    """RFC 6582: no SACK, two losses in one window."""
    world = World(link=Link(delay_ns=10 * MS))
    c, s, _ = connect(world, world.host(A, sack=False), world.host(B))
    c.write(b"x" * 9 * MSS)
    world.run(SECOND)
    s.read(1 << 20)
    count = 0

    def drop(packet: Packet) -> bool:
        nonlocal count
        if packet.dst == B and packet.payload.payload:
            count += 1
            return count in (1, 4)
        return False

    world.link.drop = drop
    c.write(b"y" * 12 * MSS)
    start = world.now
    assert world.run(5 * SECOND, lambda: s.readable_bytes == 12 * MSS)
    assert world.now - start < 120 * MS
    assert c.tcp.counters["TCPTimeouts"] == 0
    assert c.tcp.counters["TCPFastRetrans"] == 1
    assert c.lifetime_retransmits == 2
    world.run(SECOND)
    assert c.phase == 0


def test_timeouts_back_off_and_give_up_after_a_quarter_of_an_hour() -> None:
    world = World()
    c, peer = accepted(world)
    c.write(b"anyone?")
    peer.take()
    at = []
    start = world.now
    while c.state is State.ESTABLISHED:
        assert world.step(1 << 62)
        if peer.take():
            at.append(world.now - start)
    gaps = [b - a for a, b in itertools.pairwise(at)]
    assert all(abs(b - 2 * a) < 5 * MS for a, b in itertools.pairwise(gaps) if b < MAX_RTO)
    assert max(gaps) == MAX_RTO
    assert c.error == errno.ETIMEDOUT
    assert 900 * SECOND < world.now - start < 1100 * SECOND


def test_user_timeout() -> None:
    world = World()
    c, peer = accepted(world)
    c.user_timeout_ns = 5 * SECOND
    c.write(b"anyone?")
    start = world.now
    assert world.run(100 * SECOND, lambda: c.state is State.CLOSE)
    assert 5 * SECOND <= world.now - start < 9 * SECOND
    assert c.error == errno.ETIMEDOUT
    assert peer.take()


@pytest.mark.parametrize("times", [1, 2])
def test_a_spurious_timeout_is_undone(times: int) -> None:
    """Eifel (RFC 3522, 4015): the acknowledgement echoes what was sent before the timeout."""
    world = World(link=Link(delay_ns=10 * MS))
    c, s, _ = connect(world, world.host(A), world.host(B))
    c.write(b"x" * 20 * MSS)
    world.run(SECOND)
    s.read(1 << 20)
    world.link.delay_ns = 200 * MS * times
    c.write(b"y" * 8 * MSS)
    cwnd = c.control.cwnd
    world.run(3 * SECOND)
    assert c.tcp.counters["TCPTimeouts"] == times
    assert c.tcp.counters["TCPSpuriousRTOs"] == 1
    assert c.control.cwnd >= cwnd
    assert c.control.ssthresh == NEVER
    assert s.readable_bytes == 8 * MSS


def test_reordering_is_learned() -> None:
    world = World(7, Link(delay_ns=20 * MS, reorder=0.05))
    c, s, _ = connect(world, world.host(A), world.host(B))
    data = world.rng.randbytes(3 << 20)
    assert transfer(world, c, s, data)[0] == data
    assert c.board.dup_thresh > 3
    assert c.tcp.counters["TCPTSReorder"] > 0
    assert c.tcp.counters["TCPTimeouts"] == 0


def test_a_peer_that_takes_back_what_it_held() -> None:
    """Reneging (RFC 2018 section 8): after a timeout everything is sent again."""
    world = World()
    c, peer = sacking(world)
    first = c.snd_una
    sack(peer, c, 1, 2)
    sack(peer, c, ack=1)
    assert c.board.sacked_bytes
    got: set[int] = set()
    for _ in range(200):
        world.run(200 * MS)
        for segment in peer.take():
            if segment.payload and segment.seq == (c.snd_una) & 0xFFFFFFFF:
                got.add(((segment.seq - first) & 0xFFFFFFFF) // MSS)
                peer.send(ACK, ack=segment.seq + len(segment.payload))
    assert got >= set(range(1, 20)) - {2}
    assert c.unacked_bytes == 0


def test_cwnd_does_not_grow_unused() -> None:
    world = World()
    c, s, _ = connect(world, world.host(A), world.host(B))
    for _ in range(200):
        c.write(b"x" * 100)
        world.run(10 * MS)
        s.read(1000)
    assert c.control.cwnd <= 11 * MSS


def test_cwnd_shrinks_while_idle() -> None:
    world = World()
    c, s, _ = connect(world, world.host(A), world.host(B))
    assert transfer_open(world, c, s, 2 << 20) == 2 << 20
    before = c.control.cwnd
    world.run(60 * SECOND)
    c.write(b"x")
    assert c.control.cwnd == 10 * MSS < before


def transfer_open(world: World, c: Connection, s: Connection, size: int) -> int:
    """Send so many bytes without closing; replies with what arrived."""
    left, got = size, 0

    def pump() -> bool:
        nonlocal left, got
        left -= c.write(bytes(min(left, 65536)))
        got += len(s.read(1 << 20))
        return got == size

    world.run(60 * SECOND, pump)
    return got


# ---------------------------------------------------------------------- estimator and controls


def test_the_estimator_of_rfc_6298() -> None:
    rtt = RoundTrip()
    assert rtt.rto == SECOND
    rtt.sample(100 * MS)
    assert (rtt.srtt, rtt.rttvar, rtt.rto) == (100 * MS, 50 * MS, 300 * MS)
    rtt.sample(200 * MS)
    assert rtt.rttvar == 50 * MS + (100 * MS - 50 * MS) // 4
    assert rtt.srtt == 112_500_000
    for _ in range(200):
        rtt.sample(10 * MS)
    assert rtt.rto == pytest.approx(10 * MS + MIN_RTO, rel=0.01)
    assert rtt.least == 10 * MS
    assert rtt.backed_off(3) == rtt.rto << 3
    assert rtt.backed_off(60) == MAX_RTO


def test_reno_doubles_then_adds_one_segment_a_round_trip() -> None:
    control = Control(1000)
    assert control.cwnd == 10_000
    for _ in range(10):
        control.on_ack(1000, 0, MS)
    assert control.cwnd == 20_000
    control.on_loss(20_000, 0)
    assert (control.cwnd, control.ssthresh) == (10_000, 10_000)
    for _ in range(10):
        control.on_ack(1000, 0, MS)
    assert control.cwnd == 11_000
    control.on_timeout(11_000, 0, True)
    assert (control.cwnd, control.ssthresh) == (1000, 5500)
    control.on_timeout(1000, 0, False)
    assert control.ssthresh == 5500
    control.on_loss(100, 0)
    assert control.cwnd == 2000
    control.cwnd = 40_000
    control.on_idle(1)
    assert (control.cwnd, control.ssthresh) == (20_000, 30_000)
    control.on_idle(50)
    assert control.cwnd == 10_000


def test_cubic_is_concave_to_the_old_window_and_convex_beyond() -> None:
    """RFC 9438 4.2, figure 1: W_cubic(K) is the window before the loss."""
    control = Cubic(1000)
    control.cwnd = 1_000_000
    control.ssthresh = 1_000_000
    control.on_loss(1_000_000, 0)
    assert control.cwnd == 700_000
    k = ((1000 - 700) / 0.4) ** (1 / 3)
    rtt = 100 * MS
    now = 0
    series = []
    while now < 2 * k * SECOND:
        now += rtt
        for _ in range(control.cwnd // 1000):
            control.on_ack(1000, now, rtt)
        series.append(control.cwnd)
    middle = int(k * SECOND / rtt)
    assert series[middle] == pytest.approx(1_000_000, rel=0.02)
    early = series[5] - series[0]
    flat = series[middle + 2] - series[middle - 3]
    late = series[-1] - series[-6]
    assert early > 5 * flat
    assert late > 5 * flat


def test_cubic_is_never_slower_than_reno_where_that_is_fair() -> None:
    """RFC 9438 4.3: with short round trips the Reno-friendly window rules."""
    cubic = Cubic(1000)
    cubic.ssthresh = cubic.cwnd = 20_000
    cubic.on_loss(20_000, 0)
    start = cubic.cwnd
    now = 0
    for _ in range(100):
        now += MS
        for _ in range(cubic.cwnd // 1000):
            cubic.on_ack(1000, now, MS)
    alpha = 3 * 0.3 / 1.7
    assert cubic.cwnd >= start + 100 * alpha * 1000 * 0.8


def test_cubic_gives_way_faster_when_it_loses_again() -> None:
    """Fast convergence, RFC 9438 4.7."""
    control = Cubic(1000)
    control.cwnd = 100_000
    control.on_loss(100_000, 0)
    control.on_loss(70_000, SECOND)
    assert control._w_max == pytest.approx(70 * 1.7 / 2)


def test_controls_have_names() -> None:
    assert make_control("cubic", 1).name == "cubic"
    assert make_control("reno", 1).name == "reno"
    with pytest.raises(ValueError, match="bbr"):
        make_control("bbr", 1)


def test_the_control_can_be_changed_on_the_way() -> None:
    world = World(link=Link(delay_ns=5 * MS))
    c, s, _ = connect(world, world.host(A), world.host(B))
    assert transfer_open(world, c, s, 1 << 20) == 1 << 20
    cwnd = c.control.cwnd
    c.congestion = "reno"
    assert (c.congestion, c.control.name, c.control.cwnd) == ("reno", "reno", cwnd)
    assert transfer_open(world, c, s, 1 << 20) == 1 << 20
    with pytest.raises(ValueError, match="vegas"):
        c.congestion = "vegas"
