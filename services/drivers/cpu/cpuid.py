"""What CPUID answers on the emulated processor (Intel SDM vol. 2A), for the kernel's own use.

The instruction is run on an engine of its own, made as the core's is and thrown away, so that no
program's registers are touched.
"""

from __future__ import annotations

from functools import cache

import unicorn
from unicorn import x86_const as x86

_AT = 0x1000
_CPUID = b"\x0f\xa2"
_RESULTS = (x86.UC_X86_REG_EAX, x86.UC_X86_REG_EBX, x86.UC_X86_REG_ECX, x86.UC_X86_REG_EDX)


@cache
def cpuid(leaf: int, subleaf: int = 0) -> tuple[int, int, int, int]:
    """EAX, EBX, ECX and EDX."""
    engine = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64)
    engine.mem_map(_AT, 0x1000)
    engine.mem_write(_AT, _CPUID)
    engine.reg_write(x86.UC_X86_REG_EAX, leaf)
    engine.reg_write(x86.UC_X86_REG_ECX, subleaf)
    engine.emu_start(_AT, _AT + len(_CPUID))
    eax, ebx, ecx, edx = (int(engine.reg_read(register)) for register in _RESULTS)
    return eax, ebx, ecx, edx
