"""Formats of messages: msghdr with its name, vectors and control data; mmsghdr arrays."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from .buffers import iovec
from .clock import timespec, timeval
from .model import Out
from .sockaddr import inet_addr, interface_index, sockaddr_at
from .tables import network as t
from .text import address, array, hexadecimal, listing, members, signed, unsigned

if TYPE_CHECKING:
    from collections.abc import Callable

    from .model import Ctx

_MSGHDR = struct.Struct("<QIxxxxQQQQIxxxx")
_CMSGHDR = struct.Struct("<Qii")
_MMSGHDR_BYTES = 64
_IOV_MAX = 1024
_CONTROL_MOST = 1 << 20
SOL_IP, SOL_SOCKET = 0, 1


def _rights(data: bytes, ctx: Ctx) -> str:
    count = len(data) // 4
    shown = struct.unpack_from(f"<{count}i", data)[: ctx.string_limit]
    return listing([str(fd) for fd in shown], more=count > ctx.string_limit)


def _credentials(data: bytes, ctx: Ctx) -> str:
    pid, uid, gid = struct.unpack_from("<iII", data)
    return members(pid=str(pid), uid=str(uid), gid=str(gid))


def _timeval(data: bytes, ctx: Ctx) -> str:
    return timeval(*struct.unpack_from("<qQ", data))


def _timespec(data: bytes, ctx: Ctx) -> str:
    return timespec(*struct.unpack_from("<qQ", data))


def _stamps(data: bytes, ctx: Ctx) -> str:
    numbers = struct.unpack_from("<qQqQqQ", data)
    return listing([timespec(numbers[i], numbers[i + 1]) for i in (0, 2, 4)])


def _byte(data: bytes, ctx: Ctx) -> str:
    return f"[{hexadecimal(data[0])}]"


def _number(data: bytes, ctx: Ctx) -> str:
    return f"[{int.from_bytes(data[:4], 'little')}]"


def _packet_info(data: bytes, ctx: Ctx) -> str:
    return members(
        ipi_ifindex=interface_index(int.from_bytes(data[:4], "little")),
        ipi_spec_dst=inet_addr(data[4:8]),
        ipi_addr=inet_addr(data[8:12]),
    )


_CONTROLS: dict[tuple[int, int], tuple[int, Callable[[bytes, Ctx], str]]] = {
    (SOL_SOCKET, 1): (4, _rights),
    (SOL_SOCKET, 2): (12, _credentials),
    (SOL_SOCKET, 29): (16, _timeval),
    (SOL_SOCKET, 35): (16, _timespec),
    (SOL_SOCKET, 37): (48, _stamps),
    (SOL_IP, 1): (1, _byte),
    (SOL_IP, 2): (4, _number),
    (SOL_IP, 8): (12, _packet_info),
}


def _control_type(level: int, kind: int) -> str:
    if level == SOL_SOCKET:
        return t.SOCKET_CONTROLS.value(unsigned(kind))
    if level == SOL_IP:
        return t.IP_CONTROLS.value(unsigned(kind))
    return hexadecimal(unsigned(kind))


def _control_level(level: int) -> str:
    name = t.LEVELS.names.get(unsigned(level))
    return name or f"{hexadecimal(unsigned(level))} /* SOL_??? */"


def _control_item(raw: bytes, ctx: Ctx) -> tuple[str, int]:
    """Write the first control message in some bytes, and give how many bytes it takes."""
    size, level, kind = _CMSGHDR.unpack_from(raw)
    fields = {
        "cmsg_len": str(size),
        "cmsg_level": _control_level(level),
        "cmsg_type": _control_type(level, kind),
    }
    data = raw[_CMSGHDR.size : size]
    least, write = _CONTROLS.get((level, kind), (0, None))
    if write is not None and len(data) >= least and len(data):
        fields["cmsg_data"] = write(data, ctx)
    return members(**fields), size + 7 & ~7


def _control(vaddr: int, length: int, ctx: Ctx) -> str:
    sensible = _CMSGHDR.size <= length <= _CONTROL_MOST
    raw = ctx.fetch(vaddr, length) if sensible else None
    if raw is None:
        return address(vaddr)
    items: list[str] = []
    while len(raw) >= _CMSGHDR.size:
        if len(items) >= ctx.string_limit:
            items.append("...")
            break
        text, size = _control_item(raw, ctx)
        items.append(text)
        raw = raw[max(size, _CMSGHDR.size) :]
        if size < _CMSGHDR.size:
            break
    if raw and items[-1] != "...":
        items.append(f"... /* {address(vaddr + length - len(raw))} */")
    return listing(items)


def message(raw: bytes, ctx: Ctx, length: int | None = None, name_length: int | None = None) -> str:
    """Write a struct msghdr, of whose vectors only `length` bytes are meant."""
    name, size, vectors, count, control, control_size, bits = _MSGHDR.unpack_from(raw)
    size = signed(size)
    shown = size if name_length is None else min(size, name_length)
    changed = name_length is not None and name_length != size and name
    fields = {
        "msg_name": sockaddr_at(name, shown, ctx),
        "msg_namelen": f"{name_length} => {size}" if changed else str(size),
        "msg_iov": iovec(vectors, count, ctx, length),
        "msg_iovlen": str(count),
    }
    if control_size:
        fields["msg_control"] = _control(control, control_size, ctx)
    fields["msg_controllen"] = str(control_size)
    fields["msg_flags"] = t.MSG_FLAGS.flags(bits)
    return members(**fields)


def MSGHDR(word: int, ctx: Ctx) -> str:
    """Write the message that sendmsg sends."""
    raw = ctx.fetch(word, _MSGHDR.size)
    return address(word) if raw is None else message(raw, ctx)


def _name_length(word: int, ctx: Ctx) -> str:
    raw = ctx.peek(word, _MSGHDR.size)
    return "" if raw is None else str(int.from_bytes(raw[8:12], "little", signed=True))


def _received(word: int, ctx: Ctx) -> str:
    raw = ctx.peek(word, _MSGHDR.size)
    if raw is None:
        return address(word)
    saved = ctx.saved.get("message")
    before = int(saved) if saved else None
    if ctx.failed:
        size = int.from_bytes(raw[8:12], "little", signed=True) if before is None else before
        return members(msg_namelen=str(size))
    return message(raw, ctx, ctx.result or 0, before)


RECEIVED_MESSAGE = Out(_received, _name_length)


def _element(raw: bytes, ctx: Ctx, with_length: bool, received: bool) -> str:
    length = int.from_bytes(raw[56:60], "little")
    header = message(raw, ctx, length if received else None)
    fields = {"msg_hdr": header}
    if with_length:
        fields["msg_len"] = str(length)
    return members(**fields)


def _received_messages(word: int, ctx: Ctx) -> str:
    if ctx.failed:
        return address(word)

    def element(raw: bytes, ctx: Ctx) -> str:
        return _element(raw, ctx, with_length=True, received=True)

    return array(word, ctx.result or 0, _MMSGHDR_BYTES, element, ctx)


RECEIVED_MESSAGES = Out(_received_messages)


def _sent_messages(word: int, ctx: Ctx) -> str:
    count = min(unsigned(ctx.args[2]), _IOV_MAX)
    sent = 0 if ctx.failed else ctx.result or 0
    position = 0

    def element(raw: bytes, inner: Ctx) -> str:
        nonlocal position
        position += 1
        return _element(raw, inner, with_length=position <= sent, received=False)

    return array(word, count, _MMSGHDR_BYTES, element, ctx.at_exit(0))


SENT_MESSAGES = Out(_sent_messages)
