"""Do the real vm and fs agree on pages: mapped, written, cut off, given back?"""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING

from services.drivers.ram.api import PAGE_BYTES
from services.fs import api
from services.fs.core_inode import Dentry, Inode
from services.vm import api as vm_api
from services.vm.service import VmService

if TYPE_CHECKING:
    from services.fs.api import Opened
    from tests.fs.machine import Machine

READ, WRITE = vm_api.ACCESS_READ, vm_api.ACCESS_WRITE
BASE = 0x10000


async def with_real_vm(m: Machine) -> VmService:
    service = VmService(m.ram)
    m.bus.serve("vm", service.handlers)
    return service


async def fault(m: Machine, space: int, vaddr: int, access: int) -> object:
    """What proc does with a fault."""
    vm = m.bus.port("test", "vm")
    reply: object = await vm.call(vm_api.Fault(space, vaddr, access))
    while isinstance(reply, vm_api.NeedPages):
        pages = api.Pages(reply.node, reply.first, reply.count, reply.for_write)
        pfns = await m.call(pages)
        reply = await vm.call(vm_api.InstallPages(space, reply, pfns, access))
    return reply


async def mapped(m: Machine, opened: Opened, shared: bool, pages: int) -> int:
    vm = m.bus.port("test", "vm")
    space = (await vm.call(vm_api.CreateSpace())).space
    flags = (vm_api.MAP_SHARED if shared else vm_api.MAP_PRIVATE) | vm_api.MAP_FIXED
    request = vm_api.Map(
        space, BASE, pages * PAGE_BYTES, READ | WRITE, flags, opened.node, may_write=True
    )
    reply = await vm.call(request)
    assert reply.acquired
    await m.call(api.Retain(opened.node))
    return space


async def unmap(m: Machine, space: int) -> None:
    vm = m.bus.port("test", "vm")
    for node in await vm.call(vm_api.DestroySpace(space)):
        await m.release(node)


async def test_a_shared_mapping_is_the_file(overlay: Machine) -> None:
    m = overlay
    await with_real_vm(m)
    vm = m.bus.port("test", "vm")
    before = (await vm.call(vm_api.Frames())).free
    opened = await m.open(b"/data", os.O_RDWR)
    space = await mapped(m, opened, shared=True, pages=60)
    for page in (0, 7, 30, 49):
        assert await fault(m, space, BASE + page * PAGE_BYTES, READ) == vm_api.Resolved()
    assert isinstance(await fault(m, space, BASE + 50 * PAGE_BYTES, READ), vm_api.Violation)
    assert await fault(m, space, BASE + 7 * PAGE_BYTES, WRITE) == vm_api.Resolved()
    (pfn,) = await m.call(api.Pages(opened.node, 7, 1, for_write=False))
    m.ram.bytes[pfn << 12] = 0x99
    assert (await m.read(opened.node, 7 * PAGE_BYTES, 1)) == b"\x99"
    await m.call(api.EvictPages(100))
    assert await m.call(api.Pages(opened.node, 7, 1, for_write=False)) == (pfn,)
    await m.call(api.Truncate(opened.node, 3 * PAGE_BYTES, m.cred))
    reply = await fault(m, space, BASE + 7 * PAGE_BYTES, READ)
    assert isinstance(reply, vm_api.Violation)
    await m.call(api.Truncate(opened.node, 0, m.cred))
    await unmap(m, space)
    await m.release(opened.node)
    await m.call(api.EvictPages(100))
    assert (await vm.call(vm_api.Frames())).free == before - len(m.vm.references)
    m.vm.references.clear()


async def test_shared_memory_without_a_name_reads_as_zeros_and_then_as_written(
    memory: Machine,
) -> None:
    m = memory
    await with_real_vm(m)
    vm = m.bus.port("test", "vm")
    before = (await vm.call(vm_api.Frames())).free
    opened = await m.call(api.MemFile(b"shm", 8 * PAGE_BYTES, m.cred))
    one = await mapped(m, opened, shared=True, pages=8)
    other = await mapped(m, opened, shared=True, pages=8)
    await m.release(opened.node)
    assert await fault(m, one, BASE, READ) == vm_api.Resolved()
    assert await fault(m, other, BASE, WRITE) == vm_api.Resolved()
    assert await fault(m, one, BASE + 5 * PAGE_BYTES, WRITE) == vm_api.Resolved()
    (pfn,) = await m.call(api.Pages(opened.node, 0, 1, for_write=False))
    m.ram.bytes[pfn << 12] = 1
    assert await m.read(opened.node, 0, 1) == b"\1"
    await unmap(m, one)
    await unmap(m, other)
    await m.call(api.EvictPages(0))
    assert (await vm.call(vm_api.Frames())).free == before


async def test_nothing_is_left_to_the_cyclic_collector(overlay: Machine) -> None:
    m = overlay
    gc.collect()
    gc.disable()
    try:
        for round_ in range(3):
            for i in range(10):
                name = b"/etc/f%d" % i
                await m.put(name, b"x" * 5000)
                await m.stat(name)
                await m.call(api.MakeDir(m.at, b"/etc/d%d" % i, 0o755, m.cred))
                await m.call(api.Symlink(m.at, b"/etc/d%d/l" % i, name, m.cred))
                await m.stat(b"/etc/d%d/l" % i)
                await m.errno(api.Stat(m.at, b"/etc/d%d/none" % i, m.cred))
                await m.call(api.Rename(m.at, name, m.at, b"/etc/d%d/g" % i, 0, m.cred))
                for path, is_directory in ((b"g", False), (b"l", False), (b"", True)):
                    full = b"/etc/d%d/" % i + path
                    await m.call(api.Unlink(m.at, full, is_directory, m.cred))
            m.tree.evict_names(1000)
            m.tree.paths.clear()
            if not round_:
                before = sum(isinstance(o, Dentry | Inode) for o in gc.get_objects())
        after = sum(isinstance(o, Dentry | Inode) for o in gc.get_objects())
        assert after == before
    finally:
        gc.enable()


async def test_pages_are_taken_from_mappings_and_come_again(overlay: Machine) -> None:
    m = overlay
    real = await with_real_vm(m)
    before = real.core.frames.free
    m.tree.frames.working_set = 0
    opened = await m.open(b"/data", os.O_RDWR)
    shared = await mapped(m, opened, shared=True, pages=50)
    private = await mapped(m, opened, shared=False, pages=50)
    for page in range(0, 50, 16):
        for space in (shared, private):
            assert await fault(m, space, BASE + page * PAGE_BYTES, READ) == vm_api.Resolved()
    assert await fault(m, shared, BASE + 3 * PAGE_BYTES, WRITE) == vm_api.Resolved()
    assert await fault(m, private, BASE + 5 * PAGE_BYTES, WRITE) == vm_api.Resolved()
    own = real.core.spaces[private].tables.entry((BASE >> 12) + 5)
    while await m.call(api.EvictPages(10)):
        pass
    assert m.tree.frames.cached == 1  # what was written through the shared mapping
    tables = [real.core.spaces[space].tables for space in (shared, private)]
    low = BASE >> 12
    assert [t.resident(low, low + 50) for t in tables] == [1, 2]
    assert tables[1].entry(low + 5) == own
    assert await fault(m, private, BASE + 40 * PAGE_BYTES, READ) == vm_api.Resolved()
    await unmap(m, shared)
    await unmap(m, private)
    await m.call(api.Truncate(opened.node, 0, m.cred))
    await m.release(opened.node)
    await m.call(api.EvictPages(100))
    assert real.core.frames.free == before
    m.vm.references.clear()
