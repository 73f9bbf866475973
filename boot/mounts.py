"""What is mounted when the kernel boots: --root, the system's own trees, scratch space, --bind.

The host's tree is read-only unless the user says `--root DIR:rw`, as a guest that runs as root
would otherwise write to the host with the caller's rights. So that programs find somewhere to
write, the usual scratch directories are then file systems in memory.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from services.fs.service import SYSTEM_MOUNTS, MountSpec

if TYPE_CHECKING:
    from boot.config import Config

SCRATCH = ("/tmp", "/var/tmp", "/run", "/dev/shm")


def root_mount(config: Config) -> MountSpec:
    """The guest's /: a directory of the host."""
    return MountSpec(b"/", "hosttree", os.fsencode(config.root), read_only=not config.root_writable)


def _scratch(config: Config) -> list[MountSpec]:
    if config.root_writable:
        return [MountSpec(b"/dev/shm")]
    return [
        MountSpec(os.fsencode(target), options="mode=1777")
        for target in SCRATCH
        if target.startswith("/dev/") or os.path.isdir(config.root + target)
    ]


def boot_mounts(config: Config) -> tuple[MountSpec, ...]:
    """Everything above the root, in the order of mounting."""
    binds = [
        MountSpec(
            os.fsencode(bind.guest),
            "hosttree",
            os.fsencode(bind.host),
            read_only=not bind.writable,
        )
        for bind in config.binds
    ]
    return (*SYSTEM_MOUNTS, *_scratch(config), *binds)
