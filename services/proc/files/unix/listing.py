"""/proc/net/unix (proc(5)): a row for each AF_UNIX socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.proc.files.unix.address import shown
from services.proc.files.unix.endpoint import ESTABLISHED
from services.proc.files.unix.registry import registry_of

if TYPE_CHECKING:
    from services.proc.files.unix.endpoint import UnixSocket
    from services.proc.kernel import Kernel

HEADING = b"Num       RefCount Protocol Flags    Type St Inode Path\n"
ACCEPTS = 0x10000
UNCONNECTED, CONNECTING, CONNECTED = 1, 2, 3
"""SS_ states; a socket that nobody has accepted yet is connecting."""


def row(socket: UnixSocket) -> bytes:
    """One line. The first column, on Linux an address in its memory, only tells rows apart."""
    embryo = socket.listener is not None
    connected = CONNECTING if embryo else CONNECTED
    state = connected if socket.state == ESTABLISHED else UNCONNECTED
    references = 2 + (socket.peer is not None)
    flags = ACCEPTS if socket.accepts() else 0
    ino = 0 if embryo else socket.attr.ino
    line = b"%016x: %08X %08X %08X %04X %02X %5d" % (
        id(socket) & 0xFFFF_FFFF, references, 0, flags, socket.type, state, ino,
    )  # fmt: skip
    return line + (b" " + shown(socket.address) if socket.address else b"") + b"\n"


def listing(kernel: Kernel) -> bytes:
    """The whole file."""
    return HEADING + b"".join([row(socket) for socket in registry_of(kernel).sockets])
