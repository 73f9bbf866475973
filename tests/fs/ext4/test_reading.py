"""Is what mke2fs wrote what we read: names, content, links, attributes, times?"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from bus.errors import PosixError
from services.fs.ext4.damage import Refused
from services.fs.ext4.device import FileDevice, MemoryDevice
from services.fs.ext4.mapping import runs
from services.fs.ext4.reading import Reader
from tests.fs.ext4.images import FEATURE_SETS, make_image, make_tree, needs_mke2fs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = needs_mke2fs


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree") / "root"
    make_tree(root)
    return root


@pytest.fixture(params=FEATURE_SETS)
def reader(request: pytest.FixtureRequest, tree: Path, tmp_path: Path) -> Iterator[Reader]:
    device = FileDevice(make_image(tmp_path / "image", tree, FEATURE_SETS[request.param]), True)
    yield Reader(device)
    device.close()


def test_all_is_there_and_nothing_else(reader: Reader, tree: Path) -> None:
    seen = set()
    for folder, folders, files in os.walk(tree):
        inside = os.path.relpath(folder, tree).replace(".", "", folder == str(tree)).encode()
        entries = {entry.name: entry.inode for entry in reader.names(reader.at(inside))}
        extra = {b"lost+found"} if not inside else set()
        assert entries.keys() == {n.encode() for n in folders + files} | extra
        for name in folders + files:
            host, here = os.lstat(os.path.join(folder, name)), inside + b"/" + name.encode()
            inode = reader.inode(entries[name.encode()])
            seen.add(here)
            shown = (inode.mode, inode.uid, inode.gid, inode.links)
            assert shown == (host.st_mode, host.st_uid, host.st_gid, host.st_nlink), here
            if not stat.S_ISDIR(inode.mode):
                assert inode.size == host.st_size
            assert inode.mtime_ns // 10**9 == host.st_mtime_ns // 10**9
            if stat.S_ISREG(inode.mode):
                with open(os.path.join(folder, name), "rb") as whole:
                    assert b"".join(reader.content(inode, 300_000)) == whole.read()
            elif stat.S_ISLNK(inode.mode):
                assert reader.target(inode) == os.readlink(os.path.join(folder, name)).encode()
    assert len(seen) > 300


def test_holes_stay_holes(reader: Reader) -> None:
    inode = reader.at(b"sparse")
    size = reader.volume.block_bytes
    reader.volume.cache.evict(1 << 30)
    mapped = reader._mapped(inode, 0, -(-inode.size // size))
    assert sum(run.count for run in mapped) * size < 100_000
    assert inode.allocated < 200_000


def test_what_is_not_there(reader: Reader) -> None:
    for path, number in ((b"deep/none", 2), (b"small/x", 20)):
        with pytest.raises(PosixError) as told:
            reader.at(path)
        assert told.value.errno == number
    with pytest.raises(PosixError):
        reader.target(reader.at(b"small"))


def test_extended_attributes_and_devices(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file").touch()
    wanted = {b"user.one": b"1", b"user.long": b"v" * 900}
    try:
        for name, value in wanted.items():
            os.setxattr(tree / "file", name, value)
        os.mknod(tree / "device", 0o600 | stat.S_IFCHR, os.makedev(5, 300))
    except OSError:
        pytest.skip("no extended attributes or devices here")
    reader = Reader(FileDevice(make_image(tmp_path / "image", tree), True))
    assert reader.attributes(reader.at(b"file")) == wanted
    assert reader.at(b"device").rdev == (5, 300)


def test_runs_are_joined_and_cut(tmp_path: Path, tree: Path) -> None:
    reader = Reader(FileDevice(make_image(tmp_path / "image", tree), True))
    inode = reader.at(b"large")
    whole = reader._mapped(inode, 0, 733)
    assert sum(run.count for run in whole) == 733
    (part,) = runs(reader.volume, inode, whole[0].logical + 1, 1)
    assert (part.physical, part.count) == (whole[0].physical + 1, 1)
    assert runs(reader.volume, inode, 100_000, 5) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("-O", "bigalloc"), "unknown features: bigalloc"),
        (("-O", "inline_data"), "unknown features: inline_data"),
        (("-O", "casefold"), "unknown features: casefold"),
        (("-O", "encrypt"), "unknown features: encrypt"),
        (("-O", "ea_inode"), "unknown features: ea_inode"),
        (("-O", "bigalloc,inline_data"), "unknown features: inline_data"),
    ],
)
def test_what_we_do_not_know_is_refused_by_name(
    tmp_path: Path, tree: Path, options: tuple[str, ...], said: str
) -> None:
    image = make_image(tmp_path / "image", tree, options)
    with pytest.raises(Refused, match=said):
        Reader(FileDevice(image, True))


def test_what_we_must_not_write_is_read(tmp_path: Path, tree: Path) -> None:
    reader = Reader(FileDevice(make_image(tmp_path / "image", tree, ("-O", "quota,project")), True))
    assert reader.volume.read_only_because == "project, quota"
    assert b"".join(reader.content(reader.at(b"small"))) == b"hello"


def test_what_is_no_volume() -> None:
    with pytest.raises(Refused, match="magic"):
        Reader(MemoryDevice(1 << 20))
    with pytest.raises(Refused, match="too small"):
        Reader(MemoryDevice(1024))


def test_a_volume_larger_than_its_disk(tmp_path: Path, tree: Path) -> None:
    image = make_image(tmp_path / "image", tree)
    os.truncate(image, 1 << 20)
    with pytest.raises(Refused, match="but the disk only 1048576 bytes"):
        Reader(FileDevice(image, True))


def test_the_cache_forgets_and_reads_again(reader: Reader) -> None:
    reader.volume.cache.limit = 3
    assert len(reader.names(reader.at(b"deep/er"))) == 300
    assert len(reader.volume.cache) <= 3
