"""A root directory made of Debian packages and all that they depend on.

Packages are chosen and fetched by the host's apt-get against an empty list of installed packages,
so the host's archive, keys and architecture hold. They are unpacked, not configured: no maintainer
script runs, since most of them want a running system of their own. What the scripts of base-files
and base-passwd would have made is made here: the links of a merged /usr, users and groups, /tmp.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from boot.config import ConfigError
from boot.image import tools

if TYPE_CHECKING:
    from pathlib import Path

MERGED = ("bin", "sbin", "lib", "lib64")
DIRECTORIES = {
    "etc": 0o755,
    "root": 0o700,
    "home": 0o755,
    "proc": 0o555,
    "sys": 0o555,
    "dev": 0o755,
    "run": 0o755,
    "tmp": 0o1777,
    "var/tmp": 0o1777,
}
USERS = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"
GROUPS = "root:x:0:\nnogroup:x:65534:\n"


def fetch(packages: list[str], place: Path) -> list[Path]:
    """The archives of packages and of what they depend on. ConfigError: there is no such set."""
    (place / "partial").mkdir(parents=True)
    status = place / "status"
    status.touch()
    settings = (
        f"Dir::State::Status={status}",
        f"Dir::Cache::Archives={place}",
        "Debug::NoLocking=true",
        "APT::Sandbox::User=root",
        "APT::Install-Recommends=false",
    )
    options = [word for setting in settings for word in ("-o", setting)]
    tools.run(["apt-get", *options, "-qq", "-y", "--download-only", "install", "--", *packages])
    found = sorted(place.glob("*.deb"))
    if not found:
        raise ConfigError("apt-get fetched nothing", "is apt's list of packages up to date?")
    return found


def unpack(archives: list[Path], tree: Path) -> None:
    """Their content below `tree`, over a merged /usr."""
    for name in MERGED:
        (tree / "usr" / name).mkdir(parents=True, exist_ok=True)
        if not (tree / name).is_symlink():
            (tree / name).symlink_to(f"usr/{name}")
    dpkg, tar = tools.find("dpkg-deb"), tools.find("tar")
    if dpkg is None or tar is None:
        raise ConfigError("dpkg-deb and tar are needed", "install dpkg and tar")
    for archive in archives:
        with subprocess.Popen(
            [dpkg, "--fsys-tarfile", archive], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as source:
            done = subprocess.run(
                [tar, "-x", "-p", "--keep-directory-symlink", "-C", tree],
                stdin=source.stdout,
                capture_output=True,
                check=False,
            )
        if done.returncode or source.returncode:
            said = done.stderr.decode(errors="replace").strip() or "it is damaged"
            raise ConfigError(f"cannot unpack {archive.name}", said)


def complete(tree: Path) -> None:
    """What no package brings."""
    for name, mode in DIRECTORIES.items():
        (tree / name).mkdir(parents=True, exist_ok=True)
        (tree / name).chmod(mode)
    for name, content in (("passwd", USERS), ("group", GROUPS)):
        master = tree / "usr/share/base-passwd" / f"{name}.master"
        target = tree / "etc" / name
        if not target.exists():
            target.write_text(master.read_text() if master.exists() else content)
    if not os.path.lexists(tree / "usr/bin/sh"):
        for shell in ("dash", "bash", "busybox"):
            if (tree / "usr/bin" / shell).exists():
                (tree / "usr/bin/sh").symlink_to(shell)
                break


def build(packages: list[str], place: Path) -> Path:
    """The root directory, below `place`."""
    tree = place / "tree"
    tree.mkdir()
    archives = fetch(packages, place / "archives")
    unpack(archives, tree)
    complete(tree)
    shutil.rmtree(place / "archives")
    return tree
