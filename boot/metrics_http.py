"""The metrics page: a small HTTP/1.1 responder inside the kernel's own Trio loop.

GET /metrics is the page in Prometheus' text format, GET /healthz says whether the kernel runs. One
request to a connection, a bounded head, a deadline for slow clients and a bounded number of
connections at a time: a scraper cannot hurt the kernel.
"""

from __future__ import annotations

import errno
import os
from http import HTTPStatus
from typing import TYPE_CHECKING

import trio

from boot.config import ConfigError

if TYPE_CHECKING:
    from boot.config import Address
    from bus.metrics import Metrics

MAX_HEAD_BYTES = 8192
MAX_CONNECTIONS = 16
DEADLINE_S = 5.0
TEXT = "text/plain; charset=utf-8"


def request_target(head: bytes) -> str | HTTPStatus:
    """The path of a GET or HEAD request, or the status that refuses it (RFC 9112 section 3)."""
    if b"\r\n\r\n" not in head:
        return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    words = head.split(b"\r\n", 1)[0].split(b" ")
    if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
        return HTTPStatus.BAD_REQUEST
    if words[0] not in (b"GET", b"HEAD"):
        return HTTPStatus.METHOD_NOT_ALLOWED
    return words[1].split(b"?", 1)[0].decode("latin-1")


def response(status: HTTPStatus, body: bytes, media_type: str, head_only: bool) -> bytes:
    """A whole response that ends the connection."""
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        f"Content-Type: {media_type}\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + (b"" if head_only else body)


class MetricsPage:
    """Serves `metrics` at one address until cancelled."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._slots = trio.CapacityLimiter(MAX_CONNECTIONS)

    def answer(self, head: bytes) -> bytes:
        """The response to a request's head."""
        target = request_target(head)
        head_only = head.startswith(b"HEAD ")
        if isinstance(target, HTTPStatus):
            return response(target, f"{target.phrase}\n".encode(), TEXT, head_only)
        if target == "/metrics":
            body, media_type = self._metrics.exposition()
            return response(HTTPStatus.OK, body, media_type, head_only)
        if target == "/healthz":
            return response(HTTPStatus.OK, b"ok\n", TEXT, head_only)
        return response(HTTPStatus.NOT_FOUND, b"try /metrics or /healthz\n", TEXT, head_only)

    async def _converse(self, stream: trio.SocketStream) -> None:
        head = b""
        try:
            async with self._slots, stream:
                with trio.move_on_after(DEADLINE_S):
                    while b"\r\n\r\n" not in head and len(head) < MAX_HEAD_BYTES:
                        received = await stream.receive_some(MAX_HEAD_BYTES)
                        if not received:
                            return
                        head += received
                    await stream.send_all(self.answer(head))
                    await stream.send_eof()
        except trio.BrokenResourceError:
            pass  # the client left

    async def run(
        self, address: Address, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Listen until cancelled; tells the port through `task_status`."""
        self._metrics.exposition()  # imports what it needs now, and not while a program runs
        try:
            listeners = await trio.open_tcp_listeners(address.port, host=address.host)
        except OSError as error:
            number = error.errno or errno.EIO
            raise ConfigError(
                f"metrics: cannot listen on {address.host}:{address.port}: {os.strerror(number)}",
                "choose another port, or end what listens there",
            ) from error
        async with trio.open_nursery() as nursery:
            task_status.started(listeners[0].socket.getsockname()[1])
            await trio.serve_listeners(self._converse, listeners, handler_nursery=nursery)
