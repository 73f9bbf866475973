"""Start-up of the emulated core: find its state, enter user mode, and prove that all of it works.

User mode is entered once: a SYSRET at a supervisor page puts the processor at CPL 3 with flat
segments, and the state right after is the template of every context, so that no thread ever
needs to enter again. The programs that are run meanwhile lie in the RAM's firmware area.
"""

from __future__ import annotations

import ctypes
import struct
import threading
import time
from typing import Any

import attrs
import unicorn
from unicorn import x86_const as x86

from services.drivers.cpu import fxsave, probe
from services.drivers.cpu.api import PAGE_FAULT, R11, RCX, RDI
from services.drivers.cpu.emulator import Emulator, InterruptHook
from services.drivers.ram.api import PAGE_BYTES

MSR_EFER, MSR_STAR = 0xC000_0080, 0xC000_0081
EFER_SCE, EFER_NXE = 1 << 0, 1 << 11
CR4_PAE, CR4_OSFXSR, CR4_OSXMMEXCPT = 1 << 5, 1 << 9, 1 << 10
CR0_PE, CR0_MP, CR0_NE, CR0_WP, CR0_PG = 1 << 0, 1 << 1, 1 << 5, 1 << 16, 1 << 31
STAR_SELECTORS = 0x1B << 48 | 0x08 << 32  # user CS 0x2b, SS 0x23
FLAGS_AT_START = 0x202

PROBE_VADDR = 0x10_0000
COUNTER_VADDR = 0x10_8000
SYSRET_VADDR = 0x20_0000
# Where the programs lie in the probe's page.
AT_SYSCALL, AT_LOAD, AT_STORE, AT_JUMP, AT_BREAKPOINT, AT_COUNT, AT_TRAPS = 0, 2, 4, 6, 12, 16, 32
AT_INTERRUPT = 36
_CODE = {
    AT_SYSCALL: "0f05",
    AT_LOAD: "8a07",  # mov al,[rdi]
    AT_STORE: "8807",  # mov [rdi],al
    AT_JUMP: "ffe7",  # jmp rdi
    AT_BREAKPOINT: "cc",
    AT_COUNT: "48ffc1 48ff07 48ff4708 ebf4",  # inc rcx; inc qword [rdi]; inc qword [rdi+8]; again
    AT_TRAPS: "0f05 ebfc",  # syscall; again
    AT_INTERRUPT: "cd31",  # int 0x31
}
PREEMPTIONS, PROOF_SLICE_S, PROOF_LIMIT_S = 8, 0.0005, 5.0
"""The self-check: how often, after how long, and when it has failed."""
TRAPS_TIMED = 256
LOOKS = 8
"""How often the exit request is looked for: once in some hundred starts the core has just changed
other fields of its own as well."""
PREEMPT_VECTOR = 0x1F0
"""What a preemption looks like to the interrupt hook; no exception and no INT n has it."""


@attrs.frozen
class Controls:
    """The core's own fields, which Unicorn's interface does not show."""

    request: ctypes.c_uint8
    countdown: ctypes.c_uint16
    pending: ctypes.c_int32

    def calm(self) -> None:
        """Forget a preemption that came too late."""
        self.pending.value = -1
        self.request.value = 0
        self.countdown.value = 0

    def preempt(self) -> None:
        """Make a running core leave at the next block; see `UnicornCore.preempt`."""
        self.pending.value = PREEMPT_VECTOR
        self.request.value = 1
        self.countdown.value = 0xFFFF


@attrs.frozen
class Found:
    """What start-up has found out."""

    layout: probe.Layout
    controls: Controls
    template: bytearray
    """The state of a thread that has not run yet."""
    trap_ns: int
    """What a SYSCALL costs that does nothing: the emulator's way into Python and back."""


def start(emulator: Emulator) -> Found:
    """All of it; LayoutUnknown says what did not fit."""
    return _Startup(emulator).run()


class _Startup:
    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.clean = bytearray()
        """The state right after user mode was entered."""
        self.rip = 0

    def run(self) -> Found:
        emulator = self.emulator
        uc, state, address = emulator.uc, emulator.state, emulator.address
        rip = probe.find_field(uc, state, x86.UC_X86_REG_RIP, "RIP")
        fs = probe.find_field(uc, state, x86.UC_X86_REG_FS_BASE, "FS base")
        gs = probe.find_field(uc, state, x86.UC_X86_REG_GS_BASE, "GS base")
        cr2 = probe.find_field(uc, state, x86.UC_X86_REG_CR2, "CR2")
        xmm = probe.find_field(uc, state, x86.UC_X86_REG_XMM0, "XMM0", 16)
        xmm1 = probe.find_field(uc, state, x86.UC_X86_REG_XMM1, "XMM1", 16)
        for register in (x86.UC_X86_REG_FS_BASE, x86.UC_X86_REG_GS_BASE, x86.UC_X86_REG_XMM0):
            uc.reg_write(register, 0)
        uc.reg_write(x86.UC_X86_REG_XMM1, 0)
        self.rip, self.cr2 = rip >> 3, cr2 >> 3
        probe.forbid_exits_inside_blocks(uc, len(state))
        self._enter_user_mode()
        request, countdown = self._find_exit()
        error, exception, pending = self._provoke_faults()
        controls = Controls(
            ctypes.c_uint8.from_address(address + request),
            ctypes.c_uint16.from_address(address + countdown),
            ctypes.c_int32.from_address(address + pending),
        )
        layout = probe.Layout(
            address, rip, fs, gs, cr2, xmm, xmm1 - xmm, error, exception, len(state)
        )
        self._prove_software(error)
        self._prove_preemption(controls)
        trap_ns = self._time_traps()
        emulator.integers[exception >> 2] = -1
        struct.pack_into("<i", self.clean, exception, -1)
        return Found(layout, controls, self.clean, trap_ns)

    def _enter_user_mode(self) -> None:
        """Probe tables in the firmware area, paging on, then one SYSRET to CPL 3."""
        emulator = self.emulator
        uc, regs = emulator.uc, emulator.regs
        uc.reg_write(x86.UC_X86_REG_CR4, CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT)
        uc.reg_write(x86.UC_X86_REG_CR3, self._make_tables())
        efer = uc.reg_read(x86.UC_X86_REG_MSR, MSR_EFER)
        uc.reg_write(x86.UC_X86_REG_MSR, (MSR_EFER, efer | EFER_SCE | EFER_NXE))
        uc.reg_write(x86.UC_X86_REG_MSR, (MSR_STAR, STAR_SELECTORS))
        cr0 = uc.reg_read(x86.UC_X86_REG_CR0)
        uc.reg_write(x86.UC_X86_REG_CR0, cr0 | CR0_PE | CR0_MP | CR0_NE | CR0_WP | CR0_PG)
        uc.reg_write(x86.UC_X86_REG_FPCW, fxsave.CONTROL_DEFAULT)
        uc.reg_write(x86.UC_X86_REG_FPTAG, 0xFFFF)
        uc.reg_write(x86.UC_X86_REG_MXCSR, fxsave.MXCSR_DEFAULT)
        for i in range(16):
            regs[i] = 0
        regs[RCX], regs[R11] = PROBE_VADDR, FLAGS_AT_START
        handle = emulator.hook_syscall(lambda *_: emulator.stop())
        emulator.emulate(SYSRET_VADDR)
        emulator.drop_hook(handle)
        selector = uc.reg_read(x86.UC_X86_REG_CS)
        if selector != 0x2B or emulator.words[self.rip] != PROBE_VADDR + 2:
            raise probe.LayoutUnknown(f"SYSRET did not reach user mode (CS {selector:#x})")
        regs[RCX], regs[R11] = 0, 0
        self.clean = bytearray(emulator.state)

    def _make_tables(self) -> int:
        """Page tables and the probe's programs; replies with the root's address."""
        ram = self.emulator.ram
        words, base = ram.words, ram.firmware_paddr
        root, pdpt, directory, table, sysret, code, data = (base + i * PAGE_BYTES for i in range(7))
        words[root >> 3] = pdpt | 7
        words[pdpt >> 3] = directory | 7
        words[directory >> 3] = table | 7  # maps 0 to 2 MB
        words[(directory >> 3) + 1] = (base + 7 * PAGE_BYTES) | 7  # maps 2 to 4 MB
        words[(table >> 3) + (PROBE_VADDR >> 12)] = code | 5
        words[(table >> 3) + (PROBE_VADDR >> 12) + 1] = data | 5
        words[(base + 7 * PAGE_BYTES) >> 3] = sysret | 1
        words[(table >> 3) + (COUNTER_VADDR >> 12)] = (base + 8 * PAGE_BYTES) | 7 | 1 << 63
        ram.bytes[sysret : sysret + 3] = b"\x48\x0f\x07"
        for offset, text in _CODE.items():
            image = bytes.fromhex(text)
            ram.bytes[code + offset : code + offset + len(image)] = image
        return root

    def _reset(self) -> None:
        self.emulator.state[:] = self.clean

    def _run_hooked(self, trap: Any, offset: int) -> None:
        """Run the program at an offset with `trap` as the hook of its SYSCALLs."""
        emulator = self.emulator
        handle = emulator.hook_syscall(trap)
        self._reset()
        emulator.regs[RDI] = PROBE_VADDR
        emulator.emulate(PROBE_VADDR + offset)
        emulator.drop_hook(handle)

    def _find_exit(self) -> tuple[int, int]:
        """Offsets of the exit request and the countdown, from inside a trap."""
        found: list[tuple[int, int]] = []
        failed: list[probe.LayoutUnknown] = []
        stop = self.emulator.stop

        def look(*_: Any) -> None:
            try:
                found.append(probe.find_exit_fields(self.emulator.address, stop))
            except probe.LayoutUnknown as unknown:
                failed.append(unknown)
                stop()

        for _ in range(LOOKS):
            self._run_hooked(look, AT_SYSCALL)
            if found:
                return found[0]
        raise failed[0] if failed else probe.LayoutUnknown("no trap came")

    def _time_traps(self) -> int:
        """Ns that a trap takes when its handler does nothing."""
        left = [TRAPS_TIMED]
        stop = self.emulator.stop

        def trap(*_: Any) -> None:
            left[0] -= 1
            if not left[0]:
                stop()

        begun = time.perf_counter_ns()
        self._run_hooked(trap, AT_TRAPS)
        spent = time.perf_counter_ns() - begun
        self._reset()
        return spent // TRAPS_TIMED

    # Proofs ---------------------------------------------------------------------------------

    def _prove_preemption(self, controls: Controls) -> None:
        """Count in a register and in memory while another thread preempts: both must agree.

        The counting program never ends by itself, so each round also proves that it is stopped.
        """
        emulator, words = self.emulator, self.emulator.ram.words
        at = (emulator.ram.firmware_paddr + 8 * PAGE_BYTES) >> 3
        preempted: list[int] = []
        done = threading.Event()

        def interrupted(_uc: Any, vector: int, _data: Any) -> None:
            preempted.append(vector)
            emulator.stop()

        def disturb() -> None:
            begun = time.monotonic()
            while not done.wait(PROOF_SLICE_S):
                if time.monotonic() - begun > PROOF_LIMIT_S:
                    emulator.stop()
                else:
                    controls.preempt()

        handle = emulator.add_hook(unicorn.UC_HOOK_INTR, InterruptHook(interrupted))
        self._reset()
        emulator.regs[RDI] = COUNTER_VADDR
        words[at] = words[at + 1] = 0
        rip, miscounts = PROBE_VADDR + AT_COUNT, 0
        thread = threading.Thread(target=disturb, daemon=True)
        thread.start()
        try:
            for _ in range(PREEMPTIONS):
                emulator.emulate(rip)
                rip = emulator.words[self.rip]
                counts = (emulator.regs[RCX], words[at], words[at + 1])
                # The stop may lie between two of the three steps, never further away.
                miscounts += (
                    not 0 <= counts[0] - counts[2] <= 1 or not 0 <= counts[1] - counts[2] <= 1
                )
        finally:
            done.set()
            thread.join()
            emulator.drop_hook(handle)
            controls.calm()
            self._reset()
        if miscounts or preempted != [PREEMPT_VECTOR] * PREEMPTIONS:
            raise probe.LayoutUnknown(
                f"{len(preempted)} of {PREEMPTIONS} preemptions, {miscounts} miscounts"
            )

    def _provoke_faults(self) -> tuple[int, int, int]:
        """Offsets of the error code, the exception in flight and the pending exception."""
        emulator = self.emulator
        seen: list[tuple[bytes, int]] = []
        below: list[tuple[bytes, int]] = []

        def trap(_uc: Any, vector: int, _data: Any) -> None:
            seen.append((bytes(emulator.state), vector))
            below.append((probe.below(emulator.address), vector))
            emulator.stop()

        handle = emulator.add_hook(unicorn.UC_HOOK_INTR, InterruptHook(trap))

        def provoke(code: int) -> tuple[bytes, int]:
            offset, target = {
                4: (AT_LOAD, 0x5000),
                6: (AT_STORE, 0x6000),
                7: (AT_STORE, PROBE_VADDR + PAGE_BYTES),
                0x14: (AT_JUMP, 0x7000),
            }[code]
            self._reset()
            emulator.regs[RDI] = target
            seen.clear()
            emulator.emulate(PROBE_VADDR + offset)
            if not seen or emulator.words[self.cr2] != target:
                raise probe.LayoutUnknown(f"the page fault with code {code:#x} did not arrive")
            return seen[-1]

        codes = (4, 6, 7, 0x14)
        errors, exceptions = probe.find_fault_fields(provoke, codes)
        if len(errors) != 1:
            raise probe.LayoutUnknown(f"the error code is in {len(errors)} places")
        exception = self._prove_exception(exceptions, provoke, seen)
        self._reset()
        emulator.emulate(PROBE_VADDR + AT_BREAKPOINT)  # another vector, to tell the fields apart
        emulator.drop_hook(handle)
        self._reset()
        if len({vector for _, vector in below}) < 2:
            raise probe.LayoutUnknown("a breakpoint did not arrive")
        pending = probe.find_words(below)
        if len(pending) != 1:
            raise probe.LayoutUnknown(f"the pending exception is in {len(pending)} places")
        return errors.pop(), exception, pending.pop() - probe.BELOW_BYTES

    def _prove_software(self, error: int) -> None:
        """What stands behind the error code: whether it was an INT n, and where that ends.

        The emulator never takes the mark back, and moves the instruction pointer to that end
        before it calls a hook while the mark is set: a later preemption would land there.
        """
        emulator = self.emulator
        seen: list[tuple[int, int]] = []

        def trap(_uc: Any, _vector: int, _data: Any) -> None:
            seen.append((emulator.integers[error + 4 >> 2], emulator.words[error + 8 >> 3]))
            emulator.stop()

        handle = emulator.add_hook(unicorn.UC_HOOK_INTR, InterruptHook(trap))
        self._reset()
        emulator.emulate(PROBE_VADDR + AT_INTERRUPT)
        self._reset()
        emulator.regs[RDI] = 0x5000
        emulator.emulate(PROBE_VADDR + AT_LOAD)
        emulator.drop_hook(handle)
        self._reset()
        if len(seen) != 2 or seen[0] != (1, PROBE_VADDR + AT_INTERRUPT + 2) or seen[1][0] != 0:
            raise probe.LayoutUnknown(f"INT n is not marked as such: {seen}")

    def _prove_exception(self, candidates: set[int], provoke: Any, seen: Any) -> int:
        """The right field, set to -1, is what makes a second fault arrive as a page fault."""
        emulator, proved = self.emulator, []
        for candidate in sorted(candidates):
            provoke(4)
            emulator.integers[candidate >> 2] = -1
            emulator.regs[RDI] = 0x5000
            seen.clear()
            emulator.emulate(PROBE_VADDR + AT_LOAD)
            if seen and seen[-1][1] == PAGE_FAULT:
                proved.append(candidate)
        if len(proved) != 1:
            raise probe.LayoutUnknown(f"the exception in flight is in {len(proved)} places")
        return proved[0]
