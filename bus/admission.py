"""The admission point: no system call starts before the kernel heap is certain to hold it.

    if not admission.try_admit(call.bound):        # the fast test: two comparisons, no await
        await admission.wait(call.bound)           # at the entry, holding nothing
    try: ...
    finally: admission.release(call.bound)

This version keeps one ledger, whose limit is `--heap`, and tracks `current` only: outstanding
reservations. What lives on after a call (`used`) and what survived the last collection (`lastgc`)
are not in the sum yet, so it bounds concurrency and not the heap.
"""

from __future__ import annotations

import trio

from bus.ledger import Ledger


class Admission(Ledger):
    """A ledger that tasks can wait at. `wait` is cancelled without leaving anything reserved."""

    __slots__ = ()

    async def wait(self, bound_bytes: int) -> None:
        """Wait in line until `bound_bytes` are reserved."""
        granted = trio.Event()
        ticket = self.enqueue(bound_bytes, granted.set)
        if ticket.granted:
            return
        try:
            await granted.wait()
        except trio.Cancelled:
            self.withdraw(ticket)
            raise
