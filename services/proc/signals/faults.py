"""Processor exceptions as signals (the kernel's traps.c, in effect; sigaction(2), si_code)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from services.drivers.cpu import api as cpu
from services.proc.abi import SI_KERNEL, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGTRAP
from services.proc.signals import send
from services.proc.signals.core import SigInfo

if TYPE_CHECKING:
    from services.proc.task import Thread

FPE_INTDIV, FPE_FLTINV, ILL_ILLOPN, TRAP_BRKPT, TRAP_TRACE, BUS_ADRALN = 1, 7, 2, 1, 2, 1
BUS_ADRERR = 2

_BY_VECTOR: dict[int, tuple[int, int, bool]] = {
    cpu.DIVIDE: (SIGFPE, FPE_INTDIV, True),
    cpu.DEBUG: (SIGTRAP, TRAP_TRACE, True),
    cpu.BREAKPOINT: (SIGTRAP, SI_KERNEL, False),
    cpu.INVALID_OPCODE: (SIGILL, ILL_ILLOPN, True),
    cpu.X87: (SIGFPE, FPE_FLTINV, True),
    cpu.SIMD: (SIGFPE, FPE_FLTINV, True),
    cpu.ALIGNMENT: (SIGBUS, BUS_ADRALN, True),
}
"""Vector: signal, si_code, whether si_addr is the instruction. All others are SIGSEGV."""


def memory(thread: Thread, vaddr: int, error: int, signal: int, code: int) -> None:
    """A bad access: SIGSEGV or SIGBUS at `vaddr`; `error` is the page fault's code."""
    assert signal in (SIGSEGV, SIGBUS)
    if vaddr >> 47 and (vaddr >> 47) != 0x1FFFF:  # non-canonical: #GP, which tells no address
        thread.trap = (cpu.PROTECTION, 0, thread.trap[2])
        vaddr, code = 0, SI_KERNEL
    else:
        thread.trap = (cpu.PAGE_FAULT, error, vaddr)
    send.force(thread, SigInfo(signal, code, 0, struct.pack("<Q", vaddr)))


def exception(thread: Thread, vector: int, error: int) -> None:
    """An exception other than a page fault."""
    thread.trap = (vector, error, thread.trap[2])
    signal, code, at_instruction = _BY_VECTOR.get(vector, (SIGSEGV, SI_KERNEL, False))
    address = thread.kernel.core.read_rip() if at_instruction else 0
    send.force(thread, SigInfo(signal, code, 0, struct.pack("<Q", address)))
