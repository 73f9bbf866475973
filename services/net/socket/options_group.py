"""Membership in multicast groups: IP_ADD_MEMBERSHIP and its like (ip(7), ipv6(7), RFC 3678)."""

from __future__ import annotations

from errno import EADDRINUSE, EADDRNOTAVAIL, EINVAL, ENODEV
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.net.socket import abi
from services.net.socket.abi import AF_INET, AF_INET6, IPPROTO_IP, IPPROTO_IPV6, STREAM

if TYPE_CHECKING:
    from services.net.socket.inet import InetSocket

MEMBERSHIPS = {
    (IPPROTO_IP, abi.IP_ADD_MEMBERSHIP): True,
    (IPPROTO_IP, abi.IP_DROP_MEMBERSHIP): False,
    (IPPROTO_IP, abi.MCAST_JOIN_GROUP): True,
    (IPPROTO_IP, abi.MCAST_LEAVE_GROUP): False,
    (IPPROTO_IPV6, abi.IPV6_ADD_MEMBERSHIP): True,
    (IPPROTO_IPV6, abi.IPV6_DROP_MEMBERSHIP): False,
    (IPPROTO_IPV6, abi.MCAST_JOIN_GROUP): True,
    (IPPROTO_IPV6, abi.MCAST_LEAVE_GROUP): False,
}
"""The options, and whether they join."""
OUT_INDEX = (IPPROTO_IP, -abi.IP_MULTICAST_IF)
"""Key of the interface's index that IP_MULTICAST_IF gave (struct ip_mreqn)."""
GROUP_REQUEST_BYTES = 136
"""struct group_req: index, padding, struct sockaddr_storage."""


def change(socket: InetSocket, level: int, option: int, value: bytes) -> None:
    """Join or leave; EINVAL, ENODEV, EADDRINUSE: joined already, EADDRNOTAVAIL: not a member."""
    if socket.type == STREAM:
        raise PosixError(EINVAL)
    join = MEMBERSHIPS[level, option]
    group, where, index = _request(level, option, value)
    if not (group[0] == 0xFF if len(group) == 16 else group[0] & 0xF0 == 0xE0):
        raise PosixError(EINVAL)
    try:
        key = (group, socket.network.group_interface(group, where, index))
    except PosixError as error:
        if error.errno == ENODEV and not join and level == IPPROTO_IPV6:
            raise PosixError(EADDRNOTAVAIL) from None
        raise
    if join:
        if key in socket.groups:
            raise PosixError(EADDRINUSE)
        socket.network.join(key)
        socket.groups.add(key)
    else:
        if key not in socket.groups:
            raise PosixError(EADDRNOTAVAIL)
        socket.groups.discard(key)
        socket.network.leave(key)


def _request(level: int, option: int, value: bytes) -> tuple[bytes, bytes, int]:
    """(group, an address of the interface or b"", its index) of whichever structure it is."""
    if option in (abi.MCAST_JOIN_GROUP, abi.MCAST_LEAVE_GROUP):
        if len(value) < GROUP_REQUEST_BYTES:
            raise PosixError(EINVAL)
        family = int.from_bytes(value[8:10], "little")
        if family != (AF_INET if level == IPPROTO_IP else AF_INET6):
            raise PosixError(EADDRNOTAVAIL if level == IPPROTO_IPV6 else EINVAL)
        group = value[12:16] if level == IPPROTO_IP else value[16:32]
        return group, b"", int.from_bytes(value[:4], "little")
    if level == IPPROTO_IP:
        if len(value) < 8:
            raise PosixError(EINVAL)
        index = int.from_bytes(value[8:12], "little") if len(value) >= 12 else 0
        return value[:4], value[4:8], index
    if len(value) < 20:
        raise PosixError(EINVAL)
    return value[:16], b"", int.from_bytes(value[16:20], "little")
