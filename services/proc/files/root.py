"""The root of all names, whatever root a process has: for what the kernel itself does by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.fs.api import At, RootNode

if TYPE_CHECKING:
    from services.proc.kernel import Kernel


async def root_at(kernel: Kernel) -> At:
    """Where absolute paths start; its one reference is kept for good."""
    at: At | None = kernel.extra.get("root_at")
    if at is None:
        node = await kernel.fs.call(RootNode())
        at = kernel.extra["root_at"] = At(node, node)
    return at
