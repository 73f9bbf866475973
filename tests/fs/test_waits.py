"""Do locks keep others out, and do watchers hear of what happens?"""

from __future__ import annotations

import itertools
from errno import EAGAIN, EDEADLK, EEXIST, EINVAL, ENOTDIR
from typing import TYPE_CHECKING

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from services.fs import api
from services.fs.api import RangeLock
from services.fs.core_locks import FileLocks

if TYPE_CHECKING:
    from tests.fs.machine import Machine


async def lock(
    m: Machine, node: int, owner: str, write: bool, start: int, end: int | None, wait: bool = False
) -> int:
    record = RangeLock(write, start, end, 1)
    return await m.errno(api.LockRange(node, owner, record, False, wait))


async def unlock(m: Machine, node: int, owner: str, start: int, end: int | None) -> None:
    await m.call(api.LockRange(node, owner, RangeLock(False, start, end, 1), True, False))


async def test_ranges_conflict_where_they_overlap_and_one_writes(memory: Machine) -> None:
    m = memory
    node = m.at.root
    assert await lock(m, node, "a", False, 0, 10) == 0
    assert await lock(m, node, "b", False, 5, 15) == 0
    assert await lock(m, node, "b", True, 10, 20) == 0
    assert await lock(m, node, "b", True, 9, 12) == EAGAIN
    assert await lock(m, node, "a", True, 15, None) == EAGAIN
    in_the_way = await m.call(api.TestLock(node, "a", RangeLock(True, 12, None, 7)))
    assert in_the_way == RangeLock(True, 10, 20, 1)
    assert await m.call(api.TestLock(node, "a", RangeLock(True, 20, None, 7))) is None
    await unlock(m, node, "b", 0, None)
    assert await lock(m, node, "a", True, 0, None) == 0
    assert await lock(m, node, "c", False, 3, 3) == EINVAL
    await m.call(api.DropLocks(None, "a"))
    assert not m.tree.locks.held


async def test_a_waiter_gets_the_lock_when_it_is_free(memory: Machine) -> None:
    m = memory
    node = m.at.root
    assert await lock(m, node, "a", True, 0, 10) == 0
    order: list[str] = []

    async def waiter(name: str) -> None:
        assert await lock(m, node, name, True, 5, 6, wait=True) == 0
        order.append(name)
        await unlock(m, node, name, 5, 6)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiter, "b")
        await wait_all_tasks_blocked()
        nursery.start_soon(waiter, "c")
        await wait_all_tasks_blocked()
        await unlock(m, node, "a", 0, 5)
        await wait_all_tasks_blocked()
        assert order == []
        await unlock(m, node, "a", 5, 10)
    assert order == ["b", "c"]
    assert not m.tree.locks.held


async def test_a_cycle_of_waiters_is_a_deadlock(memory: Machine) -> None:
    m = memory
    node = m.at.root
    for i, owner in enumerate("abc"):
        assert await lock(m, node, owner, True, i, i + 1) == 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lock, m, node, "a", True, 1, 2, True)
        await wait_all_tasks_blocked()
        nursery.start_soon(lock, m, node, "b", True, 2, 3, True)
        await wait_all_tasks_blocked()
        assert await lock(m, node, "c", True, 0, 1, wait=True) == EDEADLK
        await m.call(api.DropLocks(node, "c"))
        await wait_all_tasks_blocked()
        await m.call(api.DropLocks(node, "b"))
    await m.call(api.DropLocks(None, "a"))
    assert not m.tree.locks.held


async def test_a_cancelled_waiter_leaves_nothing(memory: Machine) -> None:
    m = memory
    node = (await m.open(b"/f", 0o102)).node
    assert await lock(m, node, "a", True, 0, None) == 0
    with trio.move_on_after(0.01):
        await lock(m, node, "b", True, 0, 1, wait=True)
    assert m.tree.dentry(node).refs == 1
    await m.call(api.DropLocks(node, "a"))
    assert not m.tree.locks.held
    await m.release(node)


async def test_flock_is_shared_or_exclusive_and_ignores_record_locks(memory: Machine) -> None:
    m = memory
    node = m.at.root
    assert await lock(m, node, "p", True, 0, None) == 0
    assert await m.errno(api.LockFile(node, "a", False, False)) == 0
    assert await m.errno(api.LockFile(node, "b", False, False)) == 0
    assert await m.errno(api.LockFile(node, "c", True, False)) == EAGAIN
    assert await m.errno(api.LockFile(node, "a", True, False)) == EAGAIN
    assert await m.errno(api.LockFile(node, "b", True, False)) == 0  # a lost its own in trying
    done = []

    async def waiter() -> None:
        await m.call(api.LockFile(node, "c", False, True))
        done.append("c")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiter)
        await wait_all_tasks_blocked()
        assert not done
        await m.call(api.LockFile(node, "b", None, False))
    for owner in "cp":
        await m.call(api.DropLocks(None, owner))
    assert not m.tree.locks.held


async def test_locks_go_with_the_last_of_the_file(memory: Machine) -> None:
    m = memory
    node = (await m.open(b"/f", 0o102)).node
    assert await lock(m, node, "a", True, 0, None) == 0
    await m.call(api.Unlink(m.at, b"/f", False, m.cred))
    await m.release(node)
    assert not m.tree.locks.held


owners = st.sampled_from("abc")
steps = st.tuples(
    owners,
    st.booleans(),
    st.booleans(),
    st.integers(0, 12),
    st.one_of(st.none(), st.integers(1, 8)),
)


@given(st.lists(steps, max_size=30))
def test_ranges_are_what_a_table_of_bytes_says(
    script: list[tuple[str, bool, bool, int, int]],
) -> None:
    """The model: for each of 21 bytes (the last stands for all that follow) who holds it how."""
    model: list[dict[str, bool]] = [{} for _ in range(21)]
    locks = FileLocks()
    for owner, write, undo, start, length in script:
        end = None if length is None else start + length
        record = RangeLock(write, start, end, 1)
        span = model[start:end]
        if undo:
            locks.replace(owner, record, unlock=True)
            for byte in span:
                byte.pop(owner, None)
        else:
            clash = {
                name for byte in span for name, w in byte.items() if name != owner and (w or write)
            }
            assert locks.conflicts(owner, record) == clash
            assert (locks.conflict(owner, record) is None) == (not clash)
            if not clash:
                locks.replace(owner, record, unlock=False)
                for byte in span:
                    byte[owner] = write
        seen: list[dict[str, bool]] = [{} for _ in range(21)]
        for held in locks.ranges:
            for byte in seen[held.lock.start : held.lock.end]:
                assert held.owner not in byte
                byte[held.owner] = held.lock.write
        assert seen == model
        for name in "abc":
            mine = [held.lock for held in locks.ranges if held.owner == name]
            for one, following in itertools.pairwise(mine):
                assert one.end is not None
                assert one.end < following.start or one.write != following.write


# ── inotify ─────────────────────────────────────────────────────────────────────────────────

IN_MODIFY, IN_ATTRIB, IN_MOVED_FROM, IN_MOVED_TO = 0x2, 0x4, 0x40, 0x80
IN_CREATE, IN_DELETE, IN_DELETE_SELF, IN_MOVE_SELF = 0x100, 0x200, 0x400, 0x800
IN_IGNORED, IN_ISDIR, IN_ONESHOT, IN_ONLYDIR = 0x8000, 1 << 30, 1 << 31, 1 << 24
TOLD = IN_MODIFY | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_ATTRIB


async def taken(m: Machine, queue: int) -> list[tuple[int, bytes]]:
    if await m.errno(api.TakeEvents(queue, 1, wait=False, peek=True)) == EAGAIN:
        return []
    events = await m.call(api.TakeEvents(queue, 100, wait=False))
    return [(event.mask, event.name) for event in events]


async def test_a_directory_tells_of_its_entries(memory: Machine) -> None:
    m = memory
    queue = await m.call(api.WatchQueue())
    await m.call(api.MakeDir(m.at, b"/d", 0o755, m.cred))
    directory = (await m.call(api.Resolve(m.at, b"/d", m.cred))).node
    await m.call(api.Watch(queue, directory, TOLD))
    await m.put(b"/d/f", b"x")
    await m.put(b"/d/f", b"x")
    await m.call(api.MakeDir(m.at, b"/d/sub", 0o755, m.cred))
    await m.call(api.Rename(m.at, b"/d/f", m.at, b"/d/g", 0, m.cred))
    node = (await m.open(b"/d/g")).node
    await m.call(api.SetAttr(node, m.cred, mode=0o600))
    await m.release(node)
    await m.call(api.Unlink(m.at, b"/d/g", False, m.cred))
    await m.call(api.Unlink(m.at, b"/d/sub", True, m.cred))
    events = await taken(m, queue)
    assert events == [
        (IN_CREATE, b"f"),
        (IN_MODIFY, b"f"),
        (IN_CREATE | IN_ISDIR, b"sub"),
        (IN_MOVED_FROM, b"f"),
        (IN_MOVED_TO, b"g"),
        (IN_ATTRIB, b"g"),
        (IN_DELETE, b"g"),
        (IN_DELETE | IN_ISDIR, b"sub"),
    ]
    await m.call(api.DropQueue(queue))
    assert not m.tree.watches.active
    await m.release(directory)


async def test_a_file_tells_of_its_end(memory: Machine) -> None:
    m = memory
    await m.put(b"/f", b"x")
    queue = await m.call(api.WatchQueue())
    node = (await m.open(b"/f", 2)).node
    watch = await m.call(api.Watch(queue, node, 0xFFF & ~0x21))
    assert await m.call(api.Watch(queue, node, 0xFFF & ~0x21)) == watch
    assert await m.errno(api.Watch(queue, node, IN_MODIFY | 1 << 28)) == EEXIST
    assert await m.errno(api.Watch(queue, node, IN_MODIFY | IN_ONLYDIR)) == ENOTDIR
    assert await m.errno(api.Watch(queue, node, 0)) == EINVAL
    await m.call(api.Rename(m.at, b"/f", m.at, b"/g", 0, m.cred))
    await m.call(api.Unlink(m.at, b"/g", False, m.cred))
    assert await taken(m, queue) == [(IN_MOVE_SELF, b""), (IN_ATTRIB, b"")]
    await m.release(node)
    assert await taken(m, queue) == [(IN_DELETE_SELF, b""), (IN_IGNORED, b"")]
    assert await m.errno(api.Unwatch(queue, watch)) == EINVAL
    await m.call(api.DropQueue(queue))


async def test_a_reader_waits_for_an_event_and_may_peek(memory: Machine) -> None:
    m = memory
    queue = await m.call(api.WatchQueue())
    watch = await m.call(api.Watch(queue, m.at.root, IN_CREATE | IN_ONESHOT))
    assert await m.errno(api.TakeEvents(queue, 1, wait=False)) == EAGAIN
    async with trio.open_nursery() as nursery:

        async def reader() -> None:
            peeked = await m.call(api.TakeEvents(queue, 1, wait=True, peek=True))
            assert peeked == await m.call(api.TakeEvents(queue, 1, wait=True))
            assert peeked[0].watch == watch

        nursery.start_soon(reader)
        await wait_all_tasks_blocked()
        await m.put(b"/one", b"")
        await m.put(b"/two", b"")
    assert await taken(m, queue) == [(IN_IGNORED, b"")]
    await m.call(api.DropQueue(queue))
    with pytest.raises(Exception, match="no watch queue"):
        await m.call(api.DropQueue(queue))
    m.bus.rings["test"].__init__()  # type: ignore[misc]


async def test_a_full_queue_says_so_once(memory: Machine) -> None:
    m = memory
    queue = await m.call(api.WatchQueue())
    await m.call(api.Watch(queue, m.at.root, IN_CREATE))
    for i in range(16_400):
        await m.call(api.Symlink(m.at, b"/l%d" % i, b"x", m.cred))
    events = []
    while batch := await taken(m, queue):
        events += batch
    assert len(events) == 16_385
    assert events[-1] == (0x4000, b"")
    await m.call(api.DropQueue(queue))
