"""The file system: mail, small files, a large file, storms of names, fsync.

Columns: `native` is this machine's kernel on tmpfs, `ext4` the same kernel on an ext4 image by loop
(or, where that cannot be mounted, on the disk that the temporary directory is on), `hardtack` its
file system in memory, `disk` Hardtack on an image of ext4 beside that of `ext4`, `disk-sync` the
same without group commit (each change is durable before it is over), `gvisor` its overlay. So
`hardtack` and `gvisor` are to be read beside `native`, and `disk` beside `ext4`.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from bench.measure import Benchmark, Progress, Row, Sample, measure
from bench.platforms import (
    GUEST_PROGRAMS,
    NAMES,
    Platform,
    available,
    build_guest_programs,
    hardtack,
    native,
)
from bench.run import parse_report, run_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

BENCHMARKS = (
    Benchmark("cmail", "CMailbench: a message, delivered and picked up", 40),
    Benchmark("smallfile", "small file: create, 1 KiB, stat, read, unlink", 200),
    Benchmark("largefile", "64 KiB of a large file", 200),
    Benchmark("metastorm", "twelve changes of names", 100),
    Benchmark("fsyncs", "4 KiB appended, fsync", 100),
)
PLACES = (*NAMES[:1], "ext4", *NAMES[1:2], "disk", "disk-sync", *NAMES[2:])
IMAGE_BYTES = 512 << 20
TMPFS_MAGIC = "tmpfs"


@attrs.frozen
class Place:
    """A platform, and the directory in which programs work there."""

    platform: Platform
    directory: str


def _kind(directory: str) -> str:
    """What file system a directory is on, by stat(1)."""
    done = subprocess.run(
        ["stat", "-f", "-c", "%T", directory], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


@contextlib.contextmanager
def _disk() -> Iterator[Place]:
    """The host's ext4 on an image by loop, or the host's own disk."""
    with tempfile.TemporaryDirectory(prefix="hardtack-bench-") as folder:
        image, mounted = Path(folder) / "disk.ext4", Path(folder) / "mounted"
        mounted.mkdir()
        with image.open("wb") as file:
            file.truncate(IMAGE_BYTES)
        version = native().version
        if _succeeds("mke2fs", "-q", "-F", "-t", "ext4", str(image)) and _succeeds(
            "mount", "-o", "loop", str(image), str(mounted)
        ):
            try:
                named = f"{version}, ext4 by loop on {_kind(folder)}"
                yield Place(Platform("ext4", (), named), str(mounted))
            finally:
                _succeeds("umount", str(mounted))
        else:
            named = f"{version}, its own {_kind(folder)}"
            yield Place(Platform("ext4", (), named), folder)


@contextlib.contextmanager
def _image(name: str) -> Iterator[Place]:
    """Hardtack on an ext4 image, made by mke2fs if it is there."""
    from boot.image import make

    with tempfile.TemporaryDirectory(prefix="hardtack-bench-") as folder:
        image = os.path.join(folder, "disk.ext4")
        make.create(image, IMAGE_BYTES, "", force=False)
        plain, mode = hardtack(), ":sync" if name == "disk-sync" else ""
        prefix = (*plain.prefix[:-1], "--image", f"{image}:/mnt{mode}", "--")
        yield Place(Platform(name, prefix, f"{plain.version}, ext4 on {_kind(folder)}"), "/mnt")


def _succeeds(*words: str) -> bool:
    try:
        return not subprocess.run(words, capture_output=True, check=False).returncode
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def places(names: Sequence[str]) -> Iterator[dict[str, Place]]:
    """Those of the named columns that this machine has, in their order."""
    memory = "/dev/shm" if _kind("/dev/shm") == TMPFS_MAGIC else tempfile.gettempdir()
    directories = {"native": memory, "hardtack": "/dev/shm", "gvisor": "/tmp"}
    found = {one.name: one for one in available(tuple(n for n in names if n in NAMES))}
    with contextlib.ExitStack() as stack:
        made: dict[str, Place] = {}
        for name in PLACES:
            if name == "ext4" and name in names:
                made[name] = stack.enter_context(_disk())
            elif name in ("disk", "disk-sync") and name in names:
                made[name] = stack.enter_context(_image(name))
            elif name in found:
                made[name] = Place(found[name], directories[name])
        yield made


class PlaceRunner:
    """Runs programs in places by name: the runner that `measure` wants."""

    def __init__(self, made: Mapping[str, Place]) -> None:
        self._places = made

    def __call__(self, name: str, program: str, count: int) -> Sample:
        """One run."""
        place = self._places[name]
        path = shlex.quote(str(GUEST_PROGRAMS / program))
        command = f"BENCH_DIR={shlex.quote(place.directory)} exec {path} {count}"
        return run_words([*place.platform.prefix, "/bin/sh", "-c", command], parse_report)


def run(
    benchmarks: Sequence[Benchmark],
    names: Sequence[str],
    repeats: int,
    target_s: float,
    progress: Progress,
) -> tuple[list[Row], list[Platform]]:
    """All rows, and where they were measured."""
    build_guest_programs()
    os.sync()
    with places(names) as made:
        rows = measure(
            PlaceRunner(made),
            benchmarks,
            list(made),
            repeats=repeats,
            target_s=target_s,
            progress=progress,
        )
        return rows, [place.platform for place in made.values()]
