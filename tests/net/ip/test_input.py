"""What is taken from the wire, and what is dropped and counted?"""

from __future__ import annotations

import pytest

from services.net.proto import checksum, ethernet, icmp, ipv4, ipv6, udp
from services.net.proto.packet import Packet, Raw
from tests.net.ip.wire import A6, B6, MAC_A, MAC_B, A, B, Station
from tests.net.proto.scapyoracle import (
    ICMP,
    IP,
    TCP,
    UDP,
    Ether,
    IPOption,
    IPOption_LSRR,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrRouting,
    ip,
)

TO_US = {"dst": "52:54:00:00:00:01", "src": "52:54:00:00:00:02"}


def v4(body: object = None, to: dict[str, str] | None = None, **fields: object) -> bytes:
    """A frame of scapy's making."""
    head = IP(**{"src": "10.0.0.2", "dst": "10.0.0.1"} | fields)
    return bytes(Ether(**(to or TO_US)) / head / (body or UDP(sport=1, dport=2) / b"hello"))


def v6(body: object = None, to: dict[str, str] | None = None, **fields: object) -> bytes:
    """A frame of scapy's making."""
    head = IPv6(**{"src": "fd00::2", "dst": "fd00::1"} | fields)
    return bytes(Ether(**(to or TO_US)) / head / (body or UDP(sport=1, dport=2) / b"hello"))


def heard(frame: bytes, checked: bool = False) -> Station:
    station = Station()
    station.hear(frame, checked)
    return station


@pytest.mark.parametrize("make", [v4, v6])
def test_a_datagram_arrives_with_what_its_header_said(make: type[object]) -> None:
    fields = {"ttl": 9, "tos": 0x2E} if make is v4 else {"hlim": 9, "tc": 0x2E}
    station = heard(make(**fields) + bytes(7))  # and padding
    (packet,) = station.datagrams
    assert (packet.ttl, packet.tos, packet.ifindex) == (9, 0x2E, station.eth.index)
    assert bytes(packet.payload.data) == b"hello"
    assert station.eth.rx_packets == 1


@pytest.mark.parametrize(
    "source",
    ["127.0.0.1", "0.0.0.0", "0.1.2.3", "224.0.0.1", "255.255.255.255", "10.0.0.255", "10.0.0.1"],
)
def test_v4_sources_from_mars(source: str) -> None:
    station = heard(v4(src=source))
    assert station.datagrams == []
    assert station.stack.ip.InAddrErrors == 1
    assert station.said() == []


@pytest.mark.parametrize("target", ["127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.3", "8.8.8.8"])
def test_v4_not_for_us(target: str) -> None:
    station = heard(v4(dst=target))
    assert station.datagrams == []
    assert station.stack.ip.InAddrErrors == 1
    assert station.said() == []


@pytest.mark.parametrize("source", ["::1", "ff02::1", "fd00::1", "::ffff:127.0.0.1"])
def test_v6_sources_from_mars(source: str) -> None:
    station = heard(v6(src=source))
    assert station.datagrams == []
    assert station.stack.ip6.InAddrErrors == 1


@pytest.mark.parametrize(
    "target", ["::1", "::", "fd00::3", "ff01::1", "ff00::1", "::ffff:10.0.0.1"]
)
def test_v6_not_for_us(target: str) -> None:
    station = heard(v6(dst=target))
    assert station.datagrams == []
    assert station.stack.ip6.InAddrErrors == 1


def test_frames_for_others_are_not_ours() -> None:
    station = heard(v4(to={"dst": "52:54:00:00:00:09", "src": "52:54:00:00:00:02"}))
    assert station.datagrams == []
    station.stack.set_up(station.eth.index, False)
    station.hear(v4())
    station.stack.input(77, memoryview(v4()), False)
    assert station.datagrams == []
    assert station.eth.rx_packets == 1


def test_one_hosts_datagram_in_a_frame_to_all() -> None:
    everyone = {"dst": "ff:ff:ff:ff:ff:ff", "src": "52:54:00:00:00:02"}
    assert heard(v4(to=everyone)).datagrams == []
    assert heard(v6(to=everyone)).datagrams == []


def test_broadcasts() -> None:
    everyone = {"dst": "ff:ff:ff:ff:ff:ff", "src": "52:54:00:00:00:02"}
    for target in ("255.255.255.255", "10.0.0.255"):
        assert len(heard(v4(to=everyone, dst=target)).datagrams) == 1
        assert len(heard(v4(dst=target)).datagrams) == 1  # DHCP servers do that
        assert len(heard(v4(src="0.0.0.0", dst="255.255.255.255")).datagrams) == 1
        station = heard(v4(TCP(dport=80, flags="S"), to=everyone, dst=target))
        assert (station.stack.ip.InDiscards, station.said()) == (1, [])
        station = heard(v4(ICMP(), to=everyone, dst=target))
        assert station.said() == []  # no smurf


def test_groups_are_joined_and_left() -> None:
    station = Station()
    group = {"dst": "01:00:5e:01:02:03", "src": "52:54:00:00:00:02"}
    group6 = {"dst": "33:33:00:00:00:42", "src": "52:54:00:00:00:02"}
    frames = [v4(to=group, dst="239.1.2.3"), v6(to=group6, dst="ff02::42")]
    for frame in frames:
        station.hear(frame)
    assert station.datagrams == []
    assert station.eth.multicast == 2
    for address in (ip("239.1.2.3"), ip("ff02::42")):
        station.stack.join(station.eth.index, address)
        station.stack.join(station.eth.index, address)
        station.stack.leave(station.eth.index, address)
    for frame in frames:
        station.hear(frame)
    assert len(station.datagrams) == 2
    station.stack.leave(station.eth.index, ip("239.1.2.3"))
    station.hear(frames[0])
    assert len(station.datagrams) == 2


def test_broken_headers_are_counted() -> None:
    frame = bytearray(v4())
    frame[24] ^= 1
    station = heard(bytes(frame))
    assert station.stack.ip.InHdrErrors == 1
    station = heard(v6()[:50])
    assert station.stack.ip6.InHdrErrors == 1
    station = heard(b"short")
    assert station.eth.rx_errors == 1
    station = heard(ethernet.header(MAC_A, MAC_B, ethernet.IPV4)[:12] + b"\x88\xcc" + bytes(50))
    assert station.eth.rx_dropped == 1


def test_transport_checksums() -> None:
    frame = bytearray(v4())
    frame[-1] ^= 1
    station = heard(bytes(frame))
    assert station.datagrams == []
    assert (station.stack.udp.InErrors, station.stack.udp.InCsumErrors) == (1, 1)
    station = heard(bytes(frame), checked=True)
    assert len(station.datagrams) == 1
    frame = bytearray(v6(b"\x80\0\0\0\0\0\0\0", nh=58))
    station = heard(bytes(frame))
    assert (station.stack.icmp6.InErrors, station.stack.icmp6.InCsumErrors) == (1, 1)


def test_a_partial_checksum_from_a_peer_with_offload() -> None:
    body = b"".join(udp.Datagram(1, 2, b"hello").encode(B, A, offload=True))
    head = ethernet.header(MAC_A, MAC_B, ethernet.IPV4)
    frame = head + ipv4.header(B, A, 17, len(body), 64, 0, 0, 0) + body
    assert heard(frame, checked=True).datagrams
    assert not heard(frame).datagrams


def test_source_routes_are_dropped_and_other_options_passed() -> None:
    station = heard(v4(options=[IPOption_LSRR(routers=["10.0.0.1"])]))
    assert (station.datagrams, station.stack.ip.InHdrErrors) == ([], 1)
    assert len(heard(v4(options=[IPOption(b"\x94\x04\0\0")])).datagrams) == 1


def told(station: Station) -> bytes:
    """The ICMP message that was sent back, past its IP header, once ARP or ND are done."""
    (frame,) = [f for f in station.said() if f[12:14] != b"\x08\x06" and f[14 + 40] != 135]
    return frame[34:] if frame[12:14] == b"\x08\x00" else frame[54:]


def known(station: Station) -> Station:
    for address in (B, B6):
        station.stack.neighbours.set_permanent(station.eth, address, MAC_B)
    return station


def test_broken_options_are_told() -> None:
    station = known(Station())
    frame = v4(options=[IPOption(b"\x01\x44\x60\x05")])
    station.hear(frame)
    message = icmp.decode(memoryview(told(station)), A, B, checked=False)
    assert (message.type, message.rest >> 24) == (12, 21)
    assert bytes(message.body) == frame[14:]


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        (IPv6ExtHdrRouting(type=0, segleft=1, addresses=["fd00::9"]) / UDP(), 0, 42),
        (b"\x3b\0\xc9\x04\0\0\0\0", 2, 42),
        (b"\x3b\0\x89\x04\0\0\0\0", 2, 42),
    ],
)
def test_bad_extension_headers_are_told(body: object, code: int, pointer: int) -> None:
    station = known(Station())
    fields = {} if not isinstance(body, bytes) else {"nh": 60}
    station.hear(v6(body, **fields))
    message = icmp.decode(memoryview(told(station)), A6, B6, checked=False)
    assert (message.type, message.code, message.rest) == (4, code, pointer)


def test_bad_extension_headers_in_answers_are_not_told() -> None:
    station = known(Station())
    error = IPv6ExtHdrDestOpt(nh=58, options=[]) / bytes((1, 4, 0, 0, 0, 0, 0, 0))
    frame = bytearray(v6(error))
    frame[54 + 2 : 54 + 8] = b"\xc9\x04\0\0\0\0"  # an option that complains, before an error
    station.hear(bytes(frame))
    assert station.said() == []


def test_no_next_header_is_no_fault() -> None:
    station = known(Station())
    station.hear(v6(b"\0", nh=59))
    assert station.said() == []
    assert station.stack.ip6.InUnknownProtos == 1


def test_raw_listeners_see_all_and_may_take() -> None:
    station = known(Station())
    seen: list[tuple[int, bytes]] = []

    def listen(packet: Packet, data: bytes) -> bool:
        seen.append((packet.proto, data))
        return packet.proto == 200

    station.stack.raw_listeners.append(listen)
    frames = [v4(), v4(b"12345678", proto=200), v4(b"12345678", proto=201)]
    frames.append(v6(IPv6ExtHdrDestOpt() / UDP() / b"hello"))
    for frame in frames:
        station.hear(frame)
    assert [proto for proto, _ in seen] == [17, 200, 201, 17]
    assert seen[0][1] == frames[0][14:]
    assert seen[3][1] == ipv6.header(B6, A6, 17, 13, 64, 0) + frames[3][-13:]
    message = icmp.decode(memoryview(told(station)), A, B, checked=False)
    assert (message.type, message.code, message.body[9]) == (3, 2, 201)


def test_raw_listeners_see_loopback_as_it_would_be_on_a_wire() -> None:
    station = Station()
    seen: list[bytes] = []
    station.stack.raw_listeners.append(lambda _, data: bool(seen.append(data)))
    local = ip("127.0.0.1")
    station.send_udp(local, local, b"hello")
    station.pump()
    head = ipv4.decode(memoryview(seen[0]))
    assert checksum.is_valid(seen[0][:20])
    body = memoryview(seen[0])[head.start : head.end]
    assert udp.decode(body, local, local, checked=False).data == b"hello"


def test_bytes_sent_raw_on_loopback_are_decoded() -> None:
    station = Station()
    local = ip("127.0.0.1")
    wire = b"".join(udp.Datagram(1, 2, b"hello").encode(local, local, offload=False))
    for body in (wire, wire[:-1] + b"?", wire[:7]):
        station.stack.output(Packet(17, local, local, Raw(body)))
    station.pump()
    assert [bytes(packet.payload.data) for packet in station.datagrams] == [b"hello"]
    assert (station.stack.udp.InErrors, station.stack.udp.InCsumErrors) == (2, 1)


def test_what_a_transport_refuses_is_told_to_it() -> None:
    station = Station()
    refused: list[tuple[int, bool]] = []

    def refuse(data: memoryview, src: bytes, dst: bytes, checked: bool) -> Raw:
        raise checksum.ChecksumError if data[0] else ValueError

    station.stack.decoders[6] = refuse
    station.stack.protocols[6] = station.datagrams.append
    station.hear(v4(b"\1", proto=6))  # before anyone listens
    station.stack.on_malformed = lambda proto, bad: refused.append((proto, bad))
    station.hear(v4(b"\1", proto=6))
    station.hear(v4(b"\0", proto=6))
    assert station.stack.on_malformed is not None
    assert refused == [(6, True), (6, False)]


def test_the_frame_may_change_after_it_was_taken() -> None:
    station = Station()
    memory = bytearray(v4())
    station.stack.input(station.eth.index, memoryview(memory), False)
    memory[:] = bytes(len(memory))
    assert bytes(station.datagrams[0].payload.data) == b"hello"
