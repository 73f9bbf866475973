"""A machine for file system tests: RAM, a bus, fs and the host tree driver; vm and the clock fake.

The fake vm counts references, so that a test can ask whether a frame leaked; its clock moves one
second with every look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bus.core import Bus
from bus.errors import PosixError
from services.drivers.clock.api import Now
from services.drivers.disk.service import DiskService
from services.drivers.hosttree.service import HostTreeService
from services.drivers.ram.api import PAGE_BYTES, Ram
from services.fs import api
from services.fs.api import At, Cred, Foreign, Opened
from services.fs.core_check import check
from services.fs.service import FsService, MountSpec
from services.vm.api import AllocFrames, FreeFrames, UnmapFrames, UnmapNode, reference_counts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from bus.message import Request

    Handlers = dict[type[Any], Callable[[Any], Awaitable[Any]]]

ROOT = Cred(0, 0)
USER = Cred(1000, 1000, frozenset({1000, 50}))
SECOND_NS = 10**9
START_NS = 1_700_000_000 * SECOND_NS
USER_FRAMES = 64
"""Frames at `MEMORY` that tests use as user memory."""
MEMORY = 16 * PAGE_BYTES
RESERVED_FRAMES = 16 + USER_FRAMES
"""What vm gives out starts here."""


class Counts(dict[int, int]):
    """References by frame, which show in RAM too."""

    def __init__(self, ram: Ram) -> None:
        super().__init__()
        self._shown = reference_counts(ram)

    def __setitem__(self, pfn: int, count: int) -> None:
        super().__setitem__(pfn, count)
        self._shown[pfn] = count

    def __delitem__(self, pfn: int) -> None:
        super().__delitem__(pfn)
        self._shown[pfn] = 0


class FakeVm:
    """Frames with reference counts, handed out in ascending order."""

    def __init__(self, ram: Ram) -> None:
        self.free = list(range(ram.frames - 1, RESERVED_FRAMES - 1, -1))
        self.references = Counts(ram)
        self.unmapped: list[tuple[int, int]] = []
        self.calls = 0
        self.handlers: Handlers = {
            AllocFrames: self.alloc,
            FreeFrames: self.release,
            UnmapNode: self.unmap,
            UnmapFrames: self.unmap_frames,
        }

    async def alloc(self, request: AllocFrames) -> tuple[int, ...]:
        self.calls += 1
        if request.count > len(self.free):
            raise PosixError(12)
        pfns = [self.free.pop() for _ in range(request.count)]
        for pfn in pfns:
            self.references[pfn] = 1
        return tuple(pfns)

    async def release(self, request: FreeFrames) -> None:
        self.calls += 1
        for pfn in request.pfns:
            self.references[pfn] -= 1
            if not self.references[pfn]:
                del self.references[pfn]
                self.free.append(pfn)

    async def unmap_frames(self, request: UnmapFrames) -> None:
        for pfn in request.pfns:
            self.references[pfn] = 1

    async def unmap(self, request: UnmapNode) -> None:
        self.unmapped.append((request.node, request.from_page))


class FakeClock:
    def __init__(self) -> None:
        self.now_ns = START_NS
        self.step_ns = SECOND_NS
        self.handlers: Handlers = {Now: self.now}

    async def now(self, request: Now) -> int:
        self.now_ns += self.step_ns
        return self.now_ns


class Machine:
    """Everything that a test needs, and short ways to ask fs."""

    def __init__(
        self,
        root: MountSpec | None = None,
        mounts: Sequence[MountSpec] = (),
        ram_pages: int = 4096,
        image: Path | None = None,
        **options: Any,
    ) -> None:
        self.ram = Ram(ram_pages * PAGE_BYTES)
        names = ("vm", "hosttree", "clock")
        self.bus = Bus(
            {"vm": 1, "hosttree": 0, "clock": 0, "disk": 0, "fs": 2, "test": 3},
            {"fs": frozenset((*names, "disk")), "test": frozenset({"fs", "vm"})},
        )
        self.disk: DiskService | None = None
        if image is not None:
            self.disk = DiskService(self.ram, str(image), deadline_s=0.2, attempts=2)
            self.bus.serve("disk", self.disk.handlers)
            options["disk"] = self.bus.port("fs", "disk")
        self.vm = FakeVm(self.ram)
        self.clock = FakeClock()
        self.host = HostTreeService(self.ram)
        self.bus.serve("vm", self.vm.handlers)
        self.bus.serve("clock", self.clock.handlers)
        self.bus.serve("hosttree", self.host.handlers)
        vm, host, clock = (self.bus.port("fs", name) for name in names)
        self.fs = FsService(self.ram, vm, host, clock, root, mounts, **options)
        self.bus.serve("fs", self.fs.handlers)
        self.port = self.bus.port("test", "fs")
        self.tree = self.fs.tree
        self.at = At(0, 0)
        self.cred = ROOT

    async def start(self) -> Machine:
        await self.fs.start()
        node = await self.port.call(api.RootNode())
        self.at = At(node, node)
        return self

    async def call(self, request: Request[Any]) -> Any:
        return await self.port.call(request)

    async def open(self, path: bytes, flags: int = 0, mode: int = 0o644, **more: Any) -> Opened:
        reply = await self.call(api.Open(self.at, path, flags, mode, more.get("cred", self.cred)))
        assert isinstance(reply, Opened), reply
        return reply

    async def release(self, node: int) -> None:
        await self.call(api.Release(node))

    async def stat(self, path: bytes, follow: bool = True) -> api.Attr:
        reply = await self.call(api.Stat(self.at, path, self.cred, follow))
        assert isinstance(reply, api.Attr), reply
        return reply

    async def write(self, node: int, offset: int, data: bytes, **more: Any) -> api.Written:
        """Write from user memory that is cut up unevenly."""
        assert len(data) <= USER_FRAMES * PAGE_BYTES
        self.ram.bytes[MEMORY : MEMORY + len(data)] = data
        reply = await self.call(api.Write(node, offset, cut(len(data)), self.cred, **more))
        if reply.count == api.NOT_CACHED:
            await self.call(api.Fetch(node, reply.end, len(data)))
            reply = await self.call(api.Write(node, offset, cut(len(data)), self.cred, **more))
        assert isinstance(reply, api.Written)
        return reply

    async def read(self, node: int, offset: int, count: int) -> bytes:
        """Read into user memory that is cut up unevenly."""
        assert count <= USER_FRAMES * PAGE_BYTES
        done = await self.call(api.Read(node, offset, cut(count)))
        if done == api.NOT_CACHED:
            await self.call(api.Fetch(node, offset, count))
            done = await self.call(api.Read(node, offset, cut(count)))
        return bytes(self.ram.bytes[MEMORY : MEMORY + done])

    async def put(self, path: bytes, data: bytes, mode: int = 0o644) -> None:
        """Make a file with this content."""
        opened = await self.open(path, 0o1101, mode)  # O_CREAT | O_TRUNC | O_WRONLY
        await self.call(api.WriteBytes(opened.node, 0, data))
        await self.call(api.Close(opened.node, True))

    async def get(self, path: bytes) -> bytes:
        """A file's whole content."""
        opened = await self.open(path)
        data = await self.call(api.ReadBytes(opened.node, 0, opened.size))
        await self.release(opened.node)
        return bytes(data)

    async def names(self, path: bytes, count: int = 7) -> list[bytes]:
        """The names in a directory, in order, without . and .."""
        opened = await self.open(path, 0o200000)
        found: list[bytes] = []
        cookie = 0
        while entries := await self.call(api.ReadDir(opened.node, cookie, count)):
            found += [entry.name for entry in entries]
            cookie = entries[-1].cookie
        await self.release(opened.node)
        assert found[:2] == [b".", b".."]
        return found[2:]

    async def errno(self, request: Request[Any]) -> int:
        """The errno that a request is refused with, 0 if it is not."""
        try:
            reply = await self.call(request)
        except PosixError as refusal:
            return refusal.errno
        if isinstance(reply, Opened):
            await self.release(reply.node)
        assert not isinstance(reply, Foreign)
        return 0

    async def assert_no_leak(self) -> None:
        """Nothing is held but what the tree itself says that it holds; nothing went wrong."""
        for name, ring in self.bus.rings.items():
            assert not len(ring), (name, ring.snapshot())
        assert set(self.tree.nodes) <= {self.at.root} | mount_points(self), self.tree.nodes
        await self.call(api.EvictPages(1 << 30))
        assert not self.tree.orphans
        assert not self.tree.frames.free
        assert not self.tree.frames.dead
        check(self.tree)
        held = len(self.vm.references)
        assert held == self.tree.frames.cached, (held, self.tree.frames.cached)


def mount_points(machine: Machine) -> set[int]:
    return {v.covers.node for v in machine.tree.volumes.values() if v.covers is not None}


def cut(count: int) -> list[tuple[int, int]]:
    """User memory in uneven pieces."""
    pieces, start = [], MEMORY
    for size in (1, 4095, 5000, 77):
        if count <= 0:
            break
        pieces.append((start, min(size, count)))
        start += size
        count -= size
    if count > 0:
        pieces.append((start, count))
    return pieces
