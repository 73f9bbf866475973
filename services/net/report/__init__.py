"""The texts of /proc/net (proc(5)), in the columns that netstat, ss and others parse."""

from __future__ import annotations

from errno import EINVAL
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.net.report import counters, links, routes, sockets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from services.net.socket.network import Network

MAKERS: dict[str, Callable[[Network], Iterable[str]]] = {
    **counters.MAKERS,
    **links.MAKERS,
    **routes.MAKERS,
    **sockets.MAKERS,
}


def text(network: Network, name: str) -> bytes:
    """/proc/net/`name`; EINVAL for one that is not here."""
    maker = MAKERS.get(name)
    if maker is None:
        raise PosixError(EINVAL)
    return "".join(line + "\n" for line in maker(network)).encode()
