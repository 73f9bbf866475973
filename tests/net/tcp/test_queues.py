"""Do queues of bytes hold what was put in, in order, however it is cut?"""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.net.tcp.byte_queue import ByteQueue, SendBuffer
from services.net.tcp.reassembly import MAX_RUNS, Reassembly
from tests.net.tcp.world import examples

pieces = st.one_of(
    st.binary(min_size=1, max_size=40),
    st.integers(1, 4).map(lambda n: bytes(range(250)) * 5 * n),
    st.binary(min_size=1, max_size=40).map(lambda b: memoryview(b)),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), pieces),
        st.tuples(st.just("take"), st.integers(0, 3000)),
        st.tuples(st.just("drop"), st.integers(0, 3000)),
        st.tuples(st.just("peek"), st.integers(0, 3000)),
        st.tuples(st.just("copy"), st.lists(st.integers(1, 1500), max_size=4)),
        st.tuples(st.just("drain"), st.none()),
    ),
    max_size=30,
)


@given(steps)
@examples(150)
def test_a_byte_queue_is_a_bytearray(script: list) -> None:
    queue, model = ByteQueue(), bytearray()
    taken = []  # results must not change afterwards
    for what, value in script:
        if what == "append":
            queue.append(value)
            model += value
        elif what == "take":
            got = queue.take(value)
            assert bytes(got) == model[: len(got)]
            assert (len(got) > 0) == (min(value, len(model)) > 0)
            assert len(got) <= value
            taken.append((got, bytes(got)))
            del model[: len(got)]
        elif what == "drop":
            count = min(value, len(model))
            queue.drop(count)
            del model[:count]
        elif what == "peek":
            assert queue.peek(value) == model[:value]
            assert queue.peek(value, 7) == model[7 : 7 + value]
        elif what == "copy":
            memory = memoryview(bytearray(10000))
            at, extents = 100, []
            for size in value:
                extents.append((at, size))
                at += size + 10
            count = queue.copy_out(memory, extents, len(model))
            assert count == min(sum(value), len(model))
            got = b"".join(bytes(memory[a : a + n]) for a, n in extents)
            assert got[:count] == model[:count]
        else:
            assert b"".join(queue.drain()) == model
            model.clear()
        assert queue.length == len(model)
    for got, then in taken:
        assert bytes(got) == then


@given(
    st.integers(0, 1 << 33), st.lists(st.tuples(st.integers(0, 4), pieces), max_size=40), st.data()
)
@examples(150)
def test_a_send_buffer_gives_any_range(start: int, script: list, data: st.DataObject) -> None:
    buffer, model, base = SendBuffer(start), bytearray(), start
    kept = []
    for what, piece in script:
        if what < 3:
            buffer.append(piece)
            model += piece
        elif what == 3 and model:
            count = data.draw(st.integers(0, len(model)))
            buffer.drop_to(base + count)
            base += count
            del model[:count]
        elif model:
            low = data.draw(st.integers(0, len(model) - 1))
            high = data.draw(st.integers(low + 1, len(model)))
            got = buffer.slice(base + low, base + high)
            assert bytes(got) == model[low:high]
            assert b"".join(buffer.pieces(base + low, base + high)) == model[low:high]
            kept.append((got, bytes(got)))
        assert (buffer.base, buffer.end, len(buffer)) == (base, base + len(model), len(model))
    for got, then in kept:
        assert bytes(got) == then


def test_a_whole_piece_is_not_copied() -> None:
    piece = bytes(70000)
    buffer = SendBuffer(5)
    buffer.append(piece)
    assert buffer.slice(5, 70005) is piece
    queue = ByteQueue()
    queue.append(piece)
    assert queue.take(1 << 20) is piece


def test_single_bytes_are_kept_together() -> None:
    queue, buffer = ByteQueue(), SendBuffer(0)
    for _ in range(10000):
        queue.append(b"x")
        buffer.append(b"x")
    assert len(queue._pieces) < 5
    assert len(buffer._pieces) < 5


@given(
    st.integers(0, 1 << 33),
    st.integers(1, 300),
    st.lists(st.tuples(st.integers(0, 320), st.integers(1, 60)), max_size=40),
)
@examples(200)
def test_reassembly_in_any_order(base: int, total: int, arrivals: list) -> None:
    stream = bytes(i * 7 & 255 for i in range(400))
    runs, out = Reassembly(), ByteQueue()
    held: set[int] = set()
    nxt = base
    for at, size in arrivals:
        start = max(base + at, nxt)
        end = base + at + size
        if start >= end:
            continue
        new = set(range(start, end)) - held
        assert runs.add(start, stream[start - base : end - base]) == bool(new)
        held |= new
        nxt = runs.take(nxt, out)
        held = {seq for seq in held if seq >= nxt}
        assert runs.held_bytes == len(held)
        spans = [(run.start, run.end) for run in runs.runs]
        assert spans == sorted(spans)
        assert all(a[1] < b[0] for a, b in pairwise(spans))
        blocks = runs.blocks(3)
        assert set(blocks) <= set(spans)
        if start > nxt and new:
            assert blocks[0][0] <= start < blocks[0][1]
    assert out.peek(1000) == stream[: nxt - base]


def test_every_other_byte_is_bounded() -> None:
    runs = Reassembly()
    for seq in range(10000, 10, -2):
        runs.add(seq, b"x")
    assert len(runs.runs) <= MAX_RUNS
    for seq in range(10001, 20000, 2):
        runs.add(seq, b"x")
    assert len(runs.runs) <= MAX_RUNS
    assert len(runs.blocks(4)) <= 4


def test_the_first_copy_of_a_byte_counts() -> None:
    runs, out = Reassembly(), ByteQueue()
    runs.add(12, b"GOOD")
    runs.add(10, b"evileviL")
    assert runs.take(10, out) == 18
    assert out.peek(100) == b"evGOODiL"
