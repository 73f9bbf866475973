"""What is mounted when the kernel boots: --root, the system's own trees, shared memory, --bind.

The host's tree is never written: all that the guest changes stays in a memory overlay and is gone
with the kernel, unless the user says `--root DIR:rw`. A bind is read-only (EROFS) unless it says
`:rw`, as with Docker: somebody who binds a directory expects writes to arrive or to be refused.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from services.fs.service import SYSTEM_MOUNTS, MountSpec

if TYPE_CHECKING:
    from boot.config import Config


def root_mount(config: Config) -> MountSpec:
    """The guest's /: a directory of the host, under a memory overlay unless it is writable."""
    image = _image_mount(config)
    if image is not None and image.target == b"/":
        return image
    options = "rw" if config.root_writable else ""
    return MountSpec(b"/", "hosttree", os.fsencode(config.root), options)


def _image_mount(config: Config) -> MountSpec | None:
    image = config.image
    if image is None:
        return None
    source = os.fsencode(image.path)
    options = "sync" if image.sync else ""
    guest = os.fsencode(image.guest)
    return MountSpec(guest, "ext4", source, options, read_only=not image.writable)


def boot_mounts(config: Config) -> tuple[MountSpec, ...]:
    """Everything above the root, in the order of mounting."""
    binds = [
        MountSpec(
            os.fsencode(bind.guest),
            "hosttree",
            os.fsencode(bind.host),
            "rw" if bind.writable else "",
            read_only=not bind.writable,
        )
        for bind in config.binds
    ]
    image = _image_mount(config)
    disks = [image] if image is not None and image.target != b"/" else []
    return (*SYSTEM_MOUNTS, MountSpec(b"/dev/shm", options="mode=1777"), *disks, *binds)
