"""Eight thousand of anything: is memory bounded, is all of it given back, do others go on?

Memory is tracemalloc's: what Python has allocated, all of it. While a storm rages, the honest
client's connections are used; afterwards a new one is made. Then time passes, and what the storm
left must be gone.
"""

from __future__ import annotations

import gc
import struct
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from services.net.proto import ethernet, ipv4, ipv6, ndp
from services.net.tcp.segment import ACK, FIN, RST, SYN, Segment
from tests.net.hostile import invariants
from tests.net.hostile.attacker import Flow, ip4, tcp4, udp4
from tests.net.hostile.world import (
    ATTACKER,
    ECHO,
    MAC_ATTACKER,
    MAC_SERVER,
    SECOND,
    SERVER,
    SERVER6,
    Wire,
    ether,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MANY = 8_000
KIB, MIB = 1 << 10, 1 << 20
CACHES_BYTES, LEFT_BYTES = 2 * MIB, MIB
"""What may stay: after storms, caches that are full (paths, limits by host, neighbours)."""


def _host(number: int) -> bytes:
    """One of 64,000 sources beyond the link, or on it."""
    return bytes((10, number >> 14 & 3, number >> 8 & 63, number & 0xFF or 3))


def _on_link(number: int) -> bytes:
    return bytes((10, 0, 0, 3 + number % 250))


def syn_flood() -> Iterator[bytes]:
    """From everywhere: some have a way back, most have none."""
    for n in range(MANY):
        yield tcp4(Segment(1024 + n % 60_000, ECHO, n, 0, SYN, 1000, mss=1460), _host(n))


def syn_flood_on_link() -> Iterator[bytes]:
    """From neighbours that do not answer."""
    for n in range(MANY):
        yield tcp4(Segment(1024 + n % 60_000, ECHO, n, 0, SYN, 1000, mss=1460), _on_link(n))


def ack_flood() -> Iterator[bytes]:
    """Segments of connections that there are not, and cookies that were never given."""
    for n in range(MANY):
        flags = (ACK, RST, FIN | ACK, SYN | ACK)[n % 4]
        yield tcp4(Segment(1024 + n, ECHO, n * 7, n * 13, flags, 1000, b"x" * (n % 100)))


def udp_flood() -> Iterator[bytes]:
    """Half of it to a port where nobody is: errors are owed."""
    for n in range(MANY):
        yield udp4(n % 1400, _on_link(n), ECHO + n % 2)


def ping_flood() -> Iterator[bytes]:
    """Echo requests, all to be answered to neighbours that nobody knows."""
    body = struct.pack("!BBHHH", 8, 0, 0, 1, 1) + bytes(1000)
    body = body[:2] + (0xFFFF - 0x0800 - 2).to_bytes(2, "big") + body[4:]
    for n in range(MANY):
        yield ip4(1, body, _on_link(n))


def fragments() -> Iterator[bytes]:
    """First parts of datagrams whose rest never comes; and datagrams in a thousand parts."""
    for n in range(MANY):
        offset = 0 if n % 2 else n // 2 % 1000
        head = ipv4.header(ATTACKER, SERVER, 17, 1400, 64, 0, n & 0xFFFF, 0x2000 | offset)
        yield ether(head + bytes(1400))


def fragments6() -> Iterator[bytes]:
    """The same over IPv6."""
    for n in range(MANY):
        extension = struct.pack("!BBHI", 17, 0, n % 1000 << 3 | 1, n // 3)
        source = b"\xfd" + bytes(11) + n.to_bytes(4, "big")
        head = ipv6.header(source, SERVER6, 44, 8 + 1200, 64, 0)
        yield ether(head + extension + bytes(1200), ethernet.IPV6)


def arp_storm() -> Iterator[bytes]:
    """Everybody asks for the server, answers it, and changes his mind about his own address."""
    for n in range(MANY):
        mac = bytes((2, 1)) + n.to_bytes(4, "big")
        said = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1 + n % 2)
        yield ether(said + mac + _host(n) + bytes(6) + SERVER, ethernet.ARP)


def neighbour_storm() -> Iterator[bytes]:
    """Solicitations from addresses without number, and advertisements that nobody asked for."""
    for n in range(MANY):
        source = b"\xfd" + bytes(11) + (n + 300).to_bytes(4, "big")
        mac = bytes((2, 1)) + n.to_bytes(4, "big")
        told = ndp.solicit(SERVER6, mac) if n % 2 else ndp.advertise(source, mac, ndp.OVERRIDE)
        body = b"".join(told.encode(source, SERVER6, offload=False))
        yield ether(ipv6.header(source, SERVER6, 58, len(body), 255, 0) + body, ethernet.IPV6)


def router_storm() -> Iterator[bytes]:
    """Routers without number, each with a prefix of its own."""
    for n in range(MANY):
        source = b"\xfe\x80" + bytes(10) + (n + 300).to_bytes(4, "big")
        prefix = ndp.Prefix(b"\xfd\x01" + n.to_bytes(6, "big") + bytes(8), 64, 0xC0, 100, 100)
        told = ndp.advertise_router(ndp.Router(64, 0, 1800, 0, 0, MAC_ATTACKER, 1400, (prefix,)))
        target = b"\xff\x02" + bytes(13) + b"\1"
        body = b"".join(told.encode(source, target, offload=False))
        packet = ipv6.header(source, target, 58, len(body), 255, 0) + body
        yield ether(packet, ethernet.IPV6, bytes.fromhex("333300000001"))


def icmp_errors() -> Iterator[bytes]:
    """Fragmentation needed, of packets to everywhere."""
    for n in range(MANY):
        quoted = ipv4.header(SERVER, _host(n), 17, 8, 64, 0, 1, 0) + struct.pack(
            "!HHHH", 7, n, 8, 0
        )
        body = struct.pack("!BBHHH", 3, 4, 0, 0, 600 + n % 900) + quoted
        total = sum(struct.unpack(f"!{len(body) // 2}H", body)) % 0xFFFF
        yield ip4(1, body[:2] + (0xFFFF - total).to_bytes(2, "big") + body[4:])


STORMS: dict[Callable[[], Iterator[bytes]], int] = {
    syn_flood: 2 * MIB,
    syn_flood_on_link: 2 * MIB,
    ack_flood: MIB,
    udp_flood: 2 * MIB,
    ping_flood: 3 * MIB,
    fragments: 6 * MIB,
    fragments6: 6 * MIB,
    arp_storm: 2 * MIB,
    neighbour_storm: 6 * MIB,
    router_storm: MIB,
    icmp_errors: MIB,
}
"""What each may take at most while it rages: the bounds of the rooms' READMEs, and overhead."""


class Watch:
    """Memory from now on."""

    def __init__(self) -> None:
        gc.collect()
        tracemalloc.start()
        self._began = tracemalloc.get_traced_memory()[0]

    @property
    def grown_bytes(self) -> int:
        """What is held more than at first."""
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - self._began


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire(backlog=128)
    made.server.network.stack.neighbours.set_permanent(made.server.eth, ATTACKER, MAC_ATTACKER)
    made.check_bystanders()
    made.check_newcomer()
    yield made
    tracemalloc.stop()


@pytest.mark.parametrize("storm", STORMS, ids=lambda storm: storm.__name__)
def test_storm(wire: Wire, storm: Callable[[], Iterator[bytes]]) -> None:
    assert wire.server.mac == MAC_SERVER
    watch = Watch()
    worst = 0
    for number, frame in enumerate(storm(), 1):
        wire.attack(frame)
        if number % 100 == 0:
            wire.settle()
            wire.pass_time(SECOND // 1000)
        if number % 2000 == 0:
            worst = max(worst, watch.grown_bytes)
            invariants.check(wire.server.network)
            wire.check_bystanders()
            wire.check_newcomer()
    assert worst < STORMS[storm], f"{worst / MIB:.1f} MiB"
    wire.pass_time(700 * SECOND)
    wire.seen.clear()
    invariants.check(wire.server.network)
    assert watch.grown_bytes < CACHES_BYTES, f"{watch.grown_bytes / MIB:.2f} MiB stay"
    assert len(wire.server.network.tcp.connections) == 2
    wire.check_bystanders()


def _many_flows(wire: Wire, count: int) -> list[Flow]:
    flows = []
    for _ in range(count):
        flows.append(Flow(wire, mss=1460, scale=7, sack_ok=True))
        wire.settle()
    assert len(wire.server.network.tcp.connections) == count + 2
    return flows


def _end_all(wire: Wire) -> None:
    """The server's program loses its patience with all but the honest client."""
    server = wire.server
    for child in list(server.children[2:]):
        server.children.remove(child)
        server._unsent.pop(child.handle, None)
        server.network.close(child, False)
    wire.pass_time(2000 * SECOND)
    assert len(server.network.tcp.connections) == 2
    wire.seen.clear()
    wire.server.frames.clear()


FLOWS = 40
RECEIVE_BYTES = 131_072


def test_senders_that_ignore_the_window(wire: Wire) -> None:
    """The program reads nothing; each sends three times what the window allows."""
    flows = _many_flows(wire, FLOWS)
    deaf = {child.handle for child in wire.server.children[2:]}
    wire.server.reads = lambda child: child.handle not in deaf
    watch = Watch()
    for _ in range(3):
        for flow in flows:
            for _ in range(100):
                flow.wire.attack(tcp4(flow.segment(ACK, b"x" * 1400)))
                flow.next += 1400
        wire.settle()
        invariants.check(wire.server.network)
    wire.check_bystanders()
    assert watch.grown_bytes < FLOWS * (RECEIVE_BYTES + 32 * KIB)
    assert watch.grown_bytes > FLOWS * 60_000, "the attack has not filled the windows"
    _end_all(wire)
    assert watch.grown_bytes < LEFT_BYTES


def test_senders_of_single_bytes(wire: Wire) -> None:
    """In order, one byte each: what they cost must not be fifty times what they are."""
    flows = _many_flows(wire, 10)
    deaf = {child.handle for child in wire.server.children[2:]}
    wire.server.reads = lambda child: child.handle not in deaf
    watch = Watch()
    for flow in flows:
        for _ in range(2000):
            flow.wire.attack(tcp4(flow.segment(ACK, b"x")))
            flow.next += 1
        wire.settle()
    invariants.check(wire.server.network)
    assert watch.grown_bytes < 10 * (2000 + 8 * KIB)
    _end_all(wire)
    assert watch.grown_bytes < LEFT_BYTES


def test_senders_of_every_other_byte(wire: Wire) -> None:
    """Each byte is a run of its own, to be kept and told of; a run costs more than a byte."""
    flows = _many_flows(wire, FLOWS)
    watch = Watch()
    for flow in flows:
        for at in range(1, 1200, 2):
            flow.wire.attack(tcp4(flow.segment(ACK, b"x", seq=at)))
        wire.settle()
        wire.seen.clear()
    invariants.check(wire.server.network)
    wire.check_bystanders()
    assert watch.grown_bytes < FLOWS * 2 * RECEIVE_BYTES, f"{watch.grown_bytes / MIB:.1f} MiB"
    _end_all(wire)
    assert watch.grown_bytes < LEFT_BYTES


def test_slow_readers(wire: Wire) -> None:
    """They ask for everything and read nothing; the program writes as long as it may."""
    flows = _many_flows(wire, FLOWS)
    watch = Watch()
    for child in wire.server.children[2:]:
        while wire.server.write(child, b"w" * 16_384):
            pass
    wire.settle()
    wire.seen.clear()
    for flow in flows:
        flow.put(flow.segment(ACK, window=0))
    for _ in range(20):
        wire.pass_time(30 * SECOND)
        wire.seen.clear()
        for flow in flows:
            flow.put(flow.segment(ACK, window=0, ack=1))
        invariants.check(wire.server.network)
    wire.check_bystanders()
    grown = watch.grown_bytes
    assert FLOWS * 10_000 < grown < FLOWS * 3 * RECEIVE_BYTES, f"{grown / MIB:.1f} MiB"
    _end_all(wire)
    assert watch.grown_bytes < LEFT_BYTES


def test_connections_that_nobody_accepts(wire: Wire) -> None:
    """Complete handshakes, more than the backlog holds, and the program sleeps."""
    wire.server.accepting = False
    watch = Watch()
    for number in range(2000):
        Flow(wire, mss=1460)
        if number % 500 == 0:
            invariants.check(wire.server.network)
    wire.seen.clear()
    assert len(wire.server.network.tcp.connections) <= 2 + 129 + 128
    assert watch.grown_bytes < 2 * MIB
    wire.check_bystanders()
    wire.server.accepting = True
    wire.settle()
    _end_all(wire)
    wire.check_newcomer()
    assert watch.grown_bytes < LEFT_BYTES


@pytest.mark.slow
def test_ten_thousand_connections_one_after_another(wire: Wire) -> None:
    """Opened, used and closed by the client: what the heap holds is the same afterwards."""
    tcp = wire.server.network.tcp
    for _ in range(200):
        wire.check_newcomer()
    wire.pass_time(100 * SECOND)
    gc.collect()
    watch = Watch()
    objects = len(gc.get_objects())
    for number in range(10_000):
        wire.check_newcomer()
        if number % 1000 == 0:
            invariants.check(wire.server.network)
            wire.pass_time(SECOND)
    assert tcp.counters["PassiveOpens"] > 10_200
    wire.pass_time(100 * SECOND)
    assert not tcp.time_waits.records
    assert not wire.client.network.tcp.time_waits.records
    assert abs(len(gc.get_objects()) - objects) < 100
    assert watch.grown_bytes < 128 * KIB, f"{watch.grown_bytes} bytes stay"
