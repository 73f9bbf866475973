"""Does e2fsck find nothing in what our own mkfs makes?"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from boot.image import mkfs

if TYPE_CHECKING:
    from pathlib import Path

UUID = bytes(range(1, 17))


def made(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)
        for offset, content in mkfs.file_system(size, UUID, 1_700_000_000, b"test"):
            file.seek(offset)
            file.write(content)


@pytest.mark.skipif(shutil.which("e2fsck") is None, reason="no e2fsprogs")
@pytest.mark.parametrize("mib", [8, 9.5, 16, 127.5, 128, 128.125, 129, 300, 1024, 5000])
def test_e2fsck_finds_nothing(tmp_path: Path, mib: float) -> None:
    image = tmp_path / "disk.ext4"
    made(image, int(mib * (1 << 20)))
    check = subprocess.run(["e2fsck", "-fn", image], capture_output=True, text=True, check=False)
    assert check.returncode == 0, check.stdout + check.stderr


@pytest.mark.skipif(shutil.which("e2fsck") is None, reason="no e2fsprogs")
def test_the_backups_are_good_enough_to_repair_from(tmp_path: Path) -> None:
    image = tmp_path / "disk.ext4"
    made(image, 300 << 20)
    with image.open("r+b") as file:
        file.write(bytes(8192))
    words = ["e2fsck", "-fy", "-b", "32768", "-B", "4096", image]
    assert subprocess.run(words, capture_output=True, check=False).returncode in (0, 1)
    assert (
        subprocess.run(["e2fsck", "-fn", image], capture_output=True, check=False).returncode == 0
    )


@pytest.mark.parametrize("size", [0, 1 << 20, 2 << 40])
def test_a_size_that_cannot_be_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="from 8M to 1T"):
        list(mkfs.file_system(size, UUID, 0))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.skipif(shutil.which("e2fsck") is None, reason="no e2fsprogs")
def test_linux_mounts_it_and_writes_with_its_journal(tmp_path: Path) -> None:
    image, place = tmp_path / "disk.ext4", tmp_path / "mounted"
    made(image, 300 << 20)
    place.mkdir()
    words = ["mount", "-t", "ext4", "-o", "loop", image, place]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("no loop devices here")
    try:
        (place / "directory").mkdir()
        (place / "directory/file").write_bytes(bytes(range(256)) * 8192)
        (place / "link").symlink_to("directory/file")
        assert (place / "link").read_bytes() == bytes(range(256)) * 8192
    finally:
        subprocess.run(["umount", place], check=True)
    check = subprocess.run(["e2fsck", "-fn", image], capture_output=True, text=True, check=False)
    assert check.returncode == 0, check.stdout + check.stderr
