"""Does the frame allocator count, recycle, and keep code apart?"""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.errors import KernelBug
from services.drivers.ram.api import DOORBELL_CODE, Ram
from services.vm.frames import FrameTable, OutOfFrames

PAGE = 4096


@pytest.fixture
def frames() -> FrameTable:
    return FrameTable(Ram(4 << 20))


def test_boot_touches_no_memory() -> None:
    begun = time.perf_counter()
    table = FrameTable(Ram(4 << 30))
    assert time.perf_counter() - begun < 0.1
    assert table.free == table.total
    assert table.first << 12 < 8 << 20


def test_are_new_frames_zero(frames: FrameTable) -> None:
    pfn = frames.alloc()
    frames.ram.bytes[pfn * PAGE] = 7
    frames.unref(pfn)
    again = frames.alloc_zeroed()
    assert again == pfn
    assert not any(frames.ram.bytes[again * PAGE : again * PAGE + PAGE])


def test_does_a_run_come_in_order_and_zeroed(frames: FrameTable) -> None:
    first, count = frames.alloc_run(64, True)
    assert count == 64
    frames.ram.bytes[first * PAGE : (first + 64) * PAGE] = b"x" * (64 * PAGE)
    frames.unref_all(np.arange(first, first + 64))
    again = frames.alloc_run(64, True)
    assert again == (first, 64)
    assert not frames.ram.array[first * 512 : (first + 64) * 512].any()


def test_are_scattered_frames_gathered_into_runs(frames: FrameTable) -> None:
    taken = [frames.alloc() for _ in range(frames.total)]
    for pfn in taken[::2] + taken[1::2]:
        frames.unref(pfn)
    _, count = frames.alloc_run(256, False)
    assert count == 256


def test_is_the_end_of_memory_told_without_harm(frames: FrameTable) -> None:
    taken = frames.alloc_many(frames.total)
    assert sorted(taken) == list(range(frames.first, frames.first + frames.total))
    with pytest.raises(OutOfFrames):
        frames.alloc()
    with pytest.raises(OutOfFrames):
        frames.alloc_run(8, True)
    frames.unref(taken[5])
    with pytest.raises(OutOfFrames):
        frames.alloc_many(2)
    with pytest.raises(OutOfFrames):
        frames.alloc_any(2)
    assert frames.alloc_run(8, True) == (taken[5], 1)


def test_is_a_double_free_a_kernel_bug(frames: FrameTable) -> None:
    pfn = frames.alloc()
    frames.unref(pfn)
    with pytest.raises(KernelBug, match="freed twice"):
        frames.unref(pfn)
    run, count = frames.alloc_run(40, False)
    pfns = np.arange(run, run + count)
    frames.unref_all(pfns)
    with pytest.raises(KernelBug, match="freed twice"):
        frames.unref_all(pfns)


def test_is_the_use_of_a_free_frame_a_kernel_bug(frames: FrameTable) -> None:
    with pytest.raises(KernelBug, match="free frame"):
        frames.ref(frames.first)
    with pytest.raises(KernelBug):
        frames.unref(0)


def test_does_a_frame_of_code_wait_until_translations_are_dropped(frames: FrameTable) -> None:
    taken = frames.alloc_many(frames.total)
    frames.code[taken[3]] = 1
    frames.unref(taken[3])
    assert frames.ram.words[0] == 0
    assert frames.free == 1
    assert frames.alloc() == taken[3]  # nothing else was left
    assert frames.ram.words[0] & DOORBELL_CODE
    assert not frames.code[taken[3]]


def test_is_the_quarantine_bounded(frames: FrameTable) -> None:
    first, count = frames.alloc_run(200, False)
    frames.code_vector[first : first + count] = 1
    frames.unref_all(np.arange(first, first + count))
    assert frames.ram.words[0] & DOORBELL_CODE
    assert not frames.code_vector.any()
    frames.verify()


def test_may_a_vector_name_a_frame_twice(frames: FrameTable) -> None:
    pfns = np.array(frames.alloc_many(50), dtype=np.int64)
    frames.ref_all(np.concatenate((pfns, pfns)))
    frames.unref_all(np.concatenate((pfns, pfns[::-1], pfns)))
    assert frames.free == frames.total
    frames.verify()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("arzmfvk"), st.integers(1, 300)), max_size=60))
def test_do_counts_and_lists_always_agree(steps: list[tuple[str, int]]) -> None:
    frames = FrameTable(Ram(2 << 20))
    held: list[int] = []
    for kind, number in steps:
        try:
            if kind == "a":
                held.append(frames.alloc())
            elif kind == "z":
                held.append(frames.alloc_zeroed())
            elif kind == "r":
                first, count = frames.alloc_run(number, True)
                held += range(first, first + count)
            elif kind == "m":
                held += frames.alloc_any(number)
        except OutOfFrames:
            assert frames.free < number or not frames.free
        if kind == "f" and held:
            frames.unref(held.pop(number % len(held)))
        elif kind == "v":
            frames.unref_all(np.array(held[:number], dtype=np.int64))
            del held[:number]
        elif kind == "k" and held:
            frames.code[held[number % len(held)]] = 1
        assert len(set(held)) == len(held) == frames.total - frames.free
        frames.verify()
