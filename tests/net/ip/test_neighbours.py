"""Are neighbours found, kept, probed and given up as they should be, and are storms survived?"""

from __future__ import annotations

import errno

import pytest

from services.net.ip import neighbour as nud
from services.net.proto import address, arp, ethernet, icmpv6, ipv6, ndp
from services.net.proto.icmp import Message
from services.net.proto.packet import Packet
from tests.net.ip.wire import A6, B6, MAC_A, MAC_B, SECOND, A, B, Station, pair
from tests.net.proto.scapyoracle import ARP, Ether, ICMPv6ND_NA, ICMPv6ND_NS, IPv6, ip

MAC_C = bytes.fromhex("525400000003")
BROADCAST = b"\xff" * 6
BOTH = pytest.mark.parametrize(("src", "dst"), [(A, B), (A6, B6)], ids=["v4", "v6"])


def arp_frame(
    operation: int,
    sender: bytes,
    target: bytes,
    mac: bytes = MAC_B,
    to: bytes = MAC_A,
) -> bytes:
    message = arp.Arp(operation, mac, sender, to, target)
    return ethernet.header(to, mac, ethernet.ARP) + message.encode()


def nd_frame(
    station: Station, message: Message, src: bytes, dst: bytes, mac: bytes, hops: int = 255
) -> bytes:
    """The frame another station would send."""
    body = b"".join(message.encode(src, dst, offload=False))
    to = address.multicast_mac(dst) if address.is_multicast(dst) else station.eth.mac
    head = ethernet.header(to, mac, ethernet.IPV6)
    return head + ipv6.header(src, dst, 58, len(body), hops, 0) + body


def advertise(
    station: Station, target: bytes, mac: bytes, flags: int = ndp.SOLICITED | ndp.OVERRIDE
) -> None:
    """Let the station hear who has an address, by the protocol of its family."""
    own = A if len(target) == 4 else A6
    if len(target) == 4:
        station.hear(arp_frame(arp.REPLY, target, own, mac))
    else:
        message = ndp.advertise(target, mac, flags)
        station.hear(nd_frame(station, message, target, own, mac))


def entry(station: Station, address: bytes) -> nud.Neighbour:
    found = station.stack.neighbours.get(station.eth, address)
    assert found is not None
    return found


def test_arp_asks_everyone_and_frames_wait_in_order() -> None:
    station = Station()
    for number in range(5):
        station.send_udp(A, B, bytes([number]))
    (question,) = station.said()
    want = Ether(dst="ff:ff:ff:ff:ff:ff", src="52:54:00:00:00:01") / ARP(
        op=1, hwsrc="52:54:00:00:00:01", psrc="10.0.0.1", hwdst="00:00:00:00:00:00", pdst="10.0.0.2"
    )
    assert question == bytes(want)
    assert entry(station, B).state == nud.INCOMPLETE
    station.hear(arp_frame(arp.REPLY, B, A))
    frames = station.said()
    assert [frame[-1] for frame in frames] == list(range(5))
    assert all(frame[:14] == ethernet.header(MAC_B, MAC_A, ethernet.IPV4) for frame in frames)
    assert entry(station, B).state == nud.REACHABLE
    assert station.eth.tx_packets >= 6


def test_nd_asks_the_solicited_node_group() -> None:
    station = Station()
    station.send_udp(A6, B6, b"hello")
    (question,) = [Ether(frame) for frame in station.said()]
    assert question.dst == "33:33:ff:00:00:02"
    assert question[IPv6].dst == "ff02::1:ff00:2"
    assert question[IPv6].src == "fd00::1"
    assert question[IPv6].hlim == 255
    assert question[ICMPv6ND_NS].tgt == "fd00::2"
    advertise(station, B6, MAC_B)
    (frame,) = station.said()
    assert frame[:6] == MAC_B
    assert entry(station, B6).state == nud.REACHABLE


@BOTH
def test_nobody_answers(src: bytes, dst: bytes) -> None:
    station = Station()
    for _ in range(3):
        station.send_udp(src, dst, b"x" * 5000)  # fragments: told once each
    assert len(station.said()) == 1
    station.pass_time(2 * SECOND)
    assert len(station.said()) == 2
    assert station.errors == []
    station.pass_time(SECOND)
    assert [error.errno for error in station.errors] == [errno.EHOSTUNREACH] * 3
    assert station.errors[0].data[:4] == b"\x03\xe8\x07\xd0"
    assert entry(station, dst).state == nud.FAILED
    assert not entry(station, dst).pending
    assert station.said() == []
    station.send_udp(src, dst, b"again")
    assert len(station.said()) == 1
    assert entry(station, dst).state == nud.INCOMPLETE


@BOTH
def test_the_life_of_a_neighbour(src: bytes, dst: bytes) -> None:
    station = Station()
    station.send_udp(src, dst, b"1")
    advertise(station, dst, MAC_B)
    one = entry(station, dst)
    station.pass_time(46 * SECOND)  # at most one and a half times thirty
    station.said()
    station.send_udp(src, dst, b"2")
    assert one.state == nud.DELAY
    assert len(station.said()) == 1
    station.pass_time(5 * SECOND)
    assert one.state == nud.PROBE
    (probe,) = station.said()
    assert probe[:6] == MAC_B  # asked directly
    station.send_udp(src, dst, b"3")
    assert len(station.said()) == 1  # used meanwhile
    advertise(station, dst, MAC_B)
    assert one.state == nud.REACHABLE
    station.pass_time(46 * SECOND)
    station.send_udp(src, dst, b"4")
    station.pass_time(8 * SECOND)
    assert one.state == nud.FAILED
    assert len(station.said()) == 1 + 3


def test_a_transport_confirms() -> None:
    station = Station()
    station.send_udp(A, B, b"1")
    advertise(station, B, MAC_B)
    path = station.stack.route(B)
    for _ in range(10):
        station.pass_time(20 * SECOND)
        station.stack.output(Packet(200, A, B, Message(1, 2)), path)
        station.stack.confirm(path)
        assert entry(station, B).state == nud.REACHABLE
    assert all(ethernet.decode(frame)[2] != ethernet.ARP for frame in station.said()[1:])


def test_addresses_are_announced() -> None:
    station = Station()
    station.stack.add_address(station.eth.index, ip("10.9.0.1"), 16)
    station.stack.add_address(station.eth.index, ip("fd09::1"), 64)
    gratuitous, advertisement = [Ether(frame) for frame in station.said()]
    assert gratuitous.dst == "ff:ff:ff:ff:ff:ff"
    assert (gratuitous[ARP].psrc, gratuitous[ARP].pdst) == ("10.9.0.1", "10.9.0.1")
    assert advertisement.dst == "33:33:00:00:00:01"
    assert (advertisement[ICMPv6ND_NA].tgt, advertisement[ICMPv6ND_NA].S) == ("fd09::1", 0)


def test_questions_for_us_are_answered_and_learnt_from() -> None:
    station = Station()
    station.hear(arp_frame(arp.REQUEST, B, A, to=BROADCAST))
    (answer,) = [Ether(frame) for frame in station.said()]
    assert answer.dst == "52:54:00:00:00:02"
    assert (answer[ARP].op, answer[ARP].psrc, answer[ARP].hwsrc) == (
        2,
        "10.0.0.1",
        "52:54:00:00:00:01",
    )
    assert entry(station, B).state == nud.STALE
    question = ndp.solicit(A6, MAC_B)
    station.hear(nd_frame(station, question, B6, A6, MAC_B))
    (answer,) = [Ether(frame) for frame in station.said()]
    assert answer[IPv6].dst == "fd00::2"
    assert (answer[ICMPv6ND_NA].tgt, answer[ICMPv6ND_NA].S) == ("fd00::1", 1)
    assert entry(station, B6).state == nud.DELAY  # the answer used it


def test_probes_for_duplicates_are_answered_and_not_learnt() -> None:
    station = Station()
    station.hear(arp_frame(arp.REQUEST, ip("0.0.0.0"), A, to=BROADCAST))
    assert len(station.said()) == 1
    question = ndp.solicit(A6, None)
    group = ip("ff02::1:ff00:1")
    station.hear(nd_frame(station, question, ip("::"), group, MAC_B))
    (answer,) = [Ether(frame) for frame in station.said()]
    assert answer[IPv6].dst == "ff02::1"
    assert answer[ICMPv6ND_NA].S == 0
    assert len(station.stack.neighbours) == 0


@pytest.mark.parametrize(
    "frame",
    [
        arp_frame(arp.REQUEST, B, ip("10.0.0.9"), to=BROADCAST),  # for somebody else
        arp_frame(arp.REQUEST, B, ip("127.0.0.1"), to=BROADCAST),
        arp_frame(arp.REQUEST, ip("127.0.0.1"), A, to=BROADCAST),
        arp_frame(arp.REQUEST, ip("224.0.0.1"), A, to=BROADCAST),
        arp_frame(arp.REQUEST, B, A, mac=b"\x01\0\0\0\0\1", to=BROADCAST),
        arp_frame(arp.REQUEST, B, A, mac=bytes(6), to=BROADCAST),
        arp_frame(arp.REQUEST, A, A, to=BROADCAST),  # claims to be us
        arp_frame(arp.REPLY, B, A),  # nobody asked
        arp_frame(arp.REPLY, B, B, to=BROADCAST),
        arp_frame(arp.REQUEST, B, A, to=BROADCAST)[:40],
    ],
)
def test_what_neither_asks_us_nor_answers_us_changes_nothing(frame: bytes) -> None:
    station = Station()
    station.hear(frame)
    assert station.said() == []
    assert len(station.stack.neighbours) == 0


def test_a_lie_is_probed_before_it_is_believed() -> None:
    station = Station()
    station.send_udp(A, B, b"1")
    advertise(station, B, MAC_B)
    advertise(station, B, MAC_C)  # within a second: the first counts
    assert entry(station, B).mac == MAC_B
    assert entry(station, B).state == nud.REACHABLE
    station.pass_time(2 * SECOND)
    advertise(station, B, MAC_C)
    assert (entry(station, B).mac, entry(station, B).state) == (MAC_C, nud.STALE)
    station.send_udp(A, B, b"2")
    station.pass_time(5 * SECOND)
    station.said()
    assert entry(station, B).state == nud.PROBE
    advertise(station, B, MAC_B)  # the probe's answer is believed
    assert (entry(station, B).mac, entry(station, B).state) == (MAC_B, nud.REACHABLE)


def test_an_advertisement_without_override_only_casts_doubt() -> None:
    station = Station()
    station.send_udp(A6, B6, b"1")
    advertise(station, B6, MAC_B)
    station.pass_time(2 * SECOND)
    advertise(station, B6, MAC_C, ndp.SOLICITED)
    assert (entry(station, B6).mac, entry(station, B6).state) == (MAC_B, nud.STALE)


@pytest.mark.parametrize("hops", [254, 64, 1])
def test_discovery_from_beyond_the_link_is_ignored(hops: int) -> None:
    station = Station()
    station.hear(nd_frame(station, ndp.solicit(A6, MAC_B), B6, A6, MAC_B, hops))
    assert station.said() == []
    assert station.stack.icmp6.InErrors == 1


def test_a_storm_of_questions_fills_half_the_table_at_most() -> None:
    station = Station()
    station.send_udp(A, B, b"1")
    advertise(station, B, MAC_B)
    station.said()
    for number in range(3000):
        sender = bytes((10, 0, 1 + number // 250, number % 250))
        station.hear(arp_frame(arp.REQUEST, sender, A, mac=MAC_C, to=BROADCAST))
    assert len(station.stack.neighbours) == nud.MAX_LEARNT
    assert len(station.said()) == 3000
    assert entry(station, B).state == nud.REACHABLE


def test_asking_for_everyone_is_bounded() -> None:
    station = Station()
    station.stack.add_address(station.eth.index, ip("10.77.0.1"), 16)
    station.send_udp(A, B, b"1")
    advertise(station, B, MAC_B)
    for number in range(5000):
        station.stack.now_ns += 1000
        if number % 100 == 0:
            station.send_udp(A, B, b"still in use")
        dst = bytes((10, 77, number >> 8, number & 0xFF))
        if not station.stack.is_local(dst) and not station.stack.is_broadcast(dst):
            station.send_udp(A, dst, bytes(1400))
    neighbours = station.stack.neighbours
    assert len(neighbours) <= nud.MAX_NEIGHBOURS
    assert neighbours._pending_bytes <= nud.MAX_PENDING_BYTES
    assert entry(station, B).state == nud.REACHABLE
    assert station.eth.tx_dropped > 0
    station.pass_time(10 * SECOND)
    assert neighbours._pending_bytes == 0
    assert station.stack.next_deadline_ns is None


def test_what_waits_for_one_is_bounded_and_the_oldest_goes() -> None:
    station = Station()
    for number in range(nud.MAX_PENDING_FRAMES + 10):
        station.send_udp(A, B, bytes([number]))
    station.said()
    advertise(station, B, MAC_B)
    frames = station.said()
    assert len(frames) == nud.MAX_PENDING_FRAMES
    assert frames[0][-1] == 10
    assert station.stack.neighbours._pending_bytes == 0


def test_a_path_outlives_its_neighbour() -> None:
    station = Station()
    path = station.stack.route(B)
    station.stack.output(Packet(200, A, B, Message(1, 2)), path)
    advertise(station, B, MAC_B)
    assert station.stack.neighbours.remove(station.eth, B)
    assert not station.stack.neighbours.remove(station.eth, B)
    station.said()
    station.stack.output(Packet(200, A, B, Message(1, 2)), path)
    assert len(station.said()) == 1
    assert entry(station, B) is path.neighbour


def test_neighbours_by_fiat() -> None:
    station = Station()
    station.stack.neighbours.set_permanent(station.eth, B, MAC_C)
    advertise(station, B, MAC_B)
    station.hear(arp_frame(arp.REQUEST, B, A, to=BROADCAST))
    station.said()
    station.send_udp(A, B, b"1")
    assert station.said()[0][:6] == MAC_C
    assert [one.state for one in station.stack.neighbours.entries()] == [nud.PERMANENT]
    station.stack.set_up(station.eth.index, False)
    assert station.stack.neighbours.entries() == []


def test_an_answer_within_the_question_is_taken() -> None:
    """A peer in the same call chain, as a gateway in this process is."""
    left, right, _ = pair()
    left.to = lambda frame: right.hear(b"".join(frame.parts))
    right.to = lambda frame: left.hear(b"".join(frame.parts))
    left.send_udp(A, B, b"x" * 5000)
    left.send_udp(A6, B6, b"x" * 5000)
    assert [len(packet.payload.data) for packet in right.datagrams] == [5000, 5000]


def test_redirects_are_ignored() -> None:
    station = Station()
    message = Message(icmpv6.REDIRECT, 0, 0, B6 + ip("fd00::99"))
    station.hear(nd_frame(station, message, ip("fe80::1"), A6, MAC_B))
    assert station.stack.route(B6).next_hop == B6
    assert station.stack.icmp6.as_dict()["InRedirects"] == 1
