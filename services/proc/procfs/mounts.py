"""mounts and mountinfo of a process: what fs has mounted (proc(5))."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from services.fs.api import Mounts

if TYPE_CHECKING:
    from services.fs.api import MountInfo
    from services.proc.kernel import Kernel
    from services.proc.procfs.entry import Spot

_ESCAPES = {c: f"\\{c:03o}" for c in b" \t\n\\#"}
FOREIGN = "foreign"


def escape(path: bytes) -> str:
    """Blanks, newlines and backslashes as octal."""
    return path.decode("latin-1").translate(_ESCAPES)


def kind_of(mount: MountInfo) -> str:
    """The type's name; what is served here goes by its source (proc)."""
    return mount.source.decode("latin-1") if mount.kind == FOREIGN else mount.kind


async def mounts(spot: Spot) -> bytes:
    """mounts."""
    return "".join(
        f"{escape(m.source or b'none')} {escape(m.target)} {kind_of(m)} {m.options} 0 0\n"
        for m in await spot.kernel.fs.call(Mounts())
    ).encode("latin-1")


async def mountinfo(spot: Spot) -> bytes:
    """mountinfo."""
    return "".join(
        f"{m.id} {m.parent} {os.major(m.dev)}:{os.minor(m.dev)} / {escape(m.target)} "
        f"{m.options.split(',')[0]} - {kind_of(m)} {escape(m.source or b'none')} {m.options}\n"
        for m in await spot.kernel.fs.call(Mounts())
    ).encode("latin-1")


async def mount_of(kernel: Kernel, dev: int) -> int:
    """The number of the mount that a device is mounted as; 0 for what is not mounted."""
    found = [m.id for m in await kernel.fs.call(Mounts()) if m.dev == dev]
    return found[0] if found else 0


async def proc_dev(kernel: Kernel) -> int:
    """st_dev of /proc."""
    found = [m.dev for m in await kernel.fs.call(Mounts()) if m.kind == FOREIGN]
    return found[0] if found else 0
