"""AF_UNIX: stream, datagram and sequenced-packet sockets (unix(7), net/unix/af_unix.c).

`messages` is what is queued, `address` what names look like, `registry` who has which name and
what is in flight, `endpoint` what all AF_UNIX sockets are; `connection` is listening and
connecting, `stream` and `packet` move data, `rights` are descriptors and credentials that travel.
"""

from __future__ import annotations

from errno import EPROTONOSUPPORT, ESOCKTNOSUPPORT
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc.files.socket import (
    AF_UNIX,
    SOCK_DGRAM,
    SOCK_RAW,
    SOCK_SEQPACKET,
    SOCK_STREAM,
    new_socket_attr,
)
from services.proc.files.unix.packet import DatagramSocket, SeqpacketSocket
from services.proc.files.unix.stream import StreamSocket

if TYPE_CHECKING:
    from services.proc.files.unix.endpoint import UnixSocket
    from services.proc.task import Thread

KINDS: dict[int, type[UnixSocket]] = {
    SOCK_STREAM: StreamSocket,
    SOCK_DGRAM: DatagramSocket,
    SOCK_RAW: DatagramSocket,
    SOCK_SEQPACKET: SeqpacketSocket,
}


async def create(thread: Thread, type_: int, protocol: int, flags: int) -> UnixSocket:
    """socket(2) of AF_UNIX; EPROTONOSUPPORT, ESOCKTNOSUPPORT."""
    if protocol not in (0, AF_UNIX):
        raise PosixError(EPROTONOSUPPORT)
    kind = KINDS.get(type_)
    if kind is None:
        raise PosixError(ESOCKTNOSUPPORT)
    return kind(thread, flags, await new_socket_attr(thread))
