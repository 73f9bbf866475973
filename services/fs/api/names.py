"""Changing the tree of names."""

from __future__ import annotations

from errno import EBUSY, EEXIST, EINVAL, EISDIR, EMLINK, ENOTEMPTY, EXDEV

from bus.message import Request, request
from services.fs.api.common import CHANGE_ERRORS, At, Cred, Foreign


@request("fs", errors=(*CHANGE_ERRORS, EEXIST))
class MakeDir(Request[None | Foreign]):
    """mkdir(2); the umask is already taken off."""

    at: At
    path: bytes
    mode: int
    cred: Cred


@request("fs", errors=(*CHANGE_ERRORS, EEXIST, EINVAL))
class MakeNode(Request[None | Foreign]):
    """mknod(2): FIFO, socket, device or regular file, by the type bits of `mode`."""

    at: At
    path: bytes
    mode: int
    rdev: int
    cred: Cred


@request("fs", errors=(*CHANGE_ERRORS, EEXIST))
class Symlink(Request[None | Foreign]):
    """symlink(2): `path` will read as `target`."""

    at: At
    path: bytes
    target: bytes
    cred: Cred


@request("fs", errors=(*CHANGE_ERRORS, EEXIST, EXDEV, EMLINK))
class Link(Request[None | Foreign]):
    """link(2): a second name for `node` (already resolved)."""

    node: int
    at: At
    path: bytes
    cred: Cred


@request("fs", errors=(*CHANGE_ERRORS, EBUSY, EISDIR, ENOTEMPTY, EINVAL))
class Unlink(Request[None | Foreign]):
    """unlink(2), or rmdir(2) where `directory`."""

    at: At
    path: bytes
    directory: bool
    cred: Cred


@request("fs", errors=(*CHANGE_ERRORS, EBUSY, EEXIST, EINVAL, EISDIR, ENOTEMPTY, EXDEV, EMLINK))
class Rename(Request[None | Foreign]):
    """renameat2(2): flags NOREPLACE=1, EXCHANGE=2."""

    old_at: At
    old_path: bytes
    new_at: At
    new_path: bytes
    flags: int
    cred: Cred
