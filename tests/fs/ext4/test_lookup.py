"""Are names found through an index as debugfs hashes them, and is every other name absent?"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from services.fs.ext4.blocks import run
from services.fs.ext4.device import FileDevice
from services.fs.ext4.dirhash import hash_name
from services.fs.ext4.layout import InodeFlag
from services.fs.ext4.lookup import find
from services.fs.ext4.reading import Reader
from tests.fs.ext4.images import make_image, needs_mke2fs

if TYPE_CHECKING:
    from pathlib import Path

LONG = b"a" * 40 + b"b" * 30 + b"cc"
SEED = bytes(range(1, 17))


@pytest.mark.parametrize(
    ("name", "version", "seed", "told"),
    [
        (b"hello", 0, bytes(16), 0x32252546),
        (b"hello", 1, bytes(16), 0x1746DA32),
        (b"hello", 2, bytes(16), 0x6F5BB1A8),
        ("é".encode(), 1, bytes(16), 0x89D4704E),
        (b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbbbbbbbbbbbbbbbcc", 1, SEED,
         0x6C19A65C),
        (LONG, 2, bytes(16), 0x402C96D4),
    ],
)  # fmt: skip
def test_hashes_are_those_of_debugfs(name: bytes, version: int, seed: bytes, told: int) -> None:
    assert hash_name(name, version, seed) == told


@needs_mke2fs
@pytest.mark.parametrize("options", [("-b", "1024"), ("-b", "4096"), ("-O", "^dir_index")])
def test_every_name_is_found_and_no_other(options: tuple[str, ...], tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    names = [b"a name with a number, %04d" % number for number in range(1500)]
    for name in names:
        (root / name.decode()).touch()
    image = make_image(tmp_path / "image", root, options)
    subprocess.run(["e2fsck", "-fyD", image], capture_output=True, check=False)  # makes the index
    device = FileDevice(image, read_only=True)
    reader = Reader(device)
    inode, volume = reader.inode(), reader.volume
    assert bool(inode.flags & InodeFlag.INDEX) or options[0] == "-O"
    for name in names:
        found = run(device, volume.cache, lambda name=name: find(volume, inode, name))  # type: ignore[misc]
        assert found is not None
        assert found[0].name == name
    for name in (b"none", b"a name with a number, 1500", b"lost"):
        assert run(device, volume.cache, lambda name=name: find(volume, inode, name)) is None  # type: ignore[misc]
    device.close()
