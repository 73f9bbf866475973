"""Does the file system's side of the disk say what the driver's side understands?"""

from __future__ import annotations

from errno import EIO
from typing import TYPE_CHECKING

import pytest
import trio

from bus.core import Bus
from bus.errors import PosixError
from bus.faults import FaultRegistry
from services.drivers.disk.service import DiskService
from services.drivers.ram.api import PAGE_BYTES, Ram
from services.fs.diskport import DiskPort, open_disk
from services.fs.ext4.device import Write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Wired:
    """A disk on the bus and who calls it."""

    def __init__(self, path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(1 << 20)
        self.ram = Ram(64 * PAGE_BYTES)
        self.service = DiskService(self.ram, str(path))
        self.faults = FaultRegistry(())
        self.faults.own("disk", self.service)
        self.bus = Bus({"disk": 0, "fs": 2}, {"fs": frozenset({"disk"})})
        self.bus.serve("disk", self.service.handlers)


@pytest.fixture
async def wired(tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[Wired]:
    made = Wired(tmp_path / "disk.img")
    await nursery.start(made.service.run)
    yield made
    made.service.close()


@pytest.fixture
async def disk(wired: Wired) -> DiskPort:
    return await open_disk(wired.bus.port("fs", "disk"))


async def test_a_batch_goes_out_and_comes_back_into_ram(wired: Wired, disk: DiskPort) -> None:
    assert (disk.sectors, disk.read_only) == (2048, False)
    one, two = bytes([1]) * 4096, bytes([2]) * 512
    await disk.write([Write(8, one), Write(100, memoryview(two), fua=True)])
    await disk.flush()
    assert await disk.read(8, 8) == one
    await disk.read_into([(8, [(PAGE_BYTES, 4096)]), (100, [(3 * PAGE_BYTES, 512)])])
    assert wired.ram.bytes[PAGE_BYTES : 2 * PAGE_BYTES] == one
    assert wired.ram.bytes[3 * PAGE_BYTES : 3 * PAGE_BYTES + 512] == two
    await disk.discard(8, 8)


async def test_what_is_written_is_what_it_was_when_asked_for(wired: Wired, disk: DiskPort) -> None:
    page = bytearray(bytes([1]) * 4096)
    wired.faults.add("disk:latency,time=5ms,times=1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(disk.write, [Write(0, memoryview(page))])
        await trio.testing.wait_all_tasks_blocked()
        page[:] = bytes([2]) * 4096
    assert await disk.read(0, 8) == bytes([1]) * 4096


async def test_failures_come_through_and_a_hint_never_fails(wired: Wired, disk: DiskPort) -> None:
    wired.faults.add("disk:error_writes")
    with pytest.raises(PosixError) as caught:
        await disk.write([Write(0, bytes(512)), Write(8, bytes(512))])
    assert caught.value.errno == EIO
    wired.faults.clear()
    wired.faults.add("disk:power_cut,times=1")
    await disk.discard(0, 8)
    with pytest.raises(PosixError):
        await disk.flush()
