"""Is anything lost that was acknowledged, however often the power goes while many write?"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest
import trio

from bus.errors import PosixError
from bus.faults import FaultRegistry
from services.drivers.disk import api
from services.drivers.disk.service import DiskService
from services.drivers.ram.api import PAGE_BYTES, Ram

if TYPE_CHECKING:
    from pathlib import Path

WRITERS, SECTORS_EACH = 6, 24
ORDERS = ("lost", "reordered", "torn")


class Writer:
    """Owns some sectors; knows of each which version must survive and which is the newest."""

    def __init__(self, number: int, chance: Random) -> None:
        self.first = number * SECTORS_EACH
        self.chance = chance
        self.lasting = [0] * SECTORS_EACH
        self.newest = [0] * SECTORS_EACH

    def content(self, at: int, version: int) -> bytes:
        return (self.first + at).to_bytes(8, "little") + version.to_bytes(8, "little") * 63

    async def work(self, disk: DiskService) -> None:
        """Write and flush until there is no power."""
        while True:
            at = self.chance.randrange(SECTORS_EACH)
            count = self.chance.randrange(1, min(6, SECTORS_EACH - at) + 1)
            fua = self.chance.random() < 0.2
            for one in range(at, at + count):
                self.newest[one] += 1
            data = b"".join(self.content(one, self.newest[one]) for one in range(at, at + count))
            written = self.newest[at : at + count]
            try:
                await disk.handlers[api.Write](api.Write(((self.first + at, data, fua),)))
                if fua:
                    self.lasting[at : at + count] = written
                if self.chance.random() < 0.3:
                    acknowledged = list(self.newest)
                    await disk.handlers[api.Flush](api.Flush())
                    self.lasting = acknowledged
            except PosixError:
                return

    def wrong(self, image: bytes) -> list[str]:
        """Sectors that are older than promised, newer than written, or torn."""
        found = []
        for at in range(SECTORS_EACH):
            start = (self.first + at) * 512
            raw = image[start : start + 512]
            version = int.from_bytes(raw[8:16], "little")
            if version and raw != self.content(at, version):
                found.append(f"sector {self.first + at} is torn")
            if not self.lasting[at] <= version <= self.newest[at]:
                found.append(f"sector {self.first + at} is {version}, not {self.lasting[at]}")
        return found


async def cut_once(path: Path, seed: int) -> tuple[list[str], int]:
    """One boot, one cut; what is wrong afterwards, and how many sectors had to survive."""
    chance = Random(seed)
    with path.open("wb") as file:
        file.truncate(WRITERS * SECTORS_EACH * 512)
    disk = DiskService(Ram(16 * PAGE_BYTES), str(path))
    faults = FaultRegistry((), seed=seed)
    faults.own("disk", disk)
    space = chance.randrange(512, 200_000)
    faults.add(f"disk:power_cut,order={ORDERS[seed % 3]},space={space},times=1")
    writers = [Writer(number, Random(seed * 100 + number)) for number in range(WRITERS)]
    async with trio.open_nursery() as nursery:
        await nursery.start(disk.run)
        async with trio.open_nursery() as working:
            for writer in writers:
                working.start_soon(writer.work, disk)
        nursery.cancel_scope.cancel()
    disk.close()
    image = await trio.Path(path).read_bytes()
    promised = sum(version > 0 for writer in writers for version in writer.lasting)
    return [line for writer in writers for line in writer.wrong(image)], promised


async def cut_often(path: Path, times: int) -> int:
    promised = 0
    for seed in range(times):
        wrong, kept = await cut_once(path, seed)
        assert not wrong, f"seed {seed}: {wrong}"
        promised += kept
    return promised


async def test_thirty_cuts_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    assert await cut_often(tmp_path / "disk.img", 30) > 30 * 10


@pytest.mark.slow
async def test_five_hundred_cuts_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    promised = await cut_often(tmp_path / "disk.img", 500)
    print(f"500 cuts, {promised} sectors had to survive and did")
    assert promised > 500 * 10
