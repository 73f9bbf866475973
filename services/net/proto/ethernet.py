"""Ethernet II framing (RFC 894, 2464). VLAN tags and 802.3 lengths are not ours to read."""

from __future__ import annotations

HEADER_BYTES = 14
MIN_MTU = 68  # RFC 791: every link must carry this much

IPV4 = 0x0800
ARP = 0x0806
IPV6 = 0x86DD

_TYPE_BYTES = {kind: kind.to_bytes(2, "big") for kind in (IPV4, ARP, IPV6)}


def header(dst: bytes, src: bytes, kind: int) -> bytes:
    """Fourteen bytes; `kind` is one of IPV4, ARP, IPV6."""
    return dst + src + _TYPE_BYTES[kind]


def decode(frame: bytes | memoryview) -> tuple[bytes, bytes, int]:
    """(destination, source, type). ValueError: shorter than a header."""
    if len(frame) < HEADER_BYTES:
        raise ValueError("Ethernet header cut short")
    return bytes(frame[:6]), bytes(frame[6:12]), frame[12] << 8 | frame[13]


def is_group(mac: bytes) -> bool:
    """A multicast or broadcast address: the lowest bit of its first byte."""
    return mac[0] & 1 == 1
