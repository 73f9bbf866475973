"""Which name server the host uses (resolv.conf(5)), followed when the file changes."""

from __future__ import annotations

import os
import socket

RESOLV_CONF = "/etc/resolv.conf"
_DEFAULT = b"\x7f\0\0\1"
"""What resolv.conf(5) says of a file without a name server."""


def parse(text: str) -> bytes:
    """The first name server's address. One with a zone (fe80::1%eth0) is passed over."""
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            family = socket.AF_INET6 if ":" in words[1] else socket.AF_INET
            try:
                return socket.inet_pton(family, words[1])
            except OSError:
                continue
    return _DEFAULT


class Resolver:
    """The host's name server as it is now."""

    def __init__(self, path: str = RESOLV_CONF) -> None:
        self._path = path
        self._changed: tuple[int, int] | None = None
        self._server = _DEFAULT

    def name_server(self) -> bytes:
        """Its address; read again when the file is another than last time."""
        try:
            status = os.stat(self._path)
            changed = status.st_mtime_ns, status.st_ino
            if changed != self._changed:
                with open(self._path, encoding="utf-8", errors="replace") as file:
                    self._server = parse(file.read())
                self._changed = changed
        except OSError:
            self._server, self._changed = _DEFAULT, None
        return self._server
