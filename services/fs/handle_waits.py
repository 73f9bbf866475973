"""Handlers that may wait: file locks, and inotify queues. Only here does fs use Trio.

Who waits holds a reference to its node, so that nothing it waits for goes away under it, and is
woken to try again whenever the file's locks (or the queue's events) change. A waiter that is
cancelled leaves nothing behind.
"""

from __future__ import annotations

from collections import deque
from errno import EAGAIN
from typing import TYPE_CHECKING, Any

import trio

from bus.errors import PosixError
from services.fs import api
from services.fs.core_inode import Directory

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from services.fs.core_inode import Inode
    from services.fs.supply import Supply


class Waiters:
    """Tasks that wait for something to change, first come first woken."""

    def __init__(self) -> None:
        self._events: dict[Hashable, deque[trio.Event]] = {}

    def __len__(self) -> int:
        return sum(len(events) for events in self._events.values())

    async def wait(self, what: Hashable) -> None:
        """Until `wake(what)`."""
        event = trio.Event()
        events = self._events.setdefault(what, deque())
        events.append(event)
        try:
            await event.wait()
        finally:
            if event in events:
                events.remove(event)
            if not events and self._events.get(what) is events:
                del self._events[what]

    def wake(self, what: Hashable) -> None:
        """Let all that wait for this try again."""
        for event in self._events.pop(what, ()):
            event.set()


class WaitHandlers:
    """Locks and watches."""

    def __init__(self, supply: Supply) -> None:
        self._supply = supply
        self._tree = supply.tree
        self._locks = supply.tree.locks
        self._watches = supply.tree.watches
        self.waiters = Waiters()
        self.handlers: dict[type[Any], Callable[[Any], Awaitable[Any]]] = {
            api.LockRange: self.lock_range,
            api.TestLock: self.test_lock,
            api.LockFile: self.lock_file,
            api.DropLocks: self.drop_locks,
            api.WatchQueue: self.watch_queue,
            api.Watch: self.watch,
            api.Unwatch: self.unwatch,
            api.TakeEvents: self.take_events,
            api.DropQueue: self.drop_queue,
        }
        supply.tree.watches.on_filled = self.waiters.wake

    # ── locks ───────────────────────────────────────────────────────────────────────────────

    async def _acquire(
        self, node: int, owner: str, attempt: Callable[[Inode], set[str]], wait: bool, check: bool
    ) -> None:
        tree, inode = self._tree, self._tree.inode(node)
        blockers = attempt(inode)
        if not blockers:
            self.waiters.wake(inode)
            return
        if not wait:
            raise PosixError(EAGAIN)
        tree.dentry(node).refs += 1
        try:
            while blockers:
                edge = self._locks.begin_wait(owner, blockers) if check else None
                try:
                    await self.waiters.wait(inode)
                finally:
                    if edge is not None:
                        self._locks.end_wait(owner, edge)
                blockers = attempt(inode)
            self.waiters.wake(inode)
        finally:
            tree.release(node)

    async def lock_range(self, request: api.LockRange) -> None:
        """fcntl(2) F_SETLK, F_SETLKW and their OFD kin (pid -1), which look for no deadlock."""
        owner, lock, unlock = request.owner, request.lock, request.unlock
        await self._acquire(
            request.node,
            owner,
            lambda inode: self._locks.set_range(inode, owner, lock, unlock),
            request.wait,
            check=lock.pid != -1,
        )

    async def test_lock(self, request: api.TestLock) -> api.RangeLock | None:
        """fcntl(2) F_GETLK."""
        locks = self._tree.inode(request.node).locks
        held = None if locks is None else locks.conflict(request.owner, request.lock)
        return None if held is None else held.lock

    async def lock_file(self, request: api.LockFile) -> None:
        """flock(2)."""
        owner, exclusive = request.owner, request.exclusive
        await self._acquire(
            request.node,
            owner,
            lambda inode: self._locks.set_flock(inode, owner, exclusive),
            request.wait,
            check=False,
        )

    async def drop_locks(self, request: api.DropLocks) -> None:
        """An owner closed a file, or ended."""
        inode = None if request.node is None else self._tree.inode(request.node)
        for one in self._locks.drop(inode, request.owner):
            self.waiters.wake(one)

    # ── inotify ─────────────────────────────────────────────────────────────────────────────

    async def watch_queue(self, request: api.WatchQueue) -> int:
        """inotify_init(2)."""
        return self._watches.new_queue()

    async def watch(self, request: api.Watch) -> int:
        """inotify_add_watch(2)."""
        inode = self._tree.inode(request.node)
        return self._watches.add(request.queue, inode, request.mask, isinstance(inode, Directory))

    async def unwatch(self, request: api.Unwatch) -> None:
        """inotify_rm_watch(2)."""
        self._watches.remove(request.queue, request.watch)

    async def take_events(self, request: api.TakeEvents) -> tuple[api.Watched, ...]:
        """read(2) of an inotify descriptor."""
        while True:
            try:
                return self._watches.take(request.queue, request.count, request.peek)
            except PosixError:
                if not request.wait:
                    raise
            await self.waiters.wait(request.queue)

    async def drop_queue(self, request: api.DropQueue) -> None:
        """The inotify descriptor was closed."""
        self._watches.drop_queue(request.queue)
        self.waiters.wake(request.queue)
