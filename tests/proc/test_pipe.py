"""Do pipes and FIFOs behave as pipe(7) says, down to the counts?"""

from __future__ import annotations

import struct
from errno import EAGAIN, EBUSY, EFAULT, EINVAL, EMFILE, ENXIO, EPERM, EPIPE
from typing import TYPE_CHECKING

import pytest
import trio

from services.proc.abi import O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY, POLLERR, POLLHUP, SIGPIPE
from services.proc.files.pipe_core import IN, OUT, Pipe
from services.proc.park import Interrupted
from services.proc.signals import send
from services.proc.signals.core import bit

if TYPE_CHECKING:
    from trio.testing import MockClock

    from tests.proc.guest import Guest, GuestMachine

FIONREAD, F_SETPIPE_SZ, F_GETPIPE_SZ = 0x541B, 1031, 1032
PIPE_BYTES = 65536


async def test_bytes_come_out_in_order(guest: Guest) -> None:
    r, w = await guest.pipe()
    assert [await guest.write(w, data) for data in (b"ab", b"cde", b"f")] == [2, 3, 1]
    assert [await guest.read(r, count) for count in (1, 3, 100)] == [b"a", b"bcd", b"ef"]


# What a non-blocking pipe takes before EAGAIN, as an ordinary Linux answers.
CAPACITY = {
    1: 65536, 100: 64000, 1000: 64000, 2048: 65536, 3000: 48000, 4095: 65520, 4096: 65536,
    4097: 45066, 5000: 54096, 8192: 65536, 65535: 65535, 65536: 65536, 70000: 65536,
}  # fmt: skip


@pytest.mark.parametrize("size", CAPACITY)
async def test_capacity_is_counted_in_slots_as_linux_does(guest: Guest, size: int) -> None:
    r, w = await guest.pipe(O_NONBLOCK)
    total = 0
    while (done := await guest.write(w, bytes(size))) > 0:
        total += done
    assert (done, total) == (-EAGAIN, CAPACITY[size])
    drained = 0
    while isinstance(data := await guest.read(r, 7777), bytes) and data:
        drained += len(data)
    assert drained == total
    assert await guest.write(w, bytes(PIPE_BYTES)) == PIPE_BYTES


async def test_a_small_write_is_all_or_nothing(guest: Guest) -> None:
    r, w = await guest.pipe(O_NONBLOCK)
    assert await guest.write(w, bytes(PIPE_BYTES - 10)) == PIPE_BYTES - 10
    assert await guest.write(w, bytes(11)) == -EAGAIN
    assert await guest.write(w, bytes(10)) == 10
    assert await guest.read(r, 4095) == bytes(4095)
    assert await guest.write(w, b"x") == -EAGAIN  # no slot is free yet
    assert await guest.read(r, 1) == b"\0"
    assert await guest.write(w, b"x") == 1


async def test_a_reader_waits_for_bytes_and_for_the_end(
    machine: GuestMachine, autojump_clock: MockClock
) -> None:
    parent = await machine.guest()
    r, w = await parent.pipe()
    child = await machine.guest(parent)
    assert await child.call("close", w) == 0
    got: list[bytes | int] = []

    async def reader() -> None:
        got.append(await child.read(r, 10))
        got.append(await child.read(r, 10))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader)
        await trio.sleep(1)
        assert got == []
        assert await parent.write(w, b"hello") == 5
        await trio.sleep(1)
        assert got == [b"hello"]
        assert await parent.call("close", w) == 0
    assert got == [b"hello", b""]


async def test_a_large_write_goes_on_as_room_appears(
    machine: GuestMachine, autojump_clock: MockClock
) -> None:
    parent = await machine.guest()
    r, w = await parent.pipe()
    child = await machine.guest(parent)
    data = bytes(range(256)) * 800
    done: list[int] = []

    async def writer() -> None:
        done.append(await child.write(w, data))

    received = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer)
        while len(received) < len(data):
            await trio.sleep(0.1)
            piece = await parent.read(r, 30000)
            assert isinstance(piece, bytes)
            received += piece
    assert done == [len(data)]
    assert received == data


async def test_an_interrupted_write_tells_what_went_in(
    machine: GuestMachine, autojump_clock: MockClock
) -> None:
    guest = await machine.guest()
    _, w = await guest.pipe()
    guest.process.actions.table[SIGPIPE] = guest.process.actions.get(SIGPIPE)

    async def interrupt() -> None:
        await trio.sleep(1)
        send.to_thread(guest.thread, send.kernel_info(10))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(interrupt)
        assert await guest.write(w, bytes(100000)) == PIPE_BYTES
    with pytest.raises(Interrupted):
        await guest.write(w, b"x")


async def test_no_reader_is_sigpipe(guest: Guest) -> None:
    r, w = await guest.pipe()
    await guest.call("close", r)
    assert await guest.write(w, b"x") == -EPIPE
    assert guest.thread.pending.mask == bit(SIGPIPE)
    assert await guest.write(w, b"") == 0
    assert await guest.poll((w, OUT)) == [0x104 | POLLERR]


async def test_a_reader_that_leaves_midway_is_a_short_count(
    machine: GuestMachine, autojump_clock: MockClock
) -> None:
    writer = await machine.guest()
    r, w = await writer.pipe()
    reader = await machine.guest(writer)
    await writer.call("close", r)

    async def leave() -> None:
        await trio.sleep(1)
        await reader.read(r, 1000)
        await reader.call("close", r)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(leave)
        assert await writer.write(w, bytes(100000)) == PIPE_BYTES
    assert writer.thread.pending.mask == bit(SIGPIPE)


async def test_size_can_be_asked_and_set(guest: Guest) -> None:
    r, w = await guest.pipe()

    async def resize(size: int) -> int:
        return await guest.call("fcntl", r, F_SETPIPE_SZ, size)

    assert await guest.call("fcntl", w, F_GETPIPE_SZ) == PIPE_BYTES
    assert [await resize(size) for size in (1, 5000, 65537, 0)] == [4096, 8192, 131072, 4096]
    assert [await resize(size) for size in (-1, (1 << 20) + 1)] == [-EINVAL, -EPERM]
    await resize(65536)
    await guest.write(w, bytes(20000))
    assert [await resize(size) for size in (16384, 32768)] == [-EBUSY, 32768]
    at = guest.room(4)
    assert await guest.call("ioctl", w, FIONREAD, at) == 0
    assert await guest.get(at, 4) == struct.pack("<i", 20000)


async def test_a_failing_pipe_leaves_no_descriptor(guest: Guest) -> None:
    guest.process.limits[7] = (1, 1)
    assert await guest.call("pipe", guest.room(8)) == -EMFILE
    guest.process.limits[7] = (8, 8)
    assert await guest.call("pipe", 8) == -EFAULT
    assert await guest.call("pipe2", guest.room(8), 1) == -EINVAL
    assert guest.process.descriptors is not None
    assert guest.process.descriptors.slots == {}


async def test_a_read_looks_its_buffer_up_again_after_a_fork(
    machine: GuestMachine, autojump_clock: MockClock
) -> None:
    guest = await machine.guest()
    r, w = await guest.pipe()

    async def fork_and_write() -> None:
        await trio.sleep(1)
        from services.vm.api import ForkSpace

        space = guest.process.space
        assert space is not None
        await machine.kernel.vm.call(ForkSpace(space.number))
        await guest.write(w, b"late")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fork_and_write)
        with pytest.raises(Interrupted):
            await guest.read(r, 10)
    assert guest.thread.work
    assert await guest.read(r, 10) == b"late"


# FIFOs ---------------------------------------------------------------------------------------


async def fifo(guest: Guest) -> int:
    path = await guest.put(b"/tmp/fifo\0")
    await guest.call("mkdir", await guest.put(b"/tmp\0"), 0o755)
    assert await guest.call("mknod", path, 0o010600, 0) == 0
    return path


async def test_opening_a_fifo_waits_for_the_other_side(
    machine: GuestMachine, autojump_clock: MockClock
) -> None:
    reader = await machine.guest()
    path = await fifo(reader)
    writer = await machine.guest(reader)
    name = await writer.put(b"/tmp/fifo\0")
    start = trio.current_time()

    async def write() -> None:
        await trio.sleep(5)
        fd = await writer.call("open", name, O_WRONLY)
        await writer.write(fd, b"hi")
        await writer.call("close", fd)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        fd = await reader.call("open", path, O_RDONLY)
        assert trio.current_time() - start == pytest.approx(5, abs=0.01)
        assert [await reader.read(fd, 9), await reader.read(fd, 9)] == [b"hi", b""]


async def test_a_nonblocking_fifo_never_waits(guest: Guest) -> None:
    path = await fifo(guest)
    assert await guest.call("open", path, O_WRONLY | O_NONBLOCK) == -ENXIO
    r = await guest.call("open", path, O_RDONLY | O_NONBLOCK)
    assert await guest.poll((r, IN)) == [0]  # nobody came yet: no POLLHUP
    assert await guest.read(r, 4) == b""
    w = await guest.call("open", path, O_WRONLY | O_NONBLOCK)
    assert await guest.read(r, 4) == -EAGAIN
    await guest.call("close", w)
    assert await guest.poll((r, IN)) == [POLLHUP]
    both = await guest.call("open", path, O_RDWR)
    assert await guest.poll((both, IN | OUT)) == [OUT]
    await guest.write(both, b"x")
    assert await guest.poll((both, IN | OUT)) == [IN | OUT]


async def test_an_interrupted_open_leaves_nothing(
    machine: GuestMachine, autojump_clock: MockClock
) -> None:
    guest = await machine.guest()
    path = await fifo(guest)

    async def interrupt() -> None:
        await trio.sleep(1)
        send.to_thread(guest.thread, send.kernel_info(10))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(interrupt)
        with pytest.raises(Interrupted):
            await guest.call("open", path, O_RDONLY)
    assert machine.kernel.extra["fifos"] == {}


# splice and its relatives --------------------------------------------------------------------


async def make_file(guest: Guest, name: bytes, data: bytes) -> int:
    fd = await guest.call("open", await guest.put(name + b"\0"), O_RDWR | 0o100, 0o600)
    assert await guest.write(fd, data) == len(data)
    await guest.call("lseek", fd, 0, 0)
    return fd


async def test_splice_moves_between_files_and_pipes(guest: Guest) -> None:
    data = bytes(range(256)) * 400
    source, target = await make_file(guest, b"/a", data), await make_file(guest, b"/b", b"")
    r, w = await guest.pipe()
    assert await guest.call("splice", source, 0, w, 0, 200000, 0) == PIPE_BYTES
    assert await guest.call("splice", r, 0, target, 0, 50000, 0) == 50000
    assert await guest.call("splice", r, 0, target, 0, 50000, 0) == PIPE_BYTES - 50000
    assert await guest.call("lseek", target, 0, 1) == PIPE_BYTES
    await guest.call("lseek", target, 0, 0)
    assert await guest.read(target, 70000) == data[:PIPE_BYTES]
    assert await guest.call("splice", r, 0, target, 0, 1, 2) == -EAGAIN
    assert await guest.call("splice", source, 0, target, 0, 1, 0) == -EINVAL


async def test_tee_leaves_what_it_copies(guest: Guest) -> None:
    (r, w), (r2, w2) = await guest.pipe(), await guest.pipe()
    await guest.write(w, b"both")
    assert await guest.call("tee", r, w2, 100, 0) == 4
    assert (await guest.read(r, 9), await guest.read(r2, 9)) == (b"both", b"both")
    assert await guest.call("tee", r, w, 1, 0) == -EINVAL


async def test_sendfile_stops_where_the_target_is_full(guest: Guest) -> None:
    data = bytes(range(256)) * 1000
    source = await make_file(guest, b"/a", data)
    r, w = await guest.pipe(O_NONBLOCK)
    assert await guest.call("sendfile", w, source, 0, len(data)) == PIPE_BYTES
    assert await guest.call("sendfile", w, source, 0, len(data)) == -EAGAIN
    assert await guest.call("lseek", source, 0, 1) == PIPE_BYTES
    assert await guest.read(r, 100000) == data[:PIPE_BYTES]


async def test_copy_file_range_refuses_to_overlap(guest: Guest) -> None:
    data = bytes(range(256)) * 600
    source, target = await make_file(guest, b"/a", data), await make_file(guest, b"/b", b"")
    assert await guest.call("copy_file_range", source, 0, target, 0, 1 << 20, 0) == len(data)
    await guest.call("lseek", target, 0, 0)
    assert await guest.read(target, 200000) == data
    here = await guest.put(struct.pack("<q", 0))
    near = await guest.put(struct.pack("<q", 10))
    assert await guest.call("copy_file_range", source, here, source, near, 100, 0) == -EINVAL
    assert await guest.call("copy_file_range", source, here, source, near, 10, 0) == 10


def test_the_buffer_forgets_nothing_it_has_taken() -> None:
    memory = memoryview(bytearray(b"0123456789" * 1000))
    pipe = Pipe(memory)
    assert pipe.put([(0, 5000)], 0, 5000, True) == 5000
    assert pipe.used == 2
    assert pipe.put([(0, 10)], 0, 10, True) == 10  # merged into the second slot
    assert (pipe.used, len(pipe), len(pipe.chunks)) == (2, 5010, 1)
    pipe.skip(4096)
    assert (pipe.used, len(pipe)) == (1, 914)
    assert pipe.peek(4) == b"6789"
    assert pipe.take([(9000, 900), (9900, 14)]) == 914
    assert (pipe.used, pipe.head, bool(pipe)) == (0, 0, False)
