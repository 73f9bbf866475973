"""Do chains cross the rings in order, come back with their tokens, and is nonsense refused?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.drivers.nic.rings import (
    CardQueue,
    DriverQueue,
    QueuePlace,
    RingBroken,
    place_queue,
    queue_bytes,
)

RAM_BYTES = 1 << 20


def make(
    size: int = 8, *, writable: bool = False
) -> tuple[memoryview, DriverQueue[int], CardQueue]:
    ram = memoryview(bytearray(RAM_BYTES))
    place = place_queue(0x1000, size)
    driver: DriverQueue[int] = DriverQueue(ram, place, writable=writable)
    return ram, driver, CardQueue(ram, place, writable=writable)


@pytest.mark.parametrize("size", [1, 2, 8, 256, 32768])
def test_a_queue_fits_where_it_is_said_to(size: int) -> None:
    place = place_queue(0x1000, size)
    assert place.descriptors_paddr % 16 == place.available_paddr % 2 == place.used_paddr % 4 == 0
    assert place.available_paddr >= place.descriptors_paddr + 16 * size
    assert place.used_paddr >= place.available_paddr + 6 + 2 * size
    assert place.used_paddr + 6 + 8 * size <= 0x1000 + queue_bytes(size)


@pytest.mark.parametrize(("paddr", "size"), [(0x1000, 0), (0x1000, 3), (0x1000, 65536), (8, 4)])
def test_places_that_cannot_be(paddr: int, size: int) -> None:
    with pytest.raises(ValueError, match="queue"):
        place_queue(paddr, size)


def test_nothing_is_seen_before_it_is_published() -> None:
    _, driver, card = make()
    driver.add(0x8000, 100, 7)
    assert card.take() is None
    assert driver.publish()
    taken = card.take()
    assert taken is not None
    assert taken[1] == [(0x8000, 100)]
    assert driver.take() is None
    card.give_back(taken[0], 55)
    assert driver.take() == (7, 55)
    assert driver.take() is None


def test_a_full_queue_says_so_and_loses_nothing() -> None:
    _, driver, card = make(4)
    for token in range(1, 5):
        driver.add(0x8000, 1, token)
    with pytest.raises(IndexError):
        driver.add(0x8000, 1, 9)
    with pytest.raises(IndexError):
        driver.add_chain([(0x8000, 1), (0x9000, 1)], 9)
    driver.publish()
    heads = [taken[0] for taken in iter(card.take, None)]
    for head in reversed(heads):  # a card may finish out of order
        card.give_back(head)
    assert [taken[0] for taken in iter(driver.take, None)] == [4, 3, 2, 1]
    assert driver.free_entries == 4


def test_flags_ask_for_silence() -> None:
    _, driver, card = make()
    assert card.interrupt_wanted
    driver.interrupts(False)
    assert not card.interrupt_wanted
    card.kicks(False)
    driver.add(0x8000, 1, 1)
    assert not driver.publish()
    card.kicks(True)
    assert driver.publish()


def test_untake_gives_the_chain_again() -> None:
    _, driver, card = make()
    driver.add(0x8000, 1, 1)
    driver.publish()
    first = card.take()
    assert card.waiting == 0
    card.untake()
    assert card.waiting == 1
    assert card.take() == first


@given(
    st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=4), min_size=1, max_size=40),
    st.randoms(use_true_random=False),
)
def test_every_chain_comes_back_once_across_the_wrap(
    chains: list[list[int]], random: object
) -> None:
    _, driver, card = make(8)
    held: list[int] = []
    given_back: list[int] = []
    wanted: list[list[int]] = []
    for round_number in range(3):
        for number, lengths in enumerate(chains):
            extents = [(0x8000 + 16 * at, length) for at, length in enumerate(lengths)]
            while True:
                try:
                    driver.add_chain(extents, 1000 * round_number + number + 1)
                    break
                except IndexError:
                    driver.publish()
                    assert held or card.waiting
                    while (taken := card.take()) is not None:
                        wanted.append([length for _, length in taken[1]])
                        held.append(taken[0])
                    random.shuffle(held)  # type: ignore[attr-defined]
                    card.give_back(held.pop(), 3)
                    while (back := driver.take()) is not None:
                        given_back.append(back[0])
                        assert back[1] == 3
    driver.publish()
    while (taken := card.take()) is not None:
        wanted.append([length for _, length in taken[1]])
        held.append(taken[0])
    for head in held:
        card.give_back(head, 3)
    given_back += [back[0] for back in iter(driver.take, None)]
    assert wanted == chains * 3
    assert sorted(given_back) == [1000 * r + n + 1 for r in range(3) for n in range(len(chains))]
    assert driver.free_entries == 8
    assert driver.outstanding == 0


@pytest.mark.parametrize(
    ("at", "words"),
    [
        (0x1000, (RAM_BYTES - 5, 10)),  # ends outside RAM
        (0x1000, (0x8000, 10 | 2 << 32)),  # writable in a queue that the card reads
        (0x1000, (0x8000, 10 | 1 << 32)),  # a chain that is its own next: never ends
        (0x1000, (0x8000, 10 | 1 << 32 | 99 << 48)),  # next is out of the table
    ],
)
def test_descriptors_that_make_no_sense_are_refused(at: int, words: tuple[int, int]) -> None:
    ram, driver, card = make()
    for _ in range(8):
        driver.add(0x8000, 10, 1)
    table = ram[at : at + 16 * 8].cast("Q")
    for entry in range(8):
        table[2 * entry], table[2 * entry + 1] = words
    driver.publish()
    with pytest.raises(RingBroken):
        card.take()


def test_an_index_that_jumped_is_refused() -> None:
    ram, driver, card = make()
    ram[place_queue(0x1000, 8).available_paddr + 2] = 200
    with pytest.raises(RingBroken, match="200 chains"):
        card.take()
    card.give_back(3)
    with pytest.raises(RingBroken, match="chain 3"):
        driver.take()


def test_areas_outside_ram_are_refused() -> None:
    ram = memoryview(bytearray(4096))
    with pytest.raises(RingBroken, match="not in RAM"):
        CardQueue(ram, QueuePlace(8, 0, 4090, 512), writable=False)
    with pytest.raises(RingBroken, match="5 entries"):
        CardQueue(ram, QueuePlace(5, 0, 128, 512), writable=False)
