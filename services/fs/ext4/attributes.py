"""Extended attributes written: into the inode as far as they fit, the rest into a block."""

from __future__ import annotations

import struct
from errno import ENOSPC, EOPNOTSUPP
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.fs.ext4 import groups, xattr
from services.fs.ext4.checksum import crc32c
from services.fs.ext4.layout import INODE_BASE_BYTES, XATTR_ENTRY, XATTR_MAGIC
from services.fs.ext4.xattr import BLOCK_HEADER_BYTES, CHECKSUM_AT, PREFIXES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from services.fs.ext4.draft import Draft

EXT_ATTR = 0x8
"""A compatible feature, named by the first attribute in a block."""
MASK = 0xFFFF_FFFF
Item = tuple[int, bytes, bytes]
"""Prefix number, the rest of the name, value."""


def put(draft: Draft, name: bytes, value: bytes | None) -> None:
    """Set one, or take it away (None). ENOSPC, EOPNOTSUPP: no such name space on disk."""
    found = xattr.attributes(draft.volume, draft.view)
    if value is None:
        found.pop(name, None)
    else:
        found[name] = value
    items = sorted((_split(one, content) for one, content in found.items()), key=_order)
    inside: list[Item] = []
    room = _inside_room(draft)
    for item in sorted(items, key=_bytes):
        if room - _bytes(item) >= 0:
            room -= _bytes(item)
            inside.append(item)
    outside = [item for item in items if item not in inside]
    _put_inside(draft, sorted(inside, key=_order))
    _put_outside(draft, outside)


def drop_block(draft: Draft) -> None:
    """The inode goes: its block of attributes loses an owner."""
    _put_outside(draft, [])


def _split(name: bytes, value: bytes) -> Item:
    for number, prefix in PREFIXES.items():
        if name == prefix or (prefix.endswith(b".") and name.startswith(prefix)):
            return number, name[len(prefix) :], value
    raise PosixError(EOPNOTSUPP)


def _order(item: Item) -> tuple[int, int, bytes]:
    return item[0], len(item[1]), item[1]


def _entry_bytes(item: Item) -> int:
    return (XATTR_ENTRY.size + len(item[1]) + 3) & ~3


def _bytes(item: Item) -> int:
    return _entry_bytes(item) + ((len(item[2]) + 3) & ~3)


def _hash(item: Item) -> int:
    found = 0
    for char in item[1]:
        found = (found << 5 & MASK) ^ (found >> 27) ^ char
    padded = item[2] + bytes(-len(item[2]) % 4)
    for (word,) in struct.iter_unpack("<I", padded):
        found = (found << 16 & MASK) ^ (found >> 16) ^ word
    return found


def _area(items: Iterable[Item], size: int, start: int, hashed: bool) -> bytes:
    """Entries from `start` of an area on, and values from its end down."""
    area = bytearray(size)
    at, end = start, size
    for item in items:
        prefix, name, value = item
        end -= (len(value) + 3) & ~3
        area[end : end + len(value)] = value
        offset = end if value else 0
        told = _hash(item) if hashed else 0
        entry = XATTR_ENTRY.pack(len(name), prefix, offset, 0, len(value), told) + name
        area[at : at + len(entry)] = entry
        at += _entry_bytes(item)
    return bytes(area)


def _inside_start(draft: Draft) -> int:
    if len(draft.raw) <= INODE_BASE_BYTES:
        return len(draft.raw)
    return INODE_BASE_BYTES + draft.view.extra_bytes


def _inside_room(draft: Draft) -> int:
    """What entries and values may take: a magic number stands before them, zeros behind."""
    return len(draft.raw) - _inside_start(draft) - 8


def _put_inside(draft: Draft, items: list[Item]) -> None:
    start = _inside_start(draft)
    size = len(draft.raw) - start
    if size < 8:
        return
    content = bytes(size)
    if items:
        content = XATTR_MAGIC.to_bytes(4, "little") + _area(items, size - 4, 0, hashed=False)
    draft.raw[start:] = content
    draft.put("flags", draft.get("flags"))  # what is told of it is old now


def _put_outside(draft: Draft, items: list[Item]) -> None:
    volume, old = draft.volume, draft.view.xattr_block
    size = volume.block_bytes
    if sum(map(_bytes, items)) + 4 > size - BLOCK_HEADER_BYTES:
        raise PosixError(ENOSPC)
    number = old
    if old:
        block = bytes(volume.block(old, f"attributes of inode {draft.number}"))
        owners = int.from_bytes(block[4:8], "little")
        if owners > 1:  # others have it too
            buffer = volume.cache.edit(old)
            buffer[4:8] = (owners - 1).to_bytes(4, "little")
            _seal(draft, old, buffer)
        elif not items:
            groups.free(volume, old, 1, metadata=True)
        if owners > 1 or not items:
            draft.add_blocks(-1)
            number = 0
    if items:
        if not number:
            number, _ = groups.allocate(volume, volume.inode_place(draft.number)[0], 1)
            draft.add_blocks(1)
        buffer = volume.cache.fresh(number)
        buffer[:] = _area(items, size, BLOCK_HEADER_BYTES, hashed=True)
        whole = 0
        for item in items:
            whole = (whole << 16 & MASK) ^ (whole >> 16) ^ _hash(item)
        struct.pack_into("<4I", buffer, 0, XATTR_MAGIC, 1, 1, whole)
        _seal(draft, number, buffer)
        _name_feature(draft)
    draft.put("acl_lo", number & MASK)
    draft.put("acl_hi", number >> 32)


def _name_feature(draft: Draft) -> None:
    volume = draft.volume
    if not volume.compat & EXT_ATTR:
        buffer, at = volume.edit_super()
        told = int.from_bytes(buffer[at + 0x5C : at + 0x60], "little") | EXT_ATTR
        buffer[at + 0x5C : at + 0x60] = told.to_bytes(4, "little")
        volume.seal_super(buffer)


def _seal(draft: Draft, number: int, buffer: bytearray) -> None:
    if draft.volume.checksums:
        buffer[CHECKSUM_AT : CHECKSUM_AT + 4] = bytes(4)
        right = crc32c(crc32c(draft.volume.seed, number.to_bytes(8, "little")), buffer)
        buffer[CHECKSUM_AT : CHECKSUM_AT + 4] = right.to_bytes(4, "little")
