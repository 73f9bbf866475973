"""Does Linux read what we write, and recover our journal; and do we the same with Linux's?"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
from random import Random
from typing import TYPE_CHECKING

import pytest

from services.fs.ext4.device import FileDevice
from services.fs.ext4.session import HAS_JOURNAL
from tests.fs.ext4.images import FEATURE_SETS, make_image, make_tree, needs_mke2fs
from tests.fs.ext4.mounted import Mounted, e2fsck

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    needs_mke2fs,
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root"),
]


@contextlib.contextmanager
def by_loop(image: Path) -> Iterator[Path]:
    place = image.with_name(image.name + ".mounted")
    place.mkdir()
    words = ["mount", "-t", "ext4", "-o", "loop", image, place]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        if "loop device" in done.stderr:
            pytest.skip("no loop devices here")
        pytest.fail(done.stderr)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)
        place.rmdir()


@pytest.fixture(params=FEATURE_SETS)
def image(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    make_tree(tmp_path / "tree", 30)
    return make_image(tmp_path / "image", tmp_path / "tree", FEATURE_SETS[request.param], "48M")


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def ours(mounted: Mounted) -> dict[str, str]:
    return {path: kind + digest(content) for path, (kind, content, _) in mounted.tree().items()}


def theirs(place: Path) -> dict[str, str]:
    found = {}
    for folder, folders, files in os.walk(place):
        for name in folders + files:
            path = os.path.join(folder, name)
            shown = path.removeprefix(str(place))
            if shown == "/lost+found":
                continue
            if os.path.islink(path):
                found[shown] = "l" + digest(os.readlink(path).encode())
            elif os.path.isdir(path):
                found[shown] = "d" + digest(b"")
            elif os.path.isfile(path):
                with open(path, "rb") as file:
                    found[shown] = "f" + digest(file.read())
            else:
                found[shown] = "f" + digest(b"")
    return found


def test_linux_reads_what_we_write_and_recovers_our_journal(image: Path) -> None:
    mounted, chance = Mounted(FileDevice(image)), Random(3)
    for number in range(150):
        path = f"/deep/a file of ours with a long name {number}"
        mounted.create(path)
        mounted.write(path, chance.randrange(20_000), chance.randbytes(chance.randrange(1, 9_000)))
        if number % 40 == 0:
            mounted.sync()
    mounted.rename("/deep/er", "/er")
    mounted.symlink("/deep/link", b"t" * 90)
    mounted.unlink("/large")
    mounted.truncate("/deep/a file of ours with a long name 7", 100_000)
    mounted.sync()
    if mounted.direct.session.journal is None or mounted.direct.session.journal.log is None:
        mounted.unmount()
    wanted = ours(mounted)
    with by_loop(image) as place:
        assert theirs(place) == wanted
        (place / "from linux").write_bytes(b"as well")
    assert not e2fsck(image)
    assert Mounted(FileDevice(image)).content("/from linux") == b"as well"


def test_linux_counts_the_same_room(image: Path) -> None:
    with by_loop(image) as place:
        theirs = os.statvfs(place)
    mounted = Mounted(FileDevice(image))
    volume, size = mounted.volume, 0
    if volume.compat & HAS_JOURNAL:
        size = mounted.direct.look(lambda: volume.inode(volume.journal_inode)).size
    counted = [volume.overhead(size // volume.block_bytes)]
    volume._overhead = 0  # as images of before 2020 have it
    counted.append(volume.overhead(size // volume.block_bytes))
    assert [volume.blocks - overhead for overhead in counted] == [theirs.f_blocks] * 2
    counts = volume.counts()
    assert (counts.free_blocks, volume.available()) == (theirs.f_bfree, theirs.f_bavail)
    assert (volume.inodes, counts.free_inodes) == (theirs.f_files, theirs.f_ffree)


def test_we_read_what_linux_writes_and_recover_its_journal(image: Path) -> None:
    copy = image.with_name("copy")
    with by_loop(image) as place:
        for number in range(300):
            (place / f"a file of Linux's with a long name {number}").write_bytes(b"x" * number * 31)
        shutil.rmtree(place / "deep" / "er")
        (place / "large").rename(place / "deep" / "large")
        with (place / "orphan").open("wb") as held:
            held.write(bytes(50_000))
            os.unlink(place / "orphan")
            os.sync()
            wanted = theirs(place)
            shutil.copy(image, copy)  # as if the power had gone: only the journal has much of it
    mounted = Mounted(FileDevice(copy))
    assert ours(mounted) == wanted
    mounted.create("/ours")
    mounted.unmount()
    if mounted.direct.volume.compat & 4:
        assert not e2fsck(copy)
