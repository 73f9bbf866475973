"""The emulated processor, as proc sees it.

`Core` is the seam behind which another engine may stand: it runs one thread's registers in one
address space until the thread traps. Traps are calls back into the kernel, made while the
emulator waits, so that a system call that does not block costs no exit from it:

- `on_syscall()`: SYSCALL was executed; the arguments are in `regs`, the result goes to
  `regs[RAX]`.
- `on_fault(vaddr, error)`: a page fault; returning makes the instruction be tried again.
- `on_exception(vector, error)`: any other exception, with its error code (0 where it has none);
  an INT n that a program may not use is a PROTECTION, with the instruction pointer before it.

Inside a trap the kernel may read and write `regs`, and call `stop()` to have `run` return; the
instruction pointer is only to be set between runs. A context is an opaque block of bytes that
holds everything a thread owns of the processor; it is copied out and in by `switch`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI = range(8)
RIP, FS_BASE, GS_BASE = 16, 17, 18
R8, R9, R10, R11, R12, R13, R14, R15 = range(8, 16)

# Exception vectors (Intel SDM vol. 3, table 6-1).
DIVIDE, DEBUG, BREAKPOINT = 0, 1, 3
OVERFLOW, BOUND, INVALID_OPCODE, NO_DEVICE, DOUBLE_FAULT = 4, 5, 6, 7, 8
SEGMENT, STACK, PROTECTION, PAGE_FAULT = 11, 12, 13, 14
X87, ALIGNMENT, SIMD = 16, 17, 19

# Bits of a page fault's error code.
ERROR_PRESENT, ERROR_WRITE, ERROR_USER, ERROR_FETCH = 1, 2, 4, 16


class Context:
    """A thread's registers while it is not on a core; `root_paddr` is its space's CR3."""

    __slots__ = ("block", "root_paddr")

    def __init__(self, block: bytearray, root_paddr: int) -> None:
        self.block = block
        self.root_paddr = root_paddr


class Core(Protocol):
    """One emulated processor; see the module's docstring."""

    regs: memoryview
    """The sixteen general registers of the loaded context, as 64-bit words."""

    trap_ns: int
    """What a trap costs beside its handler."""

    on_syscall: Callable[[], None]
    on_fault: Callable[[int, int], None]
    on_exception: Callable[[int, int], None]

    def new_context(self, root_paddr: int) -> Context:
        """A context in user mode with all registers zero."""

    def clone_context(self, source: Context, root_paddr: int) -> Context:
        """A copy of `source` (loaded or not) in another space."""

    def switch(self, context: Context) -> None:
        """Save what is loaded and load `context`; costs nothing if it is loaded already."""

    def is_loaded(self, context: Context) -> bool:
        """Whether `context` is on the core now."""

    def forget(self, context: Context) -> None:
        """Its thread is gone: do not save it any more."""

    def move(self, context: Context, root_paddr: int) -> None:
        """Give `context` another address space (execve)."""

    def poke(self, context: Context, field: int, value: int) -> None:
        """Set a general register (0 to 15), RIP or a segment base of a context."""

    def peek(self, context: Context, field: int) -> int:
        """Read a general register (0 to 15), RIP or a segment base of a context."""

    def run(self) -> None:
        """Run the loaded context until `stop`; obeys the RAM's doorbell first."""

    def stop(self) -> None:
        """Make `run` return; may be called inside a trap alone."""

    def preempt(self) -> None:
        """Make `run` return soon; may be called from another host thread."""

    def start_ticker(self, slice_s: float) -> None:
        """Preempt the core, from now on, whenever it has run for a whole slice."""

    def stop_ticker(self) -> None:
        """End that."""

    def flush_tlb(self) -> None:
        """Obey a DOORBELL_TLB inside a trap."""

    def read_ticks(self) -> int:
        """The time-stamp counter as programs read it; takes some microseconds."""

    def read_rip(self) -> int:
        """The instruction pointer; inside `on_syscall`, the SYSCALL's own address."""

    def write_rip(self, value: int) -> None:
        """Where the loaded context goes on; not inside a trap."""

    def read_flags(self) -> int:
        """RFLAGS."""

    def write_flags(self, value: int) -> None:
        """RFLAGS; not inside a trap."""

    def read_fs_base(self) -> int:
        """The base of the FS segment (thread pointer)."""

    def write_fs_base(self, value: int) -> None:
        """Set the base of the FS segment."""

    def read_gs_base(self) -> int:
        """The base of the GS segment."""

    def write_gs_base(self, value: int) -> None:
        """Set the base of the GS segment."""

    def read_fpu(self) -> bytes:
        """The x87 and SSE state as FXSAVE lays it out, 512 bytes."""

    def write_fpu(self, image: bytes) -> None:
        """Load an FXSAVE image."""

    def close(self) -> None:
        """Give the engine's memory back."""
