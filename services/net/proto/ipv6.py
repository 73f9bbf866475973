"""The IPv6 header and its extension headers (RFC 8200).

Read: hop-by-hop and destination options, routing (nothing but segments left = 0), fragment.
Whatever else follows is the payload's protocol number, which the stack may not know.
"""

from __future__ import annotations

from struct import Struct

from services.net.proto import icmpv6
from services.net.proto.ipheader import IpHeader, ParameterProblem

HEADER_BYTES = 40
FRAGMENT_HEADER_BYTES = 8
MIN_MTU = 1280
MAX_PAYLOAD_BYTES = 0xFFFF

HOP_BY_HOP = 0
ROUTING = 43
FRAGMENT = 44
NO_NEXT_HEADER = 59
DESTINATION_OPTIONS = 60
_EXTENSIONS = frozenset({HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS})
_MAX_EXTENSIONS = 8
_MAX_OPTIONS = 8

# RFC 7112: the first fragment holds all headers, the transport's too.
_TRANSPORT_HEADER_BYTES = {6: 20, 17: 8, 58: 8}

_PAD1, _PADN, _ROUTER_ALERT = 0, 1, 5

_HEADER = Struct("!IHBB16s16s")
_FRAGMENT = Struct("!BBHI")
_pack = _HEADER.pack
_unpack_from = _HEADER.unpack_from


def header(src: bytes, dst: bytes, proto: int, payload_bytes: int, ttl: int, tos: int) -> bytes:
    """Forty bytes; `payload_bytes` counts extension headers, `proto` is the first of them."""
    return _pack(0x60000000 | tos << 20, payload_bytes, proto, ttl, src, dst)


def fragment_header(proto: int, ident: int, offset_bytes: int, more: bool) -> bytes:
    """Eight bytes; the offset is a multiple of 8."""
    return _FRAGMENT.pack(proto, 0, offset_bytes | more, ident)


def decode(data: memoryview) -> IpHeader:
    """Read the headers up to the payload, or up to and including a fragment header.

    ValueError: malformed. ParameterProblem: the sender is to be told.
    """
    if len(data) < 40:
        raise ValueError("IPv6 header cut short")
    word, length, proto, ttl, src, dst = _unpack_from(data)
    end = 40 + length
    if word >> 28 != 6 or end > len(data):
        raise ValueError("IPv6 version or length")
    head = IpHeader(src, dst, proto, ttl, word >> 20 & 0xFF, 40, end)
    if proto in _EXTENSIONS:
        _walk(head, data[:end])
    return head


def decode_quoted(data: memoryview) -> IpHeader:
    """Read headers that are not to be judged: quoted by an ICMP error, cut off anywhere, or bad.

    Extension headers are passed by their lengths alone. ValueError: not even a fixed header.
    """
    if len(data) < 40:
        raise ValueError("quoted header cut short")
    word, length, proto, ttl, src, dst = _unpack_from(data)
    if word >> 28 != 6:
        raise ValueError("quoted header")
    end = min(40 + length, len(data))
    head = IpHeader(src, dst, proto, ttl, word >> 20 & 0xFF, 40, end)
    for _ in range(_MAX_EXTENSIONS):
        at = head.start
        if head.proto not in _EXTENSIONS or at + 8 > end or head.fragment_at:
            break
        if head.proto == FRAGMENT:
            head.fragment_at = (data[at + 2] << 8 | data[at + 3]) & 0xFFF8
            head.start = at + 8
        else:
            head.start = min(at + (data[at + 1] + 1 << 3), end)
        head.proto = data[at]
    return head


def _walk(head: IpHeader, data: memoryview) -> None:
    """Move `head.start` and `head.proto` behind the extension headers."""
    link = 6  # where the number of the header at hand was read: what a pointer shows
    for _ in range(_MAX_EXTENSIONS):
        proto, at = head.proto, head.start
        if proto not in _EXTENSIONS:
            return
        if at + 8 > head.end:
            raise ValueError("extension header cut short")
        if proto == FRAGMENT:
            _read_fragment(head, data)
            if head.more_fragments or head.fragment_at:
                if head.fragment_at == 0:
                    _check_first_fragment(head, data)
                return
        else:
            length = (data[at + 1] + 1) << 3
            if at + length > head.end:
                raise ValueError("extension header cut short")
            if proto == ROUTING:
                if data[at + 3]:
                    raise ParameterProblem(at + 2, icmpv6.BAD_HEADER_FIELD)
            else:
                if proto == HOP_BY_HOP and at != HEADER_BYTES:
                    raise ParameterProblem(link, icmpv6.UNKNOWN_NEXT_HEADER)
                _check_options(data, at + 2, at + length)
            head.proto = data[at]
            head.start = at + length
        link = at
    raise ValueError("too many extension headers")


def _read_fragment(head: IpHeader, data: memoryview) -> None:
    at = head.start
    proto, _, offset, ident = _FRAGMENT.unpack_from(data, at)
    head.proto = proto
    head.start = at + FRAGMENT_HEADER_BYTES
    head.ident = ident
    head.fragment_at = offset & 0xFFF8
    head.more_fragments = offset & 1 == 1
    payload_bytes = head.end - head.start
    if head.more_fragments and payload_bytes & 7:
        raise ParameterProblem(4, icmpv6.BAD_HEADER_FIELD)
    if head.fragment_at + payload_bytes > MAX_PAYLOAD_BYTES:
        raise ParameterProblem(at + 2, icmpv6.BAD_HEADER_FIELD)


def _check_first_fragment(head: IpHeader, data: memoryview) -> None:
    """A first fragment that does not hold the whole header chain is refused (RFC 7112)."""
    rest = IpHeader(head.src, head.dst, head.proto, 0, 0, head.start, head.end)
    try:
        if rest.proto == FRAGMENT:
            raise ValueError("nested fragment header")
        if rest.proto in _EXTENSIONS:
            _walk(rest, data)
        whole = rest.end - rest.start >= _TRANSPORT_HEADER_BYTES.get(rest.proto, 0)
    except ParameterProblem:
        raise
    except ValueError:
        whole = False
    if not whole:
        raise ParameterProblem(head.start - 8, icmpv6.INCOMPLETE_HEADER_CHAIN)


def _check_options(data: memoryview, at: int, end: int) -> None:
    """Options of a hop-by-hop or destination header: what is unknown says itself what to do."""
    seen = 0
    while at < end:
        kind = data[at]
        if kind == _PAD1:
            at += 1
            continue
        if at + 2 > end or at + 2 + data[at + 1] > end:
            raise ValueError("option cut short")
        if kind not in (_PADN, _ROUTER_ALERT):
            action = kind >> 6
            if action == 1:
                raise ValueError("option that must be known")
            if action:
                raise ParameterProblem(at, icmpv6.UNKNOWN_OPTION, even_to_group=action == 2)
        seen += 1
        if seen > _MAX_OPTIONS:
            raise ValueError("too many options")
        at += 2 + data[at + 1]
