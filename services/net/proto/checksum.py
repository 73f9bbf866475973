"""The Internet checksum (RFC 1071), without a Python loop over bytes.

2**16 = 1 modulo 0xffff, so the ones' complement sum of 16-bit words is the whole buffer, read as
one big number, modulo 0xffff. That is fastest up to some 1.5 KiB; beyond, numpy adds 32-bit words
(measured; the big number's division is no worse than linear, but four times slower at 4 KiB and
thirty at 64 KiB).

Sums are plain ints, congruent modulo 0xffff and not necessarily folded; they may be added.
The sum's two zeros, 0 and 0xffff, are not told apart: only data that is all zero has the sum 0, and
no header of ours is. A message whose checksum is right, its checksum field included, sums to 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

_NUMPY_FROM_BYTES = 1536
_WORD32 = np.dtype("<u4")

_number = int.from_bytes
_frombuffer = np.frombuffer
_add = np.add.reduce


class ChecksumError(ValueError):
    """What a decoder raises on a checksum that is wrong, so that it can be counted as such."""


def sum_bytes(data: bytes | bytearray | memoryview) -> int:
    """The sum of big-endian 16-bit words, in 0..0xfffe; an odd byte at the end is a high byte."""
    length = len(data)
    if length < _NUMPY_FROM_BYTES:
        if length & 1:
            return (_number(data, "big") << 8) % 0xFFFF
        return _number(data, "big") % 0xFFFF
    whole = length & ~3
    words = _frombuffer(data, _WORD32, whole >> 2)
    swapped = int(_add(words, dtype=np.uint64)) % 0xFFFF
    total = (swapped & 0xFF) << 8 | swapped >> 8
    if length > whole:
        rest = _number(data[whole:], "big")
        total += rest << 8 if length & 1 else rest
    return total % 0xFFFF


def sum_pieces(data: memoryview, size: int) -> list[int]:
    """The sums of a buffer's pieces of `size` bytes, the last of which may be shorter."""
    whole = len(data) // size if size % 4 == 0 else 0
    sums: list[int] = []
    if whole:
        words = _frombuffer(data, _WORD32, whole * size >> 2).reshape(whole, size >> 2)
        swapped = (_add(words, axis=1, dtype=np.uint64) % 0xFFFF).tolist()
        sums = [(one & 0xFF) << 8 | one >> 8 for one in swapped]
    rest = range(whole * size, len(data), size)
    return sums + [sum_bytes(data[at : at + size]) for at in rest]


def sum_parts(parts: Sequence[bytes | memoryview]) -> int:
    """The sum of the parts laid end to end, whatever their lengths."""
    total = 0
    odd = False
    for part in parts:
        part_sum = sum_bytes(part)
        total += part_sum << 8 if odd else part_sum
        odd ^= len(part) & 1 == 1
    return total % 0xFFFF


def pseudo_header(src: bytes, dst: bytes, proto: int, length_bytes: int) -> int:
    """The sum of the pseudo-header, v4 (RFC 9293 3.1) or v6 (RFC 8200 8.1): the same words."""
    return (_number(src + dst, "big") + proto + length_bytes) % 0xFFFF


def finish(total: int) -> int:
    """The checksum, 0..0xfffe, of what sums to `total`. UDP sends 0 as 0xffff itself."""
    return -total % 0xFFFF


def checksum(data: bytes | bytearray | memoryview) -> int:
    """The checksum of one buffer whose checksum field is zero."""
    return -sum_bytes(data) % 0xFFFF


def is_valid(data: bytes | bytearray | memoryview, pseudo: int = 0) -> bool:
    """Whether the buffer, checksum field included, and the pseudo-header's sum agree."""
    return (sum_bytes(data) + pseudo) % 0xFFFF == 0
