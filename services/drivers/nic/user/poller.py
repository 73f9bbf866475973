"""Readiness of many host sockets for one task: an epoll(7) of our own, itself watched by Trio.

Sockets are registered once, edge-triggered, for all they can do; a callback learns what has become
possible and tries until the host says EAGAIN. So a connection costs no task and no epoll_ctl(2) on
its way, and a batch of events costs one wake-up.

Rejected: a Trio task for each direction of each connection. Two switches for each message, and two
thousand tasks for a thousand connections.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

READABLE = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
WRITABLE = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR
FAILED = select.EPOLLERR
_ALL = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
BATCH_EVENTS = 256


class Poller:
    """Callbacks by descriptor; whoever closes a descriptor removes it first."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[int], None]] = {}

    def __len__(self) -> int:
        return len(self._callbacks)

    def add(self, fd: int, callback: Callable[[int], None]) -> None:
        """Call back with EPOLL bits whenever the descriptor becomes ready, and now if it is."""
        self._epoll.register(fd, _ALL)
        self._callbacks[fd] = callback

    def remove(self, fd: int) -> None:
        """Forget a descriptor that is still open."""
        if self._callbacks.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def again(self, fd: int) -> None:
        """Call back once more if the descriptor is ready now: for work that was put off."""
        self._epoll.modify(fd, _ALL)

    async def wait(self) -> None:
        """Wait until a callback is due."""
        await trio.lowlevel.wait_readable(self._epoll.fileno())

    def dispatch(self) -> None:
        """Run the callbacks that are due, a bounded number of them."""
        callbacks = self._callbacks
        for fd, events in self._epoll.poll(0, BATCH_EVENTS):
            callback = callbacks.get(fd)  # an earlier one of the batch may have removed it
            if callback is not None:
                callback(events)

    def close(self) -> None:
        """Forget all."""
        self._epoll.close()
        self._callbacks.clear()
