"""Locks: flock(2) and the record locks of fcntl(2)."""

from __future__ import annotations

from errno import EAGAIN, EDEADLK, EINVAL, ENOLCK

import attrs

from bus.message import Request, request


@attrs.frozen
class RangeLock:
    """A POSIX or open-file-description lock; `pid` as F_GETLK shows it, -1 for the latter.

    `end` is just behind the last byte; None means to the end of the file, however it grows.
    """

    write: bool
    start: int
    end: int | None
    pid: int


@request("fs", errors=(EAGAIN, EDEADLK, ENOLCK, EINVAL))
class LockRange(Request[None]):
    """fcntl(2) F_SETLK, F_SETLKW (`wait`): `owner` is a process or an open file description.

    `lock.write` None-like unlocking is `unlock`. Waits inside the handler; EDEADLK on a cycle.
    """

    node: int
    owner: str
    lock: RangeLock
    unlock: bool
    wait: bool


@request("fs", idempotent=True)
class TestLock(Request[RangeLock | None]):
    """fcntl(2) F_GETLK: the first lock that would be in the way."""

    node: int
    owner: str
    lock: RangeLock


@request("fs", errors=(EAGAIN,))
class LockFile(Request[None]):
    """flock(2): `exclusive` None unlocks; waits unless `wait` is false (EAGAIN)."""

    node: int
    owner: str
    exclusive: bool | None
    wait: bool


@request("fs")
class DropLocks(Request[None]):
    """`owner` closed `node` (None: every node): its locks go."""

    node: int | None
    owner: str
