"""Finding nodes, looking at them, keeping references to them."""

from __future__ import annotations

from errno import (
    EACCES,
    EEXIST,
    EINVAL,
    EIO,
    EISDIR,
    ELOOP,
    ENOENT,
    ENOMEM,
    ENOTDIR,
    ENXIO,
    EOPNOTSUPP,
    EPERM,
    EROFS,
    ETXTBSY,
)

import attrs

from bus.message import Request, request
from services.fs.api.common import CHANGE_ERRORS, WALK_ERRORS, At, Attr, Cred, Foreign, Opened


@request("fs")
class RootNode(Request[int]):
    """The root directory, with one reference."""


@request("fs", errors=(*CHANGE_ERRORS, EEXIST, EISDIR, ENXIO, ETXTBSY, EINVAL, EOPNOTSUPP))
class Open(Request[Opened | Foreign]):
    """openat(2): O_CREAT, O_EXCL, O_TRUNC, O_DIRECTORY, O_NOFOLLOW, O_PATH, O_TMPFILE, access.

    `mode` has the umask already taken off. Truncates only after the permission checks. What was
    not opened with O_PATH is given back by `Close`, not by `Release`.
    """

    at: At
    path: bytes
    flags: int
    mode: int
    cred: Cred


@request("fs", errors=WALK_ERRORS)
class Resolve(Request[Opened | Foreign]):
    """Find a node without opening it (chdir, exec, *at bases). `search` asks for X on a directory.

    `execute` asks for permission to run it: a regular file, an x bit, not a noexec mount.
    """

    at: At
    path: bytes
    cred: Cred
    follow: bool = True
    directory: bool = False
    search: bool = False
    execute: bool = False


@request("fs", errors=WALK_ERRORS, idempotent=True)
class Stat(Request[Attr | Foreign]):
    """stat(2), lstat(2) (`follow` false)."""

    at: At
    path: bytes
    cred: Cred
    follow: bool = True


@request("fs", errors=(EIO,), idempotent=True)
class StatNode(Request[Attr]):
    """fstat(2)."""

    node: int


@request("fs", errors=(*WALK_ERRORS, EROFS, EINVAL), idempotent=True)
class Access(Request[None | Foreign]):
    """faccessat(2): `mode` is R_OK=4 | W_OK=2 | X_OK=1, or 0 for existence."""

    at: At
    path: bytes
    mode: int
    cred: Cred
    follow: bool = True


@request("fs", errors=(*WALK_ERRORS, EINVAL), idempotent=True)
class ReadLink(Request[bytes | Foreign]):
    """readlink(2); an empty path reads the link that `at.base` is (O_PATH | O_NOFOLLOW)."""

    at: At
    path: bytes
    cred: Cred


@attrs.frozen
class DirEntry:
    """One name; `cookie` is where reading goes on after it; `kind` is DT_* of readdir(3)."""

    ino: int
    cookie: int
    kind: int
    name: bytes


@request("fs", errors=(ENOTDIR, EIO, ENOENT, EACCES, ENOMEM), idempotent=True)
class ReadDir(Request[tuple[DirEntry, ...]]):
    """Entries from `cookie` (0: the start, with . and ..), at most `count`; () at the end.

    Cookies stay valid while entries come and go: an entry that is there all the time is seen
    exactly once.
    """

    node: int
    cookie: int
    count: int


@request("fs")
class Retain(Request[None]):
    """One more reference to a node."""

    node: int


@request("fs")
class Release(Request[None]):
    """One reference less; an unlinked node without references is gone."""

    node: int


@request("fs", idempotent=True)
class PathOf(Request[bytes]):
    """Where a node is, as seen from `root` (0: the very top).

    Ends in ' (deleted)' for an unlinked one (proc(5)). A node outside `root` gets
    '(unreachable)' in front, as getcwd(2) has it.
    """

    node: int
    root: int = 0


@request("fs", errors=(EACCES, EROFS, EISDIR, ENOTDIR, ELOOP, ENXIO, EPERM, ETXTBSY, EIO, ENOMEM))
class OpenNode(Request[Opened]):
    """The same for a node, whether it still has a name or not (/proc/PID/fd)."""

    node: int
    flags: int
    cred: Cred


@request("fs")
class Close(Request[None]):
    """The last close(2) of what `Open` opened, for writing or not: one reference less."""

    node: int
    write: bool


@request("fs", errors=(ETXTBSY,))
class DenyWrite(Request[None]):
    """execve(2) runs the program `node`: opening it for writing is ETXTBSY until as many undo it.

    ETXTBSY if it is open for writing. The caller keeps its reference to the node for as long.
    """

    node: int
    deny: bool
