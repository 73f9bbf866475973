"""Does the table of bounds name real calls, fit the smallest heap, and exceed what was measured?"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

import pytest

from boot.config import MIN_HEAP_BYTES
from bus.census import HEAP, kind
from services.proc import table
from services.proc.audit import Audit
from services.proc.bounds import BOUNDS

if TYPE_CHECKING:
    from collections.abc import Generator

GROWN = kind("test", "what calls leave")


def test_calls_that_are_bounded_are_there_and_say_why() -> None:
    rows = {row.name: row for row in table.build() if row is not None}
    assert sum(name in rows for name in BOUNDS) > 0.9 * len(BOUNDS)
    for name, (bound, reason) in BOUNDS.items():
        assert len(reason) > 20
        if name in rows:
            assert rows[name].bound == bound


def test_every_bound_fits_the_smallest_heap_several_times() -> None:
    assert max(row.bound for row in table.build() if row is not None) * 3 < MIN_HEAP_BYTES


def test_what_ends_things_asks_nobody() -> None:
    rows = {row.name: row for row in table.build() if row is not None}
    for name in ("exit", "exit_group", "kill", "tgkill", "getpid"):
        assert rows[name].bound == 0


@types.coroutine
def pause() -> Generator[str, str, str]:
    answer = yield "waiting"
    return answer


def test_an_audit_counts_what_a_call_adds_and_not_what_others_do_meanwhile() -> None:
    async def call(size: int) -> int:
        GROWN.grew(size)
        assert await pause() == "go"
        GROWN.grew(size)
        return size

    audit = Audit()
    row: Any = types.SimpleNamespace(name="call", handler=call, blocking=True, arity=1)
    audit.attach([row, None])
    before = HEAP.live
    running = row.handler(100)
    assert running.send(None) == "waiting"
    GROWN.grew(5000)
    with pytest.raises(StopIteration):
        running.send("go")
    assert audit.most == {"call": 200}
    assert HEAP.live - before == 5200
    GROWN.grew(-5200)
