"""inotify(7): queues of events."""

from __future__ import annotations

from errno import EAGAIN, EEXIST, EINVAL, EMFILE, ENOENT, ENOTDIR

import attrs

from bus.message import Request, request


@attrs.frozen
class Watched:
    """An inotify(7) event."""

    watch: int
    mask: int
    cookie: int
    name: bytes


@request("fs", errors=(EINVAL, EMFILE))
class WatchQueue(Request[int]):
    """inotify_init(2): a queue number."""


@request("fs", errors=(EINVAL, ENOENT, EEXIST, ENOTDIR))
class Watch(Request[int]):
    """inotify_add_watch(2) on a resolved node; replies with the watch descriptor."""

    queue: int
    node: int
    mask: int


@request("fs", errors=(EINVAL,))
class Unwatch(Request[None]):
    """inotify_rm_watch(2)."""

    queue: int
    watch: int


@request("fs", errors=(EAGAIN,))
class TakeEvents(Request[tuple[Watched, ...]]):
    """At most `count` queued events; waits for one where `wait`. `peek` leaves them queued."""

    queue: int
    count: int
    wait: bool
    peek: bool = False


@request("fs")
class DropQueue(Request[None]):
    """The inotify descriptor was closed."""

    queue: int
