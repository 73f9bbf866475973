"""Does rtnetlink tell and change what there is?"""

from __future__ import annotations

import struct
from errno import (
    EADDRNOTAVAIL,
    EEXIST,
    EHOSTUNREACH,
    EINVAL,
    ENETUNREACH,
    ENODEV,
    ENOENT,
    EOPNOTSUPP,
    EPERM,
    ESRCH,
)

import pytest

from bus.errors import PosixError
from services.net.netlink import abi
from services.net.netlink.address import IFADDR
from services.net.netlink.link import IFINFO
from services.net.netlink.message import attribute, attributes, number, text, u32
from services.net.netlink.neighbour import NDMSG
from services.net.netlink.route import RTMSG
from tests.net.netlink.asker import GATEWAY, MAC, OWN, Asker
from tests.net.proto.scapyoracle import ip

ADD = abi.F_CREATE | abi.F_EXCL | abi.F_ACK
NEW6, V6 = ip("fd00::5"), 10
INET, INET6 = 2, 10


@pytest.fixture
def asker() -> Asker:
    return Asker()


def refused(error: int) -> pytest.RaisesExc[PosixError]:
    """An errno."""
    return pytest.raises(PosixError, check=lambda raised: raised.errno == error)


def link(asker: Asker, index: int) -> dict[int, bytes]:
    (answer,) = asker.ask(abi.RTM_GETLINK, IFINFO.pack(0, 0, index, 0, 0))
    return attributes(answer.body[IFINFO.size :])


# Links --------------------------------------------------------------------------------------


def test_links(asker: Asker) -> None:
    lo, eth = asker.dump(abi.RTM_GETLINK, b"\0", IFINFO.size)
    assert (lo[abi.IFLA_IFNAME], eth[abi.IFLA_IFNAME]) == (b"lo\0", b"eth0\0")
    assert eth[abi.IFLA_ADDRESS] == MAC
    assert (number(lo[abi.IFLA_MTU]), number(eth[abi.IFLA_MTU])) == (65536, 1500)
    assert (lo[abi.IFLA_OPERSTATE], eth[abi.IFLA_OPERSTATE]) == (b"\0", b"\6")


def test_counters_are_live_and_can_be_left_out(asker: Asker) -> None:
    asker.eth.rx_bytes, asker.eth.tx_packets = 1 << 33, 7
    seen = link(asker, 2)
    wide = struct.unpack("<25Q", seen[abi.IFLA_STATS64])
    assert (wide[1], wide[2]) == (7, 1 << 33)
    assert struct.unpack("<24I", seen[abi.IFLA_STATS])[2] == 0
    skip = u32(abi.IFLA_EXT_MASK, abi.RTEXT_FILTER_SKIP_STATS)
    (answer,) = asker.ask(abi.RTM_GETLINK, IFINFO.pack(0, 0, 2, 0, 0) + skip)
    assert abi.IFLA_STATS64 not in attributes(answer.body[IFINFO.size :])


def test_a_link_by_name(asker: Asker) -> None:
    body = IFINFO.pack(0, 0, 0, 0, 0) + text(abi.IFLA_IFNAME, "eth0")
    (answer,) = asker.ask(abi.RTM_GETLINK, body)
    assert IFINFO.unpack_from(answer.body)[2] == 2
    with refused(ENODEV):
        asker.ask(abi.RTM_GETLINK, IFINFO.pack(0, 0, 9, 0, 0))
    with refused(EINVAL):
        asker.ask(abi.RTM_GETLINK, IFINFO.pack(0, 0, 0, 0, 0))


def test_up_and_down(asker: Asker) -> None:
    asker.ask(abi.RTM_NEWLINK, IFINFO.pack(0, 0, 2, 0, 1), abi.F_ACK)
    assert not asker.eth.up
    assert link(asker, 2)[abi.IFLA_OPERSTATE] == b"\2"
    asker.ask(abi.RTM_SETLINK, IFINFO.pack(0, 0, 2, 1, 1), abi.F_ACK)
    assert asker.eth.up


@pytest.mark.parametrize(
    ("index", "mtu", "error"),
    [(2, 67, EINVAL), (2, 65536, EINVAL), (1, 65537, EINVAL), (3, 1500, ENODEV)],
)
def test_mtu_is_bounded(asker: Asker, index: int, mtu: int, error: int) -> None:
    with refused(error):
        asker.ask(abi.RTM_NEWLINK, IFINFO.pack(0, 0, index, 0, 0) + u32(abi.IFLA_MTU, mtu))


def test_mtu_and_name(asker: Asker) -> None:
    asker.ask(abi.RTM_NEWLINK, IFINFO.pack(0, 0, 2, 0, 0) + u32(abi.IFLA_MTU, 1400))
    assert asker.eth.mtu == 1400
    renamed = IFINFO.pack(0, 0, 2, 0, 0) + text(abi.IFLA_IFNAME, "wan0")
    with pytest.raises(PosixError):
        asker.ask(abi.RTM_NEWLINK, renamed)  # it is up
    asker.network.stack.set_up(2, False)
    asker.ask(abi.RTM_NEWLINK, renamed)
    assert asker.eth.name == "wan0"
    with refused(EEXIST):
        asker.ask(abi.RTM_NEWLINK, IFINFO.pack(0, 0, 2, 0, 0) + text(abi.IFLA_IFNAME, "lo"))


def test_what_cannot_be_is_refused(asker: Asker) -> None:
    for change in (0x100, 0x80):  # promiscuous, without ARP
        with refused(EOPNOTSUPP):
            asker.ask(abi.RTM_NEWLINK, IFINFO.pack(0, 0, 2, change, change))
    with refused(EOPNOTSUPP):
        asker.ask(abi.RTM_NEWLINK, IFINFO.pack(0, 0, 0, 0, 0) + text(3, "d0"), abi.F_CREATE)
    with refused(EOPNOTSUPP):
        asker.ask(abi.RTM_DELLINK, IFINFO.pack(0, 0, 1, 0, 0))
    with refused(ENODEV):  # how iproute2 finds out that links can be set by netlink
        asker.ask(abi.RTM_NEWLINK, IFINFO.pack(0, 0, 0, 0, 0))


@pytest.mark.parametrize("kind", [abi.RTM_NEWLINK, abi.RTM_DELADDR, abi.RTM_NEWROUTE,
                                  abi.RTM_SETLINK, abi.RTM_DELNEIGH])  # fmt: skip
def test_only_root_changes_anything(kind: int) -> None:
    with refused(EPERM):
        Asker(privileged=False).ask(kind, bytes(32))


def test_who_opened_as_root_and_sends_as_somebody_else_changes_nothing(asker: Asker) -> None:
    data = asker.request(abi.RTM_NEWLINK, IFINFO.pack(0, 0, 2, 0, 1))
    asker.memory[: len(data)] = data
    told = (1, 2, struct.pack("<iII", 7, 1000, 1000))
    asker.socket.send([(0, len(data))], 0, b"", (told,))
    (answer,) = asker.pending()
    assert struct.unpack_from("<i", answer.body)[0] == -EPERM
    assert asker.eth.up


# Addresses ----------------------------------------------------------------------------------


def address(family: int, value: bytes, bits: int, *more: bytes, index: int = 2) -> bytes:
    kind = abi.IFA_LOCAL if family == INET else abi.IFA_ADDRESS
    return IFADDR.pack(family, bits, 0, 0, index) + attribute(kind, value) + b"".join(more)


def addresses(asker: Asker, family: int = 0) -> list[bytes]:
    found = asker.dump(abi.RTM_GETADDR, bytes((family,)) + bytes(7), IFADDR.size)
    return [one[abi.IFA_ADDRESS] for one in found]


def test_addresses_by_family(asker: Asker) -> None:
    assert addresses(asker, INET) == [ip("127.0.0.1"), OWN]
    assert addresses(asker) == addresses(asker, INET) + addresses(asker, INET6)


def test_an_address_comes_and_goes(asker: Asker) -> None:
    asker.ask(abi.RTM_NEWADDR, address(INET6, NEW6, 64), ADD)
    assert asker.network.stack.is_local(NEW6)
    assert addresses(asker, INET6)[1] == NEW6  # before the link-local one
    with refused(EEXIST):
        asker.ask(abi.RTM_NEWADDR, address(INET6, NEW6, 64), ADD)
    asker.ask(abi.RTM_DELADDR, address(INET6, NEW6, 64), abi.F_ACK)
    assert not asker.network.stack.is_local(NEW6)
    with refused(EADDRNOTAVAIL):
        asker.ask(abi.RTM_DELADDR, address(INET6, NEW6, 64))


def test_a_lifetime_ends(asker: Asker) -> None:
    cache = attribute(abi.IFA_CACHEINFO, struct.pack("<4I", 5, 10, 0, 0))
    asker.ask(abi.RTM_NEWADDR, address(INET, ip("10.9.0.1"), 24, cache), ADD)
    asker.pass_time(6)
    (one,) = [a for a in asker.dump(abi.RTM_GETADDR, b"\2" + bytes(7), IFADDR.size)
              if a[abi.IFA_ADDRESS] == ip("10.9.0.1")]  # fmt: skip
    preferred, valid, made, _ = struct.unpack("<4I", one[abi.IFA_CACHEINFO])
    assert (preferred, valid, made) == (0, 4, 0)
    assert number(one[abi.IFA_FLAGS]) == abi.IFA_F_DEPRECATED
    asker.pass_time(5)
    assert ip("10.9.0.1") not in addresses(asker)


def test_secondaries_go_with_their_primary(asker: Asker) -> None:
    asker.ask(abi.RTM_NEWADDR, address(INET, ip("10.0.2.16"), 24), ADD)
    last = asker.dump(abi.RTM_GETADDR, b"\2" + bytes(7), IFADDR.size)[-1]
    assert number(last[abi.IFA_FLAGS]) & abi.IFA_F_SECONDARY
    asker.ask(abi.RTM_DELADDR, address(INET, OWN, 24))
    assert addresses(asker, INET) == [ip("127.0.0.1")]


def test_the_last_address_takes_the_routes_with_it(asker: Asker) -> None:
    add_route(asker, ip("0.0.0.0"), 0, gateway=GATEWAY)
    asker.ask(abi.RTM_DELADDR, address(INET, OWN, 24))
    assert [r for r in asker.network.stack.routes if r.ifindex == 2 and len(r.network) == 4] == []


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (address(INET, OWN, 33), EINVAL),
        (address(INET, b"", 24), EINVAL),
        (address(INET, ip("1.2.3.4"), 24, index=9), ENODEV),
        (address(INET6, ip("ff02::5"), 64), EINVAL),
        (address(INET6, ip("::1"), 128), EADDRNOTAVAIL),
        (address(INET, ip("1.2.3.4"), 24, attribute(1, ip("1.2.3.5"))), EOPNOTSUPP),
        (address(7, ip("1.2.3.4"), 24), EOPNOTSUPP),
        (address(INET, ip("1.2.3.4"), 24, attribute(6, bytes(16))), EINVAL),
    ],
)
def test_addresses_that_cannot_be(asker: Asker, body: bytes, error: int) -> None:
    with refused(error):
        asker.ask(abi.RTM_NEWADDR, body, ADD)


# Routes -------------------------------------------------------------------------------------


def route_body(
    network: bytes,
    bits: int,
    *,
    gateway: bytes | None = None,
    oif: int = 0,
    metric: int = 0,
    kind: int = abi.UNICAST,
    table: int = abi.RT_TABLE_MAIN,
    scope: int = 0,
) -> bytes:
    family = INET if len(network) == 4 else INET6
    parts = [RTMSG.pack(family, bits, 0, 0, table, 3, scope, kind, 0)]
    parts.append(attribute(abi.RTA_DST, network))
    if gateway is not None:
        parts.append(attribute(abi.RTA_GATEWAY, gateway))
    parts += [u32(abi.RTA_OIF, oif)] if oif else []
    parts += [u32(abi.RTA_PRIORITY, metric)] if metric else []
    return b"".join(parts)


def add_route(asker: Asker, network: bytes, bits: int, flags: int = ADD, **rest: object) -> None:
    asker.ask(abi.RTM_NEWROUTE, route_body(network, bits, **rest), flags)  # type: ignore[arg-type]


def reached(asker: Asker, dst: bytes, **more: int) -> dict[int, bytes]:
    family = INET if len(dst) == 4 else INET6
    body = RTMSG.pack(family, 8 * len(dst), 0, 0, 0, 0, 0, 0, more.get("flags", 0))
    body += attribute(abi.RTA_DST, dst)
    if "oif" in more:
        body += u32(abi.RTA_OIF, more["oif"])
    (answer,) = asker.ask(abi.RTM_GETROUTE, body)
    head = RTMSG.unpack_from(answer.body)
    return attributes(answer.body[RTMSG.size :]) | {-1: bytes((head[7],)), -2: bytes((head[4],))}


def test_a_route_and_who_takes_it(asker: Asker) -> None:
    with refused(ENETUNREACH):
        reached(asker, ip("1.1.1.1"))
    add_route(asker, ip("0.0.0.0"), 0, gateway=GATEWAY)
    found = reached(asker, ip("1.1.1.1"))
    assert found[abi.RTA_GATEWAY] == GATEWAY
    assert found[abi.RTA_PREFSRC] == OWN
    assert number(found[abi.RTA_OIF]) == 2
    assert abi.RTA_GATEWAY not in reached(asker, ip("10.0.2.77"))
    assert reached(asker, OWN)[-1] == bytes((abi.LOCAL,))
    assert reached(asker, ip("10.0.2.255"))[-1] == bytes((abi.BROADCAST,))
    assert reached(asker, ip("224.0.0.1"))[-1] == bytes((abi.MULTICAST,))


def test_the_entry_itself(asker: Asker) -> None:
    add_route(asker, ip("9.0.0.0"), 8, gateway=GATEWAY, metric=5)
    found = reached(asker, ip("9.1.1.1"), flags=abi.RTM_F_FIB_MATCH)
    assert found[abi.RTA_DST] == ip("9.0.0.0")
    assert number(found[abi.RTA_PRIORITY]) == 5


@pytest.mark.parametrize(
    ("kind", "error"),
    [(abi.UNREACHABLE, EHOSTUNREACH), (abi.PROHIBIT, 13), (abi.BLACKHOLE, EINVAL)],
)
def test_routes_that_forbid(asker: Asker, kind: int, error: int) -> None:
    add_route(asker, ip("7.0.0.0"), 8, kind=kind)
    with refused(error):
        reached(asker, ip("7.1.1.1"))
    (told,) = [r for r in routes(asker) if r.get(abi.RTA_DST) == ip("7.0.0.0")]
    assert abi.RTA_OIF not in told


def routes(asker: Asker, family: int = INET) -> list[dict[int, bytes]]:
    body = RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)
    return asker.dump(abi.RTM_GETROUTE, body, RTMSG.size)


def test_add_replace_append_change(asker: Asker) -> None:
    net = ip("10.5.5.0")
    gateways = [ip(f"10.0.2.{n}") for n in (2, 3, 4, 9)]

    def now() -> list[tuple[bytes, int]]:
        return [
            (r[abi.RTA_GATEWAY], number(r.get(abi.RTA_PRIORITY)))
            for r in routes(asker)
            if r.get(abi.RTA_DST) == net
        ]

    add_route(asker, net, 24, abi.F_CREATE | abi.F_REPLACE, gateway=gateways[0])
    add_route(asker, net, 24, abi.F_CREATE | abi.F_REPLACE, gateway=gateways[1])
    add_route(asker, net, 24, abi.F_CREATE | abi.F_APPEND, gateway=gateways[2])
    add_route(asker, net, 24, ADD, gateway=gateways[2], metric=5)
    assert now() == [(gateways[1], 0), (gateways[2], 0), (gateways[2], 5)]
    with refused(ENOENT):
        add_route(asker, ip("10.6.5.0"), 24, abi.F_REPLACE, gateway=gateways[2])
    add_route(asker, net, 24, abi.F_REPLACE, gateway=gateways[3], metric=5)
    with refused(EEXIST):
        add_route(asker, net, 24, ADD, gateway=gateways[3], metric=5)
    assert now()[-1] == (gateways[3], 5)
    removal = route_body(net, 24, scope=abi.SCOPE_NOWHERE, kind=0)
    for left in (2, 1, 0):
        asker.ask(abi.RTM_DELROUTE, removal)
        assert len(now()) == left
    with refused(ESRCH):
        asker.ask(abi.RTM_DELROUTE, removal)


def test_a_failed_replacement_keeps_what_was(asker: Asker) -> None:
    add_route(asker, ip("10.5.5.0"), 24, gateway=GATEWAY)
    with refused(ENETUNREACH):
        add_route(asker, ip("10.5.5.0"), 24, abi.F_REPLACE, gateway=ip("9.9.9.9"))
    assert reached(asker, ip("10.5.5.1"))[abi.RTA_GATEWAY] == GATEWAY


def test_a_gateway_is_reached_on_the_link_whatever_longer_prefixes_say(asker: Asker) -> None:
    add_route(asker, ip("10.0.2.0"), 25, gateway=ip("10.0.2.200"))
    add_route(asker, ip("10.5.5.0"), 24, gateway=GATEWAY)
    assert reached(asker, ip("10.5.5.1"))[abi.RTA_GATEWAY] == GATEWAY


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (route_body(ip("10.5.5.1"), 24, gateway=GATEWAY), EINVAL),
        (route_body(ip("10.5.5.0"), 24, gateway=ip("9.9.9.9")), ENETUNREACH),
        (route_body(ip("10.5.5.0"), 24), ENODEV),
        (route_body(ip("10.5.5.0"), 24, oif=9), ENODEV),
        (route_body(ip("10.5.5.0"), 24, oif=2, table=77), EOPNOTSUPP),
        (route_body(ip("10.5.5.0"), 24, oif=2, kind=abi.THROW), EOPNOTSUPP),
        (route_body(ip("fd01::"), 64, gateway=ip("fe80::9")), EINVAL),
        (route_body(ip("fd01::"), 64, gateway=ip("fd77::9")), EHOSTUNREACH),
        (route_body(ip("10.5.5.0"), 24, oif=2) + attribute(7, ip("1.2.3.4")), EINVAL),
        (route_body(ip("10.5.5.0"), 33, oif=2), EINVAL),
    ],
)
def test_routes_that_cannot_be(asker: Asker, body: bytes, error: int) -> None:
    with refused(error):
        asker.ask(abi.RTM_NEWROUTE, body, ADD)


def test_strict_dumps_are_filtered(asker: Asker) -> None:
    asker.socket.set_option(abi.SOL_NETLINK, abi.GET_STRICT_CHK, b"\1\0\0\0", False)
    local = RTMSG.pack(INET, 0, 0, 0, abi.RT_TABLE_LOCAL, 0, 0, 0, 0)
    found = asker.dump(abi.RTM_GETROUTE, local, RTMSG.size)
    assert OWN in [r[abi.RTA_DST] for r in found]
    assert all(number(r[abi.RTA_TABLE]) == abi.RT_TABLE_LOCAL for r in found)
    with refused(ENOENT):
        asker.dump(abi.RTM_GETROUTE, RTMSG.pack(INET, 0, 0, 0, 77, 0, 0, 0, 0), RTMSG.size)
    lo = asker.dump(abi.RTM_GETADDR, IFADDR.pack(0, 0, 0, 0, 1), IFADDR.size)
    assert [a[abi.IFA_ADDRESS] for a in lo] == [ip("127.0.0.1"), ip("::1")]


# Neighbours, rules --------------------------------------------------------------------------


def neighbour(dst: bytes, state: int, *more: bytes, index: int = 2) -> bytes:
    family = INET if len(dst) == 4 else INET6
    return NDMSG.pack(family, index, state, 0, 0) + attribute(abi.NDA_DST, dst) + b"".join(more)


def test_neighbours(asker: Asker) -> None:
    mac = attribute(abi.NDA_LLADDR, bytes.fromhex("020000000001"))
    for last, state in ((50, 0x80), (51, 0x02), (52, 0x04)):
        asker.ask(abi.RTM_NEWNEIGH, neighbour(ip(f"10.0.2.{last}"), state, mac), ADD)
    told = asker.ask(abi.RTM_GETNEIGH, bytes(12), abi.F_DUMP)
    assert [NDMSG.unpack_from(one.body)[2] for one in told] == [0x80, 0x02, 0x04]
    asker.pass_time(100)
    told = asker.ask(abi.RTM_GETNEIGH, bytes(12), abi.F_DUMP)
    assert [NDMSG.unpack_from(one.body)[2] for one in told] == [0x80, 0x04, 0x04]
    with refused(EEXIST):
        asker.ask(abi.RTM_NEWNEIGH, neighbour(ip("10.0.2.50"), 0x80, mac), ADD)
    with refused(ENOENT):
        asker.ask(abi.RTM_NEWNEIGH, neighbour(ip("10.0.2.60"), 0x80, mac), abi.F_REPLACE)
    with refused(EINVAL):
        asker.ask(abi.RTM_NEWNEIGH, neighbour(ip("10.0.2.60"), 0x80), ADD)
    asker.ask(abi.RTM_DELNEIGH, neighbour(ip("10.0.2.50"), 0))
    with refused(ENOENT):
        asker.ask(abi.RTM_GETNEIGH, neighbour(ip("10.0.2.50"), 0))


def test_rules_are_told_and_fixed(asker: Asker) -> None:
    tables = [number(r[abi.FRA_TABLE]) for r in asker.dump(abi.RTM_GETRULE, b"\2" + bytes(11), 12)]
    assert tables == [abi.RT_TABLE_LOCAL, abi.RT_TABLE_MAIN, abi.RT_TABLE_DEFAULT]
    with refused(EOPNOTSUPP):
        asker.ask(abi.RTM_NEWRULE, bytes(12))
    with refused(EOPNOTSUPP):
        asker.ask(38, bytes(20), abi.F_DUMP)  # RTM_GETQDISC
