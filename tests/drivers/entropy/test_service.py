"""Is a seed's randomness the same every time, and the host's never?"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.errors import MalformedRequest
from services.drivers.entropy.api import Draw
from services.drivers.entropy.service import MAX_DRAW_BYTES, EntropyService


def draw(service: EntropyService, count: int) -> bytes:
    coroutine: Any = service.handlers[Draw](Draw(count))
    with pytest.raises(StopIteration) as finished:
        coroutine.send(None)
    drawn: bytes = finished.value.value
    return drawn


@given(st.integers(), st.lists(st.integers(0, 300), max_size=8))
def test_how_the_draws_are_cut_changes_no_byte(seed: int, counts: list[int]) -> None:
    whole = draw(EntropyService(seed), sum(counts))
    service = EntropyService(seed)
    assert b"".join(draw(service, count) for count in counts) == whole


def test_a_seed_means_the_same_bytes_for_ever() -> None:
    assert draw(EntropyService(7), 16).hex() == "e9ba1dacfecaa46e5200514182d96425"


def test_two_seeds_and_two_hosts_draws_differ() -> None:
    assert draw(EntropyService(1), 32) != draw(EntropyService(2), 32)
    assert draw(EntropyService(), 32) != draw(EntropyService(), 32)


@pytest.mark.parametrize("count", [-1, MAX_DRAW_BYTES + 1])
def test_a_count_out_of_range_is_the_senders_fault(count: int) -> None:
    coroutine: Any = EntropyService().handlers[Draw](Draw(count))
    with pytest.raises(MalformedRequest, match="count"):
        coroutine.send(None)
