"""Do frames leave as they should: offload, segments, fragments, groups, path MTUs?"""

from __future__ import annotations

import errno
import os

import pytest

from bus.errors import PosixError
from services.net.proto import checksum, gso, ipv4, udp
from services.net.proto.packet import GSO_TCPV4, GSO_TCPV6, Packet, Part, Raw
from tests.net.ip.wire import A6, B6, MAC_A, MAC_B, SECOND, A, B, Station
from tests.net.proto.scapyoracle import IP, TCP, UDP, Ether, ip

BOTH = pytest.mark.parametrize(("src", "dst"), [(A, B), (A6, B6)], ids=["v4", "v6"])


class Segment:
    """TCP as the stack sees it."""

    checksum_at = 16

    def __init__(self, data: bytes, gso_bytes: int = 0) -> None:
        self.head = bytes(TCP(sport=1, dport=2, seq=100, options=[("NOP", None)] * 4))
        self.data = data
        self.gso_bytes = gso_bytes

    @property
    def size_bytes(self) -> int:
        return len(self.head) + len(self.data)

    def encode(self, src: bytes, dst: bytes, offload: bool) -> list[Part]:
        total = checksum.pseudo_header(src, dst, 6, len(self.head) + len(self.data))
        head = bytearray(self.head)
        head[16:18] = bytes(2)
        if not offload:
            total = checksum.finish(total + checksum.sum_parts([bytes(head), self.data]))
        head[16:18] = total.to_bytes(2, "big")
        return [bytes(head), self.data]


def station(mtu: int = 1500, *, offload: bool = False, gso: bool = False) -> Station:
    made = Station(MAC_A, mtu, offload=offload, gso=gso)
    for address in (B, B6):
        made.stack.neighbours.set_permanent(made.eth, address, MAC_B)
    return made


def tcp_is_valid(frame: bytes) -> bool:
    at = 34 if frame[12:14] == b"\x08\x00" else 54
    addresses = frame[26:34] if at == 34 else frame[22:54]
    pseudo = checksum.pseudo_header(addresses, b"", 6, len(frame) - at)
    return checksum.is_valid(frame[at:], pseudo) and (at == 54 or checksum.is_valid(frame[14:34]))


@BOTH
@pytest.mark.parametrize("offload", [False, True])
def test_checksums_are_left_to_who_offers(src: bytes, dst: bytes, offload: bool) -> None:
    one = station(offload=offload)
    one.stack.output(Packet(6, src, dst, Segment(b"odd", 1000)))  # fits into one segment
    one.stack.output(Packet(6, src, dst, Segment(b"odd")))
    for frame in one.sent:
        start = 34 if len(src) == 4 else 54
        assert frame.checksum_start == (start if offload else -1)
        assert frame.gso_type == 0
        if offload:
            assert frame.checksum_at == 16
        assert tcp_is_valid(b"".join(gso.complete(frame).parts))
    assert len(one.sent) == 2


@BOTH
@pytest.mark.parametrize(("offload", "can"), [(False, False), (True, False), (True, True)])
def test_segments_are_cut_by_whoever_can(src: bytes, dst: bytes, offload: bool, can: bool) -> None:
    one = station(offload=offload, gso=can)
    data = os.urandom(10_500)
    counters = one.stack.ip if len(src) == 4 else one.stack.ip6
    before = counters.OutRequests, counters.OutTransmits
    one.stack.output(Packet(6, src, dst, Segment(data, 1000), dont_fragment=True))
    one.send_udp(src, dst, b"after")
    *frames, after = one.sent
    if can:
        (frame,) = frames
        start = 34 if len(src) == 4 else 54
        assert frame.gso_type == (GSO_TCPV4 if len(src) == 4 else GSO_TCPV6)
        assert (frame.checksum_start, frame.checksum_at) == (start, 16)
        assert (frame.gso_bytes, frame.header_bytes) == (1000, start + 24)
        frames = gso.split(frame)
    wires = [Ether(b"".join(frame.parts)) for frame in frames]
    assert len(wires) == 11
    assert all(tcp_is_valid(bytes(wire)) for wire in wires)
    assert b"".join(bytes(wire[TCP].payload) for wire in wires) == data
    if len(src) == 4:
        names = [wire[IP].id for wire in wires] + [Ether(b"".join(after.parts))[IP].id]
        assert [(name - names[0]) & 0xFFFF for name in names] == list(range(12))
        assert all(wire[IP].flags == "DF" for wire in wires)
    assert (counters.OutRequests - before[0], counters.OutTransmits - before[1]) == (2, 12)


@BOTH
def test_not_to_be_fragmented(src: bytes, dst: bytes) -> None:
    one = station()
    payload = udp.Datagram(1, 2, bytes(1473))
    with pytest.raises(PosixError) as caught:
        one.stack.output(Packet(17, src, dst, payload, dont_fragment=True))
    assert caught.value.errno == errno.EMSGSIZE
    assert one.sent == []


@BOTH
def test_longer_than_ip_can_tell(src: bytes, dst: bytes) -> None:
    for payload in (Raw(bytes(65536)), Segment(bytes(65536), 1000)):
        with pytest.raises(PosixError) as caught:
            station(offload=True, gso=True).stack.output(Packet(6, src, dst, payload))
        assert caught.value.errno == errno.EMSGSIZE


def test_fragments_as_scapy_reads_them() -> None:
    one = station(offload=True)
    data = os.urandom(4000)
    one.send_udp(A, B, data)
    parts = [Ether(wire)[IP] for wire in one.said()]
    assert [part.frag for part in parts] == [0, 185, 370]
    assert [str(part.flags) for part in parts] == ["MF", "MF", ""]
    assert len({part.id for part in parts}) == 1
    whole = b"".join(bytes(part.payload) for part in parts)
    assert whole == bytes(UDP(sport=1000, dport=2000, chksum=int.from_bytes(whole[6:8])) / data)
    assert udp.decode(memoryview(whole), A, B, checked=False).data == data
    assert (one.stack.ip.FragOKs, one.stack.ip.FragCreates) == (1, 3)


@BOTH
def test_a_smaller_path_mtu_is_kept_for_ten_minutes(src: bytes, dst: bytes) -> None:
    one = station()
    path = one.stack.route(dst)
    one.stack.update_path_mtu(dst, 1300)
    assert path.generation != one.stack.generation
    assert one.stack.route(dst).mtu == 1300
    one.stack.update_path_mtu(dst, 1400)  # it never grows by being told
    one.stack.output(Packet(17, src, dst, udp.Datagram(1, 2, bytes(1400))), path)
    assert all(len(wire) <= 1314 for wire in one.said())
    one.stack.update_path_mtu(dst, 68)
    assert one.stack.route(dst).mtu == (552 if len(dst) == 4 else 1280)
    one.pass_time(601 * SECOND)
    assert one.stack.route(dst).mtu == 1500


def test_path_mtus_are_bounded() -> None:
    one = station()
    one.stack.add_address(one.eth.index, ip("10.77.0.1"), 16)
    for number in range(1, 3000):
        one.stack.now_ns += 1000
        one.stack.update_path_mtu(bytes((10, 77, number >> 8, number & 0xFF)), 1000)
        one.stack.route(bytes((10, 77, number >> 8, number & 0xFF)))
    one.stack.update_path_mtu(ip("192.0.2.1"), 1000)  # no way there
    one.stack.update_path_mtu(ip("127.0.0.1"), 1000)
    assert len(one.stack.router._exceptions) <= 1024
    assert len(one.stack.router._paths) <= 2048
    assert one.stack.route(ip("127.0.0.1")).mtu == 65536
    one.pass_time(601 * SECOND)
    assert len(one.stack.router._exceptions) == 0


@pytest.mark.parametrize(
    ("group", "mac"), [("239.1.2.3", "01005e010203"), ("ff02::42", "333300000042")]
)
def test_groups_get_it_here_and_on_the_wire(group: str, mac: str) -> None:
    one = Station()
    dst, src = ip(group), A if "." in group else A6
    one.send_udp(src, dst, b"1")
    one.pump()
    assert one.datagrams == []
    one.stack.join(one.eth.index, dst)
    one.send_udp(src, dst, b"2")
    packet = Packet(17, src, dst, udp.Datagram(1, 2, b"3"))
    packet.loops = False
    one.stack.output(packet)
    one.stack.output(Packet(17, src, dst, udp.Datagram(1, 2, b"4"), ttl=0))
    one.pump()
    assert [bytes(packet.payload.data) for packet in one.datagrams] == [b"2", b"4"]
    assert {packet.ifindex for packet in one.datagrams} == {one.eth.index}
    assert [(wire[:6].hex(), wire[-1:]) for wire in one.said()] == [
        (mac, b"1"),
        (mac, b"2"),
        (mac, b"3"),
    ]


@pytest.mark.parametrize("target", ["255.255.255.255", "10.0.0.255"])
def test_broadcast_reaches_everyone_and_ourselves(target: str) -> None:
    one = Station()
    one.stack.output(Packet(17, A, ip(target), udp.Datagram(1, 2, b"all"), ifindex=one.eth.index))
    one.pump()
    assert [wire[:6] for wire in one.said()] == [b"\xff" * 6]
    assert len(one.datagrams) == 1


def test_big_datagrams_to_groups_are_cut_and_looped_whole() -> None:
    one = Station()
    group = ip("239.1.2.3")
    one.stack.join(one.eth.index, group)
    one.send_udp(A, group, bytes(4000))
    one.pump()
    assert len(one.said()) == 3
    assert [len(packet.payload.data) for packet in one.datagrams] == [4000]


@pytest.mark.parametrize("local", ["127.0.0.1", "127.3.2.1", "10.0.0.1", "::1", "fd00::1"])
def test_own_addresses_are_reached_inside(local: str) -> None:
    one = Station()
    address = ip(local)
    payload = udp.Datagram(1, 2, b"x")
    packet = Packet(17, one.stack.route(address).source, address, payload)
    one.stack.output(packet)
    assert one.stack.has_loopback
    one.pump()
    assert one.said() == []
    assert [(p.payload is payload, p.ifindex) for p in one.datagrams] == [(True, 1)]
    assert not one.stack.has_loopback


def test_groups_on_loopback_need_members() -> None:
    one = Station()
    group, local = ip("239.1.2.3"), ip("127.0.0.1")
    one.stack.output(Packet(17, local, group, udp.Datagram(1, 2, b"x"), ifindex=1))
    one.pump()
    assert one.datagrams == []
    one.stack.join(1, group)
    one.stack.output(Packet(17, local, group, udp.Datagram(1, 2, b"x"), ifindex=1))
    one.pump()
    assert len(one.datagrams) == 1


def test_loopback_is_bounded_and_pumped_in_batches() -> None:
    one = Station()
    local = ip("127.0.0.1")
    for _ in range(1500):
        one.send_udp(local, local, b"x")
    assert one.stack.pump()
    assert len(one.datagrams) == 64
    one.pump()
    assert len(one.datagrams) == 1000
    assert one.stack.loopback.rx_dropped == 500


def test_a_loop_of_answers_does_not_hold_the_pump() -> None:
    one = Station()
    local = ip("127.0.0.1")

    def again(packet: Packet) -> None:
        one.send_udp(local, local, b"x")

    one.stack.protocols[17] = again
    one.send_udp(local, local, b"x")
    assert one.stack.pump()


def test_a_forged_source_still_finds_a_way() -> None:
    one = station()
    one.stack.output(Packet(200, ip("192.0.2.77"), B, Raw(b"x")))
    assert ipv4.decode(memoryview(one.said()[0])[14:]).src == ip("192.0.2.77")


def test_an_answer_without_a_way_is_no_ones_fault() -> None:
    one = Station()

    def answer(packet: Packet) -> None:
        one.send_udp(packet.dst, ip("192.0.2.1"), b"x")

    one.stack.protocols[17] = answer
    local = ip("127.0.0.1")
    one.send_udp(local, local, b"x")
    one.pump()
    assert one.stack.ip.OutNoRoutes == 1
