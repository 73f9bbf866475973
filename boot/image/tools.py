"""Programs of the host that images need, run so that what they complain of is told."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from boot.config import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PACKAGES = {
    "mke2fs": "e2fsprogs",
    "e2fsck": "e2fsprogs",
    "debugfs": "e2fsprogs",
    "dpkg-deb": "dpkg",
    "apt-get": "apt",
    "tar": "tar",
}
SYSTEM_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"


def find(program: str) -> str | None:
    """Where a program is, also for users whose PATH has no sbin."""
    return shutil.which(program) or shutil.which(program, path=SYSTEM_PATH)


def run(
    words: Sequence[str], settings: Mapping[str, str] | None = None, allowed: tuple[int, ...] = (0,)
) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end. ConfigError: it is missing, or left with another status."""
    program = find(words[0])
    if program is None:
        raise ConfigError(
            f"{words[0]} is not installed", f"install {PACKAGES.get(words[0], words[0])}"
        )
    done = subprocess.run(
        [program, *words[1:]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        env={**os.environ, "LC_ALL": "C", **(settings or {})},
    )
    if done.returncode not in allowed:
        lines = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        said = next((line for line in reversed(lines) if line.strip()), "it said nothing")
        raise ConfigError(f"{words[0]} left with status {done.returncode}", said.strip())
    return done
