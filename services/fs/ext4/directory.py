"""The names in a directory, block by block, whether it has an index (htree) or not.

An index's own blocks look like blocks of which no record is in use, so whoever reads all of a
directory need not know of it.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import attrs

from services.fs.ext4.checksum import crc32c
from services.fs.ext4.damage import Damaged
from services.fs.ext4.layout import DIRENT, InodeFlag
from services.fs.ext4.mapping import runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.fs.ext4.inode import Inode
    from services.fs.ext4.layout import Block
    from services.fs.ext4.volume import Volume

NAME_BYTES_MAX = 255
TAIL_TYPE, TAIL_BYTES = 0xDE, 12
ROOT_LIMIT_AT, NODE_LIMIT_AT, INDEX_ENTRY_BYTES = 0x20, 0x8, 8


@attrs.frozen
class Entry:
    """A name, its inode, and the type of file that the directory tells (0: it does not)."""

    name: bytes
    inode: int
    kind: int


def places(volume: Volume, inode: Inode) -> list[tuple[int, int]]:
    """(logical, physical) of a directory's blocks; holes are left out. NeedBlock, Damaged."""
    size = volume.block_bytes
    if inode.size % size or inode.size > volume.blocks * size:
        raise Damaged(f"directory {inode.number}", f"its size cannot be {inode.size} bytes")
    return [
        (run.logical + at, run.physical + at)
        for run in runs(volume, inode, 0, inode.size // size)
        for at in range(0 if run.unwritten else run.count)
    ]


def names_in(volume: Volume, inode: Inode, place: tuple[int, int]) -> list[Entry]:
    """The names in one of them, "." and ".." too: an operation of its own. NeedBlock, Damaged."""
    logical, physical = place
    block = volume.block(physical, f"directory {inode.number}")
    return list(block_entries(volume, inode, logical, block))


def block_entries(volume: Volume, inode: Inode, logical: int, block: Block) -> Iterator[Entry]:
    """The names in one block of a directory."""
    where = f"directory {inode.number}, block {logical}"
    if volume.checksums:
        check_block(inode, logical, block, where)
    typed = volume.typed
    at, size = 0, len(block)
    while at < size:
        if at + DIRENT.size > size:
            raise Damaged(where, "its last record is cut off")
        number, length, name_bytes, kind = DIRENT.unpack_from(block, at)
        if size >= 65536 and length in (0, 65535):
            length = 65536
        if not typed:
            name_bytes, kind = name_bytes | kind << 8, 0
        if length < DIRENT.size or length % 4 or at + length > size:
            raise Damaged(where, f"the record at {at} has a length of {length}")
        if number:
            if not name_bytes or name_bytes > min(length - DIRENT.size, NAME_BYTES_MAX):
                raise Damaged(where, f"the name at {at} has a length of {name_bytes}")
            name = bytes(block[at + DIRENT.size : at + DIRENT.size + name_bytes])
            if b"/" in name or b"\0" in name:
                raise Damaged(where, f"the name at {at} cannot be one")
            if number > volume.inodes:
                raise Damaged(where, f"{name!r} leads to inode {number}, which there is not")
            yield Entry(name, number, kind)
        at += length


def check_block(inode: Inode, logical: int, block: Block, where: str) -> None:
    """The checksum, in the tail of a block of names, or behind an index's entries. Damaged."""
    size = len(block)
    at = _index_at(inode, logical, block)
    if at is None:
        tail = DIRENT.unpack_from(block, size - TAIL_BYTES)
        if tail != (0, TAIL_BYTES, 0, TAIL_TYPE):
            raise Damaged(where, "it has no checksum", checksum=True)
        told = int.from_bytes(block[size - 4 :], "little")
        if crc32c(inode.seed, block[: size - TAIL_BYTES]) != told:
            raise Damaged(where, "its checksum is wrong", checksum=True)
        return
    limit, count = struct.unpack_from("<HH", block, at)
    tail = at + limit * INDEX_ENTRY_BYTES
    if count > limit or tail + 8 > size:
        raise Damaged(where, "it has no checksum", checksum=True)
    right = crc32c(inode.seed, block[: at + count * INDEX_ENTRY_BYTES])
    right = crc32c(right, block[tail : tail + 4] + bytes(4))
    if right != int.from_bytes(block[tail + 4 : tail + 8], "little"):
        raise Damaged(where, "its checksum is wrong", checksum=True)


def _index_at(inode: Inode, logical: int, block: Block) -> int | None:
    """Where a block's entries of an index begin; None for a block of names.

    Its end does not tell: where names became an index, their checksum may still lie there.
    """
    if not inode.flags & InodeFlag.INDEX:
        return None
    if not logical:
        return ROOT_LIMIT_AT
    number, length, _, _ = DIRENT.unpack_from(block)
    whole = not number and length in (len(block), len(block) & 0xFFFF, 0xFFFF)
    return NODE_LIMIT_AT if whole else None
