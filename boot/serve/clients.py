"""Small clients of this machine's side: one page by HTTP, a few commands to a Redis.

They use the standard library alone, wait `TIMEOUT_S` at the most for each answer, and raise
OSError where there is none and ValueError where it is wrong.
"""

from __future__ import annotations

import http.client
import re
import socket
import time
import urllib.request
from typing import IO, TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

TIMEOUT_S = 5.0
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(url: str) -> tuple[int, str]:
    """Status and text of a page; no proxy is asked."""
    try:
        with _opener.open(url, timeout=TIMEOUT_S) as page:
            return page.status, page.read().decode(errors="replace")
    except http.client.HTTPException as error:
        raise ConnectionError(f"{type(error).__name__}: {error}") from error


def fetch(url: str, mark: str) -> str:
    """Fetch a page that must hold `mark`; one line about it."""
    began = time.perf_counter()
    status, text = get(url)
    took_ms = (time.perf_counter() - began) * 1e3
    if status != 200 or mark not in text:
        raise ValueError(f"GET {url} gave {status} and {text[:60]!r}")
    return f"GET / gave {status} OK, {len(text)} bytes in {took_ms:.1f} ms"


class Redis:
    """A connection to a Redis (RESP2: redis.io, protocol specification)."""

    def __init__(self, host: str, port: int, timeout_s: float = TIMEOUT_S) -> None:
        self._socket = socket.create_connection((host, port), timeout_s)
        self._stream: IO[bytes] = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._stream.close()
        self._socket.close()

    def command(self, *words: str) -> str | None:
        """One command, one reply: a string, a number as text, or None. ValueError: refused."""
        parts = [b"*%d\r\n" % len(words)]
        for word in words:
            data = word.encode()
            parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
        self._socket.sendall(b"".join(parts))
        return self._reply()

    def _reply(self) -> str | None:
        line = self._stream.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the connection ended within a reply")
        kind, rest = line[:1], line[1:-2].decode()
        if kind in (b"+", b":"):
            return rest
        if kind == b"$":
            return self._bulk(int(rest))
        raise ValueError(f"Redis said {line!r}")

    def _bulk(self, length_bytes: int) -> str | None:
        if length_bytes < 0:
            return None
        data = self._stream.read(length_bytes + 2)
        if len(data) != length_bytes + 2:
            raise ConnectionError("the connection ended within a reply")
        return data[:-2].decode()

    def info(self) -> dict[str, int]:
        """The whole numbers of INFO."""
        text = self.command("INFO") or ""
        return {name: int(value) for name, value in re.findall(r"^(\w+):(\d+)\r?$", text, re.M)}


def try_redis(host: str, port: int) -> str:
    """PING, SET and GET; one line about it."""
    value = "from a kernel in Python"
    began = time.perf_counter()
    with Redis(host, port) as redis:
        asked = (("PING",), ("SET", "hardtack", value), ("GET", "hardtack"))
        replies = [redis.command(*words) for words in asked]
    took_ms = (time.perf_counter() - began) * 1e3
    if replies != ["PONG", "OK", value]:
        raise ValueError(f"PING, SET and GET gave {replies}")
    return f"PING gave PONG, GET what SET had stored, in {took_ms:.1f} ms"
