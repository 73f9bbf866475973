"""Does the scoreboard count as RFC 6675 says, byte by byte?"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.net.tcp.scoreboard import MAX_RANGES, Scoreboard
from tests.net.tcp.world import examples

MSS = 10


class Model:
    """RFC 6675 section 4, each octet for itself."""

    def __init__(self, una: int, nxt: int) -> None:
        self.una, self.nxt = una, nxt
        self.held: set[int] = set()
        self.lost_to = una

    def runs_above(self, octet: int) -> int:
        above = sorted(s for s in self.held if s > octet)
        return sum(1 for i, s in enumerate(above) if i == 0 or above[i - 1] != s - 1)

    def is_lost(self, octet: int) -> bool:
        above = [s for s in self.held if s > octet]
        return self.runs_above(octet) >= 3 or len(above) > 2 * MSS

    def pipe(self, lost_to: int, again_to: int) -> int:
        pipe = 0
        for octet in range(self.una, self.nxt):
            if octet in self.held:
                continue
            pipe += octet >= lost_to
            pipe += octet < again_to
        return pipe


blocks = st.lists(st.tuples(st.integers(1, 190), st.integers(1, 40)), max_size=12)


@given(st.integers(0, 1 << 33), blocks, st.integers(0, 100), st.integers(0, 200))
@examples(200)
def test_lost_and_pipe(una: int, told: list, ack: int, again: int) -> None:
    nxt = una + 200
    board, model = Scoreboard(una), Model(una, nxt)
    for at, size in told:
        start, end = una + at, min(una + at + size, nxt)
        new = set(range(start, end)) - model.held
        assert board.add(start, end) == len(new)
        model.held |= new
    assert board.sacked_bytes == len(model.held)
    assert all(board.is_held(s, s + 1) for s in model.held)
    una += ack
    board.advance(una)
    model.una = una
    model.held = {s for s in model.held if s >= una}
    assert board.sacked_bytes == len(model.held)
    board.judge(una, MSS)
    for octet in range(una, nxt):
        if octet not in model.held:
            assert (octet < board.lost_to) == model.is_lost(octet)
    board.sent_again_to = max(una, una - ack + again)
    assert board.pipe(una, nxt) == (
        model.pipe(board.lost_to, board.sent_again_to)
        if board.lost_to > una
        else 200 - ack - len(model.held)
    )


@given(blocks, st.integers(1, 200))
@examples(60)
def test_next_lost_walks_all_holes_once(told: list, lost_to: int) -> None:
    board = Scoreboard(0)
    held: set[int] = set()
    for at, size in told:
        end = min(at + size, 200)
        board.add(at, end)
        held |= set(range(at, end))
    board.lost_to = lost_to
    board.sent_again_to = 0
    seen: list[int] = []
    while (hole := board.next_lost(0, MSS)) is not None:
        start, end = hole
        assert 0 < end - start <= MSS
        seen += range(start, end)
        board.sent_again(start, end, 200)
    assert seen == [s for s in range(lost_to) if s not in held]


def test_a_lost_retransmission_is_found() -> None:
    board = Scoreboard(0)
    board.add(10, 40)
    board.judge(0, MSS)
    assert board.next_lost(0, MSS) == (0, 10)
    board.sent_again(0, 10, 100)
    assert board.next_lost(0, MSS) is None
    board.add(40, 129)
    board.judge(0, MSS)
    assert board.next_lost(0, MSS) is None
    board.add(129, 131)
    board.judge(0, MSS)
    before = board.pipe(0, 140)
    assert board.next_lost(0, MSS) == (0, 10)
    board.sent_again(0, 10, 140)
    assert board.pipe(0, 140) == before + 10
    assert board.next_lost(0, MSS) is None


def test_a_hostile_number_of_ranges_is_bounded() -> None:
    board = Scoreboard(0)
    for at in range(2, 20000, 2):
        board.add(at, at + 1)
    assert len(board.ranges) == MAX_RANGES
    assert board.sacked_bytes == MAX_RANGES


@given(st.lists(st.integers(0, 100), min_size=1, max_size=30))
@examples(60)
def test_advance_never_leaves_a_wrong_sum(acks: list) -> None:
    board = Scoreboard(0)
    for at in range(5, 100, 10):
        board.add(at, at + 5)
    una = 0
    for step in acks:
        una = max(una, step)
        board.advance(una)
        assert board.sacked_bytes == sum(end - start for start, end in board.ranges)
        assert all(r > una for _, r in board.ranges)
        assert [r[0] for r in board.ranges] == board._starts
