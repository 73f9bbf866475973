"""Frames of every kind with their bytes changed: does anything raise, or anything pile up?

scapy makes good ones of every kind that the stack knows; hypothesis changes bytes, cuts, and joins
them. Half come with "checksum known to be good", as from a card, so that damage gets behind the
checksums. One server hears all of them, and what has piled up is part of the test.
"""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6NDOptPrefixInfo,
    ICMPv6NDOptSrcLLAddr,
    ICMPv6PacketTooBig,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

from tests.net.hostile import invariants
from tests.net.hostile.world import SECOND, Wire

ETHER = Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:aa")
V4 = ETHER / IP(src="10.0.0.200", dst="10.0.0.1")
ENDS = {"src": "10.0.0.200", "dst": "10.0.0.1"}
V6 = ETHER / IPv6(src="fd00::c8", dst="fd00::1")
OPTIONS = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 7)]
SACK = [("NOP", None), ("NOP", None), ("SAck", (1, 2, 5, 9))]
QUOTED4 = IP(src="10.0.0.1", dst="10.0.0.2") / TCP(sport=7, dport=40_000)
QUOTED6 = IPv6(src="fd00::1", dst="fd00::2") / UDP(sport=7, dport=9)
TO_SEVEN = {"sport": 4000, "dport": 7}
PACKETS: list[Packet] = [
    V4 / TCP(**TO_SEVEN, flags="S", options=OPTIONS),
    V4 / TCP(**TO_SEVEN, flags="PA", seq=1, ack=1, options=SACK) / Raw(b"data"),
    V4 / TCP(**TO_SEVEN, flags="FPU", urgptr=3) / Raw(b"tree"),
    V4 / TCP(**TO_SEVEN, flags="R"),
    V4 / UDP(**TO_SEVEN) / Raw(b"hello"),
    V4 / UDP(sport=4000, dport=8) / Raw(b"nobody"),
    V4 / ICMP() / Raw(b"ping"),
    V4 / ICMP(type=3, code=4, nexthopmtu=600) / QUOTED4,
    V4 / ICMP(type=3, code=3) / QUOTED4,
    V4 / ICMP(type=11) / QUOTED4,
    V4 / ICMP(type=5, gw="10.0.0.9") / QUOTED4,
    ETHER
    / IP(src="10.0.0.200", dst="10.0.0.1", options=[IPOption(b"\x07\x07\x04\0\0\0\0")])
    / UDP(),
    ETHER
    / IP(src="10.0.0.200", dst="10.0.0.1", flags="MF", id=7)
    / UDP(**TO_SEVEN)
    / Raw(bytes(16)),
    ETHER / IP(**ENDS, frag=3, id=7) / Raw(bytes(24)),
    ETHER / IP(src="10.0.0.200", dst="255.255.255.255") / UDP(**TO_SEVEN) / Raw(b"all"),
    ETHER / IP(src="10.0.0.200", dst="224.0.0.1") / UDP(**TO_SEVEN) / Raw(b"some"),
    V6 / TCP(**TO_SEVEN, flags="S", options=OPTIONS),
    V6 / UDP(**TO_SEVEN) / Raw(b"hello"),
    V6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / UDP(**TO_SEVEN) / Raw(b"x"),
    V6 / IPv6ExtHdrRouting(segleft=1, addresses=["fd00::9"]) / UDP(**TO_SEVEN),
    V6 / IPv6ExtHdrFragment(m=1, id=5) / UDP(**TO_SEVEN) / Raw(bytes(16)),
    V6 / IPv6ExtHdrFragment(offset=3, id=5) / Raw(bytes(16)),
    V6 / ICMPv6EchoRequest(data=b"ping"),
    V6 / ICMPv6PacketTooBig(mtu=1280) / QUOTED6,
    V6 / ICMPv6DestUnreach(code=4) / QUOTED6,
    V6 / ICMPv6ND_NS(tgt="fd00::1") / ICMPv6NDOptSrcLLAddr(lladdr="02:00:00:00:00:aa"),
    V6 / ICMPv6ND_NA(tgt="fd00::c8", O=1),
    V6 / ICMPv6ND_RA() / ICMPv6NDOptPrefixInfo(prefix="fd01::", prefixlen=64),
    ETHER / ARP(op=1, psrc="10.0.0.200", hwsrc="02:00:00:00:00:aa", pdst="10.0.0.1"),
    ETHER / ARP(op=2, psrc="10.0.0.200", hwsrc="02:00:00:00:00:aa", pdst="10.0.0.1"),
]
for _packet in PACKETS:
    if ICMPv6ND_NS in _packet or ICMPv6ND_NA in _packet or ICMPv6ND_RA in _packet:
        _packet[IPv6].hlim = 255
CORPUS = [bytes(packet) for packet in PACKETS]

CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["set", "cut", "grow", "join"]), st.integers(0, 2000), st.integers(0, 255)
    ),
    max_size=6,
)


def changed(frame: bytes, changes: list[tuple[str, int, int]]) -> bytes:
    """The frame after some changes; addresses of the link and EtherType stay."""
    made = bytearray(frame)
    for kind, where, value in changes:
        at = 14 + where % max(len(made) - 14, 1)
        if kind == "set" and at < len(made):
            made[at] = value
        elif kind == "cut":
            del made[at:]
        elif kind == "grow":
            made += bytes((value,)) * (where % 1400)
        else:
            made += CORPUS[value % len(CORPUS)][14:]
    return bytes(made[:1514])


@pytest.fixture(scope="module")
def wire() -> Wire:
    return Wire()


def test_good_frames_are_taken_as_such(wire: Wire) -> None:
    """A corpus that nobody understands would test nothing."""
    stack, tcp = wire.server.network.stack, wire.server.network.tcp
    for frame in CORPUS:
        wire.attack(frame)
    wire.settle()
    assert stack.udp.InDatagrams >= 2
    assert stack.icmp.InMsgs >= 4
    assert tcp.counters["InSegs"] > 5
    assert tcp.counters["InErrs"] == 0


@settings(
    max_examples=1500,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.integers(0, len(CORPUS) - 1), CHANGES, st.booleans(), st.sampled_from([0, 1, 3000]))
def test_changed_frames(
    wire: Wire, which: int, changes: list[tuple[str, int, int]], checked: bool, ms: int
) -> None:
    server = wire.server
    frame = changed(CORPUS[which], changes)
    server.network.stack.input(server.eth.index, memoryview(frame), checked)
    server.network.settle()
    wire.settle()
    if ms:
        wire.pass_time(ms * SECOND // 1000)
    invariants.check(server.network)


def test_others_are_unharmed(wire: Wire) -> None:
    """After all that."""
    wire.check_bystanders()
    wire.check_newcomer()


def test_every_prefix_and_every_byte(wire: Wire) -> None:
    """Each frame cut at each place, and each byte of each header set to extremes."""
    for frame in CORPUS:
        wire.attack(*(frame[:size] for size in range(len(frame))))
        wire.settle()
        for at, value in itertools.product(
            range(14, min(len(frame), 94)), (0, 1, 0x7F, 0x80, 0xFF)
        ):
            wire.attack(frame[:at] + bytes((value,)) + frame[at + 1 :])
        wire.settle()
        wire.pass_time(SECOND)
        invariants.check(wire.server.network)
    wire.check_bystanders()
    wire.check_newcomer()
