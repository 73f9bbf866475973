"""Is the heap never promised twice, nobody starved, and nothing left reserved?"""

from __future__ import annotations

import pytest
import trio
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from trio.testing import wait_all_tasks_blocked

from bus.admission import Admission
from bus.errors import KernelBug
from bus.ledger import Ledger, Ticket

LIMIT = 100


class LedgerMachine(RuleBasedStateMachine):
    """Random callers at one ledger, against the sum of what they hold."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(LIMIT)
        self.held: list[int] = []
        self.line: list[Ticket] = []

    @rule(size=st.integers(0, LIMIT + 5))
    def try_admit(self, size: int) -> None:
        fits = sum(self.held) + size < LIMIT and not self.line
        assert self.ledger.try_admit(size) == fits
        if fits:
            self.held.append(size)

    @rule(size=st.integers(0, LIMIT - 1))
    def enqueue(self, size: int) -> None:
        ticket = self.ledger.enqueue(size, lambda: None)
        self.line.append(ticket)
        self._settle()

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        size = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        self.ledger.release(size)
        self._settle()

    @precondition(lambda self: self.line)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        ticket = self.line.pop(data.draw(st.integers(0, len(self.line) - 1)))
        self.ledger.withdraw(ticket)
        self._settle()

    @rule(size=st.integers(0, LIMIT))
    def exit(self, size: int) -> None:
        self.ledger.admit_always(size)
        self.held.append(size)

    def _settle(self) -> None:
        while self.line and self.line[0].granted:
            self.held.append(self.line.pop(0).bound_bytes)

    @invariant()
    def only_the_front_was_granted(self) -> None:
        assert not any(ticket.granted for ticket in self.line)

    @invariant()
    def the_sum_is_what_is_held(self) -> None:
        assert self.ledger.current == sum(self.held)
        assert self.ledger.waiting == len(self.line)

    @invariant()
    def the_front_waits_only_for_room(self) -> None:
        if self.line:
            assert sum(self.held) + self.line[0].bound_bytes >= LIMIT


TestLedger = LedgerMachine.TestCase


def test_a_bound_that_can_never_fit_is_a_bug_and_not_a_wait() -> None:
    with pytest.raises(KernelBug, match="never be admitted"):
        Ledger(LIMIT).enqueue(LIMIT, lambda: None)


def test_releasing_more_than_was_reserved_is_a_bug() -> None:
    ledger = Ledger(LIMIT)
    assert ledger.try_admit(10)
    with pytest.raises(KernelBug, match="11 bytes released, 10 were reserved"):
        ledger.release(11)


def test_a_heap_must_have_room() -> None:
    with pytest.raises(ValueError, match="cannot admit"):
        Ledger(0)


async def test_waiters_are_served_first_come_first_served() -> None:
    admission = Admission(LIMIT)
    assert admission.try_admit(90)
    served: list[str] = []

    async def caller(name: str, size: int) -> None:
        await admission.wait(size)
        served.append(name)

    async with trio.open_nursery() as nursery:
        for name, size in (("large", 95), ("small", 10)):
            nursery.start_soon(caller, name, size)
            await wait_all_tasks_blocked()
        assert not admission.try_admit(1)  # nobody overtakes, though there would be room
        assert served == []
        admission.release(90)
        await wait_all_tasks_blocked()
        assert served == ["large"]
        admission.release(95)
    assert served == ["large", "small"]
    assert admission.current == 10


async def test_who_is_cancelled_leaves_the_line_and_nothing_behind() -> None:
    admission = Admission(LIMIT)
    assert admission.try_admit(99)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(admission.wait, 50)
        await wait_all_tasks_blocked()
        admission.release(99)  # granted, but cancelled before it could run
        nursery.cancel_scope.cancel()
    assert (admission.current, admission.waiting) in {(0, 0), (50, 0)}
    assert admission.waits == 1


async def test_a_cancelled_large_one_lets_the_small_ones_behind_it_in() -> None:
    admission = Admission(LIMIT)
    assert admission.try_admit(50)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            large = trio.CancelScope()

            async def wait_large() -> None:
                with large:
                    await admission.wait(80)

            nursery.start_soon(wait_large)
            await wait_all_tasks_blocked()
            nursery.start_soon(admission.wait, 10)
            await wait_all_tasks_blocked()
            assert admission.waiting == 2
            large.cancel()
    assert not scope.cancelled_caught
    assert (admission.current, admission.waiting) == (60, 0)
