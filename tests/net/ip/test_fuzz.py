"""Can anything on the wire raise, or make a table grow without bound?"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.net.ip import neighbour, reassembly
from services.net.proto import address, arp, ethernet, ipv4, ipv6, ndp
from services.net.proto.icmp import Message
from tests.net.ip.wire import A6, B6, MAC_A, MAC_B, SECOND, A, B, Station
from tests.net.proto.scapyoracle import (
    ICMP,
    IP,
    TCP,
    UDP,
    Ether,
    IPOption,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)

ETH = Ether(dst="52:54:00:00:00:01", src="52:54:00:00:00:02")
V4, V6 = IP(src="10.0.0.2", dst="10.0.0.1"), IPv6(src="fd00::2", dst="fd00::1")


def v6_frame(message: Message, src: bytes = B6, dst: bytes = A6) -> bytes:
    body = b"".join(message.encode(src, dst, offload=False))
    head = ethernet.header(MAC_A, MAC_B, ethernet.IPV6)
    return head + ipv6.header(src, dst, 58, len(body), 255, 0) + body


ROUTER = ndp.Router(
    64, 0, 1800, 0, 0, MAC_B, 1400, (ndp.Prefix(A6[:8] + bytes(8), 64, 0xC0, 100, 100),)
)
CORPUS = [
    bytes(ETH / V4 / UDP(sport=1, dport=2) / b"hello"),
    bytes(ETH / V4 / TCP(flags="S", options=[("MSS", 1460)])),
    bytes(ETH / V4 / ICMP() / b"ping"),
    bytes(ETH / V4 / ICMP(type=3, code=4) / IP(src="10.0.0.1", dst="10.0.0.9") / UDP() / b"x"),
    bytes(ETH / IP(src="10.0.0.2", dst="10.0.0.1", options=[IPOption(b"\x44\x08\x05\0\0\0\0\0")])),
    bytes(ETH / IP(src="10.0.0.2", dst="10.0.0.1", flags="MF") / UDP() / bytes(16)),
    bytes(ETH / IP(src="10.0.0.2", dst="10.0.0.1", frag=3) / bytes(24)),
    bytes(ETH / V6 / UDP(sport=1, dport=2) / b"hello"),
    bytes(ETH / V6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / UDP() / b"x"),
    bytes(ETH / V6 / IPv6ExtHdrRouting(segleft=1, addresses=["fd00::9"]) / UDP() / b"x"),
    bytes(ETH / V6 / IPv6ExtHdrFragment(m=1) / UDP() / bytes(16)),
    v6_frame(Message(128, 0, 1, b"ping")),
    v6_frame(Message(2, 0, 1300, bytes(ETH / V6 / UDP() / bytes(8))[14:])),
    v6_frame(ndp.solicit(A6, MAC_B)),
    v6_frame(ndp.advertise(B6, MAC_B, ndp.OVERRIDE)),
    v6_frame(ndp.advertise_router(ROUTER), b"\xfe\x80" + bytes(13) + b"\xff"),
    ethernet.header(MAC_A, MAC_B, ethernet.ARP) + arp.Arp(arp.REQUEST, MAC_B, B, MAC_A, A).encode(),
    ethernet.header(MAC_A, MAC_B, ethernet.ARP) + arp.Arp(arp.REPLY, MAC_B, B, MAC_A, A).encode(),
]

QUICK = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def new_station() -> Station:
    made = Station()
    made.eth.accept_ra = True
    made.stack.protocols[17] = made.stack.unreachable
    made.stack.raw_listeners.append(lambda packet, data: False)
    made.send_udp(A, B, b"waits")
    made.send_udp(A6, B6, b"waits")
    return made


@pytest.fixture(scope="module")
def station() -> Station:
    """One for all examples: what has piled up is part of the test."""
    return new_station()


def is_bounded(one: Station) -> None:
    stack = one.stack
    assert len(stack.neighbours) <= neighbour.MAX_NEIGHBOURS
    assert stack._input.fragments.held_bytes <= reassembly.MAX_BYTES
    assert len(stack._input.fragments) <= reassembly.MAX_DATAGRAMS
    assert len(one.eth.addresses) <= 64
    assert len(stack.timers) <= 3000
    one.sent.clear()
    one.errors.clear()


@QUICK
@given(st.binary(max_size=200), st.booleans())
def test_junk(station: Station, junk: bytes, checked: bool) -> None:
    station.hear(junk, checked)
    station.hear(CORPUS[0][:14] + junk, checked)
    station.hear(CORPUS[7][:14] + junk, checked)
    is_bounded(station)


@QUICK
@given(
    st.sampled_from(CORPUS),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4),
    st.integers(0, 200),
    st.booleans(),
    st.integers(0, 3 * SECOND),
)
def test_mutated_frames(
    station: Station,
    frame: bytes,
    changes: list[tuple[int, int]],
    cut: int,
    checked: bool,
    pass_ns: int,
) -> None:
    wire = bytearray(frame)
    for at, value in changes:
        wire[at % len(wire)] = value
    if cut < len(wire):
        del wire[len(wire) - cut % 40 :]
    station.hear(bytes(wire), checked)
    if wire[12:14] == b"\x08\x00" and len(wire) >= 34:  # once more, behind a good header checksum
        start = (wire[14] & 15) << 2
        wire[24:26] = bytes(2)
        total = -int.from_bytes(wire[14 : 14 + start], "big") % 0xFFFF
        wire[24:26] = total.to_bytes(2, "big")
        station.hear(bytes(wire), checked)
    station.pass_time(pass_ns)
    station.pump()
    is_bounded(station)


@QUICK
@given(
    st.sampled_from([1, 2, 6, 17, 58, 0, 43, 44, 60, 59, 255]),
    st.binary(max_size=120),
    st.integers(0, 0xFFFF),
    st.booleans(),
)
def test_good_headers_before_junk(
    station: Station, proto: int, body: bytes, fragment: int, checked: bool
) -> None:
    head = ethernet.header(MAC_A, MAC_B, ethernet.IPV4)
    station.hear(head + ipv4.header(B, A, proto, len(body), 64, 0, 7, fragment) + body, checked)
    head = ethernet.header(MAC_A, MAC_B, ethernet.IPV6)
    station.hear(head + ipv6.header(B6, A6, proto, len(body), 255, 0) + body, checked)
    extension = ipv6.fragment_header(proto, 7, fragment & 0xFFF8, fragment & 1 == 1)
    wire = head + ipv6.header(B6, A6, 44, len(body) + 8, 255, 0) + extension + body
    station.hear(wire, checked)
    is_bounded(station)


@QUICK
@given(st.integers(128, 160), st.integers(0, 2**32 - 1), st.binary(max_size=120))
def test_discovery_of_all_kinds(station: Station, kind: int, rest: int, body: bytes) -> None:
    for src in (B6, b"\xfe\x80" + bytes(14), bytes(16)):
        for dst in (A6, address.ALL_NODES):
            wire = bytearray(v6_frame(Message(kind, 0, rest, body), src, dst))
            if dst != A6:
                wire[:6] = address.multicast_mac(dst)
            station.hear(bytes(wire))
    is_bounded(station)


def test_after_all_that_it_still_works(station: Station) -> None:
    station.pass_time(40 * SECOND)
    station.said()
    station.stack.neighbours.set_permanent(station.eth, B, MAC_B)
    station.stack.protocols[17] = station.datagrams.append
    station.hear(CORPUS[0])
    assert len(station.datagrams) == 1
    station.hear(CORPUS[2])
    (reply,) = [Ether(wire) for wire in station.said() if ICMP in Ether(wire)]
    assert reply[ICMP].type == 0
    assert len(station.stack._input.fragments) == 0
