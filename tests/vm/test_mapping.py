"""Do mmap, munmap, mprotect, mremap and brk answer as Linux does?"""

from __future__ import annotations

from errno import EACCES, EEXIST, EFAULT, EINVAL, ENOMEM
from typing import TYPE_CHECKING

import pytest

from bus.errors import MalformedRequest
from services.vm import api
from services.vm.regions import MIN_ADDRESS
from tests.vm.machine import ANON, MAPERR, PAGE, READ, RW, RX, Segfault

if TYPE_CHECKING:
    from tests.vm.machine import Machine

TOP = 0x7FFE_0000_0000


def shape(machine: Machine, space: int) -> list[tuple[int, int, int]]:
    """Start page, pages, prot of each region, from the first one's start."""
    regions = machine.call(api.Regions(space))
    return [(r.start // PAGE, (r.end - r.start) // PAGE, r.prot) for r in regions]


def test_is_memory_given_from_the_top_down(machine: Machine) -> None:
    space = machine.space()
    first = machine.map(space, 2)
    second = machine.map(space, 3, api.PROT_READ)
    assert first == TOP - 2 * PAGE
    assert second == first - 3 * PAGE
    machine.unmap(space, first, 2)
    assert machine.map(space, 1) == TOP - PAGE
    assert machine.map(space, 2) == second - 2 * PAGE


def test_is_the_search_right_after_every_kind_of_change(machine: Machine) -> None:
    space = machine.space()
    held = [machine.map(space, 4, 1 + index % 2) for index in range(40)]
    machine.unmap(space, held[10], 4)
    machine.unmap(space, held[20] + PAGE, 2)
    assert machine.map(space, 4) == held[10]
    assert machine.map(space, 3) == held[-1] - 3 * PAGE
    assert machine.map(space, 2) == held[20] + PAGE
    machine.unmap(space, held[0], 4)
    assert machine.map(space, 5) == held[-1] - 8 * PAGE
    assert machine.map(space, 4) == held[0]


def test_do_neighbours_become_one_region(machine: Machine) -> None:
    space = machine.space()
    first = machine.map(space, 2)
    machine.map(space, 2)
    assert shape(machine, space) == [(first // PAGE - 2, 4, RW)]
    file = machine.file(8)
    low = machine.map(space, 2, RX, node=file.node, vaddr=0x40_0000)
    machine.map(space, 2, RX, vaddr=low + 2 * PAGE, node=file.node, offset=2 * PAGE)
    assert len(shape(machine, space)) == 2


def test_is_a_hint_taken_where_it_is_free(machine: Machine) -> None:
    space = machine.space()
    assert machine.map(space, 2, vaddr=0x5555_0FFF) == 0x5555_0000
    assert machine.map(space, 2, vaddr=0x5555_1000) != 0x5555_1000
    assert machine.map(space, 2, vaddr=0x1000) == MIN_ADDRESS
    assert machine.map(space, 2, vaddr=api.USER_TOP) < TOP
    low = ANON | api.MAP_32BIT
    for hint in (0, 0x6000_0000, 0x9000_0000):
        assert 1 << 30 <= machine.map(space, 2, vaddr=hint, flags=low) < 2 << 30
    assert machine.errno_of(api.Map(space, 0, (1 << 30) + PAGE, 1, low)) == ENOMEM


def test_what_does_a_child_get_of_what_it_should_not(machine: Machine) -> None:
    space, file = machine.space(), machine.file(4)
    vaddr = machine.map(space, 6)
    secret = machine.map(space, 4, node=file.node)
    for page in range(6):
        machine.write(space, vaddr + page * PAGE, 1 + page)
    assert machine.errno_of(api.AtFork(space, secret, PAGE, api.FORK_WIPE)) == EINVAL
    machine.call(api.AtFork(space, secret, 4 * PAGE, api.FORK_OMIT))
    machine.call(api.AtFork(space, vaddr + PAGE, 3 * PAGE, api.FORK_WIPE))
    machine.call(api.AtFork(space, vaddr + 3 * PAGE, 2 * PAGE, api.FORK_OMIT))
    assert len(shape(machine, space)) == 6
    for parent in (space, machine.fork(space)):
        child = machine.fork(parent)
        assert [machine.read(child, vaddr + n * PAGE) for n in (0, 1, 2, 5)] == [1, 0, 0, 6]
        for gone in (3 * PAGE, 4 * PAGE, secret - vaddr):
            assert machine.touch(child, vaddr + gone, READ) == MAPERR
    assert machine.read(space, vaddr + 3 * PAGE) == 4
    machine.call(api.AtFork(space, vaddr, 6 * PAGE, 0, api.FORK_OMIT))
    child = machine.fork(space)
    assert [machine.read(child, vaddr + n * PAGE) for n in range(6)] == [1, 0, 0, 0, 5, 6]
    assert machine.errno_of(api.AtFork(space, 0x5000, PAGE, 0, api.FORK_OMIT)) == ENOMEM
    machine.check()


def test_does_map_fixed_replace_and_noreplace_refuse(machine: Machine) -> None:
    space = machine.space()
    vaddr = machine.map(space, 4)
    machine.write(space, vaddr + PAGE, 5)
    fixed = ANON | api.MAP_FIXED
    machine.map(space, 1, api.PROT_READ, vaddr=vaddr + PAGE, flags=fixed)
    assert machine.read(space, vaddr + PAGE) == 0
    refusing = ANON | api.MAP_FIXED_NOREPLACE
    call = api.Map(space, vaddr, PAGE, RW, refusing)
    assert machine.errno_of(call) == EEXIST
    assert machine.map(space, 1, vaddr=0x10_0000, flags=refusing) == 0x10_0000


@pytest.mark.parametrize(
    ("call", "errno"),
    [
        (api.Map(1, 0, 0, RW, ANON), EINVAL),
        (api.Map(1, 0, PAGE, RW, api.MAP_ANONYMOUS), EINVAL),
        (api.Map(1, 0, PAGE, 1 << 20, ANON), EINVAL),
        (api.Map(1, 1, PAGE, RW, ANON | api.MAP_FIXED), EINVAL),
        (api.Map(1, 0, PAGE, 1, api.MAP_PRIVATE, 9, 5), EINVAL),
        (api.Map(1, 0, 1 << 47, 0, ANON), ENOMEM),
        (api.Map(1, 0, 1 << 30, RW, ANON), ENOMEM),
        (api.Map(1, api.USER_TOP, PAGE, RW, ANON | api.MAP_FIXED), ENOMEM),
        (api.Map(1, 0, PAGE, RW, api.MAP_SHARED, 9, 0, False), EACCES),
        (api.Unmap(1, 1, PAGE), EINVAL),
        (api.Unmap(1, 0, 0), EINVAL),
        (api.Unmap(1, api.USER_TOP, PAGE), EINVAL),
        (api.Protect(1, 1, PAGE, 1), EINVAL),
        (api.Protect(1, 0, PAGE, 1), ENOMEM),
        (api.Protect(1, 0, PAGE, 1 << 12), EINVAL),
        (api.Discard(1, 0, PAGE), ENOMEM),
        (api.Discard(1, 1, PAGE), EINVAL),
        (api.Resident(1, 0, PAGE), ENOMEM),
        (api.Remap(1, 0, PAGE, PAGE, 0), EFAULT),
        (api.Remap(1, 0, PAGE, 0, 0), EINVAL),
        (api.Remap(1, 0, PAGE, PAGE, api.MREMAP_FIXED), EINVAL),
        (api.CollectDirty(1, 0, PAGE), ENOMEM),
    ],
)
def test_what_is_refused(machine: Machine, call: object, errno: int) -> None:
    assert machine.space() == 1
    assert machine.errno_of(call) == errno  # type: ignore[arg-type]
    assert machine.call(api.Regions(1)) == ()


def test_is_an_unknown_space_the_senders_fault(machine: Machine) -> None:
    with pytest.raises(MalformedRequest):
        machine.call(api.Fault(77, 0, 1))
    with pytest.raises(MalformedRequest):
        machine.call(api.Map(machine.space(), 0, PAGE, RW, api.MAP_SHARED))


def test_may_much_be_reserved_that_is_never_used(machine: Machine) -> None:
    space = machine.space()
    flags = ANON | api.MAP_NORESERVE
    vaddr = machine.map(space, 1 << 30, flags=flags)
    machine.write(space, vaddr + (1 << 41), 3)
    machine.call(api.Discard(space, vaddr, 1 << 42))
    assert machine.read(space, vaddr + (1 << 41)) == 0
    machine.unmap(space, vaddr, 1 << 30)


def test_does_mprotect_apply_up_to_the_hole(machine: Machine) -> None:
    space = machine.space()
    vaddr = machine.map(space, 6)
    machine.unmap(space, vaddr + 3 * PAGE, 1)
    machine.write(space, vaddr + 2 * PAGE, 1)
    assert machine.errno_of(api.Protect(space, vaddr, 6 * PAGE, api.PROT_READ)) == ENOMEM
    with pytest.raises(Segfault):
        machine.write(space, vaddr + 2 * PAGE, 2)
    machine.write(space, vaddr + 4 * PAGE, 2)


def test_does_prot_none_keep_what_was_there(machine: Machine) -> None:
    space = machine.space()
    vaddr = machine.map(space, 40)
    for page in range(40):
        machine.write(space, vaddr + page * PAGE, page + 1)
    machine.call(api.Protect(space, vaddr, 40 * PAGE, api.PROT_NONE))
    with pytest.raises(Segfault):
        machine.read(space, vaddr)
    child = machine.fork(space)
    machine.call(api.Protect(space, vaddr, 40 * PAGE, RW))
    machine.write(space, vaddr, 99)
    machine.call(api.Protect(child, vaddr, 3 * PAGE, api.PROT_READ))
    assert [machine.read(child, vaddr + page * PAGE) for page in range(3)] == [1, 2, 3]
    assert [machine.read(space, vaddr + page * PAGE) for page in range(3)] == [99, 2, 3]


def test_does_a_shared_mapping_of_a_file_open_for_reading_stay_so(machine: Machine) -> None:
    space, file = machine.space(), machine.file(2)
    vaddr = machine.map(
        space, 2, api.PROT_READ, node=file.node, flags=api.MAP_SHARED, may_write=False
    )
    assert machine.errno_of(api.Protect(space, vaddr, PAGE, RW)) == EACCES
    assert machine.read(space, vaddr) == 1


def test_does_mremap_grow_in_place_shrink_and_move(machine: Machine) -> None:
    space = machine.space()
    vaddr = machine.map(space, 4, vaddr=0x20_0000 - 2 * PAGE)
    for page in range(4):
        machine.write(space, vaddr + page * PAGE, page + 1)
    assert machine.remap(space, vaddr, 4, 8, 0) == vaddr
    machine.write(space, vaddr + 7 * PAGE, 8)
    assert machine.remap(space, vaddr, 8, 7, 0) == vaddr
    wall = machine.map(space, 1, vaddr=vaddr + 7 * PAGE)
    assert wall == vaddr + 7 * PAGE
    assert machine.errno_of(api.Remap(space, vaddr, 7 * PAGE, 9 * PAGE, 0)) == ENOMEM
    frames = [machine.pfn(space, vaddr + page * PAGE) for page in range(4)]
    moved = machine.remap(space, vaddr, 7, 600, api.MREMAP_MAYMOVE)
    assert moved != vaddr
    assert [machine.pfn(space, moved + page * PAGE) for page in range(4)] == frames
    assert [machine.read(space, moved + page * PAGE) for page in range(5)] == [1, 2, 3, 4, 0]
    with pytest.raises(Segfault):
        machine.read(space, vaddr)


def test_does_dontunmap_leave_an_empty_mapping_behind(machine: Machine) -> None:
    space = machine.space()
    vaddr = machine.map(space, 20)
    machine.write(space, vaddr, 5)
    moved = machine.remap(space, vaddr, 20, 20, api.MREMAP_MAYMOVE | api.MREMAP_DONTUNMAP)
    assert machine.read(space, moved) == 5
    assert machine.read(space, vaddr) == 0


def test_can_a_shared_mapping_be_doubled(machine: Machine) -> None:
    space, file = machine.space(), machine.file(4)
    vaddr = machine.map(space, 4, node=file.node, flags=api.MAP_SHARED)
    second = machine.remap(space, vaddr, 0, 4, api.MREMAP_MAYMOVE)
    machine.write(space, vaddr + PAGE, 77)
    assert machine.read(space, second + PAGE) == 77
    private = machine.map(space, 1)
    call = api.Remap(space, private, 0, PAGE, api.MREMAP_MAYMOVE)
    assert machine.errno_of(call) == EINVAL


def test_does_brk_grow_shrink_and_mind_its_neighbours(machine: Machine) -> None:
    space = machine.space()
    start = machine.call(api.Brk(space, 0))
    assert machine.call(api.Brk(space, start + 100)) == start + 100
    machine.write(space, start, 5)
    assert machine.call(api.Brk(space, start + 5 * PAGE)) == start + 5 * PAGE
    machine.write(space, start + 4 * PAGE, 6)
    assert machine.call(api.Brk(space, start + PAGE)) == start + PAGE
    assert machine.call(api.Brk(space, start + 5 * PAGE)) == start + 5 * PAGE
    assert machine.read(space, start + 4 * PAGE) == 0
    assert machine.read(space, start) == 5
    machine.map(space, 1, vaddr=start + 7 * PAGE)
    assert machine.call(api.Brk(space, start + 7 * PAGE)) == start + 5 * PAGE
    assert machine.call(api.Brk(space, start - 1)) == start + 5 * PAGE
    (heap, _) = machine.call(api.Regions(space))
    assert heap.name == b"[heap]"
    assert heap.end == start + 5 * PAGE


def test_does_the_stack_grow_to_its_limit_and_keep_its_gap(machine: Machine) -> None:
    space = machine.space()
    top = 0x7FFF_0000_0000
    flags = ANON | api.MAP_GROWSDOWN | api.MAP_FIXED
    machine.map(space, 2, vaddr=top - 2 * PAGE, flags=flags, name=b"[stack]")
    machine.write(space, top - 1, 1)
    machine.write(space, top - 100 * PAGE, 2)
    with pytest.raises(Segfault):
        machine.write(space, top - (8 << 20) - 1, 3)
    machine.write(space, top - (8 << 20), 3)
    (stack,) = machine.call(api.Regions(space))
    assert stack.end - stack.start == 8 << 20
    below = stack.start - 10 * PAGE
    assert machine.map(space, 4, vaddr=below) != below
    assert machine.call(api.Brk(space, 0))
    other = 0x6000_0000_0000
    machine.map(space, 1, vaddr=other, flags=ANON | api.MAP_FIXED)
    machine.map(space, 1, vaddr=other + 300 * PAGE, flags=flags)
    machine.write(space, other + 257 * PAGE, 1)
    with pytest.raises(Segfault):
        machine.write(space, other + 256 * PAGE, 1)


def test_are_references_to_files_counted_once_a_space(machine: Machine) -> None:
    space, file = machine.space(), machine.file(8)
    vaddr = machine.map(space, 8, node=file.node)
    machine.unmap(space, vaddr + 2 * PAGE, 1)
    machine.call(api.Protect(space, vaddr, PAGE, api.PROT_READ))
    assert file.references == 1
    child = machine.fork(space)
    assert file.references == 2
    machine.map(space, 8, vaddr=vaddr, flags=ANON | api.MAP_FIXED)
    assert file.references == 1
    machine.destroy(child)
    assert file.references == 0


def test_are_there_at_most_so_many_regions(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.vm.space.MAX_REGIONS", 8)
    space = machine.space()
    vaddr = machine.map(space, 64)
    cuts = [api.Unmap(space, vaddr + page * PAGE, PAGE) for page in range(1, 64, 2)]
    assert {machine.errno_of(cut) for cut in cuts} == {0, ENOMEM}
    assert len(machine.call(api.Regions(space))) == 8
