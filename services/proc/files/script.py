"""A script as a file: the descriptor that register_lua_syscall gives.

The state lives as long as the description: dup, fork, exec and SCM_RIGHTS share it, the last close
frees it. read(2) tells why it failed last, from the file's offset on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bus.census import kind as charge_kind
from services.proc.abi import O_RDONLY
from services.proc.files.anon import AnonFile, scatter, total
from services.script.api import Free

if TYPE_CHECKING:
    from bus.core import Port
    from services.drivers.ram.api import Extent
    from services.proc.task import Thread

MOST_MESSAGE_BYTES = 1024


class ScriptFile(AnonFile):
    """`state` is script's number of it; `busy` are the slots of calls in progress."""

    __slots__ = ("_script", "busy", "message", "state")
    kind = "lua"
    seekable = True
    heap = charge_kind("proc", "script descriptor")

    def __init__(self, script: Port, state: int) -> None:
        super().__init__(O_RDONLY)
        self._script = script
        self.state = state
        self.busy: set[int] = set()
        self.message = b""

    def told(self, why: str) -> None:
        """Keep the reason of a failure for whoever reads it."""
        self.message = why.encode("latin-1", "replace")[:MOST_MESSAGE_BYTES]
        self.offset = 0

    async def read(self, thread: Thread, extents: list[Extent], offset: int | None) -> int:
        """The last failure's message."""
        at = self.offset if offset is None else offset
        piece = self.message[at : at + total(extents)]
        if piece:
            scatter(thread.kernel.ram.bytes, extents, piece)
        if offset is None:
            self.offset = at + len(piece)
        return len(piece)

    async def closed(self, thread: Thread | None) -> None:
        """Nobody has it any more."""
        await self._script.call(Free(self.state))
