"""UDP (RFC 768; over IPv6: RFC 8200 8.1)."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from services.net.proto.checksum import ChecksumError, is_valid, pseudo_header, sum_bytes

if TYPE_CHECKING:
    from services.net.proto.packet import Part

PROTO = 17
HEADER_BYTES = 8
MAX_DATA_BYTES = 0xFFFF - HEADER_BYTES
"""What the length field can tell. IPv4's own header leaves 20 bytes less."""

_HEADER = Struct("!HHHH")
_pack = _HEADER.pack
_unpack_from = _HEADER.unpack_from


class Datagram:
    """One UDP datagram, a `Payload`."""

    __slots__ = ("data", "source_port", "target_port", "unchecked")

    checksum_at = 6
    gso_bytes = 0

    def __init__(
        self, source_port: int, target_port: int, data: Part, unchecked: bool = False
    ) -> None:
        self.source_port = source_port
        self.target_port = target_port
        self.data = data
        self.unchecked = unchecked  # SO_NO_CHECK: no checksum; IPv4 only

    @property
    def size_bytes(self) -> int:
        """Header and data."""
        return HEADER_BYTES + len(self.data)

    def encode(self, src: bytes, dst: bytes, offload: bool) -> list[Part]:
        """Header and data. ValueError: more than `MAX_DATA_BYTES`."""
        data = self.data
        length = 8 + len(data)
        if length > 0xFFFF:
            raise ValueError("UDP datagram too long")
        if self.unchecked:
            check = 0
        else:
            check = pseudo_header(src, dst, PROTO, length)
            if not offload:
                total = check + self.source_port + self.target_port + length + sum_bytes(data)
                check = -total % 0xFFFF or 0xFFFF
        return [_pack(self.source_port, self.target_port, length, check), data]

    def __repr__(self) -> str:
        return f"Datagram({self.source_port} > {self.target_port}, {len(self.data)} bytes)"


def decode(data: memoryview, src: bytes, dst: bytes, checked: bool) -> Datagram:
    """Read a datagram; its data is a view on `data`.

    `checked`: the checksum is known to be good, or left to be completed by a sender on this host.
    ValueError: malformed. ChecksumError: wrong, or zero over IPv6.
    """
    if len(data) < 8:
        raise ValueError("UDP header cut short")
    source_port, target_port, length, check = _unpack_from(data)
    if not 8 <= length <= len(data):
        raise ValueError("UDP length")
    if length < len(data):
        data = data[:length]
    if not checked:
        if check:
            if not is_valid(data, pseudo_header(src, dst, PROTO, length)):
                raise ChecksumError
        elif len(src) == 16:
            raise ChecksumError
    return Datagram(source_port, target_port, data[8:])
