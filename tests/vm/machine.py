"""What stands around vm in these tests: RAM, a file system of frames, and a core that walks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from bus.errors import PosixError
from services.drivers.ram.api import Ram
from services.vm import api
from services.vm.check import check
from services.vm.paging import PAGE_BYTES, PTE_FRAME
from services.vm.service import VmService

if TYPE_CHECKING:
    from bus.message import Request

R = TypeVar("R")
PAGE = PAGE_BYTES
RW = api.PROT_READ | api.PROT_WRITE
RX = api.PROT_READ | api.PROT_EXEC
ANON = api.MAP_PRIVATE | api.MAP_ANONYMOUS
READ, WRITE, FETCH = api.ACCESS_READ, api.ACCESS_WRITE, api.ACCESS_FETCH
RESOLVED = api.Resolved()
MAPERR = api.Violation(11, 1)
ACCERR = api.Violation(11, 2)
BUSERR = api.Violation(7, 2)


class Segfault(Exception):
    """The access was answered with a signal."""


class File:
    """A file of `pages` pages in a page cache that holds one reference to each frame."""

    def __init__(self, node: int, pages: int) -> None:
        self.node = node
        self.pages = pages
        self.frames: dict[int, int] = {}
        self.references = 0


class Machine:
    """vm, called without a bus, and the parts of the kernel that it talks about."""

    def __init__(self, size_bytes: int = 32 << 20) -> None:
        self.ram = Ram(size_bytes)
        self.vm = VmService(self.ram, kernel_entry=0xABC000 | 3)
        self.files: dict[int, File] = {}
        self.views: dict[int, api.UserMemory] = {}
        self.for_write: list[tuple[int, int, int]] = []

    def call(self, request: Request[R]) -> R:
        """Drive the handler, which must not wait."""
        running: Any = self.vm.handlers[type(request)](request)
        try:
            running.send(None)
        except StopIteration as reply:
            result: R = reply.value
            return result
        raise AssertionError(f"{type(request).__name__} waited")

    def errno_of(self, request: Request[R]) -> int:
        """The errno a call fails with, 0 if it succeeds; what it dropped is accounted."""
        try:
            reply = self.call(request)
        except PosixError as error:
            return error.errno
        if isinstance(reply, api.MapReply):
            self.account(reply.dropped)
        return 0

    # -- spaces -----------------------------------------------------------------------------

    def space(self) -> int:
        """A new space with the usual layout."""
        number = self.call(api.CreateSpace()).space
        layout = api.SetLayout(number, 0x60_0000, 0x7FFF_0000_0000, 8 << 20, 0x7FFE_0000_0000)
        self.call(layout)
        return number

    def map(self, space: int, pages: int, prot: int = RW, **more: Any) -> int:
        """An anonymous mapping (unless `node` is given); replies with its address."""
        more.setdefault("flags", ANON if "node" not in more else api.MAP_PRIVATE)
        reply = self.call(api.Map(space, more.pop("vaddr", 0), pages * PAGE, prot, **more))
        self.account(reply.dropped)
        if reply.acquired:
            self.files[more["node"]].references += 1
        return reply.vaddr

    def unmap(self, space: int, vaddr: int, pages: int) -> None:
        """munmap(2), with the references to files."""
        self.account(self.call(api.Unmap(space, vaddr, pages * PAGE)))

    def remap(self, space: int, vaddr: int, old: int, new: int, flags: int, to: int = 0) -> int:
        """mremap(2) in pages."""
        reply = self.call(api.Remap(space, vaddr, old * PAGE, new * PAGE, flags, to))
        self.account(reply.dropped)
        return reply.vaddr

    def fork(self, space: int) -> int:
        """fork(2)."""
        reply = self.call(api.ForkSpace(space))
        for node in reply.files:
            self.files[node].references += 1
        return reply.space

    def destroy(self, space: int) -> None:
        """The last thread has gone."""
        self.account(self.call(api.DestroySpace(space)))

    def account(self, dropped: tuple[int, ...]) -> None:
        """Release what a reply says was dropped."""
        for node in dropped:
            self.files[node].references -= 1
            assert self.files[node].references >= 0

    # -- files ------------------------------------------------------------------------------

    def file(self, pages: int, *, holes: bool = False) -> File:
        """A file whose page n starts with n + 1, or which is all hole."""
        node = 100 + len(self.files)
        file = self.files[node] = File(node, pages)
        if not holes:
            for page in range(pages):
                self.frame(file, page)
                self.ram.bytes[file.frames[page] * PAGE] = page + 1
        return file

    def frame(self, file: File, page: int) -> int:
        """The frame of a page, made if it was a hole."""
        if page not in file.frames:
            (file.frames[page],) = self.call(api.AllocFrames(1, True))
        return file.frames[page]

    def pages(self, need: api.NeedPages) -> tuple[int, ...]:
        """What fs would answer."""
        file = self.files[need.node]
        wanted = range(need.first, min(need.first + need.count, file.pages))
        if need.for_write:
            self.for_write.append((need.node, need.first, need.count))
            return tuple(self.frame(file, page) for page in wanted)
        return tuple(file.frames.get(page, 0) for page in wanted)

    def truncate(self, file: File, pages: int) -> None:
        """The file shrinks: first the mappings forget, then the cache."""
        file.pages = pages
        self.call(api.UnmapNode(file.node, pages))
        for page in [page for page in file.frames if page >= pages]:
            self.call(api.FreeFrames((file.frames.pop(page),)))

    def byte(self, file: File, page: int) -> int:
        """First byte of a page of a file."""
        frame = file.frames.get(page)
        return self.ram.bytes[frame * PAGE] if frame else 0

    # -- the core ---------------------------------------------------------------------------

    def touch(self, space: int, vaddr: int, access: int) -> api.FaultReply:
        """One fault, with all that follows from it."""
        reply = self.call(api.Fault(space, vaddr, access))
        while isinstance(reply, api.NeedPages):
            pfns = self.pages(reply)
            reply = self.call(api.InstallPages(space, reply, pfns, access))
        return reply

    def memory(self, space: int) -> api.UserMemory:
        """The space as system calls see it."""
        if space not in self.views:
            root = self.vm.core.spaces[space].tables.root_paddr
            self.views[space] = api.UserMemory(self.ram, root)
        return self.views[space]

    def resolve(self, space: int, vaddr: int, access: int) -> int:
        """Physical address for an access, after as many faults as it takes."""
        view = self.memory(space)
        for _ in range(3):
            try:
                return view.extents(vaddr, 1, access == WRITE)[0][0]
            except api.PageMiss as miss:
                reply = self.touch(space, miss.vaddr, access)
                if isinstance(reply, api.Violation):
                    raise Segfault(reply.signal, reply.code) from None
                assert reply == RESOLVED
        raise AssertionError("the fault does not go away")

    def read(self, space: int, vaddr: int) -> int:
        """A load of one byte."""
        return self.ram.bytes[self.resolve(space, vaddr, READ)]

    def write(self, space: int, vaddr: int, value: int) -> None:
        """A store of one byte."""
        self.ram.bytes[self.resolve(space, vaddr, WRITE)] = value

    def entry(self, space: int, vaddr: int) -> int:
        """The leaf entry of an address."""
        return self.vm.core.spaces[space].tables.entry(vaddr >> 12)

    def pfn(self, space: int, vaddr: int) -> int:
        """The frame at an address."""
        return (self.entry(space, vaddr) & PTE_FRAME) >> 12

    # -- the end ----------------------------------------------------------------------------

    def check(self) -> None:
        """All invariants, with the page cache's references."""
        others = {pfn: 1 for file in self.files.values() for pfn in file.frames.values()}
        check(self.vm.core, others)
        for file in self.files.values():
            users = [s for s in self.vm.core.spaces.values() if file.node in s.regions.files]
            assert file.references == len(users)

    def close(self) -> None:
        """Destroy everything and see that nothing leaked."""
        self.check()
        for space in list(self.vm.core.spaces):
            self.destroy(space)
        for file in self.files.values():
            self.call(api.FreeFrames(tuple(file.frames.values())))
            file.frames.clear()
        self.check()
        counts = self.call(api.Frames())
        assert counts.free == counts.total
        assert counts.spaces == 0
