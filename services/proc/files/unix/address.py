"""What a struct sockaddr_un says (unix(7)): a path, an abstract name, or nothing. Pure."""

from __future__ import annotations

from errno import EINVAL

from bus.errors import PosixError
from services.proc.files.socket import AF_UNIX

FAMILY_BYTES, PATH_BYTES = 2, 108
FAMILY = AF_UNIX.to_bytes(FAMILY_BYTES, "little")
NO_NAME = FAMILY
"""The name of a socket that has none."""
AUTO_NAMES = 1 << 20
"""Autobind chooses among five hexadecimal digits."""


def family(name: bytes) -> int:
    """The sa_family; -1 if there is not even that."""
    return int.from_bytes(name[:FAMILY_BYTES], "little") if len(name) >= FAMILY_BYTES else -1


def check(name: bytes) -> None:
    """EINVAL unless it names something: AF_UNIX, and one to 108 bytes."""
    if not 0 < len(name) - FAMILY_BYTES <= PATH_BYTES or name[:FAMILY_BYTES] != FAMILY:
        raise PosixError(EINVAL)


def asks_for_any(name: bytes) -> bool:
    """bind(2) with a family alone: choose a name (autobind)."""
    return name == FAMILY


def path_of(name: bytes) -> bytes:
    """The path, up to its first NUL; b"" for an abstract name."""
    return name[FAMILY_BYTES:].partition(b"\0")[0]


def path_name(path: bytes) -> bytes:
    """The name of a socket at `path`, as getsockname(2) tells it: with a NUL at the end."""
    return FAMILY + path + b"\0"


def auto_name(number: int) -> bytes:
    """The abstract name that autobind gives."""
    return FAMILY + b"\0%05x" % number


def shown(name: bytes) -> bytes:
    """As /proc/net/unix shows a name: @ for each NUL, and none for the one behind a path."""
    text = name[FAMILY_BYTES:]
    if text[:1] != b"\0":
        text = text[:-1]
    return text.replace(b"\0", b"@")
