"""Handlers that may wait: file locks, and inotify queues. Only here does fs use Trio.

Who waits for a lock holds a reference to its node, so that nothing it waits for goes away under
it. Whoever frees something serves the waiters on the spot, in the order in which they came: so
the order is fair, and does not hang on the scheduler. A waiter that is cancelled leaves nothing
behind.
"""

from __future__ import annotations

from errno import EAGAIN
from typing import TYPE_CHECKING, Any

import attrs
import trio

from bus.errors import PosixError
from services.fs import api
from services.fs.core_inode import Directory

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.fs.core_inode import Inode
    from services.fs.supply import Supply


@attrs.define(eq=False)
class LockWaiter:
    """A caller that waits for a lock; `edge` is whom it waits for, where cycles matter."""

    owner: str
    attempt: Callable[[Inode], set[str]]
    edge: frozenset[str] | None
    done: trio.Event
    error: PosixError | None = None


class WaitHandlers:
    """Locks and watches."""

    def __init__(self, supply: Supply) -> None:
        self._supply = supply
        self._tree = supply.tree
        self._locks = supply.tree.locks
        self._watches = supply.tree.watches
        self._waiting: dict[Inode, list[LockWaiter]] = {}
        self._readers: dict[int, trio.Event] = {}
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
        supply.tree.watches.on_filled = self._filled

    # ── locks ───────────────────────────────────────────────────────────────────────────────

    async def _acquire(
        self, node: int, owner: str, attempt: Callable[[Inode], set[str]], wait: bool, check: bool
    ) -> None:
        tree, inode = self._tree, self._tree.inode(node)
        blockers = attempt(inode)
        if not blockers:
            self._serve(inode)
            return
        self._serve(inode)  # a lock that was to be converted is gone
        if not wait:
            raise PosixError(EAGAIN)
        edge = self._locks.begin_wait(owner, blockers) if check else None
        waiter = LockWaiter(owner, attempt, edge, trio.Event())
        waiting = self._waiting.setdefault(inode, [])
        waiting.append(waiter)
        tree.dentry(node).refs += 1
        try:
            await waiter.done.wait()
        finally:
            if not waiter.done.is_set():
                waiting.remove(waiter)
                self._forget_edge(waiter)
                if not waiting:
                    self._waiting.pop(inode, None)
            tree.release(node)
        if waiter.error is not None:
            raise waiter.error

    def _serve(self, inode: Inode) -> None:
        """Something was freed: give waiters what they can have now, first come first served."""
        waiting = self._waiting.get(inode)
        if waiting is None:
            return
        for waiter in list(waiting):
            blockers = waiter.attempt(inode)
            if blockers and waiter.edge is not None:
                self._forget_edge(waiter)
                try:
                    waiter.edge = self._locks.begin_wait(waiter.owner, blockers)
                except PosixError as deadlock:
                    waiter.error = deadlock
            if not blockers or waiter.error is not None:
                self._forget_edge(waiter)
                waiting.remove(waiter)
                waiter.done.set()
        if not waiting:
            del self._waiting[inode]

    def _forget_edge(self, waiter: LockWaiter) -> None:
        if waiter.edge is not None:
            self._locks.end_wait(waiter.owner, waiter.edge)
            waiter.edge = None

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
            self._serve(one)

    def _filled(self, queue: int) -> None:
        event = self._readers.pop(queue, None)
        if event is not None:
            event.set()

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
            await self._readers.setdefault(request.queue, trio.Event()).wait()

    async def drop_queue(self, request: api.DropQueue) -> None:
        """The inotify descriptor was closed."""
        self._watches.drop_queue(request.queue)
        self._filled(request.queue)
