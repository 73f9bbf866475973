"""The admission point: no system call starts before the kernel heap is certain to hold it.

    if not admission.try_admit(call.bound):        # the fast test: additions, no await
        await admission.wait(call.bound)           # at the entry, holding nothing
    try: ...
    finally: admission.release(call.bound)

A call whose bound is 0 leaves nothing behind and asks nobody: getpid, and all that ends things
(exit, kill), which therefore always proceeds. `bus/ledger.py` has the arithmetic.
"""

from __future__ import annotations

import trio

from bus.ledger import Ledger, OutOfHeap


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


__all__ = ["Admission", "OutOfHeap"]
