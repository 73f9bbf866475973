"""Routers: asked for, believed, and not believed when they cannot be routers."""

from __future__ import annotations

import os

import pytest

from bus.errors import PosixError
from services.net.ip.interface import Interface
from services.net.ip.routes import PROTOCOL_RA
from services.net.proto import address, ethernet, ipv6, ndp
from tests.net.ip.wire import MAC_A, MAC_B, SECOND, Station
from tests.net.proto.scapyoracle import Ether, ICMPv6ND_RS, IPv6, ip

ROUTER = ip("fe80::ff")
FAR = ip("2001:db8:ffff::1")
PREFIX = ip("2001:db8:7::")
OWN = PREFIX[:8] + address.interface_identifier(MAC_A)
BOTH_FLAGS = ndp.ON_LINK | ndp.AUTONOMOUS


def station() -> Station:
    made = Station(v4=None, v6=None)
    made.stack.set_up(made.eth.index, False)
    made.eth.accept_ra = True
    made.stack.set_up(made.eth.index, True)
    return made


def prefix(valid_s: int = 3600, preferred_s: int = 1800, flags: int = BOTH_FLAGS) -> ndp.Prefix:
    return ndp.Prefix(PREFIX, 64, flags, valid_s, preferred_s)


def advertise(
    one: Station,
    *prefixes: ndp.Prefix,
    lifetime_s: int = 1800,
    mtu: int = 0,
    src: bytes = ROUTER,
    hops: int = 255,
    hop_limit: int = 0,
    timers_ms: tuple[int, int] = (0, 0),
) -> None:
    news = ndp.Router(hop_limit, 0, lifetime_s, *timers_ms, MAC_B, mtu, prefixes)
    body = b"".join(ndp.advertise_router(news).encode(src, address.ALL_NODES, offload=False))
    head = ethernet.header(address.multicast_mac(address.ALL_NODES), MAC_B, ethernet.IPV6)
    one.hear(head + ipv6.header(src, address.ALL_NODES, 58, len(body), hops, 0) + body)


def reaches(one: Station, dst: bytes) -> bool:
    try:
        one.stack.route(dst)
    except PosixError:
        return False
    return True


def questions(one: Station) -> int:
    return sum(ICMPv6ND_RS in Ether(wire) for wire in one.said())


def test_routers_are_asked_for_three_times() -> None:
    one = station()
    (first,) = [Ether(wire) for wire in one.said() if ICMPv6ND_RS in Ether(wire)]
    assert (first.dst, first[IPv6].dst, first[IPv6].hlim) == ("33:33:00:00:00:02", "ff02::2", 255)
    assert first[IPv6].src == "fe80::5054:ff:fe00:1"
    one.pass_time(60 * SECOND)
    assert questions(one) == 2
    one.stack.set_up(one.eth.index, False)
    one.stack.set_up(one.eth.index, True)
    assert questions(one) == 1
    advertise(one)
    one.pass_time(60 * SECOND)
    assert questions(one) == 0


def test_a_router_gives_a_default_route_and_an_address() -> None:
    one = station()
    advertise(one, prefix(), hop_limit=33, mtu=1400, timers_ms=(20_000, 2_000))
    path = one.stack.route(FAR)
    assert (path.next_hop, path.source, path.mtu) == (ROUTER, OWN, 1400)
    assert one.stack.is_local(OWN)
    on_link = one.stack.route(PREFIX[:15] + b"\x09")
    assert on_link.next_hop == on_link.destination
    assert (one.eth.hop_limit, one.eth.reachable_ns) == (33, 20 * SECOND)
    assert one.eth.retransmit_ns == 2 * SECOND
    one.said()
    one.send_udp(OWN, FAR, b"x")
    assert one.said()[0][:6] == MAC_B  # the advertisement told the MAC address


def test_lifetimes_end() -> None:
    one = station()
    advertise(one, prefix(3600, 1800), lifetime_s=1000)
    one.pass_time(999 * SECOND)
    assert reaches(one, FAR)
    one.pass_time(2 * SECOND)
    assert not reaches(one, FAR)
    found = one.eth.find(OWN)
    assert found is not None
    one.pass_time(1000 * SECOND)
    assert found.preferred_until_ns < one.stack.now_ns < found.valid_until_ns
    one.pass_time(1700 * SECOND)
    assert one.eth.find(OWN) is None
    assert not reaches(one, PREFIX[:15] + b"\x09")


def test_a_router_retires() -> None:
    one = station()
    advertise(one)
    assert reaches(one, FAR)
    advertise(one, lifetime_s=0)
    assert not reaches(one, FAR)
    advertise(one, lifetime_s=0)


def test_a_neighbour_that_is_no_router_any_more() -> None:
    one = station()
    advertise(one)
    own = next(a.address for a in one.eth.addresses)
    message = ndp.advertise(ROUTER, MAC_B, ndp.OVERRIDE)
    body = b"".join(message.encode(ROUTER, own, offload=False))
    head = ethernet.header(MAC_A, MAC_B, ethernet.IPV6)
    one.hear(head + ipv6.header(ROUTER, own, 58, len(body), 255, 0) + body)
    assert not reaches(one, FAR)


def test_for_ever_is_for_ever() -> None:
    one = station()
    advertise(one, prefix(ndp.INFINITE_S, ndp.INFINITE_S), lifetime_s=100)
    one.pass_time(10**9 * SECOND)
    assert one.eth.find(OWN) is not None
    assert reaches(one, PREFIX[:15] + b"\x09")
    assert not reaches(one, FAR)


def test_a_forged_advertisement_does_not_end_an_address() -> None:
    one = station()
    advertise(one, prefix(86400, 86400))
    advertise(one, prefix(1, 1))
    one.pass_time(7100 * SECOND)
    assert one.eth.find(OWN) is not None  # two hours (RFC 4862 5.5.3 e)
    advertise(one, prefix(86400, 86400))
    one.pass_time(80000 * SECOND)
    assert one.eth.find(OWN) is not None


@pytest.mark.parametrize(
    "change", [{"src": ip("2001:db8::1")}, {"hops": 64}, {"src": ip("::")}, {"hops": 254}]
)
def test_what_is_not_from_a_router_on_the_link(change: dict[str, object]) -> None:
    one = station()
    advertise(one, prefix(), **change)
    assert not reaches(one, FAR)
    assert one.eth.find(OWN) is None
    assert one.stack.icmp6.InErrors == 1


@pytest.mark.parametrize(
    "told",
    [
        ndp.Prefix(ip("fe80::"), 64, BOTH_FLAGS, 100, 100),
        ndp.Prefix(ip("ff02::"), 64, BOTH_FLAGS, 100, 100),
        ndp.Prefix(PREFIX, 56, ndp.AUTONOMOUS, 100, 100),
        ndp.Prefix(PREFIX, 64, ndp.AUTONOMOUS, 100, 200),
        ndp.Prefix(PREFIX, 64, ndp.AUTONOMOUS, 0, 0),
        ndp.Prefix(PREFIX, 0, ndp.ON_LINK, 100, 100),
    ],
)
def test_prefixes_that_say_nothing(told: ndp.Prefix) -> None:
    one = station()
    advertise(one, told, lifetime_s=0)
    assert len(one.eth.addresses) == 1
    assert [route for route in one.stack.routes if route.protocol == PROTOCOL_RA] == []


def test_an_address_given_by_hand_is_left_alone() -> None:
    one = station()
    one.stack.add_address(one.eth.index, OWN, 64)
    advertise(one, prefix(10, 10))
    one.pass_time(100 * SECOND)
    assert one.eth.find(OWN) is not None


def test_a_flood_of_advertisements_is_bounded() -> None:
    one = station()
    for number in range(500):
        many = tuple(
            ndp.Prefix(b"\x20\x01" + os.urandom(6) + bytes(8), 64, BOTH_FLAGS, 9999, 9999)
            for _ in range(4)
        )
        advertise(one, *many, src=ip("fe80::1")[:14] + number.to_bytes(2, "big"))
    assert sum(route.protocol == PROTOCOL_RA for route in one.stack.routes) <= 32
    assert len(one.eth.addresses) <= 17
    assert len(one.stack.neighbours) <= 512
    one.stack.set_up(one.eth.index, False)
    assert len(list(one.stack.routes)) == 1  # lo's


def test_nonsense_parameters_are_not_taken() -> None:
    one = station()
    advertise(one, mtu=600, timers_ms=(4_000_000_000, 1))
    assert one.eth.mtu_v6 == 0
    assert (one.eth.reachable_ns, one.eth.retransmit_ns) == (30 * SECOND, SECOND)
    advertise(one, mtu=9000)
    assert one.eth.mtu_v6 == 0


def test_an_interface_that_does_not_listen() -> None:
    one = Station()
    advertise(one, prefix())
    assert one.eth.find(OWN) is None
    assert isinstance(one.eth, Interface)
