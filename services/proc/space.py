"""A process's address space as proc holds it, and access to its memory.

The page tables are vm's; proc keeps the number, the CR3 value and a count of the processes that
share it (vfork, CLONE_VM). Copies to and from user memory go through the page tables with the
program's own rights; a page that is not there is faulted in first, as the hardware would do.
"""

from __future__ import annotations

from errno import EFAULT, ENOMEM
from typing import TYPE_CHECKING, TypeVar

from bus.errors import PosixError
from services.fs.api import DenyWrite, EvictPages, Pages, Release, Retain
from services.vm.api import (
    DestroySpace,
    Fault,
    ForkSpace,
    InstallPages,
    NeedPages,
    NoMemory,
    PageMiss,
    Resolved,
    UserMemory,
    Violation,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bus.core import Port
    from bus.message import Request
    from services.drivers.ram.api import Extent, Ram

__all__ = ["AddressSpace", "make_room", "with_room"]

R = TypeVar("R")

ROOM_PAGES = 512
"""How much is taken from the page cache at once when vm has no frame left."""


async def make_room(fs: Port) -> None:
    """Have the page cache give frames back to vm; ENOMEM when it has none that it can spare."""
    if not await fs.call(EvictPages(ROOM_PAGES)):
        raise PosixError(ENOMEM)


async def with_room(vm: Port, fs: Port, request: Request[R]) -> R:
    """Ask vm for what takes frames; ENOMEM only when the page cache can spare none either.

    For requests that are refused for no other reason, and then have changed nothing.
    """
    while True:
        try:
            return await vm.call(request)
        except PosixError as refusal:
            if refusal.errno != ENOMEM:
                raise
            await make_room(fs)


class AddressSpace:
    """One address space; `users` counts the processes that live in it."""

    __slots__ = ("_fs", "_vm", "memory", "number", "program", "ram", "root_paddr", "users")

    def __init__(self, ram: Ram, vm: Port, fs: Port, number: int, root_paddr: int) -> None:
        self.ram = ram
        self._vm = vm
        self._fs = fs
        self.number = number
        self.root_paddr = root_paddr
        self.users = 1
        self.program: int | None = None
        """The node whose program it holds: nobody may open that for writing meanwhile."""
        self.memory = UserMemory(ram, root_paddr)

    async def fork(self) -> AddressSpace:
        """fork(2): a copy-on-write copy, with references of its own."""
        reply = await with_room(self._vm, self._fs, ForkSpace(self.number))
        twin = AddressSpace(self.ram, self._vm, self._fs, reply.space, reply.root_paddr)
        await twin.retain_files(reply.files)
        if self.program is not None:
            await self._fs.call(DenyWrite(self.program, True))
            twin.program = self.program
        return twin

    async def fault(self, vaddr: int, access: int, may_wait: bool = False) -> Violation | None:
        """Serve a page fault; None when the access may be tried again.

        With `may_wait` others run while a disk is waited for: not for who holds extents already.
        """
        reply = await self._vm.call(Fault(self.number, vaddr, access))
        while type(reply) is not Resolved:
            if type(reply) is NeedPages:
                pfns = await self._fs.call(
                    Pages(reply.node, reply.first, reply.count, reply.for_write, may_wait)
                )
                reply = await self._vm.call(InstallPages(self.number, reply, pfns, access))
            elif type(reply) is Violation:
                return reply
            elif type(reply) is NoMemory:
                await make_room(self._fs)
                # From the start: the pages to install may be among those that were given back.
                reply = await self._vm.call(Fault(self.number, vaddr, access))
        return None

    async def _miss(self, miss: PageMiss) -> None:
        if await self.fault(miss.vaddr, miss.access) is not None:
            raise PosixError(EFAULT)

    async def extents(self, vaddr: int, length_bytes: int, write: bool) -> list[Extent]:
        """The physical runs behind a user buffer; EFAULT if any of it is not accessible."""
        while True:
            try:
                return self.memory.extents(vaddr, length_bytes, write)
            except PageMiss as miss:
                await self._miss(miss)

    async def read(self, vaddr: int, length_bytes: int) -> bytes:
        """copy_from_user."""
        while True:
            try:
                return self.memory.read_bytes(vaddr, length_bytes)
            except PageMiss as miss:
                await self._miss(miss)

    async def write(self, vaddr: int, data: bytes) -> None:
        """copy_to_user; on EFAULT an earlier page may have been written, as on Linux."""
        while True:
            try:
                return self.memory.write_bytes(vaddr, data)
            except PageMiss as miss:
                await self._miss(miss)

    async def cstr(self, vaddr: int, limit_bytes: int) -> bytes | None:
        """A NUL-terminated string without its NUL; None if there is no NUL within the limit."""
        while True:
            try:
                return self.memory.read_cstr(vaddr, limit_bytes)
            except PageMiss as miss:
                await self._miss(miss)

    async def retain_files(self, nodes: Iterable[int]) -> None:
        """Take a reference at fs for each node that the space came to refer to."""
        for node in nodes:
            await self._fs.call(Retain(node))

    async def release_files(self, nodes: Iterable[int]) -> None:
        """Drop the references of nodes that the space no longer refers to."""
        for node in nodes:
            await self._fs.call(Release(node))

    async def leave(self) -> None:
        """One user less; the last one destroys it."""
        self.users -= 1
        if self.users == 0:
            if self.program is not None:
                await self._fs.call(DenyWrite(self.program, False))
            await self.release_files(await self._vm.call(DestroySpace(self.number)))
