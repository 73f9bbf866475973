"""A core made of Unicorn; implements `api.Core`.

Registers are words in a view of the emulator's own state (`startup.py` finds it). The exception
in flight must be reset in every exception hook, else the next fault is a double fault. Translated
code is keyed by physical address and is not dropped when RAM is changed from outside: hence
DOORBELL_CODE. An exception that leaves a ctypes callback vanishes: traps keep it, and `run` raises
it again.
"""

from __future__ import annotations

import ctypes
import struct
from typing import TYPE_CHECKING, Any

import unicorn
from unicorn import x86_const as x86

from services.drivers.cpu import fxsave, startup
from services.drivers.cpu.api import (
    BREAKPOINT,
    INVALID_OPCODE,
    OVERFLOW,
    PAGE_FAULT,
    PROTECTION,
    RIP,
    Context,
)
from services.drivers.cpu.emulator import (
    CoreFailure,
    Emulator,
    InHook,
    InterruptHook,
    InvalidHook,
    OutHook,
    SyscallHook,
)
from services.drivers.cpu.startup import PREEMPT_VECTOR
from services.drivers.cpu.ticker import Ticker
from services.drivers.cpu.ticks import Ticks
from services.drivers.ram.api import DOORBELL_CODE

if TYPE_CHECKING:
    from services.drivers.ram.api import Ram


INT_BYTES = 2
ERROR_IDT = 2
"""The error code names a gate (Intel SDM vol. 3, 6.13)."""


def _unhandled(*_: Any) -> None:
    raise CoreFailure("a trap arrived before the kernel was ready for it")


class UnicornCore:
    """See the module's docstring and `api.Core`."""

    def __init__(self, ram: Ram) -> None:
        self._words = ram.words
        self._emulator = emulator = Emulator(ram)
        self._uc = emulator.uc
        self._handle = emulator.handle
        self._set_register = emulator.quick.uc_reg_write
        self._stop = emulator.quick.uc_emu_stop
        self.on_syscall: Any = _unhandled
        self.on_fault: Any = _unhandled
        self.on_exception: Any = _unhandled
        self._failure: BaseException | None = None
        self._loaded: Context | None = None
        self._root = 0
        self._root_cell = ctypes.c_uint64(0)
        self._root_ref = ctypes.byref(self._root_cell)
        self.running = False
        self.epoch = 0
        self._ticker: Ticker | None = None
        found = startup.start(emulator)
        self.layout, self._controls, self._template = found.layout, found.controls, found.template
        self.trap_ns = found.trap_ns
        self._block, self.regs = emulator.state, emulator.regs
        self._state_q, self._state_i = emulator.words, emulator.integers
        self._rip, self._fs, self._gs = (
            offset >> 3 for offset in (self.layout.rip, self.layout.fs_base, self.layout.gs_base)
        )
        self._fields = (self.layout.rip, self.layout.fs_base, self.layout.gs_base)
        self._install_traps()
        self.read_ticks = Ticks().read

    def _install_traps(self) -> None:  # noqa: C901 (five hooks over the same few fields)
        state_q, state_i = self._state_q, self._state_i
        layout = self.layout
        cr2, error, exception = layout.cr2 >> 3, layout.error_code >> 2, layout.exception >> 2
        software, after = error + 1, (layout.error_code + 8) >> 3

        def trap_syscall(_uc: Any, _data: Any) -> None:
            try:
                self.on_syscall()
            except BaseException as caught:
                self._failure = caught
                self.stop()

        def trap_interrupt(_uc: Any, vector: int, _data: Any) -> None:
            state_i[exception] = -1
            try:
                if state_i[software]:
                    state_i[software] = 0  # or a later preemption would go on from `after`
                    self._interrupt(vector, state_q[after])
                elif vector == PAGE_FAULT:
                    self.on_fault(state_q[cr2], state_i[error])
                elif vector == PREEMPT_VECTOR:
                    self.stop()
                else:
                    self.on_exception(vector, state_i[error])
            except BaseException as caught:
                self._failure = caught
                self.stop()

        def trap_invalid(_uc: Any, _data: Any) -> bool:
            try:
                if state_i[software]:  # INT 6, which no program may use
                    state_i[software] = 0
                    self.on_exception(PROTECTION, INVALID_OPCODE << 3 | ERROR_IDT)
                else:
                    self.on_exception(INVALID_OPCODE, 0)
            except BaseException as caught:
                self._failure = caught
            self.stop()
            return False

        def trap_port(*_: Any) -> int:
            try:
                self.on_exception(PROTECTION, 0)  # programs have no right to ports
            except BaseException as caught:
                self._failure = caught
            self.stop()
            return 0

        add_hook = self._emulator.add_hook
        add_hook(unicorn.UC_HOOK_INSN, InHook(trap_port), x86.UC_X86_INS_IN)
        add_hook(unicorn.UC_HOOK_INSN, OutHook(trap_port), x86.UC_X86_INS_OUT)
        add_hook(unicorn.UC_HOOK_INSN, SyscallHook(trap_syscall), x86.UC_X86_INS_SYSCALL)
        add_hook(unicorn.UC_HOOK_INTR, InterruptHook(trap_interrupt))
        add_hook(unicorn.UC_HOOK_INSN_INVALID, InvalidHook(trap_invalid))

    def _interrupt(self, vector: int, after: int) -> None:
        """INT n: programs may use the gates of a breakpoint and of an overflow, no others.

        The instruction pointer stands behind the instruction already. Where a preemption was
        asked for at the very moment, its vector has taken the place of the program's: that was
        most likely a breakpoint.
        """
        if vector == PREEMPT_VECTOR:
            vector = BREAKPOINT
        if vector in (BREAKPOINT, OVERFLOW):
            self.on_exception(vector, 0)
        else:
            self._state_q[self._rip] = after - INT_BYTES
            self.on_exception(PROTECTION, vector << 3 | ERROR_IDT)

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

    def is_loaded(self, context: Context) -> bool:
        """Whether it is on the core."""
        return self._loaded is context

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
        self._set_register(self._handle, x86.UC_X86_REG_CR3, self._root_ref)

    def poke(self, context: Context, field: int, value: int) -> None:
        """Set a general register (0 to 15), RIP or a segment base of a context."""
        at = field * 8 if field < RIP else self._fields[field - RIP]
        view = self._block if context is self._loaded else context.block
        struct.pack_into("<Q", view, at, value & 0xFFFF_FFFF_FFFF_FFFF)

    def peek(self, context: Context, field: int) -> int:
        """Read a general register (0 to 15), RIP or a segment base of a context."""
        at = field * 8 if field < RIP else self._fields[field - RIP]
        view = self._block if context is self._loaded else context.block
        value: int = struct.unpack_from("<Q", view, at)[0]
        return value

    # Running --------------------------------------------------------------------------------

    def run(self) -> None:
        """Run the loaded context until `stop`; obeys the RAM's doorbell first."""
        if self._words[0]:
            self._obey_doorbell()
        self.epoch += 1
        self.running = True
        status = self._emulator.emulate(self._state_q[self._rip])
        self.running = False
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        if status and status != unicorn.UC_ERR_INSN_INVALID:
            raise CoreFailure(f"the emulator stopped: {unicorn.UcError(status)}")

    def stop(self) -> None:
        """Make `run` return; inside a trap alone."""
        self._stop(self._handle)

    def preempt(self) -> None:
        """Make `run` return soon, from any host thread: at the next block, with all state whole.

        Not `stop`: that is only right inside a trap (see `probe.forbid_exits_inside_blocks`).
        """
        self._controls.preempt()

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
        return fxsave.save(self._uc, self._block, self.layout)

    def write_fpu(self, image: bytes) -> None:
        """Load an FXSAVE image."""
        fxsave.load(self._uc, self._block, self.layout, image)

    def cpuid(self, leaf: int, subleaf: int) -> tuple[int, int, int, int]:
        """What the processor says of itself: EAX, EBX, ECX, EDX."""
        from services.drivers.cpu.cpuid import cpuid

        return cpuid(leaf, subleaf)

    def close(self) -> None:
        """Give the engine's memory back."""
        self._loaded = None
        self._emulator.close()
        self._uc = None
