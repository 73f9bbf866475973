"""Is every object charged what it takes, and is every charge given back?"""

from __future__ import annotations

import gc
import tracemalloc
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.census import EMPTY_LIST, Heap, Kind, kind
from bus.costs import block_bytes, coroutine_bytes, cost_of
from bus.errors import KernelBug
from bus.ledger import Ledger, OutOfHeap


class Thing:
    __slots__ = ("numbers", "queue", "shared")
    heap: Kind

    def __init__(self, shared: object) -> None:
        self.heap.made()
        self.shared = shared
        self.numbers = [1 << 40, 1 << 41]
        self.queue: deque[int] = deque()

    def __del__(self) -> None:
        self.heap.freed()


@pytest.fixture
def heap() -> Heap:
    made = Heap()
    Thing.heap = kind("test", "thing", made)
    return made


def test_a_measured_cost_bounds_what_the_allocator_gives(heap: Heap) -> None:
    shared = list(range(1000))
    things: list[Thing] = []
    Thing.heap.measure(lambda: Thing(shared))
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        things += [Thing(shared) for _ in range(500)]
        taken = tracemalloc.get_traced_memory()[0] - before - 8 * 600
    finally:
        tracemalloc.stop()
    assert taken <= heap.live <= 1.1 * taken
    heap.check()
    things.clear()
    assert heap.live == 0


def test_what_all_have_in_common_is_in_no_ones_price() -> None:
    common = [bytes(100_000)]
    assert cost_of(lambda: [common]) == block_bytes(EMPTY_LIST + 8)


def test_objects_that_were_there_before_the_price_are_charged_anew(heap: Heap) -> None:
    early = Thing(None)
    assert heap.live == 0
    Thing.heap.measure(lambda: Thing(None))
    assert heap.live == Thing.heap.cost_bytes > 0
    del early
    assert heap.live == 0


def test_samples_that_stay_are_a_bug(heap: Heap) -> None:
    kept: list[Thing] = []

    def build() -> Thing:
        kept.append(Thing(None))
        return kept[-1]

    with pytest.raises(KernelBug, match="still there"):
        Thing.heap.measure(build)
    kept.clear()


def test_a_containers_growth_is_charged_by_its_owner(heap: Heap) -> None:
    k = kind("test", "table", heap)
    table: list[int] = []
    charged = EMPTY_LIST
    for number in range(100):
        table.append(number)
        charged = k.resized(charged, table)
    assert heap.live == k.payload_bytes == table.__sizeof__() + 16 - EMPTY_LIST
    heap.check()


def test_a_sum_that_is_wrong_is_found(heap: Heap) -> None:
    Thing.heap.grew(10)
    heap.live += 1
    with pytest.raises(KernelBug, match="11 bytes are 10"):
        heap.check()


def test_a_name_is_declared_once(heap: Heap) -> None:
    with pytest.raises(TypeError, match="declared twice"):
        kind("test", "thing", heap)


def test_a_coroutine_costs_its_frame() -> None:
    async def small() -> None:
        return None

    async def large() -> int:
        a = b = c = d = e = f = g = h = 1
        return a + b + c + d + e + f + g + h

    assert coroutine_bytes(large) >= coroutine_bytes(small) + 64


@given(st.integers(1, 10_000))
def test_blocks_are_aligned_and_large_enough(size: int) -> None:
    block = block_bytes(size)
    assert block >= size
    assert block % 16 == 0
    assert block - size < 24


# The three terms of figure 5-1 ------------------------------------------------------------------


def test_what_lives_counts_until_it_is_freed(heap: Heap) -> None:
    things = kind("test", "bytes", heap)
    ledger = Ledger(1000, heap)
    things.grew(600)
    assert (ledger.lastgc, ledger.used, ledger.live) == (0, 600, 600)
    assert ledger.take_stock() == 600
    assert (ledger.lastgc, ledger.used) == (600, 0)
    things.grew(-100)
    assert (ledger.lastgc, ledger.used, ledger.live) == (600, -100, 500)
    assert ledger.try_admit(499)
    assert not ledger.try_admit(1)
    ledger.release(499)


def test_what_an_earlier_kernel_left_is_not_of_this_one(heap: Heap) -> None:
    kind("test", "old", heap).grew(5000)
    assert Ledger(1000, heap).live == 0


def test_memory_that_is_freed_lets_the_first_in_line_in_at_the_next_look(heap: Heap) -> None:
    things, served = kind("test", "bytes", heap), []
    ledger = Ledger(1000, heap)
    rung: list[int] = []
    ledger.on_shortage = lambda: rung.append(ledger.shortage_bytes)
    things.grew(900)
    ledger.enqueue(200, lambda: served.append(200))
    assert rung == [101]
    assert ledger.wanted_bytes == 200
    things.grew(-101)
    ledger.grant()
    assert served == [200]
    assert ledger.shortage_bytes == ledger.wanted_bytes == 0


def test_a_deep_reservation_never_waits_and_leaves_nothing(heap: Heap) -> None:
    ledger = Ledger(1000, heap)
    kind("test", "bytes", heap).grew(900)
    ledger.more(99)
    with pytest.raises(OutOfHeap) as failure:
        ledger.more(100)
    assert failure.value.wanted_bytes == 100
    assert (ledger.current, ledger.deep_failures) == (0, 1)


def test_kernel_tasks_keep_what_they_hold() -> None:
    ledger = Ledger(1000)
    ledger.stand("writer", 300)
    assert ledger.try_admit(699)
    assert (ledger.current, ledger.outstanding) == (999, 699)
    ledger.stand("writer", 0)
    ledger.release(699)
    assert ledger.current == 0
