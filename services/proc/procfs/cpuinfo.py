"""/proc/cpuinfo: what the emulated processor says of itself (CPUID; Intel SDM vol. 2A)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.proc.procfs.entry import Spot

    Leaf = tuple[int, int, int, int]
    Cpuid = Callable[[int, int], Leaf]

FLAGS_1_EDX = (
    "fpu vme de pse tsc msr pae mce cx8 apic - sep mtrr pge mca cmov pat pse36 pn clflush - dts "
    "acpi mmx fxsr sse sse2 ss ht tm ia64 pbe"
)
FLAGS_1_ECX = (
    "pni pclmulqdq dtes64 monitor ds_cpl vmx smx est tm2 ssse3 cid sdbg fma cx16 xtpr pdcm - pcid "
    "dca sse4_1 sse4_2 x2apic movbe popcnt tsc_deadline_timer aes xsave osxsave avx f16c rdrand "
    "hypervisor"
)
FLAGS_EXT_EDX = (
    "- - - - - - - - - - - syscall - - - - - - - mp nx - mmxext - - fxsr_opt pdpe1gb rdtscp - lm "
    "3dnowext 3dnow"
)
FLAGS_EXT_ECX = (
    "lahf_lm cmp_legacy svm extapic cr8_legacy abm sse4a misalignsse 3dnowprefetch osvw ibs xop "
    "skinit wdt - lwp fma4 tce - nodeid_msr - tbm topoext"
)
FLAGS_7_EBX = (
    "fsgsbase tsc_adjust sgx bmi1 hle avx2 - smep bmi2 erms invpcid rtm cqm - mpx rdt_a avx512f "
    "avx512dq rdseed adx smap"
)
FLAG_WORDS: tuple[tuple[int, int, str], ...] = (
    (1, 3, FLAGS_1_EDX),
    (0x8000_0001, 3, FLAGS_EXT_EDX),
    (1, 2, FLAGS_1_ECX),
    (0x8000_0001, 2, FLAGS_EXT_ECX),
    (7, 1, FLAGS_7_EBX),
)
"""Leaf, register (EAX EBX ECX EDX), names by bit."""


def _text(*words: int) -> str:
    return struct.pack(f"<{len(words)}I", *words).decode("latin-1").split("\0")[0].strip()


def describe(cpuid: Cpuid) -> list[tuple[str, object]]:
    """The rows of one processor."""
    highest, b, c, d = cpuid(0, 0)
    signature, misc, _, edx = cpuid(1, 0)
    family, model = signature >> 8 & 15, signature >> 4 & 15
    if family in (6, 15):
        model |= signature >> 12 & 0xF0
    if family == 15:
        family += signature >> 20 & 0xFF
    extended = cpuid(0x8000_0000, 0)[0]
    brand = b""
    if extended >= 0x8000_0004:
        brand = b"".join(struct.pack("<4I", *cpuid(0x8000_0002 + i, 0)) for i in range(3))
    flags: list[str] = []
    for leaf, register, names in FLAG_WORDS:
        if leaf <= (extended if leaf >> 31 else highest):
            word = cpuid(leaf, 0)[register]
            flags += [n for i, n in enumerate(names.split()) if word >> i & 1 and n != "-"]
    sizes = cpuid(0x8000_0008, 0)[0] if extended >= 0x8000_0008 else 0
    return [
        ("vendor_id", _text(b, d, c)),
        ("cpu family", family),
        ("model", model),
        ("model name", brand.decode("latin-1").split("\0")[0].strip() or "unknown"),
        ("stepping", signature & 15),
        ("physical id", 0),
        ("siblings", 1),
        ("core id", 0),
        ("cpu cores", 1),
        ("apicid", misc >> 24),
        ("fpu", "yes" if edx & 1 else "no"),
        ("fpu_exception", "yes" if edx & 1 else "no"),
        ("cpuid level", highest),
        ("wp", "yes"),
        ("flags", " ".join(flags)),
        ("clflush size", misc >> 5 & 0x7F8),
        ("address sizes", f"{sizes & 0xFF} bits physical, {sizes >> 8 & 0xFF} bits virtual"),
    ]


async def cpuinfo(spot: Spot) -> bytes:
    """/proc/cpuinfo: the one core; only its number, where the core cannot be asked."""
    cpuid: Cpuid | None = getattr(spot.kernel.core, "cpuid", None)
    rows: list[tuple[str, object]] = [("processor", 0)]
    if cpuid is not None:
        rows += describe(cpuid)
    lines = [f"{name}{_tabs(name)}: {value}\n" for name, value in rows]
    return "".join(lines).encode("latin-1") + b"power management:\n\n"


def _tabs(name: str) -> str:
    """Values stand in the third column of eight."""
    return "\t" * max(2 - len(name) // 8, 0)
