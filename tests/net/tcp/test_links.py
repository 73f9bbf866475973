"""Does every byte arrive, once and in order, whatever the link does?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.net.tcp.cookies import Secrets
from services.net.tcp.limits import MS, SECOND, Settings
from services.net.tcp.state import State
from tests.net.tcp.world import A6, B6, A, B, Link, World, connect, examples, transfer


def both_ways(world: World, c: object, s: object, forth: bytes, back: bytes, step: int) -> None:
    """Each end writes and reads in pieces, then closes; all must arrive."""
    todo = {c: memoryview(forth), s: memoryview(back)}
    got = {c: bytearray(), s: bytearray()}

    def pump() -> bool:
        for end in (c, s):
            left = todo[end]
            while left:
                count = end.write(left[:step])
                if not count:
                    break
                left = left[count:]
            todo[end] = left
            if not left and not end.fin_queued:
                end.shutdown_write()
            while piece := end.read(step * 2):
                got[end] += piece
        return c.at_eof and s.at_eof

    assert world.run(3600 * SECOND, pump)
    assert got[s] == forth
    assert got[c] == back


links = st.builds(
    Link,
    delay_ns=st.sampled_from([0, MS // 10, 5 * MS, 20 * MS, 100 * MS]),
    jitter_ns=st.sampled_from([0, 0, MS, 10 * MS]),
    loss=st.sampled_from([0, 0, 0.01, 0.1, 0.25]),
    duplicate=st.sampled_from([0, 0, 0.02, 0.2]),
    corrupt=st.sampled_from([0, 0, 0.02]),
    reorder=st.sampled_from([0, 0, 0.02, 0.2]),
    rate=st.sampled_from([0, 0, 100_000, 10_000_000]),
)
hosts = st.fixed_dictionaries(
    {
        "timestamps": st.booleans(),
        "sack": st.booleans(),
        "window_scaling": st.booleans(),
        "receive_bytes": st.sampled_from([3000, 20_000, 128 << 10]),
        "send_bytes": st.sampled_from([5000, 128 << 10]),
    }
)


@given(
    st.integers(0, 1 << 32),
    links,
    hosts,
    hosts,
    st.sampled_from([0, 10_000, 100_000]),
    st.sampled_from([0, 10_000, 50_000]),
    st.sampled_from([500, 7_777, 65_536]),
    st.booleans(),
    st.sampled_from(["cubic", "reno"]),
)
@examples(80)
def test_all_bytes_arrive(
    seed: int,
    link: Link,
    one: dict,
    two: dict,
    forth: int,
    back: int,
    step: int,
    gso: bool,
    congestion: str,
) -> None:
    world = World(seed, link)
    world.gso = gso
    client, server = world.host(A, **one), world.host(B, **two)
    listener = server.listen(None, 80, 3, 5, Settings(congestion=congestion))
    c = client.open((A, 40000), (B, 80), Settings(congestion=congestion, syn_retries=20))
    assert world.run(3600 * SECOND, lambda: c.state is State.ESTABLISHED or c.error > 0)
    assert not c.error
    c.write(b"!")  # the last ACK may be lost, and only data makes up for it
    assert world.run(3600 * SECOND, lambda: bool(listener.accepted))
    s = listener.accept()
    assert s is not None
    assert world.run(3600 * SECOND, lambda: s.read(1) == b"!")
    data = world.rng.randbytes(max(forth, back))
    both_ways(world, c, s, data[:forth], data[:back], step)
    assert len(world.sent) < 40 * (forth + back) // 500 + 2000, "a storm"
    world.link.loss = world.link.corrupt = 0
    c.close()
    s.close()
    world.run(1000 * SECOND)
    for tcp in world.tcps:
        assert not tcp.connections
        assert not tcp.time_waits
        assert tcp.grown_bytes == 0
        assert tcp.next_deadline_ns is None


@pytest.mark.parametrize(
    ("link", "seconds"),
    [
        (Link(delay_ns=20 * MS, loss=0.01), 12),
        (Link(delay_ns=20 * MS, jitter_ns=5 * MS), 0.8),
        (Link(delay_ns=20 * MS, reorder=0.05), 3),
        (Link(delay_ns=20 * MS, duplicate=0.05), 0.8),
        (Link(delay_ns=5 * MS, rate=1_250_000, loss=0.01), 6),
        (Link(delay_ns=20 * MS, rate=12_500_000, queue_ns=20 * MS), 1),
    ],
    ids=["loss", "jitter", "reordering", "duplication", "slow and lossy", "short queue"],
)
def test_megabytes_in_good_time(link: Link, seconds: float) -> None:
    """4 MiB; the bounds are what cubic takes, with a margin, and no timeout is needed."""
    world = World(11, link)
    client, server = world.host(A), world.host(B)
    c, s, _ = connect(world, client, server)
    data = world.rng.randbytes(4 << 20)
    got, took = transfer(world, c, s, data)
    assert got == data
    assert took < seconds * SECOND
    assert client.counters["TCPTimeouts"] <= 1
    if not (link.jitter_ns or link.reorder or link.duplicate):
        assert client.counters["TCPDSACKRecv"] == 0, "something was sent again needlessly"


def test_sequence_numbers_wrap(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(5, Link(delay_ns=5 * MS, loss=0.02, reorder=0.02), wire=True)
    client, server = world.host(A6), world.host(B6)
    near = 0xFFFFFFFF - 200_000
    monkeypatch.setattr(Secrets, "initial_sequence", lambda *_: near)
    c, s, _ = connect(world, client, server, A6, B6)
    data = world.rng.randbytes(1 << 20)
    both_ways(world, c, s, data, data[:500_000], 50_000)


def test_timestamps_wrap(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(5, Link(delay_ns=5 * MS, loss=0.02))
    client, server = world.host(A), world.host(B)
    offset = -(world.now // MS) - 300 & 0xFFFFFFFF
    monkeypatch.setattr(Secrets, "stamp_offset", lambda *_: offset)
    c, s, _ = connect(world, client, server)
    for _ in range(10):
        c.write(world.rng.randbytes(20_000))
        world.run(SECOND)
        assert len(s.read(1 << 20)) + len(s.read(1 << 20)) > 0
    assert c.tcp.counters["PAWSEstab"] == s.tcp.counters["PAWSEstab"] == 0


def test_the_same_seed_gives_the_same_packets() -> None:
    def run() -> list[str]:
        world = World(9, Link(delay_ns=5 * MS, loss=0.05, reorder=0.1))
        c, s, _ = connect(world, world.host(A), world.host(B))
        transfer(world, c, s, bytes(200_000))
        return [repr(p.payload) for p in world.sent]

    assert run() == run()
