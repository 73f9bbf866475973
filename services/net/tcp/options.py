"""TCP options as they are on the wire (RFC 9293 3.2, RFC 7323, RFC 2018)."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.net.tcp.segment import Segment

END, NOP, MSS, SCALE, SACK_OK, SACK, STAMPS = 0, 1, 2, 3, 4, 5, 8
MAX_SCALE = 14
"""RFC 7323 2.3: a greater shift counts as this."""

_STAMPS = Struct("!II")
_STAMPS_OPTION = Struct("!BBBBII")
_MSS_OPTION = Struct("!BBH")


def parse(data: memoryview, segment: Segment) -> None:
    """Take the options that we know into a segment; one of a wrong length is skipped.

    `data` is what lies between the fixed header and the payload. An option that runs past the
    end, or whose length is below 2, ends the parsing (ValueError): the segment is malformed.
    """
    at, end = 0, len(data)
    while at < end:
        kind = data[at]
        if kind == NOP:
            at += 1
            continue
        if kind == END:
            return
        length = data[at + 1] if at + 1 < end else 0
        if length < 2 or at + length > end:
            raise ValueError(f"TCP option {kind} at {at} has length {length}, {end - at} are left")
        if kind == STAMPS and length == 10:
            segment.stamps = _STAMPS.unpack_from(data, at + 2)
        elif kind == SACK and length >= 10 and length % 8 == 2:
            segment.sacks = tuple(
                _STAMPS.unpack_from(data, at + 2 + 8 * i) for i in range(length >> 3)
            )
        elif kind == MSS and length == 4:
            segment.mss = data[at + 2] << 8 | data[at + 3]
        elif kind == SCALE and length == 3:
            segment.scale = min(data[at + 2], MAX_SCALE)
        elif kind == SACK_OK and length == 2:
            segment.sack_ok = True
        at += length


def build(segment: Segment) -> bytes:
    """The options of a segment, padded to a multiple of 4; at most 40 bytes are its sender's duty.

    Their order is Linux's: MSS, SACK permitted, timestamps, window scale; SACK blocks last.
    """
    out = b""
    if segment.mss is not None:
        out = _MSS_OPTION.pack(MSS, 4, segment.mss)
    stamps = segment.stamps
    if stamps is not None:
        if segment.sack_ok:
            out += b"\x04\x02" + _STAMPS_OPTION.pack(NOP, NOP, STAMPS, 10, *stamps)[2:]
        else:
            out += _STAMPS_OPTION.pack(NOP, NOP, STAMPS, 10, *stamps)
    elif segment.sack_ok:
        out += b"\x01\x01\x04\x02"
    if segment.scale is not None:
        out += bytes((NOP, SCALE, 3, segment.scale))
    if segment.sacks:
        out += bytes((NOP, NOP, SACK, 2 + 8 * len(segment.sacks)))
        out += b"".join([_STAMPS.pack(*block) for block in segment.sacks])
    return out
