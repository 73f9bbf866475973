"""Waiting for any of many files: what poll(2) and select(2) have in common.

A caller describes what it looks for as a `Scan`: called, it looks at its files with `poll` and
says how many are ready. The order is what keeps wake-ups from being lost: first `refresh` the
remote files (which may wait), then scan and register without an await between them.

Interrupted calls: see `until_ready`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bus.census import kind
from services.proc.park import Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from services.proc.descriptors import OpenFile
    from services.proc.task import Thread

    Scan = Callable[[], int]
    Files = Callable[[], Iterable[OpenFile]]

NS_PER_MS = 1_000_000
WAITING = kind("proc", "descriptors waited for")
WAITED_BYTES = 288
"""Of each: its pollfd as a tuple with its numbers, its answer, and the waiter in its queue, whose
table was empty before. tracemalloc saw 280 (CPython 3.11)."""
FEW = 24
"""So many are within a call's own bound."""


def reserve(thread: Thread, count: int) -> None:
    """The deep reservation for a wait for `count` descriptors, before the call does anything."""
    if count > FEW:
        admission = thread.kernel.admission
        admission.more(min(count * WAITED_BYTES, admission.limit_bytes >> 2))


async def until_ready(thread: Thread, scan: Scan, files: Files, deadline_ns: int | None) -> int:
    """Scan until something is ready or MONOTONIC reaches `deadline_ns` (0: look once).

    `files` are the open files that the scan looks at; they are asked for again on each round, as
    another thread may close or replace descriptors. Replies with what the last scan found. A
    signal counts only when nothing is ready, but then even at the deadline (poll(2) in Linux).
    """
    while True:
        remote = [file for file in files() if file.remote]
        for file in remote:
            await file.refresh(thread)
        found = scan()
        if found:
            return found
        if thread.work and thread.kernel.interrupts(thread):
            raise Interrupted
        if deadline_ns == 0:
            return 0
        for file in remote:
            file.watch(thread.kernel)
        queues = [file.queue for file in files()]
        charged_bytes = len(queues) * WAITED_BYTES
        WAITING.grew(charged_bytes)
        try:
            if not await thread.wait(*queues, deadline_ns=deadline_ns):
                deadline_ns = 0
        finally:
            WAITING.grew(-charged_bytes)


async def deadline_after(thread: Thread, timeout_ns: int | None) -> int | None:
    """A timeout as `until_ready` wants it: None for ever, 0 at once, else MONOTONIC."""
    if not timeout_ns:
        return timeout_ns
    return await thread.kernel.timers.now() + timeout_ns


async def time_left(thread: Thread, deadline_ns: int) -> int:
    """Nanoseconds to a deadline, at least 0."""
    if not deadline_ns:
        return 0
    return max(deadline_ns - await thread.kernel.timers.now(), 0)


def swap_mask(thread: Thread, mask: int) -> None:
    """Wait with another signal mask (ppoll, pselect6, epoll_pwait); bits are `UNBLOCKABLE`-free."""
    thread.saved_mask = thread.blocked
    thread.blocked = mask
    if thread.kernel.interrupts(thread):
        thread.work = True


def restore_mask(thread: Thread) -> None:
    """The call was not interrupted: put the mask back. Else `attend` does, after the handler."""
    if thread.saved_mask is not None:
        thread.blocked, thread.saved_mask = thread.saved_mask, None
