"""Where control sockets are: a directory of the user's own, one socket for each kernel, by name.

The directory is `$XDG_RUNTIME_DIR/hardtack`, or `/run/user/UID/hardtack`, or `/tmp/hardtack-UID`;
it must be its user's alone. A kernel without `--name` is called after its pid. A socket that
nobody listens at is what a killed kernel left, and is taken away by who finds it.
"""

from __future__ import annotations

import os
import re
import socket
import stat
import tempfile
from pathlib import Path

from boot.control.wire import ControlError

SUFFIX = ".sock"
MAX_PATH_BYTES = 107
"""What fits into sun_path (unix(7))."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")


def check_name(name: str) -> str:
    """A kernel's name, or ControlError."""
    if not _NAME.fullmatch(name):
        raise ControlError(
            f"name {name!r} is none (1 to 32 letters, digits, '.', '-' and '_': --name web)"
        )
    return name


def _base() -> Path:
    uid = os.geteuid()
    for candidate in (os.environ.get("XDG_RUNTIME_DIR"), f"/run/user/{uid}"):
        if candidate:
            try:
                found = os.stat(candidate)
            except OSError:
                continue
            if stat.S_ISDIR(found.st_mode) and found.st_uid == uid:
                return Path(candidate, "hardtack")
    return Path(tempfile.gettempdir(), f"hardtack-{uid}")


def directory() -> Path:
    """The directory of sockets, made where it is missing. ControlError: it is not ours alone."""
    path = _base()
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise ControlError(
            f"control: {path} cannot be made: {error.strerror} (say --control PATH, or none)"
        ) from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise ControlError(
            f"control: {path} is not this user's alone (remove it, or say --control PATH)"
        )
    return path


def path_of(name: str) -> Path:
    """The socket of the kernel of that name."""
    return directory() / (check_name(name) + SUFFIX)


def connect(path: str | os.PathLike[str]) -> socket.socket:
    """A connection to the kernel at a socket; OSError."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(os.fspath(path))
    except BaseException:
        connection.close()
        raise
    return connection


def is_alive(path: Path) -> bool:
    """Whether somebody listens there; a socket that nobody does is removed."""
    try:
        connect(path).close()
    except ConnectionRefusedError:
        path.unlink(missing_ok=True)
        return False
    except OSError:
        return False
    return True


def running() -> dict[str, Path]:
    """The kernels of this user that answer, by name."""
    found = sorted(directory().glob("*" + SUFFIX))
    return {path.name.removesuffix(SUFFIX): path for path in found if is_alive(path)}


def find(name: str | None) -> Path:
    """The socket of one kernel: by name, or the only one there is. ControlError."""
    kernels = running()
    if name is not None:
        if name in kernels:
            return kernels[name]
        there = f"running: {', '.join(kernels)}" if kernels else "none runs"
        raise ControlError(f"no kernel is called {name!r} ({there})")
    if not kernels:
        raise ControlError("no kernel of yours runs (boot one: hardtack run -- PROGRAM)")
    if len(kernels) > 1:
        raise ControlError(
            f"{len(kernels)} kernels of yours run: {', '.join(kernels)} (choose one with -n NAME)"
        )
    return next(iter(kernels.values()))


def listen(path: Path) -> socket.socket:
    """A listening socket at `path`, mode 0600. ControlError: it cannot be."""
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise ControlError(f"control: {path} is longer than {MAX_PATH_BYTES} bytes (unix(7))")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        try:
            listener.bind(os.fspath(path))
        except OSError:
            if not path.is_socket() or is_alive(path):
                raise
            listener.bind(os.fspath(path))
        listener.listen(16)
    except OSError as error:
        listener.close()
        taken = path.is_socket()
        reason = "a kernel has this name already" if taken else error.strerror
        raise ControlError(
            f"control: {path}: {reason} (choose another: --name, --control)"
        ) from None
    finally:
        os.umask(before)
    return listener
