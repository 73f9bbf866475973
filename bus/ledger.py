"""The arithmetic of admission: what lives on the kernel heap, what is promised, and who waits.

Figure 5-1 of the Biscuit thesis. L is the sum of three terms, all in bytes:

    lastgc    what lived when somebody last took stock: after a collection
    used      what calls have added since, less what was freed
    current   the outstanding reservations of calls that have not ended

A call starts where L + s < M, or it stands in line. Two things differ from the thesis, because
CPython frees by reference count. `lastgc + used` is not an over-estimate but what `Heap.live` says
now, and `used` may be negative. And a call's own allocations count from the moment they are made,
beside its reservation, which is therefore only held for what is still to come.

First come, first served: nobody overtakes a ticket that waits, so a large one is not starved by
small ones. What waits holds nothing. Freed memory does not look for waiters, which would make
every free dearer: `grant` does, and is called by every `release`, by the end of a thread, and by
the killer, which does not rest while somebody waits.

Pure: no Trio here. `on_grant` of a ticket is called when its turn has come, with the bytes already
reserved for it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from bus.census import Heap
from bus.errors import KernelBug

if TYPE_CHECKING:
    from collections.abc import Callable


class OutOfHeap(BaseException):
    """A deep reservation failed: unwind to the trap, which waits and runs the call anew.

    No `Exception`, as `trio.Cancelled` is none: what catches failures must not catch this.
    """

    def __init__(self, wanted_bytes: int) -> None:
        self.wanted_bytes = wanted_bytes


class Ticket:
    """A place in the queue for `bound_bytes`."""

    __slots__ = ("bound_bytes", "granted", "on_grant")

    def __init__(self, bound_bytes: int, on_grant: Callable[[], None]) -> None:
        self.bound_bytes = bound_bytes
        self.on_grant = on_grant
        self.granted = False


class Ledger:
    """One heap. `current` is the sum of all outstanding reservations, in bytes."""

    __slots__ = (
        "_base",
        "_queue",
        "current",
        "deep_failures",
        "fails",
        "heap",
        "lastgc",
        "limit_bytes",
        "on_shortage",
        "peak",
        "standing",
        "waits",
    )

    def __init__(self, limit_bytes: int, heap: Heap | None = None) -> None:
        if limit_bytes <= 0:
            raise ValueError(f"a heap of {limit_bytes} bytes cannot admit anything")
        self.heap = heap = Heap() if heap is None else heap
        self.limit_bytes = limit_bytes
        self._base = heap.live
        """What an earlier kernel of this process left; it is not of this one."""
        self.current = 0
        self.lastgc = 0
        self.peak = 0
        """The most that lived whenever somebody took stock or had to wait."""
        self.waits = 0
        """How many reservations had to wait since boot."""
        self.deep_failures = 0
        self.standing: dict[str, int] = {}
        """What kernel tasks hold for good, by their names."""
        self.on_shortage: Callable[[], None] = _nobody
        """Called when somebody has to wait: the killer's bell."""
        self.fails: Callable[[int], bool] | None = None
        """Fault injection: says whether a reservation of so many bytes is to fail."""
        self._queue: deque[Ticket] = deque()

    @property
    def live(self) -> int:
        """lastgc + used."""
        return self.heap.live - self._base

    @property
    def used(self) -> int:
        """What was charged since the last stock-taking, less what was credited."""
        return self.live - self.lastgc

    @property
    def waiting(self) -> int:
        """How many wait now."""
        return len(self._queue)

    @property
    def wanted_bytes(self) -> int:
        """What the first in line asks for; 0 where nobody waits."""
        return self._queue[0].bound_bytes if self._queue else 0

    @property
    def shortage_bytes(self) -> int:
        """How much must be freed before the first in line may go on."""
        if not self._queue:
            return 0
        return max(0, self.live + self.current + self._queue[0].bound_bytes - self.limit_bytes + 1)

    def take_stock(self) -> int:
        """A collection has ended: all that lives is `lastgc` now. Replies with it."""
        self.lastgc = live = self.live
        self.peak = max(self.peak, live)
        return live

    def try_admit(self, bound_bytes: int) -> bool:
        """Reserve without waiting; False (and nothing reserved) where that cannot be."""
        after = self.current + bound_bytes
        if self.heap.live - self._base + after >= self.limit_bytes or self._queue:
            return False
        if self.fails is not None and self.fails(bound_bytes):
            return False
        self.current = after
        return True

    def admit_always(self, bound_bytes: int) -> None:
        """Reserve, whatever the heap holds: for what gives heap back."""
        self.current += bound_bytes

    def stand(self, task: str, bound_bytes: int) -> None:
        """A kernel task's own reservation, which it keeps while it lives; 0 ends it."""
        self.current += bound_bytes - self.standing.pop(task, 0)
        if bound_bytes:
            self.standing[task] = bound_bytes

    @property
    def outstanding(self) -> int:
        """Reservations of calls: `current` without those of kernel tasks."""
        return self.current - sum(self.standing.values())

    def more(self, bound_bytes: int) -> None:
        """A deep reservation: there is room for one more turn of a loop, or `OutOfHeap`.

        It never waits, and there is nothing to give back: what it promises holds until the
        caller's next await, and what the turn allocates is charged as it is made. The caller has
        undone, or undoes on the way out, all that a second run of its call would repeat.
        """
        if self.heap.live - self._base + self.current + bound_bytes >= self.limit_bytes or (
            self.fails is not None and self.fails(bound_bytes)
        ):
            self.deep_failures += 1
            raise OutOfHeap(bound_bytes)

    def release(self, bound_bytes: int) -> None:
        """Give a reservation back; those whose turn it is get theirs."""
        self.current -= bound_bytes
        if self.current < 0:
            self.current += bound_bytes
            raise KernelBug(f"{bound_bytes} bytes released, {self.current} were reserved")
        if self._queue:
            self.grant()

    def enqueue(self, bound_bytes: int, on_grant: Callable[[], None]) -> Ticket:
        """Stand in line for a reservation."""
        if bound_bytes >= self.limit_bytes:
            raise KernelBug(
                f"a bound of {bound_bytes} bytes can never be admitted to {self.limit_bytes}"
            )
        ticket = Ticket(bound_bytes, on_grant)
        self._queue.append(ticket)
        self.waits += 1
        self.peak = max(self.peak, self.live)
        self.grant()
        if not ticket.granted:
            self.on_shortage()
        return ticket

    def withdraw(self, ticket: Ticket) -> None:
        """Leave the line, or give back what was just granted."""
        if ticket.granted:
            self.release(ticket.bound_bytes)
        else:
            self._queue.remove(ticket)
            self.grant()

    def grant(self) -> None:
        """Let those in whose turn it is and for whom there is room."""
        queue = self._queue
        while (
            queue
            and self.heap.live - self._base + self.current + queue[0].bound_bytes < self.limit_bytes
        ):
            ticket = queue.popleft()
            self.current += ticket.bound_bytes
            ticket.granted = True
            ticket.on_grant()


def _nobody() -> None:
    """There is no killer (yet)."""
