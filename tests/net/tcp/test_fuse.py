"""Can the owners of two fused connections tell that they are?"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.net.proto.packet import Packet
from services.net.tcp.limits import MS, SECOND
from services.net.tcp.segment import ACK, Segment
from services.net.tcp.state import State
from tests.net.tcp.world import LO, World, connect, examples

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.net.tcp.connection import Connection
    from services.net.tcp.table import Tcp

STREAM = random.Random(1).randbytes(13 << 20)


def read_into(end: Connection, value: int) -> tuple[int, bytes]:
    memory = memoryview(bytearray(20_000))
    return end.read_into(memory, [(5, value), (10_000, 300)]), bytes(memory)


def set_buffers(end: Connection, value: int) -> None:
    end.receive_limit_bytes = 200_000 + value
    end.send_limit_bytes = 100_000 + value


def set_keepalive(end: Connection, value: int) -> None:
    end.keepalive = True
    end.keep_idle_ns = SECOND


CALLS: dict[str, Callable[[Connection, int], object]] = {
    "write": lambda end, value: end.write(STREAM[:value]),
    "more": lambda end, value: end.write(b"m" * value, more=True),
    "read": lambda end, value: bytes(end.read(value)),
    "into": read_into,
    "peek": lambda end, value: end.peek(value),
    "urgent": lambda end, value: end.write_urgent(value & 255),
    "take urgent": lambda end, value: end.read_urgent(),
    "shut": lambda end, value: end.shutdown_write(),
    "close": lambda end, value: end.close(),
    "abort": lambda end, value: end.abort(),
}
SETTINGS: dict[str, Callable[[Connection, int], None]] = {
    "cork": lambda end, value: setattr(end, "cork", not end.cork),
    "nodelay": lambda end, value: setattr(end, "nodelay", not end.nodelay),
    "inline": lambda end, value: setattr(end, "oob_inline", True),
    "buffers": set_buffers,
    "keepalive": set_keepalive,
}


class Both:
    """One loopback connection, fused or not, and what its owners see of it."""

    def __init__(self, fusing: bool) -> None:
        self.world = World(3)
        self.host: Tcp = self.world.host(LO, fusing=fusing)
        c, s, self.listener = connect(self.world, self.host, self.host, LO, LO)
        self.world.run(SECOND)
        assert (c.fused is s and s.fused is c) == fusing
        self.ends: list[Connection] = [c, s]
        self.told = [0, 0]
        self.seen = [self.look(0), self.look(1)]
        for which in (0, 1):
            self.ends[which].on_change = lambda which=which: self._tell(which)

    def _tell(self, which: int) -> None:
        self.told[which] += 1

    def look(self, which: int) -> tuple:
        """All that an owner can see without changing anything."""
        end = self.ends[which]
        return (
            end.state,
            end.error,
            end.readable_bytes,
            end.at_eof,
            end.fin_received,
            end.urgent_ready,
            end.at_mark,
            end.unacked_bytes,
            end.unsent_bytes,
            end.writable,
        )

    def act(self, which: int, what: str, value: int) -> object:
        """One call of an owner, and its answer."""
        end = self.ends[which]
        if what in SETTINGS:
            SETTINGS[what](end, value)
            return None
        return CALLS[what](end, value)

    def after(self, owner: int) -> list:
        """Let things settle; what each end sees then. Nobody may see news untold."""
        self.world.run(2 * SECOND)
        now = [self.look(0), self.look(1)]
        other = 1 - owner
        news = now[other][:7] != self.seen[other][:7]
        assert not news or self.told[other], (self.seen[other], now[other])
        self.seen = now
        self.told = [0, 0]
        return now


acts = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.sampled_from(
            ["write"] * 6
            + ["read"] * 4
            + ["into", "peek", "more", "cork", "nodelay", "buffers", "keepalive"]
            + ["urgent", "take urgent", "inline", "shut", "close", "abort"]
        ),
        st.integers(1, 2000),
    ),
    max_size=25,
)


@given(acts)
@examples(250)
def test_owners_see_no_difference(script: list) -> None:
    fused, plain = Both(True), Both(False)
    for which, what, value in script:
        assert fused.act(which, what, value) == plain.act(which, what, value), what
        assert fused.after(which) == plain.after(which), what
    for both in (fused, plain):
        for end in both.ends:
            end.close()
        both.listener.close()
        both.world.run(4000 * SECOND)
        assert not both.host.connections
        assert not both.host.time_waits
        assert both.host.counters["CurrEstab"] == 0
        assert both.host.next_deadline_ns is None


@given(
    st.lists(st.tuples(st.sampled_from("wwrs"), st.integers(1, 300_000)), max_size=40),
    st.booleans(),
)
@examples(100)
def test_full_buffers_lose_nothing(script: list, fusing: bool) -> None:
    """More is written than fits; how much fits at once may differ a little, the bytes may not."""
    both = Both(fusing)
    c, s = both.ends
    sent, got = 0, bytearray()
    for what, size in script:
        if what == "w":
            count = c.write(STREAM[sent : sent + size])
            assert count <= size
            if count < size:
                assert c.send_space_bytes == 0
                assert c.write(b"no room") == 0
                both.told[0] = 0
            sent += count
        elif what == "r":
            before = c.writable
            got += s.read(size)
            both.world.settle()
            if not before and c.writable:
                assert both.told[0], "there is space again and nobody was told"
        else:
            both.world.run(SECOND)
        assert s.readable_bytes <= s.receive_limit
        assert c.unacked_bytes <= c.send_limit
        if fusing:
            assert c.unacked_bytes + s.readable_bytes == sent - len(got)
    c.shutdown_write()
    assert both.world.run(10 * SECOND, lambda: got.extend(s.read(1 << 20)) or s.at_eof)
    assert got == STREAM[:sent]


def test_fusing_sends_nothing() -> None:
    both = Both(True)
    c, s = both.ends
    count = len(both.world.sent)
    for _ in range(100):
        c.write(b"ping")
        assert s.read(10) == b"ping"
        s.write(b"pong")
        assert c.read(10) == b"pong"
    assert len(both.world.sent) == count
    assert c.info()["bytes_acked"] == s.info()["bytes_received"] == 400


def test_what_was_under_way_is_delivered_first() -> None:
    """Data written before the two could be fused comes before data written after."""
    world = World()
    host = world.host(LO)
    listener = host.listen(None, 80, 3, 5)
    c = host.open((LO, 40000), (LO, 80))
    written = b""
    for i in range(200):
        world.step(1 << 62)
        piece = b"%d," % i
        if c.state is State.ESTABLISHED:
            assert c.write(piece) == len(piece)
            written += piece
        if c.fused is not None:
            break
    assert c.fused is not None
    for i in range(5):
        c.write(b"late %d," % i)
        written += b"late %d," % i
    s = listener.accept()
    assert s is not None
    world.run(SECOND)
    assert s.read(1 << 16) == written


def test_a_late_segment_does_not_send_what_is_held() -> None:
    """Acknowledgements from before the fusing may arrive after it, with the writer held up."""
    both = Both(True)
    c, s = both.ends
    s.receive_limit_bytes = 30_000
    stale = Segment(80, 40000, s.snd_nxt & 0xFFFFFFFF, c.snd_nxt & 0xFFFFFFFF, ACK, 500)
    stale.stamps = (c.ts_recent, 0)
    sent = c.write(STREAM[:400_000])
    assert c.unsent_bytes
    before = len(both.world.sent)
    both.host.input(Packet(6, LO, LO, stale))
    assert not any(p.payload.payload for p in both.world.sent[before:])
    got = bytearray()
    while piece := s.read(50_000):
        got += piece
    assert got == STREAM[:sent]


def test_parting_leaves_what_segments_would_have_left() -> None:
    both = Both(True)
    c, s = both.ends
    c.write(b"x" * 50_000)
    s.write(b"y" * 1000)
    both.host.set_fusing(False)
    for end, other in ((c, s), (s, c)):
        assert end.snd_una == end.snd_nxt
        assert end.snd_nxt & 0xFFFFFFFF == other.rcv_nxt & 0xFFFFFFFF
        assert end.acked_to == end.rcv_nxt
        window = other.rcv_adv - other.rcv_nxt
        assert window > 50_000
        assert window - (1 << other.rcv_scale) < end.snd_wnd <= window
        assert end.rcv_adv - end.rcv_nxt <= end.receive_limit - end.receive.length


def test_switching_off_goes_on_with_segments() -> None:
    both = Both(True)
    c, s = both.ends
    c.write(b"before,")
    both.host.set_fusing(False)
    assert c.fused is s.fused is None
    c.write(b"after")
    both.world.run(SECOND)
    assert s.read(100) == b"before,after"
    s.write(b"x" * 100_000)
    both.world.run(SECOND)
    assert c.fused is None
    assert len(c.read(1 << 20)) == 100_000
    both.host.set_fusing(True)
    c.write(b"again")
    both.world.run(SECOND)
    assert s.read(100) == b"again"
    assert c.fused is s


def test_they_are_fused_again_after_a_while_of_segments() -> None:
    both = Both(True)
    c, s = both.ends
    c.write_urgent(33)
    assert c.fused is None
    both.world.run(SECOND)
    assert s.read_urgent() == 33
    assert s.read(10) == b""
    c.write(b"go on")
    both.world.run(SECOND)
    assert s.read(10) == b"go on"
    s.write(b"yes")
    both.world.run(SECOND)
    assert c.fused is s


@pytest.mark.parametrize("days", [1, 30])
def test_parting_after_a_long_time(days: int) -> None:
    """Timestamps have moved on while no segment went across."""
    both = Both(True)
    c, s = both.ends
    for _ in range(days):
        both.world.run(86400 * SECOND)
        c.write(b"x")
    c.shutdown_write()
    both.world.run(SECOND)
    assert s.at_eof is False
    assert len(s.read(100)) == days
    assert s.at_eof
    s.close()
    both.world.run(100 * MS)
    assert c.state is State.CLOSE
    assert both.host.counters["PAWSEstab"] == 0


def test_a_closing_reader_resets_a_fused_writer() -> None:
    both = Both(True)
    c, s = both.ends
    c.write(b"unread")
    s.close()
    both.world.run(SECOND)
    assert c.state is State.CLOSE
    assert c.error


def test_an_owner_that_answers_at_once_from_within() -> None:
    """on_change of one end runs within the other's write; it may write and read itself."""
    both = Both(True)
    c, s = both.ends

    def echo() -> None:
        while data := s.read(100):
            s.write(data.upper() if isinstance(data, bytes) else bytes(data))

    s.on_change = echo
    c.write(b"shout")
    assert c.read(100) == b"SHOUT"
