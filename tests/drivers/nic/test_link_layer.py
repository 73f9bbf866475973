"""Does the gateway answer as a neighbour should, and is nonsense dropped without harm?"""

from __future__ import annotations

import errno
import random
import socket
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.drivers.nic.user import echoes, plan
from services.drivers.nic.user.fragments import MAX_DATAGRAMS, TIMEOUT_NS, Fragments
from services.drivers.nic.user.gateway import Gateway
from services.net.proto import address, arp, ethernet, icmp, icmpv6, ipv4, ndp
from services.net.proto.ipheader import IpHeader
from services.net.proto.packet import Frame, Packet, Raw
from tests.drivers.nic.hostside import started

if TYPE_CHECKING:
    import trio

pytestmark = pytest.mark.usefixtures("nothing_left")


async def test_arp_is_answered_for_the_gateways_own_addresses(nursery: trio.Nursery) -> None:
    guest = await started(nursery)
    for target in (plan.GATEWAY, plan.DNS, b"\x0a\0\2\x63", plan.GUEST):
        question = arp.Arp(arp.REQUEST, plan.GUEST_MAC, plan.GUEST, bytes(6), target)
        link = ethernet.header(address.MAC_BROADCAST, plan.GUEST_MAC, ethernet.ARP)
        guest.transmit(Frame([link + question.encode()]))
    assert guest.neighbours == {plan.GATEWAY: plan.GATEWAY_MAC, plan.DNS: plan.GATEWAY_MAC}
    nursery.cancel_scope.cancel()


async def test_neighbours_and_routers_are_discovered(nursery: trio.Nursery) -> None:
    guest = await started(nursery)
    asked = ndp.solicit(plan.GATEWAY_V6, plan.GUEST_MAC)
    group = address.solicited_node(plan.GATEWAY_V6)
    guest.output(Packet(58, plan.GUEST_V6, group, asked, ttl=255))
    source, message = await guest.message()
    assert source == plan.GATEWAY_V6
    assert message.rest == ndp.FROM_ROUTER | ndp.OVERRIDE | ndp.SOLICITED
    assert ndp.decode_neighbour(message) == ndp.Neighbour(plan.GATEWAY_V6, plan.GATEWAY_MAC)
    guest.output(Packet(58, plan.GUEST_V6, group, asked, ttl=64))  # was forwarded: not believed
    own = address.LINK_LOCAL_PREFIX + address.interface_identifier(plan.GUEST_MAC)
    guest.output(Packet(58, own, address.ALL_ROUTERS, ndp.solicit_router(plan.GUEST_MAC), ttl=255))
    source, message = await guest.message()
    assert message.type == icmpv6.ROUTER_ADVERTISEMENT
    assert source == plan.GATEWAY_LINK_LOCAL
    assert ndp.decode_router(message).mac == plan.GATEWAY_MAC
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("target", [plan.GATEWAY, plan.DNS, plan.GATEWAY_V6])
async def test_the_gateway_answers_ping(nursery: trio.Nursery, target: bytes) -> None:
    guest = await started(nursery)
    v6 = len(target) == 16
    ping = icmp.Message(icmpv6.ECHO if v6 else icmp.ECHO, 0, 0x12340001, b"payload")
    guest.output(Packet(58 if v6 else 1, plan.guest_of(target), target, ping))
    source, message = await guest.message()
    assert source == target
    assert (message.rest, message.body) == (0x12340001, b"payload")
    nursery.cancel_scope.cancel()


async def test_ping_leaves_by_the_hosts_ping_sockets(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest = await started(nursery)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP):
            pass
    except PermissionError:
        pytest.skip("this user may not ping")
    away = b"\xc6\x12\x4d\x09"
    monkeypatch.setattr(echoes, "sockaddr", lambda outside: ("127.0.0.1", 0))
    monkeypatch.setattr(echoes, "endpoint", lambda found: (away, 0))
    for sequence in (1, 2):
        ping = icmp.Message(icmp.ECHO, 0, 0x77770000 | sequence, b"anybody out there?")
        guest.output(Packet(1, plan.GUEST, away, ping))
        source, message = await guest.message()
        assert (source, message.type) == (away, icmp.ECHO_REPLY)
        assert (message.rest, message.body) == (0x77770000 | sequence, b"anybody out there?")
    assert len(guest.backend.echoes._pingers) == 1
    guest.backend.gateway.now_ns += echoes.IDLE_NS
    guest.backend.echoes.expire()
    assert not guest.backend.echoes._pingers
    nursery.cancel_scope.cancel()


async def test_ping_that_the_host_prohibits_is_told(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest = await started(nursery)

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(echoes, "_Pinger", refuse)
    ping = icmp.Message(icmp.ECHO, 0, 0x77770001, b"x")
    guest.output(Packet(1, plan.GUEST, b"\1\2\3\4", ping))
    _, message = await guest.message()
    assert (message.type, message.code) == (icmp.DEST_UNREACHABLE, icmp.ADMIN_PROHIBITED)
    nursery.cancel_scope.cancel()


async def test_a_hop_too_many_is_told(nursery: trio.Nursery) -> None:
    guest = await started(nursery)
    guest.output(Packet(17, plan.GUEST, b"\1\2\3\4", Raw(bytes(8)), ttl=1))
    source, message = await guest.message()
    assert (source, message.type, message.code) == (plan.GATEWAY, icmp.TIME_EXCEEDED, 0)
    nursery.cancel_scope.cancel()


async def test_unknown_protocols_are_told(nursery: trio.Nursery) -> None:
    guest = await started(nursery)
    guest.output(Packet(132, plan.GUEST, b"\1\2\3\4", Raw(bytes(20))))
    _, message = await guest.message()
    assert (message.type, message.code) == (icmp.DEST_UNREACHABLE, icmp.PROTOCOL_UNREACHABLE)
    nursery.cancel_scope.cancel()


async def test_foreign_sources_are_not_forwarded(nursery: trio.Nursery) -> None:
    guest = await started(nursery)
    for source in (b"\1\2\3\4", plan.GATEWAY, b"\x7f\0\0\1"):
        guest.output(Packet(17, source, plan.GATEWAY, Raw(struct.pack(">HHHH", 1, 2, 8, 0))))
    assert guest.backend.gateway.refused == 3
    assert not guest.backend.datagrams
    nursery.cancel_scope.cancel()


def bare() -> Gateway:
    made = Gateway(lambda frame: True, lambda count: bytes(count))
    made.tcp.on_syn = lambda packet: False
    return made


@settings(max_examples=400)
@given(st.binary(max_size=120), st.sampled_from([0x0800, 0x0806, 0x86DD, 0x1234]), st.booleans())
def test_noise_is_dropped(noise: bytes, kind: int, checked: bool) -> None:
    gateway = bare()
    gateway.input(memoryview(bytes(12) + kind.to_bytes(2, "big") + noise), checked)
    gateway.input(memoryview(noise), checked)


@settings(max_examples=400)
@given(st.integers(0, 2**32), st.sampled_from([1, 6, 17, 58, 99]), st.integers(1, 8))
def test_frames_with_flipped_bits_are_dropped(seed: int, proto: int, flips: int) -> None:
    chance = random.Random(seed)
    body = chance.randbytes(chance.randrange(64))
    head = ipv4.header(plan.GUEST, b"\1\2\3\4", proto, len(body), 64, 0, 1, 0)
    frame = bytearray(
        ethernet.header(plan.GATEWAY_MAC, plan.GUEST_MAC, ethernet.IPV4) + head + body
    )
    for _ in range(flips):
        frame[14 + chance.randrange(len(frame) - 14)] ^= 1 << chance.randrange(8)
    gateway = bare()
    gateway.input(memoryview(frame), bool(seed & 1))


# fragments


def piece(at: int, size: int, *, more: bool, ident: int = 1) -> tuple[IpHeader, memoryview]:
    head = IpHeader(plan.GUEST, plan.GATEWAY, 17, 64, 0, 20, 20 + size, False, ident, at, more)
    return head, memoryview(bytes((at + index) & 0xFF for index in range(size)))


def test_fragments_in_any_order() -> None:
    parts = [piece(0, 16, more=True), piece(16, 16, more=True), piece(32, 5, more=False)]
    for seed in range(6):
        random.Random(seed).shuffle(parts)
        held = Fragments()
        results = [held.add(*part, now_ns=0) for part in parts for _ in range(1)]
        assert results[:2] == [None, None]
        assert results[2] == bytes(range(37))
        assert held.dropped == 0


def test_a_fragment_twice_is_no_overlap() -> None:
    held = Fragments()
    assert held.add(*piece(0, 16, more=True), now_ns=0) is None
    assert held.add(*piece(0, 16, more=True), now_ns=0) is None
    assert held.add(*piece(16, 1, more=False), now_ns=0) == bytes(range(17))


def test_overlaps_void_the_datagram() -> None:
    held = Fragments()
    held.add(*piece(0, 16, more=True), now_ns=0)
    assert held.add(*piece(8, 16, more=False), now_ns=0) is None
    assert held.dropped == 1


def test_what_lies_behind_the_end_voids_the_datagram() -> None:
    held = Fragments()
    held.add(*piece(24, 8, more=False), now_ns=0)
    held.add(*piece(32, 8, more=True), now_ns=0)
    assert held.add(*piece(0, 24, more=True), now_ns=0) is None
    assert held.dropped >= 1


def test_fragments_are_bounded_in_number_and_time() -> None:
    held = Fragments()
    for ident in range(MAX_DATAGRAMS + 5):
        held.add(*piece(0, 8, more=True, ident=ident), now_ns=ident)
    assert held.dropped == 5
    assert len(held._partial) == MAX_DATAGRAMS
    held.add(*piece(0, 8, more=True, ident=9999), now_ns=TIMEOUT_NS + MAX_DATAGRAMS + 5)
    assert len(held._partial) == 1


def test_fragments_are_bounded_in_bytes() -> None:
    held = Fragments()
    for ident in range(60):
        for at in range(0, 65_000, 32_504):
            held.add(*piece(at, 32_504 & ~7, more=True, ident=ident), now_ns=0)
    assert held._bytes <= 4 << 20
    held.add(*piece(0, 8, more=True, ident=99), now_ns=TIMEOUT_NS + 1)
    assert held._bytes == 8
