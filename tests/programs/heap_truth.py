"""A kernel that fills its own heap, and what tracemalloc saw of it: run as a program of its own.

    python -m tests.programs.heap_truth FIRST SECOND COMMAND...

Runs COMMAND until the ledger has grown by FIRST bytes and then by SECOND more, and prints as JSON
what was charged between the two, what was reserved (for what calls that wait have on their stacks),
what the interpreter asked the allocator for, and what that gave.
"""

from __future__ import annotations

import gc
import json
import sys
import tracemalloc

import trio

from boot import kernel as assembly
from boot.config import Config
from boot.kernel import run_kernel
from bus.admission import Admission
from bus.census import HEAP, Heap
from bus.costs import block_bytes

LOOK_S = 0.002
_made: list[Admission] = []


class _Known(Admission):
    """One that can be found: a kernel freezes its objects, which hides them from gc."""

    __slots__ = ()

    def __init__(self, limit_bytes: int, heap: Heap) -> None:
        super().__init__(limit_bytes, heap)
        _made.append(self)


def _look() -> tuple[int, int, int, int]:
    gc.collect()
    taken, _ = tracemalloc.get_traced_memory()
    given = sum(block_bytes(trace.size) for trace in tracemalloc.take_snapshot().traces)
    gc.collect()  # empties the free lists, which the snapshot has filled
    return HEAP.live, _made[0].current, taken, given


async def _watch(first: int, second: int, scope: trio.CancelScope) -> None:
    while not HEAP.live:  # noqa: ASYNC110 (nobody tells)
        await trio.sleep(LOOK_S)
    seen = []
    for much in (first, second):
        began = HEAP.live
        while HEAP.live < began + much:  # noqa: ASYNC110
            await trio.sleep(LOOK_S)
        seen.append(_look())
    before, after = seen
    names = ("charged", "reserved", "taken", "given")
    growth = (b - a for a, b in zip(before, after, strict=True))
    HEAP.check()
    print(json.dumps(dict(zip(names, growth, strict=True))), flush=True)
    scope.cancel()


async def main(first: int, second: int, argv: tuple[str, ...]) -> None:
    """Boot, watch, and end both."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_watch, first, second, nursery.cancel_scope)
        await run_kernel(Config(argv=argv))
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    tracemalloc.start()
    assembly.Admission = _Known  # type: ignore[misc]
    trio.run(main, int(sys.argv[1]), int(sys.argv[2]), tuple(sys.argv[3:]))
