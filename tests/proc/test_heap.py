"""Does what is charged bound what the allocator gave, for each class that programs can multiply?

The truth is tracemalloc's: never below the bytes that the interpreter asked for, and within 10 %
above those that the allocator gave, which rounds up.
"""

from __future__ import annotations

import gc
import struct
import tracemalloc
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from bus.census import HEAP
from bus.costs import block_bytes
from services.drivers.cpu.api import Context
from services.proc import costs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.proc.guest import Guest

    One = Callable[[Guest, int], Awaitable[object]]

COUNT, WARM = 800, 30
NOISE_BYTES = 2048
"""What the interpreter keeps for itself meanwhile: free lists, caches of call sites."""
PAGE = 4096


async def pair(guest: Guest, call: str, *arguments: int) -> tuple[int, int]:
    at = 0x10000
    assert await guest.call(call, *arguments, at) == 0
    first, second = struct.unpack("<ii", await guest.get(at, 8))
    return first, second


async def one_pipe(guest: Guest, number: int) -> None:
    await pair(guest, "pipe")


async def one_full_pipe(guest: Guest, number: int) -> None:
    _, writing = await pair(guest, "pipe")
    assert await guest.call("write", writing, 0x20000, 3000) == 3000


async def one_eventfd(guest: Guest, number: int) -> None:
    assert await guest.call("eventfd2", 0, 0) >= 0


async def one_timerfd(guest: Guest, number: int) -> None:
    assert await guest.call("timerfd_create", 1, 0) >= 0


async def one_duplicate(guest: Guest, number: int) -> None:
    assert await guest.call("dup", 0) >= 0


async def one_region(guest: Guest, number: int) -> None:
    at = 0x100000000000 + number * 2 * PAGE
    assert await guest.call("mmap", at, PAGE, 1, 0x100022, U64, 0) == at


async def one_socketpair(guest: Guest, number: int) -> None:
    await pair(guest, "socketpair", 1, 1, 0)


async def one_message(guest: Guest, number: int) -> None:
    first, _ = await pair(guest, "socketpair", 1, 2, 0)
    for _ in range(8):
        assert await guest.call("sendto", first, 0x20000, 1000, 0x40, 0, 0) == 1000


async def one_epoll(guest: Guest, number: int) -> None:
    assert await guest.call("epoll_create1", 0) >= 0


async def one_interest(guest: Guest, number: int) -> None:
    await guest.thread.copyout(0x20000, struct.pack("<IQ", 1, 1 << 50 | number))
    file = await guest.call("eventfd2", 0, 0)
    assert await guest.call("epoll_ctl", guest.epoll, 1, file, 0x20000) == 0  # type: ignore[attr-defined]


async def one_timer(guest: Guest, number: int) -> None:
    event = struct.pack("<QiiQ40x", 1 << 40 | number, 40, 0, 0)
    await guest.thread.copyout(0x20000, event)
    assert await guest.call("timer_create", 1, 0x20000, 0x20100) == 0
    timer = int.from_bytes(await guest.get(0x20100, 4), "little")
    await guest.thread.copyout(0x20200, struct.pack("<QQQQ", 0, 0, 10**6, number))
    assert await guest.call("timer_settime", timer, 0, 0x20200, 0) == 0


async def one_file(guest: Guest, number: int) -> None:
    await guest.thread.copyout(0x20000, b"/file-with-a-name-%06d\0" % number)
    fd = await guest.call("open", 0x20000, 0o102, 0o600)
    assert await guest.call("fstat", fd, 0x21000) == 0


async def one_directory(guest: Guest, number: int) -> None:
    await guest.thread.copyout(0x20000, b"/folder-with-a-name-%06d\0" % number)
    assert await guest.call("mkdir", 0x20000, 0o700) == 0
    assert await guest.call("stat", 0x20000, 0x21000) == 0


async def one_signal(guest: Guest, number: int) -> None:
    process = guest.process.pid
    await guest.thread.copyout(
        0x20000, struct.pack("<iiiiiiQ96x", 40, 0, -1, 0, process, 0, number)
    )
    assert await guest.call("rt_sigqueueinfo", process, 40, 0x20000) == 0


U64 = (1 << 64) - 1
POPULATIONS: dict[str, One] = {
    name.removeprefix("one_"): function
    for name, function in list(globals().items())
    if name.startswith("one_")
}


@pytest.mark.parametrize("name", POPULATIONS)
async def test_the_charge_bounds_the_truth(guest: Guest, name: str) -> None:
    core: Any = SimpleNamespace(new_context=lambda root: Context(bytearray(4096), root))
    costs.measure(core)
    one = POPULATIONS[name]
    guest.process.limits[7] = (1 << 20, 1 << 20)
    guest.thread.blocked = 1 << 39
    guest.epoll = await guest.call("epoll_create1", 0)  # type: ignore[attr-defined]
    assert await guest.call("eventfd2", 0, 0) >= 0
    for number in range(WARM):
        await one(guest, number)
    gc.collect()
    tracemalloc.start()
    try:
        charged, taken = HEAP.live, tracemalloc.get_traced_memory()[0]
        for number in range(WARM, WARM + COUNT):
            await one(guest, number)
        gc.collect()
        charged = HEAP.live - charged
        taken = tracemalloc.get_traced_memory()[0] - taken
        given = sum(block_bytes(trace.size) for trace in tracemalloc.take_snapshot().traces)
    finally:
        tracemalloc.stop()
    HEAP.check()
    assert taken - NOISE_BYTES <= charged, (
        f"{charged / taken:.3f} of what was asked for, {taken // COUNT} B each"
    )
    assert charged <= 1.1 * given, (
        f"{charged / given:.3f} of what was given, {given // COUNT} B each"
    )
