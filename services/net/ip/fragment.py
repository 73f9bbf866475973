"""Cutting datagrams into fragments, and the headers of what was put together again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.net.proto import ipv4, ipv6
from services.net.proto.checksum import checksum

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.net.proto.ipheader import IpHeader
    from services.net.proto.packet import Packet


def cut(packet: Packet, payload: bytes, mtu: int, ident: int) -> Iterator[tuple[bytes, memoryview]]:
    """(IP header, piece of the payload) of each fragment, none longer than `mtu` with its header.

    IPv4: RFC 791 3.2. IPv6: RFC 8200 4.5, with nothing but the fragment header between.
    """
    view = memoryview(payload)
    is_v4 = len(packet.src) == 4
    overhead = ipv4.HEADER_BYTES if is_v4 else ipv6.HEADER_BYTES + ipv6.FRAGMENT_HEADER_BYTES
    size = (mtu - overhead) & ~7
    for at in range(0, len(view), size):
        piece = view[at : at + size]
        more = at + size < len(view)
        if is_v4:
            flags = at >> 3 | (ipv4.MORE_FRAGMENTS if more else 0)
            head = ipv4.header(
                packet.src,
                packet.dst,
                packet.proto,
                len(piece),
                packet.ttl,
                packet.tos,
                ident & 0xFFFF,
                flags,
            )
        else:
            length = len(piece) + ipv6.FRAGMENT_HEADER_BYTES
            head = ipv6.header(
                packet.src, packet.dst, ipv6.FRAGMENT, length, packet.ttl, packet.tos
            ) + ipv6.fragment_header(packet.proto, ident, at, more)
        yield head, piece


def joined(head: IpHeader, first: memoryview, payload: bytes) -> bytes | None:
    """The datagram as it was before it was cut; None: it cannot have been one, it is too long.

    `first` is the first fragment. IPv6 extension headers before the fragment header are left out:
    they have done their work.
    """
    if len(head.src) == 16:
        if len(payload) > ipv6.MAX_PAYLOAD_BYTES:
            return None
        return (
            ipv6.header(head.src, head.dst, head.proto, len(payload), head.ttl, head.tos) + payload
        )
    length = head.start + len(payload)
    if length > ipv4.MAX_BYTES:
        return None
    header = bytearray(first[: head.start])
    header[2:4] = length.to_bytes(2, "big")
    header[6:8] = header[10:12] = bytes(2)
    header[10:12] = checksum(header).to_bytes(2, "big")
    return bytes(header) + payload
