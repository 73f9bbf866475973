"""The root of all names, whatever root a process has: for what the kernel itself does by name."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from services.fs.api import At, Release, RootNode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from services.proc.kernel import Kernel


@asynccontextmanager
async def whole_tree(kernel: Kernel) -> AsyncIterator[At]:
    """Where absolute paths start, and relative ones too."""
    node = await kernel.fs.call(RootNode())
    try:
        yield At(node, node)
    finally:
        await kernel.fs.call(Release(node))
