"""Ports of the host that lead to the guest: bound at boot, or refused there with cause and cure."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

from services.drivers.nic.settings import LinkRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from services.drivers.nic.settings import Published

BACKLOG = 4096
BATCH_CONNECTIONS = 64
UDP_BUFFER_BYTES = 1 << 20


def bind(published: Published) -> socket.socket:
    """A non-blocking socket, listening if it is TCP's. LinkRefused.

    No address means all, of both protocols where the host has both (ipv6(7), IPV6_V6ONLY).
    """
    if published.address:
        return _bind(published, published.address)
    try:
        return _bind(published, "::")
    except LinkRefused as refused:
        if refused.error in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            return _bind(published, "0.0.0.0")
        raise


def _bind(published: Published, address: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    host = None
    try:
        host = socket.socket(family, socket.SOCK_DGRAM if published.udp else socket.SOCK_STREAM)
        host.setblocking(False)
        if family == socket.AF_INET6:
            host.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(bool(published.address)))
        if published.udp:
            host.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UDP_BUFFER_BYTES)
        else:
            host.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        host.bind((address, published.host_port))
        if not published.udp:
            host.listen(BACKLOG)
    except OSError as error:
        if host is not None:
            host.close()
        raise _refusal(published, error) from error
    return host


def _refusal(published: Published, error: OSError) -> LinkRefused:
    flag = "-u" if published.udp else "-t"
    number = error.errno or 0
    cures = {
        errno.EADDRINUSE: f"ss -ln{flag[1]}p 'sport = {published.host_port}' shows who has it;"
        f" publish another: -p {published.host_port + 1 & 0xFFFF}:{published.guest_port}",
        errno.EACCES: "ports below 1024 need privileges;"
        f" publish another: -p {8000 + published.host_port % 1000}:{published.guest_port}",
        errno.EADDRNOTAVAIL: "this host has no such address: see ip address",
        errno.EAFNOSUPPORT: "this host has no such protocol: see ip address",
    }
    cause = f"publish {published.outside}: {os.strerror(number)}"
    return LinkRefused(cause, cures.get(number, "publish another port or address"), number)


def bind_all(published: Sequence[Published]) -> list[tuple[Published, socket.socket]]:
    """All of them, or none and LinkRefused."""
    bound: list[tuple[Published, socket.socket]] = []
    try:
        bound += ((one, bind(one)) for one in published)
    except LinkRefused:
        for _, host in bound:
            host.close()
        raise
    return bound


class Listener:
    """A listening socket; `accept` takes (connection, the guest's port)."""

    def __init__(
        self,
        host: socket.socket,
        guest_port: int,
        accept: Callable[[socket.socket, int], None],
        again: Callable[[int], None],
    ) -> None:
        self.socket = host
        self._guest_port = guest_port
        self._accept = accept
        self._again = again
        self.failed = 0
        """Connections that the host could not give us (out of descriptors)."""

    def on_host(self, events: int) -> None:
        """Accept what has come, a batch at the most."""
        for _ in range(BATCH_CONNECTIONS):
            try:
                connection, _ = self.socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS):
                    self.failed += 1
                    return
                continue  # the connection itself was at fault, accept(2)
            self._accept(connection, self._guest_port)
        self._again(self.socket.fileno())
