"""What the filters of faults ask: whose process a call is for, which paths and peers it is about.

It asks only what answers at once: a call that is to be struck must not wait for that. In the
embedded placement the handlers are here, and a call runs in the task of the thread that it is for.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any

import trio

from bus.errors import PosixError
from services.fs.api import At, PathOf
from services.net.api import Name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from boot.assembly import Machine

THREAD = "thread "
"""What the name of a user thread's task begins with; its number follows."""


class MachineScope:
    """`bus.injector.Scope` for one machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def filters(self, service: str) -> frozenset[str]:
        """`Scope.filters`."""
        if service in ("fs", "hosttree"):
            return frozenset({"path"})
        return frozenset({"address", "connection"} if service == "net" else ())

    def process(self) -> tuple[int, str] | None:
        """`Scope.process`."""
        task = trio.lowlevel.current_task().name
        kernel = getattr(self._machine.services.get("proc"), "kernel", None)
        if kernel is None or not task.startswith(THREAD):
            return None
        thread = kernel.threads.get(int(task.removeprefix(THREAD)))
        if thread is None:
            return None
        return thread.process.pid, thread.process.comm.decode(errors="replace")

    def paths(self, request: Any) -> Iterator[str]:
        """`Scope.paths`: those in the request, made absolute, and that of its node."""
        for field in ("path", "old_path", "new_path"):
            said = getattr(request, field, None)
            if isinstance(said, bytes):
                at = getattr(request, field.replace("path", "at"), None)
                yield self._absolute(said, at if isinstance(at, At) else None)
        node = getattr(request, "node", None)
        if isinstance(node, int):
            yield self._told(PathOf(node)).decode(errors="replace")

    def _absolute(self, path: bytes, at: At | None) -> str:
        if at is not None and not path.startswith(b"/"):
            path = self._told(PathOf(at.base)).rstrip(b"/") + b"/" + path
        return path.decode(errors="replace")

    def peers(self, request: Any) -> Iterable[str]:
        """`Scope.peers`: the address in the request, and whom its socket is connected to."""
        said = getattr(request, "name", None)
        if isinstance(said, bytes) and said:
            yield from _address(said)
        number = getattr(request, "socket", None)
        if isinstance(number, int):
            yield from _address(self._told(Name(number, True)))

    def _told(self, request: PathOf | Name) -> bytes:
        """A service's answer, if it has one at once; else nothing."""
        service = self._machine.services.get(request.declaration.service)
        handler = None if service is None else service.handlers.get(type(request))
        if handler is None:
            return b""
        asked: Any = handler(request)
        try:
            asked.send(None)
        except StopIteration as told:
            answer: bytes = told.value
            return answer
        except (PosixError, LookupError):
            return b""
        finally:
            asked.close()
        return b""


def _address(sockaddr: bytes) -> Iterator[str]:
    """IP:PORT of a struct sockaddr_in or sockaddr_in6."""
    family = int.from_bytes(sockaddr[:2], "little")
    if family == socket.AF_INET and len(sockaddr) >= 8:
        port, raw = struct.unpack_from(">H4s", sockaddr, 2)
        yield f"{socket.inet_ntop(socket.AF_INET, raw)}:{port}"
    elif family == socket.AF_INET6 and len(sockaddr) >= 24:
        port, raw = struct.unpack_from(">H4x16s", sockaddr, 2)
        yield f"{socket.inet_ntop(socket.AF_INET6, raw).removeprefix('::ffff:')}:{port}"
