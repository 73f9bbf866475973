"""Are segments those that a TCP without offload would have sent, checksums and all?"""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.net.proto import checksum, gso
from services.net.proto.packet import GSO_TCPV4, GSO_TCPV6, Frame
from tests.net.proto.scapyoracle import IP, TCP, UDP, Ether, IPv6

HEADS = {GSO_TCPV4: (IP, "10.0.2.15", "10.0.2.2"), GSO_TCPV6: (IPv6, "fe80::1", "fe80::2")}


def big_frame(kind: int, flags: str, body: bytes, sequence: int = 0xFFFFFF00) -> tuple[Any, Frame]:
    """(scapy's packet, our frame with a partial checksum)."""
    layer, src, dst = HEADS[kind]
    options = [("NOP", None), ("NOP", None), ("Timestamp", (1, 2))]
    tcp = TCP(sport=80, dport=1234, seq=sequence, ack=9, flags=flags, options=options)
    packet = Ether(dst="52:55:0a:00:02:02", src="52:54:00:12:34:56") / layer(src=src, dst=dst)
    if kind == GSO_TCPV4:
        packet[IP].id = 0xFFFE
    packet = packet / tcp / body
    wire = bytearray(bytes(packet))
    at = 34 if kind == GSO_TCPV4 else 54
    head = at + 32
    addresses = wire[26:34] if kind == GSO_TCPV4 else wire[22:54]
    pseudo = checksum.pseudo_header(bytes(addresses), b"", 6, len(wire) - at)
    wire[at + 16 : at + 18] = pseudo.to_bytes(2, "big")
    cut = len(body) // 2  # parts need not end where headers do
    parts = [bytes(wire[:20]), bytes(wire[20 : head + cut]), memoryview(wire)[head + cut :]]
    return packet, Frame(parts, at, 16, kind, 1000, head)


@pytest.mark.parametrize("kind", [GSO_TCPV4, GSO_TCPV6])
@pytest.mark.parametrize("length", [0, 1, 999, 1000, 1001, 2000, 30001])
@pytest.mark.parametrize("flags", ["A", "PA", "FPA", "PAC"])
def test_segments_are_as_scapy_would_build_them(kind: int, length: int, flags: str) -> None:
    body = os.urandom(length)
    packet, frame = big_frame(kind, flags, body)
    frames = gso.split(frame)
    pieces = [body[at : at + 1000] for at in range(0, max(length, 1), 1000)]
    assert len(frames) == len(pieces)
    for number, (ours, piece) in enumerate(zip(frames, pieces, strict=True)):
        assert (ours.checksum_start, ours.gso_type) == (-1, 0)
        want = packet.copy()
        want[TCP].remove_payload()
        want[TCP].seq = (0xFFFFFF00 + 1000 * number) & 0xFFFFFFFF
        left = flags
        if number < len(pieces) - 1:
            left = left.replace("F", "").replace("P", "")
        if number:
            left = left.replace("C", "")
        want[TCP].flags = left
        if kind == GSO_TCPV4:
            want[IP].id = (0xFFFE + number) & 0xFFFF
        assert b"".join(ours.parts) == bytes(want / piece)


@pytest.mark.parametrize("kind", [GSO_TCPV4, GSO_TCPV6])
def test_completing_a_checksum(kind: int) -> None:
    packet, frame = big_frame(kind, "PA", b"some odd body")
    frame.gso_type = 0
    assert [b"".join(done.parts) for done in gso.split(frame)] == [bytes(packet)]
    done = gso.complete(frame)
    assert done.checksum_start == -1
    assert gso.complete(done) is done


def test_a_udp_checksum_never_becomes_zero() -> None:
    wire = bytearray(bytes(Ether() / IP(src="1.2.3.4", dst="1.2.3.5") / UDP() / b"\0\0"))
    pseudo = checksum.pseudo_header(bytes(wire[26:34]), b"", 17, 10)
    wire[40:42] = pseudo.to_bytes(2, "big")
    # The body that makes the sum come out as 0xffff.
    wire[42:44] = checksum.finish(checksum.sum_bytes(wire[34:42])).to_bytes(2, "big")
    (done,) = gso.split(Frame([bytes(wire)], 34, 6))
    assert b"".join(done.parts)[40:42] == b"\xff\xff"


def test_a_tcp_checksum_may_be_zero() -> None:
    """As Wireshark wants it, unlike UDP's; any body whose sum fits will do."""
    _, frame = big_frame(GSO_TCPV4, "PA", b"xx")
    frame.gso_type = 0
    wire = bytearray(b"".join(frame.parts))
    wanted = checksum.finish(checksum.sum_bytes(wire[34:]))
    wire[-2:] = ((int.from_bytes(wire[-2:], "big") + wanted) % 0xFFFF).to_bytes(2, "big")
    frame.parts = [bytes(wire)]
    (done,) = gso.split(frame)
    assert b"".join(done.parts)[50:52] == b"\0\0"


@given(
    st.binary(max_size=120),
    st.integers(-2, 130),
    st.integers(0, 60),
    st.sampled_from([0, 1, 3, 4, 5]),
    st.integers(-1, 70000),
    st.integers(0, 130),
)
def test_fields_that_make_no_sense_are_refused(
    data: bytes, start: int, at: int, kind: int, size: int, head: int
) -> None:
    try:
        frames = gso.split(Frame([data], start, at, kind, size, head))
    except ValueError:
        return
    assert frames
