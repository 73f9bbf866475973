"""RTM_GETRULE: in which order tables of routes are looked at. It cannot be changed here."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from services.net.ip.routes import PROTOCOL_KERNEL
from services.net.netlink import abi
from services.net.netlink.message import u8, u32
from services.net.netlink.query import Answer, Handler, Query
from services.net.socket.abi import AF_INET, AF_INET6

if TYPE_CHECKING:
    from collections.abc import Iterator

FIB_RULE = struct.Struct("<BBBBBxxBI")
"""struct fib_rule_hdr: family, dst_len, src_len, tos, table, action, flags."""
RULES = {
    AF_INET: ((0, abi.RT_TABLE_LOCAL), (32766, abi.RT_TABLE_MAIN), (32767, abi.RT_TABLE_DEFAULT)),
    AF_INET6: ((0, abi.RT_TABLE_LOCAL), (32766, abi.RT_TABLE_MAIN)),
}
"""Priorities and tables, which is how the stack looks; `default` is empty."""


def dump(query: Query) -> Iterator[Answer]:
    """The rules of a family, or of both."""
    for family, rules in RULES.items():
        if query.family not in (0, family):
            continue
        for priority, table in rules:
            parts = [FIB_RULE.pack(family, 0, 0, 0, table, abi.FR_ACT_TO_TBL, 0)]
            parts.append(u32(abi.FRA_TABLE, table))
            parts.append(u32(abi.FRA_SUPPRESS_PREFIXLEN, 0xFFFF_FFFF))
            parts.append(u8(abi.FRA_PROTOCOL, PROTOCOL_KERNEL))
            if priority:
                parts.append(u32(abi.FRA_PRIORITY, priority))
            yield abi.RTM_NEWRULE, b"".join(parts)


HANDLERS = {abi.RTM_GETRULE: Handler(None, dump)}
