"""Unicorn (QEMU's TCG as a library), as far as the core needs it: memory, hooks, running, stopping.

Rules that the emulator imposes (each was measured; see README.md):
- An `until` address is looked up at every stop, and the look-up's page fault stays in flight:
  exits are enabled and none is set.
- No UC_HOOK_MEM_* over RAM, and no execute permission on data: both make every store slow.
- `stop` is right inside a hook alone (`engine.UnicornCore.preempt` is for other threads).
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import unicorn
from unicorn import x86_const as x86
from unicorn.unicorn_py3 import unicorn as binding

from services.drivers.cpu import probe
from services.drivers.ram.api import PAGE_BYTES

if TYPE_CHECKING:
    from services.drivers.ram.api import Ram

CONTEXT_HEADER_BYTES = 40

SyscallHook = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
InterruptHook = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p)
InHook = ctypes.CFUNCTYPE(
    ctypes.c_uint32, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_void_p
)
OutHook = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint32, ctypes.c_void_p
)
InvalidHook = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_void_p)


class CoreFailure(Exception):
    """The emulator itself stopped with an error that no trap explains."""


class Emulator:
    """One Unicorn instance over the whole RAM, and a view of its processor's state."""

    def __init__(self, ram: Ram) -> None:
        self.ram = ram
        self.uc: Any = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64)
        self.uc.mem_map_ptr(0, ram.size_bytes + 16 * PAGE_BYTES, unicorn.UC_PROT_ALL, ram.address)
        self.uc.ctl_exits_enabled(True)
        self.uc.ctl_set_exits([])
        self.handle = self.uc._uch
        self._lib = binding.uclib
        # The GIL stays held in calls that take no time; emulation itself must release it.
        self.quick = ctypes.PyDLL(self._lib._name)
        self._start_cell = ctypes.c_uint64(0)
        self._none = ctypes.c_uint64(0)
        self._hooks: list[Any] = []
        self.address = probe.find_registers(self.uc)
        # A context is a copy of the state behind a small header: what is past it is not state.
        context_bytes = self._lib.uc_context_size(self.handle) - CONTEXT_HEADER_BYTES & ~7
        self.state = probe.window(self.address, context_bytes)
        self.words = self.state.cast("Q")
        self.integers = self.state.cast("i")
        self.regs = self.state[:128].cast("Q")

    def emulate(self, rip: int) -> int:
        """Run from `rip` until `stop`; replies with Unicorn's error code."""
        self._start_cell.value = rip
        status: int = self._lib.uc_emu_start(
            self.handle, self._start_cell, self._none, self._none, self._none
        )
        return status

    def stop(self) -> None:
        """End `emulate`; inside a hook alone."""
        self.quick.uc_emu_stop(self.handle)

    def add_hook(self, kind: int, callback: Any, *extra: int) -> ctypes.c_size_t:
        """Have Unicorn call back; the callback is kept alive here."""
        handle = ctypes.c_size_t()
        self._hooks.append(callback)
        status = self._lib.uc_hook_add(
            self.handle,
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

    def hook_syscall(self, callback: Any) -> ctypes.c_size_t:
        """`add_hook` for the SYSCALL instruction."""
        hook = SyscallHook(callback)
        return self.add_hook(unicorn.UC_HOOK_INSN, hook, x86.UC_X86_INS_SYSCALL)

    def drop_hook(self, handle: ctypes.c_size_t) -> None:
        """Undo `add_hook`."""
        self._lib.uc_hook_del(self.handle, handle)

    def close(self) -> None:
        """Give the engine's memory back."""
        self._hooks.clear()
        self.uc = None
