"""Does a program run from an ext4 image as it does from a directory?"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.fs.ext4.images import make_image, needs_mke2fs

if TYPE_CHECKING:
    from pathlib import Path

BUSYBOX = shutil.which("busybox")
REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PATIENCE_S = 60

pytestmark = [needs_mke2fs, pytest.mark.skipif(BUSYBOX is None, reason="no busybox here")]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    assert BUSYBOX is not None
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    shutil.copy(BUSYBOX, root / "bin" / "busybox")
    os.symlink("busybox", root / "bin" / "sh")
    (root / "many").mkdir()
    for number in range(500):
        (root / "many" / f"a name that is somewhat longer, {number}").write_text(str(number))
    (root / "large").write_bytes(os.urandom(2_000_001))
    return root


def hardtack(image: Path, script: str, *options: str) -> subprocess.CompletedProcess[bytes]:
    command = ["-m", "boot", "run", "--net", "none", "--image", str(image), *options]
    return subprocess.run(
        [sys.executable, *command, "--", "/bin/sh", "-c", script],
        cwd=REPOSITORY,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_programs_run_from_an_image_and_cannot_write_it(tree: Path, tmp_path: Path) -> None:
    image = make_image(tmp_path / "disk.ext4", tree)
    before = hashlib.sha256(image.read_bytes()).digest()
    done = hardtack(
        image,
        "cd /many; for n in 0 77 499; do busybox cat 'a name that is somewhat longer, '$n; done;"
        "busybox ls | busybox wc -l; busybox sha256sum /large; busybox touch /new",
    )
    large = hashlib.sha256((tree / "large").read_bytes()).hexdigest()
    assert done.stdout.decode().split() == ["077499500", large, "/large"]
    assert b"Read-only file system" in done.stderr
    assert hashlib.sha256(image.read_bytes()).digest() == before


def test_what_is_no_volume_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "junk").write_bytes(bytes(1 << 20))
    done = hardtack(tmp_path / "junk", "true")
    assert done.returncode == 2
    assert b"no ext2, ext3 or ext4 volume is there" in done.stderr
