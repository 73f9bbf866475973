"""Does a segment survive the wire, and does rubbish not?"""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.net.proto.checksum import ChecksumError, checksum, pseudo_header, sum_bytes
from services.net.tcp.segment import ACK, PSH, SYN, Segment, decode
from tests.net.tcp.world import A6, B6, A, B, examples

word = st.integers(0, 0xFFFFFFFF)
short = st.integers(0, 0xFFFF)


@st.composite
def segments(draw: st.DrawFn) -> Segment:
    """Any segment whose options fit into 40 bytes."""
    stamps = draw(st.none() | st.tuples(word, word))
    segment = Segment(
        draw(short),
        draw(short),
        draw(word),
        draw(word),
        draw(st.integers(0, 255)),
        draw(short),
        draw(st.binary(max_size=40)) * draw(st.sampled_from((1, 100))),
        stamps,
        urgent=draw(short),
    )
    if segment.flags & SYN:
        segment.mss = draw(st.none() | short)
        segment.scale = draw(st.none() | st.integers(0, 14))
        segment.sack_ok = draw(st.booleans())
    else:
        blocks = st.lists(st.tuples(word, word), max_size=3 if stamps else 4)
        segment.sacks = tuple(draw(blocks))
    return segment


def wire(segment: Segment, src: bytes = A, dst: bytes = B) -> bytearray:
    return bytearray(b"".join(segment.encode(src, dst, False)))


@given(segments(), st.booleans())
@examples(60)
def test_what_is_encoded_is_decoded(segment: Segment, wide: bool) -> None:
    src, dst = (A6, B6) if wide else (A, B)
    data = wire(segment, src, dst)
    assert len(data) % 4 == len(segment.payload) % 4
    other = decode(memoryview(data), src, dst, False)
    for name in Segment.__slots__:
        assert getattr(other, name) == getattr(segment, name), name


@given(segments(), st.data())
@examples(60)
def test_one_wrong_bit_is_noticed(segment: Segment, data: st.DataObject) -> None:
    raw = wire(segment)
    at = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[at >> 3] ^= 1 << (at & 7)
    with pytest.raises(ValueError, match="TCP") as caught:
        decode(memoryview(raw), A, B, False)
    header = 12 * 8 + 4 <= at < 13 * 8  # the data offset: it may not add up before that is summed
    assert header or isinstance(caught.value, ChecksumError)


@given(st.binary(max_size=200), st.booleans())
@examples(300)
def test_rubbish_is_a_segment_or_a_value_error(data: bytes, checked: bool) -> None:
    with contextlib.suppress(ValueError):
        decode(memoryview(data), A, B, checked)


@given(st.binary(min_size=40, max_size=40))
@examples(300)
def test_any_options(options: bytes) -> None:
    header = struct.pack("!HHIIBBHHH", 1, 2, 3, 4, 60 << 2, ACK, 5, 0, 0)
    try:
        segment = decode(memoryview(header + options), A, B, True)
    except ValueError:
        return
    assert segment.scale is None or segment.scale <= 14
    assert segment.payload == b""


def test_a_checksum_as_the_rfc_has_it() -> None:
    segment = Segment(80, 4242, 7, 9, PSH | ACK, 100, b"odd")
    data = wire(segment)
    pseudo = A + B + struct.pack("!BBH", 0, 6, len(data))
    assert checksum(pseudo + bytes(data)) in (0, 0xFFFF)


def test_offload_leaves_the_pseudo_header() -> None:
    segment = Segment(80, 4242, 7, 9, ACK, 100, b"x" * 100, (1, 2))
    header, payload = segment.encode(A, B, True)
    partial = int.from_bytes(header[16:18], "big")
    assert partial == pseudo_header(A, B, 6, 132)
    # What a NIC does: sum everything from the TCP header on, complement, put in place.
    total = (sum_bytes(header) + sum_bytes(payload)) % 0xFFFF
    done = header[:16] + (-total % 0xFFFF).to_bytes(2, "big") + header[18:]
    decode(memoryview(bytearray(done + payload)), A, B, False)


def test_the_payload_is_a_copy() -> None:
    ram = wire(Segment(80, 4242, 7, 9, ACK, 100, b"precious", (1, 2)))
    segment = decode(memoryview(ram), A, B, False)
    ram[:] = bytes(len(ram))
    assert segment.payload == b"precious"


def test_options_that_we_do_not_know_are_skipped() -> None:
    header = struct.pack("!HHIIBBHHH", 1, 2, 3, 4, 32 << 2, SYN, 5, 0, 0)
    options = bytes((254, 4, 9, 9)) + bytes((1,)) + bytes((3, 3, 200)) + bytes((2, 4, 5, 180))
    segment = decode(memoryview(header + options), A, B, True)
    assert (segment.mss, segment.scale) == (1460, 14)


@pytest.mark.parametrize(
    "tail", [b"\x02", b"\x02\x00\x00\x00", b"\x02\x01\x00\x00", b"\x01\x01\x08\x0a"]
)
def test_options_that_run_out_are_malformed(tail: bytes) -> None:
    options = tail.rjust(4, b"\x01")
    header = struct.pack("!HHIIBBHHH", 1, 2, 3, 4, 24 << 2, ACK, 5, 0, 0)
    with pytest.raises(ValueError, match="option"):
        decode(memoryview(header + options), A, B, True)


def test_end_of_options_ends_them() -> None:
    header = struct.pack("!HHIIBBHHH", 1, 2, 3, 4, 28 << 2, ACK, 5, 0, 0)
    segment = decode(memoryview(header + bytes((0, 2, 4, 5, 180, 0, 0, 0))), A, B, True)
    assert segment.mss is None
