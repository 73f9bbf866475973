"""Do volumes cover and uncover each other, and does nothing of the host show that should not?"""

from __future__ import annotations

import os
from errno import EACCES, EBUSY, EINVAL, EIO, ENODEV, ENOENT, ENOSPC, ENOTDIR, EPERM, EROFS, EXDEV
from typing import TYPE_CHECKING

from services.fs import api
from services.fs.api import MountInfo
from services.fs.service import SYSTEM_MOUNTS, BootFile, FsService, MountSpec
from tests.fs.machine import MEMORY, USER, Machine

if TYPE_CHECKING:
    from pathlib import Path


def mount(m: Machine, target: bytes, kind: str = "tmpfs", **more: object) -> api.Mount:
    source = more.get("source", b"none")
    options = more.get("options", "")
    assert isinstance(source, bytes)
    assert isinstance(options, str)
    return api.Mount(m.at, source, target, kind, options, bool(more.get("read_only")), m.cred)


async def test_a_volume_covers_a_directory_until_it_is_unmounted(memory: Machine) -> None:
    m = memory
    await m.call(api.MakeDir(m.at, b"/d", 0o755, m.cred))
    await m.put(b"/d/below", b"x")
    await m.call(mount(m, b"/d"))
    assert await m.names(b"/d") == []
    await m.put(b"/d/above", b"y")
    assert (await m.stat(b"/d")).dev != (await m.stat(b"/")).dev
    assert (await m.stat(b"/d/..")).ino == (await m.stat(b"/")).ino
    assert await m.errno(api.Unlink(m.at, b"/d", True, m.cred)) == EBUSY
    assert await m.errno(api.Rename(m.at, b"/d", m.at, b"/e", 0, m.cred)) == EBUSY
    assert await m.errno(api.Rename(m.at, b"/d/above", m.at, b"/x", 0, m.cred)) == EXDEV
    node = (await m.open(b"/d/above")).node
    assert await m.call(api.PathOf(node, m.at.root)) == b"/d/above"
    assert await m.errno(api.Link(node, m.at, b"/x", m.cred)) == EXDEV
    assert await m.errno(api.Unmount(m.at, b"/d", m.cred)) == EBUSY
    await m.release(node)
    await m.call(mount(m, b"/d"))
    assert await m.names(b"/d") == []
    await m.call(api.Unmount(m.at, b"/d", m.cred))
    assert await m.names(b"/d") == [b"above"]
    await m.call(api.Unmount(m.at, b"/d", m.cred))
    assert await m.names(b"/d") == [b"below"]
    assert await m.errno(api.Unmount(m.at, b"/d", m.cred)) == EINVAL
    assert await m.errno(api.Unmount(m.at, b"/", m.cred)) == EBUSY


async def test_a_volume_has_no_more_inodes_than_it_was_given(memory: Machine) -> None:
    m = memory
    await m.call(api.MakeDir(m.at, b"/d", 0o755, m.cred))
    assert await m.errno(mount(m, b"/d", options="nr_inodes=many")) == EINVAL
    await m.call(mount(m, b"/d", options="nr_inodes=3"))
    whole = m.tree.inodes
    before = whole.count
    await m.put(b"/d/file", b"x")
    await m.call(api.MakeDir(m.at, b"/d/folder", 0o755, m.cred))
    await m.call(api.Symlink(m.at, b"/d/link", b"file", m.cred))
    assert await m.errno(api.MakeDir(m.at, b"/d/more", 0o755, m.cred)) == ENOSPC
    await m.put(b"/elsewhere", b"x")
    assert whole.count == before + 4
    file = await m.open(b"/d/file")
    await m.call(api.Unlink(m.at, b"/d/file", False, m.cred))
    assert whole.count == before + 3, "a file without a name is its descriptor's business"
    await m.release(file.node)
    await m.call(api.MakeDir(m.at, b"/d/more", 0o755, m.cred))
    whole.limit = whole.count
    assert await m.errno(api.MakeDir(m.at, b"/e", 0o755, m.cred)) == ENOSPC


async def test_only_root_mounts_and_only_what_boot_allowed(lower: Path) -> None:
    m = await Machine(host_sources=[os.fsencode(lower / "bin")]).start()
    for name in (b"/d", b"/bin"):
        await m.call(api.MakeDir(m.at, name, 0o755, m.cred))
    await m.put(b"/f", b"")
    request = mount(m, b"/d")
    request.cred = USER
    assert await m.errno(request) == EPERM
    bin_path = os.fsencode(lower / "bin")
    for source in (b"/", os.fsencode(lower), bin_path + b"/../etc", bin_path + b"x"):
        assert await m.errno(mount(m, b"/d", "hosttree", source=source)) == EPERM
    assert await m.errno(mount(m, b"/d", "ext7")) == ENODEV
    assert await m.errno(mount(m, b"/none")) == ENOENT
    assert await m.errno(mount(m, b"/f")) == ENOTDIR
    assert await m.errno(mount(m, b"/d", options="size=much")) == EINVAL
    await m.call(mount(m, b"/bin", "hosttree", source=bin_path))
    assert await m.names(b"/bin") == [b"one", b"three", b"two"]
    await m.put(b"/bin/one", b"changed")
    await m.call(api.Unmount(m.at, b"/bin", m.cred))
    await m.assert_no_leak()
    m.host.close()


async def test_the_table_lists_what_is_mounted(lower: Path) -> None:
    root = MountSpec(b"/", "hosttree", os.fsencode(lower))
    m = await Machine(
        root, [*SYSTEM_MOUNTS, MountSpec(b"/ro", "tmpfs", b"x", "ro,size=1m")]
    ).start()
    table = await m.call(api.Mounts())
    assert [(i.target, i.kind, i.options) for i in table] == [
        (b"/", "hosttree", "rw"),
        (b"/proc", "foreign", "rw"),
        (b"/sys", "tmpfs", "rw"),
        (b"/dev", "tmpfs", "rw"),
        (b"/ro", "tmpfs", "ro,size=1m"),
    ]
    assert isinstance(table[0], MountInfo)
    assert {i.parent for i in table} == {0, table[0].id}
    assert await m.errno(api.MakeDir(m.at, b"/ro/x", 0o755, m.cred)) == EROFS
    assert await m.errno(api.Access(m.at, b"/ro", 2, m.cred)) == EROFS
    await m.assert_no_leak()
    m.host.close()


async def test_a_read_only_host_tree_cannot_be_changed(lower: Path) -> None:
    root = MountSpec(b"/", "hosttree", os.fsencode(lower), read_only=True)
    m = await Machine(root).start()
    node = (await m.open(b"/data")).node
    for request in (
        api.Open(m.at, b"/data", os.O_WRONLY, 0, m.cred),
        api.Open(m.at, b"/data", os.O_TRUNC, 0, m.cred),
        api.Open(m.at, b"/new", os.O_CREAT, 0o644, m.cred),
        api.MakeDir(m.at, b"/new", 0o755, m.cred),
        api.Symlink(m.at, b"/new", b"x", m.cred),
        api.Unlink(m.at, b"/data", False, m.cred),
        api.Unlink(m.at, b"/bin", True, m.cred),
        api.Rename(m.at, b"/data", m.at, b"/x", 0, m.cred),
        api.Link(node, m.at, b"/x", m.cred),
        api.SetAttr(node, m.cred, mode=0),
        api.Truncate(node, 0, m.cred),
        api.SetXattr(node, b"user.x", b"", 0, m.cred),
    ):
        assert await m.errno(request) == EROFS, request
    assert await m.errno(api.Open(m.at, b"/data", os.O_CREAT, 0, m.cred)) == 0
    await m.release(node)
    await m.assert_no_leak()
    m.host.close()


async def test_dev_is_our_own(overlay: Machine) -> None:
    m = overlay
    assert await m.names(b"/dev") == [
        *(b"null", b"zero", b"full", b"random", b"urandom", b"tty", b"console", b"ptmx"),
        *(b"pts", b"shm", b"fd", b"stdin", b"stdout", b"stderr"),
    ]
    for name, major, minor in ((b"null", 1, 3), (b"urandom", 1, 9), (b"ptmx", 5, 2)):
        opened = await m.open(b"/dev/" + name, os.O_RDWR)
        assert opened.rdev == os.makedev(major, minor) == (await m.stat(b"/dev/" + name)).rdev
        await m.release(opened.node)
    assert await m.names(b"/sys") == []
    assert (await m.stat(b"/dev/shm")).mode == 0o41777


async def test_one_file_can_be_bound_alone(lower: Path) -> None:
    spec = MountSpec(b"/etc/passwd", "hosttree", os.fsencode(lower / "etc/passwd"))
    through = MountSpec(b"/conf/data", "hosttree", os.fsencode(lower / "data"), "rw")
    m = await Machine(None, [spec, through]).start()
    assert await m.get(b"/etc/passwd") == (lower / "etc/passwd").read_bytes()
    assert await m.names(b"/etc") == [b"passwd"]
    await m.put(b"/etc/passwd", b"mine")
    assert await m.get(b"/etc/passwd") == b"mine"
    assert (lower / "etc/passwd").read_bytes() != b"mine"
    await m.put(b"/conf/data", b"theirs")
    assert (lower / "data").read_bytes() == b"theirs"
    assert (await m.stat(b"/conf/data")).size == 6
    assert await m.errno(api.Unlink(m.at, b"/conf/data", False, m.cred)) == EBUSY
    await m.assert_no_leak()
    m.host.close()


async def test_hard_links_of_the_host_are_one_file(overlay: Machine, lower: Path) -> None:
    m = overlay
    one, two = await m.stat(b"/bin/one"), await m.stat(b"/bin/two")
    assert one == two
    assert (one.ino, one.nlink) == ((lower / "bin/one").stat().st_ino, 2)
    await m.put(b"/bin/one", b"changed")
    assert await m.get(b"/bin/two") == b"changed"
    await m.call(api.Unlink(m.at, b"/bin/one", False, m.cred))
    assert (await m.stat(b"/bin/two")).nlink == 1
    assert await m.get(b"/bin/two") == b"changed"


async def test_a_changed_file_is_not_forgotten_with_one_of_its_names(
    overlay: Machine,
) -> None:
    m = overlay
    await m.put(b"/bin/one", b"changed")
    await m.call(api.Unlink(m.at, b"/bin/one", False, m.cred))
    m.tree.evict_names(1000)
    assert await m.get(b"/bin/two") == b"changed"


async def test_names_can_be_forgotten_and_asked_for_again(overlay: Machine) -> None:
    m = overlay
    before = await m.stat(b"/bin/one")
    assert await m.errno(api.Stat(m.at, b"/bin/none", m.cred)) == ENOENT
    await m.call(api.Unlink(m.at, b"/etc/passwd", False, m.cred))
    await m.put(b"/bin/new", b"new")
    held = m.tree.names
    assert m.tree.evict_names(1000) >= 2
    assert m.tree.names < held
    assert await m.stat(b"/bin/one") == before
    assert await m.errno(api.Stat(m.at, b"/etc/passwd", m.cred)) == ENOENT
    assert await m.names(b"/etc") == []
    assert await m.names(b"/bin") == [b"one", b"three", b"two", b"new"]
    assert await m.get(b"/bin/new") == b"new"


async def test_the_name_cache_is_bounded(lower: Path) -> None:
    for i in range(300):
        (lower / f"etc/f{i}").touch()
    m = await Machine(MountSpec(b"/", "hosttree", os.fsencode(lower))).start()
    m.tree.names_limit = 64
    for i in range(300):
        await m.stat(b"/etc/f%d" % i)
        assert await m.errno(api.Stat(m.at, b"/etc/g%d" % i, m.cred)) == ENOENT
    assert len(m.tree.clean) <= 64
    assert len(await m.names(b"/etc")) == 301
    await m.assert_no_leak()
    m.host.close()


async def test_files_of_memory_leave_the_name_cache_alone(lower: Path) -> None:
    m = await Machine(MountSpec(b"/", "hosttree", os.fsencode(lower))).start()
    m.tree.names_limit = 64
    for i in range(100):
        await m.put(b"/etc/new%d" % i, b"")
    for i in range(40):
        (lower / f"etc/f{i}").touch()
        await m.stat(b"/etc/f%d" % i)
    assert len(m.tree.clean) >= 40
    m.host.close()


async def test_a_host_that_fails_gives_its_errno(overlay: Machine, lower: Path) -> None:
    m = overlay
    node = (await m.open(b"/data")).node
    (lower / "data").unlink()
    assert len(await m.read(node, 0, 100)) == 100  # the handle is open
    m.host.files.close_all()
    assert await m.errno(api.Read(node, 150_000, [(MEMORY, 10)])) == EIO
    assert await m.errno(api.Open(m.at, b"/data", 0, 0, m.cred)) in (0, ENOENT)
    (lower / "bin").chmod(0)
    (lower / "bin").rename(lower / "gone")
    assert await m.errno(api.Stat(m.at, b"/bin/x", m.cred)) == ENOENT
    await m.release(node)


async def test_a_restarted_driver_is_asked_again(overlay: Machine) -> None:
    m = overlay
    node = (await m.open(b"/data")).node
    first = await m.read(node, 0, 10)
    m.host.files.close_all()
    await m.call(api.EvictPages(1000))
    assert await m.read(node, 0, 10) == first
    await m.release(node)


async def test_what_fs_knows_survives_its_restart(overlay: Machine) -> None:
    m = overlay
    await m.put(b"/etc/new", b"kept")
    node = (await m.open(b"/etc/new", os.O_RDWR)).node
    m.bus.withdraw("fs")
    vm, host, clock = (m.bus.port("fs", name) for name in ("vm", "hosttree", "clock"))
    m.fs = FsService(m.ram, vm, host, clock, kept=m.fs.keep())
    await m.fs.start()
    m.bus.serve("fs", m.fs.handlers)
    assert await m.read(node, 0, 10) == b"kept"
    assert await m.get(b"/etc/new") == b"kept"
    await m.release(node)


async def test_sticky_and_group_directories(memory: Machine) -> None:
    m = memory
    await m.call(api.MakeDir(m.at, b"/tmp", 0o777, m.cred))
    node = (await m.call(api.Resolve(m.at, b"/tmp", m.cred))).node
    await m.call(api.SetAttr(node, m.cred, mode=0o3777, gid=77))
    await m.release(node)
    await m.put(b"/tmp/roots", b"")
    await m.call(api.MakeDir(m.at, b"/tmp/sub", 0o755, m.cred))
    assert (await m.stat(b"/tmp/sub")).mode == 0o42755
    assert (await m.stat(b"/tmp/roots")).gid == 77
    assert await m.errno(api.Unlink(m.at, b"/tmp/roots", False, USER)) == EPERM
    m.cred = USER
    await m.put(b"/tmp/users", b"")
    assert await m.errno(api.Rename(m.at, b"/tmp/users", m.at, b"/tmp/roots", 0, USER)) == EPERM
    assert await m.errno(api.Unlink(m.at, b"/tmp/users", False, USER)) == 0
    assert await m.errno(api.MakeDir(m.at, b"/x", 0o755, USER)) == EACCES


async def test_files_of_boot_lie_over_the_root_and_under_what_is_mounted(tmp_path: Path) -> None:
    """A link is replaced, not followed; the host keeps what it has; nothing is in the way."""
    etc = tmp_path / "root" / "etc"
    etc.mkdir(parents=True)
    (etc / "hosts").symlink_to("../secret")
    (etc / "hostname").write_text("host\n")
    (tmp_path / "root" / "secret").write_text("mine")
    (tmp_path / "bound").write_text("bound\n")
    (tmp_path / "root" / "plain").write_text("no directory")
    files = [
        BootFile(b"/etc/hosts", b"127.0.0.1 localhost\n"),
        BootFile(b"/etc/hostname", b"guest\n"),
        BootFile(b"/new/deep", b"made", 0o600),
        BootFile(b"/plain/below", b"cannot be"),
    ]
    bind = MountSpec(b"/etc/hostname", "hosttree", os.fsencode(tmp_path / "bound"))
    root = MountSpec(b"/", "hosttree", os.fsencode(tmp_path / "root"))
    m = await Machine(root, (bind,), files=files).start()
    assert await m.get(b"/etc/hosts") == b"127.0.0.1 localhost\n"
    assert await m.get(b"/secret") == b"mine"
    assert await m.get(b"/etc/hostname") == b"bound\n"
    assert await m.get(b"/new/deep") == b"made"
    assert (await m.stat(b"/new/deep")).mode == 0o100600
    await m.call(api.Rename(m.at, b"/etc/hosts", m.at, b"/etc/old", 0, m.cred))
    assert sorted(os.listdir(etc)) == ["hostname", "hosts"]
    assert (etc / "hostname").read_text() == "host\n"
    await m.assert_no_leak()
