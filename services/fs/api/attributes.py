"""Attributes, extended ones too."""

from __future__ import annotations

from errno import (
    E2BIG,
    EACCES,
    EEXIST,
    EINVAL,
    EIO,
    ENODATA,
    ENOENT,
    ENOSPC,
    EOPNOTSUPP,
    EPERM,
    ERANGE,
    EROFS,
)

from bus.message import Request, request
from services.fs.api.common import Cred  # noqa: TC001 - the transport resolves them


@request("fs", errors=(EPERM, EACCES, EROFS, EINVAL, EIO, ENOENT, EOPNOTSUPP, ENOSPC))
class SetAttr(Request[None]):
    """chmod, chown, utimensat on a resolved node; None leaves a field as it is.

    With nothing to change it is a chown(2) of (-1, -1), which clears set-id bits too.

    Times in ns, or -1 for now. chown and writes clear set-id bits as inode(7) says. Setting both
    times to now needs write permission only; other times need ownership.
    """

    node: int
    cred: Cred
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None


@request("fs", errors=(ENODATA, ERANGE, EOPNOTSUPP, EPERM, EACCES, EINVAL), idempotent=True)
class GetXattr(Request[bytes]):
    """getxattr(2)."""

    node: int
    name: bytes
    cred: Cred


@request(
    "fs",
    errors=(*(ENODATA, EOPNOTSUPP, EPERM, EACCES, EEXIST, EINVAL, ENOSPC, ERANGE, E2BIG, EROFS),),
)
class SetXattr(Request[None]):
    """setxattr(2): flags CREATE=1, REPLACE=2; `value` None removes it."""

    node: int
    name: bytes
    value: bytes | None
    flags: int
    cred: Cred


@request("fs", idempotent=True)
class ListXattr(Request[tuple[bytes, ...]]):
    """listxattr(2)."""

    node: int
