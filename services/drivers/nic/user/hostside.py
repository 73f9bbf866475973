"""Endpoints of ours, (bytes, port), as the host's socket calls want them, and back."""

from __future__ import annotations

import socket
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from services.drivers.nic.user.plan import Endpoint

_V4_MAPPED = bytes(10) + b"\xff\xff"


def family_of(address: bytes) -> socket.AddressFamily:
    """AF_INET or AF_INET6."""
    return socket.AF_INET if len(address) == 4 else socket.AF_INET6


@lru_cache(maxsize=4096)
def sockaddr(endpoint: Endpoint) -> tuple[str, int]:
    """What connect(2) and sendto(2) take."""
    address, port = endpoint
    return socket.inet_ntop(family_of(address), address), port


@lru_cache(maxsize=4096)
def _endpoint(host: str, port: int) -> Endpoint:
    if ":" not in host:
        return socket.inet_aton(host), port
    address = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    return (address[12:] if address[:12] == _V4_MAPPED else address), port


def endpoint(found: tuple[Any, ...]) -> Endpoint:
    """What recvfrom(2) and accept(2) gave."""
    return _endpoint(found[0], found[1])


def reaches_v6() -> bool:
    """Whether the host has a route to the IPv6 Internet; nothing is sent."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.connect(("2001:db8::1", 53))
    except OSError:
        return False
    return True
