"""Does the file system carry a program's first steps?"""

import os
from pathlib import Path

from services.fs import api
from services.fs.api import Foreign
from services.fs.service import SYSTEM_MOUNTS, MountSpec
from tests.fs.machine import Machine


async def test_a_host_tree_can_be_read_and_written_without_the_host_noticing(
    tmp_path: Path,
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/prog").write_bytes(os.urandom(300_000))
    (tmp_path / "bin/prog").chmod(0o755)
    os.symlink("/bin/prog", tmp_path / "link")
    m = await Machine(MountSpec(b"/", "hosttree", os.fsencode(tmp_path)), SYSTEM_MOUNTS).start()
    data = (tmp_path / "bin/prog").read_bytes()
    assert await m.get(b"/link") == data
    opened = await m.open(b"/link")
    assert await m.read(opened.node, 4000, 200_000) == data[4000:204_000]
    pfns = await m.call(api.Pages(opened.node, 70, 10, False))
    assert len(pfns) == 4
    paddr = pfns[0] << 12
    assert m.ram.bytes[paddr : paddr + 4096] == data[70 * 4096 : 71 * 4096]
    assert await m.call(api.PathOf(opened.node, m.at.root)) == b"/bin/prog"
    await m.release(opened.node)
    assert sorted(await m.names(b"/")) == [b"bin", b"dev", b"link", b"proc", b"sys"]
    await m.put(b"/bin/new", b"hello" * 2000)
    assert await m.get(b"/bin/new") == b"hello" * 2000
    opened = await m.open(b"/bin/prog", os.O_RDWR)
    assert (await m.write(opened.node, 5000, b"x" * 9000)).count == 9000
    expected = data[:5000] + b"x" * 9000 + data[14000:]
    await m.release(opened.node)
    assert await m.get(b"/bin/prog") == expected
    assert (tmp_path / "bin/prog").read_bytes() == data
    foreign = await m.call(api.Stat(m.at, b"/dev/fd/3", m.cred))
    assert foreign == Foreign("proc", b"self/fd/3", b"/proc")
    assert (await m.stat(b"/dev/null")).rdev == os.makedev(1, 3)
    assert not (tmp_path / "dev").exists()
    await m.assert_no_leak()
