"""Do the memory devices answer as null(4), random(4) and full(4) say, and give everything back?"""

from __future__ import annotations

import errno
import os
import stat
import struct
from typing import TYPE_CHECKING

import pytest

from services.drivers.entropy.service import EntropyService
from services.proc.files.device import RNDGETENTCNT
from tests.proc.guest import Guest, GuestMachine, running_machine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def machine() -> AsyncIterator[GuestMachine]:
    async with running_machine() as machine:
        machine.bus.serve("entropy", EntropyService(7).handlers)
        nodes = len(machine.fs.tree.nodes)
        yield machine
        for guest in list(machine.kernel.processes.values()):
            assert guest.descriptors is not None
        await close_all(machine)
        assert len(machine.fs.tree.nodes) == nodes, "a node's reference was not given back"


async def close_all(machine: GuestMachine) -> None:
    from services.proc.descriptors import drop

    for process in machine.kernel.processes.values():
        assert process.descriptors is not None
        for fd in sorted(process.descriptors.slots):
            await drop(process.descriptors.remove(fd), None)


@pytest.fixture
async def guest(machine: GuestMachine) -> Guest:
    return await machine.guest()


async def open_path(guest: Guest, path: bytes, flags: int = os.O_RDWR) -> int:
    return await guest.call("openat", -100, await guest.put(path + b"\0"), flags, 0)


async def stat_of(guest: Guest, fd: int) -> tuple[int, int]:
    at = guest.room(144)
    assert await guest.call("fstat", fd, at) == 0
    image = await guest.get(at, 144)
    mode, rdev = struct.unpack_from("<I", image, 24)[0], struct.unpack_from("<Q", image, 40)[0]
    return mode, rdev


async def test_null_is_empty_and_takes_everything(guest: Guest) -> None:
    fd = await open_path(guest, b"/dev/null")
    assert await guest.read(fd, 10) == b""
    assert await guest.write(fd, b"gone") == 4
    assert await guest.write(fd, bytes(70000)) == 70000
    assert await guest.call("lseek", fd, 1000, 0) == 0
    assert await guest.call("ioctl", fd, 0x5401, 0) == -errno.ENOTTY
    mode, rdev = await stat_of(guest, fd)
    assert stat.S_ISCHR(mode)
    assert rdev == os.makedev(1, 3)


@pytest.mark.parametrize("count", [0, 1, 100, 4096, 4097, 70000])
async def test_zero_reads_as_zeros_only_where_asked(guest: Guest, count: int) -> None:
    fd = await open_path(guest, b"/dev/zero")
    at = await guest.put(b"\xaa" * 80000)
    assert await guest.call("read", fd, at + 5, count) == count
    assert await guest.get(at, count + 10) == b"\xaa" * 5 + bytes(count) + b"\xaa" * 5
    assert await guest.call("pread64", fd, at, 2, 12345) == 2


async def test_full_is_full(guest: Guest) -> None:
    fd = await open_path(guest, b"/dev/full")
    assert await guest.read(fd, 3) == b"\0\0\0"
    assert await guest.write(fd, b"x") == -errno.ENOSPC


async def test_random_draws_from_the_driver(guest: Guest) -> None:
    fd, other = await open_path(guest, b"/dev/urandom"), await open_path(guest, b"/dev/random")
    first, second = await guest.read(fd, 5000), await guest.read(other, 5000)
    assert isinstance(first, bytes)
    assert len(set(first)) > 200
    assert first != second
    assert await guest.write(fd, b"more entropy") == 12
    at = guest.room(4)
    assert await guest.call("ioctl", fd, RNDGETENTCNT, at) == 0
    assert await guest.get(at, 4) == struct.pack("<i", 256)
    assert await guest.call("ioctl", fd, 0x5401, at) == -errno.EINVAL


async def test_nobody_serves_an_unknown_device(guest: Guest) -> None:
    path = await guest.put(b"/dev/odd\0")
    assert await guest.call("mknod", path, stat.S_IFCHR | 0o666, os.makedev(200, 1)) == 0
    assert await open_path(guest, b"/dev/odd") == -errno.ENXIO
    assert await open_path(guest, b"/dev/tty") == -errno.ENXIO
    assert await open_path(guest, b"/dev/console") == -errno.ENODEV


async def test_devices_are_not_files_of_fs(guest: Guest) -> None:
    fd = await open_path(guest, b"/dev/null")
    assert await guest.call("fsync", fd) == -errno.EINVAL
    assert await guest.call("ftruncate", fd, 0) == -errno.EINVAL
    assert await guest.call("mmap", 0, 4096, 3, 1, fd, 0) == -errno.ENODEV
    zero = await open_path(guest, b"/dev/zero")
    at = await guest.call("mmap", 0, 8192, 3, 2, zero, 0)
    assert at > 0
    assert await guest.get(at, 8192) == bytes(8192)


async def test_the_description_knows_its_name_and_flags(guest: Guest) -> None:
    fd = await open_path(guest, b"/dev/null", os.O_WRONLY | os.O_APPEND)
    assert await guest.call("fcntl", fd, 3, 0) == 0o102001
    assert await guest.thread.file(fd).path() == b"/dev/null"
    assert await guest.read(fd, 1) == -errno.EBADF
