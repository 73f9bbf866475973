"""What does each kind of fault leave in the tables, and what does it ask for?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bus.errors import MalformedRequest
from services.drivers.ram.api import DOORBELL_TLB
from services.vm import api
from services.vm.faults import FILE_WINDOW, FIRST_WINDOW
from tests.vm.machine import (
    ACCERR,
    ANON,
    BUSERR,
    FETCH,
    MAPERR,
    PAGE,
    READ,
    RESOLVED,
    RW,
    RX,
    WRITE,
    Segfault,
)

if TYPE_CHECKING:
    from tests.vm.machine import Machine


def resident(machine: Machine, space: int, vaddr: int, pages: int) -> int:
    return sum(machine.call(api.Resident(space, vaddr, pages * PAGE)))


@pytest.mark.parametrize("vaddr", [0, 0x1234, api.USER_TOP, 1 << 47, (1 << 64) - 1, 1 << 63, -1])
def test_is_an_address_without_a_mapping_a_segmentation_fault(machine: Machine, vaddr: int) -> None:
    assert machine.touch(machine.space(), vaddr, READ) == MAPERR


@pytest.mark.parametrize(
    ("prot", "access", "allowed"),
    [
        (0, READ, False),
        (1, READ, True),
        (1, WRITE, False),
        (1, FETCH, False),
        (2, READ, True),
        (2, WRITE, True),
        (4, READ, True),
        (5, FETCH, True),
        (3, FETCH, False),
        (7, FETCH, True),
    ],
)
def test_are_rights_kept(machine: Machine, prot: int, access: int, allowed: bool) -> None:
    space = machine.space()
    vaddr = machine.map(space, 1, prot)
    assert machine.touch(space, vaddr, access) == (RESOLVED if allowed else ACCERR)


def test_do_windows_double_while_faults_are_sequential(machine: Machine) -> None:
    space = machine.space()
    vaddr = machine.map(space, 1024, vaddr=0x4000_0000)
    at, faults = 0, 0
    while at < 1024:
        if not machine.entry(space, vaddr + at * PAGE):
            machine.touch(space, vaddr + at * PAGE, WRITE)
            faults += 1
        at += 1
    assert faults <= 10
    assert resident(machine, space, vaddr, 1024) == 1024


def test_do_scattered_faults_take_little(machine: Machine) -> None:
    space = machine.space()
    vaddr = machine.map(space, 1000)
    for page in (500, 100, 900, 300):
        machine.touch(space, vaddr + page * PAGE, WRITE)
    assert resident(machine, space, vaddr, 1000) == 4 * FIRST_WINDOW


def test_does_a_window_stay_in_its_region(machine: Machine) -> None:
    space = machine.space()
    vaddr = machine.map(space, 3)
    machine.map(space, 20, api.PROT_READ, vaddr=vaddr - 20 * PAGE)
    machine.touch(space, vaddr + 2 * PAGE, WRITE)
    assert resident(machine, space, vaddr - 20 * PAGE, 23) == 1
    machine.touch(space, vaddr - PAGE, READ)
    assert resident(machine, space, vaddr - 20 * PAGE, 23) == 2


def test_does_a_window_pass_over_nothing(machine: Machine) -> None:
    space = machine.space()
    vaddr = machine.map(space, 64)
    machine.write(space, vaddr + 3 * PAGE, 9)
    frame = machine.pfn(space, vaddr + 3 * PAGE)
    machine.touch(space, vaddr, WRITE)
    assert machine.pfn(space, vaddr + 3 * PAGE) == frame
    assert machine.read(space, vaddr + 3 * PAGE) == 9


def test_are_stacks_filled_downwards(machine: Machine) -> None:
    space = machine.space()
    vaddr = machine.map(space, 64, vaddr=0x40_0000, flags=ANON | api.MAP_GROWSDOWN)
    machine.touch(space, vaddr + 60 * PAGE, WRITE)
    assert machine.call(api.Resident(space, vaddr, 64 * PAGE)).rstrip(b"\0").endswith(b"\1" * 8)
    assert not machine.entry(space, vaddr + 61 * PAGE)
    assert machine.entry(space, vaddr + 53 * PAGE)


def test_do_parent_and_child_part_at_the_first_write(machine: Machine) -> None:
    space = machine.space()
    vaddr = machine.map(space, 30)
    for page in range(30):
        machine.write(space, vaddr + page * PAGE, 1)
    child = machine.fork(space)
    assert machine.pfn(space, vaddr) == machine.pfn(child, vaddr)
    machine.ram.words[0] = 0
    machine.write(child, vaddr, 2)
    assert machine.ram.words[0] & DOORBELL_TLB
    assert machine.read(space, vaddr) == 1
    assert machine.pfn(space, vaddr) != machine.pfn(child, vaddr)
    own = machine.pfn(space, vaddr)
    machine.write(space, vaddr, 3)
    assert machine.pfn(space, vaddr) == own  # the last owner claims it
    assert machine.read(child, vaddr) == 2


def test_does_fork_tell_the_core_and_the_soft_tlb(machine: Machine) -> None:
    space = machine.space()
    vaddr = machine.map(space, 1)
    memory = machine.memory(space)
    machine.write(space, vaddr, 1)
    memory.write_u32(vaddr, 1)
    machine.ram.words[0] = 0
    machine.fork(space)
    assert machine.ram.words[0] & DOORBELL_TLB
    with pytest.raises(api.PageMiss):
        memory.write_u32(vaddr, 2)


def test_is_a_stale_fault_resolved_with_the_doorbell(machine: Machine) -> None:
    space = machine.space()
    vaddr = machine.map(space, 1)
    machine.write(space, vaddr, 1)
    machine.ram.words[0] = 0
    assert machine.call(api.Fault(space, vaddr, WRITE)) == RESOLVED
    assert machine.ram.words[0] & DOORBELL_TLB


def test_is_filling_silent(machine: Machine) -> None:
    space = machine.space()
    vaddr = machine.map(space, 64)
    machine.ram.words[0] = 0
    machine.touch(space, vaddr, WRITE)
    assert machine.ram.words[0] == 0


def test_does_running_out_of_frames_leave_things_whole(machine: Machine) -> None:
    space = machine.space()
    pages = machine.vm.core.frames.total
    vaddr = machine.map(space, pages)
    reply: api.FaultReply = RESOLVED
    for page in range(pages):
        if not machine.entry(space, vaddr + page * PAGE):
            reply = machine.touch(space, vaddr + page * PAGE, WRITE)
            if reply != RESOLVED:
                break
    assert reply == api.NoMemory()
    machine.check()
    assert machine.call(api.Frames()).free == 0
    assert machine.errno_of(api.ForkSpace(space)) == 12
    assert machine.errno_of(api.CreateSpace()) == 12
    assert machine.errno_of(api.AllocFrames(3, True)) == 12
    target = api.Remap(space, vaddr, 2 * PAGE, 9 * PAGE, 3, 0x10_0000)
    assert machine.errno_of(target) == 12
    machine.check()


# -- files ------------------------------------------------------------------------------------


def test_is_a_window_of_a_file_asked_for(machine: Machine) -> None:
    space, file = machine.space(), machine.file(64)
    vaddr = machine.map(space, 64, api.PROT_READ, node=file.node, vaddr=0x40_0000)
    need = machine.call(api.Fault(space, vaddr + 21 * PAGE, READ))
    first = 21 // FILE_WINDOW * FILE_WINDOW
    where = vaddr + first * PAGE
    assert need == api.NeedPages(file.node, first, FILE_WINDOW, 21, where, False)
    assert machine.touch(space, vaddr + 21 * PAGE, READ) == RESOLVED
    assert resident(machine, space, vaddr, 64) == FILE_WINDOW
    assert machine.read(space, vaddr + 21 * PAGE) == 22


def test_is_a_window_clipped_to_its_region(machine: Machine) -> None:
    space, file = machine.space(), machine.file(64)
    vaddr = machine.map(space, 3, api.PROT_READ, node=file.node, offset=7 * PAGE, vaddr=0x40_5000)
    need = machine.call(api.Fault(space, vaddr + PAGE, READ))
    assert need == api.NeedPages(file.node, 7, 3, 8, vaddr, False)


def test_is_beyond_the_end_of_file_a_bus_error(machine: Machine) -> None:
    space, file = machine.space(), machine.file(3)
    vaddr = machine.map(space, 8, node=file.node)
    assert machine.touch(space, vaddr + 3 * PAGE, READ) == BUSERR
    assert machine.touch(space, vaddr + 2 * PAGE, WRITE) == RESOLVED


def test_does_a_private_write_leave_the_file_alone(machine: Machine) -> None:
    space, file = machine.space(), machine.file(4)
    vaddr = machine.map(space, 4, node=file.node)
    machine.write(space, vaddr, 200)
    assert machine.byte(file, 0) == 1
    assert machine.read(space, vaddr) == 200
    assert not machine.entry(space, vaddr + PAGE) & api.PTE_W
    machine.ram.bytes[file.frames[1] * PAGE] = 88
    assert machine.read(space, vaddr + PAGE) == 88  # what nobody wrote still shows the file


def test_does_a_first_private_write_take_one_fault(machine: Machine) -> None:
    space, file = machine.space(), machine.file(4)
    vaddr = machine.map(space, 4, node=file.node)
    assert machine.touch(space, vaddr, WRITE) == RESOLVED
    assert machine.entry(space, vaddr) & api.PTE_W
    assert machine.pfn(space, vaddr) != file.frames[0]


def test_is_a_page_that_fs_replaced_mapped_anew(machine: Machine) -> None:
    space, file = machine.space(), machine.file(4)
    vaddr = machine.map(space, 4, node=file.node, flags=api.MAP_SHARED)
    assert machine.read(space, vaddr) == 1
    old = file.frames.pop(0)
    machine.call(api.FreeFrames((old,)))
    machine.write(space, vaddr, 9)
    assert machine.pfn(space, vaddr) == file.frames[0] != old
    assert machine.byte(file, 0) == 9


def test_is_a_hole_zeros_to_one_and_a_page_to_the_other(machine: Machine) -> None:
    space, file = machine.space(), machine.file(4, holes=True)
    private = machine.map(space, 4, node=file.node)
    shared = machine.map(space, 4, api.PROT_READ, node=file.node, flags=api.MAP_SHARED)
    assert machine.read(space, private) == 0
    assert not file.frames
    assert machine.read(space, shared) == 0
    assert list(file.frames) == [0]
    machine.ram.bytes[file.frames[0] * PAGE] = 5
    assert machine.read(space, shared) == 5


def test_does_a_shared_write_ask_and_reach_the_file(machine: Machine) -> None:
    space, file = machine.space(), machine.file(8)
    vaddr = machine.map(space, 8, node=file.node, flags=api.MAP_SHARED)
    assert machine.read(space, vaddr) == 1
    assert not machine.for_write
    machine.write(space, vaddr, 50)
    assert machine.for_write == [(file.node, 0, 1)]
    assert machine.byte(file, 0) == 50
    child = machine.fork(space)
    machine.write(child, vaddr, 51)
    assert machine.read(space, vaddr) == 51


def test_are_written_pages_collected_once(machine: Machine) -> None:
    space, file = machine.space(), machine.file(40)
    vaddr = machine.map(space, 40, node=file.node, flags=api.MAP_SHARED)
    for page in (3, 4, 5, 17):
        machine.write(space, vaddr + page * PAGE, 9)
    call = api.CollectDirty(space, vaddr, 40 * PAGE)
    machine.ram.words[0] = 0
    runs = machine.call(call)
    assert runs == (api.DirtyRun(file.node, 3, 3), api.DirtyRun(file.node, 17, 1))
    assert machine.ram.words[0] & DOORBELL_TLB
    assert machine.call(call) == ()
    machine.for_write.clear()
    machine.write(space, vaddr + 4 * PAGE, 10)
    assert machine.for_write  # fs hears of it again
    child = machine.fork(space)
    machine.write(child, vaddr + 30 * PAGE, 1)
    runs = machine.call(api.CollectNode(file.node))
    assert {run.first_page for run in runs} == {4, 30}
    assert machine.call(api.CollectNode(file.node)) == ()


def test_are_pages_of_a_shrunk_file_taken_away(machine: Machine) -> None:
    space, file = machine.space(), machine.file(20)
    private = machine.map(space, 20, node=file.node)
    shared = machine.map(space, 10, node=file.node, flags=api.MAP_SHARED, offset=10 * PAGE)
    machine.write(space, private + 15 * PAGE, 1)
    machine.write(space, shared + 5 * PAGE, 1)
    machine.write(space, private + 3 * PAGE, 4)
    machine.truncate(file, 12)
    assert machine.read(space, private + 3 * PAGE) == 4
    assert machine.read(space, shared + PAGE) == 12
    for vaddr in (private + 15 * PAGE, shared + 5 * PAGE):
        with pytest.raises(Segfault, match="7, 2"):
            machine.read(space, vaddr)


def test_is_an_answer_that_comes_too_late_ignored(machine: Machine) -> None:
    space, file = machine.space(), machine.file(4)
    vaddr = machine.map(space, 4, node=file.node)
    need = machine.call(api.Fault(space, vaddr, READ))
    assert isinstance(need, api.NeedPages)
    pfns = machine.pages(need)
    machine.unmap(space, vaddr, 4)
    assert machine.call(api.InstallPages(space, need, pfns, READ)) == RESOLVED
    machine.map(space, 4, vaddr=vaddr, flags=ANON | api.MAP_FIXED)
    assert machine.call(api.InstallPages(space, need, pfns, READ)) == RESOLVED
    assert machine.read(space, vaddr) == 0


def test_is_a_free_frame_refused(machine: Machine) -> None:
    space, file = machine.space(), machine.file(1)
    vaddr = machine.map(space, 1, node=file.node)
    need = machine.call(api.Fault(space, vaddr, READ))
    assert isinstance(need, api.NeedPages)
    with pytest.raises(MalformedRequest):
        machine.call(api.InstallPages(space, need, (machine.ram.frames - 1,), READ))


def test_are_frames_of_code_flagged(machine: Machine) -> None:
    space, file = machine.space(), machine.file(4)
    code = api.code_flags(machine.ram)
    text = machine.map(space, 4, RX, node=file.node)
    machine.touch(space, text, FETCH)
    assert all(code[pfn] for pfn in file.frames.values())
    jit = machine.map(space, 20)
    machine.write(space, jit, 1)
    assert not code[machine.pfn(space, jit)]
    machine.call(api.Protect(space, jit, 20 * PAGE, RX))
    assert code[machine.pfn(space, jit)]
    assert not machine.entry(space, jit) & api.PTE_NX
    both = machine.map(space, 1, RW | api.PROT_EXEC)
    machine.write(space, both, 1)
    assert code[machine.pfn(space, both)]


def test_do_usage_and_maps_add_up(machine: Machine) -> None:
    space, file = machine.space(), machine.file(4)
    machine.map(space, 10)
    stack = ANON | api.MAP_GROWSDOWN
    machine.map(space, 2, vaddr=0x7FFE_F000_0000, flags=stack, name=b"[stack]")
    text = machine.map(space, 4, RX, vaddr=0x40_0000, node=file.node, name=b"/bin/true")
    data = machine.map(space, 4, RW, vaddr=0x50_0000, node=file.node, name=b"/bin/true")
    machine.touch(space, text, FETCH)
    machine.write(space, data, 1)
    usage = machine.call(api.Usage(space))
    assert usage.virtual_bytes == 20 * PAGE
    assert usage.data_bytes == 14 * PAGE
    assert usage.stack_bytes == 2 * PAGE
    assert usage.resident_bytes == 8 * PAGE
    assert usage.minor_faults >= 2
    assert usage.regions == 4
    regions = {r.start: r for r in machine.call(api.Regions(space))}
    assert regions[text].resident_pages == 4
    assert regions[text].name == b"/bin/true"
    assert regions[data].dirty_pages == 1


def test_are_pages_shared_since_fork_nobodys_private_dirt(machine: Machine) -> None:
    space = machine.space()
    heap = machine.map(space, 8)
    for page in range(8):
        machine.write(space, heap + page * PAGE, 1)
    dirty = lambda number: machine.call(api.Regions(number))[0].dirty_pages  # noqa: E731
    assert dirty(space) == 8
    child = machine.fork(space)
    assert dirty(space) == dirty(child) == 0
    machine.write(child, heap, 2)
    assert dirty(child) == 1
    assert dirty(space) == 1  # the other owner of that page has gone
    machine.destroy(child)
    assert dirty(space) == 8
