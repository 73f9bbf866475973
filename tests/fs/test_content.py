"""Is what was written what is read, wherever it is kept?"""

from __future__ import annotations

import os
from errno import EFBIG, EINVAL, EISDIR, ENOMEM, ENOSPC, ENXIO, EPERM, ETXTBSY
from typing import TYPE_CHECKING

import pytest

from bus.errors import MalformedRequest
from services.drivers.ram.api import DOORBELL_CODE, PAGE_BYTES
from services.fs import api
from services.fs.api import APPEND, Written
from services.fs.service import MountSpec
from services.vm.api import code_flags
from tests.fs.machine import MEMORY, SECOND_NS, USER, Machine

if TYPE_CHECKING:
    from pathlib import Path

O_RDWR_CREAT = os.O_RDWR | os.O_CREAT


async def test_a_sparse_file_reads_as_zeros_between_its_data(memory: Machine) -> None:
    m = memory
    node = (await m.open(b"/f", O_RDWR_CREAT)).node
    assert await m.write(node, 10_000, b"tail") == Written(4, 10_004)
    assert await m.write(node, 1, b"head") == Written(4, 5)
    assert await m.read(node, 0, 20_000) == b"\0head" + bytes(9995) + b"tail"
    attr = await m.stat(b"/f")
    assert (attr.size, attr.blocks) == (10_004, 16)
    assert await m.call(api.SeekData(node, 0, False)) == 0
    assert await m.call(api.SeekData(node, 0, True)) == 4096
    assert await m.call(api.SeekData(node, 5000, False)) == 8192
    assert await m.call(api.SeekData(node, 9000, True)) == 10_004
    assert await m.errno(api.SeekData(node, 10_004, False)) == ENXIO
    await m.release(node)


async def test_appending_goes_to_the_end(memory: Machine) -> None:
    m = memory
    node = (await m.open(b"/f", O_RDWR_CREAT)).node
    for i in range(5):
        reply = await m.write(node, APPEND, bytes([i]) * 3000)
        assert reply == Written(3000, 3000 * (i + 1))
    assert await m.get(b"/f") == b"".join(bytes([i]) * 3000 for i in range(5))
    await m.release(node)


async def test_the_file_size_limit_shortens_a_write_and_then_refuses_it(memory: Machine) -> None:
    m = memory
    node = (await m.open(b"/f", O_RDWR_CREAT)).node
    assert (await m.write(node, 90, b"x" * 20, limit_bytes=100)).count == 10
    request = api.Write(node, 100, [(MEMORY, 1)], m.cred, limit_bytes=100)
    assert await m.errno(request) == EFBIG
    assert await m.errno(api.Write(node, (1 << 63) - 1, [(MEMORY, 1)], m.cred)) == EFBIG
    assert await m.errno(api.Write(node, -5, [(MEMORY, 1)], m.cred)) == EINVAL
    await m.release(node)


async def test_shrinking_cuts_and_growing_again_shows_zeros(memory: Machine) -> None:
    m = memory
    node = (await m.open(b"/f", O_RDWR_CREAT)).node
    await m.write(node, 0, b"x" * 10_000)
    for size in (5000, 9000, 0, 100):
        await m.call(api.Truncate(node, size, m.cred))
    assert await m.get(b"/f") == bytes(100)
    await m.write(node, 0, b"y" * 6000)
    await m.call(api.Truncate(node, 10, m.cred))
    await m.call(api.Truncate(node, 8192, m.cred))
    assert await m.get(b"/f") == b"y" * 10 + bytes(8182)
    assert await m.errno(api.Truncate(node, -1, m.cred)) == EINVAL
    await m.release(node)


async def test_only_regular_files_have_content(memory: Machine) -> None:
    m = memory
    assert await m.errno(api.Read(m.at.root, 0, [(MEMORY, 1)])) == EISDIR
    assert await m.errno(api.Truncate(m.at.root, 0, m.cred)) == EISDIR
    assert await m.errno(api.ReadBytes(m.at.root, 0, 1)) == EISDIR
    await m.call(api.MakeNode(m.at, b"/fifo", 0o10644, 0, m.cred))
    node = (await m.open(b"/fifo")).node
    assert await m.errno(api.Read(node, 0, [(MEMORY, 1)])) == EINVAL
    await m.release(node)


async def test_memory_that_is_not_there_is_the_callers_fault(memory: Machine) -> None:
    m = memory
    node = (await m.open(b"/f", O_RDWR_CREAT)).node
    await m.write(node, 0, b"x" * 5000)
    await m.call(api.Truncate(node, 20_000, m.cred))
    end = m.ram.size_bytes + (1 << 20)
    for extents in ([(end, 10)], [(end, 5000)], [(MEMORY, 10), (end, 10)], [(end, 20_000)]):
        for request in (api.Read(node, 0, extents), api.Write(node, 0, extents, m.cred)):
            with pytest.raises(MalformedRequest):
                await m.call(request)
    with pytest.raises(MalformedRequest):
        await m.call(api.Read(node, 12_000, [(end, 100)]))
    assert not len(m.bus.rings["fs"])
    m.bus.rings["test"].__init__()  # type: ignore[misc]
    await m.release(node)


# ── mappings ────────────────────────────────────────────────────────────────────────────────


async def test_mappings_and_files_are_the_same_pages(memory: Machine) -> None:
    m = memory
    node = (await m.open(b"/f", O_RDWR_CREAT)).node
    await m.write(node, 0, b"x" * 5000)
    m.ram.words[0] = 0
    first, second = await m.call(api.Pages(node, 0, 9, for_write=False))
    code_flags(m.ram)[first] = 1
    assert bytes(m.ram.bytes[first << 12 : (first << 12) + 3]) == b"xxx"
    m.ram.bytes[(second << 12) + 100] = 0x41
    assert await m.read(node, 4096 + 100, 1) == b"A"
    await m.write(node, 5000, b"no code here")
    assert not m.ram.words[0]
    await m.write(node, 4090, b"1234567890")
    assert m.ram.words[0] == DOORBELL_CODE
    assert bytes(m.ram.bytes[second << 12 : (second << 12) + 4]) == b"7890"
    await m.release(node)


async def test_holes_are_filled_for_writing_only(memory: Machine) -> None:
    m = memory
    node = (await m.open(b"/f", O_RDWR_CREAT)).node
    await m.call(api.Truncate(node, 5 * PAGE_BYTES, m.cred))
    await m.write(node, 2 * PAGE_BYTES, b"x")
    pfns = await m.call(api.Pages(node, 0, 5, for_write=False))
    assert [bool(pfn) for pfn in pfns] == [False, False, True, False, False]
    assert (await m.stat(b"/f")).blocks == 8
    written = await m.call(api.Pages(node, 1, 3, for_write=True))
    assert all(written)
    assert written[1] == pfns[2]
    assert bytes(m.ram.bytes[written[0] << 12 : (written[0] + 1) << 12]) == bytes(4096)
    assert await m.call(api.Pages(node, 5, 3, for_write=True)) == ()
    await m.release(node)


async def test_shrinking_takes_pages_from_mappings_before_they_are_used_again(
    memory: Machine,
) -> None:
    m = memory
    node = (await m.open(b"/f", O_RDWR_CREAT)).node
    await m.write(node, 0, b"x" * 4 * PAGE_BYTES)
    pfns = await m.call(api.Pages(node, 0, 4, for_write=True))
    m.vm.references[pfns[3]] += 1  # a mapping holds it
    await m.call(api.Truncate(node, 100, m.cred))
    assert m.vm.unmapped == [(node, 1)]
    assert m.vm.references[pfns[3]] == 1
    assert m.tree.frames.free.count(pfns[3]) == 0
    await m.write(node, 0, b"y" * 4 * PAGE_BYTES)
    assert pfns[3] not in await m.call(api.Pages(node, 0, 4, for_write=True))
    del m.vm.references[pfns[3]]
    await m.release(node)


async def test_a_second_name_hears_of_the_first_ones_shrinking(memory: Machine) -> None:
    m = memory
    await m.put(b"/f", b"x" * 10_000)
    one = (await m.open(b"/f", os.O_RDWR)).node
    await m.call(api.Link(one, m.at, b"/g", m.cred))
    other = (await m.open(b"/g", os.O_RDWR)).node
    assert one != other
    await m.call(api.Pages(other, 0, 2, for_write=False))
    await m.call(api.Truncate(one, 0, m.cred))
    assert set(m.vm.unmapped) == {(one, 0), (other, 0)}
    await m.release(one)
    await m.release(other)


# ── the host's content ──────────────────────────────────────────────────────────────────────


async def test_a_part_of_a_host_page_can_be_overwritten(overlay: Machine, lower: Path) -> None:
    m, before = overlay, (lower / "data").read_bytes()
    node = (await m.open(b"/data", os.O_RDWR)).node
    expected = bytearray(before)
    for offset, data in ((5, b"a"), (4000, b"b" * 5000), (204_000, b"c" * 3000)):
        await m.write(node, offset, data)
        expected[offset : offset + len(data)] = data
    assert await m.get(b"/data") == expected
    await m.call(api.Truncate(node, 10_001, m.cred))
    await m.call(api.Truncate(node, 30_000, m.cred))
    assert await m.get(b"/data") == expected[:10_001] + bytes(19_999)
    assert (lower / "data").read_bytes() == before
    await m.release(node)


async def test_a_cut_host_page_that_was_never_read_ends_in_zeros(overlay: Machine) -> None:
    m = overlay
    node = (await m.open(b"/data", os.O_RDWR)).node
    await m.call(api.Truncate(node, 100, m.cred))
    await m.call(api.Truncate(node, 5000, m.cred))
    data = await m.get(b"/data")
    assert data[:100] == bytes(range(100))
    assert not any(data[100:])
    await m.release(node)


async def test_punching_hides_what_the_host_has(overlay: Machine) -> None:
    m = overlay
    before = await m.get(b"/data")
    node = (await m.open(b"/data", os.O_RDWR)).node
    await m.call(api.Allocate(node, 3, 6000, 20_000))
    expected = before[:6000] + bytes(20_000) + before[26_000:]
    assert await m.get(b"/data") == expected
    await m.call(api.EvictPages(1000))
    assert await m.get(b"/data") == expected
    assert await m.call(api.SeekData(node, 0, True)) == 8192
    assert await m.call(api.SeekData(node, 8192, False)) == 24_576
    await m.release(node)


async def test_clean_pages_can_go_and_come_again(overlay: Machine) -> None:
    m = overlay
    before = await m.get(b"/data")
    node = (await m.open(b"/data", os.O_RDWR)).node
    await m.write(node, 0, b"dirty")
    pages = await m.call(api.Pages(node, 40, 2, for_write=False))
    for pfn in pages:
        m.vm.references[pfn] += 1  # mapped
    held = m.tree.frames.cached
    assert held == 50
    assert await m.call(api.EvictPages(1000)) >= 47
    assert m.tree.frames.cached == 3
    assert await m.call(api.Pages(node, 40, 2, for_write=False)) == pages
    assert await m.get(b"/data") == b"dirty" + before[5:]
    await m.call(api.EvictPages(1000))
    assert m.tree.frames.cached == 3
    m.vm.references[pages[0]] -= 1  # no longer
    await m.call(api.EvictPages(1000))
    assert m.tree.frames.cached == 2
    assert m.vm.references[pages[1]] == 2
    assert await m.call(api.EvictPages(1000)) == 0  # so few are a working set
    m.tree.frames.working_set = 0
    await m.call(api.EvictPages(1000))  # nothing else is left: it is taken from the mapping
    assert m.tree.frames.cached == 1
    assert pages[1] not in m.vm.references
    assert await m.call(api.EvictPages(1000)) == 0
    assert await m.get(b"/data") == b"dirty" + before[5:]
    await m.release(node)


async def test_a_frame_with_translated_code_goes_through_vm(overlay: Machine) -> None:
    m = overlay
    node = (await m.open(b"/data")).node
    (pfn,) = await m.call(api.Pages(node, 3, 1, for_write=False))
    code_flags(m.ram)[pfn] = 1
    m.tree.frames.evict(1000)
    m.tree.frames.evict(1000)
    assert m.tree.frames.dead == [pfn]
    code_flags(m.ram)[pfn] = 0
    await m.release(node)


async def test_the_cache_yields_when_memory_is_short(lower: Path) -> None:
    for i in range(8):
        (lower / f"big{i}").write_bytes(os.urandom(60 * PAGE_BYTES))
    root = MountSpec(b"/", "hosttree", os.fsencode(lower))
    m = await Machine(root, ram_pages=80 + 200).start()
    for i in (*range(8), *range(8)):
        assert await m.get(b"/big%d" % i) == (lower / f"big{i}").read_bytes()
    assert m.tree.frames.cached <= 200
    await m.assert_no_leak()


async def test_the_cache_keeps_to_its_share(lower: Path) -> None:
    for i in range(8):
        (lower / f"big{i}").write_bytes(os.urandom(60 * PAGE_BYTES))
    root = MountSpec(b"/", "hosttree", os.fsencode(lower))
    m = await Machine(root, ram_pages=1000, cache_share=0.1).start()
    for i in (*range(8), *range(8)):
        assert await m.get(b"/big%d" % i) == (lower / f"big{i}").read_bytes()
        assert m.tree.frames.cached <= 100
    await m.assert_no_leak()


async def test_a_read_may_be_larger_than_the_cache(lower: Path) -> None:
    data = os.urandom(600 * PAGE_BYTES)
    (lower / "big").write_bytes(data)
    root = MountSpec(b"/", "hosttree", os.fsencode(lower))
    m = await Machine(root, ram_pages=1400, cache_share=0.1).start()
    m.vm.free = m.vm.free[-400:]  # from frame 1000 on is the reader's
    node = (await m.open(b"/big")).node
    extents = [(900 * PAGE_BYTES, 500 * PAGE_BYTES)]
    assert await m.call(api.Read(node, 5, extents)) == 500 * PAGE_BYTES
    assert m.ram.bytes[900 * PAGE_BYTES : 1400 * PAGE_BYTES] == data[5 : 5 + 500 * PAGE_BYTES]
    await m.release(node)
    await m.call(api.EvictPages(1000))
    assert not m.tree.frames.cached


async def test_a_file_without_a_name_can_be_given_one(memory: Machine) -> None:
    m = memory
    opened = await m.open(b"/", os.O_TMPFILE | os.O_RDWR, 0o600)
    await m.write(opened.node, 0, b"hidden")
    assert await m.names(b"/") == []
    assert (await m.call(api.StatNode(opened.node))).nlink == 0
    await m.call(api.Link(opened.node, m.at, b"/shown", m.cred))
    assert await m.get(b"/shown") == b"hidden"
    assert (await m.stat(b"/shown")).nlink == 1
    await m.release(opened.node)
    gone = await m.open(b"/", os.O_TMPFILE | os.O_RDWR, 0o600)
    await m.release(gone.node)
    assert await m.errno(api.Open(m.at, b"/", os.O_TMPFILE, 0o600, m.cred)) == EINVAL


async def test_no_memory_at_all_is_an_errno(memory: Machine) -> None:
    m = memory
    node = (await m.open(b"/f", O_RDWR_CREAT)).node
    stolen, m.vm.free = m.vm.free, []
    m.tree.frames.free, spare = [], m.tree.frames.free
    assert await m.errno(api.Write(node, 0, [(MEMORY, 100)], m.cred)) == ENOMEM
    m.vm.free, m.tree.frames.free = stolen, spare
    assert await m.errno(api.Write(node, 0, [(MEMORY, 100)], m.cred)) == 0
    await m.release(node)


async def test_a_full_file_system_writes_what_fits(lower: Path) -> None:
    m = await Machine(None, [MountSpec(b"/small", options="size=40k,mode=1777")]).start()
    assert (await m.stat(b"/small")).mode == 0o41777
    node = (await m.open(b"/small/f", O_RDWR_CREAT)).node
    assert (await m.write(node, 0, b"x" * 100_000)).count == 40_960
    assert await m.errno(api.Write(node, 40_960, [(MEMORY, 10)], m.cred)) == ENOSPC
    assert (await m.write(node, 0, b"y" * 50)).count == 50
    free = await m.call(api.StatFs(node))
    assert (free.blocks, free.free) == (10, 0)
    assert await m.errno(api.Allocate(node, 0, 0, 50_000)) == ENOSPC
    await m.call(api.Truncate(node, 0, m.cred))
    assert (await m.call(api.StatFs(node))).free == 10
    await m.call(api.Allocate(node, 1, 0, 40_960))
    assert (await m.stat(b"/small/f")).size == 0
    assert (await m.call(api.StatFs(node))).free == 0
    await m.release(node)
    await m.call(api.Unlink(m.at, b"/small/f", False, m.cred))
    await m.assert_no_leak()


async def test_files_in_memory_leave_half_of_ram_alone() -> None:
    m = await Machine(ram_pages=200).start()
    node = (await m.open(b"/f", O_RDWR_CREAT)).node
    total = 0
    for _ in range(3):
        total += (await m.write(node, APPEND, b"x" * 50 * PAGE_BYTES)).count
        if total == 100 * PAGE_BYTES:
            break
    assert await m.errno(api.Write(node, total, [(MEMORY, 10)], m.cred)) == ENOSPC
    assert m.tree.frames.kept == 100
    await m.release(node)
    await m.assert_no_leak()


# ── odds and ends ───────────────────────────────────────────────────────────────────────────


async def test_times_move_as_they_should(memory: Machine) -> None:
    m = memory
    await m.put(b"/f", b"x")
    made = await m.stat(b"/f")
    node = (await m.open(b"/f", os.O_RDWR)).node
    await m.read(node, 0, 1)
    read = await m.stat(b"/f")
    assert read.atime_ns > made.atime_ns
    assert (read.mtime_ns, read.ctime_ns) == (made.mtime_ns, made.ctime_ns)
    await m.read(node, 0, 1)
    assert await m.stat(b"/f") == read
    await m.write(node, 0, b"y")
    written = await m.stat(b"/f")
    assert written.mtime_ns == written.ctime_ns > read.ctime_ns
    await m.call(api.SetAttr(node, m.cred, atime_ns=5, mtime_ns=7))
    changed = await m.stat(b"/f")
    assert (changed.atime_ns, changed.mtime_ns) == (5, 7)
    assert changed.ctime_ns > written.ctime_ns
    m.clock.now_ns += 2 * 86_400 * SECOND_NS
    await m.read(node, 0, 1)
    assert (await m.stat(b"/f")).atime_ns > changed.ctime_ns
    await m.release(node)


async def test_a_write_takes_set_id_bits_from_others_files(memory: Machine) -> None:
    m = memory
    await m.put(b"/f", b"x", 0o6777)
    node = (await m.open(b"/f", os.O_RDWR)).node
    await m.write(node, 0, b"root may")
    assert (await m.stat(b"/f")).mode == 0o106777
    m.cred = USER
    await m.write(node, 0, b"user")
    assert (await m.stat(b"/f")).mode == 0o100777
    await m.release(node)


async def test_a_running_program_cannot_be_written(overlay: Machine) -> None:
    m = overlay
    node = (await m.call(api.Resolve(m.at, b"/bin/one", m.cred, execute=True))).node
    await m.call(api.DenyWrite(node, True))
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC):
        assert await m.errno(api.Open(m.at, b"/bin/one", flags, 0, m.cred)) == ETXTBSY
    assert await m.errno(api.Truncate(node, 0, m.cred)) == ETXTBSY
    assert await m.errno(api.Open(m.at, b"/bin/one", os.O_RDONLY, 0, m.cred)) == 0
    await m.call(api.DenyWrite(node, False))
    assert await m.errno(api.Open(m.at, b"/bin/one", os.O_WRONLY, 0, m.cred)) == 0
    await m.release(node)


async def test_seals_hold(memory: Machine) -> None:
    m = memory
    plain = (await m.call(api.MemFile(b"memfd:plain", 100, m.cred))).node
    assert await m.call(api.Seals(plain)) == 1
    assert await m.errno(api.Seals(plain, add=2)) == EPERM
    node = (await m.call(api.MemFile(b"memfd:x", 0, m.cred, seals=True))).node
    assert await m.call(api.PathOf(node, m.at.root)) == b"/memfd:x (deleted)"
    await m.write(node, 0, b"x" * 5000)
    assert await m.call(api.Seals(node, add=2)) == 2
    assert await m.errno(api.Truncate(node, 100, m.cred)) == EPERM
    assert await m.call(api.Seals(node, add=4)) == 6
    assert (await m.write(node, 4990, b"y" * 20)).count == 10
    assert await m.errno(api.Write(node, 5000, [(MEMORY, 1)], m.cred)) == EPERM
    assert await m.errno(api.Allocate(node, 0, 0, 6000)) == EPERM
    assert await m.call(api.Seals(node, add=8)) == 14
    assert await m.errno(api.Write(node, 0, [(MEMORY, 1)], m.cred)) == EPERM
    assert await m.errno(api.Allocate(node, 3, 0, 100)) == EPERM
    assert await m.call(api.Seals(node, add=1)) == 15
    assert await m.errno(api.Seals(node, add=8)) == EPERM
    ordinary = (await m.open(b"/f", O_RDWR_CREAT)).node
    assert await m.errno(api.Seals(ordinary)) == EINVAL
    for number in (plain, node, ordinary):
        await m.release(number)


async def test_what_runs_is_not_written_and_what_is_written_does_not_run(memory: Machine) -> None:
    m = memory
    await m.put(b"/prog", b"#!")
    again = await m.open(b"/prog", os.O_RDONLY)
    for flags in (os.O_WRONLY, os.O_RDWR | os.O_APPEND, os.O_CREAT | os.O_RDWR):
        writer = await m.open(b"/prog", flags)
        assert await m.errno(api.DenyWrite(again.node, True)) == ETXTBSY
        await m.call(api.Close(writer.node, True))
    await m.call(api.DenyWrite(again.node, True))
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_TRUNC, os.O_CREAT | os.O_RDWR):
        assert await m.errno(api.Open(m.at, b"/prog", flags, 0, m.cred)) == ETXTBSY
        assert await m.errno(api.OpenNode(again.node, flags, m.cred)) == ETXTBSY
    await m.call(api.DenyWrite(again.node, False))
    await m.call(api.Unlink(m.at, b"/prog", False, m.cred))
    nameless = await m.call(api.OpenNode(again.node, os.O_RDWR, m.cred))
    assert await m.errno(api.DenyWrite(again.node, True)) == ETXTBSY
    await m.call(api.Close(nameless.node, True))
    assert await m.errno(api.DenyWrite(again.node, True)) == 0
    await m.call(api.DenyWrite(again.node, False))
    await m.call(api.Close(again.node, False))


async def test_a_cold_file_is_fetched_before_it_is_read_or_partly_written(
    overlay: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    m = overlay
    before = bytes(range(256)) * 800
    node = (await m.open(b"/data", os.O_RDWR)).node
    preadv = os.preadv

    def cold(fd: int, buffers: list[memoryview], offset: int, flags: int = 0) -> int:
        if flags & os.RWF_NOWAIT:
            raise BlockingIOError
        return preadv(fd, buffers, offset, flags)

    monkeypatch.setattr(os, "preadv", cold)
    assert await m.call(api.Read(node, 5, [(MEMORY, 10)])) == api.NOT_CACHED
    reply = await m.call(api.Write(node, 5, [(MEMORY, 10)], m.cred))
    assert reply == Written(api.NOT_CACHED, 5)
    assert await m.read(node, 5, 10) == before[5:15]
    reply = await m.call(api.Write(node, APPEND, [(MEMORY, 4097)], m.cred))
    assert reply == Written(4097, len(before) + 4097)  # its last page was read ahead
    for index, (patience, first) in enumerate(((True, 40), (False, 45))):
        (pfn,) = await m.call(api.Pages(node, first, 1, for_write=False, may_wait=patience))
        assert m.ram.bytes[pfn << 12] == before[first << 12], index
    await m.call(api.EvictPages(1000))
    assert await m.call(api.Read(node, 5, [(MEMORY, 10)], blocking=True)) == 10
    await m.release(node)


async def test_what_a_mapping_wrote_behind_the_end_never_shows(memory: Machine) -> None:
    m = memory
    node = (await m.open(b"/f", O_RDWR_CREAT)).node
    growing = (
        lambda: m.write(node, 3000, b"far"),
        lambda: m.call(api.Truncate(node, 3003, m.cred)),
        lambda: m.call(api.WriteBytes(node, 3000, b"far")),
        lambda: m.call(api.Allocate(node, 0, 0, 3003, m.cred)),
    )
    for grow in growing:
        await m.call(api.Truncate(node, 0, m.cred))
        await m.write(node, 0, b"x" * 100)
        (pfn,) = await m.call(api.Pages(node, 0, 1, for_write=True))
        m.ram.bytes[(pfn << 12) + 100 : (pfn << 12) + 4096] = b"\x99" * 3996
        await grow()
        assert (await m.read(node, 0, 3000)) == b"x" * 100 + bytes(2900)
    await m.release(node)
