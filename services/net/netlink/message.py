"""Netlink's messages and attributes, to and from bytes (netlink(7), linux/netlink.h).

A message is `struct nlmsghdr` (length, type, flags, sequence number, port) and a body; in the body
a fixed structure and then attributes, each a length and a type before its value; both are padded
to four bytes. Numbers are in the machine's order.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from bus.errors import PosixError
from services.net.netlink import abi

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER = struct.Struct("<IHHII")
ATTRIBUTE = struct.Struct("<HH")
TYPE_MASK, NESTED = 0x3FFF, 0x8000
_U16, _U32, _U64 = struct.Struct("<H"), struct.Struct("<I"), struct.Struct("<Q")


class Message(NamedTuple):
    """One message, without its padding."""

    type: int
    flags: int
    seq: int
    pid: int
    body: bytes


class Refused(PosixError):
    """A request that fails, with the words of an extended acknowledgement (NETLINK_EXT_ACK)."""

    def __init__(self, number: int, text: str = "") -> None:
        super().__init__(number)
        self.text = text


def encode(kind: int, flags: int, seq: int, pid: int, body: bytes) -> bytes:
    """A message as bytes, padded."""
    length = HEADER.size + len(body)
    return HEADER.pack(length, kind, flags, seq, pid) + body + bytes(-length & 3)


def split(data: bytes) -> Iterator[Message]:
    """The messages in a buffer, up to the first whose length cannot be (as Linux stops there)."""
    at = 0
    while at + HEADER.size <= len(data):
        length, kind, flags, seq, pid = HEADER.unpack_from(data, at)
        if not HEADER.size <= length <= len(data) - at:
            return
        yield Message(kind, flags, seq, pid, data[at + HEADER.size : at + length])
        at += length + 3 & ~3


def attribute(kind: int, value: bytes) -> bytes:
    """An attribute as bytes, padded."""
    return ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) & 3)


def u8(kind: int, value: int) -> bytes:
    """An attribute that is a byte."""
    return attribute(kind, bytes((value,)))


def u32(kind: int, value: int) -> bytes:
    """An attribute that is a 32-bit number."""
    return attribute(kind, _U32.pack(value & 0xFFFF_FFFF))


def text(kind: int, value: str) -> bytes:
    """An attribute that is a string with a zero at its end."""
    return attribute(kind, value.encode() + b"\0")


def attributes(data: bytes) -> dict[int, bytes]:
    """The attributes in `data`, by type; of two of one type the last. What is torn is left out."""
    found: dict[int, bytes] = {}
    at = 0
    while at + ATTRIBUTE.size <= len(data):
        length, kind = ATTRIBUTE.unpack_from(data, at)
        if not ATTRIBUTE.size <= length <= len(data) - at:
            break
        found[kind & TYPE_MASK] = data[at + ATTRIBUTE.size : at + length]
        at += length + 3 & ~3
    return found


def number(value: bytes | None, default: int = 0) -> int:
    """A number of whatever width an attribute has."""
    return default if value is None else int.from_bytes(value[:8], "little")


def name(value: bytes | None) -> bytes:
    """A string up to its zero; b"" where there is none."""
    return b"" if value is None else value.split(b"\0", 1)[0]


def acknowledgement(
    asked: Message, pid: int, error: int, words: str, *, capped: bool, extended: bool
) -> bytes:
    """NLMSG_ERROR: `struct nlmsgerr` and, of a failure, what was asked, unless it is `capped`.

    `error` is an errno, 0 for success. `extended`: `words` go along, if there are any.
    """
    flags = 0
    header = HEADER.pack(
        HEADER.size + len(asked.body), asked.type, asked.flags, asked.seq, asked.pid
    )
    body = struct.pack("<i", -error) + header
    if error and not capped:
        body += asked.body + bytes(-len(asked.body) & 3)
    else:
        flags |= abi.F_CAPPED
    if extended and words:
        flags |= abi.F_ACK_TLVS
        body += text(abi.ERR_TEXT, words)
    return encode(abi.NLMSG_ERROR, flags, asked.seq, pid, body)
