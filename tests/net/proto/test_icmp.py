"""ICMP messages of both families against scapy, and what errors mean to sockets."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.net.proto import icmp, icmpv6
from services.net.proto.checksum import ChecksumError
from tests.net.proto.scapyoracle import ICMP, ICMPv6EchoRequest, IPv6, ip

V4 = ip("10.0.2.15"), ip("10.0.2.2")
V6 = ip("fe80::1"), ip("fe80::2")


@given(st.integers(0, 65535), st.integers(0, 65535), st.binary(max_size=300))
def test_echo_equals_scapys(ident: int, sequence: int, body: bytes) -> None:
    message = icmp.Message(icmp.ECHO, 0, ident << 16 | sequence, body)
    ours = b"".join(message.encode(*V4, offload=True))
    assert ours == bytes(ICMP(type=8, id=ident, seq=sequence) / body)
    message.type = icmpv6.ECHO
    ours = b"".join(message.encode(*V6, offload=True))
    theirs = IPv6(src="fe80::1", dst="fe80::2") / ICMPv6EchoRequest(
        id=ident, seq=sequence, data=body
    )
    assert ours == bytes(theirs)[40:]


@pytest.mark.parametrize("pair", [V4, V6])
def test_round_trip(pair: tuple[bytes, bytes]) -> None:
    wire = b"".join(icmp.Message(3, 4, 1400, b"quoted").encode(*pair, offload=False))
    back = icmp.decode(memoryview(wire), *pair, checked=False)
    assert (back.type, back.code, back.rest, bytes(back.body)) == (3, 4, 1400, b"quoted")
    broken = bytearray(wire)
    broken[9] ^= 1
    with pytest.raises(ChecksumError):
        icmp.decode(memoryview(broken), *pair, checked=False)
    assert icmp.decode(memoryview(broken), *pair, checked=True).type == 3
    with pytest.raises(ValueError, match="short"):
        icmp.decode(memoryview(wire[:7]), *pair, checked=True)


def test_errors_as_linux_tells_them() -> None:
    assert icmp.errno_of(3, 3) == (errno.ECONNREFUSED, True)
    assert icmp.errno_of(3, 1) == (errno.EHOSTUNREACH, False)
    assert icmp.errno_of(3, 200) == (errno.EHOSTUNREACH, True)
    assert icmp.errno_of(12, 0) == (errno.EPROTO, True)
    assert icmp.errno_of(4, 0) == (0, False)
    assert icmpv6.errno_of(1, 4) == (errno.ECONNREFUSED, True)
    assert icmpv6.errno_of(1, 0) == (errno.ENETUNREACH, False)
    assert icmpv6.errno_of(2, 0) == (errno.EMSGSIZE, False)
    assert icmpv6.errno_of(1, 77) == (errno.EPROTO, False)
