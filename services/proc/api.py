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


@attrs.frozen
class SuspectInfo:
    """What a process holds of the kernel's heap, in objects; `immortal`: it must not be killed."""

    pid: int
    name: bytes
    regions: int
    descriptors: int
    threads: int
    unreaped: int
    timers: int
    immortal: bool


@request("proc", idempotent=True)
class ListSuspects(Request[tuple[SuspectInfo, ...]]):
    """All processes that still run, for the killer."""
