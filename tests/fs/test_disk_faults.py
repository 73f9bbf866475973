"""What do programs see of a disk that fails, and what is on it afterwards?"""

from __future__ import annotations

import contextlib
import shutil
from errno import EIO, ENOENT, ENOSPC, EROFS
from random import Random
from typing import TYPE_CHECKING

import pytest
import trio

from bus.errors import PosixError
from bus.faults import FaultRegistry
from services.fs import api
from services.fs.ext4.device import FileDevice
from services.fs.ext4.groups import Group
from services.fs.ext4.mapping import runs
from services.fs.ext4.reading import Reader
from services.fs.service import MountSpec
from tests.fs.ext4.images import make_image, make_tree, needs_mke2fs
from tests.fs.ext4.mounted import Mounted, e2fsck
from tests.fs.machine import Machine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = needs_mke2fs

CREATE = 0o102
"""O_CREAT | O_RDWR."""


@pytest.fixture
def image(tmp_path: Path) -> Path:
    make_tree(tmp_path / "tree", 20)
    return make_image(tmp_path / "disk.ext4", tmp_path / "tree", ("-b", "1024"), "16M")


@contextlib.asynccontextmanager
async def booted(image: Path, seed: int = 0) -> AsyncIterator[tuple[Machine, FaultRegistry]]:
    """A machine whose root is the image; it is stopped as boot stops it."""
    machine = Machine(MountSpec(b"/", "ext4", b"disk"), image=image)
    disk, faults = machine.disk, FaultRegistry((), seed=seed)
    assert disk is not None
    faults.own("disk", disk)
    async with trio.open_nursery() as nursery:
        await nursery.start(disk.run)
        await machine.start()
        await nursery.start(machine.fs.run)
        yield machine, faults
        faults.clear()
        with contextlib.suppress(PosixError):
            await machine.fs.stop()
        nursery.cancel_scope.cancel()
    disk.close()
    machine.host.close()


def sectors_of(image: Path, path: bytes, inode: int | None = None) -> list[tuple[int, int]]:
    """(sector, count) of a file's blocks, or of an inode's."""
    device = FileDevice(image, read_only=True)
    reader = Reader(device)
    found = reader.at(path) if inode is None else reader.inode(inode)
    each = reader.volume.block_bytes // 512
    mapped = reader._run(lambda: runs(reader.volume, found, 0, 1 << 32))
    device.close()
    return [(run.physical * each, run.count * each) for run in mapped]


async def errno_of(machine: Machine, path: bytes, data: bytes, data_only: bool = False) -> int:
    """Write a file and sync it."""
    try:
        opened = await machine.open(path, CREATE)
        try:
            await machine.call(api.WriteBytes(opened.node, 0, data))
            await machine.call(api.Sync(opened.node, data_only))
        finally:
            await machine.call(api.Close(opened.node, True))
    except PosixError as refusal:
        return refusal.errno
    return 0


async def test_content_that_cannot_be_read_is_eio_and_nothing_else_is(image: Path) -> None:
    (sector, count), *_ = sectors_of(image, b"large")
    async with booted(image) as (machine, faults):
        faults.add(f"disk:bad_sector,sector={sector},count={count}")
        with pytest.raises(PosixError) as told:
            await machine.get(b"/large")
        assert told.value.errno == EIO
        assert await machine.get(b"/small") == b"hello"
        assert await errno_of(machine, b"/new", b"fine") == 0
    assert not e2fsck(image)


@pytest.mark.parametrize(("fault", "errno"), [("error_writes", EIO), ("full", ENOSPC)])
async def test_content_that_cannot_be_written_is_told_by_fsync(
    image: Path, fault: str, errno: int
) -> None:
    (sector, count), *_ = sectors_of(image, b"large")
    async with booted(image) as (machine, faults):
        where = f"sector={sector},count={count}" if fault == "error_writes" else "times=1"
        number = faults.add(f"disk:{fault},{where}")
        data_only = fault == "full"  # then nothing but the content is written
        assert await errno_of(machine, b"/large", b"L" * 1024, data_only) == errno
        await errno_of(machine, b"/other", b"")  # who is in the same transaction is told as well
        assert await errno_of(machine, b"/new", b"fine") == 0
        faults.clear(number)
        assert await errno_of(machine, b"/large", b"L" * 1024) == 0
    assert not e2fsck(image)
    reader = Reader(FileDevice(image, read_only=True))
    assert next(reader.content(reader.at(b"large")))[:1024] == b"L" * 1024


@pytest.mark.parametrize("fault", ["error_writes", "full", "latency,time=5s"])
async def test_a_journal_that_cannot_be_written_makes_it_read_only(image: Path, fault: str) -> None:
    (sector, count), *_ = sectors_of(image, b"", 8)
    async with booted(image) as (machine, faults):
        assert await errno_of(machine, b"/before", b"kept") == 0
        where = "" if fault == "full" else f",sector={sector},count={count}"
        faults.add(f"disk:{fault}{where}")
        assert await errno_of(machine, b"/new", b"lost") == EIO
        assert await errno_of(machine, b"/more", b"lost") == EROFS
        assert await machine.get(b"/small") == b"hello"
        if fault != "full":  # its content did not get there either
            assert await machine.get(b"/new") == b"lost"
    recovered = Mounted(FileDevice(image))
    assert recovered.content("/before") == b"kept"
    assert "new" not in recovered.names("/")
    recovered.unmount()
    assert not e2fsck(image)


def places_of_metadata(image: Path) -> dict[str, tuple[int, str]]:
    """A sector of each kind, and what needs it: to stat, list, read, make or free."""
    device = FileDevice(image, read_only=True)
    reader = Reader(device)
    volume = reader.volume
    group = reader._run(lambda: Group(volume, 0))
    each = volume.block_bytes // 512
    sparse = reader._run(lambda: volume.inode(reader.at(b"scattered").number))
    node = int.from_bytes(sparse.map[16:20], "little")
    found = {
        "inode": (volume.inode_place(reader.at(b"large").number)[0] * each, "stat"),
        "directory": (sectors_of(image, b"deep/er")[0][0], "list"),
        "extents": (node * each, "read"),
        "bitmap of inodes": (group.get("inode_bitmap") * each, "make"),
        "bitmap of blocks": (group.get("block_bitmap") * each, "write"),
        "descriptors": (volume.descriptor_place(0)[0] * each, "make"),
    }
    device.close()
    return found


async def needing(machine: Machine, what: str) -> int:
    """The errno of something that needs it."""
    at, cred = machine.at, machine.cred
    if what == "stat":
        return await machine.errno(api.Stat(at, b"/large", cred, True))
    if what == "list":
        return await machine.errno(api.Stat(at, b"/deep/er/none", cred, True))
    if what == "make":
        return await machine.errno(api.Open(at, b"/new", CREATE, 0o644, cred))
    try:
        if what == "read":
            await machine.get(b"/scattered")
        else:
            await machine.put(b"/small", bytes(5_000))
    except PosixError as refusal:
        return refusal.errno
    return 0


async def test_a_bad_sector_in_each_kind_of_metadata_is_eio_and_the_kernel_lives(
    image: Path,
) -> None:
    mounted = Mounted(FileDevice(image))
    mounted.create("/scattered")
    for number in range(0, 40, 2):
        mounted.write("/scattered", number * 1024, b"x")
    mounted.unmount()
    for kind, (sector, what) in places_of_metadata(image).items():
        async with booted(image) as (machine, faults):
            faults.add(f"disk:bad_sector,sector={sector},count=2")
            ext4 = machine.fs.mounting.disks[0].ext4
            ext4._tables.clear()
            ext4.cache.evict(1 << 20)
            assert await needing(machine, what) == EIO, kind
            assert (await machine.stat(b"/")).nlink > 1
            faults.clear()
            assert await needing(machine, what) in (0, ENOENT), kind
        assert not e2fsck(image), kind


class Client:
    """Writes versions of a file of its own, some of them synced, some by way of a rename."""

    def __init__(self, number: int, chance: Random) -> None:
        self.path = b"/client%d" % number
        self.chance = chance
        self.newest = self.lasting = 0

    def content(self, version: int) -> bytes:
        return (b"%s %d\n" % (self.path, version)) * (version * 37 % 900 + 1)

    async def work(self, machine: Machine) -> None:
        with contextlib.suppress(PosixError):
            while True:
                version = self.newest = self.newest + 1
                await self._replace(machine, version)

    async def _replace(self, machine: Machine, version: int) -> None:
        """Write beside it, sync, rename over it, sync the directory."""
        beside, synced = self.path + b".new", self.chance.random() < 0.5
        opened = await machine.open(beside, CREATE | 0o1000)
        try:
            await machine.call(api.WriteBytes(opened.node, 0, self.content(version)))
            await machine.call(api.Sync(opened.node, self.chance.random() < 0.5))
        finally:
            await machine.call(api.Close(opened.node, True))
        await machine.call(api.Rename(machine.at, beside, machine.at, self.path, 0, machine.cred))
        if synced:
            await machine.call(api.Sync(machine.at.root, False))
            self.lasting = version

    def wrong(self, found: dict[str, tuple[str, bytes, int]]) -> str | None:
        """What is wrong with what was recovered."""
        kept = found.get(self.path.decode())
        if kept is None:
            return f"{self.path!r} is lost" if self.lasting else None
        versions = range(max(self.lasting, 1), self.newest + 1)
        if any(kept[1] == self.content(version) for version in versions):
            return None
        return f"{self.path!r} is none of {versions}: {kept[1][:40]!r}"


async def cut_once(image: Path, seed: int) -> int:
    """The power goes while four clients work; what they were promised, and was kept."""
    chance, fresh = Random(seed), image
    image = fresh.with_name("cut.ext4")
    shutil.copy(fresh, image)
    clients = [Client(number, Random(seed * 10 + number)) for number in range(4)]
    async with booted(image, seed) as (machine, faults):
        order, space = ("lost", "reordered", "torn")[seed % 3], chance.randrange(1024, 400_000)
        faults.add(f"disk:power_cut,order={order},space={space},times=1")
        with trio.move_on_after(20) as scope:
            async with trio.open_nursery() as working:
                for client in clients:
                    working.start_soon(client.work, machine)
        assert not scope.cancelled_caught, "somebody hangs"
        faults.add("disk:error_writes")  # and does not come back
        with contextlib.suppress(PosixError):
            await machine.fs.stop()
    recovered = Mounted(FileDevice(image))
    found = recovered.tree()
    wrong = [said for client in clients if (said := client.wrong(found))]
    recovered.unmount()
    assert not wrong, f"seed {seed}: {wrong}"
    assert not e2fsck(image)
    return sum(client.lasting for client in clients)


async def test_power_cuts_under_load_lose_nothing_that_was_synced(image: Path) -> None:
    assert sum([await cut_once(image, seed) for seed in range(12)]) > 12


@pytest.mark.slow
async def test_five_hundred_power_cuts_under_load(image: Path) -> None:
    kept = sum([await cut_once(image, seed) for seed in range(500)])
    print(f"500 power cuts, {kept} renames had to survive and did")
    assert kept > 500
