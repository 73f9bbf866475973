"""What crosses between the layers."""

from __future__ import annotations

from services.net.proto.packet import Frame, Packet, Payload, Raw


def test_raw_bytes_are_a_payload() -> None:
    payload: Payload = Raw(b"abc")
    assert payload.encode(b"", b"", True) == [b"abc"]
    assert (payload.checksum_at, payload.gso_bytes) == (-1, 0)


def test_defaults() -> None:
    packet = Packet(17, b"\x7f\0\0\1", b"\x7f\0\0\1", Raw(b""))
    assert (packet.ttl, packet.tos, packet.ifindex, packet.dont_fragment) == (64, 0, 0, False)
    frame = Frame([b"ab", b"c"])
    assert frame.length_bytes == 3
    assert (frame.checksum_start, frame.gso_type) == (-1, 0)
