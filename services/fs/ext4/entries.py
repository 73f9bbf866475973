"""Names put into directories and taken out: the writing side of `directory` and `lookup`.

A directory that outgrows one block gets an index (htree) if the volume has such. A block that is
full is split by hash; an index that is full grows upwards (`_Index`).
"""

from __future__ import annotations

import struct
from errno import EEXIST, ENOENT, ENOSPC
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.fs.ext4 import groups, placement
from services.fs.ext4.checksum import crc32c
from services.fs.ext4.damage import Damaged
from services.fs.ext4.directory import (
    INDEX_ENTRY_BYTES,
    NODE_LIMIT_AT,
    ROOT_LIMIT_AT,
    TAIL_BYTES,
    TAIL_TYPE,
    block_entries,
    places,
)
from services.fs.ext4.layout import DIRENT, Incompat, InodeFlag
from services.fs.ext4.lookup import (
    HASH_VERSION_AT,
    LEVELS_AT,
    Step,
    descend,
    find,
    name_hash,
    physical_of,
)
from services.fs.ext4.mapping import Run

if TYPE_CHECKING:
    from services.fs.ext4.draft import Draft

DIR_INDEX = 0x20
"""A compatible feature: directories may have an index."""
KINDS = {0o10: 1, 0o4: 2, 0o2: 3, 0o6: 4, 0o1: 5, 0o14: 6, 0o12: 7}
"""A directory entry's type, by the type bits of st_mode."""
ROOT_LEVELS, ROOT_LEVELS_LARGE = 2, 3


def kind_of(mode: int) -> int:
    """A directory entry's type."""
    return KINDS.get(mode >> 12, 0)


def _needed(name: bytes) -> int:
    return (DIRENT.size + len(name) + 3) & ~3


def _record(draft: Draft, name: bytes, number: int, kind: int, length: int) -> bytes:
    typed = draft.volume.typed
    told = 0 if length == 65536 else length
    return DIRENT.pack(number, told, len(name), kind if typed else 0) + name


def _length(buffer: bytes | bytearray, at: int) -> int:
    """How long a record is. Damaged: that cannot be."""
    length = int.from_bytes(buffer[at + 4 : at + 6], "little")
    if length in (0, 65535) and len(buffer) == 65536:
        length = 65536
    if length < DIRENT.size or length % 4 or at + length > len(buffer):
        raise Damaged("directory", f"the record at {at} has a length of {length}")
    return length


def _put_length(buffer: bytearray, at: int, length: int) -> None:
    buffer[at + 4 : at + 6] = (length & 0xFFFF).to_bytes(2, "little")


# Blocks of names


def _room(draft: Draft) -> int:
    """Bytes of a block that names may take."""
    volume = draft.volume
    return volume.block_bytes - (TAIL_BYTES if volume.checksums else 0)


def seal(draft: Draft, buffer: bytearray) -> None:
    """Give a block of names its checksum."""
    if draft.volume.checksums:
        end = len(buffer) - TAIL_BYTES
        tail = DIRENT.pack(0, TAIL_BYTES, 0, TAIL_TYPE)
        buffer[end:] = tail + crc32c(draft.seed, buffer[:end]).to_bytes(4, "little")


def _insert(draft: Draft, physical: int, name: bytes, number: int, kind: int) -> bool:
    """Into one block; false: there is no room."""
    cache = draft.volume.cache
    block, need, end = cache.get(physical), _needed(name), _room(draft)
    at = 0
    while at < end:
        inode, _, name_bytes, typed = DIRENT.unpack_from(block, at)
        length = _length(block, at)
        if not draft.volume.typed:
            name_bytes |= typed << 8
        used = (DIRENT.size + name_bytes + 3) & ~3 if inode else 0
        if length - used >= need:
            buffer = cache.edit(physical)
            if used:
                _put_length(buffer, at, used)
            record = _record(draft, name, number, kind, length - used)
            buffer[at + used : at + used + len(record)] = record
            seal(draft, buffer)
            return True
        at += length
    return False


def _find_record(block: bytes | bytearray, end: int, name: bytes) -> tuple[int, int]:
    """Where a name's record is, and the one before it (-1: there is none). ENOENT."""
    at, before = 0, -1
    while at < end:
        if (
            block[at + DIRENT.size : at + DIRENT.size + len(name)] == name
            and block[at + 6] == len(name)
            and any(block[at : at + 4])
        ):
            return at, before
        at, before = at + _length(block, at), at
    raise PosixError(ENOENT)


def _fill(draft: Draft, physical: int, names: list[tuple[bytes, int, int]]) -> None:
    """Make a block of exactly these names (name, inode, kind)."""
    buffer, end, at = draft.volume.cache.fresh(physical), _room(draft), 0
    for index, (name, number, kind) in enumerate(names):
        length = end - at if index + 1 == len(names) else _needed(name)
        record = _record(draft, name, number, kind, length)
        buffer[at : at + len(record)] = record
        at += length
    if not names:
        buffer[: DIRENT.size] = _record(draft, b"", 0, 0, end)
    seal(draft, buffer)


def _grow(draft: Draft) -> tuple[int, int]:
    """One block more: (logical, physical). ENOSPC."""
    volume = draft.volume
    logical = draft.size // volume.block_bytes
    goal = physical_of(volume, draft.view, logical - 1) + 1 if logical else _near(draft)
    physical, _ = groups.allocate(volume, goal, 1)
    placement.place(draft, Run(logical, physical, 1))
    draft.size = (logical + 1) * volume.block_bytes
    return logical, physical


def _near(draft: Draft) -> int:
    return draft.volume.group_start((draft.number - 1) // draft.volume.inodes_per_group)


# Operations on directories; whoever calls them saves the draft


def begin(draft: Draft, parent: int) -> None:
    """A new directory's first block, with "." and ".."."""
    _, physical = _grow(draft)
    _fill(draft, physical, [(b".", draft.number, 2), (b"..", parent, 2)])


def insert(draft: Draft, name: bytes, number: int, kind: int) -> None:
    """A name that is not there yet. EEXIST, ENOSPC, NeedBlock, Damaged."""
    volume = draft.volume
    if find(volume, draft.view, name) is not None:
        raise PosixError(EEXIST)
    if draft.flags & InodeFlag.INDEX:
        _Index(draft).insert(name, number, kind)
        return
    blocks = places(volume, draft.view)
    for _, physical in reversed(blocks):
        if _insert(draft, physical, name, number, kind):
            return
    if len(blocks) == 1 and volume.compat & DIR_INDEX:
        _make_index(draft, blocks[0][1])
        _Index(draft).insert(name, number, kind)
        return
    _, physical = _grow(draft)
    _fill(draft, physical, [(name, number, kind)])


def remove(draft: Draft, name: bytes) -> int:
    """Take a name away; the number it led to. ENOENT."""
    found = find(draft.volume, draft.view, name)
    if found is None:
        raise PosixError(ENOENT)
    entry, (_, physical) = found
    buffer = draft.volume.cache.edit(physical)
    at, before = _find_record(buffer, _room(draft), name)
    if before < 0:
        buffer[at : at + 4] = bytes(4)
    else:
        _put_length(buffer, before, _length(buffer, before) + _length(buffer, at))
        buffer[at : at + 4] = bytes(4)
    seal(draft, buffer)
    return entry.inode


def replace(draft: Draft, name: bytes, number: int, kind: int) -> int:
    """Have a name lead to another inode; the number it led to. ENOENT."""
    found = find(draft.volume, draft.view, name)
    if found is None:
        raise PosixError(ENOENT)
    entry, (logical, physical) = found
    buffer = draft.volume.cache.edit(physical)
    if name == b"..":
        at = DIRENT.size + 4
    else:
        at, _ = _find_record(buffer, _room(draft), name)
    buffer[at : at + 4] = number.to_bytes(4, "little")
    if draft.volume.typed:
        buffer[at + 7] = kind
    if logical == 0 and draft.flags & InodeFlag.INDEX:
        _seal_index(draft, buffer, ROOT_LIMIT_AT)
    else:
        seal(draft, buffer)
    return entry.inode


def is_empty(draft: Draft) -> bool:
    """Whether a directory has no names but "." and ".."."""
    volume, inode = draft.volume, draft.view
    for logical, physical in places(volume, inode):
        block = bytes(volume.block(physical, f"directory {draft.number}"))
        for entry in block_entries(volume, inode, logical, block):
            if entry.name not in (b".", b".."):
                return False
    return True


# The index


def _limit(draft: Draft, at: int) -> int:
    """How many entries a block of an index has room for from `at` on."""
    tail = INDEX_ENTRY_BYTES if draft.volume.checksums else 0
    return (draft.volume.block_bytes - at - tail) // INDEX_ENTRY_BYTES


def _seal_index(draft: Draft, buffer: bytearray, at: int) -> None:
    if not draft.volume.checksums:
        return
    limit, count = struct.unpack_from("<HH", buffer, at)
    tail = at + limit * INDEX_ENTRY_BYTES
    right = crc32c(draft.seed, buffer[: at + count * INDEX_ENTRY_BYTES])
    right = crc32c(right, buffer[tail : tail + 4] + bytes(4))
    buffer[tail + 4 : tail + 8] = right.to_bytes(4, "little")


Pairs = list[tuple[int, int]]
"""Entries of an index: the hash from which on, and the block; the first has hash 0."""


def _pairs(block: bytes | bytearray, at: int) -> Pairs:
    count = struct.unpack_from("<H", block, at + 2)[0]
    found = [struct.unpack_from("<II", block, at + 8 * index) for index in range(count)]
    return [(0, found[0][1]), *found[1:]]


def _put_pairs(draft: Draft, buffer: bytearray, at: int, pairs: Pairs) -> None:
    limit = _limit(draft, at)
    raw = b"".join(struct.pack("<II", *pair) for pair in pairs)
    raw = struct.pack("<HH", limit, len(pairs)) + raw[4:]
    buffer[at : at + len(raw)] = raw
    _seal_index(draft, buffer, at)


def _make_index(draft: Draft, root: int) -> None:
    """The first block is full: its names move to another, and it becomes the index's root."""
    volume = draft.volume
    inode = draft.view
    block = bytes(volume.cache.get(root))
    entries = [
        (entry.name, entry.inode, entry.kind) for entry in block_entries(volume, inode, 0, block)
    ]
    logical, physical = _grow(draft)
    _fill(draft, physical, entries[2:])
    buffer = volume.cache.fresh(root)
    size = volume.block_bytes
    for at, length, (name, number, kind) in ((0, 12, entries[0]), (12, size - 12, entries[1])):
        record = _record(draft, name, number, kind, length)
        buffer[at : at + len(record)] = record
    buffer[HASH_VERSION_AT : HASH_VERSION_AT + 4] = bytes((volume.hash_version % 3, 8, 0, 0))
    _put_pairs(draft, buffer, ROOT_LIMIT_AT, [(0, logical)])
    draft.flags |= InodeFlag.INDEX


class _Index:
    """Insertion into a directory that has an index."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.cache = draft.volume.cache

    def insert(self, name: bytes, number: int, kind: int) -> None:
        """See `insert`."""
        draft = self.draft
        volume, inode = draft.volume, draft.view
        root = self.cache.get(physical_of(volume, inode, 0))
        hash_value = name_hash(volume, inode, bytes(root), name)
        steps, leaf = descend(volume, inode, hash_value)
        physical = physical_of(volume, inode, leaf)
        if _insert(draft, physical, name, number, kind):
            return
        from_hash, new, new_physical = self._split_leaf(leaf, physical, bytes(root))
        self._add(steps, from_hash, new)
        target = new_physical if hash_value >= from_hash & ~1 else physical
        if not _insert(draft, target, name, number, kind):
            raise PosixError(ENOSPC)  # names of one hash fill a block

    def _split_leaf(self, leaf: int, physical: int, root: bytes) -> tuple[int, int, int]:
        """The upper half of a block's names moves to a new one: (from hash, logical, physical)."""
        draft, volume = self.draft, self.draft.volume
        inode = draft.view
        block = bytes(self.cache.get(physical))
        entries = [
            (name_hash(volume, inode, root, entry.name), entry.name, entry.inode, entry.kind)
            for entry in block_entries(volume, inode, leaf, block)
        ]
        entries.sort(key=lambda entry: entry[0])
        total, half, at = sum(_needed(entry[1]) for entry in entries), 0, 0
        while at < len(entries) - 1 and (half < total // 2 or not at):
            half += _needed(entries[at][1])
            at += 1
        new, new_physical = _grow(draft)
        _fill(draft, physical, [entry[1:] for entry in entries[:at]])
        _fill(draft, new_physical, [entry[1:] for entry in entries[at:]])
        from_hash = entries[at][0]
        return from_hash | (entries[at - 1][0] == from_hash), new, new_physical

    def _add(self, steps: list[Step], from_hash: int, logical: int) -> None:
        """An entry behind the one that was taken; nodes that are full are split first."""
        step = steps[-1]
        buffer = self.cache.edit(step.physical)
        pairs = _pairs(buffer, step.at)
        pairs.insert(step.index + 1, (from_hash, logical))
        if len(pairs) <= _limit(self.draft, step.at):
            _put_pairs(self.draft, buffer, step.at, pairs)
        elif len(steps) == 1:
            self._raise_root(buffer, step, pairs)
        else:
            middle = len(pairs) // 2
            above, new = pairs[middle][0], self._new_node(pairs[middle:])
            _put_pairs(self.draft, buffer, step.at, pairs[:middle])
            self._add(steps[:-1], above, new)

    def _raise_root(self, buffer: bytearray, step: Step, pairs: Pairs) -> None:
        """The root is full: what it has goes to two nodes below it."""
        draft = self.draft
        large = draft.volume.incompat & Incompat.LARGEDIR
        levels = buffer[LEVELS_AT] + 1
        if levels >= (ROOT_LEVELS_LARGE if large else ROOT_LEVELS):
            raise PosixError(ENOSPC)
        middle = len(pairs) // 2
        low, high = self._new_node(pairs[:middle]), self._new_node(pairs[middle:])
        buffer[LEVELS_AT] = levels
        _put_pairs(draft, buffer, step.at, [(0, low), (pairs[middle][0], high)])

    def _new_node(self, pairs: Pairs) -> int:
        logical, physical = _grow(self.draft)
        buffer = self.cache.fresh(physical)
        buffer[: DIRENT.size] = _record(self.draft, b"", 0, 0, len(buffer))
        _put_pairs(self.draft, buffer, NODE_LIMIT_AT, [(0, pairs[0][1]), *pairs[1:]])
        return logical
