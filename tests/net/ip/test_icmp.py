"""Echo, errors that come and errors that go; and how many go."""

from __future__ import annotations

import errno

import pytest

from services.net.ip.limits import ErrorLimit, TokenBucket
from services.net.proto import ethernet, icmp, icmpv6, ipv4, ipv6, udp
from services.net.proto.icmp import Message
from services.net.proto.packet import Packet, Raw
from tests.net.ip.wire import A6, B6, MAC_A, MAC_B, SECOND, A, B, Station
from tests.net.proto.scapyoracle import ICMP, IP, UDP, Ether, ip

BOTH = pytest.mark.parametrize(("src", "dst"), [(A, B), (A6, B6)], ids=["v4", "v6"])
ROUTER, ROUTER6 = ip("10.0.0.254"), ip("fd00::fe")


def station() -> Station:
    made = Station()
    for address in (B, B6, ROUTER, ROUTER6):
        made.stack.neighbours.set_permanent(made.eth, address, MAC_B)
    return made


def frame(src: bytes, dst: bytes, message: Message) -> bytes:
    """The message as it comes from the wire."""
    body = b"".join(message.encode(src, dst, offload=False))
    if len(src) == 4:
        head = ipv4.header(src, dst, 1, len(body), 64, 0, 0, 0)
        return ethernet.header(MAC_A, MAC_B, ethernet.IPV4) + head + body
    head = ipv6.header(src, dst, 58, len(body), 64, 0)
    return ethernet.header(MAC_A, MAC_B, ethernet.IPV6) + head + body


def quote(src: bytes, dst: bytes, proto: int = 17, body: bytes = b"\0\1\0\2\0\x09\0\0x") -> bytes:
    """A datagram as a router quotes it."""
    if len(src) == 4:
        return ipv4.header(src, dst, proto, len(body), 9, 0, 0, 0x4000) + body
    return ipv6.header(src, dst, proto, len(body), 9, 0) + body


@BOTH
def test_errors_reach_the_transport(src: bytes, dst: bytes) -> None:
    one = station()
    kind, router = (3, ROUTER) if len(src) == 4 else (1, ROUTER6)
    one.hear(frame(router, src, Message(kind, 0, 0, quote(src, dst))))
    (error,) = one.errors
    assert (error.type, error.code, error.mtu, error.family) == (kind, 0, 0, 2 if kind == 3 else 10)
    assert (error.src, error.dst, error.offender, error.proto) == (src, dst, router, 17)
    assert (error.errno, error.fatal) == (errno.ENETUNREACH, False)
    assert error.data == b"\0\1\0\2\0\x09\0\0x"


@pytest.mark.parametrize(("told", "mtu"), [(1400, 1400), (0, 1492), (70000, 4464)])
def test_the_mtu_of_a_path_v4(told: int, mtu: int) -> None:
    one = station()
    body = quote(A, B, body=bytes(1480))
    one.hear(frame(ROUTER, A, Message(3, 4, told, body[:200])))
    if told:
        assert one.errors[0].mtu == mtu
        return
    # The quotation tells how long the datagram was.
    assert one.errors[0].mtu == 1492


@pytest.mark.parametrize(("told", "mtu"), [(1400, 1400), (0, 1280), (1279, 1280)])
def test_the_mtu_of_a_path_v6(told: int, mtu: int) -> None:
    one = station()
    one.hear(frame(ROUTER6, A6, Message(2, 0, told, quote(A6, B6))))
    assert (one.errors[0].mtu, one.errors[0].errno) == (mtu, errno.EMSGSIZE)


def test_quotations_behind_extension_headers() -> None:
    one = station()
    chain = bytes((17, 0, 1, 4, 0, 0, 0, 0)) + b"\0\1\0\2\0\x09\0\0"
    one.hear(frame(ROUTER6, A6, Message(1, 4, 0, quote(A6, B6, 60, chain))))
    fragment = ipv6.fragment_header(17, 1, 8, more=False) + b"\0\1\0\2\0\x09\0\0"
    one.hear(frame(ROUTER6, A6, Message(1, 4, 0, quote(A6, B6, 44, fragment))))
    assert [(error.proto, error.data[:4]) for error in one.errors] == [(17, b"\0\1\0\2")]


@pytest.mark.parametrize(
    "message",
    [
        Message(3, 3, 0, quote(B, A)),  # not of ours
        Message(3, 3, 0, quote(A, B)[:27]),  # too short
        Message(3, 3, 0, quote(A, B)[:19]),
        Message(3, 3, 0, b"\x65" + quote(A, B)[1:]),
        Message(3, 3, 0, quote(A, B)[:6] + b"\0\1" + quote(A, B)[8:]),  # a later fragment
        Message(5, 0, 0x0A0000FE, quote(A, B)),  # a redirect
        Message(4, 0, 0, quote(A, B)),  # source quench (RFC 6633)
        Message(77, 0, 0, quote(A, B)),
        Message(0, 0, 0, quote(A, B)),
    ],
)
def test_what_is_no_error_about_us(message: Message) -> None:
    one = station()
    one.hear(frame(ROUTER, A, message))
    assert one.errors == []
    assert one.said() == []
    assert one.stack.icmp.InMsgs == 1


def heard_packet(src: bytes, dst: bytes, payload: object, proto: int, ifindex: int = 2) -> Packet:
    return Packet(proto, src, dst, payload, ifindex=ifindex)


@BOTH
def test_a_port_unreachable_quotes_what_came(src: bytes, dst: bytes) -> None:
    one = station()
    packet = heard_packet(dst, src, udp.Datagram(5, 6, bytes(2000)), 17)
    one.stack.unreachable(packet)
    (wire,) = one.said()
    at = 34 if len(src) == 4 else 54
    message = icmp.decode(memoryview(wire)[at:], src, dst, checked=False)
    assert (message.type, message.code) == ((3, 3) if len(src) == 4 else (1, 4))
    assert len(wire) - 14 == (576 if len(src) == 4 else 1280)
    assert message.body[at - 14 :][:4] == b"\0\5\0\6"


@pytest.mark.parametrize(
    ("src", "dst", "payload", "proto"),
    [
        (B, A, Message(3, 3), 1),
        (B, A, Message(11, 0), 1),
        (B, A, Raw(b"\x03\x03"), 1),
        (B, A, Raw(b""), 1),
        (B6, A6, Message(1, 4), 58),
        (B6, A6, Raw(b"\x01\x04"), 58),
        (B, ip("239.1.1.1"), Raw(b"x"), 17),
        (B, ip("10.0.0.255"), Raw(b"x"), 17),
        (B, ip("255.255.255.255"), Raw(b"x"), 17),
        (B6, ip("ff02::1"), Raw(b"x"), 17),
        (ip("0.0.0.0"), A, Raw(b"x"), 17),
        (ip("127.0.0.1"), ip("224.0.0.1"), Raw(b"x"), 17),
        (ip("240.0.0.1"), A, Raw(b"x"), 17),
        (ip("::"), A6, Raw(b"x"), 17),
        (ip("ff02::5"), A6, Raw(b"x"), 17),
    ],
)
def test_what_nobody_is_told_of(src: bytes, dst: bytes, payload: object, proto: int) -> None:
    one = station()
    one.stack.unreachable(heard_packet(src, dst, payload, proto))
    assert one.said() == []


def test_an_echo_request_may_be_complained_about() -> None:
    one = station()
    one.stack.unreachable(heard_packet(B, A, Message(8, 0), 1))
    one.stack.unreachable(heard_packet(B6, A6, Message(128, 0), 58))
    assert len(one.said()) == 2


def test_errors_are_limited_for_each_host_and_for_all() -> None:
    one = station()
    packet = heard_packet(B, A, udp.Datagram(5, 6, b""), 17)
    for _ in range(20):
        one.stack.unreachable(packet)
    assert len(one.said()) == 6
    assert one.stack.icmp.OutRateLimitHost == 14
    one.stack.now_ns += SECOND
    for _ in range(20):
        one.stack.unreachable(packet)
    assert len(one.said()) == 1
    for number in range(200):
        source = bytes((10, 0, 0, 3 + number))
        one.stack.neighbours.set_permanent(one.eth, source, MAC_B)
        one.stack.unreachable(heard_packet(source, A, udp.Datagram(5, 6, b""), 17))
    assert len(one.said()) <= 50
    counters = one.stack.icmp.as_dict()
    assert counters["OutRateLimitGlobal"] >= 150
    assert counters["OutDestUnreachs"] == counters["OutMsgs"]


def test_loopback_is_not_limited() -> None:
    one = Station()
    one.stack.protocols[17] = one.stack.unreachable
    local = ip("127.0.0.1")
    for _ in range(100):
        one.send_udp(local, local, b"x")
        one.pump()
    assert [error.errno for error in one.errors] == [errno.ECONNREFUSED] * 100


def test_the_limits_memory_is_bounded() -> None:
    limit = ErrorLimit()
    for number in range(5000):
        limit.refuses(number.to_bytes(4, "big"), number * SECOND)
    assert len(limit._hosts) == 1024


def test_a_bucket_fills_again() -> None:
    bucket = TokenBucket(10, 3)
    assert [bucket.take(0) for _ in range(4)] == [True, True, True, False]
    assert bucket.take(SECOND // 10)
    assert not bucket.take(SECOND // 10)
    assert [bucket.take(100 * SECOND) for _ in range(4)] == [True, True, True, False]


def test_echo_keeps_what_it_got() -> None:
    one = station()
    request = Ether(dst="52:54:00:00:00:01", src="52:54:00:00:00:02") / IP(
        src="10.0.0.2", dst="10.0.0.1", tos=0x20, ttl=3
    )
    one.hear(bytes(request / ICMP(id=77, seq=5) / b"payload"))
    (wire,) = one.said()
    reply = Ether(wire)
    assert (reply[IP].src, reply[IP].dst, reply[IP].ttl, reply[IP].tos) == (
        "10.0.0.1",
        "10.0.0.2",
        64,
        0x20,
    )
    assert bytes(reply[ICMP]) == bytes(ICMP(type=0, id=77, seq=5) / b"payload")
    counters = one.stack.icmp.as_dict()
    assert (counters["InEchos"], counters["OutEchoReps"]) == (1, 1)


def test_echo_of_a_group_is_answered_in_v6_by_an_own_address() -> None:
    one = station()
    message = Message(icmpv6.ECHO, 0, 1, b"who?")
    wire = bytearray(frame(B6, ip("ff02::1"), message))
    wire[:6] = bytes.fromhex("333300000001")
    one.hear(bytes(wire))
    (answer,) = one.said()
    assert answer[22:38] == A6


def test_echo_inside() -> None:
    one = Station()
    seen: list[tuple[int, bytes]] = []
    one.stack.raw_listeners.append(lambda packet, data: bool(seen.append((packet.proto, data))))
    for local in (ip("127.0.0.1"), ip("::1"), A, A6):
        one.ping(local, local)
        one.pump()
    kinds = [data[20 if proto == 1 else 40] for proto, data in seen]
    assert kinds == [8, 0, 128, 129, 8, 0, 128, 129]


def test_answers_without_a_way_back_are_counted() -> None:
    one = station()
    one.hear(frame(ip("192.0.2.1"), A, Message(8, 0, 1, b"x")))
    assert one.said() == []
    assert one.stack.icmp.OutErrors == 1


def test_v4_messages_over_v6_and_the_reverse_are_no_protocol() -> None:
    one = station()
    body = b"".join(Message(8, 0, 1, b"x").encode(A, B, offload=False))
    head = ethernet.header(MAC_A, MAC_B, ethernet.IPV6) + ipv6.header(B6, A6, 1, len(body), 64, 0)
    one.hear(head + body)
    assert one.stack.icmp.InMsgs == 0
    assert one.stack.ip6.InUnknownProtos == 1
    head = ethernet.header(MAC_A, MAC_B, ethernet.IPV4)
    one.hear(head + ipv4.header(B, A, 58, 24, 64, 0, 0, 0) + bytes(24))
    assert one.stack.icmp6.InMsgs == 0


def test_a_datagram_too_long_for_a_sockets_path_is_matched_by_its_ports() -> None:
    """The whole way: a router's answer to what we sent."""
    one = station()
    one.send_udp(A, B, b"x" * 1000)
    (wire,) = one.said()
    told = Message(3, 4, 1000, wire[14:][:576])
    one.hear(frame(ROUTER, A, told))
    (error,) = one.errors
    sent = Ether(wire)[UDP]
    assert error.data[:4] == sent.sport.to_bytes(2, "big") + sent.dport.to_bytes(2, "big")
    one.stack.update_path_mtu(error.dst, error.mtu)
    one.send_udp(A, B, b"x" * 1000)
    assert len(one.said()) == 2
