"""What vm's objects cost in bytes, measured when the kernel starts (`bus/census.py`)."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any, cast

from services.vm.regions import REGION, REGION_MAP, Region, RegionMap
from services.vm.space import AddressSpace
from services.vm.tables import TABLES, Tables

FAR = 1 << 40
"""Addresses that are integers of the usual size, and not shared."""


def measure() -> None:
    """Find all costs, once a process."""
    if REGION.cost_bytes:
        return
    places = itertools.count(FAR, 8192)
    REGION_MAP.measure(RegionMap)
    REGION.measure(lambda: _region(next(places)))
    frames: Any = SimpleNamespace(
        ram=SimpleNamespace(words=None, array=SimpleNamespace(reshape=_none), bytes=None)
    )
    TABLES.measure(lambda: _space(frames, next(places)))


def _none(*_: int) -> None:
    return None


def _region(start: int) -> Region:
    return Region(start, start + 4096, 3)


def _space(frames: Any, root: int) -> AddressSpace:
    """A whole space; its map is a kind of its own."""
    shared = cast("RegionMap", None)
    space = AddressSpace(frames, Tables(frames, root), shared)
    space.brk = space.brk_start = root
    return space
