"""IPv4 and IPv6 headers against scapy's, options and extension headers, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.net.proto import ipv4, ipv6
from services.net.proto.checksum import ChecksumError
from services.net.proto.ipheader import ParameterProblem
from tests.net.proto.scapyoracle import (
    IP,
    UDP,
    IPOption,
    IPOption_LSRR,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    ip,
)

SRC, DST = "192.0.2.7", "198.51.100.9"
SRC6, DST6 = "2001:db8::7", "2001:db8::9"
BYTE = st.integers(0, 255)


@given(BYTE, BYTE, BYTE, st.integers(0, 65535), st.integers(0, 0x1FFF), st.integers(0, 3))
def test_v4_equals_scapys(
    proto: int, ttl: int, tos: int, ident: int, offset: int, flags: int
) -> None:
    ours = ipv4.header(ip(SRC), ip(DST), proto, 80, ttl, tos, ident, flags << 13 | offset)
    theirs = IP(
        src=SRC, dst=DST, proto=proto, ttl=ttl, tos=tos, id=ident, frag=offset, flags=flags, len=100
    )
    assert ours == bytes(theirs)
    head = ipv4.decode(memoryview(ours + bytes(90)))
    assert (head.src, head.dst, head.proto) == (ip(SRC), ip(DST), proto)
    assert (head.ttl, head.tos, head.ident) == (ttl, tos, ident)
    assert (head.start, head.end, head.fragment_at) == (20, 100, offset * 8)
    assert (head.dont_fragment, head.more_fragments) == (flags & 2 != 0, flags & 1 != 0)


@given(BYTE, BYTE, BYTE)
def test_v6_equals_scapys(proto: int, ttl: int, tos: int) -> None:
    ours = ipv6.header(ip(SRC6), ip(DST6), proto, 33, ttl, tos)
    assert ours == bytes(IPv6(src=SRC6, dst=DST6, nh=proto, hlim=ttl, tc=tos, plen=33))


def test_v4_options_are_skipped() -> None:
    wire = bytes(IP(src=SRC, dst=DST, options=[IPOption(b"\x94\x04\0\0")]) / UDP() / b"hello")
    head = ipv4.decode(memoryview(wire))
    assert (head.start, head.end, head.proto) == (24, 24 + 8 + 5, 17)


def test_v4_source_routes_are_refused() -> None:
    wire = bytes(IP(src=SRC, dst=DST, options=[IPOption_LSRR(routers=["10.0.0.1"])]) / UDP())
    with pytest.raises(ValueError, match="source route"):
        ipv4.decode(memoryview(wire))


def test_v4_broken_options_point_at_themselves() -> None:
    wire = bytes(IP(src=SRC, dst=DST, options=[IPOption(b"\x01\x44\x60\x05")]) / UDP())
    with pytest.raises(ParameterProblem) as caught:
        ipv4.decode(memoryview(wire))
    assert caught.value.pointer == 21


@pytest.mark.parametrize(
    ("at", "value"), [(0, 0x65), (0, 0x44), (0, 0x4F), (2, 0xFF), (3, 19), (8, 0)]
)
def test_v4_refuses(at: int, value: int) -> None:
    wire = bytearray(bytes(IP(src=SRC, dst=DST) / UDP()))
    wire[at] = value
    with pytest.raises(ValueError):  # noqa: PT011
        ipv4.decode(memoryview(wire))


def test_v4_checksum_is_checked() -> None:
    wire = bytearray(bytes(IP(src=SRC, dst=DST) / UDP()))
    wire[13] ^= 2
    with pytest.raises(ChecksumError):
        ipv4.decode(memoryview(wire))


def test_v6_extension_headers_are_walked() -> None:
    wire = bytes(
        IPv6(src=SRC6, dst=DST6)
        / IPv6ExtHdrHopByHop()
        / IPv6ExtHdrRouting(type=0, segleft=0, addresses=["::9"])
        / IPv6ExtHdrDestOpt()
        / UDP()
        / b"hello"
    )
    head = ipv6.decode(memoryview(wire + b"padding"))
    assert (head.proto, head.start, head.end) == (17, 40 + 8 + 24 + 8, len(wire))


def test_v6_routing_header_zero_is_refused() -> None:
    wire = IPv6(src=SRC6, dst=DST6) / IPv6ExtHdrRouting(type=0, segleft=1, addresses=["::9"])
    with pytest.raises(ParameterProblem) as caught:
        ipv6.decode(memoryview(bytes(wire / UDP())))
    assert (caught.value.pointer, caught.value.code) == (42, 0)


def test_v6_hop_by_hop_comes_first() -> None:
    wire = IPv6(src=SRC6, dst=DST6) / IPv6ExtHdrDestOpt() / IPv6ExtHdrHopByHop() / UDP()
    with pytest.raises(ParameterProblem) as caught:
        ipv6.decode(memoryview(bytes(wire)))
    assert (caught.value.pointer, caught.value.code) == (40, 1)


@pytest.mark.parametrize(
    ("option", "told", "even_to_group"),
    [(0x1E, None, False), (0x5E, False, False), (0x9E, True, True), (0xDE, True, False)],
)
def test_v6_unknown_options_say_what_to_do(
    option: int, told: bool | None, even_to_group: bool
) -> None:
    wire = bytearray(bytes(IPv6(src=SRC6, dst=DST6) / IPv6ExtHdrDestOpt() / UDP()))
    wire[42:48] = bytes((option, 4, 1, 2, 3, 4))
    if told is None:
        assert ipv6.decode(memoryview(wire)).proto == 17
        return
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        ipv6.decode(memoryview(wire))
    problem = caught.value
    assert isinstance(problem, ParameterProblem) == told
    if isinstance(problem, ParameterProblem):
        assert (problem.pointer, problem.code) == (42, 2)
        assert problem.even_to_group == even_to_group


def test_v6_fragment_header() -> None:
    wire = bytes(
        IPv6(src=SRC6, dst=DST6) / IPv6ExtHdrFragment(nh=17, id=77, offset=3, m=1) / bytes(16)
    )
    head = ipv6.decode(memoryview(wire))
    assert (head.proto, head.start, head.ident) == (17, 48, 77)
    assert (head.fragment_at, head.more_fragments) == (24, True)
    assert wire[40:48] == ipv6.fragment_header(17, 77, 24, more=True)


def test_v6_an_atomic_fragment_is_walked_through() -> None:
    wire = bytes(IPv6(src=SRC6, dst=DST6) / IPv6ExtHdrFragment(id=77) / IPv6ExtHdrDestOpt() / UDP())
    head = ipv6.decode(memoryview(wire))
    assert (head.proto, head.start, head.more_fragments, head.fragment_at) == (17, 56, False, 0)


@pytest.mark.parametrize(
    ("fragment", "pointer", "code"),
    [
        (IPv6ExtHdrFragment(nh=17, offset=3, m=1) / bytes(15), 4, 0),
        (IPv6ExtHdrFragment(nh=17, offset=8191, m=0) / bytes(16), 42, 0),
        (IPv6ExtHdrFragment(nh=6, offset=0, m=1) / bytes(16), 40, 3),
        (IPv6ExtHdrFragment(nh=60, offset=0, m=1) / bytes((6, 9)) / bytes(14), 40, 3),
    ],
)
def test_v6_refuses_fragments(fragment: object, pointer: int, code: int) -> None:
    with pytest.raises(ParameterProblem) as caught:
        ipv6.decode(memoryview(bytes(IPv6(src=SRC6, dst=DST6) / fragment)))
    assert (caught.value.pointer, caught.value.code) == (pointer, code)


@pytest.mark.parametrize("proto", [0, 43, 44, 60])
def test_v6_headers_cut_short(proto: int) -> None:
    wire = ipv6.header(ip(SRC6), ip(DST6), proto, 7, 64, 0) + bytes(7)
    with pytest.raises(ValueError, match="short"):
        ipv6.decode(memoryview(wire))


def test_v6_header_chains_are_bounded() -> None:
    chain = bytes((60, 0, 1, 4, 0, 0, 0, 0)) * 20
    wire = ipv6.header(ip(SRC6), ip(DST6), 60, len(chain), 64, 0) + chain
    with pytest.raises(ValueError, match="too many"):
        ipv6.decode(memoryview(wire))


@given(st.binary(max_size=200), st.sampled_from([0, 43, 44, 60, 17]))
def test_v6_junk_is_a_value_error_at_worst(junk: bytes, proto: int) -> None:
    wire = ipv6.header(ip(SRC6), ip(DST6), proto, len(junk), 64, 0) + junk
    try:
        head = ipv6.decode(memoryview(wire))
    except ValueError:
        return
    assert 40 <= head.start <= head.end == len(wire)


@given(st.binary(max_size=80))
def test_v4_junk_is_a_value_error_at_worst(junk: bytes) -> None:
    try:
        head = ipv4.decode(memoryview(b"\x46" + junk))
    except ValueError:
        return
    assert 20 <= head.start <= head.end
