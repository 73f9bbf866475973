"""Neighbour and router discovery (RFC 4861): the bodies of ICMPv6 messages 133 to 136.

Encoders give an `icmp.Message`; decoders read one. Options that are not known are skipped, an
option of length zero is malformed (4.6).
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from services.net.proto import icmpv6
from services.net.proto.icmp import Message

if TYPE_CHECKING:
    from collections.abc import Iterator

HOP_LIMIT = 255
"""Of every discovery message; another shows that a router let it through (RFC 4861 7.1)."""

FROM_ROUTER = 0x80000000
SOLICITED = 0x40000000
OVERRIDE = 0x20000000
"""`rest` of a neighbour advertisement."""

ON_LINK = 0x80
AUTONOMOUS = 0x40
"""Flags of a prefix."""

INFINITE_S = 0xFFFFFFFF

_SOURCE_MAC, _TARGET_MAC, _PREFIX, _MTU = 1, 2, 3, 5
_PREFIX_FORMAT = Struct("!BBIII16s")
_ADVERTISEMENT = Struct("!II")


class Prefix(NamedTuple):
    """A prefix that a router advertises (4.6.2); lifetimes in seconds, `INFINITE_S` for ever."""

    prefix: bytes
    prefix_bits: int
    flags: int
    valid_s: int
    preferred_s: int


class Neighbour(NamedTuple):
    """A neighbour solicitation or advertisement; `mac` is that of the option, if there is one."""

    target: bytes
    mac: bytes | None


class Router(NamedTuple):
    """A router advertisement (4.2). Zero: not told, but a lifetime of zero: no default router."""

    hop_limit: int
    flags: int
    lifetime_s: int
    reachable_ms: int
    retransmit_ms: int
    mac: bytes | None
    mtu: int
    prefixes: tuple[Prefix, ...]


def solicit(target: bytes, mac: bytes | None) -> Message:
    """A neighbour solicitation; `mac` is the sender's, None from the unspecified address."""
    body = target + _mac_option(_SOURCE_MAC, mac)
    return Message(icmpv6.NEIGHBOUR_SOLICITATION, 0, 0, body)


def advertise(target: bytes, mac: bytes, flags: int) -> Message:
    """A neighbour advertisement with the target's own MAC address."""
    body = target + _mac_option(_TARGET_MAC, mac)
    return Message(icmpv6.NEIGHBOUR_ADVERTISEMENT, 0, flags, body)


def solicit_router(mac: bytes | None) -> Message:
    """A router solicitation."""
    return Message(icmpv6.ROUTER_SOLICITATION, 0, 0, _mac_option(_SOURCE_MAC, mac))


def advertise_router(router: Router) -> Message:
    """A router advertisement."""
    body = [
        _ADVERTISEMENT.pack(router.reachable_ms, router.retransmit_ms),
        _mac_option(_SOURCE_MAC, router.mac),
    ]
    if router.mtu:
        body.append(bytes((_MTU, 1, 0, 0)) + router.mtu.to_bytes(4, "big"))
    body.extend(
        bytes((_PREFIX, 4))
        + _PREFIX_FORMAT.pack(
            prefix.prefix_bits, prefix.flags, prefix.valid_s, prefix.preferred_s, 0, prefix.prefix
        )
        for prefix in router.prefixes
    )
    rest = router.hop_limit << 24 | router.flags << 16 | router.lifetime_s
    return Message(icmpv6.ROUTER_ADVERTISEMENT, 0, rest, b"".join(body))


def decode_neighbour(message: Message) -> Neighbour:
    """Read a neighbour solicitation or advertisement. ValueError."""
    body = message.body
    if len(body) < 16:
        raise ValueError("neighbour discovery cut short")
    wanted = _SOURCE_MAC if message.type == icmpv6.NEIGHBOUR_SOLICITATION else _TARGET_MAC
    mac = None
    for kind, value in _options(body[16:]):
        if kind == wanted and mac is None:
            mac = _mac_of(value)
    return Neighbour(bytes(body[:16]), mac)


def decode_solicit_router(message: Message) -> bytes | None:
    """The MAC address that a router solicitation gives. ValueError."""
    return next((_mac_of(value) for kind, value in _options(message.body) if kind == 1), None)


def decode_router(message: Message) -> Router:
    """Read a router advertisement. ValueError."""
    body = message.body
    if len(body) < 8:
        raise ValueError("router advertisement cut short")
    reachable_ms, retransmit_ms = _ADVERTISEMENT.unpack_from(body)
    mac, mtu, prefixes = None, 0, []
    for kind, value in _options(body[8:]):
        if kind == _SOURCE_MAC:
            mac = _mac_of(value)
        elif kind == _MTU:
            if len(value) != 6:
                raise ValueError("MTU option")
            mtu = int.from_bytes(value[2:], "big")
        elif kind == _PREFIX:
            if len(value) != 30:
                raise ValueError("prefix option")
            bits, flags, valid_s, preferred_s, _, prefix = _PREFIX_FORMAT.unpack(value)
            if bits > 128:
                raise ValueError("prefix length")
            prefixes.append(Prefix(prefix, bits, flags, valid_s, preferred_s))
    rest = message.rest
    return Router(
        rest >> 24,
        rest >> 16 & 0xFF,
        rest & 0xFFFF,
        reachable_ms,
        retransmit_ms,
        mac,
        mtu,
        tuple(prefixes),
    )


def _mac_option(kind: int, mac: bytes | None) -> bytes:
    return b"" if mac is None else bytes((kind, 1)) + mac


def _mac_of(value: bytes) -> bytes:
    if len(value) != 6:
        raise ValueError("link-layer address option")
    return value


def _options(data: bytes | memoryview) -> Iterator[tuple[int, bytes]]:
    """(type, value) of each option."""
    at, end = 0, len(data)
    while at < end:
        length = data[at + 1] << 3 if at + 2 <= end else 0
        if length == 0 or at + length > end:
            raise ValueError("discovery option")
        yield data[at], bytes(data[at + 2 : at + length])
        at += length
