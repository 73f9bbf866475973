"""Does a memory overlay see what others do to the host's files, and keep what was done here?"""

from __future__ import annotations

import os
import shutil
from errno import ENOENT
from typing import TYPE_CHECKING

import pytest

from services.fs import api
from services.fs.core_tree import NAMES_NS
from services.fs.service import MountSpec
from tests.fs.machine import Machine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Ticks:
    def __init__(self) -> None:
        self.now_ns = 1

    def __call__(self) -> int:
        return self.now_ns

    def later(self) -> None:
        self.now_ns += 2 * NAMES_NS + 1


@pytest.fixture
async def overlay(lower: Path) -> AsyncIterator[Machine]:
    machine = await Machine(
        MountSpec(b"/", "hosttree", os.fsencode(lower)), ticks=(ticks := Ticks())
    ).start()
    machine.ticks = ticks
    yield machine
    await machine.assert_no_leak()
    machine.host.close()


async def test_a_file_edited_between_two_opens_is_read_anew(overlay: Machine, lower: Path) -> None:
    m = overlay
    assert len(await m.get(b"/data")) == 204_800
    for content in (b"short\n", b"", b"long" * 50_000, b"Long" * 50_000):
        (lower / "data").write_bytes(content)
        os.utime(lower / "data", ns=(5, 5))  # only ctime tells
        m.ticks.now_ns += 200_000
        assert await m.get(b"/data") == content
        assert (await m.stat(b"/data")).size == len(content)


async def test_a_replaced_file_is_another_and_the_old_one_stays_open(
    overlay: Machine, lower: Path
) -> None:
    m = overlay
    opened = await m.open(b"/etc/passwd")
    before = await m.stat(b"/etc/passwd")
    (lower / "new").write_bytes(b"other\n")
    os.rename(lower / "new", lower / "etc/passwd")
    m.ticks.now_ns += 200_000
    assert await m.get(b"/etc/passwd") == b"other\n"
    assert (await m.stat(b"/etc/passwd")).ino != before.ino
    assert await m.read(opened.node, 0, 100) == b"root:x:0:0::/:/bin/sh\n"
    attr = await m.call(api.StatNode(opened.node))
    assert (attr.ino, attr.nlink) == (before.ino, 0)
    assert await m.call(api.PathOf(opened.node)) == b"/etc/passwd (deleted)"
    await m.release(opened.node)


async def test_names_that_come_and_go_are_followed(overlay: Machine, lower: Path) -> None:
    m = overlay
    assert await m.names(b"/bin") == [b"one", b"three", b"two"]
    assert await m.errno(api.Stat(m.at, b"/bin/four", m.cred)) == ENOENT
    assert await m.errno(api.Stat(m.at, b"/etc/shadow", m.cred)) == ENOENT
    await m.stat(b"/bin/one")
    (lower / "bin/four").write_bytes(b"4")
    (lower / "etc/shadow").write_bytes(b"")
    (lower / "bin/one").unlink()
    os.unlink(lower / "bin/three")
    os.symlink("two", lower / "bin/three")
    m.ticks.later()
    assert (await m.stat(b"/bin/four")).size == 1
    assert (await m.stat(b"/etc/shadow")).size == 0
    assert await m.errno(api.Stat(m.at, b"/bin/one", m.cred)) == ENOENT
    assert await m.call(api.ReadLink(m.at, b"/bin/three", m.cred)) == b"two"
    assert sorted(await m.names(b"/bin")) == [b"four", b"three", b"two"]
    shutil.rmtree(lower / "bin")
    (lower / "bin").write_bytes(b"a file now")
    m.ticks.later()
    assert await m.get(b"/bin") == b"a file now"


async def test_a_link_that_is_turned_leads_elsewhere(overlay: Machine, lower: Path) -> None:
    for version in ("v1", "v2"):
        (lower / version).mkdir()
        (lower / version / "f").write_bytes(version.encode())
    os.symlink("v1", lower / "current")
    m = overlay
    assert await m.get(b"/current/f") == b"v1"
    os.unlink(lower / "current")
    os.symlink("v2", lower / "current")
    m.ticks.later()
    assert await m.get(b"/current/f") == b"v2"


async def test_what_was_changed_here_stays(overlay: Machine, lower: Path) -> None:
    m = overlay
    await m.put(b"/data", b"mine")
    await m.put(b"/etc/mine", b"mine too")
    await m.call(api.Unlink(m.at, b"/bin/one", False, m.cred))
    await m.call(api.Rename(m.at, b"/bin/two", m.at, b"/etc/two", 0, m.cred))
    (lower / "data").write_bytes(b"theirs")
    (lower / "bin/one").write_bytes(b"theirs")
    (lower / "etc/passwd").unlink()
    (lower / "etc/mine").write_bytes(b"theirs")
    m.ticks.later()
    assert await m.get(b"/data") == b"mine"
    assert await m.get(b"/etc/mine") == b"mine too"
    assert await m.get(b"/etc/two") == b"theirs"  # moved here, but its content is theirs
    assert await m.names(b"/bin") == [b"three"]
    assert sorted(await m.names(b"/etc")) == [b"mine", b"two"]
    shutil.rmtree(lower / "etc")
    (lower / "data").unlink()
    m.ticks.later()
    assert sorted(await m.names(b"/etc")) == [b"mine", b"two"]
    assert await m.get(b"/etc/mine") == b"mine too"
    assert await m.get(b"/data") == b"mine"
    assert await m.names(b"/") == [b"bin", b"data", b"etc"]


async def test_a_growing_file_is_followed_by_who_has_it_open(overlay: Machine, lower: Path) -> None:
    m = overlay
    opened = await m.open(b"/etc/passwd")
    assert await m.read(opened.node, 0, 100) == b"root:x:0:0::/:/bin/sh\n"
    with (lower / "etc/passwd").open("ab") as file:
        file.write(b"bin\n")
    m.ticks.later()
    assert await m.read(opened.node, 22, 100) == b"bin\n"
    with (lower / "etc/passwd").open("ab") as file:
        file.write(b"daemon\n")
    m.ticks.later()
    assert (await m.call(api.StatNode(opened.node))).size == 33
    await m.release(opened.node)


async def test_mappings_of_an_edited_file_ask_again(overlay: Machine, lower: Path) -> None:
    m = overlay
    opened = await m.open(b"/data")
    (pfn,) = await m.call(api.Pages(opened.node, 3, 1, for_write=False))
    m.vm.references[pfn] += 1
    (lower / "data").write_bytes(b"x" * 5000)
    m.ticks.now_ns += 200_000
    assert await m.get(b"/data") == b"x" * 5000
    assert m.vm.unmapped == [(opened.node, 2)]
    assert await m.call(api.Pages(opened.node, 3, 1, for_write=False)) == ()
    await m.release(opened.node)


async def test_what_has_gone_is_not_an_error_of_the_disk(overlay: Machine, lower: Path) -> None:
    m = overlay
    opened = await m.open(b"/bin")
    await m.stat(b"/bin/one")
    shutil.rmtree(lower / "bin")
    m.ticks.later()
    assert await m.errno(api.Open(m.at, b"/bin/one", 0, 0, m.cred)) == ENOENT
    assert await m.errno(api.ReadDir(opened.node, 0, 10)) == ENOENT
    await m.call(api.MakeDir(m.at, b"/bin", 0o755, m.cred))
    await m.put(b"/bin/one", b"made here")
    assert await m.names(b"/bin") == [b"one"]
    await m.release(opened.node)
