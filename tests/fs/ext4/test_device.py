"""Do the disks without a driver keep what is written, and refuse what is not theirs?"""

from __future__ import annotations

from errno import EIO, EROFS
from typing import TYPE_CHECKING

import pytest

from bus.errors import PosixError
from services.fs.ext4.device import FLUSH, FileDevice, MemoryDevice, ReadStep, Write, perform

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from services.fs.ext4.device import Step

SIZE = 1 << 20


def devices(tmp_path: Path) -> list[MemoryDevice | FileDevice]:
    path = tmp_path / "disk"
    path.write_bytes(bytes(SIZE))
    return [MemoryDevice(SIZE), FileDevice(path)]


def steps() -> Generator[Step, bytes, None]:
    yield (Write(3, b"a" * 1024), Write(9, b"b" * 512, fua=True))
    yield FLUSH
    assert (yield ReadStep(3, 1)) == b"a" * 512
    with pytest.raises(PosixError):
        yield ReadStep(1 << 40, 1)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    for device in devices(tmp_path):
        assert device.sectors == SIZE // 512
        perform(device, steps())
        assert device.read(2, 4) == bytes(512) + b"a" * 1024 + bytes(512)
        assert device.read(9, 1) == b"b" * 512


def test_outside_is_an_error(tmp_path: Path) -> None:
    for device in devices(tmp_path):
        for action in (
            lambda d=device: d.read(d.sectors, 1),
            lambda d=device: d.write(d.sectors - 1, bytes(1024)),
            lambda d=device: d.write(0, b"odd"),
            lambda d=device: d.read(-1, 1),
        ):
            with pytest.raises(PosixError) as refusal:
                action()
            assert refusal.value.errno == EIO


def test_read_only_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(bytes(SIZE))
    with pytest.raises(PosixError) as refusal:
        FileDevice(path, read_only=True).write(0, bytes(512))
    assert refusal.value.errno == EROFS


def test_discarded_pages_read_as_zeros() -> None:
    device = MemoryDevice(SIZE)
    device.write(0, b"x" * SIZE)
    device.discard(1, 31)
    assert device.read(8, 24) == bytes(24 * 512)
    assert device.read(0, 8) == b"x" * 4096
