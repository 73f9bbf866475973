"""Does a program run from an ext4 image as it does from a directory?"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from services.fs.ext4.device import FileDevice
from services.fs.ext4.reading import Reader
from tests.fs.ext4.images import make_image, needs_mke2fs
from tests.fs.ext4.mounted import e2fsck

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


def line(image: Path | str, script: str, *options: str) -> list[str]:
    command = ["-m", "boot", "run", "--net", "none", "--image", str(image), *options]
    return [sys.executable, *command, "--", "/bin/sh", "-c", script]


def hardtack(image: Path | str, script: str, *options: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        line(image, script, *options),
        cwd=REPOSITORY,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_programs_run_from_an_image_and_cannot_write_it(tree: Path, tmp_path: Path) -> None:
    image = make_image(tmp_path / "disk.ext4", tree, size="48M")
    before = hashlib.sha256(image.read_bytes()).digest()
    done = hardtack(
        f"{image}:ro",
        "cd /many; for n in 0 77 499; do busybox cat 'a name that is somewhat longer, '$n; done;"
        "busybox ls | busybox wc -l; busybox sha256sum /large; busybox touch /new",
    )
    large = hashlib.sha256((tree / "large").read_bytes()).hexdigest()
    assert done.stdout.decode().split() == ["077499500", large, "/large"]
    assert b"Read-only file system" in done.stderr
    assert hashlib.sha256(image.read_bytes()).digest() == before


WRITES = """
busybox mkdir -p /new/below; busybox cp /bin/busybox /new/tool; echo first > /new/file
busybox mv /new/file /new/below/moved; busybox ln /new/below/moved /new/linked
busybox ln -s below/moved /new/soft; busybox rm -r /many; busybox mkdir /many
busybox dd if=/large of=/new/part bs=1000 count=1500 skip=100 conv=fsync 2>/dev/null
busybox truncate -s 5000 /new/part; echo more >> /new/part; exec 5> /new/gone; busybox rm /new/gone
echo still >&5
"""


def test_what_is_written_is_there_after_a_reboot(tree: Path, tmp_path: Path) -> None:
    image = make_image(tmp_path / "disk.ext4", tree, size="48M")
    assert hardtack(image, WRITES).returncode == 0
    assert not e2fsck(image)
    done = hardtack(
        image,
        "busybox sha256sum < /new/tool; busybox cat /new/soft /new/linked;"
        "busybox tail -c 5 /new/part; busybox sha256sum < /new/part; busybox ls /new /many",
    )
    tool = hashlib.sha256((tree / "bin" / "busybox").read_bytes()).hexdigest()
    part = (tree / "large").read_bytes()[100_000:105_000] + b"more\n"
    wanted = [tool, "-", "first", "first", "more", hashlib.sha256(part).hexdigest(), "-"]
    assert done.stdout.decode().split()[:7] == wanted
    listed = ["/many:", "/new:", "below", "linked", "part", "soft", "tool"]
    assert done.stdout.decode().split()[7:] == listed
    assert not e2fsck(image)


STORM = """
work() {
    busybox mkdir $1; cd $1; i=0
    while [ $i -lt 12 ]; do
        busybox mkdir s$i; busybox cp /large s$i/copy; echo $i > s$i/f; busybox mv s$i/f s$i/g
        busybox ln s$i/g l$i; [ $i -gt 3 ] && busybox rm -r s$((i-3))
        [ $((i%5)) = 0 ] && busybox dd if=/large of=s$i/z bs=64k conv=fsync 2>/dev/null
        i=$((i+1))
    done
    busybox cmp s11/copy /large && echo ok
}
cd /many; for n in 1 2 3; do work w$n & done; busybox sync; wait; busybox cat w*/l* | busybox wc -l
"""


def test_its_own_etc_stays_and_what_is_missing_there_is_made(tree: Path, tmp_path: Path) -> None:
    (tree / "etc").mkdir()
    (tree / "etc" / "hosts").write_text("1.2.3.4 own\n")
    image = make_image(tmp_path / "disk.ext4", tree, size="48M")
    done = hardtack(image, "busybox cat /etc/hosts /etc/hostname")
    assert done.stdout.decode() == "1.2.3.4 own\nhardtack\n"
    assert not e2fsck(image)


def test_when_it_was_read_is_kept(tree: Path, tmp_path: Path) -> None:
    image = make_image(tmp_path / "disk.ext4", tree, size="48M")
    stat = "busybox stat -c %X /large"
    read = hardtack(image, f"busybox cat /large > /dev/null; {stat}").stdout.decode()
    assert hardtack(image, stat).stdout.decode() == read != ""
    assert hardtack(f"{image}:ro", f"busybox sha256sum /large; {stat}").stdout.endswith(
        read.encode()
    )
    assert not e2fsck(image)


def test_several_programs_change_it_at_once(tree: Path, tmp_path: Path) -> None:
    image = make_image(tmp_path / "disk.ext4", tree, ("-b", "1024"), size="96M")
    done = hardtack(image, STORM)
    assert done.stdout.decode().split() == ["ok", "ok", "ok", "36"]
    assert not e2fsck(image)


def test_what_was_synced_outlives_a_kernel_that_is_killed(tree: Path, tmp_path: Path) -> None:
    image = make_image(tmp_path / "disk.ext4", tree, size="48M")
    script = WRITES + "busybox sync; echo ready; busybox dd if=/dev/zero of=/more bs=64k count=100"
    with subprocess.Popen(line(image, script), cwd=REPOSITORY, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.kill()
    done = hardtack(image, "busybox cat /new/soft; busybox ls /new")
    assert done.stdout.decode().split() == ["first", "below", "linked", "part", "soft", "tool"]
    assert not e2fsck(image)


REDIS = """
cd /data; redis-server --dir /data --appendonly yes --save '' --port 0 --unixsocket /tmp/r >log &
until redis-cli -s /tmp/r ping 2>/dev/null | grep -q PONG; do sleep 0.1; done
redis-cli -s /tmp/r get kept; redis-cli -s /tmp/r incr starts; redis-cli -s /tmp/r set kept value
redis-cli -s /tmp/r shutdown; wait
"""


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="no Redis here")
def test_what_redis_keeps_survives_a_reboot(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    image = make_image(tmp_path / "data.ext4", tmp_path / "empty", size="48M")
    first, second = hardtack(f"{image}:/data", REDIS), hardtack(f"{image}:/data", REDIS)
    assert first.stdout.decode().split() == ["1", "OK"]
    assert second.stdout.decode().split() == ["value", "2", "OK"]
    assert not e2fsck(image)


def test_a_volume_in_memory_is_there_and_goes_with_the_kernel() -> None:
    busybox = BUSYBOX or ""
    done = hardtack(
        "mem:64M",
        f"cd /mnt; for n in 1 2 3; do {busybox} mkdir d$n; echo $n > d$n/f; done;"
        f"{busybox} rm -r d2; {busybox} cat d1/f d3/f; {busybox} sync;"
        f"{busybox} df -T . | {busybox} tail -n 1",
    )
    assert done.stdout.decode().split()[:4] == ["1", "3", "mem:64M", "ext4"]


def test_a_journal_that_is_damaged_is_told_in_words(tree: Path, tmp_path: Path) -> None:
    image = make_image(tmp_path / "disk.ext4", tree, size="48M")
    device = FileDevice(image)
    reader = Reader(device)
    (run, *_) = reader._mapped(reader.inode(8), 0, 1)
    device.write(run.physical * reader.volume.block_bytes // 512, b"\xff" * 512)
    device.close()
    done = hardtack(image, "true")
    assert done.returncode == 126
    assert b"its journal has no superblock: e2fsck may mend it" in done.stderr


def test_what_is_no_volume_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "junk").write_bytes(bytes(1 << 20))
    done = hardtack(tmp_path / "junk", "true")
    assert done.returncode == 2
    assert b"no ext2, ext3 or ext4 volume is there" in done.stderr
