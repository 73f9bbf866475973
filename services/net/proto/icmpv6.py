"""ICMPv6's own numbers (RFC 4443). Its message format is `icmp.Message`; discovery is in `ndp`."""

from __future__ import annotations

import errno

from services.net.proto import icmp

PROTO = icmp.PROTO_V6

DEST_UNREACHABLE = 1
PACKET_TOO_BIG = 2
TIME_EXCEEDED = 3
PARAMETER_PROBLEM = 4
ECHO = 128
ECHO_REPLY = 129
ROUTER_SOLICITATION = 133
ROUTER_ADVERTISEMENT = 134
NEIGHBOUR_SOLICITATION = 135
NEIGHBOUR_ADVERTISEMENT = 136
REDIRECT = 137

NO_ROUTE = 0
ADMIN_PROHIBITED = 1
ADDRESS_UNREACHABLE = 3
PORT_UNREACHABLE = 4
"""Codes of DEST_UNREACHABLE."""

REASSEMBLY_TIMEOUT = 1
"""Code of TIME_EXCEEDED; 0 is the hop limit."""

BAD_HEADER_FIELD = 0
UNKNOWN_NEXT_HEADER = 1
UNKNOWN_OPTION = 2
INCOMPLETE_HEADER_CHAIN = 3
"""Codes of PARAMETER_PROBLEM (the last: RFC 7112)."""

_UNREACHABLE_ERRNO = (
    (errno.ENETUNREACH, False),
    (errno.EACCES, True),
    (errno.EHOSTUNREACH, False),
    (errno.EHOSTUNREACH, False),
    (errno.ECONNREFUSED, True),
    (errno.EACCES, True),
    (errno.EACCES, True),
)


def is_error(type_: int) -> bool:
    """Types below 128 are errors (RFC 4443 2.1)."""
    return type_ < 128


def errno_of(type_: int, code: int) -> tuple[int, bool]:
    """(errno, fatal) as `icmp.errno_of`; what Linux tells sockets, ipv6(7)."""
    if type_ == DEST_UNREACHABLE:
        return _UNREACHABLE_ERRNO[code] if code < 7 else (errno.EPROTO, False)
    if type_ == PACKET_TOO_BIG:
        return errno.EMSGSIZE, False
    if type_ == TIME_EXCEEDED:
        return errno.EHOSTUNREACH, False
    if type_ == PARAMETER_PROBLEM:
        return errno.EPROTO, True
    return 0, False
