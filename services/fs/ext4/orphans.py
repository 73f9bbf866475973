"""Orphans that a crash left: the list in the superblock, and Linux's file of them.

We keep the list only. The file (`orphan_file`, in volumes that have it) is Linux's way to add many
at once: blocks of inode numbers, 0 where there is none. Where Linux went down with some in it, the
superblock says so (`ORPHAN_PRESENT`), and they are taken from there.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from services.fs.ext4 import layout, mapping, operations
from services.fs.ext4.checksum import crc32c
from services.fs.ext4.damage import Damaged
from services.fs.ext4.layout import RoCompat

if TYPE_CHECKING:
    from services.fs.ext4.inode import Inode
    from services.fs.ext4.volume import Volume

ORPHANS_MAX = 1 << 20
NEXT_AT = 0x14
TAIL_BYTES = 8


def listed(volume: Volume) -> list[int]:
    """The superblock's list, from its head. NeedBlock, Damaged."""
    found: list[int] = []
    seen: set[int] = set()
    number = volume.last_orphan
    while number:
        if number in seen or len(found) > ORPHANS_MAX:
            raise Damaged(f"inode {number}", "the list of orphans goes round in a circle")
        found.append(number)
        seen.add(number)
        raw = volume.inode(number).raw
        number = int.from_bytes(raw[NEXT_AT : NEXT_AT + 4], "little")
    return found


def filed(volume: Volume) -> list[int]:
    """Those in the file, if there are any. NeedBlock, Damaged."""
    if not volume.ro_compat & RoCompat.ORPHAN_PRESENT:
        return []
    inode = volume.inode(volume.orphan_file)
    found: list[int] = []
    for block in _blocks(volume, inode):
        raw = volume.block(block, "file of orphans")[: volume.block_bytes - TAIL_BYTES]
        words = memoryview(bytes(raw)).cast("I")
        found += [number for number in words if number]
    return found


def _blocks(volume: Volume, inode: Inode) -> list[int]:
    whole = mapping.runs(volume, inode, 0, inode.size // volume.block_bytes)
    return [run.physical + at for run in whole for at in range(run.count)]


def finish(volume: Volume, number: int, now: int) -> bool:
    """An operation: free it, or cut it; true when it is done."""
    if volume.inode(number).links:
        operations.trim(volume, number)
        return True
    return operations.evict(volume, number, now)


def empty_file(volume: Volume) -> None:
    """An operation: all in the file have been dealt with."""
    inode = volume.inode(volume.orphan_file)
    for block in _blocks(volume, inode):
        buffer = volume.cache.edit(block)
        end = len(buffer) - TAIL_BYTES
        buffer[:end] = bytes(end)
        if volume.checksums:
            right = crc32c(crc32c(inode.seed, block.to_bytes(8, "little")), buffer[:end])
            buffer[-4:] = right.to_bytes(4, "little")
    buffer, at = volume.edit_super()
    told = layout.SUPER.get(buffer, "ro_compat", at) & ~RoCompat.ORPHAN_PRESENT
    layout.SUPER.put(buffer, "ro_compat", told, at)
    volume.seal_super(buffer)
    clear = functools.partial(setattr, volume, "ro_compat", RoCompat(told))
    volume.cache.open.afterwards.append(clear)
