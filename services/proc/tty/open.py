"""Opening terminals (being built)."""

from __future__ import annotations
from typing import Any
from errno import ENXIO
from bus.errors import PosixError

TERMINAL_DEVICES = (4, 5, 136)


async def open_terminal(thread: Any, number: Any, node: int, flags: int) -> Any:
    """Nothing yet."""
    raise PosixError(ENXIO)
