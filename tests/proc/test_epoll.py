"""Does epoll(7) tell what is ready, once or as long as it is, and forget what was closed?"""

from __future__ import annotations

import itertools
import struct
from errno import EBADF, EEXIST, EFAULT, EINVAL, ELOOP, ENOENT, EPERM
from typing import TYPE_CHECKING

import pytest
import trio

from services.proc.abi import O_RDWR, POLLERR, POLLHUP, POLLRDHUP
from services.proc.files.epoll import EPOLLET, EPOLLEXCLUSIVE, EPOLLONESHOT
from services.proc.park import Interrupted
from services.proc.signals import send

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.proc.guest import Guest, GuestMachine

ADD, DELETE, MODIFY = 1, 2, 3
IN, OUT = 1, 4


async def ctl(guest: Guest, epfd: int, operation: int, fd: int, events: int = IN) -> int:
    event = await guest.put(struct.pack("<IQ", events, fd))
    return await guest.call("epoll_ctl", epfd, operation, fd, event)


async def wait(
    guest: Guest, epfd: int, limit: int = 10, timeout_ms: int = 0
) -> list[tuple[int, int]]:
    """epoll_wait(2): (fd, events) of what is told."""
    at = guest.room(12 * limit)
    count = await guest.call("epoll_wait", epfd, at, limit, timeout_ms)
    assert count >= 0, count
    image = await guest.get(at, 12 * count)
    return [(fd, events) for events, fd in struct.iter_unpack("<IQ", image)]


async def epoll(guest: Guest) -> int:
    return await guest.call("epoll_create1", 0)


async def test_level_triggered_is_told_as_long_as_it_is_so(guest: Guest) -> None:
    (r, w), ep = await guest.pipe(), await epoll(guest)
    assert await ctl(guest, ep, ADD, r) == 0
    assert await wait(guest, ep) == []
    await guest.write(w, b"ab")
    assert [await wait(guest, ep) for _ in range(2)] == [[(r, IN)]] * 2
    await guest.read(r, 9)
    assert await wait(guest, ep) == []


async def test_edge_triggered_is_told_once_for_each_wake_up(guest: Guest) -> None:
    (r, w), ep = await guest.pipe(), await epoll(guest)
    await ctl(guest, ep, ADD, r, IN | EPOLLET)
    await ctl(guest, ep, ADD, w, OUT | EPOLLET)
    assert [await wait(guest, ep), await wait(guest, ep)] == [[(w, OUT)], []]
    for _ in range(2):
        await guest.write(w, b"x")
        assert [await wait(guest, ep), await wait(guest, ep)] == [[(r, IN)], []]
    await guest.read(r, 1)
    assert await wait(guest, ep) == []
    await guest.call("close", w)
    assert [await wait(guest, ep), await wait(guest, ep)] == [[(r, IN | POLLHUP)], []]


async def test_oneshot_is_silent_until_it_is_armed_again(guest: Guest) -> None:
    (r, w), ep = await guest.pipe(), await epoll(guest)
    await ctl(guest, ep, ADD, r, IN | EPOLLONESHOT)
    await guest.write(w, b"x")
    assert [await wait(guest, ep), await wait(guest, ep)] == [[(r, IN)], []]
    await guest.call("close", w)
    assert await wait(guest, ep) == []
    await ctl(guest, ep, MODIFY, r, IN | EPOLLONESHOT)
    assert await wait(guest, ep) == [(r, IN | POLLHUP)]


async def test_errors_are_told_unasked(guest: Guest) -> None:
    (r, w), ep = await guest.pipe(), await epoll(guest)
    a, b = await guest.socketpair()
    await ctl(guest, ep, ADD, w, 0)
    await ctl(guest, ep, ADD, a, POLLRDHUP)
    await guest.call("close", r)
    await guest.call("close", b)
    assert await wait(guest, ep) == [(w, POLLERR), (a, POLLRDHUP | POLLHUP)]


async def test_many_ready_files_take_turns(guest: Guest) -> None:
    pipes, ep = [await guest.pipe() for _ in range(5)], await epoll(guest)
    for r, w in pipes:
        await ctl(guest, ep, ADD, r)
        await guest.write(w, b"x")
    order = {r: index for index, (r, _) in enumerate(pipes)}
    told = [[order[fd] for fd, _ in await wait(guest, ep, 2)] for _ in range(5)]
    assert told == [[0, 1], [2, 3], [4, 0], [1, 2], [3, 4]]


async def test_interest_ends_with_the_last_descriptor(guest: Guest) -> None:
    (r, w), ep = await guest.pipe(), await epoll(guest)
    twin = await guest.call("dup", r)
    await ctl(guest, ep, ADD, r)
    await guest.write(w, b"x")
    await guest.call("close", r)
    assert await wait(guest, ep) == [(r, IN)]  # the description is still open
    await guest.call("close", twin)
    assert await wait(guest, ep) == []


async def test_a_closed_instance_leaves_no_entries(guest: Guest) -> None:
    (r, _), ep = await guest.pipe(), await epoll(guest)
    await ctl(guest, ep, ADD, r)
    file = guest.thread.file(r)
    assert file.queue is not None
    assert file.queue.entries
    await guest.call("close", ep)
    assert (file.queue.entries, file.watchers) == ({}, {})


async def test_ctl_refuses_as_linux_does(guest: Guest) -> None:
    (r, w), ep = await guest.pipe(), await epoll(guest)
    regular = await guest.call("open", await guest.put(b"/plain\0"), O_RDWR | 0o100, 0o600)
    other = await epoll(guest)
    assert await ctl(guest, ep, ADD, regular) == -EPERM
    assert await ctl(guest, ep, ADD, ep) == -EINVAL
    assert await ctl(guest, r, ADD, w) == -EINVAL
    assert await ctl(guest, ep, ADD, 99) == -EBADF
    assert await ctl(guest, ep, MODIFY, r) == -ENOENT
    assert await ctl(guest, ep, DELETE, r) == -ENOENT
    assert await ctl(guest, ep, ADD, r) == 0
    assert await ctl(guest, ep, ADD, r) == -EEXIST
    assert await ctl(guest, ep, 9, r) == -EINVAL
    assert await ctl(guest, ep, ADD, w, OUT | EPOLLEXCLUSIVE | EPOLLONESHOT) == -EINVAL
    assert await ctl(guest, ep, ADD, other, IN | EPOLLEXCLUSIVE) == -EINVAL
    assert await ctl(guest, ep, ADD, w, OUT | EPOLLEXCLUSIVE) == 0
    assert await ctl(guest, ep, MODIFY, w, OUT) == -EINVAL
    assert await guest.call("epoll_ctl", ep, ADD, r, 8) == -EFAULT
    at = guest.room(12)
    assert await guest.call("epoll_wait", ep, at, 0, 0) == -EINVAL
    assert await guest.call("epoll_wait", r, at, 1, 0) == -EINVAL
    assert await guest.call("epoll_create", 0) == -EINVAL


async def test_instances_nest_five_deep_and_never_in_a_loop(guest: Guest) -> None:
    chain = [await epoll(guest) for _ in range(6)]
    for inner, outer in itertools.pairwise(chain[:5]):
        assert await ctl(guest, outer, ADD, inner) == 0
    assert await ctl(guest, chain[5], ADD, chain[4]) == -ELOOP
    assert await ctl(guest, chain[0], ADD, chain[4]) == -ELOOP
    r, w = await guest.pipe()
    await ctl(guest, chain[0], ADD, r)
    assert await wait(guest, chain[4]) == []
    await guest.write(w, b"x")
    assert await wait(guest, chain[4]) == [(chain[3], IN)]
    assert await guest.poll((chain[4], IN | 0x40)) == [IN | 0x40]
    await guest.read(r, 1)
    assert await wait(guest, chain[4]) == []


async def test_waiting_ends_with_an_event_a_deadline_or_a_signal(
    machine: GuestMachine, autojump_clock: MockClock
) -> None:
    guest = await machine.guest()
    (r, w), ep = await guest.pipe(), await epoll(guest)
    await ctl(guest, ep, ADD, r)
    other = await machine.guest(guest)
    start = trio.current_time()
    assert await wait(guest, ep, timeout_ms=700) == []
    assert trio.current_time() - start == pytest.approx(0.7, abs=0.01)

    async def later() -> None:
        await trio.sleep(1)
        await other.write(w, b"x")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(later)
        assert await wait(guest, ep, timeout_ms=-1) == [(r, IN)]
    await guest.read(r, 1)
    send.to_thread(guest.thread, send.kernel_info(10))
    with pytest.raises(Interrupted):
        await wait(guest, ep, timeout_ms=1)


async def test_one_event_wakes_one_waiter(machine: GuestMachine, autojump_clock: MockClock) -> None:
    """The others sleep on, and a waiter that is interrupted passes its wake-up on."""
    guest = await machine.guest()
    (r, w), ep = await guest.pipe(), await epoll(guest)
    await ctl(guest, ep, ADD, r, IN | EPOLLET)
    waiters = [await machine.guest(guest) for _ in range(3)]
    told: list[int] = []

    async def waiter(index: int) -> None:
        try:
            if await wait(waiters[index], ep, timeout_ms=-1):
                told.append(index)
        except Interrupted:
            told.append(-index)

    async with trio.open_nursery() as nursery:
        for index in range(3):
            nursery.start_soon(waiter, index)
            await trio.sleep(1)
        await guest.write(w, b"x")
        await trio.sleep(1)
        assert told == [0]
        send.to_thread(waiters[1].thread, send.kernel_info(10))
        await guest.write(w, b"x")
        await trio.sleep(1)
        assert told == [0, -1, 2]


async def test_an_unwritable_buffer_loses_no_event(guest: Guest) -> None:
    (r, w), ep = await guest.pipe(), await epoll(guest)
    await ctl(guest, ep, ADD, r, IN | EPOLLET)
    await guest.write(w, b"x")
    assert await guest.call("epoll_wait", ep, 8, 1, 0) == -EFAULT
    assert await wait(guest, ep) == [(r, IN)]
