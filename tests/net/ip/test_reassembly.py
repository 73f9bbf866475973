"""Fragments: put together in any order, refused when they overlap, bounded in a flood."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.net.ip import reassembly
from services.net.proto import ethernet, icmp, ipv4, ipv6, udp
from tests.net.ip.wire import A6, B6, MAC_A, MAC_B, SECOND, A, B, Station
from tests.net.proto.scapyoracle import IP, UDP, Ether, fragment, ip

if TYPE_CHECKING:
    import random

BOTH = pytest.mark.parametrize("six", [False, True], ids=["v4", "v6"])


def piece(
    body: bytes, at: int, end: int, ident: int = 7, *, six: bool = False, src: bytes | None = None
) -> bytes:
    """A frame with bytes `at` to `end` of a UDP datagram that is `body`."""
    data, more = body[at:end], end < len(body)
    if six:
        head = ipv6.header(src or B6, A6, ipv6.FRAGMENT, len(data) + 8, 64, 0)
        head += ipv6.fragment_header(17, ident, at, more)
        return ethernet.header(MAC_A, MAC_B, ethernet.IPV6) + head + data
    flags = at >> 3 | (0x2000 if more else 0)
    head = ipv4.header(src or B, A, 17, len(data), 64, 0, ident, flags)
    return ethernet.header(MAC_A, MAC_B, ethernet.IPV4) + head + data


def datagram(data: bytes, *, six: bool = False) -> bytes:
    src, dst = (B6, A6) if six else (B, A)
    return b"".join(udp.Datagram(1, 2, data).encode(src, dst, offload=False))


def fails(station: Station, *, six: bool) -> int:
    return (station.stack.ip6 if six else station.stack.ip).ReasmFails


@given(st.binary(min_size=1, max_size=400), st.randoms(use_true_random=False), st.booleans())
def test_any_cut_in_any_order(data: bytes, rng: random.Random, six: bool) -> None:
    station = Station()
    body = datagram(data, six=six)
    inner = range(8, len(body), 8)
    cuts = sorted(rng.sample(inner, rng.randint(0, len(inner))))
    ends = [*cuts, len(body)]
    frames = [piece(body, at, end, six=six) for at, end in zip([0, *cuts], ends, strict=True)]
    frames += rng.sample(frames, rng.randint(0, len(frames)))  # repetitions do no harm
    rng.shuffle(frames)
    for frame in frames:
        station.hear(frame)
    assert [bytes(packet.payload.data) for packet in station.datagrams][:1] == [data]
    assert fails(station, six=six) == 0


def test_scapys_fragments() -> None:
    station = Station()
    data = os.urandom(5000)
    whole = IP(src="10.0.0.2", dst="10.0.0.1", id=9) / UDP(sport=1, dport=2) / data
    for part in fragment(whole, 1000):
        station.hear(bytes(Ether(dst="52:54:00:00:00:01", src="52:54:00:00:00:02") / part))
    assert [bytes(packet.payload.data) for packet in station.datagrams] == [data]
    assert station.stack.ip.ReasmOKs == 1


@BOTH
@pytest.mark.parametrize(
    "cuts",
    [
        [(0, 32), (24, 56)],  # tail over head
        [(24, 56), (0, 32)],
        [(0, 56), (8, 16)],  # within
        [(8, 16), (0, 56)],
        [(0, 32), (0, 24)],  # same start, other end
        [(0, 64), (56, 108)],
        [(56, 108), (0, 64)],
    ],
)
def test_overlaps_condemn_the_datagram(six: bool, cuts: list[tuple[int, int]]) -> None:
    station = Station()
    body = datagram(bytes(100), six=six)
    for at, end in cuts:
        station.hear(piece(body, at, end, six=six))
    assert fails(station, six=six) == 1
    for at in range(0, len(body), 8):  # what comes of it later is of no use
        station.hear(piece(body, at, min(at + 8, len(body)), six=six))
    assert station.datagrams == []
    assert station.stack._input.fragments.held_bytes < 1024
    station.pass_time(31 * SECOND)
    station.hear(piece(body, 0, 56, six=six))
    station.hear(piece(body, 56, len(body), six=six))
    assert len(station.datagrams) == 1


@BOTH
def test_two_ends_contradict_each_other(six: bool) -> None:
    station = Station()
    body = datagram(bytes(100), six=six)
    station.hear(piece(body[:64], 56, 64, six=six))
    station.hear(piece(body[:48], 40, 48, six=six))
    assert fails(station, six=six) == 1
    station.hear(piece(body[:64], 56, 64, 8, six=six))
    station.hear(piece(body, 64, 72, 8, six=six))  # more, behind the last
    assert fails(station, six=six) == 2


@BOTH
def test_time_runs_out_and_the_sender_is_told(six: bool) -> None:
    station = Station()
    (src, dst), ident = ((B6, A6) if six else (B, A)), 7
    body = datagram(bytes(100), six=six)
    station.stack.neighbours.set_permanent(station.eth, src, MAC_B)
    station.hear(piece(body, 0, 56, ident, six=six))
    station.hear(piece(body, 56, 64, ident + 1, six=six))  # no first fragment: not told
    station.pass_time(29 * SECOND)
    assert station.said() == []
    station.pass_time(2 * SECOND)
    (told,) = station.said()
    message = told[14 + (40 if six else 20) :]
    assert message[:2] == (b"\x03\x01" if six else b"\x0b\x01")
    assert icmp.decode(memoryview(message), dst, src, checked=False).type == message[0]
    counters = station.stack.ip6 if six else station.stack.ip
    assert (counters.ReasmTimeout, counters.ReasmFails) == (2, 2)
    assert len(station.stack._input.fragments) == 0
    assert station.stack._input.fragments.held_bytes == 0


@BOTH
def test_a_flood_is_bounded(six: bool) -> None:
    station = Station()
    fragments = station.stack._input.fragments
    body = bytes(60000)
    for number in range(8000):
        station.hear(piece(body, 0, 1400, number, six=six))
        assert len(fragments) <= reassembly.MAX_DATAGRAMS
        assert fragments.held_bytes <= reassembly.MAX_BYTES
    good = datagram(b"still here" * 10, six=six)
    station.hear(piece(good, 0, 56, 70000 & 0xFFFF, six=six))
    station.hear(piece(good, 56, len(good), 70000 & 0xFFFF, six=six))
    assert len(station.datagrams) == 1
    station.pass_time(31 * SECOND)
    assert (len(fragments), fragments.held_bytes) == (0, 0)
    assert len(station.stack.timers) < 10


@BOTH
def test_big_datagrams_are_bounded_in_bytes(six: bool) -> None:
    station = Station()
    fragments = station.stack._input.fragments
    body = bytes(64000)
    for ident in range(200):
        for at in range(8000, 64000, 8000):
            station.hear(piece(body, at, at + 8000, ident, six=six))
        assert fragments.held_bytes <= reassembly.MAX_BYTES
    assert fails(station, six=six) > 100


def test_crumbs_are_bounded() -> None:
    station = Station()
    body = bytes(65000)
    for at in range(0, 8 * 1600, 8):
        station.hear(piece(body, at, at + 8))
    assert fails(station, six=False) == 1


def test_padding_is_not_kept() -> None:
    station = Station()
    body = datagram(bytes(100))
    station.hear(piece(body, 0, 8) + bytes(60000))
    kept = next(iter(station.stack._input.fragments._partials.values())).pieces[0][1]
    assert len(kept.obj) < 100


@pytest.mark.parametrize("last", [65512, 65504])
def test_longer_than_any_datagram(last: int) -> None:
    """The ping of death: the end lies beyond 65,535."""
    station = Station()
    body = bytes(last + 200)
    for at in range(0, last, 8192):
        station.hear(piece(body, at, min(at + 8192, last)))
    head = ipv4.header(B, A, 17, 100, 64, 0, 7, last >> 3)
    station.hear(ethernet.header(MAC_A, MAC_B, ethernet.IPV4) + head + bytes(100))
    assert station.datagrams == []
    assert fails(station, six=False) == 1


@BOTH
def test_an_empty_fragment_with_more_to_come(six: bool) -> None:
    station = Station()
    station.hear(piece(bytes(100), 8, 8, six=six))
    assert fails(station, six=six) == 1


def test_fragments_within_fragments() -> None:
    station = Station()
    body = ipv6.fragment_header(17, 99, 0, more=True) + bytes(48)
    for at, end in ((0, 24), (24, len(body))):
        head = ipv6.header(B6, A6, ipv6.FRAGMENT, end - at + 8, 64, 0)
        head += ipv6.fragment_header(ipv6.FRAGMENT, 5, at, end < len(body))
        station.hear(ethernet.header(MAC_A, MAC_B, ethernet.IPV6) + head + body[at:end])
    assert station.datagrams == []
    assert len(station.stack._input.fragments) <= 1


def test_sources_do_not_mix() -> None:
    station = Station()
    body = datagram(bytes(100))
    station.hear(piece(body, 0, 56))
    station.hear(piece(body, 56, len(body), src=ip("10.0.0.3")))
    assert station.datagrams == []
    assert len(station.stack._input.fragments) == 2
