"""Transactions: the changes of many operations, made durable together, in order.

    open operation ──take──▶ running ──commit──▶ logged ──checkpoint──▶ home

`commit` hands out steps (see `device`): content (ordered data) and copies of metadata into the log,
a flush, and the commit block, durable at once. While it goes on, operations change the
next transaction; the content of this one is as it was when it began. `checkpoint` writes what is
logged to where it belongs, and empties the log. Only one of these steps may be going on at a time.

A block of metadata that was freed may soon be somebody's content: what the log has of it is
revoked. That, and giving it out again, waits for the transaction that freed it.

A volume without a log has the same transactions: they go home at once, in no order.

A failure to write content is told to who syncs (`failed`); one to write metadata stops
the journal for good (`aborted`): nothing is changed any more, and what was durable stays so.
"""

from __future__ import annotations

from errno import EIO, EROFS
from typing import TYPE_CHECKING

import attrs

from bus.errors import PosixError
from services.fs.ext4.device import FLUSH, SECTOR_SHIFT, Write
from services.fs.ext4.jbd2 import commit_block, descriptor_blocks, revoke_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from services.fs.ext4.blocks import Changes
    from services.fs.ext4.device import Step
    from services.fs.ext4.jbd2 import Log
    from services.fs.ext4.volume import Volume

CONTENT_BYTES_MAX = 8 << 20
"""So much content may wait for a transaction's commit."""
BLOCKS_MAX = 4096
"""So many blocks of metadata may be in a transaction, if the log is large enough."""

Doing = "Generator[Step, bytes, None]"


@attrs.define(eq=False)
class Transaction:
    """`tid` counts them."""

    tid: int
    blocks: set[int] = attrs.field(factory=set)
    content: set[int] = attrs.field(factory=set)
    freed: list[tuple[int, int]] = attrs.field(factory=list)
    revoked: set[int] = attrs.field(factory=set)
    inodes: dict[int, bool] = attrs.field(factory=dict)
    began_ns: int = 0

    @property
    def empty(self) -> bool:
        """Whether there is nothing to commit."""
        return not self.blocks and not self.content


class Journal:
    """The transactions of a volume; `log` is None where it has no journal."""

    def __init__(self, volume: Volume, log: Log | None, tid: int, now: Callable[[], int]) -> None:
        self.volume = volume
        self.cache = volume.cache
        self.log = log
        self._now = now
        self.running = Transaction(tid)
        self.committing: Transaction | None = None
        self.committed = tid - 1
        """The last transaction that is durable."""
        self.logged: dict[int, bytes] = {}
        self.head = log.first if log is not None else 0
        self.used = 0
        """Blocks of the log that hold what is not home yet."""
        self.aborted = 0
        self.failed: dict[int, int] = {}
        """Transactions some of whose content could not be written, and the errno."""
        self.barriers = True
        self._sectors = volume.block_bytes >> SECTOR_SHIFT
        self.commits = self.checkpoints = 0

    @property
    def room(self) -> int:
        """Blocks of the log."""
        return 1 << 30 if self.log is None else self.log.end - self.log.first

    @property
    def full(self) -> bool:
        """Whether the running transaction should be committed before more is done."""
        running = self.running
        most = min(BLOCKS_MAX, self.room // 4)
        content = len(running.content) * self.volume.block_bytes
        return len(running.blocks) >= most or content >= CONTENT_BYTES_MAX

    @property
    def half_full(self) -> bool:
        """Whether it is time to begin with that."""
        running = self.running
        most = min(BLOCKS_MAX, self.room // 4)
        content = len(running.content) * self.volume.block_bytes
        return len(running.blocks) * 2 >= most or content * 2 >= CONTENT_BYTES_MAX

    def check(self) -> None:
        """EROFS once the journal has stopped."""
        if self.aborted:
            raise PosixError(EROFS)

    # ── taking ──────────────────────────────────────────────────────────────────────────────

    def take(self, changes: Changes) -> None:
        """An operation has succeeded: its changes are in the running transaction."""
        running, cache = self.running, self.cache
        if running.empty:
            running.began_ns = self._now()
        self._take_freed(changes)
        for number, buffer in changes.blocks.items():
            cache.dirty[number] = bytes(buffer)
            cache.forget(number)
            running.blocks.add(number)
            running.revoked.discard(number)
        for number, content in changes.data.items():
            cache.data[number] = content
            cache.forget(number)
            running.content.add(number)
        for inode, essential in changes.inodes.items():
            running.inodes[inode] = running.inodes.get(inode, False) or essential
        for note in changes.afterwards:
            note()
        cache.charge()

    def _take_freed(self, changes: Changes) -> None:
        running, cache, committing = self.running, self.cache, self.committing
        for first, count in changes.freed:
            running.freed.append((first, count))
            self._freeze(first, count, frozen=True)
            for number in _within(cache.data, first, count):
                del cache.data[number]
            running.content.difference_update(_within(dict.fromkeys(running.content), first, count))
        for number in changes.forgotten:
            cache.dirty.pop(number, None)
            cache.forget(number)
            running.blocks.discard(number)
            if number in self.logged or (committing and number in committing.blocks):
                running.revoked.add(number)

    def _freeze(self, first: int, count: int, *, frozen: bool) -> None:
        volume = self.volume
        while count:
            group, offset = divmod(first - volume.first_block, volume.blocks_per_group)
            length = min(count, volume.blocks_per_group - offset)
            mask, bits = ((1 << length) - 1) << offset, volume.frozen.get(group, 0)
            volume.frozen[group] = bits | mask if frozen else bits & ~mask
            first, count = first + length, count - length

    # ── committing ──────────────────────────────────────────────────────────────────────────

    def commit(self) -> Generator[Step, bytes, None]:
        """Make durable what has been taken up to now. EIO, and `aborted`: it cannot be done."""
        transaction = self.running
        if transaction.empty or self.aborted:
            return
        self.running = Transaction((transaction.tid + 1) & 0xFFFF_FFFF)
        self.committing = transaction
        copies = {number: self.cache.dirty[number] for number in sorted(transaction.blocks)}
        if self.log is None:
            yield from self._write_content(transaction)
        try:
            if self.log is None:
                yield self._home(copies)
                yield from self._barrier()
                self._is_home(copies)
            else:
                yield from self._write_log(self.log, transaction, copies)
                self.logged.update(copies)
        except PosixError as failure:
            self.aborted = failure.errno
            raise PosixError(EIO) from failure
        self.commits += 1
        self.committing = None
        self.committed = transaction.tid
        for first, count in transaction.freed:
            self._freeze(first, count, frozen=False)
        for number in transaction.revoked:
            self.logged.pop(number, None)
        self.cache.charge()

    def _barrier(self) -> Generator[Step, bytes, None]:
        if self.barriers:
            yield FLUSH

    def _write_content(self, transaction: Transaction) -> Generator[Step, bytes, None]:
        """Content goes to its place; what is changed meanwhile is the next transaction's."""
        data = self.cache.data
        batch = {number: data[number] for number in sorted(transaction.content)}
        if not batch:
            return
        try:
            yield self._home(batch)
        except PosixError as failure:
            self.failed[transaction.tid] = failure.errno
        self._has_content(batch)

    def _has_content(self, batch: Mapping[int, bytes]) -> None:
        """The disk has it, or never will."""
        data = self.cache.data
        for number, content in batch.items():
            if data.get(number) is content:
                del data[number]

    def write_content(self) -> Generator[Step, bytes, None]:
        """Make durable the content alone: nothing that leads to it has changed. EIO."""
        running = self.running
        batch, running.content = running.content, set()
        yield from self._write_content(Transaction(running.tid, content=batch))
        yield from self._barrier()
        if running.tid in self.failed:
            raise PosixError(self.failed[running.tid])

    def _write_log(
        self, log: Log, transaction: Transaction, copies: Mapping[int, bytes]
    ) -> Generator[Step, bytes, None]:
        tid = transaction.tid
        blocks = revoke_blocks(log, tid, sorted(transaction.revoked))
        blocks += descriptor_blocks(log, tid, list(copies.items()))
        if self.used + len(blocks) + 1 > self.room:
            yield from self.checkpoint()
        if len(blocks) + 1 > self.room:
            raise PosixError(EIO)
        writes, here = [], self.head
        for block in blocks:
            writes.append(log.copy(here, block))
            here = log.after(here)
        data = self.cache.data
        batch = {number: data[number] for number in sorted(transaction.content)}
        try:
            yield (*self._home(batch), *writes)
            self._has_content(batch)
        except PosixError:  # which of them was it?
            yield from self._write_content(transaction)
            yield tuple(writes)
        yield from self._barrier()
        commit = commit_block(log, tid, self._now())
        yield (attrs.evolve(log.copy(here, commit), fua=self.barriers),)
        self.head = log.after(here)
        self.used += len(blocks) + 1

    def _home(self, copies: Mapping[int, bytes]) -> tuple[Write, ...]:
        return tuple(Write(number * self._sectors, raw) for number, raw in copies.items())

    def _is_home(self, copies: Mapping[int, bytes]) -> None:
        cache = self.cache
        for number, content in copies.items():
            if cache.dirty.get(number) is content:
                del cache.dirty[number]
                cache.supply(number, content)

    # ── checkpointing ───────────────────────────────────────────────────────────────────────

    @property
    def wants_checkpoint(self) -> bool:
        """Whether so much of the log is in use that it should be emptied."""
        return self.log is not None and self.used > self.room // 2

    def checkpoint(self) -> Generator[Step, bytes, None]:
        """Everything that was committed goes home; the log is empty. EIO, and `aborted`."""
        log = self.log
        if log is None or not self.used or self.aborted:
            return
        copies = dict(sorted(self.logged.items()))
        try:
            yield self._home(copies)
            yield from self._barrier()
            following = self.running if self.committing is None else self.committing
            yield (log.begin(self.head, following.tid, log.features),)
        except PosixError as failure:
            self.aborted = failure.errno
            raise PosixError(EIO) from failure
        self.checkpoints += 1
        self.used = 0
        self.logged.clear()
        self._is_home(copies)


def _within(numbers: Mapping[int, object], first: int, count: int) -> list[int]:
    if count < len(numbers):
        return [number for number in range(first, first + count) if number in numbers]
    return [number for number in numbers if first <= number < first + count]
