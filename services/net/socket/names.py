"""`struct sockaddr` of the Internet families (ip(7), ipv6(7)), to and from addresses.

Inside net an address is 4 or 16 bytes, and an IPv6 socket that talks IPv4 uses 4: the mapped form,
::ffff:a.b.c.d, exists only in what programs see.
"""

from __future__ import annotations

import struct
from errno import EAFNOSUPPORT, EINVAL

from bus.errors import PosixError
from services.net.socket.abi import AF_INET, AF_INET6

INET_BYTES, INET6_BYTES, INET6_OLD_BYTES = 16, 28, 24
ANY4, ANY6 = bytes(4), bytes(16)
MAPPED = bytes(10) + b"\xff\xff"
LOOPBACK4, LOOPBACK6 = b"\x7f\0\0\1", bytes(15) + b"\1"
_UNPACK_PORT = struct.Struct(">H").unpack_from
_PACK_INET = struct.Struct("=H2s4s8x").pack
_PACK_INET6 = struct.Struct("=H2sI16sI").pack


def family_of(name: bytes) -> int:
    """`sa_family`; EINVAL for a name too short to have one."""
    if len(name) < 2:
        raise PosixError(EINVAL)
    return int.from_bytes(name[:2], "little")


def decode(name: bytes, family: int) -> tuple[bytes, int, int]:
    """(address, port, scope) of a name for a socket of `family`; EINVAL, EAFNOSUPPORT.

    An IPv6 socket is answered with 4 bytes for a mapped address; the unspecified address stays
    16 bytes of zeros.
    """
    if family == AF_INET:
        if len(name) < INET_BYTES:
            raise PosixError(EINVAL)
        if family_of(name) != AF_INET:
            raise PosixError(EAFNOSUPPORT)
        return name[4:8], _UNPACK_PORT(name, 2)[0], 0
    if len(name) < INET6_OLD_BYTES:
        raise PosixError(EINVAL)
    if family_of(name) != AF_INET6:
        raise PosixError(EAFNOSUPPORT)
    address, port = name[8:24], _UNPACK_PORT(name, 2)[0]
    scope = int.from_bytes(name[24:28], "little") if len(name) >= INET6_BYTES else 0
    if address.startswith(MAPPED):
        return address[12:], port, 0
    return address, port, scope


def encode(address: bytes, port: int, family: int, scope: int = 0) -> bytes:
    """The name of an address as a socket of `family` shows it."""
    if family == AF_INET:
        return _PACK_INET(AF_INET, port.to_bytes(2, "big"), address)
    if len(address) == 4:
        address = ANY6 if address == ANY4 else MAPPED + address
    if not (address[0] == 0xFE and address[1] & 0xC0 == 0x80):
        scope = 0  # only link-local addresses have one
    return _PACK_INET6(AF_INET6, port.to_bytes(2, "big"), 0, address, scope)


def is_any(address: bytes) -> bool:
    """The unspecified address of either family."""
    return not any(address)


def is_multicast(address: bytes) -> bool:
    """224.0.0.0/4 or ff00::/8."""
    return address[0] & 0xF0 == 0xE0 if len(address) == 4 else address[0] == 0xFF


def is_link_local6(address: bytes) -> bool:
    """fe80::/10, which means something on one link alone."""
    return len(address) == 16 and address[0] == 0xFE and address[1] & 0xC0 == 0x80


def needs_scope(address: bytes) -> bool:
    """A link-local address, or a group of one link or interface: one must say which."""
    if len(address) != 16:
        return False
    return is_link_local6(address) or (address[0] == 0xFF and address[1] & 0x0F in (1, 2))
