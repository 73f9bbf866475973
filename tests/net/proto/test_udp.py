"""Are datagrams what scapy makes of them, and what is broken refused?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.net.proto import checksum, udp
from tests.net.proto.scapyoracle import IP, UDP, IPv6, ip

V4 = ip("10.0.2.15"), ip("10.0.2.2")
V6 = ip("fe80::1"), ip("fe80::2")
PORTS = st.integers(0, 65535)


@given(PORTS, PORTS, st.binary(max_size=2000), st.sampled_from([V4, V6]))
def test_encoding_equals_scapys(
    source: int, target: int, data: bytes, pair: tuple[bytes, bytes]
) -> None:
    ours = b"".join(udp.Datagram(source, target, data).encode(*pair, offload=False))
    header = IPv6(src="fe80::1", dst="fe80::2")
    if len(pair[0]) == 4:
        header = IP(src="10.0.2.15", dst="10.0.2.2")
    theirs = bytes(header / UDP(sport=source, dport=target) / data)
    assert ours == theirs[-len(ours) :]
    again = udp.decode(memoryview(ours), *pair, checked=False)
    assert (again.source_port, again.target_port, bytes(again.data)) == (source, target, data)


def test_a_computed_zero_is_sent_as_ones() -> None:
    bare = udp.Datagram(0, 0, b"\0\0").encode(*V4, offload=False)
    filler = bare[0][6:8]
    datagram = udp.Datagram(0, 0, bytes(filler))
    assert datagram.encode(*V4, offload=False)[0][6:8] == b"\xff\xff"


def test_offload_leaves_the_pseudo_header() -> None:
    (head, _) = udp.Datagram(1, 2, b"abc").encode(*V4, offload=True)
    assert int.from_bytes(head[6:8], "big") == checksum.pseudo_header(*V4, 17, 11)


def test_no_checksum_is_for_ipv4_alone() -> None:
    wire = memoryview(b"".join(udp.Datagram(1, 2, b"abc", unchecked=True).encode(*V4, False)))
    assert wire[6:8] == b"\0\0"
    assert udp.decode(wire, *V4, checked=False).data == b"abc"
    with pytest.raises(checksum.ChecksumError):
        udp.decode(wire, *V6, checked=False)


def test_padding_is_cut_off() -> None:
    wire = b"".join(udp.Datagram(1, 2, b"abc").encode(*V4, offload=False)) + b"pad"
    assert udp.decode(memoryview(wire), *V4, checked=False).data == b"abc"


@pytest.mark.parametrize("at", range(11))
def test_a_flipped_bit_is_noticed(at: int) -> None:
    wire = bytearray(b"".join(udp.Datagram(1, 2, b"abc").encode(*V4, offload=False)))
    wire[at] ^= 0x40
    with pytest.raises(ValueError):  # noqa: PT011
        udp.decode(memoryview(wire), *V4, checked=False)


@pytest.mark.parametrize("wire", [b"", b"1234567", b"\0\1\0\2\0\7\0\0", b"\0\1\0\2\0\x09\0\0"])
def test_bad_lengths(wire: bytes) -> None:
    with pytest.raises(ValueError, match="UDP"):
        udp.decode(memoryview(wire), *V4, checked=True)


def test_too_long() -> None:
    with pytest.raises(ValueError, match="long"):
        udp.Datagram(1, 2, bytes(udp.MAX_DATA_BYTES + 1)).encode(*V4, offload=True)
