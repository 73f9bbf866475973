"""Do reads and writes reach the host whole, whatever the streams are, and never stop the loop?"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from bus.errors import MalformedRequest, PosixError
from services.drivers.console import stream as stream_module
from services.drivers.console.api import (
    DescribeStream,
    ReadStream,
    StreamReady,
    WaitStream,
    WriteStream,
)
from services.drivers.console.service import ConsoleService

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BIG = bytes(range(256)) * 1024  # four times what a pipe holds


@contextmanager
def console(*fds: int) -> Iterator[ConsoleService]:
    """A console over these descriptors; all are closed at the end."""
    service = ConsoleService(fds)
    try:
        yield service
    finally:
        service.close()
        for fd in set(fds):
            os.close(fd)


@pytest.fixture(params=["reopened", "shared"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A pipe that may be opened again, and one where the host refuses that."""
    if request.param == "shared":
        monkeypatch.setattr(stream_module, "_reopen", lambda fd: None)
    return str(request.param)


async def drain(fd: int, total: int) -> bytes:
    """Read like a slow host program: small reads, with the loop running in between."""
    os.set_blocking(fd, False)
    got = b""
    while len(got) < total:
        await trio.lowlevel.wait_readable(fd)
        got += os.read(fd, 10_000)
    return got


async def test_a_write_that_a_pipe_cannot_hold_waits_and_arrives_whole(way: str) -> None:
    reader, writer = os.pipe()
    with console(writer) as service:
        async with trio.open_nursery() as nursery:

            async def write() -> None:
                assert await service.write(WriteStream(0, BIG)) == len(BIG)

            nursery.start_soon(write)
            await wait_all_tasks_blocked()
            assert await drain(reader, len(BIG)) == BIG
    os.close(reader)


async def test_the_shared_description_stays_as_it_was(way: str) -> None:
    reader, writer = os.pipe()
    with console(reader, writer) as service:
        await service.write(WriteStream(1, b"x"))
        assert await service.read(ReadStream(0, 9)) == b"x"
        for fd in (reader, writer):
            assert not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK


async def test_a_write_that_fits_needs_no_checkpoint(way: str) -> None:
    reader, writer = os.pipe()
    with console(writer) as service, trio.testing.assert_no_checkpoints():
        assert await service.write(WriteStream(0, b"hello")) == 5
    assert os.read(reader, 9) == b"hello"
    os.close(reader)


async def test_a_cancelled_write_tells_what_went_out(way: str) -> None:
    reader, writer = os.pipe()
    with console(writer) as service:
        with trio.CancelScope() as scope:
            scope.cancel()
            count = await service.write(WriteStream(0, BIG))
        assert not scope.cancelled_caught
        assert 0 < count < len(BIG)
        os.set_blocking(reader, False)
        assert os.read(reader, len(BIG)) == BIG[:count]
        while await service.write(WriteStream(0, b"fill up")) == 7 and any(
            await service.ready(StreamReady(0))
        ):
            pass
        with trio.move_on_after(0) as scope:
            await service.write(WriteStream(0, BIG))
            await service.write(WriteStream(0, BIG))
        assert scope.cancelled_caught
    os.close(reader)


async def test_a_reader_that_left_is_epipe(way: str) -> None:
    reader, writer = os.pipe()
    with console(writer) as service:
        os.close(reader)
        with pytest.raises(PosixError) as told:
            await service.write(WriteStream(0, b"x"))
    assert told.value.errno == errno.EPIPE


async def test_a_read_waits_for_the_first_bytes_and_ends_at_the_end(way: str) -> None:
    reader, writer = os.pipe()
    got: list[bytes] = []
    with console(reader) as service:

        async def read() -> None:
            got.append(await service.read(ReadStream(0, 100)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await wait_all_tasks_blocked()
            assert got == []
            os.write(writer, b"late")
        os.close(writer)
        await read()
    assert got == [b"late", b""]


async def test_many_tasks_may_wait_for_one_stream(way: str) -> None:
    reader, writer = os.pipe()
    got: list[bytes] = []
    with console(reader) as service:

        async def read() -> None:
            got.append(await service.read(ReadStream(0, 1)))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(read)
            nursery.start_soon(service.wait, WaitStream(0, False))
            with trio.CancelScope() as scope:  # the leader may leave before the others
                nursery.start_soon(read)
                await wait_all_tasks_blocked()
                scope.cancel()
            os.write(writer, b"abcd")
            while len(got) < 4:
                await wait_all_tasks_blocked()
            os.write(writer, b"e")
    assert sorted(got) == [b"a", b"b", b"c", b"d"]
    os.close(writer)


async def test_a_leader_that_is_cancelled_hands_the_place_on() -> None:
    reader, writer = os.pipe()
    with console(reader) as service:
        async with trio.open_nursery() as nursery:
            leader = trio.CancelScope()

            async def lead() -> None:
                with leader:
                    await service.read(ReadStream(0, 1))

            async def follow() -> None:
                assert await service.read(ReadStream(0, 1)) == b"x"

            nursery.start_soon(lead)
            await wait_all_tasks_blocked()
            nursery.start_soon(follow)
            await wait_all_tasks_blocked()
            leader.cancel()
            await wait_all_tasks_blocked()
            os.write(writer, b"x")
    os.close(writer)


async def test_files_and_null_devices_are_always_ready(tmp_path: Path) -> None:
    path = tmp_path / "out"
    file = os.open(path, os.O_RDWR | os.O_CREAT)
    null = os.open(os.devnull, os.O_RDWR)
    with console(file, null) as service, trio.testing.assert_no_checkpoints():
        assert await service.ready(StreamReady(0)) == (True, True)
        await service.wait(WaitStream(0, True))
        assert await service.write(WriteStream(0, BIG)) == len(BIG)
        assert await service.read(ReadStream(0, 10)) == b""
        assert await service.read(ReadStream(1, 10)) == b""
        assert stat.S_ISREG((await service.describe(DescribeStream(0))).mode)
        assert stat.S_ISCHR((await service.describe(DescribeStream(1))).mode)
    assert path.read_bytes() == BIG


async def test_output_to_a_file_goes_where_its_owner_left_off(tmp_path: Path) -> None:
    file = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    os.write(file, b"shell\n")
    with console(file) as service:
        await service.write(WriteStream(0, b"guest\n"))
        os.write(file, b"shell again\n")
    assert (tmp_path / "log").read_bytes() == b"shell\nguest\nshell again\n"


async def test_a_full_disk_is_enospc() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    with console(full) as service, pytest.raises(PosixError) as told:
        await service.write(WriteStream(0, b"x"))
    assert told.value.errno == errno.ENOSPC


async def test_sockets_wait_as_pipes_do() -> None:
    ours, theirs = socket.socketpair()
    with console(ours.detach()) as service, theirs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(service.write, WriteStream(0, BIG * 4))
            await wait_all_tasks_blocked()
            assert await drain(theirs.fileno(), len(BIG) * 4) == BIG * 4
        theirs.send(b"back")
        assert await service.read(ReadStream(0, 10)) == b"back"
        theirs.close()
        with pytest.raises(PosixError) as told:
            await service.write(WriteStream(0, b"x"))
    assert told.value.errno == errno.EPIPE


async def test_a_stream_we_were_started_without_is_none() -> None:
    gone, other = os.pipe()
    os.close(gone)
    placeholder = os.open(os.devnull, os.O_PATH)
    service = ConsoleService((gone, placeholder, other))
    try:
        modes = [(await service.describe(DescribeStream(n))).mode for n in range(3)]
        assert (modes[:2], stat.S_ISFIFO(modes[2])) == ([0, 0], True)
    finally:
        service.close()
        os.close(other)
        os.close(placeholder)


async def test_nonsense_is_the_senders_fault() -> None:
    with console(os.open(os.devnull, os.O_RDWR)) as service:
        for request in (ReadStream(1, 5), ReadStream(-1, 5), ReadStream(0, -5)):
            with pytest.raises(MalformedRequest):
                await service.read(request)


def test_close_gives_every_descriptor_back() -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    reader, writer = os.pipe()
    one, two = socket.socketpair()
    with console(reader, writer, one.detach()):
        pass
    two.close()
    assert sorted(os.listdir("/proc/self/fd")) == before
