"""Is everybody woken in time, and nobody kept for hours?"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from services.net.tcp.limits import NEVER, SECOND, Settings
from services.net.tcp.segment import ACK, FIN, RST
from services.net.tcp.state import State
from services.net.tcp.timers import TimerHeap
from tests.net.tcp.test_ending import accepted
from tests.net.tcp.world import LO, World, connect, examples, pair

if TYPE_CHECKING:
    from services.net.tcp.connection import Connection


class Clock:
    """A sleeper with a list of deadlines."""

    def __init__(self, deadlines: list[int]) -> None:
        self.alarm_ns = NEVER
        self.deadlines = sorted(deadlines)
        self.woken: list[int] = []

    def wake(self, now_ns: int) -> int:
        while self.deadlines and self.deadlines[0] <= now_ns:
            self.woken.append(now_ns)
            self.deadlines.pop(0)
        return self.deadlines[0] if self.deadlines else NEVER


@given(st.lists(st.lists(st.integers(1, 1000), max_size=5), max_size=20))
@examples(100)
def test_every_deadline_is_met(plans: list) -> None:
    heap = TimerHeap()
    clocks = [Clock(plan) for plan in plans]
    for clock in clocks:
        if clock.deadlines:
            heap.arm(clock, clock.deadlines[-1])
            if clock.deadlines[0] < clock.alarm_ns:
                heap.arm(clock, clock.deadlines[0])
    while heap.earliest_ns != NEVER:
        heap.run(heap.earliest_ns)
    for clock, plan in zip(clocks, plans, strict=True):
        assert clock.woken == sorted(plan)
    assert len(heap) == 0


def test_forgotten_sleepers_are_left_alone() -> None:
    heap = TimerHeap()
    clock, other = Clock([5]), Clock([7])
    heap.arm(clock, 5)
    heap.arm(other, 7)
    heap.forget(clock)
    heap.run(10)
    assert (clock.woken, other.woken) == ([], [10])


def test_forgotten_sleepers_are_thrown_out() -> None:
    heap = TimerHeap()
    for i in range(1000):
        clock = Clock([7200 * SECOND + i])
        heap.arm(clock, 7200 * SECOND + i)
        heap.forget(clock)
    assert len(heap) < 140
    assert heap.earliest_ns == NEVER
    assert len(heap) == 0


def test_keepalive_of_closed_connections_is_not_kept() -> None:
    world = World()
    host = world.host(LO, max_time_waits=10)
    listener = host.listen(None, 80, 3, 100, Settings(keepalive=True))
    for port in range(300):
        c, s, _ = connect(world, host, host, LO, LO, client_port=1000 + port, listener=listener)
        s.close()
        c.close()
        world.settle()
    assert not host.connections
    assert len(host.timers) < 140


def keepalive(world: World) -> tuple[Connection, object]:
    c, peer = accepted(world)
    c.keepalive = True
    c.keep_idle_ns = 10 * SECOND
    c.keep_interval_ns = 2 * SECOND
    c.keep_count = 3
    return c, peer


def test_keepalive_finds_a_dead_peer() -> None:
    world = World()
    c, peer = keepalive(world)
    start = world.now
    world.run(9 * SECOND)
    assert peer.take() == []
    assert world.run(60 * SECOND, lambda: c.state is State.CLOSE)
    assert world.now - start == 16 * SECOND
    assert c.error == errno.ETIMEDOUT
    probes = peer.take()
    assert [s.flags for s in probes] == [ACK, ACK, ACK, RST | ACK]
    assert all(s.seq == (c.snd_una - 1) & 0xFFFFFFFF for s in probes[:3])


def test_keepalive_leaves_a_living_peer_alone() -> None:
    world, c, s = pair()
    c.keepalive = True
    c.keep_idle_ns = 10 * SECOND
    c.keep_interval_ns = SECOND
    world.run(3600 * SECOND)
    assert c.state is s.state is State.ESTABLISHED
    assert 300 <= c.tcp.counters["TCPKeepAlive"] <= 360
    s.write(b"hi")
    world.run(5 * SECOND)
    before = c.tcp.counters["TCPKeepAlive"]
    c.write(b"still here")
    world.run(9 * SECOND)
    assert c.tcp.counters["TCPKeepAlive"] == before
    c.keepalive = False
    world.run(3600 * SECOND)
    assert c.tcp.counters["TCPKeepAlive"] == before


def test_keepalive_finds_a_peer_that_has_forgotten() -> None:
    world = World()
    c, peer = keepalive(world)
    world.run(11 * SECOND)
    (probe,) = peer.take()
    peer.send(RST, seq=probe.ack)
    assert c.error == errno.ECONNRESET


def test_keepalive_with_user_timeout() -> None:
    world = World()
    c, _ = keepalive(world)
    c.user_timeout_ns = 13 * SECOND
    start = world.now
    assert world.run(60 * SECOND, lambda: c.state is State.CLOSE)
    assert world.now - start == 14 * SECOND


def test_an_idle_host_wants_nothing() -> None:
    world, c, s = pair()
    c.write(b"x")
    world.run(SECOND)
    s.read(1)
    world.run(SECOND)
    assert c.tcp.next_deadline_ns is None
    assert s.tcp.next_deadline_ns is None


def test_the_deadline_is_never_late() -> None:
    world = World()
    c, peer = accepted(world)
    c.write(b"x")
    assert c.tcp.next_deadline_ns is not None
    assert c.tcp.next_deadline_ns <= c.retransmit_at
    peer.take()
    peer.send(ACK | FIN)
    c.close()
    assert c.tcp.next_deadline_ns is not None
    assert c.tcp.next_deadline_ns <= c.retransmit_at
