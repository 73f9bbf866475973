"""Mounts, what a file system says of itself, and what the caches hold."""

from __future__ import annotations

from errno import EBUSY, EINVAL, EIO, ENODEV, EPERM

import attrs

from bus.message import Request, request
from services.fs.api.common import WALK_ERRORS, At, Cred


@attrs.frozen
class StatFsReply:
    """statfs(2); sizes in blocks of `block_bytes`."""

    kind: int
    block_bytes: int
    blocks: int
    free: int
    available: int
    files: int
    files_free: int
    fsid: int
    name_max: int
    flags: int


@request("fs", errors=(EIO,), idempotent=True)
class StatFs(Request[StatFsReply]):
    """The file system that a node is on."""

    node: int


@attrs.frozen
class MountInfo:
    """One line of /proc/mounts."""

    id: int
    parent: int
    source: bytes
    target: bytes
    kind: str
    options: str
    dev: int


@request("fs", errors=(*WALK_ERRORS, EBUSY, EPERM, EINVAL, ENODEV))
class Mount(Request[None]):
    """mount(2). `kind`: tmpfs, hosttree (source: a host path), foreign (options: the name).

    Changes to a hosttree stay in memory, unless `rw` is among the options: then they go to the
    host. `read_only` forbids changes. Host trees need a source that boot allowed (EPERM).
    """

    at: At
    source: bytes
    target: bytes
    kind: str
    options: str
    read_only: bool
    cred: Cred


@request("fs", errors=(*WALK_ERRORS, EBUSY, EPERM, EINVAL))
class Unmount(Request[None]):
    """umount(2)."""

    at: At
    target: bytes
    cred: Cred


@request("fs", idempotent=True)
class Mounts(Request[tuple[MountInfo, ...]]):
    """All mounts, in order of mounting."""


@attrs.frozen
class CacheCounts:
    """What the caches hold, in pages and entries, and how often they were hit."""

    pages: int
    dirty_pages: int
    nodes: int
    names: int
    name_hits: int
    name_misses: int
    in_use: int = 0
    """Nodes that somebody outside fs holds a reference to."""


@request("fs", idempotent=True)
class Caches(Request[CacheCounts]):
    """For /proc/meminfo and the metrics page."""


@request("fs")
class EvictNames(Request[int]):
    """Forget up to `count` names that can be asked for again; replies with how many went."""

    count: int


@request("fs")
class EvictPages(Request[int]):
    """Give up to `count` clean pages back to vm, and frames that are not in use.

    Pages that a mapping holds are taken from it only where there are no others.

    Replies with how many frames went; 0 means that nothing more can be given.
    """

    count: int
