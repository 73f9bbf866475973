"""Is what the disk answers true, on a real file, with threads, faults and power cuts?"""

from __future__ import annotations

import os
import threading
from errno import EINVAL, EIO, ENOSPC, EROFS
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import trio

from bus.errors import PosixError
from bus.faults import FaultError, FaultRegistry
from services.drivers.disk import api
from services.drivers.disk.media import ImageRefused, survivors
from services.drivers.disk.service import DiskService
from services.drivers.ram.api import PAGE_BYTES, Ram

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

SECTORS = 4096


class Disk:
    """The driver over an image, its tasks running."""

    def __init__(self, path: Path, **settings: Any) -> None:
        self.ram = Ram(64 * PAGE_BYTES)
        self.path = path
        self.service = DiskService(self.ram, str(path), **settings)
        self.faults = FaultRegistry((), seed=7)
        self.faults.own("disk", self.service)

    async def call(self, request: Any) -> Any:
        return await self.service.handlers[type(request)](request)

    async def write(self, sector: int, data: bytes, fua: bool = False) -> None:
        await self.call(api.Write(((sector, data, fua),)))

    async def read(self, sector: int, count: int = 1) -> bytes:
        return bytes(await self.call(api.ReadSectors(sector, count)))

    async def errno(self, request: Any) -> int:
        with pytest.raises(PosixError) as caught:
            await self.call(request)
        return caught.value.errno


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    with path.open("wb") as file:
        file.truncate(SECTORS * 512)
    return path


@pytest.fixture
async def disk(image: Path, nursery: trio.Nursery) -> AsyncIterator[Disk]:
    made = Disk(image)
    await nursery.start(made.service.run)
    yield made
    made.service.close()
    made.ram.bytes.release()


def content(image: Path) -> bytes:
    return image.read_bytes()


def blocks(image: Path) -> int:
    return image.stat().st_blocks


def sector(mark: int) -> bytes:
    return bytes([mark]) * 512


async def test_what_is_written_is_read_and_lies_in_the_image(disk: Disk, image: Path) -> None:
    await disk.call(api.Write(((0, sector(1), False), (1, sector(2), True), (9, sector(3), False))))
    await disk.call(api.Flush())
    assert await disk.read(0, 2) == sector(1) + sector(2)
    assert content(image)[9 * 512 : 10 * 512] == sector(3)


async def test_reads_go_into_ram_extent_by_extent(disk: Disk) -> None:
    await disk.write(8, b"".join(map(sector, range(16))))
    extents = ((PAGE_BYTES, 1024), (5 * PAGE_BYTES, 512))
    await disk.call(api.Read(((8, extents), (20, ((7 * PAGE_BYTES, 512),)))))
    memory = disk.ram.bytes
    assert memory[PAGE_BYTES : PAGE_BYTES + 1024] == sector(0) + sector(1)
    assert memory[5 * PAGE_BYTES : 5 * PAGE_BYTES + 512] == sector(2)
    assert memory[7 * PAGE_BYTES : 7 * PAGE_BYTES + 512] == sector(12)


async def test_more_than_a_command_holds(disk: Disk) -> None:
    data = Random(1).randbytes(3000 * 512)
    await disk.write(17, data)
    disk.faults.add("disk:latency,time=1ms")
    assert await disk.read(17, 3000) == data


async def test_bad_requests_are_told(disk: Disk) -> None:
    assert await disk.errno(api.ReadSectors(SECTORS, 1)) == EIO
    assert await disk.errno(api.Write(((SECTORS - 1, bytes(1024), False),))) == EIO
    assert await disk.errno(api.Write(((0, bytes(100), False),))) == EINVAL
    assert await disk.errno(api.Read(((0, ((0, 100),)),))) == EINVAL
    assert await disk.errno(api.Read(((0, ((1 << 40, 512),)),))) == EINVAL


async def test_fua_and_flush_are_the_hosts(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    flags: list[int] = []
    synced: list[int] = []
    pwritev, fdatasync = os.pwritev, os.fdatasync

    def spy(fd: int, buffers: Any, offset: int, flag: int = 0) -> int:
        flags.append(flag)
        return pwritev(fd, buffers, offset, flag)

    monkeypatch.setattr(os, "pwritev", spy)
    monkeypatch.setattr(os, "fdatasync", lambda fd: (synced.append(fd), fdatasync(fd)))
    await disk.write(0, sector(1))
    await disk.write(0, sector(1), fua=True)
    assert flags == [0, os.RWF_DSYNC]
    assert not synced
    await disk.call(api.Flush())
    assert len(synced) == 1


async def test_a_slow_host_does_not_stop_the_loop(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    monkeypatch.setattr(os, "fdatasync", lambda fd: gate.wait(10))
    turns = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(disk.call, api.Flush())
        for turns in range(1, 50):
            await disk.write(turns, sector(turns))
        gate.set()
    assert turns == 49


async def test_a_hung_host_ends_in_eio_and_the_next_command_works(
    image: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(image, deadline_s=0.05, attempts=2)
    await nursery.start(disk.service.run)
    gate = threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", lambda fd: gate.wait(10))
        assert await disk.errno(api.Flush()) == EIO
    await disk.write(0, sector(1))
    gate.set()
    assert disk.service.counters()["late"] == 2
    disk.service.close()


async def test_who_was_cancelled_gets_nothing_into_ram(disk: Disk) -> None:
    await disk.write(0, sector(9))
    disk.faults.add("disk:latency,time=20ms")
    with trio.move_on_after(0.005):
        await disk.call(api.Read(((0, ((PAGE_BYTES, 512),)),)))
    await trio.sleep(0.05)
    assert disk.ram.bytes[PAGE_BYTES : PAGE_BYTES + 512] == bytes(512)


async def test_discard_gives_the_host_its_space_back(disk: Disk, image: Path) -> None:
    await disk.write(0, bytes([7]) * (1 << 20))
    await disk.call(api.Flush())
    before = blocks(image)
    await disk.call(api.Discard(0, 2048))
    assert blocks(image) < before or await disk.read(0) == sector(7)


def test_an_image_is_used_by_one_and_must_be_one(image: Path, tmp_path: Path) -> None:
    ram = Ram(64 * PAGE_BYTES)
    first = DiskService(ram, str(image))
    with pytest.raises(ImageRefused, match="in use"):
        DiskService(ram, str(image))
    first.close()
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ImageRefused):
            DiskService(ram, str(path))
    (tmp_path / "empty").touch()
    with pytest.raises(ImageRefused, match="empty"):
        DiskService(ram, str(tmp_path / "empty"))


async def test_a_read_only_disk_refuses(image: Path) -> None:
    disk = Disk(image, read_only=True)
    assert await disk.errno(api.Write(((0, sector(1), False),))) == EROFS
    assert await disk.errno(api.Discard(0, 1)) == EROFS
    assert await disk.read(0) == bytes(512)
    disk.service.close()


# faults


async def test_errors_strike_reads_or_writes_where_they_are_said_to(disk: Disk) -> None:
    disk.faults.add("disk:error_reads,sector=8,count=2")
    disk.faults.add("disk:error_writes,sector=100")
    assert await disk.errno(api.ReadSectors(4, 5)) == EIO
    assert await disk.read(10) == bytes(512)
    assert await disk.errno(api.Write(((100, sector(1), False),))) == EIO
    await disk.write(8, sector(1))
    disk.faults.clear()
    assert await disk.read(8) == sector(1)


async def test_a_bad_sector_is_good_once_it_is_written(disk: Disk) -> None:
    disk.faults.add("disk:bad_sector,sector=8")
    assert await disk.errno(api.ReadSectors(8, 1)) == EIO
    await disk.write(8, sector(4))
    assert await disk.read(8) == sector(4)


async def test_lost_torn_spoilt_and_refused_writes(disk: Disk) -> None:
    await disk.write(0, sector(1) * 4)
    cases: dict[str, Callable[[bytes], bool]] = {
        "disk:drop_writes": lambda data: data == sector(1) * 4,
        "disk:torn_write": lambda data: data[:512] == sector(2) and data[-512:] == sector(1),
        "disk:corrupt,byte=3,value=9,rw=w": lambda data: data[3] == 9 and data[4] == 2,
    }
    for fault, holds in cases.items():
        number = disk.faults.add(fault)
        await disk.write(0, sector(2) * 4)
        disk.faults.clear(number)
        assert holds(await disk.read(0, 4)), fault
        await disk.write(0, sector(1) * 4)
    number = disk.faults.add("disk:torn_write")
    await disk.write(0, sector(2))
    disk.faults.clear(number)
    assert await disk.read(0) == bytes([2]) * 256 + bytes([1]) * 256
    disk.faults.add("disk:full")
    assert await disk.errno(api.Write(((0, sector(2), False),))) == ENOSPC


async def test_a_fault_that_cannot_be_is_refused(disk: Disk) -> None:
    with pytest.raises(FaultError, match="the disk's last is 4095"):
        disk.faults.add("disk:bad_sector,sector=4096")


@pytest.mark.parametrize("order", ["lost", "reordered", "torn"])
async def test_a_power_cut_loses_only_what_was_not_flushed(
    disk: Disk, image: Path, order: str
) -> None:
    disk.faults.add(f"disk:power_cut,order={order},space=2048,times=1")
    await disk.write(0, sector(1))
    await disk.call(api.Flush())
    await disk.write(1, sector(2), fua=True)
    await disk.write(2, sector(3))
    assert await disk.read(0, 3) == sector(1) + sector(2) + sector(3)
    await disk.write(0, sector(4))
    assert await disk.errno(api.Write(((5, sector(5), False),))) == EIO
    assert await disk.errno(api.Flush()) == EIO
    assert await disk.errno(api.ReadSectors(0, 1)) == EIO
    left = content(image)
    assert left[:512] in ((sector(1),) if order == "lost" else (sector(1), sector(4)))
    assert left[512:1024] == sector(2)
    assert left[5 * 512 : 6 * 512] == bytes(512)
    disk.faults.clear()
    await disk.write(5, sector(6))
    assert await disk.read(5) == sector(6)


async def test_a_flush_that_was_cleared_of_its_fault_lost_nothing(disk: Disk, image: Path) -> None:
    disk.faults.add("disk:power_cut,space=1M")
    await disk.write(0, sector(1))
    assert content(image)[:512] == bytes(512)
    disk.faults.clear()
    assert content(image)[:512] == sector(1)


def test_every_sector_after_a_torn_cut_is_one_of_its_versions() -> None:
    log = [(0, sector(1) * 4), (2, sector(2) * 4), (0, sector(3))]
    seen: set[tuple[int, int]] = set()
    for seed in range(64):
        for where, data in survivors(log, "torn", Random(seed)):
            assert len(data) == 512
            seen.add((where, data[0]))
    assert seen == {(0, 1), (0, 3), (1, 1), (2, 1), (2, 2), (3, 1), (3, 2), (4, 2), (5, 2)}
