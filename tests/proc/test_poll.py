"""Do poll(2) and select(2) report what is ready, and wait for what is not?"""

from __future__ import annotations

import struct
from errno import EBADF, EFAULT, EINVAL
from typing import TYPE_CHECKING

import pytest
import trio

from bus.ledger import OutOfHeap
from services.proc.abi import POLLERR, POLLHUP, POLLNVAL
from services.proc.files.pipe_core import IN, OUT
from services.proc.files.readiness import WAITED_BYTES, WAITING
from services.proc.park import Interrupted
from services.proc.signals import send
from services.proc.signals.core import bit

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.proc.guest import Guest, GuestMachine

SIGUSR1 = 10


async def test_poll_reports_every_kind_of_readiness(guest: Guest) -> None:
    (r, w), (r2, w2), (r3, w3) = [await guest.pipe() for _ in range(3)]
    await guest.write(w, b"x")
    await guest.call("close", w2)
    await guest.call("close", r3)
    asked = (r, IN), (w, IN | OUT), (r2, IN), (w3, 0), (99, IN), (-1, IN), (r, 0)
    assert await guest.poll(*asked) == [IN, OUT, POLLHUP, POLLERR, POLLNVAL, 0, 0]


async def test_poll_waits_until_its_deadline(guest: Guest, autojump_clock: MockClock) -> None:
    r, _ = await guest.pipe()
    start = trio.current_time()
    assert await guest.poll((r, IN), timeout_ms=1500) == [0]
    assert trio.current_time() - start == pytest.approx(1.5, abs=0.01)
    assert await guest.call("poll", 0, 0, 100) == 0
    assert await guest.call("poll", 8, 1, 0) == -EFAULT
    assert await guest.call("poll", 0, 5000, 0) == -EINVAL  # RLIMIT_NOFILE


async def test_poll_wakes_for_any_of_its_files(
    machine: GuestMachine, autojump_clock: MockClock
) -> None:
    guest = await machine.guest()
    pipes = [await guest.pipe() for _ in range(5)]
    other = await machine.guest(guest)

    async def write() -> None:
        await trio.sleep(3)
        await other.write(pipes[3][1], b"x")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        assert await guest.poll(*((r, IN) for r, _ in pipes), timeout_ms=-1) == [0, 0, 0, IN, 0]
    assert not any(machine_queue(guest, r) for r, _ in pipes)


async def test_descriptors_waited_for_are_charged_while_the_wait_lasts(
    machine: GuestMachine, autojump_clock: MockClock
) -> None:
    guest = await machine.guest()
    pipes = [await guest.pipe() for _ in range(100)]
    charged = WAITING.live

    async def look() -> None:
        await trio.sleep(1)
        assert WAITING.live == charged + 100 * WAITED_BYTES

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        await guest.poll(*((r, IN) for r, _ in pipes), timeout_ms=2000)
    assert WAITING.live == charged


@pytest.mark.parametrize("call", ["poll", "ppoll"])
async def test_a_poll_that_the_heap_cannot_hold_is_unwound_before_it_began(
    guest: Guest, call: str
) -> None:
    admission = guest.thread.kernel.admission
    admission.fails = lambda bound_bytes: bound_bytes == 100 * WAITED_BYTES
    guest.thread.restart_deadline = 5
    await guest.thread.copyout(0x20000, bytes(8 * 100) + bytes(8))
    arguments = (0x20000, 100, 0, 0x20000 + 800, 8)[: 3 if call == "poll" else 5]
    with pytest.raises(OutOfHeap):
        await guest.call(call, *arguments)
    assert guest.thread.restart_deadline == 5
    assert guest.thread.saved_mask is None


def machine_queue(guest: Guest, fd: int) -> object:
    """Who still stands in a file's wait queue."""
    queue = guest.thread.file(fd).queue
    assert queue is not None
    return queue.entries


async def test_a_signal_ends_poll_only_when_nothing_is_ready(guest: Guest) -> None:
    r, w = await guest.pipe()
    send.to_thread(guest.thread, send.kernel_info(SIGUSR1))
    with pytest.raises(Interrupted):
        await guest.poll((r, IN))
    await guest.write(w, b"x")
    assert await guest.poll((r, IN)) == [IN]


async def test_a_restarted_poll_keeps_its_deadline(
    machine: GuestMachine, autojump_clock: MockClock
) -> None:
    guest = await machine.guest()
    r, _ = await guest.pipe()
    start = trio.current_time()

    async def interrupt() -> None:
        await trio.sleep(1)
        send.to_thread(guest.thread, send.kernel_info(SIGUSR1))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(interrupt)
        with pytest.raises(Interrupted):
            await guest.poll((r, IN), timeout_ms=3000)
    guest.thread.pending.discard(bit(SIGUSR1))
    assert await guest.poll((r, IN), timeout_ms=3000) == [0]
    assert trio.current_time() - start == pytest.approx(3, abs=0.01)
    assert guest.thread.restart_deadline is None


async def test_ppoll_swaps_the_mask_and_tells_the_time_left(
    machine: GuestMachine, autojump_clock: MockClock
) -> None:
    guest = await machine.guest()
    r, w = await guest.pipe()
    guest.thread.blocked = bit(SIGUSR1)
    send.to_thread(guest.thread, send.kernel_info(SIGUSR1))
    fds = await guest.put(struct.pack("<iHH", r, IN, 0))
    timeout = await guest.put(struct.pack("<qq", 2, 0))
    mask = await guest.put(bytes(8))
    with pytest.raises(Interrupted):
        await guest.call("ppoll", fds, 1, timeout, mask, 8)
    assert (guest.thread.blocked, guest.thread.saved_mask) == (0, bit(SIGUSR1))
    guest.thread.blocked, guest.thread.saved_mask = bit(SIGUSR1), None

    other = await machine.guest(guest)

    async def write() -> None:
        await trio.sleep(0.5)
        await other.write(w, b"x")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        assert await guest.call("ppoll", fds, 1, timeout, 0, 0) == 1
    seconds, ns = struct.unpack("<qq", await guest.get(timeout, 16))
    assert seconds + ns / 1e9 == pytest.approx(1.5, abs=0.01)
    assert await guest.call("ppoll", fds, 1, timeout, mask, 8) == 1  # ready: no signal is taken
    assert (guest.thread.blocked, guest.thread.saved_mask) == (bit(SIGUSR1), None)
    assert await guest.call("ppoll", fds, 1, timeout, mask, 4) == -EINVAL


# select --------------------------------------------------------------------------------------


async def select(
    guest: Guest, count: int, fds: set[int], us: int | None = 0
) -> tuple[int, set[int], int]:
    """select(2) for reading: result, what is ready, microseconds left."""
    words = sum(1 << fd for fd in fds).to_bytes(128, "little")
    reads = await guest.put(words)
    timeout = 0 if us is None else await guest.put(struct.pack("<qq", *divmod(us, 1_000_000)))
    result = await guest.call("select", count, reads, 0, 0, timeout)
    bits = int.from_bytes(await guest.get(reads, 128), "little")
    left = struct.unpack("<qq", await guest.get(timeout, 16)) if timeout else (0, 0)
    return result, {fd for fd in range(1024) if bits >> fd & 1}, left[0] * 1_000_000 + left[1]


async def test_select_waits_and_tells_the_time_left(
    machine: GuestMachine, autojump_clock: MockClock
) -> None:
    guest = await machine.guest()
    r, w = await guest.pipe()
    other = await machine.guest(guest)
    assert await select(guest, w + 1, {r}, 250_000) == (0, set(), 0)

    async def write() -> None:
        await trio.sleep(0.25)
        await other.write(w, b"x")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        result, ready, left = await select(guest, w + 1, {r}, 1_000_000)
    assert (result, ready) == (1, {r})
    assert left == pytest.approx(750_000, abs=10_000)
    assert await select(guest, w + 1, {r}, None) == (1, {r}, 0)


async def test_select_checks_its_arguments(guest: Guest) -> None:
    await guest.pipe()
    assert (await select(guest, 51, {50}))[0] == -EBADF
    assert await select(guest, 1024, {900}) == (0, {900}, 0)  # past the table: not even looked at
    assert (await select(guest, -1, set()))[0] == -EINVAL
    timeout = await guest.put(struct.pack("<qq", -1, 0))
    assert await guest.call("select", 0, 0, 0, 0, timeout) == -EINVAL


async def test_pselect6_takes_a_mask(guest: Guest) -> None:
    guest.thread.blocked = bit(SIGUSR1)
    send.to_thread(guest.thread, send.kernel_info(SIGUSR1))
    mask = await guest.put(bytes(8))
    argument = await guest.put(struct.pack("<QQ", mask, 8))
    timeout = await guest.put(struct.pack("<qq", 1, 0))
    with pytest.raises(Interrupted):
        await guest.call("pselect6", 0, 0, 0, 0, timeout, argument)
    assert guest.thread.saved_mask == bit(SIGUSR1)
