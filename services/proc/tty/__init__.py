"""Terminals (placeholder while they are being built)."""

from __future__ import annotations
from typing import Any
from services.proc.abi import O_RDONLY, O_WRONLY
from services.proc.files.stream import StreamFile


async def attach_console(kernel: Any, process: Any) -> dict[int, Any]:
    """Streams."""
    files = {}
    for fd, flags in ((0, O_RDONLY), (1, O_WRONLY), (2, O_WRONLY)):
        file = files[fd] = StreamFile(kernel.console, fd, flags)
        await file.describe()
    return files
