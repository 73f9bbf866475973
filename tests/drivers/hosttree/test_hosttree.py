"""Does the driver stay inside its tree, and within its descriptors?"""

from __future__ import annotations

import os
import socket
import stat
import threading
from errno import EBADF, EEXIST, EISDIR, ELOOP, ENOENT, ENOTDIR, ENXIO, EOPNOTSUPP, EPERM, ESTALE
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from bus.errors import PosixError
from services.drivers.hosttree import api
from services.drivers.hosttree.service import HostTreeService
from services.drivers.ram.api import PAGE_BYTES, Ram

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Driver:
    """The driver over one tree."""

    def __init__(self, tree: Path) -> None:
        self.ram = Ram(64 * PAGE_BYTES)
        self.service = HostTreeService(self.ram, directory_limit=4, file_limit=4)
        self.tree = os.fsencode(tree)

    async def call(self, request: Any) -> Any:
        return await self.service.handlers[type(request)](request)

    async def errno(self, request: Any) -> int:
        with pytest.raises(PosixError) as caught:
            await self.call(request)
        return caught.value.errno

    async def open(self, path: bytes, write: bool = False) -> int:
        return int(await self.call(api.OpenFile(self.tree, path, write)))

    async def read(self, handle: int, offset: int, count: int) -> bytes:
        done = await self.call(api.ReadFile(handle, offset, [(PAGE_BYTES, count)]))
        return bytes(self.ram.bytes[PAGE_BYTES : PAGE_BYTES + done])


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    tree = tmp_path / "tree"
    (tree / "a/b/c").mkdir(parents=True)
    (tree / "a/b/c/file").write_bytes(b"content")
    (tmp_path / "secret").write_bytes(b"secret")
    os.symlink("..", tree / "a/up")
    os.symlink("../secret", tree / "leak")
    made = Driver(tree)
    before = set(os.listdir("/proc/self/fd"))
    yield made
    assert made.service.files.open_files <= 4 + len(made.service.files)
    made.service.close()
    assert set(os.listdir("/proc/self/fd")) <= before
    os.close(made.ram.fd)


async def test_a_name_is_described(driver: Driver, tmp_path: Path) -> None:
    status = (tmp_path / "tree/a/b/c/file").stat()
    found = await driver.call(api.Lstat(driver.tree, b"a/b/c/file"))
    assert (found.ino, found.size, found.mode) == (status.st_ino, 7, status.st_mode)
    assert stat.S_ISDIR((await driver.call(api.Lstat(driver.tree, b""))).mode)
    assert stat.S_ISLNK((await driver.call(api.Lstat(driver.tree, b"leak"))).mode)
    assert await driver.call(api.ReadLink(driver.tree, b"a/up")) == b".."
    assert await driver.errno(api.Lstat(driver.tree, b"none")) == ENOENT


async def test_no_path_leaves_the_tree_through_a_link(driver: Driver) -> None:
    for path in (b"a/up/secret", b"a/up/a/b", b"leak/x"):
        assert await driver.errno(api.Lstat(driver.tree, path)) in (ELOOP, ENOTDIR)
        assert await driver.errno(api.Remove(driver.tree, path, False)) in (ELOOP, ENOTDIR)
    assert await driver.errno(api.OpenFile(driver.tree, b"leak", False)) == ELOOP
    assert await driver.errno(api.ListDir(driver.tree, b"a/up")) in (ELOOP, ENOTDIR)
    assert await driver.errno(api.SetStat(driver.tree, b"leak", mode=0o777)) == EOPNOTSUPP
    request = api.MakeLink(driver.tree, b"leak", b"hard")
    await driver.call(request)
    assert stat.S_ISLNK((await driver.call(api.Lstat(driver.tree, b"hard"))).mode)


async def test_a_directory_is_listed_in_order(driver: Driver) -> None:
    names = await driver.call(api.ListDir(driver.tree, b""))
    assert [(entry.name, entry.kind) for entry in names] == [(b"a", 4), (b"leak", 10)]
    assert await driver.errno(api.ListDir(driver.tree, b"a/b/c/file")) == ENOTDIR


async def test_only_regular_files_are_opened(driver: Driver, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "tree/fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "tree/socket"))
    assert await driver.errno(api.OpenFile(driver.tree, b"fifo", False)) == ENXIO
    assert await driver.errno(api.OpenFile(driver.tree, b"socket", False)) == ENXIO
    assert await driver.errno(api.OpenFile(driver.tree, b"a", False)) in (EISDIR, ENXIO)


async def test_content_goes_through_ram(driver: Driver, tmp_path: Path) -> None:
    handle = await driver.open(b"a/b/c/file", write=True)
    extents = [(PAGE_BYTES, 3), (3 * PAGE_BYTES, 4), (5 * PAGE_BYTES, 10)]
    assert await driver.call(api.ReadFile(handle, 0, extents)) == 7
    assert bytes(driver.ram.bytes[3 * PAGE_BYTES : 3 * PAGE_BYTES + 4]) == b"tent"
    assert await driver.call(api.WriteFile(handle, 5, [(PAGE_BYTES, 3), (PAGE_BYTES, 3)])) == 6
    assert (tmp_path / "tree/a/b/c/file").read_bytes() == b"contecon" + b"con"
    await driver.call(api.TruncateFile(handle, 2))
    await driver.call(api.SyncFile(handle, True))
    await driver.call(api.SyncFile(handle, False))
    assert (await driver.call(api.StatFile(handle))).size == 2
    await driver.call(api.CloseFile(handle))
    await driver.call(api.CloseFile(handle))
    assert await driver.errno(api.StatFile(handle)) == EBADF


async def test_more_handles_than_descriptors(driver: Driver, tmp_path: Path) -> None:
    handles = []
    for i in range(20):
        (tmp_path / f"tree/f{i}").write_bytes(b"%d" % i)
        handles.append(await driver.open(b"f%d" % i))
    assert driver.service.files.open_files == 4
    for i, handle in enumerate(handles):
        assert await driver.read(handle, 0, 10) == b"%d" % i
    for i in range(20):
        (tmp_path / f"tree/d{i}").mkdir()
        assert await driver.errno(api.Lstat(driver.tree, b"d%d/x" % i)) == ENOENT
    assert len(driver.service.directories) <= 4


async def test_a_handle_outlives_unlinking_and_follows_renames(
    driver: Driver, tmp_path: Path
) -> None:
    kept, moved = await driver.open(b"a/b/c/file", write=True), None
    (tmp_path / "tree/a/b/c/two").write_bytes(b"two")
    moved = await driver.open(b"a/b/c/two")
    await driver.call(api.Remove(driver.tree, b"a/b/c/file", False))
    await driver.call(api.Move(driver.tree, b"a/b", b"z", 0))
    for i in range(8):  # the bound closes what it may
        (tmp_path / f"tree/f{i}").touch()
        await driver.open(b"f%d" % i)
    assert await driver.read(kept, 0, 10) == b"content"
    assert await driver.read(moved, 0, 10) == b"two"
    assert (await driver.call(api.StatFile(kept))).nlink == 0
    await driver.call(api.SetStat(driver.tree, b"", kept, mode=0o600))
    await driver.call(api.Move(driver.tree, b"z/c", b"a", 2))
    assert await driver.read(moved, 0, 10) == b"two"
    assert (tmp_path / "tree/a/two").exists()


async def test_a_replaced_file_is_not_taken_for_the_old_one(driver: Driver, tmp_path: Path) -> None:
    handle = await driver.open(b"a/b/c/file")
    for i in range(8):
        (tmp_path / f"tree/f{i}").touch()
        await driver.open(b"f%d" % i)
    path = tmp_path / "tree/a/b/c/file"
    (tmp_path / "tree/other").write_bytes(b"other")
    (tmp_path / "tree/other").rename(path)
    assert await driver.errno(api.ReadFile(handle, 0, [(PAGE_BYTES, 1)])) == ESTALE


async def test_names_are_made_as_asked(driver: Driver, tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        for kind in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFIFO, stat.S_IFSOCK):
            name = b"made%o" % kind
            request = api.MakeEntry(driver.tree, name, kind | 0o641, os.getuid(), os.getgid())
            assert (await driver.call(request)).mode == kind | 0o641
            assert await driver.errno(request) == EEXIST
    finally:
        os.umask(old)
    request = api.MakeEntry(driver.tree, b"device", stat.S_IFCHR | 0o600, 0, 0)
    assert await driver.errno(request) == EPERM
    await driver.call(api.MakeSymlink(driver.tree, b"l", b"to", os.getuid(), os.getgid()))
    assert (tmp_path / "tree/l").readlink().name == "to"
    times = await driver.call(api.SetStat(driver.tree, b"l", atime_ns=5, mtime_ns=6))
    assert (times.atime_ns, times.mtime_ns) == (5, 6)
    await driver.call(api.Remove(driver.tree, b"made%o" % stat.S_IFDIR, True))
    space = await driver.call(api.SpaceOf(driver.tree))
    assert space.blocks >= space.free >= 0


async def test_what_the_disk_has_is_read_while_others_run(
    driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = os.urandom(8 * PAGE_BYTES)
    (tmp_path / "tree/cold").write_bytes(data)
    handle = await driver.open(b"cold")
    extents = [(PAGE_BYTES, len(data))]
    go_on = threading.Event()
    preadv = os.preadv

    def slow(fd: int, buffers: list[memoryview], offset: int, flags: int = 0) -> int:
        if flags == os.RWF_NOWAIT and offset:
            raise BlockingIOError  # as Linux has it where the page is on the disk only
        assert flags or go_on.wait(20), "nobody else ran"
        return preadv(fd, buffers if not flags else [buffers[0][:5000]], offset, flags)

    monkeypatch.setattr(os, "preadv", slow)
    assert await driver.call(api.ReadFile(handle, 0, extents, api.NOW)) == api.WOULD_WAIT
    async with trio.open_nursery() as nursery:
        nursery.start_soon(driver.call, api.ReadFile(handle, 0, extents, api.ASIDE))
        await wait_all_tasks_blocked()
        await driver.call(api.CloseFile(handle))
        go_on.set()
    assert bytes(driver.ram.bytes[PAGE_BYTES : PAGE_BYTES + len(data)]) == data


async def test_what_the_host_has_in_memory_is_read_at_once(driver: Driver, tmp_path: Path) -> None:
    data = os.urandom(3 * PAGE_BYTES + 5)
    (tmp_path / "tree/warm").write_bytes(data)
    handle = await driver.open(b"warm")
    for patience in (api.NOW, api.ASIDE, api.BLOCKING):
        driver.ram.zero(PAGE_BYTES, 8 * PAGE_BYTES)
        request = api.ReadFile(handle, 1, [(PAGE_BYTES, 5000), (3 * PAGE_BYTES, 50_000)], patience)
        assert await driver.call(request) == len(data) - 1
        assert bytes(driver.ram.bytes[PAGE_BYTES : PAGE_BYTES + 5000]) == data[1:5001]
        end = 3 * PAGE_BYTES + len(data) - 5001
        assert bytes(driver.ram.bytes[3 * PAGE_BYTES : end]) == data[5001:]
