"""Sequence numbers without wrap-around.

On the wire they are 32 bits and wrap (RFC 9293 3.4). Inside, they are plain ints that only grow:
what arrives is turned into the number nearest to one that we know, once, and all comparisons
after that are those of ints. What is sent is masked again. The same goes for timestamps.
"""

from __future__ import annotations

MASK = 0xFFFFFFFF
HALF = 0x80000000


def unwrap(wire: int, near: int) -> int:
    """The number that is `wire` modulo 2**32 and lies in [near - 2**31, near + 2**31)."""
    return near + ((wire - near + HALF) & MASK) - HALF


def after(one: int, other: int) -> bool:
    """Whether a 32-bit number is later than another (RFC 7323 5.2's signed comparison)."""
    return 0 < ((one - other) & MASK) < HALF
