"""Looking into an image: what is in it, whether it is sound, and getting it out again.

By e2fsprogs, which nobody here wrote: what they say of an image is an opinion of its own.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

import attrs

from boot.config import ConfigError
from boot.image import tools

if TYPE_CHECKING:
    from collections.abc import Iterator

NOT_SOUND = 4


@attrs.frozen
class Listed:
    """A directory's entry."""

    inode: int
    mode: int
    uid: int
    gid: int
    size: int
    name: bytes

    def __str__(self) -> str:
        name = self.name.decode(errors="backslashreplace")
        kind = stat.filemode(self.mode)
        return f"{kind} {self.uid:>5} {self.gid:>5} {self.size:>12} {name}"


def _quoted(path: str) -> str:
    if '"' in path or "\n" in path:
        raise ConfigError(f"the path {path!r} has a quote in it", "name a directory above it")
    return f'"{path}"'


def _ask(image: str, command: str) -> bytes:
    """debugfs's answer. It always leaves with 0; it complains on stderr, after its version."""
    if not os.path.isfile(image):
        raise ConfigError(f"there is no image {image!r}", "make one with hardtack image create")
    done = tools.run(["debugfs", "-R", command, image])
    lines = done.stderr.decode(errors="replace").splitlines()
    complaints = [line for line in lines if line.strip() and not line.startswith("debugfs 1.")]
    if complaints:
        raise ConfigError(f"image {image!r}: {complaints[0].strip()}", "see hardtack image check")
    return done.stdout


def _parse(raw: bytes) -> Iterator[tuple[int, int, int, int, bytes, int]]:
    for line in raw.split(b"\n"):
        parts = line.split(b"/")
        if len(parts) >= 8 and parts[1].isdigit():
            inode, mode, uid, gid = int(parts[1]), int(parts[2], 8), int(parts[3]), int(parts[4])
            yield inode, mode, uid, gid, parts[5], int(parts[6] or 0)


def entries(image: str, path: str) -> list[Listed]:
    """What is in the directory `path`, by name. ConfigError: it is none, or no image."""
    found = []
    for inode, mode, uid, gid, name, size in _parse(_ask(image, f"ls -p {_quoted(path)}")):
        if inode and name not in (b".", b".."):
            found.append(Listed(inode, mode, uid, gid, size, name))
    return sorted(found, key=lambda entry: entry.name)


def check(image: str, repair: bool = False) -> tuple[bool, str]:
    """Whether e2fsck finds it sound (or has made it so), and what it said."""
    if not os.path.isfile(image):
        raise ConfigError(f"there is no image {image!r}", "make one with hardtack image create")
    words = ["e2fsck", "-f", "-y" if repair else "-n", image]
    done = tools.run(words, allowed=tuple(range(8)))
    sound = done.returncode in ((0, 1) if repair else (0,))
    return sound, (done.stdout or done.stderr).decode(errors="replace").strip()


def export(image: str, path: str, target: str) -> None:
    """Copy what is at `path` in the image to `target` on the host.

    A directory's content goes into `target`, which must not be there, or be an empty directory.
    """
    if os.path.lexists(target) and (not os.path.isdir(target) or os.listdir(target)):
        raise ConfigError(f"{target!r} is there already", "name a new place")
    if stat.S_ISDIR(_mode(image, path)):
        os.makedirs(target, exist_ok=True)
        for entry in entries(image, path):
            name = entry.name.decode(errors="surrogateescape")
            _ask(image, f"rdump {_quoted(os.path.join(path, name))} {_quoted(target)}")
    else:
        _ask(image, f"dump -p {_quoted(path)} {_quoted(target)}")


def _mode(image: str, path: str) -> int:
    text = _ask(image, f"stat {_quoted(path)}").decode(errors="replace")
    for kind, bits in (("directory", stat.S_IFDIR), ("regular", stat.S_IFREG)):
        if f"Type: {kind}" in text:
            return bits
    raise ConfigError(
        f"{path!r} is neither file nor directory", "export the directory that it is in"
    )


def check_volume(path: str, writable: bool) -> None:
    """ConfigError: there is no volume that we mount, and why."""
    from services.fs.ext4.damage import Refused
    from services.fs.ext4.device import SECTOR_BYTES, FileDevice
    from services.fs.ext4.layout import SUPER_BYTES, SUPER_OFFSET
    from services.fs.ext4.volume import Volume

    with contextlib.closing(FileDevice(path, read_only=True)) as device:
        try:
            count = SUPER_BYTES // SECTOR_BYTES
            enough = device.sectors >= 2 * count
            raw = device.read(SUPER_OFFSET // SECTOR_BYTES, count) if enough else b""
            Volume(raw, device.sectors * SECTOR_BYTES, replay=writable)
        except Refused as refused:
            raise ConfigError(f"image {path}: {refused}", "see: hardtack image check") from None
