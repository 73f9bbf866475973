"""What the file system may ask of the disk.

Everything is counted in sectors of 512 bytes. Commands run side by side, at most `QUEUE_DEPTH` on
the host at a time, and end in any order; those that touch the same sectors keep the order in which
they were asked for. When `Write` is answered all its pieces are taken, but durable only after a
`Flush` that was asked for later (or, for a piece with `fua`, at once); `Flush` is fdatasync(2).

What is to be written is taken as it is when it is asked for. A `Read` into RAM that was cancelled
touches RAM no more.

EIO: it failed, and the sectors are old, new or unreadable; also sectors that the disk has not got,
and a command whose deadline passed in every attempt. ENOSPC: the image cannot grow on its host.
EROFS: the disk is read-only.
"""

from __future__ import annotations

from errno import EINVAL, EIO, ENOSPC, EROFS

import attrs

from bus.message import Request, request
from services.drivers.ram.api import Extent

SECTOR_BYTES = 512
SECTOR_SHIFT = 9
QUEUE_DEPTH = 32
"""How many transfers the disk has in hand at a time."""

Run = tuple[int, tuple[Extent, ...]]
"""From this sector on, as much as the extents take: whole sectors each."""
Piece = tuple[int, bytes, bool]
"""The sector, whole sectors of content, and whether it must be durable when answered (FUA)."""


@attrs.frozen
class Geometry:
    """What the disk is."""

    sectors: int
    read_only: bool
    name: str
    """The image, for people."""


@request("disk", idempotent=True)
class Describe(Request[Geometry]):
    """What the disk is."""


@request("disk", errors=(EIO, EINVAL), idempotent=True)
class Read(Request[None]):
    """Read into RAM. EINVAL: an extent that is not of whole sectors, or not in RAM."""

    runs: tuple[Run, ...]


@request("disk", errors=(EIO,), idempotent=True)
class ReadSectors(Request[bytes]):
    """The content of `count` sectors from `sector`."""

    sector: int
    count: int


@request("disk", errors=(EIO, ENOSPC, EROFS, EINVAL), idempotent=True)
class Write(Request[None]):
    """Write all pieces, in any order; the first failure is raised once all have ended."""

    pieces: tuple[Piece, ...]


@request("disk", errors=(EIO, ENOSPC), idempotent=True)
class Flush(Request[None]):
    """Make durable what was answered before this was asked for."""


@request("disk", errors=(EIO, EROFS), idempotent=True)
class Discard(Request[None]):
    """The content of these sectors is of no interest any more: a hint, which may fail silently."""

    sector: int
    count: int
