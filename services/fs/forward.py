"""Changes to volumes whose store takes them first (read-write binds)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.fs import api
    from services.fs.core_inode import Dentry, Inode
    from services.fs.core_names import Rename
    from services.fs.core_walk import Place
    from services.fs.supply import Supply


class Forwarder:
    def __init__(self, supply: Supply) -> None:
        self._supply = supply

    async def opening(self, inode: Inode, flags: int) -> None:
        raise NotImplementedError

    async def make(
        self, parent: Dentry, name: bytes, mode: int, cred: api.Cred, now: int, target: bytes = b""
    ) -> Dentry:
        raise NotImplementedError

    async def link(self, old: Dentry, where: Place, now: int) -> None:
        raise NotImplementedError

    async def remove(self, dentry: Dentry, now: int) -> None:
        raise NotImplementedError

    async def rename(self, rename: Rename, flags: int, now: int) -> None:
        raise NotImplementedError

    async def set_attr(
        self, inode: Inode, request: api.SetAttr, mode: int | None, now: int
    ) -> None:
        raise NotImplementedError
