"""One TCP segment, and its form on the wire (RFC 9293 3.1).

On loopback the object itself goes from sender to receiver, so nobody changes a segment once it
has been handed down. `gso_bytes` not 0 says that the payload is to be cut into pieces of so many
bytes by whoever puts it on a wire.
"""

from __future__ import annotations

from struct import Struct

from services.net.proto.checksum import ChecksumError, finish, pseudo_header, sum_bytes
from services.net.tcp import options

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = 1, 2, 4, 8, 16, 32, 64, 128

PROTO_TCP = 6
HEADER_BYTES = 20
STAMPS_BYTES = 12
"""What timestamps take of every segment once they are agreed on, padding included."""

_HEADER = Struct("!HHIIBBHHH")
_STAMPED = Struct("!HHIIBBHHHIII")
_STAMPED_OPTIONS = Struct("!III")
_NOP_NOP_STAMPS = 0x0101080A
_STAMPED_OFFSET = (HEADER_BYTES + STAMPS_BYTES) << 2
_CHECKSUM = Struct("!H")
CHECKSUM_AT = 16


class Segment:
    """A header, its options and its payload; numbers are those of the wire (unscaled, mod 2**32).

    A `services.net.proto.packet.Payload`.
    """

    __slots__ = (
        "ack",
        "flags",
        "gso_bytes",
        "mss",
        "payload",
        "sack_ok",
        "sacks",
        "scale",
        "seq",
        "source_port",
        "stamps",
        "target_port",
        "urgent",
        "window",
    )

    checksum_at = CHECKSUM_AT

    def __init__(
        self,
        source_port: int,
        target_port: int,
        seq: int,
        ack: int,
        flags: int,
        window: int,
        payload: bytes | memoryview = b"",
        stamps: tuple[int, int] | None = None,
        sacks: tuple[tuple[int, int], ...] = (),
        gso_bytes: int = 0,
        urgent: int = 0,
        mss: int | None = None,
        scale: int | None = None,
        sack_ok: bool = False,
    ) -> None:
        self.source_port = source_port
        self.target_port = target_port
        self.seq = seq
        self.ack = ack
        self.flags = flags
        self.window = window
        self.payload = payload
        self.stamps = stamps  # (TSval, TSecr), or None
        self.sacks = sacks  # (left, right) edges
        self.gso_bytes = gso_bytes
        self.urgent = urgent
        self.mss = mss  # the last three: with SYN only
        self.scale = scale
        self.sack_ok = sack_ok

    @property
    def length(self) -> int:
        """What it takes of the sequence space: payload, SYN and FIN."""
        flags = self.flags
        return len(self.payload) + (flags & FIN) + (flags >> 1 & 1)

    @property
    def size_bytes(self) -> int:
        """Header, options and payload."""
        if self.stamps is not None and not self.sacks and not self.flags & SYN:
            return HEADER_BYTES + STAMPS_BYTES + len(self.payload)
        return HEADER_BYTES + len(options.build(self)) + len(self.payload)

    def encode(self, src: bytes, dst: bytes, offload: bool) -> list[bytes | memoryview]:
        """[header, payload]; with `offload` only the pseudo-header is in the checksum."""
        payload = self.payload
        stamps = self.stamps
        if stamps is not None and not self.sacks and not self.flags & SYN:
            fixed = (_STAMPED_OFFSET, self.flags, self.window, 0, self.urgent)
            header = bytearray(HEADER_BYTES + STAMPS_BYTES)
            _STAMPED.pack_into(
                header,
                0,
                self.source_port,
                self.target_port,
                self.seq,
                self.ack,
                *fixed,
                _NOP_NOP_STAMPS,
                stamps[0],
                stamps[1],
            )
        else:
            tail = options.build(self)
            header = bytearray(HEADER_BYTES) + tail
            _HEADER.pack_into(
                header,
                0,
                self.source_port,
                self.target_port,
                self.seq,
                self.ack,
                (HEADER_BYTES + len(tail)) << 2,
                self.flags,
                self.window,
                0,
                self.urgent,
            )
        pseudo = pseudo_header(src, dst, PROTO_TCP, len(header) + len(payload))
        if offload:
            _CHECKSUM.pack_into(header, CHECKSUM_AT, pseudo)
        else:
            total = pseudo + sum_bytes(header) + (sum_bytes(payload) if payload else 0)
            _CHECKSUM.pack_into(header, CHECKSUM_AT, finish(total))
        return [bytes(header), payload] if payload else [bytes(header)]

    def __repr__(self) -> str:
        names = "".join(c for i, c in enumerate("FSRPAUEC") if self.flags >> i & 1)
        extra = f" TS {self.stamps}" if self.stamps else ""
        extra += f" SACK {self.sacks}" if self.sacks else ""
        return (
            f"<{self.source_port}>{self.target_port} {names} seq={self.seq} ack={self.ack} "
            f"win={self.window} len={len(self.payload)}{extra}>"
        )


def decode(data: memoryview, src: bytes, dst: bytes, checked: bool) -> Segment:
    """A segment from the wire; ValueError if it is malformed, ChecksumError if it is damaged.

    The payload is copied: `data` may be RAM that will be used again. `checked` says that the
    checksum is known to be good.
    """
    size = len(data)
    if size < HEADER_BYTES:
        raise ValueError(f"a TCP header takes {HEADER_BYTES} bytes, there are {size}")
    source, target, seq, ack, offset, flags, window, _, urgent = _HEADER.unpack_from(data)
    header = offset >> 2 & 0x3C
    if not HEADER_BYTES <= header <= size:
        raise ValueError(f"TCP data offset {header} in a segment of {size} bytes")
    if not checked and (pseudo_header(src, dst, PROTO_TCP, size) + sum_bytes(data)) % 0xFFFF:
        raise ChecksumError("wrong TCP checksum")
    segment = Segment(source, target, seq, ack, flags, window, bytes(data[header:]))
    segment.urgent = urgent
    if header > HEADER_BYTES:
        if header == HEADER_BYTES + STAMPS_BYTES:
            kind, value, echo = _STAMPED_OPTIONS.unpack_from(data, HEADER_BYTES)
            if kind == _NOP_NOP_STAMPS:
                segment.stamps = (value, echo)
                return segment
        options.parse(data[HEADER_BYTES:header], segment)
    return segment
