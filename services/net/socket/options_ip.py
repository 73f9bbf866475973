"""Options of IPPROTO_IP and IPPROTO_IPV6 (ip(7), ipv6(7)), and the extras of messages.

Most are numbers, and a `Rule` says which. What Linux has and this stack does not (`fixed`) tells
its default and takes no other value: ENOPROTOOPT, so nobody counts on what would not happen.
"""

from __future__ import annotations

import struct
from errno import EADDRNOTAVAIL, EINVAL, ENODEV, ENOPROTOOPT, ENOTCONN
from typing import TYPE_CHECKING, NamedTuple

from bus.errors import PosixError
from services.net.socket import abi, options_group
from services.net.socket.abi import IPPROTO_IP, IPPROTO_IPV6, RAW, STREAM
from services.net.socket.options import STAMP, integer, packed, stamp

if TYPE_CHECKING:
    from services.net.api import ControlMessage
    from services.net.proto.packet import Packet
    from services.net.socket.inet import InetSocket

DEFAULT_TTL = 64
ECN_MASK = 3
"""The low bits of TOS, which are TCP's own where there is TCP (RFC 3168)."""


class Rule(NamedTuple):
    """What an option may be set to. A `switch` keeps of any number whether it is 0."""

    default: int = 0
    low: int = 0
    high: int = 0
    switch: bool = False
    reset: int | None = None
    """What -1 stands for, where it is not a number as any other."""
    least: int = 0
    """Bytes that the value must have; EINVAL."""
    streams: bool = True
    """Whether a stream socket has it."""
    raw: bool = False
    """Whether only a raw socket has it; ENOPROTOOPT on others."""


SWITCH, FIXED = Rule(switch=True), Rule()
INTEGER_SWITCH, INTEGER_FIXED = Rule(switch=True, least=4), Rule(least=4)
RULES: dict[tuple[int, int], Rule] = {
    (IPPROTO_IP, option): rule
    for option, rule in {
        abi.IP_TOS: Rule(high=255),
        abi.IP_TTL: Rule(DEFAULT_TTL, 1, 255, reset=DEFAULT_TTL, least=1),
        abi.IP_HDRINCL: Rule(switch=True, raw=True),
        abi.IP_RECVOPTS: SWITCH,
        abi.IP_RETOPTS: SWITCH,
        abi.IP_PKTINFO: SWITCH,
        abi.IP_MTU_DISCOVER: Rule(1, 0, 5),
        abi.IP_RECVERR: SWITCH,
        abi.IP_RECVTTL: SWITCH,
        abi.IP_RECVTOS: SWITCH,
        abi.IP_FREEBIND: Rule(switch=True, least=1),
        abi.IP_PASSSEC: FIXED,
        abi.IP_TRANSPARENT: Rule(least=1),
        abi.IP_RECVORIGDSTADDR: FIXED,
        abi.IP_MINTTL: Rule(least=1),
        abi.IP_NODEFRAG: Rule(raw=True),
        abi.IP_CHECKSUM: FIXED,
        abi.IP_BIND_ADDRESS_NO_PORT: SWITCH,
        abi.IP_RECVFRAGSIZE: FIXED,
        abi.IP_RECVERR_RFC4884: FIXED,
        abi.IP_MULTICAST_TTL: Rule(1, 0, 255, reset=1, least=1, streams=False),
        abi.IP_MULTICAST_LOOP: Rule(1, switch=True, least=1),
        abi.IP_MULTICAST_ALL: Rule(1, 0, 1, least=1),
        abi.IP_UNICAST_IF: Rule(least=4),
    }.items()
} | {
    (IPPROTO_IPV6, option): rule
    for option, rule in {
        abi.IPV6_2292PKTINFO: INTEGER_FIXED,
        abi.IPV6_2292HOPOPTS: INTEGER_FIXED,
        abi.IPV6_2292DSTOPTS: INTEGER_FIXED,
        abi.IPV6_2292RTHDR: INTEGER_FIXED,
        abi.IPV6_2292HOPLIMIT: INTEGER_FIXED,
        abi.IPV6_FLOWINFO: INTEGER_FIXED,
        abi.IPV6_UNICAST_HOPS: Rule(DEFAULT_TTL, -1, 255, reset=DEFAULT_TTL, least=4),
        abi.IPV6_MULTICAST_HOPS: Rule(1, 0, 255, reset=1, least=4, streams=False),
        abi.IPV6_MULTICAST_LOOP: Rule(1, 0, 1, least=4),
        abi.IPV6_ROUTER_ALERT: Rule(least=4, raw=True),
        abi.IPV6_MTU_DISCOVER: Rule(1, 0, 5, least=4),
        abi.IPV6_RECVERR: INTEGER_SWITCH,
        abi.IPV6_V6ONLY: INTEGER_SWITCH,
        abi.IPV6_RECVERR_RFC4884: INTEGER_FIXED,
        abi.IPV6_RECVPKTINFO: INTEGER_SWITCH,
        abi.IPV6_RECVHOPLIMIT: INTEGER_SWITCH,
        abi.IPV6_RECVHOPOPTS: INTEGER_FIXED,
        abi.IPV6_RECVRTHDR: INTEGER_FIXED,
        abi.IPV6_RECVDSTOPTS: INTEGER_FIXED,
        abi.IPV6_RECVPATHMTU: INTEGER_FIXED,
        abi.IPV6_DONTFRAG: SWITCH,
        abi.IPV6_RECVTCLASS: INTEGER_SWITCH,
        abi.IPV6_TCLASS: Rule(0, 0, 255, reset=0, least=4),
        abi.IPV6_AUTOFLOWLABEL: FIXED,
        abi.IPV6_MINHOPCOUNT: INTEGER_FIXED,
        abi.IPV6_RECVORIGDSTADDR: INTEGER_FIXED,
        abi.IPV6_TRANSPARENT: INTEGER_FIXED,
        abi.IPV6_UNICAST_IF: INTEGER_FIXED,
        abi.IPV6_RECVFRAGSIZE: INTEGER_FIXED,
        abi.IPV6_FREEBIND: INTEGER_SWITCH,
    }.items()
}
MIN_MTU_V6, MAX_MTU_V4 = 1280, 0xFFFF
PACKET_INFO_BYTES = 20
PATH_MTU = ((IPPROTO_IP, abi.IP_MTU), (IPPROTO_IPV6, abi.IPV6_MTU))
TRAFFIC = ((IPPROTO_IP, abi.IP_TOS), (IPPROTO_IPV6, abi.IPV6_TCLASS))


def get(socket: InetSocket, level: int, option: int) -> bytes:
    """getsockopt(2) at these levels; ENOPROTOOPT, ENOTCONN."""
    key = level, option
    if key in PATH_MTU:
        remote = socket.remote
        if remote is None:
            raise PosixError(ENOTCONN)
        mtu = socket.network.stack.route(remote[0]).mtu
        return packed(min(mtu, MAX_MTU_V4) if len(remote[0]) == 4 else mtu)
    if key == (IPPROTO_IP, abi.IP_OPTIONS):
        return b""
    if key == (IPPROTO_IP, abi.IP_PKTOPTIONS) and socket.type == STREAM:
        return b""
    if key == (IPPROTO_IP, abi.IP_MULTICAST_IF):
        return socket.kept.get(key, 0).to_bytes(4, "big")
    if key == (IPPROTO_IPV6, abi.IPV6_MULTICAST_IF):
        return packed(socket.kept.get(key, 0))
    rule = RULES.get(key)
    if rule is None:
        raise PosixError(ENOPROTOOPT)
    if key == (IPPROTO_IP, abi.IP_MULTICAST_ALL):
        return packed(socket.takes_all_groups)
    return packed(socket.kept.get(key, rule.default))


def put(socket: InetSocket, level: int, option: int, value: bytes, privileged: bool) -> None:
    """setsockopt(2) at these levels; ENOPROTOOPT, EINVAL, ENODEV, EADDRNOTAVAIL, EADDRINUSE."""
    key = level, option
    if key in options_group.MEMBERSHIPS:
        options_group.change(socket, level, option, value)
        return
    if key == (IPPROTO_IP, abi.IP_MULTICAST_IF):
        _multicast_interface4(socket, value)
        return
    if key == (IPPROTO_IPV6, abi.IPV6_MULTICAST_IF):
        _multicast_interface6(socket, value)
        return
    if key == (IPPROTO_IPV6, abi.IPV6_MTU) and integer(value) < MIN_MTU_V6:
        if integer(value):
            raise PosixError(EINVAL)
        return  # no limit, as it is
    if key == (IPPROTO_IPV6, abi.IPV6_PKTINFO) and len(value) < PACKET_INFO_BYTES:
        raise PosixError(EINVAL)
    if key == (IPPROTO_IP, abi.IP_ROUTER_ALERT) and socket.type != RAW:
        raise PosixError(EINVAL)
    rule = RULES.get(key)
    if rule is None:
        raise PosixError(ENOPROTOOPT)
    _check_socket(socket, key, rule, value)
    number = integer(value) if len(value) >= 4 else _short(level, value)
    if key in TRAFFIC:
        number = _traffic(socket, level, option, number)
    socket.kept[key] = _checked(rule, number)


def _check_socket(socket: InetSocket, key: tuple[int, int], rule: Rule, value: bytes) -> None:
    """Whether this socket, in this state, takes a value of this length."""
    if not rule.streams and socket.type == STREAM:
        raise PosixError(EINVAL if key[0] == IPPROTO_IP else ENOPROTOOPT)
    if len(value) < rule.least:
        raise PosixError(EINVAL)
    if rule.raw and socket.type != RAW:
        raise PosixError(ENOPROTOOPT)
    if key == (IPPROTO_IPV6, abi.IPV6_V6ONLY) and (socket.local or socket.type == RAW):
        raise PosixError(EINVAL)


def _short(level: int, value: bytes) -> int:
    """A value of less than four bytes: IPv4 takes a byte, IPv6 takes nothing of it."""
    return value[0] if value and level == IPPROTO_IP else 0


def _checked(rule: Rule, number: int) -> int:
    """What is kept; EINVAL outside the range, ENOPROTOOPT for another value of a fixed one."""
    if rule.switch:
        return int(bool(number))
    if number == -1 and rule.reset is not None:
        return rule.reset
    if not rule.high and number != rule.default:
        raise PosixError(ENOPROTOOPT)
    if rule.high and not rule.low <= number <= rule.high:
        raise PosixError(EINVAL)
    return number


def _traffic(socket: InetSocket, level: int, option: int, number: int) -> int:
    """TOS is a byte, and its low bits stay as they are on a stream; TCLASS likewise."""
    if level == IPPROTO_IP:
        number &= 0xFF
    if socket.type == STREAM and number >= 0:
        return number & ~ECN_MASK | socket.kept.get((level, option), 0) & ECN_MASK
    return number


def _multicast_interface4(socket: InetSocket, value: bytes) -> None:
    """struct in_addr, ip_mreq or ip_mreqn: the interface of that address or index."""
    if socket.type == STREAM or len(value) < 4:
        raise PosixError(EINVAL)
    address = value[:4] if len(value) < 8 else value[4:8]
    index = int.from_bytes(value[8:12], "little") if len(value) >= 12 else 0
    if index and index not in socket.network.stack.interfaces:
        raise PosixError(EADDRNOTAVAIL)
    if not index and any(address) and not socket.network.stack.is_local(address):
        raise PosixError(EADDRNOTAVAIL)
    socket.kept[IPPROTO_IP, abi.IP_MULTICAST_IF] = int.from_bytes(address, "big")
    socket.kept[options_group.OUT_INDEX] = index


def _multicast_interface6(socket: InetSocket, value: bytes) -> None:
    if socket.type == STREAM:
        raise PosixError(ENOPROTOOPT)
    number = integer(value)
    if number and number not in socket.network.stack.interfaces:
        raise PosixError(ENODEV)
    if number and socket.ifindex not in (0, number):
        raise PosixError(EINVAL)
    socket.kept[IPPROTO_IPV6, abi.IPV6_MULTICAST_IF] = number


def received_extras(
    socket: InetSocket, packet: Packet, arrived_ns: int
) -> tuple[ControlMessage, ...]:
    """Control messages that the receiver asked for of `packet`."""
    kept = socket.kept
    extras: list[ControlMessage] = []
    if kept.get(STAMP):
        extras.append(stamp(kept[STAMP], arrived_ns + socket.network.realtime_offset_ns))
    if len(packet.dst) == 4:
        if kept.get((IPPROTO_IP, abi.IP_PKTINFO)):
            local = packet.dst if socket.network.stack.is_local(packet.dst) else bytes(4)
            body = struct.pack("<i", packet.ifindex) + local + packet.dst
            extras.append((IPPROTO_IP, abi.IP_PKTINFO, body))
        if kept.get((IPPROTO_IP, abi.IP_RECVTTL)):
            extras.append((IPPROTO_IP, abi.IP_TTL, packed(packet.ttl)))
        if kept.get((IPPROTO_IP, abi.IP_RECVTOS)):
            extras.append((IPPROTO_IP, abi.IP_TOS, bytes((packet.tos,))))
    if socket.family == abi.AF_INET6:
        if kept.get((IPPROTO_IPV6, abi.IPV6_RECVPKTINFO)):
            shown = packet.dst if len(packet.dst) == 16 else bytes(10) + b"\xff\xff" + packet.dst
            body = shown + struct.pack("<I", packet.ifindex)
            extras.append((IPPROTO_IPV6, abi.IPV6_PKTINFO, body))
        if kept.get((IPPROTO_IPV6, abi.IPV6_RECVHOPLIMIT)):
            extras.append((IPPROTO_IPV6, abi.IPV6_HOPLIMIT, packed(packet.ttl)))
        if kept.get((IPPROTO_IPV6, abi.IPV6_RECVTCLASS)):
            extras.append((IPPROTO_IPV6, abi.IPV6_TCLASS, packed(packet.tos)))
    return tuple(extras)
