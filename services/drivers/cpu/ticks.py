"""Reads the time-stamp counter as programs see it: RDTSC on an emulated processor of its own.

The cores cannot be asked while a program's registers are loaded, and the host's counter need not
be what the emulator shows. A processor without devices costs a few microseconds a reading.
"""

from __future__ import annotations

from typing import Any

import unicorn
from unicorn import x86_const as x86

PAGE_BYTES = 4096
CODE_VADDR = PAGE_BYTES
CODE = bytes.fromhex("0f31 48c1e220 4809d0")
"""rdtsc; shl rdx, 32; or rax, rdx."""


class Ticks:
    """`read` gives the counter."""

    def __init__(self) -> None:
        self._uc: Any = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64)
        self._uc.mem_map(CODE_VADDR, PAGE_BYTES, unicorn.UC_PROT_ALL)
        self._uc.mem_write(CODE_VADDR, CODE)

    def read(self) -> int:
        """The counter now, in ticks."""
        self._uc.emu_start(CODE_VADDR, CODE_VADDR + len(CODE))
        return int(self._uc.reg_read(x86.UC_X86_REG_RAX))
