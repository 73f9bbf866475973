"""A volume mounted without a kernel, by paths, for tests."""

from __future__ import annotations

import stat
import subprocess
from errno import ENOENT
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.fs.ext4 import content, directory, mapping, operations
from services.fs.ext4.lookup import find
from services.fs.ext4.session import Direct

if TYPE_CHECKING:
    from pathlib import Path

    from services.fs.ext4.device import BlockDevice
    from services.fs.ext4.inode import Inode

ROOT = 2
START_NS = 1_800_000_000 * 10**9


def e2fsck(image: Path | str) -> str:
    """What e2fsck -fn has to say against an image; nothing if it is sound."""
    done = subprocess.run(["e2fsck", "-fn", str(image)], capture_output=True, check=False)
    return "" if not done.returncode else (done.stdout + done.stderr).decode(errors="replace")


class Mounted:
    """System calls by path, as root; each one is one operation of the core's."""

    held = False
    """Whether what loses its last name is an orphan first, as if somebody had it open."""

    def __init__(self, device: BlockDevice) -> None:
        self._now = START_NS
        self.direct = Direct(device, self.now)
        self.volume = self.direct.volume

    def now(self) -> int:
        """A clock that goes on whenever it is looked at."""
        self._now += 1_000_001
        return self._now

    # ── looking ─────────────────────────────────────────────────────────────────────────────

    def number(self, path: str) -> int:
        """The inode at a path; ENOENT."""
        number = ROOT
        for name in path.encode().split(b"/"):
            if name:
                found = self.direct.look(
                    lambda at=number, n=name: find(self.volume, self.volume.inode(at), n)  # type: ignore[misc]
                )
                if found is None:
                    raise PosixError(ENOENT)
                number = found[0].inode
        return number

    def inode(self, path: str) -> Inode:
        """The inode itself."""
        number = self.number(path)
        return self.direct.look(lambda: self.volume.inode(number))

    def place(self, path: str) -> tuple[int, bytes]:
        """The directory of a path, and the name in it."""
        above, _, name = path.rpartition("/")
        return self.number(above), name.encode()

    def names(self, path: str) -> list[str]:
        """All names in a directory, as they come."""
        inode, found = self.inode(path), []
        for place in self.direct.look(lambda: directory.places(self.volume, inode)):
            entries = self.direct.look(
                lambda at=place: directory.names_in(self.volume, inode, at)  # type: ignore[misc]
            )
            found += [one.name.decode() for one in entries if one.name not in (b".", b"..")]
        return found

    def content(self, path: str) -> bytes:
        """All of a file, or where a symbolic link points."""
        inode, size = self.inode(path), self.volume.block_bytes
        short = inode.short_target
        if short is not None:
            return short
        found = bytearray(-(-inode.size // size) * size)
        runs = self.direct.look(lambda: mapping.runs(self.volume, inode, 0, len(found) // size))
        for run in runs:
            for at in range(0 if run.unwritten else run.count):
                block = self.direct.look(
                    lambda n=run.physical + at: self.volume.cache.content(n)  # type: ignore[misc]
                )
                start = (run.logical + at) * size
                found[start : start + size] = block
        return bytes(found[: inode.size])

    # ── changing ────────────────────────────────────────────────────────────────────────────

    def make(self, path: str, mode: int, *, target: bytes = b"", rdev: int = 0) -> int:
        """Any kind of file."""
        parent, name = self.place(path)
        return self.direct.change(
            lambda: operations.make(
                self.volume, parent, name, mode, (0, 0), self.now(), target=target, rdev=rdev
            )
        )

    def mkdir(self, path: str) -> None:
        """mkdir(2)."""
        self.make(path, 0o40755)

    def create(self, path: str) -> None:
        """open(2) with O_CREAT and O_EXCL."""
        self.make(path, 0o100644)

    def symlink(self, path: str, target: bytes) -> None:
        """symlink(2)."""
        self.make(path, 0o120777, target=target)

    def link(self, old: str, new: str) -> None:
        """link(2)."""
        number, (parent, name) = self.number(old), self.place(new)
        self.direct.change(lambda: operations.link(self.volume, number, parent, name, self.now()))

    def unlink(self, path: str) -> None:
        """unlink(2) of what nobody has open."""
        parent, name = self.place(path)
        number = self.direct.change(
            lambda: operations.remove(self.volume, parent, name, self.now(), held=self.held)
        )
        self._evict(number)

    rmdir = unlink

    def _evict(self, number: int) -> None:
        if number in self.volume.orphans:
            while not self.direct.change(lambda: operations.evict(self.volume, number, self.now())):
                pass

    def rename(self, old: str, new: str, *, exchange: bool = False) -> None:
        """rename(2)."""
        source, goal = self.place(old), self.place(new)
        self.direct.change(
            lambda: operations.rename(
                self.volume, source, goal, self.now(), exchange=exchange, held=self.held
            )
        )
        for number in list(self.volume.orphans):
            self._evict(number)

    def write(self, path: str, offset: int, data: bytes) -> int:
        """pwrite(2)."""
        number = self.number(path)
        return self.direct.change(
            lambda: content.write(self.volume, number, offset, data, self.now())
        )

    def truncate(self, path: str, length: int) -> None:
        """truncate(2)."""
        number = self.number(path)
        self.direct.change(lambda: content.truncate(self.volume, number, length, self.now()))

    def allocate(self, path: str, mode: int, offset: int, length: int) -> None:
        """fallocate(2)."""
        number = self.number(path)
        self.direct.change(
            lambda: content.allocate(self.volume, number, mode, offset, length, self.now())
        )

    def set_xattr(self, path: str, name: bytes, value: bytes | None) -> None:
        """setxattr(2), removexattr(2)."""
        number = self.number(path)
        self.direct.change(
            lambda: operations.set_xattr(self.volume, number, name, value, self.now())
        )

    def fsync(self, path: str) -> None:
        """fsync(2)."""
        self.sync()

    def sync(self) -> None:
        """sync(2)."""
        self.direct.sync()

    def unmount(self) -> None:
        """umount(2)."""
        self.direct.unmount()

    def tree(self) -> dict[str, tuple[str, bytes, int]]:
        """All that is in it but lost+found: kind, content, and which names are one file."""
        found: dict[str, tuple[str, bytes, int]] = {}
        numbers: dict[int, int] = {}
        paths, todo = list[str](), [""]
        while todo:
            above = todo.pop()
            for name in self.names(above or "/"):
                path = f"{above}/{name}"
                if path == "/lost+found":
                    continue
                paths.append(path)
                if self.inode(path).is_directory:
                    todo.append(path)
        for path in sorted(paths):
            inode = self.inode(path)
            number = numbers.setdefault(inode.number, len(numbers))
            if inode.is_directory:
                found[path] = ("d", b"", number)
            else:
                kind = "l" if stat.S_ISLNK(inode.mode) else "f"
                found[path] = (kind, self.content(path), number)
        return found
