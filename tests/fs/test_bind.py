"""Does a read-write bind show the host what the guest does, and the guest what the host does?"""

from __future__ import annotations

import os
import stat
from errno import EEXIST, ENOENT, ENOTEMPTY
from typing import TYPE_CHECKING

from services.fs import api

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fs.machine import Machine


async def test_changes_reach_the_host(bind: Machine, lower: Path) -> None:
    m = bind
    await m.call(api.MakeDir(m.at, b"/mnt/dir", 0o750, m.cred))
    await m.put(b"/mnt/dir/f", b"x" * 10_000, 0o640)
    assert (lower / "dir/f").read_bytes() == b"x" * 10_000
    assert stat.S_IMODE((lower / "dir/f").stat().st_mode) == 0o640
    assert stat.S_IMODE((lower / "dir").stat().st_mode) == 0o750
    await m.call(api.Symlink(m.at, b"/mnt/dir/l", b"f", m.cred))
    assert (lower / "dir/l").readlink().name == "f"
    node = (await m.open(b"/mnt/dir/f", os.O_RDWR)).node
    await m.call(api.Link(node, m.at, b"/mnt/dir/g", m.cred))
    assert (lower / "dir/g").stat().st_nlink == 2
    await m.call(api.Rename(m.at, b"/mnt/dir", m.at, b"/mnt/moved", 0, m.cred))
    await m.write(node, 5000, b"y" * 10)
    assert (lower / "moved/f").read_bytes() == b"x" * 5000 + b"y" * 10 + b"x" * 4990
    await m.call(api.SetAttr(node, m.cred, mode=0o600, mtime_ns=5 * 10**9))
    assert (lower / "moved/f").stat().st_mtime == 5
    await m.call(api.Truncate(node, 3, m.cred))
    assert (lower / "moved/g").read_bytes() == b"xxx"
    await m.call(api.Sync(node))
    await m.call(api.MakeNode(m.at, b"/mnt/fifo", stat.S_IFIFO | 0o600, 0, m.cred))
    assert (lower / "fifo").is_fifo()
    for path in (b"/mnt/moved/f", b"/mnt/moved/g"):
        await m.call(api.Unlink(m.at, path, False, m.cred))
    assert await m.read(node, 0, 10) == b"xxx"
    assert (await m.call(api.StatNode(node))).nlink == 0
    await m.write(node, 0, b"still")
    assert await m.read(node, 0, 10) == b"still"
    await m.release(node)
    assert await m.errno(api.Unlink(m.at, b"/mnt/moved", True, m.cred)) == ENOTEMPTY


async def test_the_hosts_changes_are_seen(bind: Machine, lower: Path) -> None:
    m = bind
    assert await m.get(b"/mnt/etc/passwd") == (lower / "etc/passwd").read_bytes()
    (lower / "etc/passwd").write_bytes(b"other")
    assert (await m.stat(b"/mnt/etc/passwd")).size == 5
    assert await m.get(b"/mnt/etc/passwd") == b"other"
    assert await m.errno(api.Stat(m.at, b"/mnt/etc/new", m.cred)) == ENOENT
    (lower / "etc/new").write_bytes(b"new")
    assert await m.get(b"/mnt/etc/new") == b"new"
    assert await m.names(b"/mnt/etc") == [b"new", b"passwd"]
    (lower / "etc/passwd").unlink()
    assert await m.names(b"/mnt/etc") == [b"new"]
    assert await m.errno(api.Stat(m.at, b"/mnt/etc/passwd", m.cred)) == ENOENT
    (lower / "etc/new").unlink()
    (lower / "etc/new").mkdir()
    assert stat.S_ISDIR((await m.stat(b"/mnt/etc/new")).mode)
    (lower / "etc/new/deep").mkdir()
    node = (await m.call(api.Resolve(m.at, b"/mnt/etc/new/deep", m.cred))).node
    (lower / "etc/new/deep").rmdir()
    (lower / "etc/new").rmdir()
    assert await m.errno(api.Stat(m.at, b"/mnt/etc/new", m.cred)) == ENOENT
    path = await m.call(api.PathOf(node, m.at.root))
    assert path.endswith(b"(deleted)")
    await m.release(node)
    (lower / "etc/made").write_bytes(b"")
    assert await m.errno(api.MakeDir(m.at, b"/mnt/etc/made", 0o755, m.cred)) == EEXIST


async def test_all_names_of_a_file_are_one(bind: Machine, lower: Path) -> None:
    m = bind
    node = (await m.open(b"/mnt/data", os.O_RDWR)).node
    os.link(lower / "data", lower / "etc/data")
    await m.write(node, 0, b"seen")
    other = (await m.open(b"/mnt/etc/data")).node
    assert await m.read(other, 0, 4) == b"seen"
    await m.write(node, 1, b"ha")
    assert await m.read(other, 0, 4) == b"shan"
    pages = await m.call(api.Pages(node, 0, 1, for_write=False))
    assert await m.call(api.Pages(other, 0, 1, for_write=False)) == pages
    await m.release(node)
    await m.release(other)


async def test_mapped_pages_are_written_when_synced_and_at_the_end(
    bind: Machine, lower: Path
) -> None:
    m = bind
    node = (await m.open(b"/mnt/data", os.O_RDWR)).node
    pages = await m.call(api.Pages(node, 0, 2, for_write=True))
    for pfn in pages:
        m.vm.references[pfn] += 1  # mapped
    m.ram.bytes[pages[1] << 12] = 0x5A
    await m.call(api.Sync(node))
    assert (lower / "data").read_bytes()[4096] == 0x5A
    m.ram.bytes[pages[1] << 12] = 0x5B
    await m.call(api.Sync(None))
    assert (lower / "data").read_bytes()[4096] == 0x5B
    m.ram.bytes[pages[0] << 12] = 0x5C
    for pfn in pages:
        m.vm.references[pfn] -= 1
    await m.release(node)
    assert (lower / "data").read_bytes()[0] == 0x5C
    assert not m.tree.frames.kept


async def test_a_renamed_open_file_is_found_again_after_the_driver_restarts(
    bind: Machine, lower: Path
) -> None:
    m = bind
    node = (await m.open(b"/mnt/data", os.O_RDWR)).node
    await m.call(api.Rename(m.at, b"/mnt/data", m.at, b"/mnt/etc/data", 0, m.cred))
    m.host.files.close_all()
    await m.write(node, 0, b"again")
    assert (lower / "etc/data").read_bytes()[:5] == b"again"
    await m.release(node)
