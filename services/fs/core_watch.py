"""inotify(7): queues of events, and watches on inodes.

A watch hears of its own inode (IN_ATTRIB, IN_MODIFY, IN_DELETE_SELF, IN_MOVE_SELF) and, where
that is a directory, of its entries, by name. A file that was unlinked while it was open still
tells the directory that it was in, unless IN_EXCL_UNLINK. An event like the last one queued is
dropped, as Linux does; a full queue ends in one IN_Q_OVERFLOW.

Invariant: `Watches.active` counts all watches, so that nobody watching costs one comparison.
"""

from __future__ import annotations

from collections import deque
from errno import EAGAIN, EEXIST, EINVAL, EMFILE, ENOTDIR
from typing import TYPE_CHECKING

import attrs

from bus.census import kind
from bus.errors import MalformedRequest, PosixError
from services.fs.api import Watched
from services.fs.core_inode import Directory

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.fs.core_inode import Dentry, Inode

IN_ACCESS, IN_MODIFY, IN_ATTRIB = 0x1, 0x2, 0x4
IN_CLOSE_WRITE, IN_CLOSE_NOWRITE, IN_OPEN = 0x8, 0x10, 0x20
IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE = 0x40, 0x80, 0x100, 0x200
IN_DELETE_SELF, IN_MOVE_SELF = 0x400, 0x800
IN_UNMOUNT, IN_Q_OVERFLOW, IN_IGNORED = 0x2000, 0x4000, 0x8000
IN_ONLYDIR, IN_EXCL_UNLINK, IN_MASK_CREATE, IN_MASK_ADD = 1 << 24, 1 << 26, 1 << 28, 1 << 29
IN_ISDIR, IN_ONESHOT = 1 << 30, 1 << 31
IN_ALL_EVENTS = 0xFFF
IN_KNOWN = IN_ALL_EVENTS | IN_UNMOUNT | IN_Q_OVERFLOW | IN_IGNORED | 0xF700_0000
"""What inotify_add_watch(2) takes for a mask that is not empty: flags alone will do."""

QUEUE_LIMIT = 16384
"""fs.inotify.max_queued_events."""

QUEUES_LIMIT = 128
"""fs.inotify.max_user_instances."""


WATCH = kind("fs", "watch")
EVENT = kind("fs", "watch event")


def _nobody_waits(queue: int) -> None:
    pass


@attrs.define(eq=False)
class WatchPoint:
    """One watch: `number` is its descriptor in `queue`."""

    queue: Queue
    number: int
    inode: Inode
    mask: int

    def __attrs_pre_init__(self) -> None:
        WATCH.made()

    def __del__(self) -> None:
        WATCH.freed()


WatchSet = dict["Queue", WatchPoint]


@attrs.define(eq=False)
class Queue:
    """An inotify descriptor's events and watches."""

    number: int
    events: deque[Watched] = attrs.field(factory=deque)
    points: dict[int, WatchPoint] = attrs.field(factory=dict)
    next_watch: int = 1

    def __del__(self) -> None:
        for event in self.events:
            _left(event)

    def put(self, event: Watched) -> None:
        """Queue an event."""
        events = self.events
        if events:
            last = events[-1]
            if (last.watch, last.mask, last.name) == (event.watch, event.mask, event.name):
                return
        if len(events) >= QUEUE_LIMIT:
            if events[-1].mask == IN_Q_OVERFLOW:
                return
            event = Watched(-1, IN_Q_OVERFLOW, 0, b"")
        EVENT.made()
        EVENT.grew(len(event.name))
        events.append(event)


def _left(event: Watched) -> None:
    EVENT.freed()
    EVENT.grew(-len(event.name))


class Watches:
    """All queues; `on_filled` is called with the number of one that got an event."""

    def __init__(self) -> None:
        self.queues: dict[int, Queue] = {}
        self.active = 0
        self.on_filled: Callable[[int], None] = _nobody_waits
        self._next_queue = 1
        self._next_cookie = 1

    def new_queue(self) -> int:
        """inotify_init(2)."""
        if len(self.queues) >= QUEUES_LIMIT:
            raise PosixError(EMFILE)
        number = self._next_queue
        self._next_queue += 1
        self.queues[number] = Queue(number)
        return number

    def queue(self, number: int) -> Queue:
        """A queue by number; MalformedRequest where there is none."""
        try:
            return self.queues[number]
        except KeyError:
            raise MalformedRequest(f"fs: no watch queue {number}") from None

    def add(self, number: int, inode: Inode, mask: int, is_directory: bool) -> int:
        """inotify_add_watch(2): a new watch, or the inode's present one with another mask."""
        queue = self.queue(number)
        if not mask & IN_KNOWN:
            raise PosixError(EINVAL)
        if mask & IN_MASK_ADD and mask & IN_MASK_CREATE:
            raise PosixError(EINVAL)
        if mask & IN_ONLYDIR and not is_directory:
            raise PosixError(ENOTDIR)
        if inode.watches is None:
            inode.watches = {}
        point = inode.watches.get(queue)
        kept = mask & (IN_ALL_EVENTS | IN_ONESHOT | IN_EXCL_UNLINK)
        if point is not None:
            if mask & IN_MASK_CREATE:
                raise PosixError(EEXIST)
            point.mask = point.mask | kept if mask & IN_MASK_ADD else kept
            return point.number
        point = WatchPoint(queue, queue.next_watch, inode, kept)
        queue.next_watch += 1
        queue.points[point.number] = inode.watches[queue] = point
        self.active += 1
        return point.number

    def remove(self, number: int, watch: int) -> None:
        """inotify_rm_watch(2)."""
        point = self.queue(number).points.get(watch)
        if point is None:
            raise PosixError(EINVAL)
        self._end(point, IN_IGNORED)

    def drop_queue(self, number: int) -> None:
        """The descriptor was closed."""
        queue = self.queue(number)
        for point in list(queue.points.values()):
            self._end(point, 0)
        del self.queues[number]

    def take(self, number: int, count: int, peek: bool) -> tuple[Watched, ...]:
        """Events from a queue; EAGAIN where there are none."""
        events = self.queue(number).events
        if not events:
            raise PosixError(EAGAIN)
        taken = tuple(event for event, _ in zip(events, range(count), strict=False))
        if not peek:
            for event in taken:
                events.popleft()
                _left(event)
        return taken

    # ── what happened ───────────────────────────────────────────────────────────────────────

    def cookie(self) -> int:
        """A number that ties the two events of a rename together."""
        self._next_cookie += 1
        return self._next_cookie - 1

    def tell(
        self,
        inode: Inode | None,
        mask: int,
        name: bytes = b"",
        cookie: int = 0,
        *,
        unlinked: bool = False,
    ) -> None:
        """Tell the watches on one inode; `unlinked`: it happened to what has no name any more."""
        if inode is None or not inode.watches:
            return
        for point in list(inode.watches.values()):
            if point.mask & mask & IN_ALL_EVENTS and not (unlinked and point.mask & IN_EXCL_UNLINK):
                point.queue.put(Watched(point.number, mask, cookie, name))
                self.on_filled(point.queue.number)
                if point.mask & IN_ONESHOT:
                    self._end(point, IN_IGNORED)

    def tell_entry(self, dentry: Dentry, mask: int) -> None:
        """Tell the watches on a file and, with its name, those on its directory."""
        if isinstance(dentry.inode, Directory):
            mask |= IN_ISDIR
        unlinked = not dentry.linked
        if dentry.parent is not None:
            self.tell(dentry.parent.inode, mask, dentry.name, unlinked=unlinked)
        self.tell(dentry.inode, mask, unlinked=unlinked)

    def gone(self, inode: Inode) -> None:
        """The last name and reference of an inode went."""
        if inode.watches:
            self.tell(inode, IN_DELETE_SELF)
            self.end_all(inode)

    def end_all(self, inode: Inode, why: int = IN_IGNORED) -> None:
        """Every watch on an inode ends."""
        for point in list((inode.watches or {}).values()):
            self._end(point, why)

    def _end(self, point: WatchPoint, why: int) -> None:
        del point.queue.points[point.number]
        watches = point.inode.watches
        if watches is not None:
            del watches[point.queue]
            if not watches:
                point.inode.watches = None
        self.active -= 1
        if why:
            point.queue.put(Watched(point.number, why, 0, b""))
            self.on_filled(point.queue.number)
