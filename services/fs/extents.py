"""Arithmetic on lists of runs of RAM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bus.errors import MalformedRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.drivers.ram.api import Extent


def outside(extents: Sequence[Extent]) -> MalformedRequest:
    """What to raise when a run turned out not to be RAM."""
    return MalformedRequest(f"fs: not all of {list(extents)} is RAM")


def part(extents: Sequence[Extent], start: int, length_bytes: int) -> list[Extent]:
    """The bytes from `start` on of a list of runs, `length_bytes` of them if there are."""
    found: list[Extent] = []
    for paddr, count in extents:
        if length_bytes <= 0:
            break
        if start >= count:
            start -= count
            continue
        piece = min(count - start, length_bytes)
        found.append((paddr + start, piece))
        length_bytes -= piece
        start = 0
    return found
