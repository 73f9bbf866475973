"""Checksums as ext4 has them: CRC-32C without the inversions, and CRC-16 of group descriptors."""

from __future__ import annotations

from crc32c import crc32c as _crc32c

MASK = 0xFFFF_FFFF


def crc32c(seed: int, data: bytes | bytearray | memoryview) -> int:
    """CRC-32C of `data`, going on from `seed` (`MASK` begins anew)."""
    return _crc32c(bytes(data), seed ^ MASK) ^ MASK


def _table16() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE16 = _table16()


def crc16(seed: int, data: bytes | memoryview) -> int:
    """CRC-16 (ANSI, reflected), going on from `seed`."""
    for byte in data:
        seed = seed >> 8 ^ _TABLE16[(seed ^ byte) & 0xFF]
    return seed
