"""Handlers of content: read, write, pages for mappings."""

from __future__ import annotations

from errno import EFBIG, EINVAL, EISDIR, EROFS, ETXTBSY
from typing import TYPE_CHECKING, Any

from bus.errors import PosixError
from services.fs import api
from services.fs.api import APPEND, Written
from services.fs.core_attr import accessed, drop_set_id
from services.fs.core_inode import Directory, File
from services.fs.core_need import Need
from services.fs.core_pages import SIZE_MAX, page_count, total

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.fs.supply import Supply

CHUNK_BYTES = 2 << 20
"""A longer write is done in steps of this: each has all its frames before it begins."""


class DataHandlers:
    """Content of regular files."""

    def __init__(self, supply: Supply) -> None:
        self._supply = supply
        self._tree = supply.tree
        self._nodes = supply.tree.nodes
        self._cache = supply.cache
        self._view = supply.ram.bytes
        self.handlers: dict[type[Any], Callable[[Any], Awaitable[Any]]] = {
            api.Read: self.read,
            api.ReadBytes: self.read_bytes,
            api.Write: self.write,
            api.WriteBytes: self.write_bytes,
            api.Pages: self.pages,
            api.Truncate: self.truncate,
        }

    def _file(self, node: int) -> File:
        inode = self._tree.inode(node)
        if not isinstance(inode, File):
            raise PosixError(EISDIR if isinstance(inode, Directory) else EINVAL)
        return inode

    async def read(self, request: api.Read) -> int:
        """pread(2)."""
        file, offset, extents = self._file(request.node), request.offset, request.extents
        if offset < 0:
            raise PosixError(EINVAL)
        cache = self._cache
        try:
            count = cache.read(file, offset, extents)
        except Need as need:
            await self._supply.fetch(need)
            count = await self._supply.run(lambda: cache.read(file, offset, extents))
        if file.stale_atime:
            accessed(file, await self._supply.now())
        return count

    async def read_bytes(self, request: api.ReadBytes) -> bytes:
        """The kernel's own small reads."""
        file, offset, length = self._file(request.node), request.offset, request.length_bytes
        if offset < 0 or length < 0:
            raise PosixError(EINVAL)
        return await self._supply.run(lambda: self._cache.read_bytes(file, offset, length))

    async def write(self, request: api.Write) -> Written:
        """pwrite(2)."""
        file, extents = self._file(request.node), request.extents
        length = total(extents)
        offset = file.size if request.offset == APPEND else request.offset
        if offset < 0:
            raise PosixError(EINVAL)
        if not length:
            return Written(0, offset)
        if request.limit_bytes is not None:
            if offset >= request.limit_bytes:
                raise PosixError(EFBIG)
            length = min(length, request.limit_bytes - offset)
        now = await self._supply.now()
        cache = self._cache
        count = await self._supply.run(lambda: cache.write(file, offset, extents, length))
        drop_set_id(file, request.cred)
        file.modify(now)
        return Written(count, offset + count)

    async def write_bytes(self, request: api.WriteBytes) -> Written:
        """The kernel's own small writes."""
        file = self._file(request.node)
        offset = file.size if request.offset == APPEND else request.offset
        if offset < 0:
            raise PosixError(EINVAL)
        data, cache = request.data, self._cache
        if not data:
            return Written(0, offset)
        now = await self._supply.now()
        count = await self._supply.run(lambda: cache.write_bytes(file, offset, data))
        file.modify(now)
        return Written(count, offset + count)

    async def pages(self, request: api.Pages) -> tuple[int, ...]:
        """Frames for a mapping."""
        file = self._file(request.node)
        first = request.first
        count = min(request.count, page_count(file.size) - first)
        if first < 0 or count <= 0:
            return ()
        for_write = request.for_write
        cache = self._cache
        if for_write:
            file.modify(await self._supply.now())
        return await self._supply.run(lambda: cache.map(file, first, count, for_write))

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
        await self._supply.truncate(file, length)
        drop_set_id(file, request.cred)
        file.modify(now)
