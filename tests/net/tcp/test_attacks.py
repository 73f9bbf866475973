"""What can somebody do who sees nothing and guesses, or a peer that breaks the rules?"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.errors import PosixError
from services.net.proto.icmp import IcmpError
from services.net.proto.packet import Packet
from services.net.tcp.limits import MS, SECOND, PathInfo
from services.net.tcp.segment import ACK, FIN, PSH, RST, SYN, URG, Segment
from services.net.tcp.state import State
from tests.net.tcp.test_ending import accepted
from tests.net.tcp.world import A, B, Puppet, World, examples, pair

if TYPE_CHECKING:
    from services.net.tcp.connection import Connection


def inject(c: Connection, flags: int, seq: int, ack: int = 0, payload: bytes = b"") -> None:
    """A forged segment from the peer's address, without timestamps."""
    segment = Segment(
        c.remote_port, c.local_port, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, flags, 1000, payload
    )
    c.tcp.input(Packet(6, c.remote_address, c.local_address, segment))


def test_a_blind_reset_must_hit_exactly() -> None:
    world, c, s = pair()
    inject(s, RST, s.rcv_nxt + 1)
    inject(s, RST, s.rcv_adv)
    inject(s, RST, s.rcv_nxt - 1)
    inject(s, RST, s.rcv_adv + 1)
    assert s.state is State.ESTABLISHED
    assert s.tcp.counters["TCPChallengeACK"] == 1
    world.run(SECOND)
    assert c.state is State.ESTABLISHED
    inject(s, RST, s.rcv_nxt)
    assert (s.state, s.error) == (State.CLOSE, errno.ECONNRESET)


def test_a_blind_syn_does_nothing() -> None:
    world, c, s = pair()
    for seq in (s.rcv_nxt, s.rcv_nxt + 100, s.rcv_nxt - 1, 0):
        segment = Segment(40000, 80, seq & 0xFFFFFFFF, 0, SYN, 1000, stamps=(s.ts_recent, 0))
        s.tcp.input(Packet(6, A, B, segment))
    assert s.state is State.ESTABLISHED
    world.run(SECOND)
    assert c.state is State.ESTABLISHED
    c.write(b"ok")
    world.run(SECOND)
    assert s.read(10) == b"ok"


def test_a_restarted_peer_ends_the_old_connection() -> None:
    """RFC 5961 section 4: SYN, challenge, RST, and the next SYN gets through."""
    world = World()
    c, peer = accepted(world)
    peer.send(SYN, seq=777, stamps=(world.now // MS & 0xFFFFFFFF, 0))
    (challenge,) = peer.take()
    assert challenge.flags == ACK
    peer.send(RST, seq=challenge.ack)
    assert c.state is State.CLOSE


def test_blind_data_must_acknowledge_what_is_plausible() -> None:
    world = World()
    tcp = world.host(A, timestamps=False)
    tcp.listen(None, 40000, 3, 8)
    peer = Puppet(world, tcp)
    peer.call(mss=1460)
    c = next(iter(tcp.connections.values()))
    inject(c, PSH | ACK, c.rcv_nxt, c.snd_nxt + 1, b"evil")
    inject(c, PSH | ACK, c.rcv_nxt, c.snd_una - c.max_window - 1, b"evil")
    inject(c, PSH, c.rcv_nxt, 0, b"evil")
    inject(c, PSH | ACK, c.rcv_adv + 1, c.snd_una, b"evil")
    assert c.readable_bytes == 0
    inject(c, PSH | ACK, c.rcv_nxt, c.snd_una, b"good")
    assert c.read(10) == b"good"


def test_data_without_the_agreed_timestamps_is_dropped() -> None:
    _, c, s = pair()
    inject(s, PSH | ACK, s.rcv_nxt, s.snd_una, b"evil")
    assert s.readable_bytes == 0
    assert s.tcp.counters["TSMissing"] == 1
    assert c.state is State.ESTABLISHED


def test_an_old_timestamp_is_answered_and_dropped() -> None:
    world = World()
    c, peer = accepted(world)
    peer.send(PSH | ACK, b"1")
    peer.take()
    old = (world.now // MS - 5000) & 0xFFFFFFFF
    peer.send(PSH | ACK, b"2", seq=peer.seq, stamps=(old, peer.echo))
    assert c.readable_bytes == 1
    assert c.tcp.counters["PAWSEstab"] == 1
    assert peer.take()[-1].flags == ACK
    world.run(25 * 86400 * SECOND)
    peer.send(PSH | ACK, b"2", stamps=(old, peer.echo))  # after 24 days the clock may have wrapped
    assert c.read(10) == b"12"


def test_challenges_are_limited_for_the_host() -> None:
    world = World()
    server = world.host(B, challenge_acks_per_second=10)
    listener = server.listen(None, 80, 3, 1000)
    client = world.host(A)
    for port in range(100):
        client.open((A, 1000 + port), (B, 80))
    world.run(SECOND)
    for s in listener.accepted:
        inject(s, RST, s.rcv_nxt + 5)
    assert 5 <= server.counters["TCPChallengeACK"] <= 15
    world.run(2 * SECOND)
    before = server.counters["TCPChallengeACK"]
    for s in listener.accepted:
        inject(s, RST, s.rcv_nxt + 5)
    assert server.counters["TCPChallengeACK"] > before


def test_duplicate_acks_are_not_answered_forever() -> None:
    """Two ends that disagree must not send each other acknowledgements without end."""
    world, c, s = pair()
    c.snd_nxt += 10
    c.snd_una += 10
    c.send.rebase(c.snd_nxt)
    c.tcp.now_ns = world.now
    inject(s, ACK, s.rcv_nxt - 50, s.snd_una)
    before = len(world.sent)
    world.run(10 * SECOND)
    assert len(world.sent) - before < 50


def test_a_peer_that_ignores_the_window_gains_nothing() -> None:
    world = World()
    tcp = world.host(A, receive_bytes=4096, receive_max_bytes=4096)
    listener = tcp.listen(None, 40000, 3, 8)
    peer = Puppet(world, tcp)
    peer.call(mss=1460, stamps=(1, 0), sack_ok=True)
    c = listener.accept()
    assert c is not None
    for _ in range(20):
        peer.send(PSH | ACK, b"x" * 1400)
    assert c.receive.length + c.reassembly.held_bytes <= 4096
    assert peer.take()[-1].window == 0
    for i in range(20):
        peer.send(ACK, b"y" * 1400, seq=peer.seq + 3000 + i * 1400)
    assert c.receive.length + c.reassembly.held_bytes <= 4096


def test_a_peer_that_acknowledges_too_early_gains_nothing() -> None:
    world = World()
    c, peer = accepted(world)
    c.write(b"x" * 1000)
    peer.take()
    peer.send(ACK, ack=peer.ack + 5000)
    assert c.unacked_bytes == 1000
    peer.send(ACK, sacks=((peer.ack + 10, peer.ack + 5000), (peer.ack - 50, peer.ack)))
    assert c.board.sacked_bytes == 0
    assert c.state is State.ESTABLISHED


def test_tiny_segments_do_not_eat_memory() -> None:
    world = World()
    c, peer = accepted(world)
    for _ in range(5000):
        peer.send(ACK, b"x")
    assert len(c.receive._pieces) < 5
    start = peer.seq
    for i in range(2000):
        peer.send(ACK, b"y", seq=start + 2 * i + 1)
    assert len(c.reassembly.runs) <= 512


@pytest.mark.parametrize("dst", ["e0000001", "ffffffff"])
def test_nobody_answers_to_many(dst: str) -> None:
    world = World()
    tcp = world.host(B, bytes.fromhex(dst))
    tcp.listen(None, 80, 3, 5)
    for flags in (SYN, ACK):
        segment = Segment(5, 80, 1, 1, flags, 100, mss=1460)
        tcp.input(Packet(6, A, bytes.fromhex(dst), segment))
    assert world.sent == []
    assert not tcp.connections


def test_a_syn_from_ourselves_ends_somewhere() -> None:
    """The LAND attack: source and target are the same."""
    world = World()
    tcp = world.host(B)
    tcp.listen(None, 80, 3, 5)
    tcp.input(Packet(6, B, B, Segment(80, 80, 1, 0, SYN, 100, mss=1460)))
    world.run(200 * SECOND)
    assert len(world.sent) < 50


def test_no_way_back_is_no_exception() -> None:
    world = World()
    tcp = world.host(B)
    listener = tcp.listen(None, 80, 3, 1)

    def no_route(dst: bytes, src: bytes) -> PathInfo:
        raise PosixError(errno.ENETUNREACH)

    tcp.path = no_route
    for port in range(5):
        tcp.input(Packet(6, A, B, Segment(port, 80, 1, 0, SYN, 100, mss=1460)))
        listener.backlog = 0
    assert not tcp.connections


# ---------------------------------------------------------------------- ICMP


def icmp(c: Connection, type_: int, code: int, seq: int, mtu: int = 0, number: int = 0) -> None:
    header = (
        c.local_port.to_bytes(2, "big")
        + c.remote_port.to_bytes(2, "big")
        + (seq & 0xFFFFFFFF).to_bytes(4, "big")
    )
    error = IcmpError(
        type_, code, mtu, 6, c.local_address, c.remote_address, header, B, number, False
    )
    c.tcp.icmp_error(error)


@pytest.mark.parametrize("number", [errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ECONNREFUSED])
def test_an_icmp_error_ends_an_open(number: int) -> None:
    world = World()
    tcp = world.host(A)
    c = tcp.open((A, 40000), (B, 80))
    told = []
    c.on_change = lambda: told.append(c.error)
    icmp(c, 3, 1, c.iss + 1, number=number)
    assert told == []
    icmp(c, 3, 1, c.iss, number=number)
    assert told == [number]
    assert c.state is State.CLOSE


def test_an_icmp_error_does_not_end_a_connection_but_explains_its_end() -> None:
    world = World()
    c, peer = accepted(world)
    c.write(b"x")
    icmp(c, 3, 1, c.snd_una + 100, number=errno.ENETUNREACH)
    assert c.soft_error == 0
    icmp(c, 3, 1, c.snd_una, number=errno.EHOSTUNREACH)
    assert (c.state, c.error) == (State.ESTABLISHED, 0)
    world.run(2000 * SECOND)
    assert (c.state, c.error) == (State.CLOSE, errno.EHOSTUNREACH)
    assert peer.take()


def test_too_big_makes_segments_smaller_and_sends_again() -> None:
    world = World()
    c, peer = accepted(world)
    c.write(b"x" * 4000)
    first = peer.take()
    assert [len(s.payload) for s in first] == [1448, 1448, 1104]
    icmp(c, 3, 4, c.snd_una, mtu=1000)
    again = peer.take()
    assert c.mss == 1000 - 52
    assert sum(len(s.payload) for s in again) == 4000
    assert max(len(s.payload) for s in again) == 948
    assert c.control.cwnd == 10 * c.mss
    icmp(c, 3, 4, c.snd_una, mtu=68)
    assert c.mss == 552 - 52
    icmp(c, 3, 4, c.snd_una, mtu=9000)
    assert c.mss == 552 - 52
    peer.send(ACK)
    assert c.unacked_bytes == 0
    assert c.control.cwnd >= 10 * c.mss


# ---------------------------------------------------------------------- fuzz

flags = st.sampled_from(
    [0, ACK, ACK, ACK | PSH, ACK | FIN, SYN, SYN | ACK, RST, RST | ACK, URG | ACK, 255]
)
near = (
    st.sampled_from([0, 0, 0, 1, -1, 1448])
    | st.integers(-3000, 3000)
    | st.integers(-70000, 70000)
    | st.integers(0, 0xFFFFFFFF)
)
blows = st.lists(
    st.tuples(
        flags,
        near,
        near,
        st.integers(0, 65535),
        st.sampled_from([0, 0, 1, 3, 100, 1448, 5000]),
        st.sampled_from([None, (0, 0), (0, 0), (5, 0), (-5, 0)])
        | st.tuples(st.integers(-5000, 5000), st.integers(-5000, 5000)),
        st.lists(st.tuples(near, near), max_size=3),
        st.integers(0, 65535),
        st.sampled_from([0, 0, 0, 1, 50, 1000, 70000]),
    ),
    max_size=12,
)
acts = st.sampled_from(["", "", "write", "read", "shut", "close", "abort", "urgent"])


def check(c: Connection) -> None:
    """The invariants that `connection` promises."""
    assert c.snd_una <= c.snd_nxt <= c.send.end + 1
    assert c.acked_to <= c.rcv_nxt <= max(c.rcv_adv, c.rcv_nxt)
    assert c.receive.length <= max(c.receive_limit, 65535) + 70000
    if c.state is not State.CLOSE:
        assert c.alarm_ns <= min(c.retransmit_at, c.ack_at, c.keep_at)
        if c.state not in (State.SYN_SENT, State.SYN_RECV):
            assert c.send.base <= c.send.end
        pending = c.send.end > c.snd_una or (c.fin_queued and c.snd_una <= c.send.end)
        if pending and c.state not in (State.FIN_WAIT2, State.SYN_SENT, State.SYN_RECV):
            assert c.retransmit_at < 1 << 63, "something waits and no timer runs"
    board = c.board
    assert board.sacked_bytes == sum(end - start for start, end in board.ranges)


@given(blows, st.lists(acts, min_size=12, max_size=12), st.sampled_from(["open", "accept", "half"]))
@examples(250)
def test_any_segments_in_any_order(script: list, owner: list, begin: str) -> None:
    world = World()
    tcp = world.host(A)
    listener = tcp.listen(None, 40000, 3, 8)
    peer = Puppet(world, tcp)
    if begin == "open":
        c = tcp.open((A, 40000), (B, 80))
    else:
        peer.send(SYN, mss=1460, scale=7, sack_ok=True, stamps=(world.now // MS & 0xFFFFFFFF, 0))
        peer.take()
        if begin == "accept":
            peer.stamps = True
            peer.send(ACK)
        c = next(iter(tcp.connections.values()))
    for blow, act in zip(script, owner, strict=False):
        flags, seq, ack, window, size, stamps, sacks, urgent, wait = blow
        segment = Segment(
            80,
            40000,
            c.rcv_nxt + seq & 0xFFFFFFFF,
            c.snd_una + ack & 0xFFFFFFFF,
            flags,
            window,
            bytes(size),
            None
            if stamps is None
            else (c.ts_recent + stamps[0] & 0xFFFFFFFF, peer.echo + stamps[1] & 0xFFFFFFFF),
            tuple((c.snd_una + a & 0xFFFFFFFF, c.snd_una + b & 0xFFFFFFFF) for a, b in sacks),
            urgent=urgent,
        )
        tcp.input(Packet(6, B, A, segment))
        check(c)
        if act == "write":
            c.write(b"w" * 3000)
        elif act == "read":
            c.read(1000)
        elif act == "shut":
            c.shutdown_write()
        elif act == "close":
            c.close()
        elif act == "abort":
            c.abort()
        elif act == "urgent":
            c.write_urgent(33)
        check(c)
        world.run(wait * MS)
        check(c)
        peer.take()
    c.close()
    listener.close()
    world.run(3000 * SECOND)
    assert not tcp.connections
    assert not tcp.time_waits
    assert tcp.orphans == 0
    assert tcp.grown_bytes == 0
    assert tcp.counters["CurrEstab"] == 0
    assert tcp.next_deadline_ns is None
