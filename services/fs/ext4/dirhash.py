"""Hashes of names, by which the index of a directory finds its blocks (Documentation, htree).

`hash_name` gives the major hash, whose lowest bit is 0: an index uses that bit for itself.
"""

from __future__ import annotations

import functools
import struct

LEGACY, HALF_MD4, TEA = 0, 1, 2
UNSIGNED = 3
"""Added to one of these where characters above 127 count as positive."""
MASK = 0xFFFF_FFFF
END = 0x7FFF_FFFF << 1
START = struct.pack("<4I", 0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476)


def _words(part: bytes, left: int, count: int, signed: bool) -> list[int]:
    """`count` words of a part of the name, padded with what is left of its length."""
    pad = (left & 0xFF) * 0x0101_0101
    words, value = [], pad
    used = part[: 4 * count]
    for at, char in enumerate(used):
        value = ((char - 256 if signed and char > 127 else char) + (value << 8)) & MASK
        if at % 4 == 3:
            words.append(value)
            value = pad
    if len(words) < count:
        words.append(value)
    return words + [pad] * (count - len(words))


def _rotated(value: int, by: int) -> int:
    value &= MASK
    return (value << by | value >> (32 - by)) & MASK


def _half_md4(state: list[int], words: list[int]) -> None:
    a, b, c, d = state
    for at in (0, 4):
        a = _rotated(a + (d ^ (b & (c ^ d))) + words[at], 3)
        d = _rotated(d + (c ^ (a & (b ^ c))) + words[at + 1], 7)
        c = _rotated(c + (b ^ (d & (a ^ b))) + words[at + 2], 11)
        b = _rotated(b + (a ^ (c & (d ^ a))) + words[at + 3], 19)
    k = 0x5A827999
    for at in (1, 0):
        a = _rotated(a + (b & c) + ((b ^ c) & d) + words[at] + k, 3)
        d = _rotated(d + (a & b) + ((a ^ b) & c) + words[at + 2] + k, 5)
        c = _rotated(c + (d & a) + ((d ^ a) & b) + words[at + 4] + k, 9)
        b = _rotated(b + (c & d) + ((c ^ d) & a) + words[at + 6] + k, 13)
    k = 0x6ED9EBA1
    for at in (3, 1):
        a = _rotated(a + (b ^ c ^ d) + words[at] + k, 3)
        d = _rotated(d + (a ^ b ^ c) + words[at + 4] + k, 9)
        c = _rotated(c + (d ^ a ^ b) + words[at - 1] + k, 11)
        b = _rotated(b + (c ^ d ^ a) + words[at + 3] + k, 15)
    state[:] = [(old + new) & MASK for old, new in zip(state, (a, b, c, d), strict=True)]


def _tea(state: list[int], words: list[int]) -> None:
    total, (left, right) = 0, state[:2]
    a, b, c, d = words
    for _ in range(16):
        total = (total + 0x9E3779B9) & MASK
        left = (left + ((right << 4) + a ^ right + total ^ (right >> 5) + b)) & MASK
        right = (right + ((left << 4) + c ^ left + total ^ (left >> 5) + d)) & MASK
    state[0] = (state[0] + left) & MASK
    state[1] = (state[1] + right) & MASK


def _legacy(name: bytes, signed: bool) -> int:
    older, old = 0x37ABE8F9, 0x12A3FE2D
    for char in name:
        value = char - 256 if signed and char > 127 else char
        new = (older + (old ^ (value * 7152373 & MASK))) & MASK
        if new & 0x8000_0000:
            new = (new - 0x7FFF_FFFF) & MASK
        older, old = old, new
    return old << 1 & MASK


@functools.lru_cache(4096)
def hash_name(name: bytes, version: int, seed: bytes) -> int:
    """The hash of a name; ValueError for a version that is none."""
    signed = version < UNSIGNED
    kind = version % UNSIGNED
    if version >= 2 * UNSIGNED:
        raise ValueError(f"hash version {version}")
    if kind == LEGACY:
        found = _legacy(name, signed)
    else:
        mix, count = (_half_md4, 8) if kind == HALF_MD4 else (_tea, 4)
        state = list(struct.unpack("<4I", seed if any(seed) else START))
        for at in range(0, len(name), 4 * count):
            mix(state, _words(name[at:], len(name) - at, count, signed))
        found = state[1] if kind == HALF_MD4 else state[0]
    found &= ~1
    return END - 2 if found == END else found
