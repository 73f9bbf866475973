"""Does the fast checksum equal the RFC's, at every size and alignment?"""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.net.proto.checksum import (
    checksum,
    finish,
    is_valid,
    pseudo_header,
    sum_bytes,
    sum_parts,
    sum_pieces,
)


def by_the_book(data: bytes) -> int:
    """RFC 1071, 4.1: add words, fold the carries."""
    if len(data) % 2:
        data += b"\0"
    total = 0
    for at in range(0, len(data), 2):
        total += data[at] << 8 | data[at + 1]
        total = (total & 0xFFFF) + (total >> 16)
    return total


def test_the_example_of_rfc_1071() -> None:
    assert sum_bytes(bytes.fromhex("0001f203f4f5f6f7")) == 0xDDF2


@pytest.mark.parametrize("length", [1, 2, 3, 20, 1460, 1535, 1536, 1537, 1538, 1539, 9000, 65535])
def test_any_length_and_alignment(length: int) -> None:
    memory = os.urandom(length + 3)
    for start in range(3):
        piece = memoryview(memory)[start : start + length]
        assert sum_bytes(piece) == by_the_book(bytes(piece)) % 0xFFFF


def test_ones_and_zeros() -> None:
    assert checksum(b"\xff\xff" * 10) == 0
    assert checksum(b"\xff\xff" * 5000) == 0
    assert sum_bytes(bytes(4000)) == 0
    assert sum_bytes(b"") == 0


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_parts_are_as_one(parts: list[bytes]) -> None:
    assert sum_parts(parts) == sum_bytes(b"".join(parts))


@given(st.binary(max_size=300), st.integers(1, 40))
def test_pieces_are_each_as_alone(data: bytes, size: int) -> None:
    want = [sum_bytes(data[at : at + size]) for at in range(0, len(data), size)]
    assert sum_pieces(memoryview(data), size) == want


@given(st.binary(min_size=2, max_size=3000), st.integers(0, 0xFFFE))
def test_a_finished_message_is_valid(body: bytes, pseudo: int) -> None:
    message = finish(sum_bytes(body) + pseudo).to_bytes(2, "big") + body
    assert is_valid(message, pseudo)
    broken = bytearray(message)
    broken[1] ^= 0x10
    assert not is_valid(broken, pseudo)


@pytest.mark.parametrize("width", [4, 16])
def test_the_pseudo_header_is_that_of_the_rfcs(width: int) -> None:
    src, dst = os.urandom(width), os.urandom(width)
    if width == 4:
        header = src + dst + b"\0\x06" + (1234).to_bytes(2, "big")
    else:
        header = src + dst + (1234).to_bytes(4, "big") + b"\0\0\0\x06"
    assert pseudo_header(src, dst, 6, 1234) == sum_bytes(header)
