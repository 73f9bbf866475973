"""Do two stacks on a wire understand each other?"""

from __future__ import annotations

import os

import pytest

from services.net.proto.packet import Packet, Raw
from tests.net.ip.wire import A6, B6, A, B, pair

BOTH = pytest.mark.parametrize(("src", "dst"), [(A, B), (A6, B6)], ids=["v4", "v6"])


@BOTH
@pytest.mark.parametrize("length", [0, 1, 1400, 1473, 5000, 60000])
def test_echo(src: bytes, dst: bytes, length: int) -> None:
    left, right, wire = pair()
    data = os.urandom(length)
    replies: list[tuple[Packet, bytes]] = []
    left.stack.raw_listeners.append(lambda packet, raw: bool(replies.append((packet, raw))))
    left.ping(src, dst, data)
    wire.run()
    head, kind = (20, 0) if len(src) == 4 else (40, 129)
    ((packet, raw),) = [one for one in replies if one[1][head] == kind]
    assert (packet.src, packet.dst) == (dst, src)
    assert raw[head + 8 :] == data
    assert wire.longest <= 1514
    assert right.stack.is_local(dst)


@BOTH
@pytest.mark.parametrize("length", [0, 1, 1472, 1473, 9000, 65507])
@pytest.mark.parametrize("offload", [False, True])
def test_datagrams(src: bytes, dst: bytes, length: int, offload: bool) -> None:
    left, right, wire = pair(offload=offload)
    data = os.urandom(length)
    left.send_udp(src, dst, data)
    wire.run()
    (packet,) = right.datagrams
    assert bytes(packet.payload.data) == data
    assert (packet.src, packet.dst, packet.ifindex) == (src, dst, right.eth.index)
    assert len(right.stack._input.fragments) == 0


@pytest.mark.parametrize("mtu", [68, 576, 1280, 9000])
def test_any_mtu(mtu: int) -> None:
    left, right, wire = pair(mtu)
    data = os.urandom(3000)
    left.send_udp(A, B, data)
    wire.run()
    assert bytes(right.datagrams[0].payload.data) == data
    assert wire.longest <= mtu + 14


@BOTH
def test_a_closed_port_is_told(src: bytes, dst: bytes) -> None:
    left, right, wire = pair()
    right.stack.protocols[17] = right.stack.unreachable
    left.send_udp(src, dst, b"anyone?", ports=(7, 9))
    wire.run()
    (error,) = left.errors
    assert (error.proto, error.src, error.dst, error.offender) == (17, src, dst, dst)
    assert error.data[:4] == b"\0\7\0\x09"
    assert (error.errno, error.fatal) == (111, True)


@BOTH
def test_an_unknown_protocol_is_told(src: bytes, dst: bytes) -> None:
    left, _right, wire = pair()
    left.stack.output(Packet(200, src, dst, Raw(b"12345678")))
    wire.run()
    (error,) = left.errors
    assert error.proto == 200
    assert error.errno == (92 if len(src) == 4 else 71)
