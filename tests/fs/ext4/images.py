"""Images that mke2fs(8) makes of a directory of ours."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PATH = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
MKE2FS = shutil.which("mke2fs", path=PATH)
needs_mke2fs = pytest.mark.skipif(MKE2FS is None, reason="no mke2fs on this machine")

FEATURE_SETS = {
    "default": (),
    "small blocks": ("-b", "1024"),
    "lists of blocks": ("-O", "^extent,^64bit"),
    "small blocks, lists": ("-b", "1024", "-O", "^extent,^64bit"),
    "no checksums": ("-O", "^metadata_csum,^64bit"),
    "old checksums": ("-O", "^metadata_csum,uninit_bg"),
    "small inodes": ("-I", "128"),
    "scattered descriptors": ("-O", "meta_bg,^resize_inode"),
    "checksum seed": ("-O", "metadata_csum_seed"),
    "no types": ("-O", "^filetype"),
    "no journal": ("-O", "^has_journal"),
    "an orphan file, large directories": ("-O", "orphan_file,large_dir"),
    "middling blocks": ("-b", "2048", "-g", "4096"),
    "as ext2": ("-O", "^has_journal,^extent,^64bit,^metadata_csum,^flex_bg,^dir_nlink,^huge_file"),
}


def make_tree(root: Path, names: int = 300) -> None:
    """Files of several kinds: small, large, with holes; links; a directory with an index."""
    root.mkdir()
    (root / "small").write_bytes(b"hello")
    (root / "empty").touch()
    (root / "large").write_bytes(os.urandom(3_000_001))
    with open(root / "sparse", "wb") as sparse:
        for at in (0, 5_000, 700_000, 9_000_000):
            sparse.seek(at)
            sparse.write(b"%d" % at)
    os.link(root / "small", root / "another name")
    os.symlink("small", root / "short link")
    os.symlink("x" * 200, root / "long link")
    os.mkfifo(root / "fifo", 0o640)
    (root / "deep" / "er").mkdir(parents=True)
    for number in range(names):
        (root / "deep" / "er" / f"a rather long name, {number:05}").write_text(str(number))
    os.utime(root / "small", ns=(1_234_567_890_123_456_789, 987_654_321_987_654_321))
    os.chmod(root / "small", 0o4751)


def make_image(where: Path, tree: Path, options: tuple[str, ...] = (), size: str = "24M") -> Path:
    """An ext4 image with these options of mke2fs, and what is in `tree`."""
    assert MKE2FS is not None
    subprocess.run(
        [MKE2FS, "-q", "-F", "-t", "ext4", *options, "-d", str(tree), str(where), size],
        check=True,
        capture_output=True,
    )
    return where
