"""Do netlink sockets behave as netlink(7) says: names, parts of a dump, overflow, options?"""

from __future__ import annotations

import struct
from errno import (
    EADDRINUSE,
    EBUSY,
    ECONNREFUSED,
    EINVAL,
    EMSGSIZE,
    ENOBUFS,
    ENODATA,
    ENOPROTOOPT,
    EPERM,
    EPROTONOSUPPORT,
    ESOCKTNOSUPPORT,
)

import pytest

from bus.errors import PosixError
from services.net.ip.routes import Route
from services.net.netlink import abi
from services.net.netlink.message import attributes, split, text
from services.net.netlink.route import RTMSG
from services.net.netlink.socket import FIRST_PART_BYTES, NAME
from tests.net.netlink.asker import OWN, Asker
from tests.net.netlink.test_rtnetlink import refused
from tests.net.proto.scapyoracle import ip

POLLIN, POLLERR, MSG_PEEK, MSG_TRUNC = 1, 8, 2, 0x20
GET_LINKS = (abi.RTM_GETLINK, bytes(16))
INT = struct.Struct("<i")


@pytest.fixture
def asker() -> Asker:
    return Asker()


def sockaddr(port: int, groups: int = 0, family: int = 16) -> bytes:
    return NAME.pack(family, 0, port, groups)


def test_what_can_be_opened(asker: Asker) -> None:
    for protocol in (abi.NETLINK_ROUTE, abi.NETLINK_SOCK_DIAG):
        for kind in (2, 3):
            asker.network.open(16, kind, protocol, 0, 0, True)
    for protocol in (-1, 1, 9, 15, 16, 32):
        with refused(EPROTONOSUPPORT):
            asker.network.open(16, 3, protocol, 0, 0, True)
    with refused(ESOCKTNOSUPPORT):
        asker.network.open(16, 1, 0, 0, 0, True)


def test_ports(asker: Asker) -> None:
    first, second = asker.open(pid=500), asker.open(pid=500)
    assert first.name(False) == sockaddr(0)
    first.bind(sockaddr(0), False)
    second.bind(sockaddr(0), False)
    assert first.name(False) == sockaddr(500)
    assert NAME.unpack(second.name(False))[2] >> 31  # Linux takes one that looks negative
    with refused(EADDRINUSE):
        asker.open().bind(sockaddr(500), False)
    first.bind(sockaddr(500, 0x11), False)
    assert first.name(False) == sockaddr(500, 0x11)
    with refused(EINVAL):
        first.bind(sockaddr(501), False)
    for bad in (b"", sockaddr(0)[:8], sockaddr(0, family=2)):
        with refused(EINVAL):
            asker.open().bind(bad, False)
    asker.network.close(first, False)
    asker.open().bind(sockaddr(500), False)


def test_the_kernel_is_the_sender(asker: Asker) -> None:
    asker.send(asker.request(*GET_LINKS, abi.F_DUMP))
    got = asker.socket.receive([(65536, 65536)], 0)
    assert got.name == sockaddr(0)
    assert asker.socket.name(False) == sockaddr(77)  # bound by sending


def test_a_dump_comes_in_parts_that_fit(asker: Asker) -> None:
    for n in range(1, 400):
        asker.network.stack.add_route(Route(ip(f"20.{n >> 8}.{n & 255}.0"), 24, 2, ip("10.0.2.2")))
    asker.send(asker.request(abi.RTM_GETROUTE, RTMSG.pack(2, 0, 0, 0, 0, 0, 0, 0, 0), abi.F_DUMP))
    sizes, networks, done = list[int](), set[bytes](), False
    while not done:
        data = asker.receive(room=8192)
        sizes.append(len(data))
        for message in split(data):
            assert message.flags & abi.F_MULTI
            done = message.type == abi.NLMSG_DONE
            networks.add(attributes(message.body[RTMSG.size :]).get(abi.RTA_DST, b""))
    assert len(networks) >= 399
    assert sizes[0] <= FIRST_PART_BYTES < max(sizes) <= 8192
    assert not asker.socket.ready() & POLLIN
    asker.ask(*GET_LINKS, abi.F_DUMP)  # and another one may begin


def test_one_dump_at_a_time(asker: Asker) -> None:
    for n in range(200):
        asker.network.stack.add_route(Route(ip(f"20.0.{n}.0"), 24, 2, ip("10.0.2.2")))
    request = RTMSG.pack(2, 0, 0, 0, 0, 0, 0, 0, 0)
    asker.send(asker.request(abi.RTM_GETROUTE, request, abi.F_DUMP))
    with refused(EBUSY):
        asker.send(asker.request(*GET_LINKS, abi.F_DUMP))
        for answer in asker.pending():
            if answer.type == abi.NLMSG_ERROR:
                raise PosixError(-INT.unpack_from(answer.body)[0])


def test_routes_that_change_meanwhile_do_no_harm(asker: Asker) -> None:
    stack = asker.network.stack
    for n in range(200):
        stack.add_route(Route(ip(f"20.0.{n}.0"), 24, 2, ip("10.0.2.2")))
    asker.send(asker.request(abi.RTM_GETROUTE, bytes((2, *[0] * 11)), abi.F_DUMP))
    asker.receive()
    stack.set_up(2, False)
    assert asker.pending()[-1].type == abi.NLMSG_DONE


def test_peeking_and_truncation(asker: Asker) -> None:
    asker.send(asker.request(*GET_LINKS, abi.F_DUMP))
    size = asker.socket.receive([(65536, 0)], MSG_PEEK | MSG_TRUNC).count
    assert size > 1000
    got = asker.socket.receive([(65536, 10)], 0)
    assert (got.count, got.flags) == (10, MSG_TRUNC)
    assert not asker.pending()  # the rest is lost, the end with it


def test_several_requests_at_once_and_who_is_acknowledged(asker: Asker) -> None:
    get = asker.request(abi.RTM_GETLINK, struct.pack("<BxHiII", 0, 0, 1, 0, 0), abi.F_ACK)
    nothing = asker.request(abi.NLMSG_NOOP, b"", abi.F_ACK)
    unasked = get[:6] + b"\0\0" + get[8:]  # no NLM_F_REQUEST
    dump = asker.request(*GET_LINKS, abi.F_DUMP | abi.F_ACK)
    assert asker.send(get + unasked + nothing + dump) == len(get + unasked + nothing + dump)
    kinds = [message.type for message in asker.pending()]
    error, new, done = abi.NLMSG_ERROR, abi.RTM_NEWLINK, abi.NLMSG_DONE
    assert kinds == [new, error, error, new, new, done]


def test_words_of_a_failure(asker: Asker) -> None:
    request = struct.pack("<BxHiII", 0, 0, 2, 0, 0) + struct.pack("<HHI", 8, abi.IFLA_MTU, 10)
    asker.socket.set_option(abi.SOL_NETLINK, abi.EXT_ACK, INT.pack(1), False)
    asker.send(asker.request(abi.RTM_NEWLINK, request))
    (answer,) = asker.pending()
    assert answer.flags & abi.F_ACK_TLVS
    told = attributes(answer.body[20 + len(request) :])
    assert told[abi.ERR_TEXT] == b"mtu less than device minimum\0"
    asker.socket.set_option(abi.SOL_NETLINK, abi.CAP_ACK, INT.pack(1), False)
    asker.send(asker.request(abi.RTM_NEWLINK, request))
    (answer,) = asker.pending()
    assert attributes(answer.body[20:])[abi.ERR_TEXT] == b"mtu less than device minimum\0"


def test_no_room_is_told_once(asker: Asker) -> None:
    asker.socket.set_option(1, 8, INT.pack(0), False)  # SO_RCVBUF: the least
    for _ in range(20):
        asker.send(asker.request(abi.RTM_GETLINK, struct.pack("<BxHiII", 0, 0, 9, 0, 0)))
    assert asker.socket.ready() & POLLERR
    assert asker.socket.drops > 0
    with refused(ENOBUFS):
        asker.receive()
    assert asker.pending()
    asker.socket.set_option(abi.SOL_NETLINK, abi.NO_ENOBUFS, INT.pack(1), False)
    for _ in range(20):
        asker.send(asker.request(abi.RTM_GETLINK, struct.pack("<BxHiII", 0, 0, 9, 0, 0)))
    assert asker.pending()


def test_sending_to_others(asker: Asker) -> None:
    other = asker.open(pid=88)
    other.bind(sockaddr(0), False)
    asker.send(b"hello", name=sockaddr(88))
    got = other.receive([(65536, 100)], 0)
    assert (got.count, got.name) == (5, sockaddr(77))
    with refused(ECONNREFUSED):
        asker.send(b"hello", name=sockaddr(99))
    asker.socket.connect(sockaddr(88))
    assert asker.socket.name(True) == sockaddr(88)
    asker.send(b"again")
    assert asker.receive(other) == b"again"
    asker.socket.connect(bytes(12))
    assert asker.ask(*GET_LINKS, abi.F_DUMP)  # the kernel again
    with refused(EPERM):
        asker.send(b"hello", asker.open(privileged=False), sockaddr(88))


def test_what_cannot_be_sent(asker: Asker) -> None:
    with refused(ENODATA):
        asker.send(b"")
    with refused(EINVAL):
        asker.send(b"x", name=b"short")
    asker.socket.set_option(1, 7, INT.pack(0), False)  # SO_SNDBUF
    with refused(EMSGSIZE):
        asker.send(bytes(8192))


def test_options(asker: Asker) -> None:
    level, socket = abi.SOL_NETLINK, asker.socket
    for option in (abi.PKTINFO, abi.EXT_ACK, abi.CAP_ACK, abi.GET_STRICT_CHK, abi.NO_ENOBUFS):
        assert socket.get_option(level, option, b"") == INT.pack(0)
        socket.set_option(level, option, INT.pack(5), False)
        assert socket.get_option(level, option, b"") == INT.pack(1)
    socket.set_option(level, abi.ADD_MEMBERSHIP, INT.pack(33), False)
    assert socket.get_option(level, abi.LIST_MEMBERSHIPS, b"") == struct.pack("<II", 0, 1)
    socket.set_option(level, abi.DROP_MEMBERSHIP, INT.pack(33), False)
    assert socket.get_option(level, abi.LIST_MEMBERSHIPS, b"") == bytes(8)
    for group in (0, -1, 37):
        with refused(EINVAL):
            socket.set_option(level, abi.ADD_MEMBERSHIP, INT.pack(group), False)
    with refused(EPERM):
        socket.set_option(level, abi.LISTEN_ALL_NSID, INT.pack(1), False)
    for bad in ((level, 77), (6, 1)):
        with refused(ENOPROTOOPT):
            socket.get_option(*bad, b"")
        with refused(ENOPROTOOPT):
            socket.set_option(*bad, INT.pack(1), True)


def test_extras(asker: Asker) -> None:
    asker.socket.set_option(abi.SOL_NETLINK, abi.PKTINFO, INT.pack(1), False)
    asker.socket.set_option(1, 16, INT.pack(1), False)  # SO_PASSCRED
    asker.send(asker.request(*GET_LINKS, abi.F_DUMP))
    got = asker.socket.receive([(65536, 65536)], 0)
    assert got.control == ((abi.SOL_NETLINK, abi.PKTINFO, bytes(4)), (1, 2, bytes(12)))


# Groups -------------------------------------------------------------------------------------


def listen(asker: Asker, *groups: int) -> None:
    for group in groups:
        asker.socket.set_option(abi.SOL_NETLINK, abi.ADD_MEMBERSHIP, INT.pack(group), False)


def heard(asker: Asker) -> list[int]:
    asker.network.settle()
    return [message.type for message in asker.pending()]


def test_changes_are_heard_whoever_makes_them(asker: Asker) -> None:
    stack = asker.network.stack
    listen(asker, abi.GROUP_IPV4_ADDRESS, abi.GROUP_IPV4_ROUTE)
    stack.add_address(2, ip("10.9.0.1"), 24)
    assert heard(asker) == [abi.RTM_NEWADDR, abi.RTM_NEWROUTE, abi.RTM_NEWROUTE, abi.RTM_NEWROUTE]
    stack.remove_address(2, ip("10.9.0.1"))
    gone = heard(asker)
    assert gone == [abi.RTM_DELADDR, abi.RTM_DELROUTE, abi.RTM_DELROUTE, abi.RTM_DELROUTE]
    assert heard(asker) == []


def test_a_group_hears_its_own_alone(asker: Asker) -> None:
    listen(asker, abi.GROUP_LINK)
    asker.network.stack.add_address(2, ip("10.9.0.1"), 24)
    assert heard(asker) == []
    asker.network.stack.set_up(2, False)
    assert heard(asker) == [abi.RTM_NEWLINK]
    got = Asker()
    listen(got, abi.GROUP_LINK)
    got.network.stack.set_mtu(2, 1400)
    got.network.settle()
    assert got.socket.receive([(65536, 65536)], 0).name == sockaddr(0, 1)


def test_neighbours_are_heard(asker: Asker) -> None:
    listen(asker, abi.GROUP_NEIGH)
    stack = asker.network.stack
    stack.neighbours.set_permanent(asker.eth, ip("10.0.2.9"), bytes.fromhex("020000000009"))
    assert heard(asker) == [abi.RTM_NEWNEIGH]
    stack.neighbours.remove(asker.eth, ip("10.0.2.9"))
    assert heard(asker) == [abi.RTM_DELNEIGH]


def test_nobody_watches_for_nobody(asker: Asker) -> None:
    assert not asker.network.watching
    listen(asker, 20)  # a group in which nothing happens
    assert not asker.network.watching
    other = asker.open()
    other.bind(sockaddr(0, 1), False)
    assert asker.network.watching
    asker.network.close(other, False)
    assert not asker.network.watching


def test_an_echo_tells_who_asked(asker: Asker) -> None:
    body = struct.pack("<BBBBI", 2, 24, 0, 0, 2) + struct.pack("<HH4s", 8, 2, ip("10.9.0.1"))
    asker.send(asker.request(abi.RTM_NEWADDR, body, abi.F_CREATE | abi.F_ECHO | abi.F_ACK))
    answers = asker.pending()
    assert (answers[0].type, answers[0].seq) == (abi.RTM_NEWADDR, asker.seq)
    assert answers[-1].type == abi.NLMSG_ERROR


def test_a_labelled_address(asker: Asker) -> None:
    body = struct.pack("<BBBBI", 2, 24, 0, 0, 2) + struct.pack("<HH4s", 8, 2, ip("10.9.0.1"))
    asker.ask(abi.RTM_NEWADDR, body + text(abi.IFA_LABEL, "eth0:x"), abi.F_CREATE)
    asker.ask(abi.RTM_DELADDR, body)
    assert not asker.network.stack.is_local(ip("10.9.0.1"))
    assert asker.network.stack.is_local(OWN)
