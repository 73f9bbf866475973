"""Path arguments: where they start, and paths that fs does not serve (/proc)."""

from __future__ import annotations

from errno import ENAMETOOLONG, ENOENT
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.fs.api import At
from services.proc.abi import AT_FDCWD, PATH_MAX, s32

if TYPE_CHECKING:
    from services.proc.task import Thread


async def path_at(t: Thread, vaddr: int, empty: bool = False) -> bytes:
    """A path argument: EFAULT, ENAMETOOLONG, and ENOENT for "" unless `empty` allows it."""
    path = await t.space.cstr(vaddr, PATH_MAX)
    if path is None:
        raise PosixError(ENAMETOOLONG)
    if not path and not empty:
        raise PosixError(ENOENT)
    return path


def base(t: Thread, dirfd: int, path: bytes) -> At:
    """Where `path` starts for an *at call; EBADF, ENOTDIR."""
    directories = t.process.directories
    assert directories is not None
    number = s32(dirfd)
    if number == AT_FDCWD or path[:1] == b"/":
        return directories.at
    return At(directories.root, t.file(number).directory())
