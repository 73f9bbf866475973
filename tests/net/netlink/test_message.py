"""Do messages survive the way to bytes and back, and does no buffer break the codec?"""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from bus.errors import PosixError
from services.net.netlink import abi, bytecode
from services.net.netlink.bytecode import Subject
from services.net.netlink.message import (
    Message,
    acknowledgement,
    attribute,
    attributes,
    encode,
    name,
    number,
    split,
    text,
)
from tests.net.proto.scapyoracle import ip

MESSAGES = st.builds(
    Message,
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.binary(max_size=40),
)


@given(st.lists(MESSAGES, max_size=5))
def test_messages_in_one_buffer(messages: list[Message]) -> None:
    data = b"".join(encode(*message) for message in messages)
    assert len(data) % 4 == 0
    assert list(split(data)) == messages


@given(st.dictionaries(st.integers(0, 0x3FFF), st.binary(max_size=20)))
def test_attributes(values: dict[int, bytes]) -> None:
    assert attributes(b"".join(attribute(*pair) for pair in values.items())) == values


@given(st.binary(max_size=80))
def test_rubbish_ends_early(data: bytes) -> None:
    assert sum(16 + len(message.body) for message in split(data)) <= len(data)
    attributes(data)
    try:
        bytecode.check(data)
    except PosixError:
        return
    bytecode.accepts(data, Subject(ip("1.2.3.4"), 5, ip("4.3.2.1"), 6, 0, False))


def test_values() -> None:
    assert number(None, 7) == 7
    assert number(b"\x01\x02\0\0") == 0x201
    assert name(b"eth0\0rest") == b"eth0"
    assert attributes(text(3, "lo")) == {3: b"lo\0"}


def test_an_acknowledgement_repeats_the_request_of_a_failure_alone() -> None:
    asked = Message(20, 5, 9, 0, b"payload!")
    (good,) = split(acknowledgement(asked, 4, 0, "", capped=False, extended=True))
    assert (good.type, good.flags, good.seq, good.pid) == (abi.NLMSG_ERROR, abi.F_CAPPED, 9, 4)
    assert len(good.body) == 20
    (bad,) = split(acknowledgement(asked, 4, 22, "No!", capped=False, extended=True))
    assert bad.flags == abi.F_ACK_TLVS
    assert struct.unpack_from("<i", bad.body)[0] == -22
    assert bad.body[20:28] == b"payload!"
    assert attributes(bad.body[28:]) == {abi.ERR_TEXT: b"No!\0"}
    (short,) = split(acknowledgement(asked, 4, 22, "No!", capped=True, extended=False))
    assert (short.flags, len(short.body)) == (abi.F_CAPPED, 20)
