"""Who writes to a volume that is damaged is refused, or told; never a crash, or a hang."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bus.errors import PosixError
from services.fs.ext4 import operations
from services.fs.ext4.damage import Refused
from services.fs.ext4.device import MemoryDevice
from tests.fs.ext4.images import make_image, make_tree, needs_mke2fs
from tests.fs.ext4.mounted import Mounted

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = needs_mke2fs
KINDS = {
    "checked": ("-b", "1024"),
    "unchecked": ("-b", "1024", "-O", "^metadata_csum,^64bit"),
    "lists": ("-b", "1024", "-O", "^metadata_csum,^64bit,^extent"),
}


class Watched(MemoryDevice):
    """A disk that remembers which blocks of 1 KiB were read."""

    def __init__(self, image: bytes) -> None:
        super().__init__(len(image))
        super().write(0, image)
        self.seen: set[int] = set()

    def read(self, sector: int, count: int) -> bytes:
        self.seen.update(range(sector // 2, (sector + count + 1) // 2))
        return super().read(sector, count)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Volumes with a journal that has to be recovered, orphans, and an index."""
    folder = tmp_path_factory.mktemp("images")
    make_tree(folder / "tree", 60)
    found = {}
    for kind, options in KINDS.items():
        image = make_image(folder / "image", folder / "tree", (*options, "-N", "256"), "10M")
        device = Watched(image.read_bytes())
        mounted = Mounted(device)
        for number in range(40):
            mounted.create(f"/deep/a name that is longer than others {number}")
        mounted.write("/deep/a name that is longer than others 1", 0, b"x" * 20_000)
        mounted.direct.change(
            lambda m=mounted: operations.remove(m.volume, 2, b"large", m.now())  # type: ignore[misc]
        )
        mounted.sync()
        found[kind] = device.content()
    return found


def attempts(mounted: Mounted) -> list[Callable[[], object]]:
    """One of each kind of change."""
    return [
        lambda: mounted.create("/deep/er/new"),
        lambda: mounted.mkdir("/deep/directory"),
        lambda: mounted.write("/small", 3_000, b"y" * 5_000),
        lambda: mounted.write("/sparse", 1_000_000, b"y" * 100),
        lambda: mounted.truncate("/sparse", 6_000),
        lambda: mounted.rename("/deep/er", "/elsewhere"),
        lambda: mounted.unlink("/deep/a name that is longer than others 7"),
        lambda: mounted.link("/small", "/deep/linked"),
        lambda: mounted.symlink("/deep/soft", b"t" * 100),
        lambda: mounted.set_xattr("/small", b"user.name", b"v" * 300),
        mounted.sync,
        mounted.unmount,
    ]


def write_all(device: MemoryDevice) -> int:
    """Try everything; how much of it worked."""
    done = 0
    try:
        mounted = Mounted(device)
    except (Refused, PosixError):
        return done
    for attempt in attempts(mounted):
        with contextlib.suppress(PosixError):
            attempt()
            done += 1
    return done


@pytest.mark.parametrize("kind", KINDS)
def test_each_block_that_is_read_damaged_in_turn(images: dict[str, bytes], kind: str) -> None:
    watched = Watched(images[kind])
    everything = write_all(watched)
    assert everything == 12
    worked = 0
    for block in sorted(watched.seen):
        at = block * 1024
        for piece in (bytes(1024), b"\xff" * 1024, bytes(range(256)) * 4):
            damaged = bytearray(images[kind])
            damaged[at : at + 1024] = piece
            device = MemoryDevice(len(damaged))
            device.write(0, damaged)
            worked += write_all(device) == everything
    assert worked < 3 * len(watched.seen)


@settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.sampled_from(["unchecked", "lists"]),
    st.lists(st.tuples(st.integers(0, 400 * 1024), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_bytes_changed_anywhere(
    images: dict[str, bytes], kind: str, changes: list[tuple[int, int]]
) -> None:
    damaged = bytearray(images[kind])
    for at, value in changes:
        damaged[at] = value
    device = MemoryDevice(len(damaged))
    device.write(0, damaged)
    write_all(device)
