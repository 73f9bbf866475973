"""/proc/net/{route,ipv6_route}: what route(8) and netstat -r show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.net.configure import mask_of
from services.net.netlink import abi
from services.net.netlink.route import entries
from services.net.report.format import words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from services.net.netlink.route import Entry
    from services.net.socket.network import Network

ROW_BYTES = 127
RTF_UP, RTF_GATEWAY, RTF_HOST, RTF_REJECT = 1, 2, 4, 0x200
RTF_NONEXTHOP, RTF_LOCAL = 0x20_0000, 0x8000_0000
REJECTING = (abi.BLACKHOLE, abi.UNREACHABLE, abi.PROHIBIT)
NOWHERE = f"{'0' * 32} 00 {'0' * 32} 00 {'0' * 32} ffffffff 00000001 00000000 00200200       lo"
"""Where IPv6 looks last: there is no route."""


def _route(network: Network) -> Iterable[str]:
    yield (
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT"
    ).ljust(ROW_BYTES)
    for entry in entries(network.stack, 4):
        route = entry.route
        if entry.table != abi.RT_TABLE_MAIN:
            continue
        rejects = entry.type in REJECTING
        name = "*" if rejects else network.stack.interfaces[route.ifindex].name
        flags = RTF_UP | (RTF_GATEWAY if route.gateway else 0) | (RTF_REJECT if rejects else 0)
        flags |= RTF_HOST if route.prefix_bits == 32 else 0
        yield (
            f"{name}\t{words_of(route.network)}\t{words_of(route.gateway or bytes(4))}\t"
            f"{flags:04X}\t0\t0\t{route.metric}\t{words_of(mask_of(route.prefix_bits))}\t0\t0\t0"
        ).ljust(ROW_BYTES)


def _flags6(entry: Entry) -> int:
    flags = RTF_UP | (RTF_GATEWAY if entry.route.gateway else 0)
    if entry.type == abi.LOCAL:
        flags |= RTF_LOCAL | RTF_NONEXTHOP
    if entry.type in REJECTING:
        flags |= RTF_REJECT | RTF_NONEXTHOP
    if entry.route.prefix_bits == 128 and entry.type == abi.UNICAST:
        flags |= RTF_HOST
    return flags


def _route6(network: Network) -> Iterable[str]:
    for entry in entries(network.stack, 16):
        route = entry.route
        name = network.stack.interfaces[route.ifindex].name
        yield (
            f"{route.network.hex()} {route.prefix_bits:02x} {'0' * 32} 00 "
            f"{(route.gateway or bytes(16)).hex()} {route.metric:08x} 00000001 00000000 "
            f"{_flags6(entry):08x} {name:>8}"
        )
    yield NOWHERE


MAKERS: dict[str, Callable[[Network], Iterable[str]]] = {"route": _route, "ipv6_route": _route6}
