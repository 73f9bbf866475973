"""The page cache: file content in frames of RAM.

`File.pages` maps page numbers to frames. A page that is not there is a hole where nothing backs
the file (or past `backed_bytes`), else it is still in the store. Frame 0 is never given out:
there it marks a hole in the middle of what the store has.

Everything copies whole runs: neighbouring pages in neighbouring frames are one run. A frame that
was ever mapped executable may hold translated code (vm's `code_flags` say so): changing it rings
DOORBELL_CODE.
"""

from __future__ import annotations

from errno import EFBIG, ENOSPC, EPERM
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.drivers.ram.api import DOORBELL_CODE, PAGE_BYTES, PAGE_SHIFT
from services.fs.core_inode import File
from services.fs.core_need import NeedFrames, NeedPages
from services.fs.extents import outside
from services.vm.api import code_flags

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from services.drivers.ram.api import Extent, Ram
    from services.fs.core_frames import Frames
    from services.fs.core_inode import Inode

PAGE_MASK = PAGE_BYTES - 1
SIZE_MAX = (1 << 63) - 1
HOLE = -1
"""Physical address of a run that is not there and reads as zeros."""

SEAL_SEAL, SEAL_SHRINK, SEAL_GROW, SEAL_WRITE, SEAL_FUTURE_WRITE = 1, 2, 4, 8, 16


def page_count(length_bytes: int) -> int:
    """Pages that hold `length_bytes`."""
    return (length_bytes + PAGE_MASK) >> PAGE_SHIFT


def runs(pages: dict[int, int], offset: int, length_bytes: int) -> list[Extent]:
    """Where a range of a file is in RAM, as few runs as there are; HOLE where it is not."""
    found: list[Extent] = []
    get = pages.get
    index = offset >> PAGE_SHIFT
    start = offset & PAGE_MASK
    run, run_bytes = 0, 0
    while length_bytes > 0:
        count = PAGE_BYTES - start
        if count > length_bytes:
            count = length_bytes
        pfn = get(index, 0)
        paddr = (pfn << PAGE_SHIFT) + start if pfn else HOLE
        if run_bytes and paddr == (run + run_bytes if run != HOLE else HOLE):
            run_bytes += count
        else:
            if run_bytes:
                found.append((run, run_bytes))
            run, run_bytes = paddr, count
        length_bytes -= count
        index += 1
        start = 0
    if run_bytes:
        found.append((run, run_bytes))
    return found


def copy(ram: Ram, targets: Sequence[Extent], sources: Sequence[Extent]) -> int:
    """Copy between two lists of runs until either ends; replies with the bytes copied."""
    view = ram.bytes
    done = 0
    left = iter(targets)
    target, room = 0, 0
    for source, length in sources:
        while length:
            while not room:
                following = next(left, None)
                if following is None:
                    return done
                target, room = following
            count = room if room < length else length
            if source == HOLE:
                if not 0 <= target <= len(view) - count:
                    raise outside(targets)
                ram.zero(target, count)
            else:
                try:
                    view[target : target + count] = view[source : source + count]
                except ValueError:
                    raise outside((*targets, *sources)) from None
                source += count
            target += count
            room -= count
            length -= count
            done += count
    return done


def total(extents: Iterable[Extent]) -> int:
    """Bytes in a list of runs."""
    return sum([length for _, length in extents])


class PageCache:
    """Reads and writes files through their pages."""

    def __init__(self, ram: Ram, frames: Frames) -> None:
        self.ram = ram
        self._code = code_flags(ram)
        self.frames = frames
        frames.attach(ram)

    # ── reading ─────────────────────────────────────────────────────────────────────────────

    def need(self, file: File, first: int, count: int, spare: range | None = None) -> None:
        """Raise NeedPages for what the store must give of `count` pages from `first`."""
        if file.origin is None:
            return
        end = min(first + count, file.backed_pages)
        pages = file.pages
        for index in range(first, end):
            if index not in pages:
                raise NeedPages(file, index, end - index, spare or range(first, end))

    def read(self, file: File, offset: int, extents: Sequence[Extent]) -> int:
        """pread(2); replies with the bytes read, fewer than asked for only at end of file."""
        length = min(total(extents), file.size - offset)
        if length <= 0:
            return 0
        self.need(file, offset >> PAGE_SHIFT, page_count((offset & PAGE_MASK) + length))
        file.recent = True
        return copy(self.ram, extents, runs(file.pages, offset, length))

    def read_bytes(self, file: File, offset: int, length_bytes: int) -> bytes:
        """The same into a bytes object."""
        length = min(length_bytes, file.size - offset)
        if length <= 0:
            return b""
        self.need(file, offset >> PAGE_SHIFT, page_count((offset & PAGE_MASK) + length))
        file.recent = True
        view = self.ram.bytes
        return b"".join(
            [
                bytes(count) if paddr == HOLE else view[paddr : paddr + count]
                for paddr, count in runs(file.pages, offset, length)
            ]
        )

    def loaded(self, file: File, first: int, pfns: Sequence[int], length_bytes: int) -> None:
        """The store filled frames for pages from `first`, `length_bytes` in all.

        Pages that came up or went meanwhile keep their newer content: frames left over go back.
        """
        spare: list[int] = []
        backed = file.backed_pages
        end = file.backed_bytes
        for index, pfn in enumerate(pfns, first):
            start = index << PAGE_SHIFT
            if index >= backed or index in file.pages:
                spare.append(pfn)
                continue
            valid = min(PAGE_BYTES, end - start, length_bytes - ((index - first) << PAGE_SHIFT))
            if valid < PAGE_BYTES:
                valid = max(valid, 0)
                self.ram.zero((pfn << PAGE_SHIFT) + valid, PAGE_BYTES - valid)
            file.pages[index] = pfn
        file.charge()
        file.recent = True
        self.frames.clean[file] = None
        self.frames.give_up(spare)

    def quick_write(self, file: File, offset: int, extents: Sequence[Extent], length: int) -> bool:
        """Write a piece of a page that is there and stays in memory anyway; False if it is not."""
        start = offset & PAGE_MASK
        if start + length > PAGE_BYTES or file.seals > 0 or len(extents) != 1:
            return False
        index = offset >> PAGE_SHIFT
        pfn = file.pages.get(index)
        if not pfn or (file.origin is not None and index not in file.dirty):
            return False
        if offset > file.size:
            self.reveal(file, offset)
        target = (pfn << PAGE_SHIFT) + start
        source = extents[0][0]
        view = self.ram.bytes
        try:
            view[target : target + length] = view[source : source + length]
        except ValueError:
            raise outside(extents) from None
        if offset + length > file.size:
            file.size = offset + length
        if self._code[pfn]:
            self.ram.ring(DOORBELL_CODE)
        return True

    # ── writing ─────────────────────────────────────────────────────────────────────────────

    def fill(self, file: File, first: int, last: int, cover: tuple[int, int]) -> int:
        """Make pages `first` to `last` writable and kept in memory; replies with the last that is.

        New ones are zeroed but for the bytes in `cover` (start, end), which the caller writes.
        May stop early where memory ends; ENOSPC if not even the first page is to be had.
        """
        pages = file.pages
        backed = file.origin is not None
        kept = file.dirty if backed else pages
        wanted = [index for index in range(first, last + 1) if index not in kept]
        if not wanted:
            return last
        room = self.frames.room(file.volume)
        if len(wanted) > room:
            last = wanted[room] - 1
            if last < first:
                raise PosixError(ENOSPC)
            del wanted[room:]
        if backed:
            start, end = cover
            for index in {first, last}:
                whole = start <= index << PAGE_SHIFT and end >= (index + 1) << PAGE_SHIFT
                if not whole:
                    self.need(file, index, 1, range(first, last + 1))
        new = [index for index in wanted if not pages.get(index)]
        if len(self.frames.free) < len(new):
            raise NeedFrames(len(new), file, range(first, last + 1))
        self.frames.charge(file.volume, len(wanted))
        self._take(file, new, cover)
        if backed:
            file.dirty.update(wanted)
        file.charge()
        return last

    def _take(self, file: File, new: list[int], cover: tuple[int, int]) -> None:
        start, end = cover
        take, pages, zero = self.frames.take, file.pages, self.ram.zero
        for index in new:
            pages[index] = pfn = take()
            if start > index << PAGE_SHIFT or end < (index + 1) << PAGE_SHIFT:
                zero(pfn << PAGE_SHIFT, PAGE_BYTES)

    def write(self, file: File, offset: int, extents: Sequence[Extent], length_bytes: int) -> int:
        """pwrite(2) of `length_bytes`; replies with the bytes written, fewer where memory ends."""
        length = self._sealed(file, offset, length_bytes)
        end = offset + length
        last = (end - 1) >> PAGE_SHIFT
        reached = self.fill(file, offset >> PAGE_SHIFT, last, (offset, end))
        if reached < last:
            length = ((reached + 1) << PAGE_SHIFT) - offset
        self.reveal(file, offset)
        done = copy(self.ram, runs(file.pages, offset, length), extents)
        self._written(file, offset, offset + done)
        return done

    def write_bytes(self, file: File, offset: int, data: bytes) -> int:
        """The same from a bytes object."""
        length = self._sealed(file, offset, len(data))
        last = (offset + length - 1) >> PAGE_SHIFT
        reached = self.fill(file, offset >> PAGE_SHIFT, last, (offset, offset + length))
        if reached < last:
            length = ((reached + 1) << PAGE_SHIFT) - offset
        self.reveal(file, offset)
        view, done = self.ram.bytes, 0
        for paddr, count in runs(file.pages, offset, length):
            view[paddr : paddr + count] = data[done : done + count]
            done += count
        self._written(file, offset, offset + done)
        return done

    def reveal(self, file: File, start: int) -> None:
        """A file will reach to `start` at least: what mappings wrote behind its end goes."""
        size = file.size
        if start > size and file.exposed and size & PAGE_MASK:
            pfn = file.pages.get(size >> PAGE_SHIFT)
            if pfn:
                tail = size & PAGE_MASK
                self.ram.zero((pfn << PAGE_SHIFT) + tail, PAGE_BYTES - tail)
                self.changed(file, pfn)

    def _sealed(self, file: File, offset: int, length: int) -> int:
        if offset > SIZE_MAX - 1:
            raise PosixError(EFBIG)
        length = min(length, SIZE_MAX - offset)
        if file.seals > 0:
            if file.seals & (SEAL_WRITE | SEAL_FUTURE_WRITE):
                raise PosixError(EPERM)
            if file.seals & SEAL_GROW and offset + length > file.size:
                length = file.size - offset
                if length <= 0:
                    raise PosixError(EPERM)
        return length

    def _written(self, file: File, start: int, end: int) -> None:
        if end > file.size:
            file.size = end
        if file.exposed:
            get = file.pages.get
            for index in range(start >> PAGE_SHIFT, page_count(end)):
                self.changed(file, get(index, 0))

    def changed(self, file: File, pfn: int) -> None:
        """A frame of a file was written: the cores must forget what they translated of it."""
        if file.exposed and self._code[pfn]:
            self.ram.ring(DOORBELL_CODE)

    def overwrite(self, file: File, offset: int, extents: Sequence[Extent], length: int) -> None:
        """The store took `length` bytes: pages that are cached take them too."""
        self.reveal(file, offset)
        position = 0
        for paddr, count in extents:
            left = min(count, length - position)
            while left > 0:
                start = offset + position
                step = min(left, PAGE_BYTES - (start & PAGE_MASK))
                pfn = file.pages.get(start >> PAGE_SHIFT)
                if pfn:
                    target = (pfn << PAGE_SHIFT) + (start & PAGE_MASK)
                    self.ram.copy(target, paddr, step)
                paddr += step
                position += step
                left -= step
        self._written(file, offset, offset + length)
        file.backed_bytes = file.size

    def overwrite_bytes(self, file: File, offset: int, content: bytes) -> None:
        """The same from a bytes object."""
        self.reveal(file, offset)
        view, end, position = self.ram.bytes, offset + len(content), offset
        while position < end:
            start = position & PAGE_MASK
            step = min(end - position, PAGE_BYTES - start)
            pfn = file.pages.get(position >> PAGE_SHIFT)
            if pfn:
                target = (pfn << PAGE_SHIFT) + start
                view[target : target + step] = content[position - offset :][:step]
            position += step
        self._written(file, offset, end)
        file.backed_bytes = file.size

    def wrote(self, file: File, index: int) -> None:
        """The store has a dirty page."""
        if index in file.dirty:
            self.frames.charge(file.volume, -1)
            file.dirty.discard(index)
            if file.pages:
                self.frames.clean[file] = None

    def written_back(self, file: File) -> None:
        """The store has all dirty pages; those that are still mapped for writing stay so."""
        done = file.dirty - self.frames.still_mapped(file)
        self.frames.charge(file.volume, -len(done))
        file.dirty -= done
        if file.pages:
            self.frames.clean[file] = None

    # ── mapping ─────────────────────────────────────────────────────────────────────────────

    def map(self, file: File, first: int, count: int, for_write: bool) -> tuple[int, ...]:
        """Frames for a mapping, 0 for a hole; they stay in the cache while a mapping holds them.

        Holes are filled for writing only: whoever shares a mapping asks again for writing, so
        that what others write shows.
        """
        last = first + count - 1
        self.need(file, first, count)
        if for_write:
            last = self.fill(file, first, last, (0, 0))
        file.recent = file.known_to_vm = file.exposed = True
        get = file.pages.get
        pfns = tuple([get(index, 0) for index in range(first, last + 1)])
        file.mapped.update([index for index, pfn in enumerate(pfns, first) if pfn])
        file.charge()
        return pfns

    # ── shrinking ───────────────────────────────────────────────────────────────────────────

    def truncate(self, file: File, length_bytes: int) -> bool:
        """ftruncate(2); says whether pages that may be mapped have gone."""
        if file.seals > 0 and (
            (file.seals & SEAL_SHRINK and length_bytes < file.size)
            or (file.seals & SEAL_GROW and length_bytes > file.size)
        ):
            raise PosixError(EPERM)
        shrinks = length_bytes < file.size
        mapped = file.known_to_vm
        if shrinks:
            self._drop_from(file, page_count(length_bytes))
            file.backed_bytes = min(file.backed_bytes, length_bytes)
            tail = length_bytes & PAGE_MASK
            pfn = file.pages.get(length_bytes >> PAGE_SHIFT) if tail else None
            if pfn:
                self.ram.zero((pfn << PAGE_SHIFT) + tail, PAGE_BYTES - tail)
                self.changed(file, pfn)
        self.reveal(file, length_bytes)
        file.size = length_bytes
        return shrinks and mapped

    def _drop_from(self, file: File, first: int) -> None:
        self.drop(file, [index for index in file.pages if index >= first])

    def forget_clean(self, inode: Inode) -> None:
        """The store has other content now: pages that nobody maps or has written go."""
        if isinstance(inode, File):
            file = inode
            held = file.dirty | self.frames.still_mapped(file)
            self.drop(file, [index for index in file.pages if index not in held])

    def drop(self, file: File, indices: Sequence[int]) -> None:
        """Pages leave the cache, whatever they hold; where they are backed they will be read."""
        pages = file.pages
        kept = sum(1 for i in indices if i in file.dirty) if file.origin else len(indices)
        pfns = [pages.pop(index) for index in indices]
        self.frames.charge(file.volume, -kept)
        self.frames.give_up([pfn for pfn in pfns if pfn])
        file.dirty.difference_update(indices)
        file.mapped.difference_update(indices)
        file.charge()
