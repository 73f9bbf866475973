"""Does the kernel see a program's memory as the program does, and no more of it?"""

from __future__ import annotations

from errno import EFAULT
from typing import TYPE_CHECKING

import pytest

from bus.errors import PosixError
from services.drivers.ram.api import DOORBELL_CODE
from services.vm import api
from tests.vm.machine import PAGE, READ, RW, WRITE

if TYPE_CHECKING:
    from tests.vm.machine import Machine


def filled(machine: Machine, pages: int, prot: int = RW) -> tuple[int, int, api.UserMemory]:
    """A space, a mapping of touched pages and the view of it."""
    space = machine.space()
    vaddr = machine.map(space, pages, prot)
    for page in range(pages):
        machine.touch(space, vaddr + page * PAGE, WRITE if prot & 2 else READ)
    return space, vaddr, machine.memory(space)


def test_are_neighbouring_pages_one_extent(machine: Machine) -> None:
    _, vaddr, memory = filled(machine, 8)
    assert len(memory.extents(vaddr + 100, 7 * PAGE, False)) <= 2
    assert memory.extents(vaddr + 5, 10, True)[0][1] == 10
    assert memory.extents(vaddr, 0, True) == []
    assert sum(size for _, size in memory.extents(vaddr + 1, 8 * PAGE - 2, True)) == 8 * PAGE - 2


def test_are_scattered_pages_put_together(machine: Machine) -> None:
    space = machine.space()
    vaddr = machine.map(space, 5)
    for page in (4, 1, 3, 0, 2):
        machine.write(space, vaddr + page * PAGE, page + 1)
    memory = machine.memory(space)
    pattern = bytes(range(256)) * 78
    memory.write_bytes(vaddr + 200, pattern)
    assert memory.read_bytes(vaddr + 200, len(pattern)) == pattern
    assert memory.read_bytes(vaddr + 200 + 4000, 500) == pattern[4000:4500]


@pytest.mark.parametrize(
    ("vaddr", "length"),
    [
        (-1, 1),
        (-5000, 10000),
        (api.USER_TOP, 1),
        (api.USER_TOP - 1, 2),
        (1 << 63, 8),
        ((1 << 64) - 4, 8),
        (0x1000, 1 << 62),
        (0x1000, -1),
        (0xFFFF_8000_0000_0000, 1),
    ],
)
def test_is_leaving_the_user_half_a_bad_address(machine: Machine, vaddr: int, length: int) -> None:
    memory = machine.memory(machine.space())
    for write in (False, True):
        with pytest.raises(PosixError) as caught:
            memory.extents(vaddr, length, write)
        assert caught.value.errno == EFAULT


def test_is_the_first_page_that_is_missing_named(machine: Machine) -> None:
    space, vaddr, memory = filled(machine, 4)
    machine.unmap(space, vaddr + 2 * PAGE, 1)
    with pytest.raises(api.PageMiss) as caught:
        memory.extents(vaddr + 10, 4 * PAGE - 10, False)
    assert (caught.value.vaddr, caught.value.access) == (vaddr + 2 * PAGE, READ)
    with pytest.raises(api.PageMiss) as caught:
        memory.write_bytes(vaddr + 2 * PAGE + 7, b"x")
    assert (caught.value.vaddr, caught.value.access) == (vaddr + 2 * PAGE + 7, WRITE)
    assert str(caught.value) == f"no write at {vaddr + 2 * PAGE + 7:#x}"


def test_is_nothing_written_if_not_all_can_be(machine: Machine) -> None:
    space, vaddr, memory = filled(machine, 2)
    machine.call(api.Protect(space, vaddr + PAGE, PAGE, api.PROT_READ))
    with pytest.raises(api.PageMiss):
        memory.write_bytes(vaddr + PAGE - 4, b"12345678")
    assert memory.read_bytes(vaddr + PAGE - 4, 4) == bytes(4)


@pytest.mark.parametrize("change", ["unmap", "protect", "none", "fork", "discard", "remap"])
def test_is_what_vm_narrows_forgotten(machine: Machine, change: str) -> None:
    space, vaddr, memory = filled(machine, 1)
    memory.write_u32(vaddr, 7)
    assert memory.read_u32(vaddr) == 7
    if change == "unmap":
        machine.unmap(space, vaddr, 1)
    elif change == "discard":
        machine.call(api.Discard(space, vaddr, PAGE))
    elif change == "remap":
        machine.remap(space, vaddr, 1, 1, 3, 0x10_0000)
    elif change == "fork":
        machine.fork(space)
    else:
        prot = api.PROT_NONE if change == "none" else api.PROT_READ
        machine.call(api.Protect(space, vaddr, PAGE, prot))
    with pytest.raises(api.PageMiss):
        memory.write_u32(vaddr, 8)
    if change not in ("protect", "fork"):
        with pytest.raises(api.PageMiss):
            memory.read_u32(vaddr)


def test_does_a_copy_on_write_show_at_once(machine: Machine) -> None:
    space, vaddr, memory = filled(machine, 1)
    child = machine.fork(space)
    assert memory.read_u32(vaddr) == 0
    machine.write(space, vaddr, 5)
    assert memory.read_u32(vaddr) == 5
    assert machine.memory(child).read_u32(vaddr) == 0


def test_do_words_have_their_signs_and_sizes(machine: Machine) -> None:
    _, vaddr, memory = filled(machine, 2)
    edge = vaddr + PAGE - 3
    for at in (vaddr, vaddr + 5, edge):
        memory.write_u64(at, 0xFEDC_BA98_7654_3210)
        assert memory.read_u64(at) == 0xFEDC_BA98_7654_3210
        assert memory.read_i64(at) == 0xFEDC_BA98_7654_3210 - (1 << 64)
        memory.write_u32(at, 0xFFFF_FFFE)
        assert memory.read_u32(at) == 0xFFFF_FFFE
        assert memory.read_i32(at) == -2
        memory.write_u64(at, -1)
        assert memory.read_u64(at) == (1 << 64) - 1
        memory.write_u32(at, -1)
        assert memory.read_i32(at) == -1


@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 200, 5000])
@pytest.mark.parametrize("offset", [0, 4090, 4095])
def test_is_a_string_found_wherever_it_ends(machine: Machine, length: int, offset: int) -> None:
    _, vaddr, memory = filled(machine, 3)
    memory.write_bytes(vaddr + offset, b"s" * length + b"\0tail")
    assert memory.read_cstr(vaddr + offset, 8192) == b"s" * length
    assert memory.read_cstr(vaddr + offset, length + 1) == b"s" * length
    assert memory.read_cstr(vaddr + offset, length) is None


def test_does_a_string_that_runs_off_its_page_miss(machine: Machine) -> None:
    _, vaddr, memory = filled(machine, 1)
    memory.write_bytes(vaddr + 4000, b"s" * 96)
    with pytest.raises(api.PageMiss) as caught:
        memory.read_cstr(vaddr + 4000, 4096)
    assert caught.value.vaddr == vaddr + PAGE


def test_does_writing_mark_a_shared_page_dirty(machine: Machine) -> None:
    space, file = machine.space(), machine.file(2)
    vaddr = machine.map(space, 2, node=file.node, flags=api.MAP_SHARED)
    machine.touch(space, vaddr, WRITE)
    memory = machine.memory(space)
    call = api.CollectDirty(space, vaddr, 2 * PAGE)
    assert machine.call(call) == ()
    machine.touch(space, vaddr, WRITE)
    memory.write_u32(vaddr, 1)
    assert machine.call(call) == (api.DirtyRun(file.node, 0, 1),)
    with pytest.raises(api.PageMiss):
        memory.write_u32(vaddr, 2)


def test_does_writing_over_code_drop_translations(machine: Machine) -> None:
    space, vaddr, memory = filled(machine, 1, RW | api.PROT_EXEC)
    for _ in range(2):
        machine.ram.words[0] = 0
        memory.write_bytes(vaddr, b"\xc3")
        assert machine.ram.words[0] & DOORBELL_CODE
    data = machine.map(space, 1)
    machine.touch(space, data, WRITE)
    machine.ram.words[0] = 0
    memory.write_bytes(data, b"\xc3")
    assert machine.ram.words[0] == 0
    machine.call(api.Protect(space, data, PAGE, 7))
    machine.ram.words[0] = 0
    memory.write_bytes(data, b"\xc3")
    assert machine.ram.words[0] & DOORBELL_CODE
