"""Path arguments: where they start, and paths that fs does not serve (/proc).

fs answers `Foreign` for a path that enters /proc; proc's own tree goes on from there, and may
send the walk back (`Redirect`: "..", or a magic link in the middle). A directory descriptor or
current directory inside /proc has no fs node: `base` then gives a `Within`, whose base is the root,
and `settle` makes the path absolute before fs is asked.
"""

from __future__ import annotations

from errno import ELOOP, ENAMETOOLONG, ENOENT
from typing import TYPE_CHECKING, TypeVar

import attrs

from bus.errors import PosixError
from services.fs.api import At, Foreign
from services.proc.abi import AT_FDCWD, PATH_MAX, s32

if TYPE_CHECKING:
    from collections.abc import Callable

    from bus.message import Request
    from services.proc.task import Thread

R = TypeVar("R")
MAX_REDIRECTS = 40


@attrs.frozen
class Within(At):
    """A base inside /proc: `prefix` is where."""

    prefix: bytes = b""


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
        if directories.cwd_foreign is None:
            return directories.at
        within = directories.cwd_foreign
    else:
        file = t.file(number)
        relative = getattr(file, "relative", None)
        if relative is None:
            return At(directories.root, file.directory())
        within = relative(b"").rest
    return Within(directories.root, directories.root, b"/proc/" + within)


def settle(at: At, path: bytes) -> tuple[At, bytes]:
    """Where fs can start, and the path from there."""
    if type(at) is not Within:
        return at, path
    return At(at.root, at.root), path if path[:1] == b"/" else at.prefix + b"/" + path


async def walk(t: Thread, at: At, path: bytes, make: Callable[[At, bytes], Request[R]]) -> R:
    """Ask fs with the request that `make` builds, following the walk back out of /proc."""
    at, path = settle(at, path)
    for _ in range(MAX_REDIRECTS):
        reply = await t.kernel.fs.call(make(at, path))
        if type(reply) is not Foreign:
            return reply
        procfs = t.kernel.extra["procfs"]
        redirect = await procfs.leaves(t, reply)
        if redirect is None:
            return reply
        at, path = redirect.at, redirect.path
    raise PosixError(ELOOP)
