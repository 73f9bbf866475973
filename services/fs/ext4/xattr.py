"""Extended attributes: behind the inode's fields, and in a block of their own (xattr(7))."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.fs.ext4.checksum import crc32c
from services.fs.ext4.damage import Damaged
from services.fs.ext4.layout import INODE_BASE_BYTES, XATTR_ENTRY, XATTR_MAGIC

if TYPE_CHECKING:
    from services.fs.ext4.inode import Inode
    from services.fs.ext4.layout import Block
    from services.fs.ext4.volume import Volume

PREFIXES = {
    1: b"user.",
    2: b"system.posix_acl_access",
    3: b"system.posix_acl_default",
    4: b"trusted.",
    6: b"security.",
    7: b"system.",
}
BLOCK_HEADER_BYTES = 32
CHECKSUM_AT = 0x10


def attributes(volume: Volume, inode: Inode) -> dict[bytes, bytes]:
    """All of an inode's, by their whole names. NeedBlock, Damaged."""
    found: dict[bytes, bytes] = {}
    where = f"attributes of inode {inode.number}"
    start = INODE_BASE_BYTES + inode.extra_bytes
    raw = inode.raw
    if inode.extra_bytes and int.from_bytes(raw[start : start + 4], "little") == XATTR_MAGIC:
        _take(found, raw[start + 4 :], 0, where)
    if inode.xattr_block:
        block = volume.block(inode.xattr_block, where)
        if int.from_bytes(block[:4], "little") != XATTR_MAGIC:
            raise Damaged(where, "their block has no magic number")
        if volume.checksums:
            _check(volume, inode.xattr_block, block, where)
        _take(found, block, BLOCK_HEADER_BYTES, where)
    return found


def _check(volume: Volume, number: int, block: Block, where: str) -> None:
    cleared = block[:CHECKSUM_AT] + bytes(4) + block[CHECKSUM_AT + 4 :]
    right = crc32c(crc32c(volume.seed, number.to_bytes(8, "little")), cleared)
    if right != int.from_bytes(block[CHECKSUM_AT : CHECKSUM_AT + 4], "little"):
        raise Damaged(where, "their block's checksum is wrong", checksum=True)


def _take(found: dict[bytes, bytes], area: Block, at: int, where: str) -> None:
    """Entries from `at` on; their values' offsets count from the beginning of `area`."""
    while area[at : at + 4] != bytes(4):
        if at + XATTR_ENTRY.size > len(area):
            raise Damaged(where, "the last is cut off")
        name_bytes, prefix, offset, elsewhere, size, _ = XATTR_ENTRY.unpack_from(area, at)
        name = area[at + XATTR_ENTRY.size : at + XATTR_ENTRY.size + name_bytes]
        if len(name) != name_bytes or elsewhere or offset + size > len(area):
            raise Damaged(where, "a value lies outside")
        if prefix in PREFIXES:
            found[PREFIXES[prefix] + bytes(name)] = bytes(area[offset : offset + size])
        at += (XATTR_ENTRY.size + name_bytes + 3) & ~3
