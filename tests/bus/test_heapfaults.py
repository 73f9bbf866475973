"""Do reservations fail where they are told to, once a way or by odds, and repeatably?"""

from __future__ import annotations

import pytest

from bus.faults import FaultError, FaultRegistry
from bus.heapfaults import HeapFaults, HeapInjector
from bus.ledger import Ledger, OutOfHeap


def ledger(faults: HeapFaults) -> Ledger:
    made = Ledger(1000)
    made.fails = faults
    return made


def test_each_way_to_a_reservation_fails_once() -> None:
    faults = HeapFaults()
    heap = ledger(faults)

    def ask() -> bool:
        return heap.try_admit(1)

    answers = [(ask(), ask()) for _ in range(3)]
    assert answers == [(False, False), (True, True), (True, True)]
    assert (faults.injected, faults.ways) == (2, 2)


def test_a_deep_reservation_that_is_made_to_fail_unwinds() -> None:
    heap = ledger(HeapFaults())
    outcomes = []
    for _ in range(3):
        try:
            heap.more(10)
            outcomes.append("room")
        except OutOfHeap as short:
            outcomes.append(f"short of {short.wanted_bytes}")
    assert outcomes == ["short of 10", "room", "room"]
    assert heap.deep_failures == 1


def test_by_odds_the_same_seed_gives_the_same_failures() -> None:
    def run(seed: int) -> list[bool]:
        faults = HeapFaults(0.5, seed)
        return [faults(1) for _ in range(50)]

    assert run(3) == run(3) != run(4)
    assert 5 < sum(run(3)) < 45


def _faulty(limit: int = 1000) -> tuple[Ledger, FaultRegistry]:
    heap, registry = Ledger(limit), FaultRegistry(())
    registry.own("heap", HeapInjector(heap))
    return heap, registry


def test_pressure_takes_heap_until_it_is_cleared() -> None:
    heap, registry = _faulty()
    number = registry.add("heap:pressure,bytes=900")
    assert not heap.try_admit(200)
    assert heap.outstanding == 0
    assert registry.list()[0].injected == 1
    granted: list[bool] = []
    heap.enqueue(200, lambda: granted.append(True))
    assert not granted
    registry.clear(number)
    assert granted
    assert heap.current == 200


def test_the_nth_reservation_fails_once() -> None:
    heap, registry = _faulty()
    registry.add("heap:fail,nth=3")
    assert [heap.try_admit(1) for _ in range(5)] == [True, True, False, True, True]
    registry.clear()
    registry.add("heap:fail,interval=2,times=1")
    assert [heap.try_admit(1) for _ in range(4)] == [True, False, True, True]
    registry.clear()
    assert heap.fails is None


@pytest.mark.parametrize(
    ("spec", "cure"),
    [
        ("pressure,bytes=1000", "less than the heap's 1000"),
        ("pressure,bytes=1,times=2", "no times"),
    ],
)
def test_heap_faults_that_cannot_be(spec: str, cure: str) -> None:
    with pytest.raises(FaultError, match=cure):
        _faulty()[1].add(f"heap:{spec}")
