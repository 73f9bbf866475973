"""The IPv4 header (RFC 791)."""

from __future__ import annotations

from struct import Struct

from services.net.proto.checksum import ChecksumError, sum_bytes
from services.net.proto.ipheader import IpHeader, ParameterProblem

HEADER_BYTES = 20
MAX_BYTES = 0xFFFF
DONT_FRAGMENT = 0x4000
MORE_FRAGMENTS = 0x2000
_OFFSET_MASK = 0x1FFF

_END_OF_OPTIONS, _NO_OPERATION = 0, 1
_LOOSE_SOURCE_ROUTE, _STRICT_SOURCE_ROUTE = 131, 137

_HEADER = Struct("!BBHHHBBH4s4s")
_pack = _HEADER.pack
_unpack_from = _HEADER.unpack_from
_number = int.from_bytes


def header(
    src: bytes,
    dst: bytes,
    proto: int,
    payload_bytes: int,
    ttl: int,
    tos: int,
    ident: int,
    fragment: int,
) -> bytes:
    """Twenty bytes, checksum done. `fragment`: flags and offset / 8, as on the wire."""
    length = payload_bytes + 20
    # The sum of the header's words, without packing it twice.
    total = (
        (0x4500 | tos)
        + length
        + ident
        + fragment
        + (ttl << 8 | proto)
        + _number(src, "big")
        + _number(dst, "big")
    )
    return _pack(0x45, tos, length, ident, fragment, ttl, proto, -total % 0xFFFF, src, dst)


def decode(data: memoryview) -> IpHeader:
    """Read and check a header. Options are skipped, but a source route is refused.

    ValueError: malformed. ChecksumError. ParameterProblem: options that do not add up.
    """
    if len(data) < 20:
        raise ValueError("IPv4 header cut short")
    first, tos, length, ident, fragment, ttl, proto, _, src, dst = _unpack_from(data)
    start = (first & 15) << 2
    if first >> 4 != 4 or not 20 <= start <= length <= len(data):
        raise ValueError("IPv4 version or length")
    if sum_bytes(data[:start]):
        raise ChecksumError
    if start > 20:
        _check_options(data[:start])
    return IpHeader(
        src,
        dst,
        proto,
        ttl,
        tos,
        start,
        length,
        fragment & DONT_FRAGMENT != 0,
        ident,
        (fragment & _OFFSET_MASK) << 3,
        fragment & MORE_FRAGMENTS != 0,
    )


def decode_quoted(data: memoryview) -> IpHeader:
    """Read the header that an ICMP error quotes: cut off anywhere, its checksum perhaps stale.

    ValueError: not even a header.
    """
    if len(data) < 20:
        raise ValueError("quoted header cut short")
    first, tos, length, ident, fragment, ttl, proto, _, src, dst = _unpack_from(data)
    start = (first & 15) << 2
    if first >> 4 != 4 or not 20 <= start <= len(data):
        raise ValueError("quoted header")
    offset = (fragment & _OFFSET_MASK) << 3
    return IpHeader(src, dst, proto, ttl, tos, start, length, True, ident, offset)


def _check_options(head: memoryview) -> None:
    """Walk the options (RFC 791 3.1); a host that does not route obeys no source route."""
    at = HEADER_BYTES
    end = len(head)
    while at < end:
        kind = head[at]
        if kind == _END_OF_OPTIONS:
            return
        if kind == _NO_OPERATION:
            at += 1
            continue
        length = head[at + 1] if at + 1 < end else 0
        if length < 2 or at + length > end:
            raise ParameterProblem(at)
        if kind in (_LOOSE_SOURCE_ROUTE, _STRICT_SOURCE_ROUTE):
            raise ValueError("source route")
        at += length
