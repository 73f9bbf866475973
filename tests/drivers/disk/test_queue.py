"""Does the queue keep the order of what overlaps, merge what touches, and give up in time?"""

from __future__ import annotations

import gc
import weakref
from errno import EIO
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.drivers.disk.faults import PLAIN, Verdict
from services.drivers.disk.queue import Command, Kind, Queue, Transfer


class Disk:
    """A host that does what it is told, when it is told: content by sector, one byte each."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.answers: dict[Command, tuple[int, bytes]] = {}
        self.content: dict[int, bytes] = {}
        self.flying: list[Transfer] = []
        self.now = 0.0

    def ask(self, kind: Kind, sector: int = 0, count: int = 0, mark: int = 0) -> Command:
        def done(error: int, content: memoryview) -> None:
            assert command not in self.answers
            self.answers[command] = (error, bytes(content))

        data = bytes([mark]) * 512 * count if kind is Kind.WRITE else b""
        command = Command(kind, sector, count, done, data)
        self.queue.submit(command, self.now)
        return command

    def go(self) -> list[Transfer]:
        begun = self.queue.start(self.now)
        self.flying += begun
        return begun

    def perform(self, transfer: Transfer, error: int = 0) -> None:
        self.flying.remove(transfer)
        content = b""
        for command in transfer.commands:
            for at in range(command.count):
                if command.kind is Kind.WRITE and not error:
                    self.content[command.sector + at] = command.data[:512]
                elif command.kind is Kind.READ:
                    content += self.content.get(command.sector + at, bytes(512))
        self.queue.finish(transfer, error, content)


def test_neighbours_go_together_and_get_their_own_part() -> None:
    disk = Disk(Queue())
    for sector, mark in ((8, 2), (0, 1), (16, 3)):
        disk.ask(Kind.WRITE, sector, 8, mark)
    (write,) = disk.go()
    assert (write.sector, write.count) == (0, 24)
    disk.perform(write)
    reads = [disk.ask(Kind.READ, sector, 8) for sector in (16, 0, 8)]
    (read,) = disk.go()
    disk.perform(read)
    assert [disk.answers[one][1][:1] for one in reads] == [b"\3", b"\1", b"\2"]
    assert disk.queue.counts.merged == 4


def test_no_more_than_32_at_a_time_and_they_end_in_any_order() -> None:
    disk = Disk(Queue())
    asked = [disk.ask(Kind.WRITE, 16 * number, 8, 1) for number in range(40)]
    assert len(disk.go()) == 32
    last = disk.flying[-1]
    disk.perform(last)
    assert list(disk.answers) == [asked[31]]
    assert len(disk.go()) == 1


def test_a_failed_neighbour_does_not_fail_the_others() -> None:
    disk = Disk(Queue())
    first, second = disk.ask(Kind.WRITE, 0, 8, 1), disk.ask(Kind.WRITE, 8, 8, 2)
    (both,) = disk.go()
    disk.perform(both, EIO)
    assert not disk.answers
    alone, other = disk.go()
    disk.perform(alone, EIO)
    disk.perform(other)
    assert (disk.answers[first][0], disk.answers[second][0]) == (EIO, 0)


def test_flushes_that_wait_become_one_and_do_not_wait_for_writes() -> None:
    disk = Disk(Queue(depth=2))
    disk.ask(Kind.WRITE, 0, 8, 1)
    disk.ask(Kind.FLUSH)
    disk.ask(Kind.FLUSH)
    _, flush = disk.go()
    assert len(flush.commands) == 2
    later = disk.ask(Kind.FLUSH)
    disk.perform(flush)
    assert later not in disk.answers


def test_a_late_attempt_is_made_again_and_three_are_enough() -> None:
    disk = Disk(Queue(deadline_s=10, attempts=3))
    write = disk.ask(Kind.WRITE, 0, 8, 1)
    after = disk.ask(Kind.WRITE, 0, 8, 2)
    (transfer,) = disk.go()
    for now in (10.0, 20.0):
        assert disk.queue.next_event() == now
        assert disk.queue.expire(now) == [transfer]
        assert disk.queue.expire(now) == []
    disk.queue.expire(30.0)
    assert disk.answers[write][0] == EIO
    disk.now = 30.0
    assert not disk.go(), "three attempts may still write there"
    for _ in range(3):
        disk.queue.finish(transfer, 0)
    disk.go()
    assert disk.answers[after][0] == EIO, "it has waited as long"
    assert not len(disk.queue)
    assert not disk.queue.in_flight


def test_an_attempt_that_comes_back_late_answers_and_the_next_write_waits_for_the_other() -> None:
    disk = Disk(Queue(deadline_s=10, attempts=3))
    write = disk.ask(Kind.WRITE, 0, 8, 1)
    (transfer,) = disk.go()
    assert disk.queue.expire(10.0) == [transfer]
    disk.queue.finish(transfer, 0)
    assert disk.answers[write][0] == 0
    disk.now = 11.0
    after = disk.ask(Kind.WRITE, 0, 8, 2)
    assert not disk.go()
    disk.queue.finish(transfer, 0)
    (second,) = disk.go()
    disk.perform(second)
    assert disk.answers[after][0] == 0


def test_a_fault_that_delays_holds_back_and_one_that_hangs_ends_in_eio() -> None:
    verdicts = {0: Verdict(delay_s=2.0), 100: Verdict(delay_s=3600.0)}
    disk = Disk(Queue(lambda command: verdicts.get(command.sector, PLAIN), deadline_s=10))
    slow, hung = disk.ask(Kind.WRITE, 0, 8, 1), disk.ask(Kind.WRITE, 100, 8, 1)
    assert not disk.go()
    assert disk.queue.next_event() == 2.0
    (begun,) = disk.queue.expire(2.0)
    disk.flying.append(begun)
    disk.perform(begun)
    assert disk.answers[slow][0] == 0
    for now in (10.0, 20.0, 30.0):
        assert not disk.queue.expire(now)
    assert disk.answers[hung][0] == EIO
    assert disk.queue.next_event() is None
    assert not disk.queue.in_flight


@given(st.integers(0, 1 << 32), st.integers(1, 32))
def test_whatever_overlaps_keeps_its_order(seed: int, depth: int) -> None:
    """Random commands, ends, failures and late attempts beside a simple disk."""
    chance = Random(seed)
    disk = Disk(Queue(depth=depth, deadline_s=10, attempts=1000))
    model: dict[int, bytes] = {}
    expected: dict[Command, bytes] = {}
    for step in range(120):
        if chance.random() < 0.5:
            kind = chance.choice((Kind.READ, Kind.WRITE))
            sector, count = chance.randrange(24), chance.randrange(1, 6)
            command = disk.ask(kind, sector, count, step)
            if kind is Kind.WRITE:
                model.update(dict.fromkeys(range(sector, sector + count), bytes([step]) * 512))
            else:
                expected[command] = b"".join(
                    model.get(one, bytes(512)) for one in range(sector, sector + count)
                )
        disk.go()
        assert disk.queue.in_flight <= depth
        if disk.flying and chance.random() < 0.4:
            transfer = chance.choice(disk.flying)
            merged = len(transfer.commands) > 1
            disk.perform(transfer, EIO if merged and chance.random() < 0.3 else 0)
        if chance.random() < 0.05:
            disk.now += 10.0
            disk.flying += disk.queue.expire(disk.now)
    while disk.flying or disk.go():
        disk.perform(chance.choice(disk.flying))
    assert not len(disk.queue)
    assert not disk.queue.in_flight
    assert disk.content == model
    for command, content in expected.items():
        assert disk.answers[command] == (0, content)


@pytest.mark.parametrize("count", [1, 7, 2048])
def test_nothing_stays_behind(count: int) -> None:
    disk = Disk(Queue())
    disk.ask(Kind.WRITE, 5, count, 1)
    disk.perform(disk.go()[0])
    queue = disk.queue
    assert not queue._holders
    assert not queue._starts
    assert not queue._ends
    assert queue.next_event() is None


def test_a_command_that_hangs_does_not_keep_the_content_of_others() -> None:
    disk = Disk(Queue())
    disk.ask(Kind.WRITE, 0, 1, 1)
    disk.go()
    for _ in range(50):
        command = disk.ask(Kind.WRITE, 100, 8, 2)
        (transfer,) = disk.go()
        disk.perform(transfer)
        gone = weakref.ref(command)
        disk.answers.clear()
        del command, transfer
        gc.collect()
        assert gone() is None
