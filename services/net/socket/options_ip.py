"""Options of IPPROTO_IP and IPPROTO_IPV6 (ip(7), ipv6(7)), and the extras of messages."""

from __future__ import annotations

import struct
from errno import EADDRINUSE, EADDRNOTAVAIL, EINVAL, ENODEV, ENOPROTOOPT, ENOTCONN, EPERM
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.net.socket import abi
from services.net.socket.abi import AF_INET6, IPPROTO_IP, IPPROTO_IPV6
from services.net.socket.options import integer, integer_or_byte, packed

if TYPE_CHECKING:
    from services.net.api import ControlMessage
    from services.net.proto.packet import Packet
    from services.net.socket.inet import InetSocket

DEFAULT_TTL = 64
DEFAULTS4 = {
    abi.IP_TOS: 0, abi.IP_TTL: -1, abi.IP_PKTINFO: 0, abi.IP_MTU_DISCOVER: 1, abi.IP_RECVERR: 0,
    abi.IP_RECVTTL: 0, abi.IP_RECVTOS: 0, abi.IP_FREEBIND: 0, abi.IP_TRANSPARENT: 0,
    abi.IP_BIND_ADDRESS_NO_PORT: 0, abi.IP_MULTICAST_TTL: 1, abi.IP_MULTICAST_LOOP: 1,
    abi.IP_MULTICAST_ALL: 1, abi.IP_HDRINCL: 0,
}  # fmt: skip
DEFAULTS6 = {
    abi.IPV6_UNICAST_HOPS: -1, abi.IPV6_MULTICAST_HOPS: 1, abi.IPV6_MULTICAST_LOOP: 1,
    abi.IPV6_MTU_DISCOVER: 1, abi.IPV6_RECVERR: 0, abi.IPV6_V6ONLY: 0, abi.IPV6_RECVPKTINFO: 0,
    abi.IPV6_RECVHOPLIMIT: 0, abi.IPV6_RECVTCLASS: 0, abi.IPV6_TCLASS: 0, abi.IPV6_DONTFRAG: 0,
    abi.IPV6_FREEBIND: 0, abi.IPV6_MULTICAST_IF: 0,
}  # fmt: skip
SWITCHES4 = frozenset(
    (
        abi.IP_PKTINFO, abi.IP_RECVERR, abi.IP_RECVTTL, abi.IP_RECVTOS, abi.IP_FREEBIND,
        abi.IP_BIND_ADDRESS_NO_PORT, abi.IP_MULTICAST_LOOP, abi.IP_MULTICAST_ALL,
    )
)  # fmt: skip
SWITCHES6 = frozenset(
    (
        abi.IPV6_MULTICAST_LOOP, abi.IPV6_RECVERR, abi.IPV6_RECVPKTINFO, abi.IPV6_RECVHOPLIMIT,
        abi.IPV6_RECVTCLASS, abi.IPV6_DONTFRAG, abi.IPV6_FREEBIND,
    )
)  # fmt: skip
RANGES = {
    (IPPROTO_IP, abi.IP_TOS): (0, 255), (IPPROTO_IP, abi.IP_TTL): (1, 255),
    (IPPROTO_IP, abi.IP_MTU_DISCOVER): (0, 5), (IPPROTO_IP, abi.IP_MULTICAST_TTL): (0, 255),
    (IPPROTO_IPV6, abi.IPV6_UNICAST_HOPS): (-1, 255), (IPPROTO_IPV6, abi.IPV6_TCLASS): (-1, 255),
    (IPPROTO_IPV6, abi.IPV6_MULTICAST_HOPS): (-1, 255),
    (IPPROTO_IPV6, abi.IPV6_MTU_DISCOVER): (0, 5),
}  # fmt: skip
MEMBERSHIPS = {
    (IPPROTO_IP, abi.IP_ADD_MEMBERSHIP): True,
    (IPPROTO_IP, abi.IP_DROP_MEMBERSHIP): False,
    (IPPROTO_IPV6, abi.IPV6_ADD_MEMBERSHIP): True,
    (IPPROTO_IPV6, abi.IPV6_DROP_MEMBERSHIP): False,
}


def get(socket: InetSocket, level: int, option: int) -> bytes:
    """getsockopt(2) at these levels; ENOPROTOOPT, ENOTCONN."""
    if level == IPPROTO_IPV6 and socket.family != AF_INET6:
        raise PosixError(ENOPROTOOPT)
    if (level, option) in ((IPPROTO_IP, abi.IP_MTU), (IPPROTO_IPV6, abi.IPV6_MTU)):
        remote = socket.remote
        if remote is None:
            raise PosixError(ENOTCONN)
        return packed(socket.network.stack.route(remote[0]).mtu)
    if level == IPPROTO_IP and option == abi.IP_OPTIONS:
        return b""
    if level == IPPROTO_IP and option == abi.IP_MULTICAST_IF:
        return socket.kept.get((level, option), 0).to_bytes(4, "big")
    defaults = DEFAULTS4 if level == IPPROTO_IP else DEFAULTS6
    if option not in defaults:
        raise PosixError(ENOPROTOOPT)
    value = socket.kept.get((level, option), defaults[option])
    if value == -1 and option in (abi.IP_TTL, abi.IPV6_UNICAST_HOPS):
        value = DEFAULT_TTL
    return packed(value)


def put(socket: InetSocket, level: int, option: int, value: bytes, privileged: bool) -> None:
    """setsockopt(2) at these levels; ENOPROTOOPT, EINVAL, EPERM, ENODEV, EADDRNOTAVAIL."""
    if level == IPPROTO_IPV6 and socket.family != AF_INET6:
        raise PosixError(ENOPROTOOPT)
    if (level, option) in MEMBERSHIPS:
        _membership(socket, level, value, MEMBERSHIPS[level, option])
        return
    if level == IPPROTO_IP and option == abi.IP_MULTICAST_IF:
        _multicast_interface(socket, value)
        return
    if level == IPPROTO_IPV6 and option == abi.IPV6_V6ONLY:
        if socket.binding is not None:
            raise PosixError(EINVAL)
        socket.kept[level, option] = int(bool(integer(value)))
        return
    number = integer_or_byte(value) if level == IPPROTO_IP else integer(value)
    if level == IPPROTO_IP and option == abi.IP_TRANSPARENT and not privileged:
        raise PosixError(EPERM)
    if (level, option) in RANGES:
        socket.kept[level, option] = _in_range(level, option, number)
    elif option in (SWITCHES4 if level == IPPROTO_IP else SWITCHES6):
        socket.kept[level, option] = int(bool(number))
    elif level == IPPROTO_IPV6 and option == abi.IPV6_MULTICAST_IF:
        if number and number not in socket.network.stack.interfaces:
            raise PosixError(ENODEV)
        socket.kept[level, option] = number
    else:
        raise PosixError(ENOPROTOOPT)


def _in_range(level: int, option: int, number: int) -> int:
    """A number that an option takes; -1 stands for some defaults. EINVAL."""
    low, high = RANGES[level, option]
    if number == -1 and level == IPPROTO_IP and option in (abi.IP_TTL, abi.IP_MULTICAST_TTL):
        return DEFAULT_TTL if option == abi.IP_TTL else 1
    if not low <= number <= high:
        raise PosixError(EINVAL)
    return number


def _multicast_interface(socket: InetSocket, value: bytes) -> None:
    """struct in_addr, ip_mreq or ip_mreqn: the interface of that address or index."""
    if len(value) < 4:
        raise PosixError(EINVAL)
    address = value[:4] if len(value) < 8 else value[4:8]
    index = int.from_bytes(value[8:12], "little") if len(value) >= 12 else 0
    if index and index not in socket.network.stack.interfaces:
        raise PosixError(EADDRNOTAVAIL)
    if not index and any(address) and not socket.network.stack.is_local(address):
        raise PosixError(EADDRNOTAVAIL)
    socket.kept[IPPROTO_IP, abi.IP_MULTICAST_IF] = int.from_bytes(address, "big")


def _membership(socket: InetSocket, level: int, value: bytes, join: bool) -> None:
    """ip_mreq(n) or ipv6_mreq: join or leave a group; EADDRINUSE, EADDRNOTAVAIL."""
    if level == IPPROTO_IP:
        if len(value) < 8:
            raise PosixError(EINVAL)
        group, where = value[:4], value[4:8]
        index = int.from_bytes(value[8:12], "little") if len(value) >= 12 else 0
    else:
        if len(value) < 20:
            raise PosixError(EINVAL)
        group, where = value[:16], b""
        index = int.from_bytes(value[16:20], "little")
    if not (group[0] == 0xFF if len(group) == 16 else group[0] & 0xF0 == 0xE0):
        raise PosixError(EINVAL)
    key = (group, socket.network.group_interface(group, where, index))
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


def received_extras(socket: InetSocket, packet: Packet) -> tuple[ControlMessage, ...]:
    """Control messages that the receiver asked for of `packet`."""
    kept = socket.kept
    extras: list[ControlMessage] = []
    if len(packet.dst) == 4:
        if kept.get((IPPROTO_IP, abi.IP_PKTINFO)):
            local = packet.dst if socket.network.stack.is_local(packet.dst) else bytes(4)
            body = struct.pack("<i", packet.ifindex) + local + packet.dst
            extras.append((IPPROTO_IP, abi.IP_PKTINFO, body))
        if kept.get((IPPROTO_IP, abi.IP_RECVTTL)):
            extras.append((IPPROTO_IP, abi.IP_TTL, packed(packet.ttl)))
        if kept.get((IPPROTO_IP, abi.IP_RECVTOS)):
            extras.append((IPPROTO_IP, abi.IP_TOS, bytes((packet.tos,))))
    if socket.family == AF_INET6:
        if kept.get((IPPROTO_IPV6, abi.IPV6_RECVPKTINFO)):
            shown = packet.dst if len(packet.dst) == 16 else bytes(10) + b"\xff\xff" + packet.dst
            body = shown + struct.pack("<I", packet.ifindex)
            extras.append((IPPROTO_IPV6, abi.IPV6_PKTINFO, body))
        if kept.get((IPPROTO_IPV6, abi.IPV6_RECVHOPLIMIT)):
            extras.append((IPPROTO_IPV6, abi.IPV6_HOPLIMIT, packed(packet.ttl)))
        if kept.get((IPPROTO_IPV6, abi.IPV6_RECVTCLASS)):
            extras.append((IPPROTO_IPV6, abi.IPV6_TCLASS, packed(packet.tos)))
    return tuple(extras)
