"""What crosses between transports, IP and network interfaces.

A `Packet` is one IP datagram with its payload still an object; a `Frame` is what an interface
sends: bytes in parts, and what is left for the interface to do (checksum, segmentation), told as
in `struct virtio_net_hdr` (virtio 1.2, 5.1.6). Neither is changed after it has been handed over:
on loopback the receiver gets the very object that the sender made.
"""

from __future__ import annotations

from typing import Protocol

Part = bytes | memoryview
"""A piece of a datagram. A memoryview must stay unchanged until the frame has been sent."""

GSO_NONE = 0
GSO_TCPV4 = 1
GSO_TCPV6 = 4
"""`Frame.gso_type`: VIRTIO_NET_HDR_GSO_*."""


class Payload(Protocol):
    """What a transport puts into a datagram."""

    @property
    def checksum_at(self) -> int:
        """Offset of the checksum field within the encoded payload; -1: it has none."""

    @property
    def gso_bytes(self) -> int:
        """0: one datagram. Else the payload is cut into pieces of so many bytes (TCP's MSS)."""

    @property
    def size_bytes(self) -> int:
        """How long `encode` would make it, transport header and all."""

    def encode(self, src: bytes, dst: bytes, offload: bool) -> list[Part]:
        """The bytes, transport header first.

        With `offload` the checksum field holds the folded, not complemented sum of the
        pseudo-header alone, and whoever sends the frame completes it.
        """


class Raw:
    """Plain bytes as a payload: what no transport decodes, and what SOCK_RAW sends."""

    __slots__ = ("checksum_at", "data", "gso_bytes")

    def __init__(self, data: Part) -> None:
        self.data = data
        self.checksum_at = -1
        self.gso_bytes = 0

    @property
    def size_bytes(self) -> int:
        """There is no header."""
        return len(self.data)

    def encode(self, src: bytes, dst: bytes, offload: bool) -> list[Part]:
        """The bytes as they are."""
        return [self.data]


class Packet:
    """One IP datagram, v4 or v6 by the length of its addresses (4 or 16 bytes)."""

    __slots__ = (
        "dont_fragment",
        "dst",
        "ifindex",
        "loops",
        "payload",
        "proto",
        "src",
        "tos",
        "ttl",
    )

    def __init__(
        self,
        proto: int,
        src: bytes,
        dst: bytes,
        payload: Payload,
        ttl: int = 64,
        tos: int = 0,
        ifindex: int = 0,
        dont_fragment: bool = False,
        loops: bool = True,
    ) -> None:
        self.proto = proto  # IANA protocol number: 1 ICMP, 6 TCP, 17 UDP, 58 ICMPv6
        self.src = src
        self.dst = dst
        self.payload = payload
        self.ttl = ttl  # v6: hop limit
        self.tos = tos  # v6: traffic class
        self.ifindex = ifindex  # where it arrived; outwards: where it must leave, 0 = by route
        self.dont_fragment = dont_fragment
        self.loops = loops  # outwards, to a group: also to members here (IP_MULTICAST_LOOP)

    def __repr__(self) -> str:
        return (
            f"Packet(proto={self.proto}, {self.src.hex()} > {self.dst.hex()}, "
            f"ttl={self.ttl}, if={self.ifindex}, {self.payload!r})"
        )


class Frame:
    """A link-layer frame, and what the interface has yet to do to it.

    `checksum_start` < 0: the checksum is complete. Else the Internet checksum of everything from
    `checksum_start` on goes to `checksum_start + checksum_at`, whose present value is part of it.
    `gso_type` not 0: cut the TCP payload into pieces of `gso_bytes`, each behind the first
    `header_bytes` of the frame (Ethernet, IP and TCP headers), adjusted.
    """

    __slots__ = (
        "checksum_at",
        "checksum_start",
        "gso_bytes",
        "gso_type",
        "header_bytes",
        "parts",
    )

    def __init__(
        self,
        parts: list[Part],
        checksum_start: int = -1,
        checksum_at: int = 0,
        gso_type: int = GSO_NONE,
        gso_bytes: int = 0,
        header_bytes: int = 0,
    ) -> None:
        self.parts = parts
        self.checksum_start = checksum_start
        self.checksum_at = checksum_at
        self.gso_type = gso_type
        self.gso_bytes = gso_bytes
        self.header_bytes = header_bytes

    @property
    def length_bytes(self) -> int:
        """Bytes of all parts."""
        return sum(map(len, self.parts))

    def __repr__(self) -> str:
        return (
            f"Frame({self.length_bytes} bytes, csum={self.checksum_start}+{self.checksum_at}, "
            f"gso={self.gso_type}/{self.gso_bytes}, headers={self.header_bytes})"
        )
