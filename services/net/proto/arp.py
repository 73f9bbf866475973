"""ARP for IPv4 over Ethernet (RFC 826); what is not that is malformed."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

REQUEST = 1
REPLY = 2
LENGTH_BYTES = 28

_FORMAT = Struct("!HHBBH6s4s6s4s")
_ETHERNET, _IPV4 = 1, 0x0800


class Arp(NamedTuple):
    """One ARP packet."""

    operation: int
    sender_mac: bytes
    sender: bytes
    target_mac: bytes
    target: bytes

    def encode(self) -> bytes:
        """The 28 bytes behind the Ethernet header."""
        operation, *addresses = self
        return _FORMAT.pack(_ETHERNET, _IPV4, 6, 4, operation, *addresses)


def decode(data: bytes | memoryview) -> Arp:
    """Read a packet; padding behind it is ignored. ValueError."""
    if len(data) < LENGTH_BYTES:
        raise ValueError("ARP packet cut short")
    hardware, protocol, hardware_bytes, protocol_bytes, *fields = _FORMAT.unpack_from(data)
    if (hardware, protocol, hardware_bytes, protocol_bytes) != (_ETHERNET, _IPV4, 6, 4):
        raise ValueError("ARP for something else than IPv4 over Ethernet")
    if fields[0] not in (REQUEST, REPLY):
        raise ValueError("ARP operation")
    return Arp(*fields)
