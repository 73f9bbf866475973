"""A core made of Unicorn (QEMU's TCG as a library); implements `api.Core`.

How user mode is entered: once, at start-up, a SYSRET at a supervisor page puts the processor at
CPL 3 with flat segments; the state right after is the template of every context, so that no
thread ever needs to enter again.

Rules that the emulator imposes (each was measured; see README.md):
- An `until` address is looked up at every stop, and the look-up's page fault stays in flight:
  exits are enabled and none is set.
- `uc_emu_stop` from another thread leaves a stale instruction pointer: `preempt` does it right.
- The exception in flight must be reset in every exception hook, else the next fault is a double
  fault.
- No UC_HOOK_MEM_* over RAM, and no execute permission on data: both make every store slow.
- Translated code is keyed by physical address and is not dropped when RAM is changed from
  outside: hence DOORBELL_CODE.
- An exception that leaves a ctypes callback vanishes: traps keep it, and `run` raises it again.
"""

from __future__ import annotations

import ctypes
import struct
import threading
import time
from time import perf_counter_ns
from typing import Any

import unicorn
from unicorn import x86_const as x86
from unicorn.unicorn_py3 import unicorn as binding

from services.drivers.cpu import fxsave, probe
from services.drivers.cpu.api import PAGE_FAULT, PROTECTION, R11, RCX, RIP, Context
from services.drivers.ram.api import DOORBELL_CODE, PAGE_BYTES, Ram

MSR_EFER, MSR_STAR = 0xC000_0080, 0xC000_0081
EFER_SCE, EFER_NXE = 1 << 0, 1 << 11
CR4_PAE, CR4_OSFXSR, CR4_OSXMMEXCPT = 1 << 5, 1 << 9, 1 << 10
CR0_PE, CR0_MP, CR0_NE, CR0_WP, CR0_PG = 1 << 0, 1 << 1, 1 << 5, 1 << 16, 1 << 31
STAR_SELECTORS = 0x1B << 48 | 0x08 << 32  # user CS 0x2b, SS 0x23
FLAGS_AT_START = 0x202

CONTEXT_HEADER_BYTES = 40
PROBE_VADDR = 0x10_0000
COUNTER_VADDR = 0x10_8000
SYSRET_VADDR = 0x20_0000
PREEMPTIONS, PROOF_SLICE_S, PROOF_LIMIT_S = 8, 0.0005, 5.0
"""The self-check: how often, after how long, and when it has failed."""
PREEMPT_VECTOR = 0xF0
"""What a preemption looks like to the interrupt hook; no exception of a processor has it."""

_SyscallHook = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
_InterruptHook = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p)
_InHook = ctypes.CFUNCTYPE(
    ctypes.c_uint32, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_void_p
)
_OutHook = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint32, ctypes.c_void_p
)
_InvalidHook = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_void_p)

UC_CTL_TB_FLUSH, UC_CTL_TLB_FLUSH = 10, 11


class CoreFailure(Exception):
    """The emulator itself stopped with an error that no trap explains."""


def _unhandled(*_: Any) -> None:
    raise CoreFailure("a trap arrived before the kernel was ready for it")


class UnicornCore:
    """See the module's docstring and `api.Core`."""

    def __init__(self, ram: Ram) -> None:
        self._ram = ram
        self._words = ram.words
        self._uc: Any = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64)
        self._uc.mem_map_ptr(0, ram.size_bytes + 16 * PAGE_BYTES, unicorn.UC_PROT_ALL, ram.address)
        # No address ends emulation: looking one up would leave a fault behind at every stop.
        self._uc.ctl_exits_enabled(True)
        self._uc.ctl_set_exits([])
        self._handle = self._uc._uch
        self._lib = binding.uclib
        # The GIL stays held in calls that take no time; emulation itself must release it.
        self._quick = ctypes.PyDLL(self._lib._name)
        self.on_syscall: Any = _unhandled
        self.on_fault: Any = _unhandled
        self.on_exception: Any = _unhandled
        self._failure: BaseException | None = None
        self._loaded: Context | None = None
        self._root = 0
        self._root_cell = ctypes.c_uint64(0)
        self._root_ref = ctypes.byref(self._root_cell)
        self._flag_cell = ctypes.c_uint64(0)
        self._start_cell = ctypes.c_uint64(0)
        self._none = ctypes.c_uint64(0)
        self._hooks: list[Any] = []
        self.running = False
        self.epoch = 0
        self.busy_ns = 0
        self._ticker: Ticker | None = None
        self._locate()
        self._install_traps()

    # Start-up -------------------------------------------------------------------------------

    def _locate(self) -> None:
        uc = self._uc
        address = probe.find_registers(uc)
        # A context is a copy of the state behind a small header: what is past it is not state.
        context_bytes = self._lib.uc_context_size(self._handle) - CONTEXT_HEADER_BYTES & ~7
        self._state = probe.window(address, context_bytes)
        self._state_q = self._state.cast("Q")
        self._state_i = self._state.cast("i")
        rip = probe.find_field(uc, self._state, x86.UC_X86_REG_RIP, "RIP")
        fs = probe.find_field(uc, self._state, x86.UC_X86_REG_FS_BASE, "FS base")
        gs = probe.find_field(uc, self._state, x86.UC_X86_REG_GS_BASE, "GS base")
        cr2 = probe.find_field(uc, self._state, x86.UC_X86_REG_CR2, "CR2")
        xmm = probe.find_field(uc, self._state, x86.UC_X86_REG_XMM0, "XMM0", 16)
        xmm1 = probe.find_field(uc, self._state, x86.UC_X86_REG_XMM1, "XMM1", 16)
        for register in (x86.UC_X86_REG_FS_BASE, x86.UC_X86_REG_GS_BASE, x86.UC_X86_REG_XMM0):
            uc.reg_write(register, 0)
        uc.reg_write(x86.UC_X86_REG_XMM1, 0)
        self.regs = self._state[:128].cast("Q")
        self._rip, self._fs, self._gs, self._cr2 = rip >> 3, fs >> 3, gs >> 3, cr2 >> 3
        self._size = context_bytes
        self._block = self._state[:context_bytes]
        probe.forbid_exits_inside_blocks(uc, context_bytes)
        self._enter_user_mode()
        request, countdown = self._find_exit(address)
        error, exception, pending = self._provoke_faults(address)
        self._request = ctypes.c_uint8.from_address(address + request)
        self._countdown = ctypes.c_uint16.from_address(address + countdown)
        self._pending = ctypes.c_int32.from_address(address + pending)
        self.layout = probe.Layout(
            address, rip, fs, gs, cr2, xmm, xmm1 - xmm, error, exception, context_bytes
        )
        self._prove_preemption()
        self._error, self._exception = error >> 2, exception >> 2
        self._template = self._clean
        self._state_i[self._exception] = -1
        struct.pack_into("<i", self._template, exception, -1)

    def _enter_user_mode(self) -> None:
        """Probe tables in the firmware area, paging on, then one SYSRET to CPL 3."""
        uc, words, base = self._uc, self._words, self._ram.firmware_paddr
        root, pdpt, directory, table, sysret, code, data = (base + i * PAGE_BYTES for i in range(7))
        words[root >> 3] = pdpt | 7
        words[pdpt >> 3] = directory | 7
        words[directory >> 3] = table | 7  # maps 0 to 2 MB
        words[(directory >> 3) + 1] = (base + 7 * PAGE_BYTES) | 7  # maps 2 to 4 MB
        words[(table >> 3) + (PROBE_VADDR >> 12)] = code | 5
        words[(table >> 3) + (PROBE_VADDR >> 12) + 1] = data | 5
        words[(base + 7 * PAGE_BYTES) >> 3] = sysret | 1
        self._ram.bytes[sysret : sysret + 3] = b"\x48\x0f\x07"
        # Offsets: 0 syscall; 2 mov al,[rdi]; 4 mov [rdi],al; 6 jmp rdi.
        self._ram.bytes[code : code + 8] = bytes.fromhex("0f058a078807ffe7")
        self._ram.bytes[code + 12] = 0xCC  # int3
        # 0x10: inc rcx; inc qword [rdi]; inc qword [rdi+8]; jmp 0x10.
        count = bytes.fromhex("48ffc1 48ff07 48ff4708 ebf4")
        self._ram.bytes[code + 16 : code + 16 + len(count)] = count
        words[(table >> 3) + (COUNTER_VADDR >> 12)] = (base + 8 * PAGE_BYTES) | 7 | 1 << 63
        uc.reg_write(x86.UC_X86_REG_CR4, CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT)
        uc.reg_write(x86.UC_X86_REG_CR3, root)
        efer = uc.reg_read(x86.UC_X86_REG_MSR, MSR_EFER)
        uc.reg_write(x86.UC_X86_REG_MSR, (MSR_EFER, efer | EFER_SCE | EFER_NXE))
        uc.reg_write(x86.UC_X86_REG_MSR, (MSR_STAR, STAR_SELECTORS))
        cr0 = uc.reg_read(x86.UC_X86_REG_CR0)
        uc.reg_write(x86.UC_X86_REG_CR0, cr0 | CR0_PE | CR0_MP | CR0_NE | CR0_WP | CR0_PG)
        uc.reg_write(x86.UC_X86_REG_FPCW, fxsave.CONTROL_DEFAULT)
        uc.reg_write(x86.UC_X86_REG_FPTAG, 0xFFFF)
        uc.reg_write(x86.UC_X86_REG_MXCSR, fxsave.MXCSR_DEFAULT)
        for i in range(16):
            self.regs[i] = 0
        self.regs[RCX], self.regs[R11] = PROBE_VADDR, FLAGS_AT_START
        hook = _SyscallHook(lambda *_: self.stop())
        handle = self._add_hook(unicorn.UC_HOOK_INSN, hook, x86.UC_X86_INS_SYSCALL)
        self._emulate(SYSRET_VADDR)
        self._lib.uc_hook_del(self._handle, handle)
        selector = uc.reg_read(x86.UC_X86_REG_CS)
        if selector != 0x2B or self._state_q[self._rip] != PROBE_VADDR + 2:
            raise probe.LayoutUnknown(f"SYSRET did not reach user mode (CS {selector:#x})")
        self.regs[RCX], self.regs[R11] = 0, 0
        self._clean = bytearray(self._block)

    def _find_exit(self, address: int) -> tuple[int, int]:
        """Offsets of the exit request and the countdown, from inside a trap."""
        found: list[tuple[int, int]] = []
        failed: list[probe.LayoutUnknown] = []

        def look(*_: Any) -> None:
            try:
                found.append(probe.find_exit_fields(address, self.stop))
            except probe.LayoutUnknown as unknown:
                failed.append(unknown)
                self.stop()

        self._run_probe(look)
        if failed or not found:
            raise failed[0] if failed else probe.LayoutUnknown("no trap came")
        return found[0]

    def _run_probe(self, trap: Any) -> None:
        """Run one SYSCALL with `trap` as its hook."""
        hook = _SyscallHook(trap)
        handle = self._add_hook(unicorn.UC_HOOK_INSN, hook, x86.UC_X86_INS_SYSCALL)
        self._block[:] = self._clean
        self.regs[7] = PROBE_VADDR
        self._emulate(PROBE_VADDR)
        self._lib.uc_hook_del(self._handle, handle)

    def _prove_preemption(self) -> None:
        """Count in a register and in memory while another thread preempts: both must agree.

        The counting program never ends by itself, so each round also proves that it is stopped.
        """
        at = (self._ram.firmware_paddr + 8 * PAGE_BYTES) >> 3
        preempted: list[int] = []
        done = threading.Event()

        def interrupted(_uc: Any, vector: int, _data: Any) -> None:
            preempted.append(vector)
            self.stop()

        def disturb() -> None:
            begun = time.monotonic()
            while not done.wait(PROOF_SLICE_S):
                if time.monotonic() - begun > PROOF_LIMIT_S:
                    self.stop()
                else:
                    self.preempt()

        handle = self._add_hook(unicorn.UC_HOOK_INTR, _InterruptHook(interrupted))
        self._block[:] = self._clean
        self.regs[7] = COUNTER_VADDR
        self._words[at] = self._words[at + 1] = 0
        rip, miscounts = PROBE_VADDR + 16, 0
        thread = threading.Thread(target=disturb, daemon=True)
        thread.start()
        try:
            for _ in range(PREEMPTIONS):
                self._emulate(rip)
                rip = self._state_q[self._rip]
                counts = (self.regs[1], self._words[at], self._words[at + 1])
                # The stop may lie between two of the three steps, never further away.
                miscounts += (
                    not 0 <= counts[0] - counts[2] <= 1 or not 0 <= counts[1] - counts[2] <= 1
                )
        finally:
            done.set()
            thread.join()
            self._lib.uc_hook_del(self._handle, handle)
            self._calm()
            self._block[:] = self._clean
        if miscounts or preempted != [PREEMPT_VECTOR] * PREEMPTIONS:
            raise probe.LayoutUnknown(
                f"{len(preempted)} of {PREEMPTIONS} preemptions, {miscounts} miscounts"
            )

    def _calm(self) -> None:
        """Forget a preemption that came too late."""
        self._pending.value = -1
        self._request.value = 0
        self._countdown.value = 0

    def _provoke_faults(self, address: int) -> tuple[int, int, int]:
        seen: list[tuple[bytes, int]] = []
        below: list[tuple[bytes, int]] = []

        def trap(_uc: Any, vector: int, _data: Any) -> None:
            seen.append((bytes(self._state), vector))
            below.append((probe.below(address), vector))
            self.stop()

        hook = _InterruptHook(trap)
        handle = self._add_hook(unicorn.UC_HOOK_INTR, hook)

        def provoke(code: int) -> tuple[bytes, int]:
            entry, target = {
                4: (PROBE_VADDR + 2, 0x5000),
                6: (PROBE_VADDR + 4, 0x6000),
                7: (PROBE_VADDR + 4, PROBE_VADDR + PAGE_BYTES),
                0x14: (PROBE_VADDR + 6, 0x7000),
            }[code]
            self._block[:] = self._clean
            self.regs[7] = target
            seen.clear()
            self._emulate(entry)
            if not seen or self._state_q[self._cr2] != target:
                raise probe.LayoutUnknown(f"the page fault with code {code:#x} did not arrive")
            return seen[-1]

        codes = (4, 6, 7, 0x14)
        errors, exceptions = probe.find_fault_fields(provoke, codes)
        if len(errors) != 1:
            raise probe.LayoutUnknown(f"the error code is in {len(errors)} places")
        exception = self._prove_exception(exceptions, provoke, seen)
        self._block[:] = self._clean
        self._emulate(PROBE_VADDR + 12)  # int3: another vector, to tell the fields apart
        self._lib.uc_hook_del(self._handle, handle)
        self._block[:] = self._clean
        if len({vector for _, vector in below}) < 2:
            raise probe.LayoutUnknown("a breakpoint did not arrive")
        pending = probe.find_words(below)
        if len(pending) != 1:
            raise probe.LayoutUnknown(f"the pending exception is in {len(pending)} places")
        return errors.pop(), exception, pending.pop() - probe.BELOW_BYTES

    def _prove_exception(self, candidates: set[int], provoke: Any, seen: Any) -> int:
        """The right field, set to -1, is what makes a second fault arrive as a page fault."""
        proved = []
        for candidate in sorted(candidates):
            provoke(4)
            self._state_i[candidate >> 2] = -1
            self.regs[7] = 0x5000
            seen.clear()
            self._emulate(PROBE_VADDR + 2)
            if seen and seen[-1][1] == PAGE_FAULT:
                proved.append(candidate)
        if len(proved) != 1:
            raise probe.LayoutUnknown(f"the exception in flight is in {len(proved)} places")
        return proved[0]

    def _add_hook(self, kind: int, callback: Any, *extra: int) -> ctypes.c_size_t:
        handle = ctypes.c_size_t()
        self._hooks.append(callback)
        status = self._lib.uc_hook_add(
            self._handle,
            ctypes.byref(handle),
            kind,
            ctypes.cast(callback, ctypes.c_void_p),
            ctypes.c_void_p(0),
            ctypes.c_uint64(1),
            ctypes.c_uint64(0),
            *(ctypes.c_int(value) for value in extra),
        )
        if status:
            raise CoreFailure(f"hook {kind} refused: error {status}")
        return handle

    def _install_traps(self) -> None:
        state_q, state_i = self._state_q, self._state_i
        cr2, error, exception = self._cr2, self._error, self._exception

        def trap_syscall(_uc: Any, _data: Any) -> None:
            try:
                self.on_syscall()
            except BaseException as caught:
                self._failure = caught
                self.stop()

        def trap_interrupt(_uc: Any, vector: int, _data: Any) -> None:
            state_i[exception] = -1
            try:
                if vector == PAGE_FAULT:
                    self.on_fault(state_q[cr2], state_i[error])
                elif vector == PREEMPT_VECTOR:
                    self.stop()
                else:
                    self.on_exception(vector)
            except BaseException as caught:
                self._failure = caught
                self.stop()

        def trap_invalid(_uc: Any, _data: Any) -> bool:
            try:
                self.on_exception(6)
            except BaseException as caught:
                self._failure = caught
            self.stop()
            return False

        def trap_port(*_: Any) -> int:
            trap_interrupt(None, PROTECTION, None)  # programs have no right to ports
            self.stop()
            return 0

        self._add_hook(unicorn.UC_HOOK_INSN, _InHook(trap_port), x86.UC_X86_INS_IN)
        self._add_hook(unicorn.UC_HOOK_INSN, _OutHook(trap_port), x86.UC_X86_INS_OUT)
        self._add_hook(unicorn.UC_HOOK_INSN, _SyscallHook(trap_syscall), x86.UC_X86_INS_SYSCALL)
        self._add_hook(unicorn.UC_HOOK_INTR, _InterruptHook(trap_interrupt))
        self._add_hook(unicorn.UC_HOOK_INSN_INVALID, _InvalidHook(trap_invalid))

    # Contexts -------------------------------------------------------------------------------

    def new_context(self, root_paddr: int) -> Context:
        """A context in user mode with all registers zero."""
        return Context(bytearray(self._template), root_paddr)

    def clone_context(self, source: Context, root_paddr: int) -> Context:
        """A copy of `source` (loaded or not) in another space."""
        block = self._block if source is self._loaded else source.block
        return Context(bytearray(block), root_paddr)

    def switch(self, context: Context) -> None:
        """Save what is loaded and load `context`."""
        loaded = self._loaded
        if loaded is not context:
            if loaded is not None:
                loaded.block[:] = self._block
            # CR3 lies in the block too, but only the interface flushes the TLB with it.
            self._block[:] = context.block
            self._loaded = context
        if context.root_paddr != self._root:
            self._set_root(context.root_paddr)

    def forget(self, context: Context) -> None:
        """Its thread is gone: do not save it any more."""
        if self._loaded is context:
            self._loaded = None

    def move(self, context: Context, root_paddr: int) -> None:
        """Give `context` another address space (execve)."""
        context.root_paddr = root_paddr

    def _set_root(self, root_paddr: int) -> None:
        self._root = root_paddr
        self._root_cell.value = root_paddr
        self._quick.uc_reg_write(self._handle, x86.UC_X86_REG_CR3, self._root_ref)

    def poke(self, context: Context, field: int, value: int) -> None:
        """Set a general register (0 to 15), RIP or FS_BASE of a context."""
        at = field * 8 if field < 16 else (self.layout.rip, self.layout.fs_base)[field - RIP]
        view = self._block if context is self._loaded else context.block
        struct.pack_into("<Q", view, at, value & 0xFFFF_FFFF_FFFF_FFFF)

    def peek(self, context: Context, field: int) -> int:
        """Read a general register (0 to 15), RIP or FS_BASE of a context."""
        at = field * 8 if field < 16 else (self.layout.rip, self.layout.fs_base)[field - RIP]
        view = self._block if context is self._loaded else context.block
        value: int = struct.unpack_from("<Q", view, at)[0]
        return value

    # Running --------------------------------------------------------------------------------

    def _emulate(self, rip: int) -> int:
        self._start_cell.value = rip
        status: int = self._lib.uc_emu_start(
            self._handle, self._start_cell, self._none, self._none, self._none
        )
        return status

    def run(self) -> None:
        """Run the loaded context until `stop`; obeys the RAM's doorbell first."""
        if self._words[0]:
            self._obey_doorbell()
        self.epoch += 1
        self.running = True
        begun = perf_counter_ns()
        status = self._emulate(self._state_q[self._rip])
        self.busy_ns += perf_counter_ns() - begun
        self.running = False
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        if status and status != unicorn.UC_ERR_INSN_INVALID:
            raise CoreFailure(f"the emulator stopped: {unicorn.UcError(status)}")

    def stop(self) -> None:
        """Make `run` return; inside a trap alone."""
        self._quick.uc_emu_stop(self._handle)

    def preempt(self) -> None:
        """Make `run` return soon, from any host thread: at the next block, with all state whole.

        Not `stop`: that is only right inside a trap (see `probe.forbid_exits_inside_blocks`).
        """
        self._pending.value = PREEMPT_VECTOR
        self._request.value = 1
        self._countdown.value = 0xFFFF

    def start_ticker(self, slice_s: float) -> None:
        """Preempt the core, from now on, whenever it has run for a whole slice."""
        self._ticker = Ticker(self, slice_s)
        self._ticker.start()

    def stop_ticker(self) -> None:
        """End that."""
        if self._ticker is not None:
            self._ticker.stop()
            self._ticker = None

    def _obey_doorbell(self) -> None:
        bits = self._words[0]
        self._words[0] = 0
        if bits & DOORBELL_CODE:
            self._uc.ctl_flush_tb()
        self._set_root(self._root)

    def flush_tlb(self) -> None:
        """Obey a DOORBELL_TLB inside a trap."""
        self._words[0] &= DOORBELL_CODE
        self._set_root(self._root)

    # Registers ------------------------------------------------------------------------------

    def read_rip(self) -> int:
        """The instruction pointer; inside `on_syscall`, the SYSCALL's own address."""
        value: int = self._state_q[self._rip]
        return value

    def write_rip(self, value: int) -> None:
        """Where the loaded context goes on; not inside a trap."""
        self._state_q[self._rip] = value

    def read_flags(self) -> int:
        """RFLAGS."""
        value: int = self._uc.reg_read(x86.UC_X86_REG_EFLAGS)
        return value

    def write_flags(self, value: int) -> None:
        """RFLAGS; not inside a trap."""
        self._uc.reg_write(x86.UC_X86_REG_EFLAGS, value)

    def read_fs_base(self) -> int:
        """The base of the FS segment (thread pointer)."""
        value: int = self._state_q[self._fs]
        return value

    def write_fs_base(self, value: int) -> None:
        """Set the base of the FS segment."""
        self._state_q[self._fs] = value

    def read_gs_base(self) -> int:
        """The base of the GS segment."""
        value: int = self._state_q[self._gs]
        return value

    def write_gs_base(self, value: int) -> None:
        """Set the base of the GS segment."""
        self._state_q[self._gs] = value

    def read_fpu(self) -> bytes:
        """The x87 and SSE state as FXSAVE lays it out, 512 bytes."""
        return fxsave.save(self._uc, self._state, self.layout)

    def write_fpu(self, image: bytes) -> None:
        """Load an FXSAVE image."""
        fxsave.load(self._uc, self._state, self.layout, image)

    def cpuid(self, leaf: int, subleaf: int) -> tuple[int, int, int, int]:
        """What the processor says of itself: EAX, EBX, ECX, EDX."""
        from services.drivers.cpu.cpuid import cpuid

        return cpuid(leaf, subleaf)

    def close(self) -> None:
        """Give the engine's memory back."""
        self._loaded = None
        self._hooks.clear()
        self._uc = None


class Ticker:
    """A host thread that stops a core which has run for a whole slice without leaving."""

    def __init__(self, core: UnicornCore, slice_s: float) -> None:
        self._core = core
        self._slice_s = slice_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="hardtack-ticker", daemon=True)

    def start(self) -> None:
        """Begin to tick."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it."""
        self._done.set()
        self._thread.join()

    def _tick(self) -> None:
        core, last = self._core, -1
        while not self._done.wait(self._slice_s):
            if core.running and core.epoch == last:
                core.preempt()
            last = core.epoch
