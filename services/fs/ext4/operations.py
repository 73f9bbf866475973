"""What a file system does, each within one set of changes: names, links, attributes, orphans.

Every function runs inside `BlockCache.operation`; it may raise NeedBlock or PosixError anywhere,
for nothing counts before it has returned. Permissions, and whether a name makes sense, are for
whoever calls: here the volume's own limits are kept. Times are ns since 1970.

A file that loses its last name is an *orphan*, in a list that begins in the superblock and goes on
through the inodes' dtime, until `evict` frees it: whoever has it open still can use it, and after
a crash the list tells what is to be freed.
"""

from __future__ import annotations

import stat
from errno import EMLINK, ENAMETOOLONG, ENOENT, ENOTEMPTY
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.fs.ext4 import attributes, entries, groups, layout, placement
from services.fs.ext4.damage import Damaged
from services.fs.ext4.draft import Draft
from services.fs.ext4.inode import SECOND_NS
from services.fs.ext4.layout import INODE_MAP_BYTES, InodeFlag, RoCompat
from services.fs.ext4.lookup import find
from services.fs.ext4.mapping import Run

if TYPE_CHECKING:
    from services.fs.ext4.volume import Volume

LINK_MAX = 65000
NAME_MAX = 255
PART = 1 << 14
"""Blocks of a file with lists of them that are freed at a time: each list has to be read."""


def make(
    volume: Volume,
    parent: int,
    name: bytes,
    mode: int,
    owner: tuple[int, int],
    now: int,
    *,
    target: bytes = b"",
    rdev: int = 0,
) -> int:
    """A new file of any kind with one name; its number. EEXIST, ENOSPC, EMLINK, ENAMETOOLONG."""
    is_directory = stat.S_ISDIR(mode)
    number = groups.allocate_inode(volume, parent, is_directory)
    draft = Draft(volume, number, fresh=True)
    draft.put("mode", mode)
    draft.set_owner(*owner)
    for time in ("atime", "mtime", "ctime", "crtime"):
        draft.set_time(time, now)
    draft.links = 2 if is_directory else 1
    if stat.S_ISLNK(mode):
        _put_target(draft, target)
    elif is_directory:
        draft.begin_map()
        entries.begin(draft, parent)
    elif stat.S_ISREG(mode):
        draft.begin_map()
    elif stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        draft.set_device(rdev)
    draft.save()
    _add_name(volume, parent, name, number, mode, now)
    return number


def _put_target(draft: Draft, target: bytes) -> None:
    if len(target) >= draft.volume.block_bytes:
        raise PosixError(ENAMETOOLONG)
    if len(target) < INODE_MAP_BYTES:
        draft.map = target
    else:
        draft.begin_map()
        goal = draft.volume.inode_place(draft.number)[0]
        physical, _ = groups.allocate(draft.volume, goal, 1)
        placement.place(draft, Run(0, physical, 1))
        content = target.ljust(draft.volume.block_bytes, b"\0")
        draft.volume.cache.put_content(physical, content)
    draft.size = len(target)


def _add_name(volume: Volume, parent: int, name: bytes, number: int, mode: int, now: int) -> None:
    if not 0 < len(name) <= NAME_MAX:
        raise PosixError(ENAMETOOLONG)
    directory = Draft(volume, parent)
    if not directory.links:
        raise PosixError(ENOENT)  # it has been removed meanwhile
    entries.insert(directory, name, number, entries.kind_of(mode))
    if stat.S_ISDIR(mode):
        _count_subdirectory(directory, 1)
    _touch(directory, now)
    directory.essential = True
    directory.save()


def _touch(draft: Draft, now: int) -> None:
    draft.set_time("mtime", now)
    draft.set_time("ctime", now)


def _count_subdirectory(directory: Draft, change: int) -> None:
    """A subdirectory came or went; 1 link says that there are too many to count."""
    if directory.links == 1:
        return
    links = directory.links + change
    if links >= LINK_MAX:
        if not directory.volume.ro_compat & RoCompat.DIR_NLINK:
            raise PosixError(EMLINK)
        links = 1
    directory.links = links


def link(volume: Volume, number: int, parent: int, name: bytes, now: int) -> None:
    """One more name. EMLINK, EEXIST, ENOSPC."""
    draft = Draft(volume, number)
    if draft.links >= LINK_MAX:
        raise PosixError(EMLINK)
    if not draft.links:
        _leave_orphans(volume, draft)
    draft.links += 1
    draft.set_time("ctime", now)
    draft.save()
    _add_name(volume, parent, name, number, draft.get("mode"), now)


def remove(volume: Volume, parent: int, name: bytes, now: int, *, held: bool = True) -> int:
    """Take a name away, of a directory too if it is empty; its inode. ENOENT, ENOTEMPTY.

    `held`: somebody has it open; otherwise it is freed at once if that was the last name.
    """
    directory = Draft(volume, parent)
    number = entries.remove(directory, name)
    draft = Draft(volume, number)
    if draft.is_directory:
        if not entries.is_empty(draft):
            raise PosixError(ENOTEMPTY)
        _count_subdirectory(directory, -1)
    _touch(directory, now)
    directory.essential = True
    directory.save()
    _lose_name(volume, number, now, held)
    return number


def _lose_name(volume: Volume, number: int, now: int, held: bool) -> None:
    draft = Draft(volume, number)
    if not draft.links:
        raise Damaged(f"inode {number}", "it has a name, but no links")
    draft.links = 0 if draft.is_directory else draft.links - 1
    draft.set_time("ctime", now)
    if draft.links:
        draft.save()
    elif held or _is_long(draft):
        _join_orphans(volume, draft)
        draft.save()
    else:
        _free(volume, draft, now)


def rename(
    volume: Volume,
    old: tuple[int, bytes],
    new: tuple[int, bytes],
    now: int,
    *,
    exchange: bool = False,
    held: bool = True,
) -> None:
    """renameat2(2): from (directory, name) to (directory, name). ENOENT, ENOTEMPTY, ENOSPC.

    `held`: somebody has open what is replaced.
    """
    (source, name), (goal, new_name) = old, new
    there = find(volume, volume.inode(goal), new_name)
    if exchange:
        _exchange(volume, old, new, now)
        return
    from_directory = Draft(volume, source)
    number = entries.remove(from_directory, name)
    _touch(from_directory, now)
    moved = Draft(volume, number)
    is_directory = moved.is_directory
    if is_directory:
        _count_subdirectory(from_directory, -1)
    from_directory.essential = True
    from_directory.save()
    kind = entries.kind_of(moved.get("mode"))
    to_directory = Draft(volume, goal)
    victim = None
    if there is not None:
        victim = entries.replace(to_directory, new_name, number, kind)
        if is_directory and not entries.is_empty(Draft(volume, victim)):
            raise PosixError(ENOTEMPTY)
    else:
        if not 0 < len(new_name) <= NAME_MAX:
            raise PosixError(ENAMETOOLONG)
        entries.insert(to_directory, new_name, number, kind)
    if is_directory and victim is None:
        _count_subdirectory(to_directory, 1)
    _touch(to_directory, now)
    to_directory.essential = True
    to_directory.save()
    moved.set_time("ctime", now)
    if is_directory and source != goal:
        entries.replace(moved, b"..", goal, 2)
    moved.save()
    if victim is not None:
        _lose_name(volume, victim, now, held)


def _exchange(volume: Volume, old: tuple[int, bytes], new: tuple[int, bytes], now: int) -> None:
    found = [find(volume, volume.inode(parent), name) for parent, name in (old, new)]
    numbers = [0 if one is None else one[0].inode for one in found]
    drafts = [Draft(volume, number) for number in numbers]
    crossing = old[0] != new[0]
    for (parent, name), mine, other in ((old, 0, 1), (new, 1, 0)):
        directory = Draft(volume, parent)
        kind = entries.kind_of(drafts[other].get("mode"))
        entries.replace(directory, name, numbers[other], kind)
        if crossing:
            change = drafts[other].is_directory - drafts[mine].is_directory
            if change:
                _count_subdirectory(directory, change)
        _touch(directory, now)
        directory.essential = True
        directory.save()
    for draft, goal in ((drafts[0], new[0]), (drafts[1], old[0])):
        draft.set_time("ctime", now)
        if draft.is_directory and crossing:
            entries.replace(draft, b"..", goal, 2)
        draft.save()


# Attributes


def set_attributes(
    volume: Volume,
    number: int,
    *,
    mode: int | None = None,
    owner: tuple[int | None, int | None] = (None, None),
    times: tuple[int | None, int | None] = (None, None),
    ctime: int | None = None,
) -> None:
    """chmod(2), chown(2) with (uid, gid), utimensat(2) with (atime, mtime)."""
    draft = Draft(volume, number)
    if mode is not None:
        draft.put("mode", stat.S_IFMT(draft.get("mode")) | stat.S_IMODE(mode))
        draft.essential = True
    uid, gid = owner
    if uid is not None or gid is not None:
        view = draft.view
        draft.set_owner(view.uid if uid is None else uid, view.gid if gid is None else gid)
        draft.essential = True
    for name, time in (("atime", times[0]), ("mtime", times[1]), ("ctime", ctime)):
        if time is not None:
            draft.set_time(name, time)
    draft.save()


def set_atime(volume: Volume, number: int, generation: int, time_ns: int) -> None:
    """When it was read, if it is still the same file."""
    draft = Draft(volume, number)
    if draft.links and draft.get("generation") == generation:
        draft.set_time("atime", time_ns)
        draft.save()


def set_xattr(volume: Volume, number: int, name: bytes, value: bytes | None, now: int) -> None:
    """setxattr(2), or removexattr(2) where `value` is None. ENOSPC, EOPNOTSUPP."""
    draft = Draft(volume, number)
    attributes.put(draft, name, value)
    draft.set_time("ctime", now)
    draft.essential = True
    draft.save()


# Orphans


def _put_last_orphan(volume: Volume, number: int) -> None:
    buffer, at = volume.edit_super()
    layout.SUPER.put(buffer, "last_orphan", number, at)
    volume.seal_super(buffer)


def _join_orphans(volume: Volume, draft: Draft) -> None:
    """At the head of the list; its dtime is the next one's number."""
    orphans, number = volume.orphans, draft.number
    draft.put("dtime", orphans[0] if orphans else 0)
    _put_last_orphan(volume, number)
    volume.cache.open.afterwards.append(lambda: orphans.insert(0, number))


def _leave_orphans(volume: Volume, draft: Draft) -> None:
    orphans, number = volume.orphans, draft.number
    if number not in orphans:
        return
    at = orphans.index(number)
    following = orphans[at + 1] if at + 1 < len(orphans) else 0
    if at:
        before = Draft(volume, orphans[at - 1])
        before.put("dtime", following)
        before.save()
    else:
        _put_last_orphan(volume, following)
    draft.put("dtime", 0)
    volume.cache.open.afterwards.append(lambda: orphans.remove(number))


def evict(volume: Volume, number: int, now: int) -> bool:
    """Nobody has an orphan any more: its blocks and its inode are free.

    False: a large file with lists of blocks has lost a part only, and it takes another time.
    """
    draft = Draft(volume, number)
    if draft.links:
        raise Damaged(f"inode {number}", "it is to go, but has links")
    if _is_long(draft):
        size = volume.block_bytes
        draft.size = (-(-draft.size // size) - PART) * size
        placement.cut(draft, draft.size // size)
        draft.save()
        return False
    _leave_orphans(volume, draft)
    _free(volume, draft, now)
    return True


def _is_long(draft: Draft) -> bool:
    """Whether freeing it takes more than one operation."""
    if draft.flags & InodeFlag.EXTENTS or not stat.S_ISREG(draft.get("mode")):
        return False
    return draft.size > PART * draft.volume.block_bytes


def _free(volume: Volume, draft: Draft, now: int) -> None:
    mode = draft.get("mode")
    long_link = stat.S_ISLNK(mode) and draft.view.short_target is None
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode) or long_link:
        placement.cut(draft, 0, metadata=stat.S_ISDIR(mode))
    attributes.drop_block(draft)
    draft.size = 0
    draft.put("dtime", max(now // SECOND_NS & 0xFFFF_FFFF, 1))
    draft.save()
    groups.free_inode(volume, draft.number, stat.S_ISDIR(mode))
    volume.cache.open.inodes.pop(draft.number, None)


def trim(volume: Volume, number: int) -> None:
    """An orphan that still has names (a truncation that a crash interrupted): finish it."""
    draft = Draft(volume, number)
    _leave_orphans(volume, draft)
    if stat.S_ISREG(draft.get("mode")):
        placement.cut(draft, -(-draft.size // volume.block_bytes))
    draft.save()
