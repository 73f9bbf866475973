"""/proc/net (proc(5)): net makes the texts, but for UNIX sockets, which are proc's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.net.api import REPORTS, Report
from services.proc.files.unix.listing import listing
from services.proc.files.unix.registry import registry_of
from services.proc.procfs.entry import Text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.proc.procfs.entry import Entry, Spot


def _report(name: str) -> Callable[[Spot], Awaitable[bytes]]:
    async def read(spot: Spot) -> bytes:
        return await spot.kernel.net.call(Report(name))

    return read


async def _sockstat(spot: Spot) -> bytes:
    """Net's, with proc's sockets counted in."""
    first, rest = (await spot.kernel.net.call(Report("sockstat"))).split(b"\n", 1)
    name, _, used = first.rpartition(b" ")
    total = int(used) + len(registry_of(spot.kernel).sockets)
    return b"%s %d\n%s" % (name, total, rest)


async def _unix(spot: Spot) -> bytes:
    return listing(spot.kernel)


ENTRIES: tuple[Entry, ...] = (
    *(
        Text(name=name.encode(), mode=0o444, read=_report(name))
        for name in REPORTS
        if name != "sockstat"
    ),
    Text(name=b"sockstat", mode=0o444, read=_sockstat),
    Text(name=b"unix", mode=0o444, read=_unix),
)
