"""File locks: flock(2), and record locks of fcntl(2), by owner.

Owners are opaque names: a process, an open file description. Ranges are half-open; None is the
end of all files. flock and record locks do not see each other, as on Linux.

Invariants: an owner's ranges on one inode neither overlap nor touch with equal kind; no two
owners' ranges overlap where one is for writing. `Locks.held` lists, by owner, the inodes where it
has anything. Waiting is the shell's: it says who waits for whom, so that cycles are found.
"""

from __future__ import annotations

from errno import EDEADLK, EINVAL, ENOLCK
from typing import TYPE_CHECKING

import attrs

from bus.census import kind
from bus.errors import PosixError

if TYPE_CHECKING:
    from services.fs.api import RangeLock
    from services.fs.core_inode import Inode

RANGES_LIMIT = 65536
"""Record locks that one file may have; ENOLCK beyond."""

LOCK = kind("fs", "record lock")


@attrs.frozen
class Held:
    """One range that an owner has locked."""

    owner: str
    lock: RangeLock

    def __attrs_pre_init__(self) -> None:
        LOCK.made()

    def __del__(self) -> None:
        LOCK.freed()


class FileLocks:
    """The locks on one inode: record locks by ascending start, flocks by owner."""

    __slots__ = ("flocks", "ranges")

    def __init__(self) -> None:
        self.ranges: list[Held] = []
        self.flocks: dict[str, bool] = {}
        """Whether each owner's flock is exclusive."""

    def conflict(self, owner: str, lock: RangeLock) -> Held | None:
        """The first range of another owner that is in the way."""
        for held in self.ranges:
            if held.owner != owner and (held.lock.write or lock.write) and overlap(held.lock, lock):
                return held
        return None

    def conflicts(self, owner: str, lock: RangeLock) -> set[str]:
        """All owners that are in the way."""
        return {
            held.owner
            for held in self.ranges
            if held.owner != owner and (held.lock.write or lock.write) and overlap(held.lock, lock)
        }

    def replace(self, owner: str, lock: RangeLock, unlock: bool) -> None:
        """Make `lock` the state of its range for `owner`, cutting and joining what it had."""
        kept: list[Held] = []
        start, end = lock.start, lock.end
        for held in self.ranges:
            if held.owner != owner:
                kept.append(held)
                continue
            old = held.lock
            joins = not unlock and old.write == lock.write and touch(old, lock)
            if joins and not overlap(old, lock):
                start, end = min(start, old.start), _later(end, old.end)
                continue
            if not overlap(old, lock):
                kept.append(held)
                continue
            if joins:
                start, end = min(start, old.start), _later(end, old.end)
                continue
            if old.start < lock.start:
                kept.append(Held(owner, attrs.evolve(old, end=lock.start)))
            if lock.end is not None and (old.end is None or old.end > lock.end):
                kept.append(Held(owner, attrs.evolve(old, start=lock.end)))
        if not unlock:
            kept.append(Held(owner, attrs.evolve(lock, start=start, end=end)))
        if len(kept) > RANGES_LIMIT:
            raise PosixError(ENOLCK)
        kept.sort(key=lambda held: (held.lock.start, held.owner))
        self.ranges = kept

    def has(self, owner: str) -> bool:
        """Whether an owner has any lock here."""
        return owner in self.flocks or any(held.owner == owner for held in self.ranges)


class Locks:
    """All locks, by owner; and who waits for whom."""

    def __init__(self) -> None:
        self.held: dict[str, dict[Inode, None]] = {}
        self._waits: dict[str, list[frozenset[str]]] = {}

    def set_range(self, inode: Inode, owner: str, lock: RangeLock, unlock: bool) -> set[str]:
        """fcntl(2) F_SETLK; replies with the owners in the way, none if it is done."""
        if lock.start < 0 or (lock.end is not None and lock.end <= lock.start):
            raise PosixError(EINVAL)
        locks = inode.locks
        if locks is None:
            if unlock:
                return set()
            locks = FileLocks()
        if not unlock:
            blockers = locks.conflicts(owner, lock)
            if blockers:
                return blockers
        locks.replace(owner, lock, unlock)
        inode.locks = locks
        self._settle(inode, owner)
        return set()

    def set_flock(self, inode: Inode, owner: str, exclusive: bool | None) -> set[str]:
        """flock(2); a lock of the other kind is given up first, as on Linux."""
        locks = inode.locks
        if locks is None:
            if exclusive is None:
                return set()
            locks = inode.locks = FileLocks()
        if locks.flocks.get(owner) is exclusive and exclusive is not None:
            return set()
        locks.flocks.pop(owner, None)
        blockers: set[str] = set()
        if exclusive is not None:
            blockers = {name for name, strong in locks.flocks.items() if strong or exclusive}
            if not blockers:
                locks.flocks[owner] = exclusive
        self._settle(inode, owner)
        return blockers

    def drop(self, inode: Inode | None, owner: str) -> list[Inode]:
        """An owner's locks go, on one inode or on all; replies with where there were any."""
        held = self.held.get(owner, {})
        where = [one for one in held if inode is None or one is inode]
        for one in where:
            if one.locks is not None:
                one.locks.flocks.pop(owner, None)
                one.locks.ranges = [held for held in one.locks.ranges if held.owner != owner]
            self._settle(one, owner)
        return where

    def forget(self, inode: Inode) -> None:
        """An inode is gone, and its locks with it."""
        locks, inode.locks = inode.locks, None
        if locks is not None:
            for owner in {*locks.flocks, *(held.owner for held in locks.ranges)}:
                self._settle(inode, owner)

    def _settle(self, inode: Inode, owner: str) -> None:
        locks = inode.locks
        if locks is not None and locks.has(owner):
            self.held.setdefault(owner, {})[inode] = None
            return
        held = self.held.get(owner)
        if held is not None:
            held.pop(inode, None)
            if not held:
                del self.held[owner]
        if locks is not None and not locks.flocks and not locks.ranges:
            inode.locks = None

    # ── waiting ─────────────────────────────────────────────────────────────────────────────

    def begin_wait(self, owner: str, blockers: set[str]) -> frozenset[str]:
        """`owner` is about to wait for `blockers`: EDEADLK if one of them waits for it."""
        seen: set[str] = set()
        todo = list(blockers)
        while todo:
            name = todo.pop()
            if name == owner:
                raise PosixError(EDEADLK)
            if name not in seen:
                seen.add(name)
                for further in self._waits.get(name, ()):
                    todo.extend(further)
        wait = frozenset(blockers)
        self._waits.setdefault(owner, []).append(wait)
        return wait

    def end_wait(self, owner: str, wait: frozenset[str]) -> None:
        """It waits no longer."""
        waits = self._waits[owner]
        waits.remove(wait)
        if not waits:
            del self._waits[owner]


def overlap(one: RangeLock, other: RangeLock) -> bool:
    """Whether two ranges have a byte in common."""
    return (other.end is None or one.start < other.end) and (
        one.end is None or other.start < one.end
    )


def touch(one: RangeLock, other: RangeLock) -> bool:
    """Whether two ranges overlap or are neighbours."""
    return (other.end is None or one.start <= other.end) and (
        one.end is None or other.start <= one.end
    )


def _later(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else max(one, other)
