"""Handlers of content: read, write, pages for mappings, size, space, sync.

The first lines of `read` and `write` are the hot path: one piece of one page that is in the cache
is copied on the spot. Everything else goes through the core.
"""

from __future__ import annotations

from errno import EFBIG, EINVAL, EISDIR, ENODEV, ENOMEM, ENOSPC, EROFS, ETXTBSY
from typing import TYPE_CHECKING, Any

from bus.errors import PosixError
from services.drivers.hosttree.api import ASIDE, BLOCKING, NOW
from services.drivers.ram.api import PAGE_BYTES
from services.fs import api
from services.fs.api import APPEND, NOT_CACHED, Written
from services.fs.core_attr import accessed
from services.fs.core_inode import Directory, File
from services.fs.core_need import Need, WouldWait
from services.fs.core_pages import SIZE_MAX, page_count, total
from services.fs.core_space import allocate, seek
from services.fs.core_tree import NAMES_NS
from services.fs.core_watch import IN_ACCESS, IN_MODIFY
from services.fs.extents import outside, part

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from services.drivers.ram.api import Extent
    from services.fs.forward import Forwarder
    from services.fs.supply import Supply

CHUNK_PAGES = 512
"""A longer read or write is done in steps: each has all its frames before it begins."""


class DataHandlers:
    """Content of regular files."""

    def __init__(self, supply: Supply, forward: Forwarder) -> None:
        self._supply = supply
        self._forward = forward
        self._tree = supply.tree
        self._nodes = supply.tree.nodes
        self._watches = supply.tree.watches
        self._cache = supply.cache
        self._view = supply.ram.bytes
        pages = min(CHUNK_PAGES, supply.tree.frames.cache_limit // 8)
        self._chunk_bytes = max(pages, 1) * PAGE_BYTES
        self.handlers: dict[type[Any], Callable[[Any], Awaitable[Any]]] = {
            api.Read: self.read,
            api.ReadBytes: self.read_bytes,
            api.Fetch: self.fetch,
            api.Write: self.write,
            api.WriteBytes: self.write_bytes,
            api.Pages: self.pages,
            api.Truncate: self.truncate,
            api.Allocate: self.allocate,
            api.SeekData: self.seek_data,
            api.Sync: self.sync,
        }

    def _file(self, node: int) -> File:
        inode = self._tree.inode(node)
        if not isinstance(inode, File):
            raise PosixError(EISDIR if isinstance(inode, Directory) else EINVAL)
        return inode

    # ── reading ─────────────────────────────────────────────────────────────────────────────

    async def read(self, request: api.Read) -> int:
        """pread(2)."""
        offset, extents = request.offset, request.extents
        if len(extents) == 1:
            dentry = self._nodes.get(request.node)
            file = None if dentry is None else dentry.inode
            if isinstance(file, File):
                paddr, length = extents[0]
                end = offset + length
                pfn = file.pages.get(offset >> 12)
                if pfn and end <= file.size and (offset & 0xFFF) + length <= 4096:
                    source = (pfn << 12) + (offset & 0xFFF)
                    view = self._view
                    try:
                        view[paddr : paddr + length] = view[source : source + length]
                    except ValueError:
                        raise outside(extents) from None
                    file.recent = True
                    if file.stale_atime or self._watches.active:
                        await self._was_read(request.node, file, length)
                    return length
        file = self._file(request.node)
        if offset < 0:
            raise PosixError(EINVAL)
        try:
            count = self._cache.read(file, offset, extents)
        except Need:
            try:
                count = await self._read(file, offset, extents, request.blocking)
            except WouldWait:
                return NOT_CACHED
        if not count and await self._grown(file):
            return await self.read(request)
        if file.stale_atime or (self._watches.active and count):
            await self._was_read(request.node, file, count)
        return count

    async def _grown(self, file: File) -> bool:
        """At the end of a file that the store may have more of by now."""
        store, size = file.volume.store, file.size
        if file.checked_ns > self._tree.ticks() - NAMES_NS or store is None:
            return False
        if file.volume.through is not None:
            return False
        await self._supply.follow.open_file(file, store)
        return file.size > size

    async def _read(
        self, file: File, offset: int, extents: Sequence[Extent], blocking: bool
    ) -> int:
        """In steps small enough that the pages of one stay in the cache."""
        cache, chunk, done = self._cache, self._chunk_bytes, 0
        # A disk cannot be waited for at once: the caller, who has fetched, fetches again.
        at_once = blocking and not file.volume.private
        length, patience = total(extents), BLOCKING if at_once else NOW
        while done < length:
            piece = part(extents, done, chunk)
            start = offset + done
            try:
                count = await self._supply.run(
                    lambda p=piece, s=start: cache.read(file, s, p),  # type: ignore[misc]
                    patience,
                )
            except PosixError:
                if not done:
                    raise
                break
            done += count
            if count < total(piece):
                break
        return done

    async def _was_read(self, node: int, file: File, count: int) -> None:
        if file.stale_atime:
            accessed(file, await self._supply.now())
        if self._watches.active and count and node in self._nodes:
            self._watches.tell_entry(self._nodes[node], IN_ACCESS)

    async def read_bytes(self, request: api.ReadBytes) -> bytes:
        """The kernel's own small reads."""
        file, offset, length = self._file(request.node), request.offset, request.length_bytes
        if offset < 0 or length < 0:
            raise PosixError(EINVAL)
        return await self._supply.run(lambda: self._cache.read_bytes(file, offset, length), ASIDE)

    async def fetch(self, request: api.Fetch) -> None:
        """Pages that a read or write was found to need."""
        file, cache = self._file(request.node), self._cache
        if request.offset < 0 or request.length_bytes < 0:
            raise PosixError(EINVAL)
        end = page_count(request.offset + request.length_bytes)
        step = self._chunk_bytes // PAGE_BYTES
        for first in range(request.offset // PAGE_BYTES, end, step):
            count = min(step, end - first)
            await self._supply.run(lambda f=first, n=count: cache.need(file, f, n), ASIDE)  # type: ignore[misc]

    # ── writing ─────────────────────────────────────────────────────────────────────────────

    async def write(self, request: api.Write) -> Written:
        """pwrite(2)."""
        file, extents = self._file(request.node), request.extents
        now = await self._supply.now()
        offset = file.size if request.offset == APPEND else request.offset
        length = total(extents)
        if offset < 0:
            raise PosixError(EINVAL)
        if not length:
            return Written(0, offset)
        limit = request.limit_bytes
        if limit is not None:
            if offset >= limit:
                raise PosixError(EFBIG)
            length = min(length, limit - offset)
        if file.volume.through is not None:
            count = await self._forward.write(file, offset, extents, length)
        elif self._cache.quick_write(file, offset, extents, length):
            count = length
        else:
            try:
                count = await self._write(
                    file, offset, extents, length, BLOCKING if request.blocking else NOW
                )
            except WouldWait:
                return Written(NOT_CACHED, offset)
        if file.mode & 0o6000:
            await self._forward.drop_set_id(file, request.cred)
        self._modified(request.node, file, now)
        return Written(count, offset + count)

    async def _write(
        self, file: File, offset: int, extents: Sequence[Extent], length: int, patience: int
    ) -> int:
        """In steps, each of which has its frames before it changes anything."""
        cache, supply = self._cache, self._supply
        if length <= self._chunk_bytes:
            return await supply.run(lambda: cache.write(file, offset, extents, length), patience)
        done = 0
        while done < length:
            piece = part(extents, done, min(self._chunk_bytes, length - done))
            start, size = offset + done, total(piece)
            try:
                count = await supply.run(
                    lambda p=piece, s=start, n=size: cache.write(file, s, p, n),  # type: ignore[misc]
                    patience,
                )
            except (PosixError, WouldWait):
                if not done:
                    raise
                break
            done += count
            if count < size:
                break
        return done

    def _modified(self, node: int, file: File, now: int) -> None:
        if file.volume.through is None:
            file.mtime_ns = file.ctime_ns = now
            file.stale_atime = file.changed = True
            file.attr = None
        if self._watches.active and node in self._nodes:
            self._watches.tell_entry(self._nodes[node], IN_MODIFY)

    async def write_bytes(self, request: api.WriteBytes) -> Written:
        """The kernel's own small writes."""
        file, data, cache = self._file(request.node), request.data, self._cache
        now = await self._supply.now()
        offset = file.size if request.offset == APPEND else request.offset
        if offset < 0:
            raise PosixError(EINVAL)
        if not data:
            return Written(0, offset)
        if file.volume.through is not None:
            count = await self._forward.write_bytes(file, offset, data)
        else:
            count = await self._supply.run(lambda: cache.write_bytes(file, offset, data))
        self._modified(request.node, file, now)
        return Written(count, offset + count)

    # ── mappings ────────────────────────────────────────────────────────────────────────────

    async def pages(self, request: api.Pages) -> tuple[int, ...]:
        """Frames for a mapping; no room for a page is ENOMEM."""
        file, first, for_write = self._file(request.node), request.first, request.for_write
        count = min(request.count, page_count(file.size) - first)
        if first < 0:
            raise PosixError(EINVAL)
        if count <= 0:
            return ()
        cache = self._cache
        if for_write and file.volume.through is None:
            file.modify(await self._supply.now())
        try:
            patience = ASIDE if request.may_wait else BLOCKING
            return await self._supply.run(
                lambda: cache.map(file, first, count, for_write), patience
            )
        except PosixError as refusal:
            raise PosixError(ENOMEM if refusal.errno == ENOSPC else refusal.errno) from None

    # ── size and space ──────────────────────────────────────────────────────────────────────

    async def truncate(self, request: api.Truncate) -> None:
        """ftruncate(2)."""
        file, length = self._file(request.node), request.length_bytes
        if length < 0:
            raise PosixError(EINVAL)
        if length > SIZE_MAX:
            raise PosixError(EFBIG)
        if file.volume.read_only:
            raise PosixError(EROFS)
        if file.denied:
            raise PosixError(ETXTBSY)
        now = await self._supply.now()
        if file.volume.through is not None:
            await self._forward.truncate(file, length)
        else:
            await self._supply.truncate(file, length)
        await self._forward.drop_set_id(file, request.cred)
        self._modified(request.node, file, now)

    async def allocate(self, request: api.Allocate) -> None:
        """fallocate(2)."""
        inode = self._tree.inode(request.node)
        if not isinstance(inode, File):
            raise PosixError(EISDIR if isinstance(inode, Directory) else ENODEV)
        file, mode, offset, length = inode, request.mode, request.offset, request.length_bytes
        now = await self._supply.now()
        if file.volume.through is not None:
            await self._forward.allocate(file, mode, offset, length)
        else:
            cache = self._cache
            await self._supply.run(lambda: allocate(cache, file, mode, offset, length))
        if request.cred is not None:
            await self._forward.drop_set_id(file, request.cred)
        self._modified(request.node, file, now)
        if self._tree.frames.overfull:
            await self._supply.settle()

    async def seek_data(self, request: api.SeekData) -> int:
        """lseek(2) with SEEK_DATA, SEEK_HOLE."""
        return seek(self._file(request.node), request.offset, request.hole)

    async def sync(self, request: api.Sync) -> None:
        """fsync(2), sync(2): what is in memory only has nowhere to go."""
        if request.node is None:
            for dentry in list(self._nodes.values()):
                inode = dentry.inode
                if isinstance(inode, File) and inode.dirty and inode.volume.through is not None:
                    await self._forward.flush(inode)
            for volume in list(self._tree.volumes.values()):
                if volume.through is not None:
                    await volume.through.sync_all()
            return
        inode = self._tree.inode(request.node)
        if inode.volume.through is not None:
            await self._forward.sync(inode, request.data_only)
