"""Does the emulated core trap, fault and switch as a processor does?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from services.drivers.cpu import api as cpu
from services.drivers.cpu import probe
from services.drivers.cpu.engine import UnicornCore
from services.drivers.ram.api import DOORBELL_TLB, Ram

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TEXT, DATA = 0x40_0000, 0x50_0000
ROOT, TEXT_FRAME, DATA_FRAME = 0x10_0000, 0x20_0000, 0x20_1000
PRESENT, WRITE, USER, NX = 1, 2, 4, 1 << 63


class Machine:
    """A core with one address space whose tables the test writes by hand."""

    def __init__(self) -> None:
        self.ram = Ram(16 << 20)
        self.core = UnicornCore(self.ram)
        self.next_table = ROOT + 4096
        self.trap: Callable[[], None] = self.core.stop
        self.core.on_syscall = lambda: self.trap()

    def map(self, vaddr: int, paddr: int, bits: int, root: int = ROOT) -> None:
        table = root
        for shift in (39, 30, 21):
            index = (table >> 3) + (vaddr >> shift & 511)
            if not self.ram.words[index]:
                self.ram.words[index] = self.next_table | 7
                self.next_table += 4096
            table = self.ram.words[index] & 0xFFFFFFFFFF000
        self.ram.words[(table >> 3) + (vaddr >> 12 & 511)] = paddr | bits

    def load(self, code: str) -> cpu.Context:
        image = bytes.fromhex(code)
        self.ram.bytes[TEXT_FRAME : TEXT_FRAME + len(image)] = image
        self.map(TEXT, TEXT_FRAME, PRESENT | USER)
        context = self.core.new_context(ROOT)
        self.core.poke(context, cpu.RIP, TEXT)
        self.core.switch(context)
        return context


@pytest.fixture(scope="module")
def shared() -> Machine:
    return Machine()


@pytest.fixture
def machine(shared: Machine) -> Iterator[Machine]:
    shared.ram.zero(ROOT, 0x20_2000 - ROOT)
    shared.next_table = ROOT + 4096
    shared.ram.words[0] = 3  # what the last test left in the caches must go
    shared.trap = shared.core.stop
    return shared


def test_syscall_carries_registers_and_result(machine: Machine) -> None:
    seen: list[int] = []

    def trap() -> None:
        seen.append(machine.core.regs[cpu.RAX])
        if len(seen) == 2:
            machine.core.stop()
        else:
            machine.core.regs[cpu.RAX] = 41

    machine.trap = trap
    machine.load("b827000000 0f05 ffc0 0f05")  # mov eax,39; syscall; inc eax; syscall
    machine.core.run()
    assert seen == [39, 42]
    assert machine.core.read_rip() == TEXT + 11


def test_every_fault_arrives_with_address_and_code(machine: Machine) -> None:
    seen: list[tuple[int, int]] = []

    def fault(vaddr: int, error: int) -> None:
        seen.append((vaddr, error))
        machine.map(vaddr & ~4095, DATA_FRAME, PRESENT | USER | WRITE | NX)

    machine.core.on_fault = fault
    # mov rdi,DATA; mov [rdi],al; mov al,[rdi+4096]; mov [rdi+8192],al; syscall
    machine.load("48c7c700005000 8807 8a8700100000 888700200000 0f05")
    machine.core.run()
    assert seen == [(DATA, 6), (DATA + 4096, 4), (DATA + 8192, 6)]


def test_execution_of_data_is_refused(machine: Machine) -> None:
    seen: list[tuple[int, int]] = []

    def fault(vaddr: int, error: int) -> None:
        seen.append((vaddr, error))
        machine.core.stop()

    machine.core.on_fault = fault
    machine.map(DATA, DATA_FRAME, PRESENT | USER | NX)
    machine.load("48c7c700005000 ffe7")  # mov rdi,DATA; jmp rdi
    machine.core.run()
    assert seen
    assert seen[0][0] == DATA
    assert seen[0][1] & cpu.ERROR_FETCH


@pytest.mark.parametrize(
    ("code", "vector"),
    [("31c9f7f1", cpu.DIVIDE), ("0f0b", cpu.INVALID_OPCODE), ("f4", cpu.PROTECTION), ("cc", 3)],
)
def test_exceptions_arrive(machine: Machine, code: str, vector: int) -> None:
    seen: list[int] = []

    def exception(number: int, error: int) -> None:
        seen.append(number)
        machine.core.stop()

    machine.core.on_exception = exception
    machine.load(code)
    machine.core.run()
    assert seen == [vector]


def test_contexts_keep_all_registers_apart(machine: Machine) -> None:
    core = machine.core
    first = machine.load("f20f58c0 480fc7c0 0f05")
    second = core.clone_context(first, ROOT)
    for context, base in ((first, 0x1000), (second, 0x2000)):
        for register in range(16):
            core.poke(context, register, base + register)
        core.poke(context, cpu.FS_BASE, base)
    for context, base in ((first, 0x1000), (second, 0x2000), (first, 0x1000)):
        core.switch(context)
        assert [core.regs[i] for i in range(16)] == [base + i for i in range(16)]
        assert core.read_fs_base() == base


def test_floating_state_survives_a_round_trip(machine: Machine) -> None:
    machine.load("660fefc0 d9e8 d9eb 0f05")  # pxor xmm0; fld1; fldpi; syscall
    machine.core.run()
    image = machine.core.read_fpu()
    machine.core.write_fpu(image)
    assert machine.core.read_fpu() == image
    assert image[4] == 0b1100_0000, "two registers of the stack are in use"


def test_doorbell_makes_a_narrowed_mapping_count(machine: Machine) -> None:
    seen: list[int] = []

    def fault(vaddr: int, error: int) -> None:
        seen.append(error)
        machine.core.stop()

    machine.core.on_fault = fault
    machine.map(DATA, DATA_FRAME, PRESENT | USER | WRITE | NX)
    machine.load("48c7c700005000 8807 0f05 8807 0f05")
    machine.core.run()
    machine.map(DATA, DATA_FRAME, PRESENT | USER | NX)
    machine.ram.ring(DOORBELL_TLB)
    machine.core.run()
    assert seen == [cpu.ERROR_PRESENT | cpu.ERROR_WRITE | cpu.ERROR_USER]
    assert machine.ram.words[0] == 0


def test_an_error_in_a_trap_leaves_run(machine: Machine) -> None:
    def trap() -> None:
        raise ValueError("kept and raised again")

    machine.trap = trap
    machine.load("0f05")
    with pytest.raises(ValueError, match="kept and raised again"):
        machine.core.run()


def test_a_core_that_changed_other_fields_meanwhile_is_looked_at_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks, find = [], probe.find_exit_fields

    def unclear(address: int, stop: Callable[[], None]) -> tuple[int, int]:
        looks.append(address)
        if len(looks) < 3:
            raise probe.LayoutUnknown("a stop changes 6 bytes of the core, not 3")
        return find(address, stop)

    monkeypatch.setattr(probe, "find_exit_fields", unclear)
    Machine()
    assert len(looks) == 3
