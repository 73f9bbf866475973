"""What an attacker sends: a TCP of raw numbers, forged segments, and the storms' raw material."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from services.net.proto import ipv4
from services.net.proto.checksum import finish, pseudo_header, sum_bytes
from services.net.tcp.segment import ACK, PROTO_TCP, SYN, Segment, decode
from tests.net.hostile.world import ATTACKER, ECHO, SERVER, ether

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.net.hostile.world import Wire

MASK = 0xFFFFFFFF
_ports = iter(range(20_000, 1 << 30))


def ip4(proto: int, body: bytes, source: bytes = ATTACKER, target: bytes = SERVER) -> bytes:
    """A frame with an IPv4 packet."""
    return ether(ipv4.header(source, target, proto, len(body), 64, 0, 1, 0) + body)


def tcp4(segment: Segment, source: bytes = ATTACKER, options: bytes = b"") -> bytes:
    """A frame with a segment; raw `options` in place of the segment's, checksum right."""
    data = b"".join(segment.encode(source, SERVER, False))
    if options:
        options += bytes(-len(options) % 4)
        words = 5 + len(options) // 4
        head = bytearray(data[:20]) + options
        head[12], head[16:18] = words << 4, b"\0\0"
        data = bytes(head) + bytes(segment.payload)
        total = pseudo_header(source, SERVER, PROTO_TCP, len(data)) + sum_bytes(data)
        data = data[:16] + finish(total).to_bytes(2, "big") + data[18:]
    return ip4(PROTO_TCP, data, source)


def said_to(wire: Wire, address: bytes, port: int) -> Iterator[Segment]:
    """The server's segments to a port of the attacker's."""
    for frame in wire.seen:
        if frame[12:14] != b"\x08\0" or frame[23] != PROTO_TCP or frame[30:34] != address:
            continue
        segment = decode(memoryview(frame)[34:], SERVER, address, False)
        if segment.target_port == port:
            yield segment


class Flow:
    """A connection of the attacker's, who keeps count of the server's numbers and of his own."""

    def __init__(self, wire: Wire, **options: object) -> None:
        self.wire = wire
        self.port = 1024 + next(_ports) % 60_000
        self.next = 1_000_000
        """What the server expects, if nothing else was sent than by `send`."""
        self.theirs = 0
        self.stamp: int | None = None
        wire.seen.clear()
        stamps = options.pop("stamps", None)
        syn = Segment(self.port, ECHO, self.next, 0, SYN, 60_000, b"", **options)  # type: ignore[arg-type]
        if stamps is not None:
            self.stamp = 5000
            syn.stamps = (self.stamp, 0)
        wire.attack(tcp4(syn))
        wire.settle()
        self.next += 1
        for answer in said_to(wire, ATTACKER, self.port):
            if answer.flags & SYN:
                self.theirs = answer.seq + 1 & MASK
        if self.theirs:
            self.put(self.segment(ACK))

    def segment(
        self, flags: int, payload: bytes = b"", seq: int = 0, ack: int = 0, window: int = 60_000
    ) -> Segment:
        """`seq` and `ack` are counted from what the server expects and has sent at first."""
        made = Segment(
            self.port,
            ECHO,
            self.next + seq & MASK,
            self.theirs + ack & MASK,
            flags & 0xFF,
            window,
            payload,
        )
        if self.stamp is not None:
            made.stamps = (self.stamp, 0)
        return made

    def put(self, segment: Segment, options: bytes = b"") -> None:
        """Put a segment on the wire."""
        self.wire.attack(tcp4(segment, options=options))
        self.wire.settle()

    def send(self, data: bytes) -> None:
        """As an honest peer would."""
        self.put(self.segment(ACK, data))
        self.next += len(data)

    def heard(self) -> int:
        """Take note of how far the server has sent; bytes since the connection began."""
        ends = [
            segment.seq + segment.length - self.theirs & MASK
            for segment in said_to(self.wire, ATTACKER, self.port)
            if not segment.flags & SYN
        ]
        return max((end for end in ends if end < 1 << 31), default=0)


def udp4(size: int, source: bytes = ATTACKER, port: int = ECHO) -> bytes:
    """A frame with a datagram of zeros, without checksum."""
    return ip4(17, struct.pack("!HHHH", 9, port, 8 + size, 0) + bytes(size), source)


def address(number: int) -> bytes:
    """Address `number` of the link's, none of which is the server's or the client's."""
    return bytes((10, 0, 0, 3 + number % 250))
