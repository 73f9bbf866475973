"""The system calls of sockets, for all families: they decode, check and encode.

What a socket does is in `files/socket.py` and its families: AF_UNIX in `files/unix`, and whatever
the kernel's `families` has been given.
"""

from services.proc.calls.sockets import (
    connections,
    creation,
    names,
    options,
    receiving,
    sending,
)

__all__ = ["connections", "creation", "names", "options", "receiving", "sending"]
