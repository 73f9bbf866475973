"""Formats of socket options: which name an option has at its level, and what its value is."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from .buffers import counted, numbers
from .model import Out
from .prctl import FPROG
from .sockaddr import inet6_text, inet_addr, interface_index
from .tables import network as n
from .tables import sockopts as t
from .tables.errnos import ERRNOS
from .text import address, members, quote_hex, signed, unsigned

if TYPE_CHECKING:
    from collections.abc import Callable

    from .model import Ctx
    from .xlat import Table

SOL_IP, SOL_SOCKET, SOL_TCP, SOL_UDP, SOL_IPV6 = 0, 1, 6, 17, 41
SOL_RAW, SOL_PACKET, SOL_NETLINK, SOL_TLS = 255, 263, 270, 282
SO_ERROR, SO_LINGER, SO_PEERCRED, SO_ATTACH_FILTER, SO_ATTACH_REUSEPORT_CBPF = 4, 13, 17, 26, 51
IP_ADD_MEMBERSHIP, IP_DROP_MEMBERSHIP = 35, 36
IPV6_MEMBERSHIPS = (20, 21, 27, 28)
PACKET_MEMBERSHIPS = (1, 2)
NETLINK_LIST_MEMBERSHIPS = 9

_NAMES: dict[int, Table] = {
    SOL_IP: t.IP_OPTIONS, SOL_SOCKET: t.SOCKET_OPTIONS, SOL_TCP: t.TCP_OPTIONS,
    SOL_UDP: t.UDP_OPTIONS, SOL_IPV6: t.IPV6_OPTIONS, SOL_RAW: t.RAW_OPTIONS,
    SOL_PACKET: t.PACKET_OPTIONS, SOL_NETLINK: t.NETLINK_OPTIONS, SOL_TLS: t.TLS_OPTIONS,
}  # fmt: skip
# Options of SOL_SOCKET that are an int whatever length is given.
_INTS = frozenset({
    1, 2, 5, 6, 7, 8, 9, 10, 11, 12, 14, 15, 16, 18, 19, 27, 29, 30, 32, 33, 34, 35, 36, 37, 40,
    41, 42, 43, 44, 45, 46, 49, 53, 56, 60, 63, 64, 65, 68, 69, 70, 73, 75,
})  # fmt: skip


def LEVEL(word: int, ctx: Ctx) -> str:
    """Write a socket option's level."""
    return n.LEVELS.value(unsigned(word))


def _name(option: int, level: int) -> str:
    table = _NAMES.get(level)
    return str(option) if table is None else table.value(option)


def OPTION(word: int, ctx: Ctx) -> str:
    """Write the option that setsockopt sets."""
    return _name(unsigned(word), unsigned(ctx.args[1]))


def GOT_OPTION(word: int, ctx: Ctx) -> str:
    """Write the option that getsockopt gets; some have another name when they are set."""
    level, option = unsigned(ctx.args[1]), unsigned(word)
    return t.GOT_OPTIONS.get((level, option)) or _name(option, level)


def _int(raw: bytes) -> int:
    return int.from_bytes(raw, "little", signed=True)


def _int_or_bytes(word: int, length: int, ctx: Ctx) -> str:
    """Write a value of four bytes as a number, any other as bytes."""
    if length != 4:
        return counted(word, unsigned(length), ctx)
    raw = ctx.fetch(word, 4)
    return address(word) if raw is None else f"[{_int(raw)}]"


def _at_least_int(word: int, length: int, ctx: Ctx) -> str:
    raw = ctx.fetch(word, 4) if length >= 4 else None
    return address(word) if raw is None else f"[{_int(raw)}]"


def _linger(word: int, length: int, ctx: Ctx) -> str:
    raw = ctx.fetch(word, 8) if length >= 8 else None
    if raw is None:
        return address(word)
    return members(l_onoff=str(_int(raw[:4])), l_linger=str(_int(raw[4:])))


def _membership(word: int, length: int, ctx: Ctx) -> str:
    raw = ctx.fetch(word, 8) if length >= 8 else None
    if raw is None:
        return address(word)
    return members(imr_multiaddr=inet_addr(raw[:4]), imr_interface=inet_addr(raw[4:]))


def _membership6(word: int, length: int, ctx: Ctx) -> str:
    raw = ctx.fetch(word, 20) if length >= 20 else None
    if raw is None:
        return address(word)
    group = f'inet_pton(AF_INET6, "{inet6_text(raw[:16])}", &ipv6mr_multiaddr)'
    return f"{{{group}, ipv6mr_interface={interface_index(_int(raw[16:]))}}}"


def _packet_membership(word: int, length: int, ctx: Ctx) -> str:
    raw = ctx.fetch(word, 16) if length == 16 else None
    if raw is None:
        return address(word)
    index, kind, size = struct.unpack_from("<iHH", raw)
    octets = ":".join([f"{octet:02x}" for octet in raw[8 : 8 + min(size, 8)]])
    return members(
        mr_ifindex=interface_index(index),
        mr_type=n.PACKET_MEMBERSHIPS.value(kind),
        mr_alen=str(size),
        mr_address=octets,
    )


def _filter(word: int, length: int, ctx: Ctx) -> str:
    return FPROG(word, ctx) if length == 16 else address(word)


_SET: dict[tuple[int, int], Callable[[int, int, Ctx], str]] = {
    (SOL_SOCKET, SO_LINGER): _linger,
    (SOL_SOCKET, SO_ATTACH_FILTER): _filter,
    (SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF): _filter,
    (SOL_IP, IP_ADD_MEMBERSHIP): _membership,
    (SOL_IP, IP_DROP_MEMBERSHIP): _membership,
    **{(SOL_IPV6, option): _membership6 for option in IPV6_MEMBERSHIPS},
    **{(SOL_PACKET, option): _packet_membership for option in PACKET_MEMBERSHIPS},
    **{(SOL_SOCKET, option): _at_least_int for option in _INTS},
}


def OPTION_VALUE(word: int, ctx: Ctx) -> str:
    """Write the value that setsockopt sets."""
    level, option, length = unsigned(ctx.args[1]), unsigned(ctx.args[2]), signed(ctx.args[4])
    default = _at_least_int if level == SOL_NETLINK else _int_or_bytes
    return _SET.get((level, option), default)(word, length, ctx)


def _fields(word: int, length: int, ctx: Ctx, names: tuple[str, ...]) -> str:
    """Write as many of a structure's int members as the length given covers."""
    raw = ctx.fetch(word, min(length, 4 * len(names))) if length > 0 else None
    if raw is None:
        return address(word)
    fields: dict[str, str] = {}
    for index, name in enumerate(names):
        part = raw[4 * index : 4 * index + 4]
        if len(part) < 4:
            fields |= {name: quote_hex(part)} if part else {}
            break
        fields[name] = str(_int(part))
    return members(**fields)


def _got_value(word: int, ctx: Ctx) -> str:
    raw = ctx.peek(ctx.args[4], 4)
    if raw is None or ctx.failed or not word or _int(raw) <= 0:
        return address(word)
    level, option, length = unsigned(ctx.args[1]), unsigned(ctx.args[2]), _int(raw)
    if level == SOL_SOCKET:
        if option == SO_LINGER:
            return _fields(word, length, ctx, ("l_onoff", "l_linger"))
        if option == SO_PEERCRED:
            return _fields(word, length, ctx, ("pid", "uid", "gid"))
        if option == SO_ATTACH_FILTER:
            return address(word)
        if option in _INTS or option == SO_ERROR:
            return _got_int(word, length, ctx, is_errno=option == SO_ERROR)
    if level == SOL_NETLINK:
        return _got_netlink(option, word, length, ctx)
    return _int_or_bytes(word, length, ctx)


def _got_int(word: int, length: int, ctx: Ctx, is_errno: bool) -> str:
    raw = ctx.fetch(word, min(length, 4)) if length > 0 else None
    if raw is None:
        return address(word)
    if len(raw) < 4:
        return quote_hex(raw)
    number = _int(raw)
    named = is_errno and number in ERRNOS
    return f"[{ERRNOS[number][0] if named else number}]"


def _got_netlink(option: int, word: int, length: int, ctx: Ctx) -> str:
    if option == NETLINK_LIST_MEMBERSHIPS:
        return numbers(length // 4, word, ctx, is_signed=False)
    return _at_least_int(word, 4, ctx)


GOT_VALUE = Out(_got_value)
