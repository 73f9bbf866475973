"""What others may ask of proc."""

from __future__ import annotations

from errno import ESRCH

import attrs

from bus.message import Request, request


@attrs.frozen
class ProcessInfo:
    """One row of a process list; times in ns, state as proc(5) letters."""

    pid: int
    parent: int
    name: bytes
    state: str
    threads: int
    descriptors: int
    children: int
    user_ns: int


@request("proc", idempotent=True)
class ListProcesses(Request[tuple[ProcessInfo, ...]]):
    """All processes, zombies too."""


@request("proc", errors=(ESRCH,))
class Signal(Request[None]):
    """Send a signal to a process, with the kernel's own authority."""

    pid: int
    signal: int
