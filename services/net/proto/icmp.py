"""ICMP (RFC 792, 1122, 1191) and the message format that it shares with ICMPv6 (RFC 4443).

What ICMPv6 adds is in `icmpv6` and `ndp`.
"""

from __future__ import annotations

import errno
from struct import Struct
from typing import TYPE_CHECKING

from services.net.proto.checksum import ChecksumError, is_valid, pseudo_header, sum_bytes

if TYPE_CHECKING:
    from services.net.proto.packet import Part

PROTO = 1
PROTO_V6 = 58
HEADER_BYTES = 8

ECHO_REPLY = 0
DEST_UNREACHABLE = 3
SOURCE_QUENCH = 4
REDIRECT = 5
ECHO = 8
TIME_EXCEEDED = 11
PARAMETER_PROBLEM = 12

NET_UNREACHABLE = 0
HOST_UNREACHABLE = 1
PROTOCOL_UNREACHABLE = 2
PORT_UNREACHABLE = 3
FRAGMENTATION_NEEDED = 4
ADMIN_PROHIBITED = 13
"""Codes of DEST_UNREACHABLE."""

REASSEMBLY_TIMEOUT = 1
"""Code of TIME_EXCEEDED; 0 is the time to live."""

ERROR_TYPES = frozenset({DEST_UNREACHABLE, SOURCE_QUENCH, REDIRECT, TIME_EXCEEDED, 12})

# What a socket is told for each code of DEST_UNREACHABLE, and whether a TCP connection being made
# ends at it; as Linux's icmp(7) and ip(7) behave.
_UNREACHABLE_ERRNO = (
    (errno.ENETUNREACH, False),
    (errno.EHOSTUNREACH, False),
    (errno.ENOPROTOOPT, True),
    (errno.ECONNREFUSED, True),
    (errno.EMSGSIZE, False),
    (errno.EOPNOTSUPP, False),
    (errno.ENETUNREACH, True),
    (errno.EHOSTDOWN, True),
    (errno.ENONET, True),
    (errno.ENETUNREACH, True),
    (errno.EHOSTUNREACH, True),
    (errno.ENETUNREACH, False),
    (errno.EHOSTUNREACH, False),
    (errno.EHOSTUNREACH, True),
    (errno.EHOSTUNREACH, True),
    (errno.EHOSTUNREACH, True),
)

_HEADER = Struct("!BBHI")
_pack = _HEADER.pack
_unpack_from = _HEADER.unpack_from


class Message:
    """An ICMP or ICMPv6 message, a `Payload`; which of them, the addresses tell on encoding."""

    __slots__ = ("body", "code", "rest", "type")

    checksum_at = -1  # always complete
    gso_bytes = 0

    def __init__(self, type_: int, code: int, rest: int = 0, body: Part = b"") -> None:
        self.type = type_
        self.code = code
        self.rest = rest  # bytes 4 to 8 as a number: id and sequence of an echo, an MTU, a pointer
        self.body = body

    @property
    def size_bytes(self) -> int:
        """Header and body."""
        return 8 + len(self.body)

    def encode(self, src: bytes, dst: bytes, offload: bool) -> list[Part]:
        """Header and body, the checksum complete in any case."""
        body = self.body
        total = (self.type << 8 | self.code) + self.rest + sum_bytes(body)
        if len(src) == 16:
            total += pseudo_header(src, dst, PROTO_V6, 8 + len(body))
        return [_pack(self.type, self.code, -total % 0xFFFF, self.rest), body]

    def __repr__(self) -> str:
        return f"Message(type={self.type}, code={self.code}, {len(self.body)} bytes)"


def decode(data: memoryview, src: bytes, dst: bytes, checked: bool) -> Message:
    """Read a message of either family; its body is a view. ValueError, ChecksumError."""
    if len(data) < 8:
        raise ValueError("ICMP header cut short")
    if not checked:
        pseudo = pseudo_header(src, dst, PROTO_V6, len(data)) if len(src) == 16 else 0
        if not is_valid(data, pseudo):
            raise ChecksumError
    type_, code, _, rest = _unpack_from(data)
    return Message(type_, code, rest, data[8:])


class IcmpError:
    """An error that someone reports about a datagram of ours, for the transport that sent it.

    Nothing in it is to be believed before the transport has matched `data` to something that it
    has under way (RFC 5927).
    """

    __slots__ = ("code", "data", "dst", "errno", "fatal", "mtu", "offender", "proto", "src", "type")

    def __init__(
        self,
        type_: int,
        code: int,
        mtu: int,
        proto: int,
        src: bytes,
        dst: bytes,
        data: bytes,
        offender: bytes,
        number: int,
        fatal: bool,
    ) -> None:
        self.type = type_  # of ICMP or ICMPv6, by `family`
        self.code = code
        self.mtu = mtu  # bytes of a whole IP datagram; 0: not told
        self.proto = proto
        self.src = src  # ours
        self.dst = dst  # whom we wrote to
        self.data = data  # the transport's header, first 8 bytes at least
        self.offender = offender  # who reports
        self.errno = number  # what a socket is told; 0: nothing
        self.fatal = fatal  # a "hard" error (RFC 1122 4.2.3.9)

    @property
    def family(self) -> int:
        """AF_INET (2) or AF_INET6 (10)."""
        return 2 if len(self.src) == 4 else 10

    def __repr__(self) -> str:
        return (
            f"IcmpError(type={self.type}, code={self.code}, mtu={self.mtu}, proto={self.proto}, "
            f"{self.src.hex()} > {self.dst.hex()}, from {self.offender.hex()})"
        )


def errno_of(type_: int, code: int) -> tuple[int, bool]:
    """(errno, fatal) for an ICMP error; (0, False) for what sockets are not told."""
    if type_ == DEST_UNREACHABLE:
        return _UNREACHABLE_ERRNO[code] if code < 16 else (errno.EHOSTUNREACH, True)
    if type_ == TIME_EXCEEDED:
        return errno.EHOSTUNREACH, False
    if type_ == PARAMETER_PROBLEM:
        return errno.EPROTO, True
    return 0, False
