"""Broker and killer without a kernel: does everybody get in, or is there nobody to kill?"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from bus.census import Heap, kind
from bus.ledger import Ledger, Ticket
from services.killer.core import Hunt, Step, Suspect, judge

LIMIT, CACHE = 1000, 150

citizens = st.lists(st.tuples(st.integers(0, 400), st.booleans()), max_size=8)
"""Bytes that each holds, and whether it is protected."""
asks = st.lists(st.integers(1, LIMIT - 1), min_size=1, max_size=8)


@settings(deadline=None)
@given(citizens, asks, st.integers(0, CACHE))
def test_a_hunt_ends_with_everybody_in_or_nobody_left(
    held: list[tuple[int, bool]], wanted: list[int], cached: int
) -> None:
    heap = Heap()
    things = kind("test", "things", heap)
    ledger = Ledger(LIMIT, heap)
    alive = {pid: (size, spared) for pid, (size, spared) in enumerate(held, 2)}
    things.grew(sum(size for size, _ in alive.values()) + cached)
    rung: list[bool] = []
    ledger.on_shortage = lambda: rung.append(True)
    order: list[int] = []
    line: list[Ticket] = []
    for number, size in enumerate(wanted):
        line.append(ledger.enqueue(size, lambda number=number: order.append(number)))
    assert bool(rung) == bool(ledger.waiting), "whoever waits has rung"
    hunt, stuck, steps = Hunt(), False, 0
    while ledger.waiting and not stuck:
        steps += 1
        assert steps < 500, "the hunt goes round in circles"
        step = hunt.next()
        if step is Step.EVICT:
            things.grew(-cached)
            cached = 0
        elif step is Step.KILL:
            verdict = judge(
                Suspect(pid, b"", size, 0, 1, 0, protected=spared)
                for pid, (size, spared) in alive.items()
            )
            if verdict is None:
                stuck = True
            elif verdict.obvious or not hunt.hesitate():
                size, spared = alive.pop(verdict.victim.pid)
                assert not spared
                things.grew(-size)
                hunt.killed()
        for number in order:  # calls that were let in end
            if line[number].granted:
                line[number].granted = False
                ledger.release(line[number].bound_bytes)
        ledger.grant()
        assert ledger.live + ledger.current < LIMIT or not ledger.current, "over-admitted"
    assert order == sorted(order), "served in the order of arrival"
    if stuck:
        assert all(spared for _, spared in alive.values())
        assert ledger.live + ledger.wanted_bytes >= LIMIT
    else:
        assert len(order) == len(wanted)
