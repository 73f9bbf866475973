"""The files of /etc that say who the guest is and whom it asks for names, as Docker writes them.

They are put into memory over the root, so the host's are not touched; a root that is written
through to the host (`--root DIR:rw`) keeps its own, and a user's `--bind` over one covers it.
What the root's own files say beside is kept: `search` and `options` of resolv.conf(5), and all
of hosts(5).
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from services.fs.service import BootFile

if TYPE_CHECKING:
    from boot.config import Config
    from services.drivers.nic.api import Card

KEPT_WORDS = frozenset(("search", "domain", "options"))
LOCAL_ADDRESS = "127.0.1.1"
"""What names a host without a network (hosts(5), as Debian has it)."""
LOCALHOST = ("127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback")
MAX_BYTES = 1 << 16
"""No more of the root's own files is looked at."""


def shown(address: bytes) -> str:
    """An address of either family as text."""
    family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
    return socket.inet_ntop(family, address)


def resolv_conf(before: str, servers: tuple[bytes, ...]) -> str:
    """resolv.conf(5) that asks `servers`; the search list and options are as they were."""
    kept = [line for line in before.splitlines() if (line.split() or [""])[0] in KEPT_WORDS]
    return "".join(line + "\n" for line in (*kept, *(f"nameserver {shown(s)}" for s in servers)))


def hosts(before: str, hostname: str, address: str) -> str:
    """hosts(5) with lines for localhost and for the guest itself, unless it names them already."""
    rows = [line.partition("#")[0].split() for line in before.splitlines()]
    named = {name for row in rows for name in row[1:]}
    lines = [] if "localhost" in named else list(LOCALHOST)
    if hostname not in named:
        lines.append(f"{address}\t{hostname}")
    end = "" if before.endswith("\n") or not before else "\n"
    return before + end + "".join(line + "\n" for line in lines)


def _own(root: str, name: str) -> str:
    """The root's own file, as far as it is one: a link may lead out of the root."""
    path = os.path.join(root, "etc", name)
    try:
        if os.path.islink(path):
            return ""
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read(MAX_BYTES)
    except OSError:
        return ""


def boot_files(config: Config, card: Card | None) -> tuple[BootFile, ...]:
    """What is written at boot; `card` is what the network suggests, None if there is no card.

    Into an image only what it has not got: it keeps what is written.
    """
    image = config.image is not None and config.image.guest == "/"
    if config.root_writable and not image:
        return ()
    root = os.devnull if image else config.root
    suggested = card.addresses if card is not None else ()
    address = next((shown(a.address) for a in suggested if len(a.address) == 4), LOCAL_ADDRESS)
    texts = {
        "hostname": config.hostname + "\n",
        "hosts": hosts(_own(root, "hosts"), config.hostname, address),
    }
    if card is not None and card.name_servers:
        texts["resolv.conf"] = resolv_conf(_own(root, "resolv.conf"), card.name_servers)
    return tuple(
        BootFile(
            b"/etc/" + name.encode(),
            text.encode("utf-8", "surrogateescape"),
            only_missing=image,
        )
        for name, text in texts.items()
    )
