"""Do eventfd, timerfd, signalfd and inotify files count, wait and refuse as Linux has it?"""

from __future__ import annotations

import struct
from errno import EAGAIN, EINVAL, ENOENT, ENOTDIR
from typing import TYPE_CHECKING

import pytest
import trio

from services.proc.abi import O_NONBLOCK, O_RDWR, SIGCHLD
from services.proc.files.pipe_core import IN
from services.proc.signals import send
from services.proc.signals.core import SigInfo, bit

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.proc.guest import Guest, GuestMachine

POLLIN, POLLOUT = 1, 4
MAX = (1 << 64) - 2
SIGUSR1, SIGUSR2 = 10, 12


def u64(value: int) -> bytes:
    return struct.pack("<Q", value)


# eventfd -------------------------------------------------------------------------------------


async def test_an_eventfd_counts(guest: Guest) -> None:
    fd = await guest.call("eventfd2", 3, O_NONBLOCK)
    assert await guest.write(fd, u64(4)) == 8
    assert [await guest.read(fd, 8), await guest.read(fd, 8)] == [u64(7), -EAGAIN]
    assert await guest.write(fd, u64(MAX)) == 8
    assert await guest.write(fd, u64(1)) == -EAGAIN
    assert await guest.poll((fd, 0x3FFF)) == [POLLIN]
    assert await guest.write(fd, b"\xff" * 8) == -EINVAL
    assert [await guest.write(fd, bytes(7)), await guest.read(fd, 7)] == [-EINVAL, -EINVAL]
    assert await guest.call("eventfd2", 0, 2) == -EINVAL


async def test_a_semaphore_gives_one_at_a_time(guest: Guest) -> None:
    fd = await guest.call("eventfd2", 2, O_NONBLOCK | 1)
    assert [await guest.read(fd, 8) for _ in range(3)] == [u64(1), u64(1), -EAGAIN]
    assert await guest.poll((fd, 0x3FFF)) == [POLLOUT]


async def test_eventfd_readers_and_writers_wait_for_each_other(
    machine: GuestMachine, autojump_clock: MockClock
) -> None:
    guest = await machine.guest()
    fd = await guest.call("eventfd", 0)
    other = await machine.guest(guest)
    got: list[bytes | int] = []

    async def reader() -> None:
        for _ in range(2):
            got.append(await other.read(fd, 8))
            await trio.sleep(10)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader)
        await trio.sleep(1)
        await guest.write(fd, u64(5))
        await trio.sleep(1)
        await guest.write(fd, u64(MAX))
        await guest.write(fd, u64(9))  # waits for the second read
        assert got == [u64(5), u64(MAX)]
    assert await guest.read(fd, 8) == u64(9)


# timerfd -------------------------------------------------------------------------------------


async def set_timer(
    guest: Guest, fd: int, first_s: float, every_s: float = 0, flags: int = 0
) -> int:
    spec = [divmod(round(seconds * 1e9), 10**9) for seconds in (every_s, first_s)]
    return await guest.call(
        "timerfd_settime", fd, flags, await guest.put(struct.pack("<4q", *spec[0], *spec[1])), 0
    )


async def test_a_timer_counts_the_periods_that_nobody_read(
    guest: Guest, autojump_clock: MockClock
) -> None:
    fd = await guest.call("timerfd_create", 1, 0)
    await set_timer(guest, fd, 0.5, 0.25)
    start = trio.current_time()
    assert await guest.read(fd, 8) == u64(1)
    assert trio.current_time() - start == pytest.approx(0.5, abs=0.01)
    await trio.sleep(1.05)
    assert await guest.poll((fd, 0x3FFF)) == [POLLIN]
    assert await guest.read(fd, 8) == u64(4)
    assert await guest.read(fd, 8) == u64(1)
    assert trio.current_time() - start == pytest.approx(1.75, abs=0.01)


async def test_a_nanosecond_interval_costs_nothing_unread(
    guest: Guest, autojump_clock: MockClock
) -> None:
    fd = await guest.call("timerfd_create", 1, 0)
    await set_timer(guest, fd, 1e-9, 1e-9)
    await trio.sleep(100)
    (ticks,) = struct.unpack("<Q", bytes(await guest.read(fd, 8)))
    assert ticks == pytest.approx(100e9, rel=0.01)


async def test_a_timer_can_be_asked_and_disarmed(guest: Guest, autojump_clock: MockClock) -> None:
    fd, at = await guest.call("timerfd_create", 1, O_NONBLOCK), guest.room(32)
    await set_timer(guest, fd, 5, 2)
    await trio.sleep(1)
    assert await guest.call("timerfd_gettime", fd, at) == 0
    every, _, seconds, ns = struct.unpack("<4q", await guest.get(at, 32))
    assert (every, seconds + ns / 1e9) == (2, pytest.approx(4, abs=0.01))
    await set_timer(guest, fd, 0)
    await trio.sleep(10)
    assert await guest.read(fd, 8) == -EAGAIN


@pytest.mark.parametrize("clock", [0, 1, 7])
async def test_absolute_deadlines_on_every_clock(
    guest: Guest, clock: int, autojump_clock: MockClock
) -> None:
    fd = await guest.call("timerfd_create", clock, 0)
    at = guest.room(16)
    await guest.call("clock_gettime", clock, at)
    seconds, ns = struct.unpack("<qq", await guest.get(at, 16))
    await set_timer(guest, fd, seconds + 2 + ns / 1e9, flags=1)
    start = trio.current_time()
    assert await guest.read(fd, 8) == u64(1)
    assert trio.current_time() - start == pytest.approx(2, abs=0.01)
    await set_timer(guest, fd, 1e-9, flags=1)  # long past
    assert await guest.read(fd, 8) == u64(1)


async def test_timerfd_refuses_what_linux_refuses(guest: Guest) -> None:
    fd, event = await guest.call("timerfd_create", 1, 0), await guest.call("eventfd", 0)
    assert await guest.call("timerfd_create", 2, 0) == -EINVAL
    assert await guest.call("timerfd_create", 1, 1) == -EINVAL
    assert await set_timer(guest, event, 1) == -EINVAL
    bad = await guest.put(struct.pack("<4q", 0, 10**9, 0, 0))
    assert await guest.call("timerfd_settime", fd, 0, bad, 0) == -EINVAL
    assert [await guest.read(fd, 7), await guest.write(fd, bytes(8))] == [-EINVAL, -EINVAL]


# signalfd ------------------------------------------------------------------------------------


async def signalfd(guest: Guest, *signals: int, flags: int = 0) -> int:
    mask = sum(bit(signal) for signal in signals)
    guest.thread.blocked |= mask
    return await guest.call("signalfd4", -1, await guest.put(u64(mask)), 8, flags)


def records(data: bytes | int) -> list[tuple[int, ...]]:
    """signo, code, pid, status of each record."""
    assert isinstance(data, bytes)
    return [
        (*struct.unpack_from("<I4xiI", data, at), struct.unpack_from("<i", data, at + 40)[0])
        for at in range(0, len(data), 128)
    ]


async def test_signals_are_read_as_records(guest: Guest) -> None:
    fd = await signalfd(guest, SIGUSR1, SIGUSR2, SIGCHLD, flags=O_NONBLOCK)
    assert await guest.read(fd, 128) == -EAGAIN
    assert await guest.poll((fd, POLLIN)) == [0]
    send.to_process(guest.process, send.user_info(SIGUSR2, guest.process))
    send.to_thread(guest.thread, send.user_info(SIGUSR1, guest.process))
    child = SigInfo(SIGCHLD, 1, 0, struct.pack("<iIi4xqq", 77, 0, 7, 0, 0))
    send.to_process(guest.process, child)
    assert await guest.poll((fd, POLLIN)) == [POLLIN]
    assert await guest.read(fd, 127) == -EINVAL
    pid = guest.process.pid
    assert records(await guest.read(fd, 256)) == [(SIGUSR1, 0, pid, 0), (SIGUSR2, 0, pid, 0)]
    assert records(await guest.read(fd, 1000)) == [(SIGCHLD, 1, 77, 7)]
    assert await guest.poll((fd, POLLIN)) == [0]


async def test_a_signal_wakes_readers_polls_and_epolls(
    machine: GuestMachine, autojump_clock: MockClock
) -> None:
    guest = await machine.guest()
    fd = await signalfd(guest, SIGUSR1)
    ep = await guest.call("epoll_create1", 0)
    event = await guest.put(struct.pack("<IQ", POLLIN, 5))
    assert await guest.call("epoll_ctl", ep, 1, fd, event) == 0

    async def later() -> None:
        for _ in range(3):
            await trio.sleep(1)
            send.to_process(guest.process, send.user_info(SIGUSR1, guest.process))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(later)
        assert len(records(await guest.read(fd, 128))) == 1
        assert await guest.poll((fd, POLLIN), timeout_ms=-1) == [POLLIN]
        assert len(records(await guest.read(fd, 128))) == 1
        assert await guest.call("epoll_wait", ep, event, 1, -1) == 1
    assert await guest.call("epoll_wait", ep, event, 1, 0) == 1
    assert len(records(await guest.read(fd, 128))) == 1
    assert await guest.call("epoll_wait", ep, event, 1, 0) == 0


async def test_after_a_fork_it_is_the_readers_signals_that_count(machine: GuestMachine) -> None:
    parent = await machine.guest()
    fd = await signalfd(parent, SIGUSR1, flags=O_NONBLOCK)
    child = await machine.guest(parent)
    child.thread.blocked = bit(SIGUSR1)
    send.to_process(parent.process, send.user_info(SIGUSR1, parent.process))
    assert await child.poll((fd, POLLIN)) == [0]
    assert await child.read(fd, 128) == -EAGAIN
    assert await parent.poll((fd, POLLIN)) == [POLLIN]
    send.to_process(child.process, send.user_info(SIGUSR1, parent.process))
    assert await child.poll((fd, POLLIN)) == [POLLIN]


async def test_the_mask_of_a_signalfd_can_be_changed(guest: Guest) -> None:
    fd, event = await signalfd(guest, SIGUSR1, flags=O_NONBLOCK), await guest.call("eventfd", 0)
    guest.thread.blocked |= bit(SIGUSR2)
    send.to_process(guest.process, send.user_info(SIGUSR2, guest.process))
    assert await guest.read(fd, 128) == -EAGAIN
    mask = await guest.put(u64(bit(SIGUSR2)))
    assert await guest.call("signalfd4", fd, mask, 8, 0) == fd
    assert len(records(await guest.read(fd, 128))) == 1
    assert await guest.call("signalfd4", event, mask, 8, 0) == -EINVAL
    assert await guest.call("signalfd4", fd, mask, 4, 0) == -EINVAL


# inotify -------------------------------------------------------------------------------------


def events(data: bytes | int) -> list[tuple[int, int, bytes]]:
    """watch, mask, name of each event."""
    assert isinstance(data, bytes), data
    found = []
    while data:
        watch, mask, _, length = struct.unpack_from("<iIII", data)
        assert length % 16 == 0
        found.append((watch, mask, data[16 : 16 + length].rstrip(b"\0")))
        data = data[16 + length :]
    return found


async def test_inotify_tells_what_happens_in_a_directory(guest: Guest) -> None:
    fd = await guest.call("inotify_init1", O_NONBLOCK)
    folder, name = await guest.put(b"/w\0"), await guest.put(b"/w/name\0")
    await guest.call("mkdir", folder, 0o755)
    assert await guest.call("inotify_add_watch", fd, folder, 0x100 | 0x200 | 0x2) == 1
    assert [await guest.read(fd, 100), await guest.poll((fd, IN))] == [-EAGAIN, [0]]
    plain = await guest.call("open", name, O_RDWR | 0o100, 0o600)
    await guest.write(plain, b"x")
    await guest.call("unlink", name)
    assert await guest.poll((fd, IN)) == [IN]
    assert await guest.read(fd, 31) == -EINVAL
    at = guest.room(4)
    assert await guest.call("ioctl", fd, 0x541B, at) == 0
    assert await guest.get(at, 4) == struct.pack("<i", 96)
    told = [(1, 0x100, b"name"), (1, 0x2, b"name"), (1, 0x200, b"name")]
    assert events(await guest.read(fd, 32)) == told[:1]
    assert events(await guest.read(fd, 1000)) == told[1:]
    assert await guest.poll((fd, IN)) == [0]
    assert await guest.call("inotify_rm_watch", fd, 1) == 0
    assert events(await guest.read(fd, 100)) == [(1, 0x8000, b"")]
    assert await guest.call("inotify_rm_watch", fd, 1) == -EINVAL
    missing = await guest.put(b"/missing\0")
    assert await guest.call("inotify_add_watch", fd, missing, 2) == -ENOENT
    assert await guest.call("inotify_add_watch", fd, folder, 0) == -EINVAL
    other = await guest.call("open", name, O_RDWR | 0o100, 0o600)
    assert await guest.call("inotify_add_watch", fd, name, 2 | 1 << 24) == -ENOTDIR
    assert await guest.call("inotify_add_watch", other, folder, 2) == -EINVAL


async def test_inotify_wakes_readers_polls_and_epolls(
    machine: GuestMachine, autojump_clock: MockClock
) -> None:
    guest = await machine.guest()
    fd = await guest.call("inotify_init1", 0)
    folder = await guest.put(b"/w\0")
    await guest.call("mkdir", folder, 0o755)
    await guest.call("inotify_add_watch", fd, folder, 0x100)
    ep = await guest.call("epoll_create1", 0)
    event = await guest.put(struct.pack("<IQ", POLLIN, 5))
    await guest.call("epoll_ctl", ep, 1, fd, event)
    other = await machine.guest(guest)
    names = [await other.put(b"/w/%d\0" % index) for index in range(4)]

    async def later() -> None:
        for name in names:
            await trio.sleep(1)
            await other.call("mkdir", name, 0o755)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(later)
        assert events(await guest.read(fd, 100)) == [(1, 0x4000_0100, b"0")]
        assert await guest.poll((fd, IN), timeout_ms=-1) == [IN]
        assert len(events(await guest.read(fd, 100))) == 1
        for _ in range(2):
            assert await guest.call("epoll_wait", ep, event, 1, -1) == 1
            assert len(events(await guest.read(fd, 100))) == 1
    assert await guest.call("epoll_wait", ep, event, 1, 0) == 0
