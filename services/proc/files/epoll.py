"""epoll(7): interest in many files, and the list of those that may be ready.

An `Item` is one file under one descriptor number. It stands in the file's wait queue for as long
as it exists; a wake-up that concerns it puts it on the ready list, from where `collect` takes it
when somebody waits. What is on the list only *may* be ready: `collect` asks the file. So waiting
costs what is ready, not what is watched.

Level-triggered items go back to the end of the list when they are told, edge-triggered ones do
not; what `collect` had no room for stays in front. That is Linux's round robin.

Threads in epoll_wait(2) stand in `waiters` and are woken one at a time; a thread that leaves
without having taken events passes the wake-up on (`pass_on`). Who polls the epoll file itself
stands in `queue`.
"""

from __future__ import annotations

from collections import deque
from errno import EEXIST, EINVAL, ELOOP, ENOENT, EPERM
from typing import TYPE_CHECKING

from bus.census import EMPTY_DICT
from bus.census import kind as charge_kind
from bus.errors import PosixError
from services.proc.abi import O_RDWR, POLLERR, POLLHUP, POLLIN, POLLRDNORM
from services.proc.files.anon import AnonFile
from services.proc.park import WaitQueue

if TYPE_CHECKING:
    from services.proc.descriptors import OpenFile
    from services.proc.kernel import Kernel
    from services.proc.task import Thread

EPOLLIN, EPOLLOUT = 1, 4
EPOLLEXCLUSIVE, EPOLLWAKEUP, EPOLLONESHOT, EPOLLET = 1 << 28, 1 << 29, 1 << 30, 1 << 31
PRIVATE_BITS = EPOLLEXCLUSIVE | EPOLLWAKEUP | EPOLLONESHOT | EPOLLET
WITH_EXCLUSIVE = EPOLLIN | EPOLLOUT | POLLERR | POLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE
MAX_NESTS = 4

Event = tuple[int, int]
"""What is told of a file: events, and the data that epoll_ctl(2) was given."""


ITEM = charge_kind("proc", "epoll item")


class Item:
    """One entry of an interest list; an `Entry` of its file's wait queue."""

    __slots__ = ("data", "epoll", "events", "fd", "file", "gone", "listed")

    def __init__(self, epoll: EpollFile, file: OpenFile, fd: int, events: int, data: int) -> None:
        ITEM.made()
        self.epoll = epoll
        self.file = file
        self.fd = fd
        self.events = events
        self.data = data
        self.listed = False
        """It is on the ready list."""
        self.gone = False

    def __del__(self) -> None:
        ITEM.freed()

    def notify(self, events: int) -> None:
        """The file may have become ready; `events` 0 is anything."""
        wanted = self.events
        if (events and not events & wanted) or not wanted & ~PRIVATE_BITS:
            return
        self.epoll.enlist(self)

    def forget(self) -> None:
        """The description is closed: the interest ends with it."""
        self.epoll.remove(self)


class EpollFile(AnonFile):
    """An epoll instance."""

    __slots__ = ("_charged", "_ready", "items", "remotes", "waiters")
    kind = "eventpoll"
    heap = charge_kind("proc", "epoll")

    def __init__(self) -> None:
        super().__init__(O_RDWR)
        self._charged = EMPTY_DICT
        self.items: dict[tuple[OpenFile, int], Item] = {}
        self._ready: deque[Item] = deque()
        self.remotes = 0
        """How many items are files whose readiness must be refreshed."""
        self.queue: WaitQueue = WaitQueue()
        self.waiters = WaitQueue()

    def __del__(self) -> None:
        self.heap.grew(EMPTY_DICT - self._charged)
        self.heap.freed()

    # The interest list ----------------------------------------------------------------------

    def add(self, file: OpenFile, fd: int, events: int, data: int) -> Item:
        """EPOLL_CTL_ADD; the caller refreshed a remote file. EEXIST, EINVAL, ELOOP."""
        if events & EPOLLEXCLUSIVE and (events & ~WITH_EXCLUSIVE or type(file) is EpollFile):
            raise PosixError(EINVAL)
        if type(file) is EpollFile:
            self._check_nesting(file)
        if (file, fd) in self.items:
            raise PosixError(EEXIST)
        item = Item(self, file, fd, events | POLLERR | POLLHUP, data)
        self.items[file, fd] = item
        self._charged = self.heap.resized(self._charged, self.items)
        self.remotes += file.remote
        assert file.queue is not None
        file.queue.add(item)
        if file.watchers is None:
            file.watchers = {}
        file.watchers[item] = None
        if file.poll() & item.events:
            self.enlist(item)
        return item

    def change(self, file: OpenFile, fd: int, events: int, data: int) -> Item:
        """EPOLL_CTL_MOD: rearms an EPOLLONESHOT. ENOENT, EINVAL."""
        item = self.item(file, fd)
        if (item.events | events) & EPOLLEXCLUSIVE:
            raise PosixError(EINVAL)
        item.events, item.data = events | POLLERR | POLLHUP, data
        if file.poll() & item.events:
            self.enlist(item)
        return item

    def item(self, file: OpenFile, fd: int) -> Item:
        """The entry of a file; ENOENT."""
        item = self.items.get((file, fd))
        if item is None:
            raise PosixError(ENOENT)
        return item

    def remove(self, item: Item) -> None:
        """EPOLL_CTL_DEL, or the file is closed; the ready list skips it."""
        item.gone = True
        del self.items[item.file, item.fd]
        self.remotes -= item.file.remote
        if item.file.queue is not None:
            item.file.queue.discard(item)
        if item.file.watchers is not None:
            item.file.watchers.pop(item, None)

    def _check_nesting(self, inner: EpollFile) -> None:
        """No loops, and no chains of more than five (epoll_ctl(2), ELOOP)."""
        if _height(inner, self) + 1 + _depth(self) > MAX_NESTS:
            raise PosixError(ELOOP)

    # The ready list -------------------------------------------------------------------------

    def enlist(self, item: Item) -> None:
        """Put an item on the ready list and tell one waiter, and whoever polls this file."""
        if not item.listed:
            item.listed = True
            self._ready.append(item)
        if self.waiters.entries:
            self.waiters.wake_some(1)
        if self.queue.entries:
            self.queue.wake(POLLIN | POLLRDNORM)

    def pass_on(self) -> None:
        """Wake another waiter if there is still something to take."""
        if self._ready and self.waiters.entries:
            self.waiters.wake_some(1)

    async def refresh_ready(self, thread: Thread) -> None:
        """Let remote files on the ready list learn their state before `collect`."""
        for item in list(self._ready):
            if item.file.remote and not item.gone:
                await item.file.refresh(thread)

    def collect(self, limit: int, kernel: Kernel) -> list[Event]:
        """Up to `limit` events; each item is looked at once."""
        ready, events = self._ready, list[Event]()
        for _ in range(len(ready)):
            item = ready.popleft()
            item.listed = False
            if item.gone:
                continue
            told = item.file.poll() & item.events
            if not told:
                if item.file.remote:
                    item.file.watch(kernel)
                continue
            events.append((told, item.data))
            if item.events & EPOLLONESHOT:
                item.events &= PRIVATE_BITS
            elif not item.events & EPOLLET:
                item.listed = True
                ready.append(item)
            if len(events) == limit:
                break
        return events

    def give_back(self) -> None:
        """The events that `collect` gave could not be told: all that is ready is ready again."""
        for item in self.items.values():
            if not item.listed and item.file.poll() & item.events:
                self.enlist(item)

    def poll(self) -> int:
        """POLLIN while an item is ready; items that are not leave the list."""
        ready = self._ready
        while ready:
            item = ready[0]
            if not item.gone and item.file.poll() & item.events:
                return POLLIN | POLLRDNORM
            item.listed = False
            ready.popleft()
        return 0

    async def closed(self, thread: Thread | None) -> None:
        """All interest ends."""
        for item in list(self.items.values()):
            self.remove(item)
        self._ready.clear()


def pollable(file: OpenFile) -> None:
    """EPERM for files that are always ready (regular files, directories, some devices)."""
    if file.queue is None:
        raise PosixError(EPERM)


def _height(epoll: EpollFile, forbidden: EpollFile) -> int:
    """How many epolls are nested below `epoll`; too many if `forbidden` is among them."""
    if epoll is forbidden:
        return MAX_NESTS + 1
    inner = [file for file, _ in epoll.items if type(file) is EpollFile]
    return max((_height(file, forbidden) + 1 for file in inner), default=0)


def _depth(epoll: EpollFile) -> int:
    """How many epolls are nested above `epoll`."""
    outer = [item.epoll for item in epoll.watchers or () if type(item) is Item]
    return max((_depth(file) + 1 for file in outer), default=0)
