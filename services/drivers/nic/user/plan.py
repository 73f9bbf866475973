"""The addresses of the network behind the gateway, as slirp has them, and what they lead to.

| inside     | IPv4      | IPv6     | on the host                        |
|------------|-----------|----------|------------------------------------|
| the guest  | 10.0.2.15 | fec0::15 |                                    |
| gateway    | 10.0.2.2  | fec0::2  | 127.0.0.1, ::1                     |
| DNS        | 10.0.2.3  | fec0::3  | port 53 of the host's name server  |
| all others |           |          | themselves                         |

Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.net.proto import address as kinds

if TYPE_CHECKING:
    from collections.abc import Callable

Endpoint = tuple[bytes, int]

GUEST_MAC = b"\x52\x54\x00\x12\x34\x56"
GATEWAY_MAC = b"\x52\x55\x0a\x00\x02\x02"
MTU = 1500

GUEST = b"\x0a\0\2\x0f"
GATEWAY = b"\x0a\0\2\2"
DNS = b"\x0a\0\2\3"
PREFIX_BITS = 24

_SITE = b"\xfe\xc0" + bytes(13)
GUEST_V6 = _SITE + b"\x15"
GATEWAY_V6 = _SITE + b"\2"
DNS_V6 = _SITE + b"\3"
PREFIX_BITS_V6 = 64
GATEWAY_LINK_LOCAL = kinds.LINK_LOCAL_PREFIX + kinds.interface_identifier(GATEWAY_MAC)

OURS = frozenset({GATEWAY, DNS, GATEWAY_V6, DNS_V6, GATEWAY_LINK_LOCAL})
"""Addresses that the gateway itself answers for."""

_LOOPBACK = {GATEWAY: kinds.LOOPBACK_V4, GATEWAY_V6: kinds.LOOPBACK_V6}
_GATEWAYS = {host: inside for inside, host in _LOOPBACK.items()}
DNS_PORT = 53


def gateway_of(address: bytes) -> bytes:
    """The gateway's address in the family of another one."""
    return GATEWAY if len(address) == 4 else GATEWAY_V6


def guest_of(address: bytes) -> bytes:
    """The guest's address in the family of another one."""
    return GUEST if len(address) == 4 else GUEST_V6


def may_send(source: bytes) -> bool:
    """Whether the guest may use this address for itself: any of its network but ours."""
    if source in OURS:
        return False
    if len(source) == 4:
        return kinds.shares_prefix(source, GUEST, PREFIX_BITS)
    return kinds.shares_prefix(source, GUEST_V6, PREFIX_BITS_V6)


def to_host(target: Endpoint, name_server: Callable[[], bytes]) -> Endpoint | None:
    """Where on the host's side an endpoint leads; None: nowhere."""
    address, port = target
    if address in _LOOPBACK:
        return _LOOPBACK[address], port
    if address in (DNS, DNS_V6):
        return (name_server(), port) if port == DNS_PORT else None
    if (
        address in OURS
        or kinds.is_loopback(address)
        or kinds.is_multicast(address)
        or kinds.is_unspecified(address)
        or kinds.is_link_local(address)
        or kinds.is_v4_mapped(address)
        or address == kinds.BROADCAST_V4
        or kinds.shares_prefix(address, GUEST, PREFIX_BITS)
        or kinds.shares_prefix(address, GUEST_V6, PREFIX_BITS_V6)
    ):
        return None
    return target


def from_host(source: Endpoint) -> Endpoint:
    """The inside's view of an endpoint on the host's side."""
    return _GATEWAYS.get(source[0], source[0]), source[1]


def is_group(address: bytes) -> bool:
    """Whether a datagram to this address is for several: no error is sent about it."""
    return (
        kinds.is_multicast(address)
        or address == kinds.BROADCAST_V4
        or address == kinds.broadcast_of(GUEST, PREFIX_BITS)
    )
