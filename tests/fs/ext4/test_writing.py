"""Is what we write what e2fsck finds sound, and what is read again, in each kind of volume?"""

from __future__ import annotations

import os
import random
from errno import ENOSPC, ENOTEMPTY
from typing import TYPE_CHECKING

import pytest

from bus.errors import PosixError
from services.fs.ext4.device import FileDevice
from services.fs.ext4.layout import InodeFlag
from services.fs.ext4.reading import Reader
from tests.fs.ext4.images import FEATURE_SETS, make_image, make_tree, needs_mke2fs
from tests.fs.ext4.mounted import Mounted, e2fsck

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = needs_mke2fs

LONG_NAME = "a file with a rather long name, {}"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree") / "root"
    make_tree(root, 40)
    return root


@pytest.fixture(params=FEATURE_SETS)
def image(request: pytest.FixtureRequest, tree: Path, tmp_path: Path) -> Path:
    return make_image(tmp_path / "image", tree, FEATURE_SETS[request.param])


def closed(mounted: Mounted, image: Path) -> Reader:
    """Unmount, have it checked, and open it for reading."""
    mounted.unmount()
    assert not e2fsck(image)
    return Reader(FileDevice(image, read_only=True))


def test_a_file_that_is_written_here_and_there(image: Path) -> None:
    mounted, chance = Mounted(FileDevice(image)), random.Random(1)
    mounted.create("/new")
    shadow = bytearray()
    for step in range(150):
        offset, data = chance.randrange(2_000_000), chance.randbytes(chance.randrange(1, 9000))
        mounted.write("/new", offset, data)
        shadow.extend(bytes(max(offset + len(data) - len(shadow), 0)))
        shadow[offset : offset + len(data)] = data
        if step % 30 == 29:
            length = chance.randrange(2_000_000)
            mounted.truncate("/new", length)
            shadow.extend(bytes(max(length - len(shadow), 0)))
            del shadow[length:]
            mounted.sync()
    reader = closed(mounted, image)
    assert b"".join(reader.content(reader.at(b"new"))) == shadow


def test_many_names_come_and_go(image: Path) -> None:
    mounted = Mounted(FileDevice(image))
    mounted.mkdir("/many")
    for number in range(400):
        mounted.create("/many/" + LONG_NAME.format(number))
    for number in range(0, 400, 3):
        mounted.unlink("/many/" + LONG_NAME.format(number))
    for number in range(1, 400, 30):
        mounted.rename("/many/" + LONG_NAME.format(number), f"/many/{number}")
    kept = {n for n in range(400) if n % 3}
    expected = {str(n) if n % 30 == 1 else LONG_NAME.format(n) for n in kept}
    assert set(mounted.names("/many")) == expected
    with pytest.raises(PosixError) as told:
        mounted.rmdir("/many")
    assert told.value.errno == ENOTEMPTY
    mounted.rename("/deep/er", "/many/er")
    mounted.rename("/many/er", "/small", exchange=True)
    reader = closed(mounted, image)
    assert {one.name.decode() for one in reader.names(reader.at(b"many"))} == expected | {"er"}
    assert b"".join(reader.content(reader.at(b"many/er"))) == b"hello"
    assert len(reader.names(reader.at(b"small"))) == 40


def test_links_devices_and_attributes(image: Path) -> None:
    mounted = Mounted(FileDevice(image))
    mounted.link("/large", "/again")
    mounted.unlink("/large")
    mounted.symlink("/short", b"x" * 59)
    mounted.symlink("/long", b"x" * 60)
    mounted.make("/null", 0o20666, rdev=0x103)
    mounted.make("/disk", 0o60600, rdev=0x12345678)
    mounted.make("/pipe", 0o10600)
    wanted = {b"user.%d" % n: bytes([n]) * n * 3 for n in range(12)} | {b"security.none": b""}
    for name, value in wanted.items():
        mounted.set_xattr("/again", name, value)
    for name in (b"user.3", b"user.11"):
        mounted.set_xattr("/again", name, None)
        del wanted[name]
    reader = closed(mounted, image)
    again = reader.at(b"again")
    assert (again.links, again.size) == (1, 3_000_001)
    assert reader.attributes(again) == wanted
    assert reader.target(reader.at(b"short")) == b"x" * 59
    assert reader.target(reader.at(b"long")) == b"x" * 60
    assert reader.at(b"null").rdev == (1, 3)
    assert reader.at(b"disk").rdev == (0x456, 0x12378)


def test_space_is_reserved_punched_and_closed_up(image: Path) -> None:
    mounted, size = Mounted(FileDevice(image)), 4096
    mounted.create("/new")
    mounted.write("/new", 0, b"abcd" * 20_000)
    wanted = bytearray(b"abcd" * 20_000)
    mounted.allocate("/new", 3, 5_000, 20_000)
    wanted[5_000:25_000] = bytes(20_000)
    if mounted.inode("/new").flags & InodeFlag.EXTENTS:
        mounted.allocate("/new", 0, 70_000, 50_000)
        wanted += bytes(40_000)
        mounted.allocate("/new", 0x10, 30_000, 9_000)
        wanted[30_000:39_000] = bytes(9_000)
        mounted.write("/new", 100_000, b"in the middle")
        wanted[100_000:100_013] = b"in the middle"
        mounted.allocate("/new", 8, size, 3 * size)
        del wanted[size : 4 * size]
    reader = closed(mounted, image)
    assert b"".join(reader.content(reader.at(b"new"))) == wanted


def test_a_full_volume_says_so_and_stays_sound(image: Path) -> None:
    mounted = Mounted(FileDevice(image))
    mounted.create("/new")
    offset = 0
    for _ in range(100):
        try:
            offset += mounted.write("/new", offset, os.urandom(1 << 20))
        except PosixError as refusal:
            assert refusal.errno == ENOSPC  # noqa: PT017
            break
    assert 5 << 20 < offset < 24 << 20
    mounted.unlink("/new")
    mounted.sync()
    mounted.create("/small again")
    mounted.write("/small again", 0, b"there is room")
    closed(mounted, image)


@pytest.mark.parametrize("options", [("-b", "1024"), ("-b", "1024", "-O", "^metadata_csum")])
def test_an_index_grows_and_stays_valid(
    options: tuple[str, ...], tree: Path, tmp_path: Path
) -> None:
    image = make_image(tmp_path / "image", tree, options)
    mounted = Mounted(FileDevice(image))
    mounted.mkdir("/many")
    for number in range(4000):
        mounted.create("/many/" + LONG_NAME.format(number))
    assert mounted.inode("/many").flags & InodeFlag.INDEX
    reader = closed(mounted, image)
    assert len(reader.names(reader.at(b"many"))) == 4000


def test_a_fragmented_file_has_a_tree_of_extents(tree: Path, tmp_path: Path) -> None:
    image = make_image(tmp_path / "image", tree, ("-b", "1024"))
    mounted = Mounted(FileDevice(image))
    mounted.create("/new")
    for number in range(0, 800, 2):
        mounted.write("/new", number * 1024, b"%d" % number)
    assert int.from_bytes(mounted.inode("/new").map[6:8], "little") > 1
    mounted.truncate("/new", 500 * 1024)
    reader = closed(mounted, image)
    content = b"".join(reader.content(reader.at(b"new")))
    assert content == b"".join((b"%d" % n).ljust(2048, b"\0") for n in range(0, 500, 2))


def test_an_operation_that_fails_has_changed_nothing(tree: Path, tmp_path: Path) -> None:
    image = make_image(tmp_path / "image", tree)
    mounted = Mounted(FileDevice(image))
    mounted.mkdir("/new")
    before, tree_before = mounted.volume.counts(), mounted.tree()
    for attempt in (
        lambda: mounted.rename("/new", "/deep"),
        lambda: mounted.link("/small", "/new"),
        lambda: mounted.set_xattr("/small", b"user.large", bytes(60_000)),
        lambda: mounted.create("/" + "n" * 256),
    ):
        with pytest.raises(PosixError):
            attempt()
    assert (mounted.volume.counts(), mounted.tree()) == (before, tree_before)
    closed(mounted, image)
