"""Do reservations fail where they are told to, once a way or by odds, and repeatably?"""

from __future__ import annotations

from bus.heapfaults import HeapFaults
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
