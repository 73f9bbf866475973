"""/proc (placeholder while it is being built)."""
from __future__ import annotations
from errno import ENOENT
from typing import Any
from bus.errors import PosixError

class ProcFs:
    """Nothing is there yet."""
    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel
    async def leaves(self, thread: Any, foreign: Any) -> None:
        """Never."""
        return None
    async def _none(self, *args: Any) -> Any:
        raise PosixError(ENOENT)
    open = stat = readlink = access = resolve = chdir = _none
