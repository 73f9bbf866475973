"""Formats of socket addresses: by family, with the length that the program or the kernel gives."""

from __future__ import annotations

import ipaddress
import struct
from typing import TYPE_CHECKING

from .model import Out
from .tables import network as t
from .text import address, hexadecimal, listing, members, quote, signed

if TYPE_CHECKING:
    from .model import Ctx, Format, Split

SOCKADDR_MAX = 128
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_VSOCK = 1, 2, 10, 16, 17, 40
UNIX_PATH_MAX = 108


def inet_addr(raw: bytes) -> str:
    """Write an IPv4 address as a call that makes it: `inet_addr("127.0.0.1")`."""
    return f'inet_addr("{ipaddress.IPv4Address(raw)}")'


def inet6_text(raw: bytes) -> str:
    """Write an IPv6 address as inet_ntop does, mapped IPv4 addresses with dots."""
    parsed = ipaddress.IPv6Address(raw)
    if parsed.ipv4_mapped is not None:
        return f"::ffff:{parsed.ipv4_mapped}"
    if raw[:12] == bytes(12) and raw[12:14] != bytes(2):
        return f"::{ipaddress.IPv4Address(raw[12:])}"
    return str(parsed)


def interface_index(number: int) -> str:
    """Write an interface's number, by name if it can only be the loopback's."""
    return 'if_nametoindex("lo")' if number == 1 else str(number)


def _port(raw: bytes) -> str:
    return f"htons({int.from_bytes(raw, 'big')})"


def _unix(raw: bytes, ctx: Ctx) -> dict[str, str]:
    path = raw[2 : 2 + UNIX_PATH_MAX]
    if not path:
        return {}
    if path[0]:
        return {"sun_path": quote(path.partition(b"\0")[0])}
    return {"sun_path": "@" + quote(path[1:])}


def _inet(raw: bytes, ctx: Ctx) -> dict[str, str]:
    return {"sin_port": _port(raw[2:4]), "sin_addr": inet_addr(raw[4:8])}


def _inet6(raw: bytes, ctx: Ctx) -> str:
    flow, scope = int.from_bytes(raw[4:8], "big"), int.from_bytes(raw[24:28], "little")
    fields = [
        "sa_family=AF_INET6",
        f"sin6_port={_port(raw[2:4])}",
        f"sin6_flowinfo=htonl({flow})",
        f'inet_pton(AF_INET6, "{inet6_text(raw[8:24])}", &sin6_addr)',
        f"sin6_scope_id={scope}",
    ]
    if len(raw) < 28:
        fields.pop()
    return "{" + ", ".join(fields) + "}"


def _netlink(raw: bytes, ctx: Ctx) -> dict[str, str]:
    pid, groups = struct.unpack_from("<iI", raw, 4)
    fields = {"nl_pad": hexadecimal(int.from_bytes(raw[2:4], "little"))} if any(raw[2:4]) else {}
    return fields | {"nl_pid": str(pid), "nl_groups": f"{groups:#08x}" if groups else "00000000"}


def _packet(raw: bytes, ctx: Ctx) -> dict[str, str]:
    index, kind, direction, length = struct.unpack_from("<iHBB", raw, 4)
    octets = [f"{octet:#x}" if octet else "00" for octet in raw[12 : 12 + length]]
    fields = {
        "sll_protocol": f"htons({t.ETHERNET_PROTOCOLS.value(int.from_bytes(raw[2:4], 'big'))})",
        "sll_ifindex": interface_index(index),
        "sll_hatype": t.HARDWARE_TYPES.value(kind),
        "sll_pkttype": t.PACKET_TYPES.value(direction),
        "sll_halen": str(length),
    }
    return fields | ({"sll_addr": listing(octets)} if octets else {})


def _vsock(raw: bytes, ctx: Ctx) -> dict[str, str]:
    port, cid = struct.unpack_from("<II", raw, 4)
    return {
        "svm_cid": t.VSOCK_CIDS.value(cid),
        "svm_port": "VMADDR_PORT_ANY" if port == 0xFFFFFFFF else hexadecimal(port),
        "svm_flags": t.VSOCK_FLAGS.flags(raw[12]),
    }


_FAMILIES = {
    AF_UNIX: (2, _unix), AF_INET: (16, _inet), AF_NETLINK: (12, _netlink),
    AF_PACKET: (20, _packet), AF_VSOCK: (16, _vsock),
}  # fmt: skip
_INET6_MINIMUM = 24


def sockaddr(raw: bytes, ctx: Ctx) -> str:
    """Write a socket address of at least two bytes."""
    raw = raw[:SOCKADDR_MAX]
    family = int.from_bytes(raw[:2], "little")
    name = t.FAMILIES.value(family)
    if family == AF_INET6 and len(raw) >= _INET6_MINIMUM:
        return _inet6(raw, ctx)
    least, render = _FAMILIES.get(family, (0, None))
    if render is not None and len(raw) >= least:
        return members(sa_family=name, **render(raw, ctx))
    if len(raw) > 2:
        return members(sa_family=name, sa_data=quote(raw[2:]))
    return members(sa_family=name)


def sockaddr_at(vaddr: int, length: int, ctx: Ctx) -> str:
    """Write a socket address in memory."""
    raw = ctx.fetch(vaddr, min(length, SOCKADDR_MAX)) if length >= 2 else None
    return address(vaddr) if raw is None else sockaddr(raw, ctx)


def address_given(length_arg: int) -> Format:
    """Make the format of a socket address that the program gives, its length in an argument."""
    return lambda word, ctx: sockaddr_at(word, signed(ctx.args[length_arg]), ctx)


def remember_length(word: int, ctx: Ctx) -> str:
    """Remember the size of the program's buffer for a socket address."""
    raw = ctx.peek(word, 4)
    return "" if raw is None else str(int.from_bytes(raw, "little", signed=True))


def _lengths(word: int, ctx: Ctx) -> tuple[int | None, int | None]:
    """Give the size of the buffer, and how long the kernel says that the address is."""
    raw = ctx.peek(word, 4)
    now = None if raw is None else int.from_bytes(raw, "little", signed=True)
    before = ctx.saved.get("length")
    return (int(before) if before else now), now


def address_filled(length_arg: int) -> Out:
    """Make the format of a socket address that the kernel fills in."""

    def render(word: int, ctx: Ctx) -> str:
        before, now = _lengths(ctx.args[length_arg], ctx)
        if ctx.failed or before is None or now is None:
            return address(word)
        return sockaddr_at(word, min(before, now), ctx)

    return Out(render)


def _length(word: int, ctx: Ctx) -> str:
    before, now = _lengths(word, ctx)
    if before is None:
        return address(word)
    if ctx.failed or now is None or before == now:
        return f"[{before}]"
    return f"[{before} => {now}]"


VALUE_LENGTH = Out(_length, remember_length)
"""The size of a buffer, and of what the kernel had to put there; its parameter is `length`."""


def address_length(address_arg: int) -> Out:
    """Make the format of a socket address's length, which counts only where there is one."""

    def render(word: int, ctx: Ctx) -> str:
        return _length(word, ctx) if ctx.args[address_arg] else address(word)

    return Out(render, remember_length)


def length_unreadable(length_arg: int, waits: int, count: int, needs: int | None = None) -> Split:
    """Make the split of a call that has nothing to wait for if its length is not readable."""

    def split(ctx: Ctx) -> int:
        wanted = needs is None or bool(ctx.args[needs])
        return waits if wanted and ctx.peek(ctx.args[length_arg], 4) is not None else count

    return split
