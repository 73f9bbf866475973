"""Content of regular files: data, pages for mappings, size, space, nameless files."""

from __future__ import annotations

from errno import (
    EACCES,
    EBUSY,
    EFBIG,
    EINVAL,
    EIO,
    EISDIR,
    ENODEV,
    ENOMEM,
    ENOSPC,
    ENXIO,
    EOPNOTSUPP,
    EPERM,
    EROFS,
    ETXTBSY,
)

import attrs

from bus.message import Request, request
from services.drivers.ram.api import Extent  # noqa: TC001 - the transport resolves it
from services.fs.api.common import Cred, Opened

NOT_CACHED = -1


@request("fs", errors=(EIO, EISDIR, EINVAL, ENOMEM), idempotent=True)
class Read(Request[int]):
    """pread(2) into `extents`; replies with the bytes read, 0 at the end of the file.

    It never waits, as `extents` are only good until other programs run: where a disk has to be
    waited for the reply is NOT_CACHED, and the caller asks again after `Fetch`. `blocking` holds
    everything up instead.
    """

    node: int
    offset: int
    extents: list[Extent]
    blocking: bool = False


@request("fs", errors=(EIO, EISDIR, EINVAL, ENOMEM), idempotent=True)
class Fetch(Request[None]):
    """Bring a range of a file into the page cache, waiting for a disk while others run."""

    node: int
    offset: int
    length_bytes: int


@attrs.frozen
class Written:
    """How many bytes went in, and the offset just behind them."""

    count: int
    end: int


@request("fs", errors=(EIO, EFBIG, ENOSPC, EINVAL, EPERM, ENOMEM))
class Write(Request[Written]):
    """pwrite(2) from `extents` at `offset`, or at the end where it is APPEND.

    A count of NOT_CACHED, with nothing written, means the same as for `Read`: the pages that the
    range begins and ends in must be fetched first.
    """

    node: int
    offset: int
    extents: list[Extent]
    cred: Cred
    limit_bytes: int | None = None
    """RLIMIT_FSIZE: shorten a write that crosses it, EFBIG for one that starts behind it."""
    blocking: bool = False


@request("fs", errors=(EIO, EISDIR, EINVAL, ENOMEM), idempotent=True)
class ReadBytes(Request[bytes]):
    """The kernel's own small reads (ELF headers, #! lines)."""

    node: int
    offset: int
    length_bytes: int


@request("fs", errors=(EIO, EFBIG, ENOSPC, EINVAL, EPERM, ENOMEM))
class WriteBytes(Request[Written]):
    """The kernel's own small writes (core dumps, configuration at boot)."""

    node: int
    offset: int
    data: bytes


@request("fs", errors=(EIO, ENOMEM, EINVAL))
class Pages(Request[tuple[int, ...]]):
    """Frames of the pages `first` … `first + count - 1` for a mapping, shorter at end of file.

    Where `for_write`, holes are filled and the pages are kept as dirty. fs keeps its own
    reference to each frame; the mapping adds its own, before anything else runs. Waits for a disk
    only where `may_wait`: others run meanwhile.
    """

    node: int
    first: int
    count: int
    for_write: bool
    may_wait: bool = False


@request("fs", errors=(EINVAL, EISDIR, EPERM, EACCES, EROFS, EFBIG, EIO, ENOSPC, ETXTBSY))
class Truncate(Request[None]):
    """ftruncate(2) on a resolved node."""

    node: int
    length_bytes: int
    cred: Cred


@request("fs", errors=(EINVAL, ENOSPC, EOPNOTSUPP, EFBIG, EIO, EISDIR, ENODEV, ENOMEM, EPERM))
class Allocate(Request[None]):
    """fallocate(2): default, KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE, COLLAPSE where cheap."""

    node: int
    mode: int
    offset: int
    length_bytes: int
    cred: Cred | None = None
    """Whose call it is, for set-id bits; None: the kernel's own."""


@request("fs", errors=(ENXIO, EINVAL), idempotent=True)
class SeekData(Request[int]):
    """lseek(2) with SEEK_DATA (`hole` false) or SEEK_HOLE."""

    node: int
    offset: int
    hole: bool


@request("fs", errors=(EIO, EINVAL))
class Sync(Request[None]):
    """fsync(2); fdatasync(2) where `data_only`; the whole system where `node` is None."""

    node: int | None
    data_only: bool = False


@request("fs", errors=(ENOMEM,))
class MemFile(Request[Opened]):
    """A nameless file in memory: memfd_create(2), shared anonymous memory."""

    name: bytes
    size: int
    cred: Cred
    seals: bool = False


@request("fs", errors=(EPERM, EINVAL, EBUSY))
class Seals(Request[int]):
    """fcntl(2) F_ADD_SEALS with `add`; replies with the seals in force."""

    node: int
    add: int = 0
