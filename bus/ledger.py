"""The arithmetic of admission: how much of the kernel heap is promised, and who waits for some.

A reservation of s bytes is granted while `current + s < limit` (figure 5-1 of the Biscuit thesis,
without its `lastgc` and `used` yet, which this ledger does not track). First come, first served:
nobody overtakes a ticket that waits, so a large one is not starved by small ones.

Pure: no Trio here. `on_grant` of a ticket is called when its turn has come, with the bytes already
reserved for it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from bus.errors import KernelBug

if TYPE_CHECKING:
    from collections.abc import Callable


class Ticket:
    """A place in the queue for `bound_bytes`."""

    __slots__ = ("bound_bytes", "granted", "on_grant")

    def __init__(self, bound_bytes: int, on_grant: Callable[[], None]) -> None:
        self.bound_bytes = bound_bytes
        self.on_grant = on_grant
        self.granted = False


class Ledger:
    """One heap. `current` is the sum of all outstanding reservations, in bytes."""

    __slots__ = ("_queue", "current", "limit_bytes", "waits")

    def __init__(self, limit_bytes: int) -> None:
        if limit_bytes <= 0:
            raise ValueError(f"a heap of {limit_bytes} bytes cannot admit anything")
        self.limit_bytes = limit_bytes
        self.current = 0
        self.waits = 0
        """How many reservations had to wait since boot."""
        self._queue: deque[Ticket] = deque()

    @property
    def waiting(self) -> int:
        """How many wait now."""
        return len(self._queue)

    def try_admit(self, bound_bytes: int) -> bool:
        """Reserve without waiting; False (and nothing reserved) where that cannot be."""
        after = self.current + bound_bytes
        if after >= self.limit_bytes or self._queue:
            return False
        self.current = after
        return True

    def admit_always(self, bound_bytes: int) -> None:
        """Reserve, whatever the heap holds: for exit, which gives heap back."""
        self.current += bound_bytes

    def release(self, bound_bytes: int) -> None:
        """Give a reservation back; those whose turn it is get theirs."""
        self.current -= bound_bytes
        if self.current < 0:
            self.current += bound_bytes
            raise KernelBug(f"{bound_bytes} bytes released, {self.current} were reserved")
        if self._queue:
            self._grant()

    def enqueue(self, bound_bytes: int, on_grant: Callable[[], None]) -> Ticket:
        """Stand in line for a reservation."""
        if bound_bytes >= self.limit_bytes:
            raise KernelBug(
                f"a bound of {bound_bytes} bytes can never be admitted to {self.limit_bytes}"
            )
        ticket = Ticket(bound_bytes, on_grant)
        self._queue.append(ticket)
        self.waits += 1
        self._grant()
        return ticket

    def withdraw(self, ticket: Ticket) -> None:
        """Leave the line, or give back what was just granted."""
        if ticket.granted:
            self.release(ticket.bound_bytes)
        else:
            self._queue.remove(ticket)
            self._grant()

    def _grant(self) -> None:
        queue = self._queue
        while queue and self.current + queue[0].bound_bytes < self.limit_bytes:
            ticket = queue.popleft()
            self.current += ticket.bound_bytes
            ticket.granted = True
            ticket.on_grant()
