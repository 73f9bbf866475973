"""Which way, and from which address? Linux's `ip route get` is the model."""

from __future__ import annotations

import errno

import pytest

from bus.errors import PosixError
from services.net.ip.routes import PROTOCOL_KERNEL, Route
from services.net.ip.stack import Stack
from tests.net.ip.wire import A6, MAC_B, SECOND, A, B, Station
from tests.net.proto.scapyoracle import ip

ANY, ANY6 = ip("0.0.0.0"), ip("::")


def refused(number: int, stack: Stack, *args: object) -> None:
    with pytest.raises(PosixError) as caught:
        stack.route(*args)
    assert caught.value.errno == number


@pytest.fixture
def station() -> Station:
    made = Station()
    made.stack.add_route(Route(ANY, 0, 2, ip("10.0.0.254")))
    return made


def second(station: Station, v4: str, bits: int) -> int:
    eth = station.stack.add_interface(
        "eth1", MAC_B, 1400, lambda frame: None, offload=False, gso=False
    )
    station.stack.set_up(eth.index, True)
    station.stack.add_address(eth.index, ip(v4), bits)
    return eth.index


def test_on_the_link_and_beyond(station: Station) -> None:
    near, far = station.stack.route(B), station.stack.route(ip("8.8.8.8"))
    assert (near.source, near.next_hop, near.mtu, near.loopback) == (A, B, 1500, False)
    assert (far.source, far.next_hop, far.destination) == (A, ip("10.0.0.254"), ip("8.8.8.8"))
    assert station.stack.route(B) is near
    assert "8.8.8.8" not in repr(far)


def test_the_longest_prefix_then_the_lowest_metric(station: Station) -> None:
    stack = station.stack
    stack.add_route(Route(ip("20.0.0.0"), 8, 2, ip("10.0.0.3"), metric=5))
    stack.add_route(Route(ip("20.1.0.0"), 16, 2, ip("10.0.0.4"), metric=900))
    stack.add_route(Route(ip("20.1.0.0"), 16, 2, ip("10.0.0.5"), metric=100, mtu=1000))
    stack.add_route(Route(ip("20.1.2.3"), 32, 2, ip("10.0.0.6")))
    for target, hop in (("20.9.0.1", 3), ("20.1.0.1", 5), ("20.1.2.3", 6), ("21.0.0.1", 254)):
        assert stack.route(ip(target)).next_hop == bytes((10, 0, 0, hop))
    assert stack.route(ip("20.1.0.1")).mtu == 1000
    stack.remove_route(Route(ip("20.1.0.0"), 16, 2, ip("10.0.0.5"), metric=100))
    assert stack.route(ip("20.1.0.1")).next_hop == ip("10.0.0.4")


def test_loopback_addresses(station: Station) -> None:
    for target, source in (("127.0.0.1", "127.0.0.1"), ("127.9.9.9", "127.0.0.1")):
        path = station.stack.route(ip(target))
        assert (path.loopback, path.source, path.mtu) == (True, ip(source), 65536)
        assert path.interface.index == 1
    for target in (A, A6, ip("::1")):
        path = station.stack.route(target)
        assert (path.loopback, path.source, path.gso) == (True, target, False)
    assert station.stack.route(ANY).destination == ip("127.0.0.1")
    assert station.stack.route(ANY6).destination == ip("::1")
    assert station.stack.route(ANY, A).destination == A


def test_what_is_refused(station: Station) -> None:
    stack = station.stack
    refused(errno.ENETUNREACH, stack, ip("2001:db8::1"))
    refused(errno.EINVAL, stack, B, ip("10.0.0.77"))  # not ours
    refused(errno.EINVAL, stack, B, ip("127.0.0.1"))  # cannot leave
    refused(errno.EINVAL, stack, B, A6)
    refused(errno.EINVAL, stack, b"12345")
    refused(errno.ENODEV, stack, B, None, 77)
    refused(errno.ENETUNREACH, stack, ip("192.0.2.1"), None, 1)
    stack.add_route(Route(ip("30.0.0.0"), 8, 2, error=errno.EHOSTUNREACH))
    refused(errno.EHOSTUNREACH, stack, ip("30.1.1.1"))


def test_without_a_default_route() -> None:
    stack = Stack(bytes)
    refused(errno.ENETUNREACH, stack, ip("8.8.8.8"))
    refused(errno.ENETUNREACH, stack, ip("224.0.0.1"))
    refused(errno.ENETUNREACH, stack, ip("255.255.255.255"))
    refused(errno.ENETUNREACH, stack, ip("ff02::1"))
    assert stack.route(ip("127.0.0.1")).loopback


def test_an_interface_without_address_sends_from_nowhere() -> None:
    """As a DHCP client has to."""
    station = Station(v4=None)
    path = station.stack.route(ip("255.255.255.255"), None, station.eth.index)
    assert (path.source, path.group) == (ANY, True)


def test_bound_to_an_interface(station: Station) -> None:
    index = second(station, "10.1.0.1", 24)
    stack = station.stack
    stack.add_route(Route(ANY, 0, index, ip("10.1.0.254"), metric=10))
    assert stack.route(ip("8.8.8.8")).interface.index == 2
    path = stack.route(ip("8.8.8.8"), None, index)
    assert (path.interface.index, path.source, path.mtu) == (index, ip("10.1.0.1"), 1400)
    assert stack.route(ip("8.8.8.8"), ip("10.1.0.1")).source == ip("10.1.0.1")


def test_groups_leave_where_their_source_lives(station: Station) -> None:
    index = second(station, "10.1.0.1", 24)
    stack = station.stack
    for group in ("224.1.1.1", "255.255.255.255"):
        assert stack.route(ip(group)).interface.index == 2  # the default route
        assert stack.route(ip(group), ip("10.1.0.1")).interface.index == index
        assert stack.route(ip(group), None, index).source == ip("10.1.0.1")
    assert stack.route(ip("10.1.0.255")).interface.index == index
    assert not stack.route(ip("10.1.0.0")).group
    assert stack.route(ip("ff02::1")).interface.index == 2
    assert stack.route(ip("127.255.255.255")).loopback


def test_sources_of_the_next_hops_network(station: Station) -> None:
    stack = station.stack
    stack.add_address(2, ip("10.9.0.1"), 16)
    stack.add_route(Route(ip("40.0.0.0"), 8, 2, ip("10.9.0.9")))
    stack.add_route(Route(ip("50.0.0.0"), 8, 2, ip("10.9.0.9"), source=A))
    assert stack.route(ip("10.9.0.7")).source == ip("10.9.0.1")
    assert stack.route(ip("40.1.1.1")).source == ip("10.9.0.1")
    assert stack.route(ip("50.1.1.1")).source == A
    assert stack.route(ip("8.8.8.8")).source == A


def test_v6_sources_by_scope_and_prefix(station: Station) -> None:
    stack = station.stack
    own = next(a.address for a in station.eth.addresses if a.address[0] == 0xFE)
    stack.add_address(2, ip("2001:db8:1::1"), 64)
    stack.add_route(Route(ANY6, 0, 2, ip("fe80::99")))
    assert stack.route(ip("fe80::99"), None, 2).source == own
    assert stack.route(ip("ff02::1"), None, 2).source == own
    assert stack.route(ip("2001:db8:1::5")).source == ip("2001:db8:1::1")
    assert stack.route(ip("fd00::77")).source == A6
    assert stack.route(ip("2001:db8:2::5")).source == ip("2001:db8:1::1")
    one = station.eth.find(ip("2001:db8:1::1"))
    assert one is not None
    one.preferred_until_ns = 0
    stack.generation += 1
    assert stack.route(ip("2001:db8:2::5")).source == A6


def test_without_a_v6_address() -> None:
    stack = Stack(bytes)
    eth = stack.add_interface("eth0", MAC_B, 1000, lambda frame: None, offload=False, gso=False)
    stack.set_up(eth.index, True)  # too small an MTU for IPv6
    assert eth.addresses == []
    stack.add_route(Route(ANY6, 0, eth.index))
    refused(errno.EADDRNOTAVAIL, stack, ip("2001:db8::1"))
    with pytest.raises(PosixError) as caught:
        stack.add_address(eth.index, ip("2001:db8::5"), 64)
    assert caught.value.errno == errno.EACCES


def test_down_and_up_again(station: Station) -> None:
    stack = station.stack
    path = stack.route(B)
    assert stack.is_local(A)
    stack.set_up(2, False)
    assert path.generation != stack.generation
    refused(errno.ENETUNREACH, stack, B)
    assert not stack.is_local(A)
    assert not stack.is_broadcast(ip("10.0.0.255"))
    assert [a.address for a in station.eth.addresses] == [A]
    with pytest.raises(PosixError) as caught:
        stack.add_route(Route(ip("9.0.0.0"), 8, 2))
    assert caught.value.errno == errno.ENETDOWN
    stack.set_up(2, True)
    stack.set_up(2, True)
    assert stack.route(B).source == A
    refused(errno.ENETUNREACH, stack, ip("8.8.8.8"))  # its default route is gone
    assert any(a.address[0] == 0xFE for a in station.eth.addresses)


def test_lo_can_go_down() -> None:
    stack = Stack(bytes)
    stack.set_up(1, False)
    refused(errno.ENETUNREACH, stack, ip("127.0.0.1"))
    refused(errno.ENETUNREACH, stack, ip("::1"))
    stack.set_up(1, True)
    assert stack.route(ip("127.0.0.1")).loopback
    assert stack.route(ip("::1")).loopback


@pytest.mark.parametrize(
    ("route", "number"),
    [
        (Route(ip("10.0.0.1"), 8, 2), errno.EINVAL),
        (Route(ip("10.0.0.0"), 33, 2), errno.EINVAL),
        (Route(b"123", 8, 2), errno.EINVAL),
        (Route(ip("9.0.0.0"), 8, 77), errno.ENODEV),
        (Route(ip("9.0.0.0"), 8, 2, ip("11.0.0.1")), errno.ENETUNREACH),
        (Route(ip("9.0.0.0"), 8, 2, A), errno.EINVAL),
        (Route(ip("9.0.0.0"), 8, 2, A6), errno.EINVAL),
        (Route(ip("10.0.0.0"), 24, 2), errno.EEXIST),
    ],
)
def test_routes_that_cannot_be(route: Route, number: int) -> None:
    station = Station()
    with pytest.raises(PosixError) as caught:
        station.stack.add_route(route)
    assert caught.value.errno == number


def test_routes_are_listed_and_removed(station: Station) -> None:
    stack = station.stack
    default = Route(ANY, 0, 2, ip("10.0.0.254"))
    assert default in list(stack.routes)
    stack.remove_route(default)
    with pytest.raises(PosixError) as caught:
        stack.remove_route(default)
    assert caught.value.errno == errno.ESRCH
    assert all(route.protocol == PROTOCOL_KERNEL for route in stack.routes)
    stack.add_route(Route(ANY, 0, 0, ip("10.0.0.254")))  # the interface is found by the gateway
    assert stack.route(ip("8.8.8.8")).interface.index == 2


@pytest.mark.parametrize(
    ("address", "bits", "number"),
    [
        ("0.0.0.0", 8, errno.EINVAL),
        ("224.0.0.1", 8, errno.EINVAL),
        ("255.255.255.255", 32, errno.EINVAL),
        ("10.0.0.7", 33, errno.EINVAL),
        ("::ffff:1.2.3.4", 64, errno.EINVAL),
        ("ff02::7", 64, errno.EINVAL),
        ("10.0.0.1", 8, errno.EEXIST),
    ],
)
def test_addresses_that_cannot_be(address: str, bits: int, number: int) -> None:
    station = Station()
    with pytest.raises(PosixError) as caught:
        station.stack.add_address(2, ip(address), bits)
    assert caught.value.errno == number


def test_addresses_are_removed() -> None:
    station = Station()
    stack = station.stack
    stack.add_address(2, ip("10.0.0.9"), 24)
    stack.remove_address(2, A)
    assert stack.route(B).source == ip("10.0.0.9")  # the network's route is the other's now
    with pytest.raises(PosixError) as caught:
        stack.remove_address(2, A)
    assert caught.value.errno == errno.EADDRNOTAVAIL
    stack.add_address(2, ip("fd00::9:8"), 64)
    assert ip("ff02::1:ff09:8") in station.eth.groups
    stack.remove_address(2, ip("fd00::9:8"))
    assert ip("ff02::1:ff09:8") not in station.eth.groups
    for number in range(100):
        try:
            stack.add_address(2, bytes((10, 5, 0, number + 1)), 32)
        except PosixError as full:
            assert full.errno == errno.ENOBUFS  # noqa: PT017
            break
    else:
        pytest.fail("no bound")


def test_interfaces_that_cannot_be() -> None:
    stack = Stack(bytes)
    for name, mac, mtu, number in (
        ("lo", MAC_B, 1500, errno.EEXIST),
        ("eth0", b"\1" + MAC_B[1:], 1500, errno.EINVAL),
        ("eth0", MAC_B[:5], 1500, errno.EINVAL),
        ("eth0", MAC_B, 67, errno.EINVAL),
    ):
        with pytest.raises(PosixError) as caught:
            stack.add_interface(name, mac, mtu, lambda frame: None, offload=False, gso=False)
        assert caught.value.errno == number
    for call in (stack.interface, lambda i: stack.set_up(i, True), lambda i: stack.set_mtu(i, 99)):
        with pytest.raises(PosixError) as caught:
            call(9)
        assert caught.value.errno == errno.ENODEV


def test_flags_and_mtu(station: Station) -> None:
    stack = station.stack
    assert stack.loopback.flags == 0x49
    assert station.eth.flags == 0x1043
    stack.set_mtu(2, 900)
    assert stack.route(B).mtu == 900
    with pytest.raises(PosixError):
        stack.set_mtu(2, 10)
    station.pass_time(SECOND)


def test_groups_are_bounded_and_checked(station: Station) -> None:
    stack = station.stack
    for call, args, number in (
        (stack.join, (2, A), errno.EINVAL),
        (stack.join, (9, ip("224.1.1.1")), errno.ENODEV),
        (stack.leave, (2, ip("224.1.1.1")), errno.EADDRNOTAVAIL),
    ):
        with pytest.raises(PosixError) as caught:
            call(*args)
        assert caught.value.errno == number
    groups = [bytes((230, 1, number >> 8, number & 0xFF)) for number in range(2000)]
    room = 1024 - len(station.eth.groups)
    for group in groups[:room]:
        stack.join(2, group)
    with pytest.raises(PosixError) as caught:
        stack.join(2, groups[room])
    assert caught.value.errno == errno.ENOBUFS
