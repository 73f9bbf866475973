"""What lives on the kernel heap: a count and a sum of bytes for each kind of object.

CPython frees by reference count, so what lives need not be searched for: a kind is told when one of
its objects is made and when it is freed, which is where the allocator gets its memory back.

    PIPE = kind("proc", "pipe")

    class Pipe:
        def __init__(self, ...) -> None:
            PIPE.made()
            ...
        def __del__(self) -> None:
            PIPE.freed()

    PIPE.measure(lambda: Pipe(...))         # in the room's costs.py, when the kernel starts

Rules of use:
- `made` is the first thing that a constructor does, since `__del__` runs even where one fails.
  What `copy` and `pickle` make is not counted: kernel objects know neither.
- Data that an object gathers (the bytes in a pipe) is charged as it comes and goes, with `grew`,
  and the rest of it at the end.
- An object in a cycle is freed when the collector finds it, and counts until then: it takes room.
- Frames of RAM are no heap, and what a call has on its stack is in its bound.

There is one heap for each process of the host, `HEAP`, because there is one allocator.
"""

from __future__ import annotations

from sys import getsizeof
from typing import TYPE_CHECKING

from bus.costs import cost_of
from bus.errors import KernelBug

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sized

EMPTY_DICT, EMPTY_LIST, EMPTY_SET = getsizeof({}), getsizeof([]), getsizeof(set())
"""Bytes of containers with nothing in them: `measure` has seen those already."""


class Heap:
    """The sum over all kinds. `live` is in bytes; nobody but kinds and the ledger's tests write."""

    __slots__ = ("kinds", "live")

    def __init__(self) -> None:
        self.live = 0
        self.kinds: dict[tuple[str, str], Kind] = {}

    def by_bytes(self) -> Iterator[Kind]:
        """The kinds that have anything, the largest first."""
        held = (k for k in self.kinds.values() if k.count or k.payload_bytes)
        yield from sorted(held, key=lambda k: (-k.live, k.service, k.name))

    def check(self) -> None:
        """KernelBug where the sum is not that of its parts, or a part is below nothing."""
        total = sum(k.live for k in self.kinds.values())
        if total != self.live:
            raise KernelBug(f"the heap's {self.live} bytes are {total} by kind")
        for k in self.kinds.values():
            if k.count < 0 or k.payload_bytes < 0:
                raise KernelBug(
                    f"{k.service} {k.name}: {k.count} live, {k.payload_bytes} bytes in them"
                )


class Kind:
    """One class of kernel objects."""

    __slots__ = ("_heap", "cost_bytes", "count", "name", "payload_bytes", "service")

    def __init__(self, heap: Heap, service: str, name: str) -> None:
        self._heap = heap
        self.service = service
        self.name = name
        self.cost_bytes = 0
        """What one takes with its containers, as `measure` found it."""
        self.count = 0
        self.payload_bytes = 0
        """What they have gathered beyond that."""

    @property
    def live(self) -> int:
        """Bytes that all of them are charged with."""
        return self.count * self.cost_bytes + self.payload_bytes

    def made(self) -> None:
        """Charge for one more."""
        self.count += 1
        self._heap.live += self.cost_bytes

    def freed(self) -> None:
        """Credit one."""
        self.count -= 1
        self._heap.live -= self.cost_bytes

    def grew(self, length_bytes: int) -> None:
        """Charge for data that one of them took in; negative: credit what it gave away."""
        self.payload_bytes += length_bytes
        self._heap.live += length_bytes

    def resized(self, before_bytes: int, *containers: Sized) -> int:
        """Charge for the growth of an object's containers since it was `before_bytes`; what it is.

        For tables whose growth is their own affair: `self.charged = K.resized(self.charged, t)`,
        beginning with what they take while they are empty, and giving back what is beyond that.
        """
        now = 0
        for container in containers:
            now += getsizeof(container)
        if now != before_bytes:
            self.payload_bytes += now - before_bytes
            self._heap.live += now - before_bytes
        return now

    def measure(self, build: Callable[[], object], *, beside_bytes: int = 0) -> None:
        """Find the cost of what `build` makes; those that are there already are charged anew.

        `beside_bytes`: what it takes where the walk cannot see it (an entry in a shared table).
        KernelBug where the samples outlive their measurement: then the cost would be wrong.
        """
        before = self.count, self.payload_bytes
        cost = cost_of(build) + beside_bytes
        if (self.count, self.payload_bytes) != before:
            raise KernelBug(f"the samples of {self.service} {self.name} are still there")
        self.price(cost)

    def price(self, cost_bytes: int) -> None:
        """One costs so much from now on; so do those that are there."""
        self._heap.live += (cost_bytes - self.cost_bytes) * self.count
        self.cost_bytes = cost_bytes


HEAP = Heap()
"""The heap of this process."""


def kind(service: str, name: str, heap: Heap = HEAP) -> Kind:
    """Declare a kind of kernel object; TypeError where it is declared twice."""
    if (service, name) in heap.kinds:
        raise TypeError(f"{service} {name} is declared twice")
    made = heap.kinds[service, name] = Kind(heap, service, name)
    return made
