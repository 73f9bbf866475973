"""The vDSO (vdso(7)): clock_gettime, gettimeofday and time without a system call.

`image()` is a page with an ELF shared object, made here from bytes: no compiler, no file. It lies
right above the time page, from which its functions compute the time:

    offset 0   version: 0 while the page says nothing (the functions then make the system call)
           8   the time-stamp counter when the page was written
          16   nanoseconds a tick, times 2**32
          24   what each clock showed then, ns, by CLOCK_ number 0 to 7

    clock = base + ((RDTSC - ticks) * rate >> 32), read again if the version has changed

`TickClock` is the arithmetic of the page: it follows the kernel's clock without ever going back.
Sources: the ELF gABI for the tables; Linux's parse_vdso.c for what C libraries look at.
"""

from __future__ import annotations

import struct

PAGE_BYTES = 4096
CLOCKS = 8
TIME_PAGE = struct.Struct("<11Q")
ANSWERED = 0xF3
"""Bits of the clocks that are computed: REALTIME, MONOTONIC, _RAW, the coarse ones, BOOTTIME."""

# Machine code ---------------------------------------------------------------------------------

_SCALED = """
    4d8b08    mov r9, [r8]              again:
    4d85c9    test r9, r9
    74{out}   jz call                   the page says nothing
    0f31      rdtsc
    48c1e220  shl rdx, 32
    4809d0    or rax, rdx
    492b4008  sub rax, [r8 + 8]
    49f76010  mul qword [r8 + 16]
    480facd020 shrd rax, rdx, 32
"""
_SECONDS = """
    4d3b08    cmp r9, [r8]
    75{back}  jne again
    31d2      xor edx, edx
    b900ca9a3b mov ecx, 1000000000
    48f7f1    div rcx
"""
_CODE = {
    b"__vdso_clock_gettime": """
    83ff07    cmp edi, 7
    774f      ja call
    b8f3000000 mov eax, ANSWERED
    0fa3f8    bt eax, edi
    7345      jae call
    89f9      mov ecx, edi
    4c8d05@   lea r8, [time page]
""" + _SCALED.format(out="34") + """
    490344c818 add rax, [r8 + 8 * rcx + 24]
""" + _SECONDS.format(back="d8") + """
    488906    mov [rsi], rax
    48895608  mov [rsi + 8], rdx
    31c0      xor eax, eax
    c3        ret
    b8e4000000 mov eax, 228             call:
    0f05      syscall
    c3        ret
""",
    b"__vdso_gettimeofday": """
    4885ff    test rdi, rdi
    7452      jz call
    4885f6    test rsi, rsi
    754d      jnz call
    4c8d05@   lea r8, [time page]
""" + _SCALED.format(out="3e") + """
    49034018  add rax, [r8 + 24]
""" + _SECONDS.format(back="d9") + """
    488907    mov [rdi], rax
    89d0      mov eax, edx
    31d2      xor edx, edx
    b9e8030000 mov ecx, 1000
    f7f1      div ecx
    48894708  mov [rdi + 8], rax
    31c0      xor eax, eax
    c3        ret
    b860000000 mov eax, 96              call:
    0f05      syscall
    c3        ret
""",
    b"__vdso_time": """
    4c8d05@   lea r8, [time page]
""" + _SCALED.format(out="32") + """
    49034018  add rax, [r8 + 24]
""" + _SECONDS.format(back="d9") + """
    4885ff    test rdi, rdi
    7403      jz done
    488907    mov [rdi], rax
    c3        ret                       done:
    b8c9000000 mov eax, 201             call:
    0f05      syscall
    c3        ret
""",
    b"__vdso_getcpu": """
    b835010000 mov eax, 309
    0f05      syscall
    c3        ret
""",
}  # fmt: skip
"""Each function as (bytes, instruction) lines; @ is the distance to the time page."""


def _assemble(listing: str, offset: int) -> bytes:
    """The bytes of a listing that will lie `offset` bytes into the page."""
    code = b""
    for line in listing.split("\n"):
        words = line.split()
        if not words:
            continue
        code += bytes.fromhex(words[0].rstrip("@"))
        if words[0].endswith("@"):
            code += struct.pack("<i", -PAGE_BYTES - (offset + len(code) + 4))
    return code


# The object -----------------------------------------------------------------------------------

VERSION, SONAME = b"LINUX_2.6", b"linux-vdso.so.1"
DT_NULL, DT_HASH, DT_STRTAB, DT_SYMTAB, DT_STRSZ, DT_SYMENT, DT_SONAME = 0, 4, 5, 6, 10, 11, 14
DT_VERSYM, DT_VERDEF, DT_VERDEFNUM = 0x6FFF_FFF0, 0x6FFF_FFFC, 0x6FFF_FFFD
EHDR_BYTES, PHDR_BYTES, SYMBOL_BYTES, DYNAMIC_BYTES = 64, 56, 24, 16
GLOBAL_FUNCTION, TEXT_SECTION, VERSION_INDEX = 0x12, 1, 2


def _elf_hash(name: bytes) -> int:
    """The System V hash (gABI, chapter 5)."""
    value = 0
    for byte in name:
        value = (value << 4) + byte
        high = value & 0xF000_0000
        value = (value ^ high >> 24) & ~high & 0xFFFF_FFFF
    return value


def image() -> bytes:
    """The page: headers, tables, code, each behind the other."""
    names = [*_CODE, SONAME, VERSION]
    strings, at = b"\0", {}
    for name in names:
        at[name] = len(strings)
        strings += name + b"\0"
    start = EHDR_BYTES + 2 * PHDR_BYTES
    count = len(_CODE) + 1
    hashes = struct.pack(f"<{3 + count}I", 1, count, 1 if count > 1 else 0, *_chain(count))
    symbols_at = _align(start + len(hashes))
    versions_at = symbols_at + count * SYMBOL_BYTES
    versions = struct.pack(f"<{count}H", 0, *[VERSION_INDEX] * (count - 1))
    definitions_at = _align(versions_at + len(versions))
    definitions = _definition(1, 1, SONAME, at, False) + _definition(0, 2, VERSION, at, True)
    strings_at = definitions_at + len(definitions)
    dynamic_at = _align(strings_at + len(strings))
    entries = (
        (DT_SONAME, at[SONAME]), (DT_HASH, start), (DT_STRTAB, strings_at),
        (DT_SYMTAB, symbols_at), (DT_STRSZ, len(strings)), (DT_SYMENT, SYMBOL_BYTES),
        (DT_VERSYM, versions_at), (DT_VERDEF, definitions_at), (DT_VERDEFNUM, 2), (DT_NULL, 0),
    )  # fmt: skip
    dynamic = b"".join(struct.pack("<QQ", *entry) for entry in entries)
    symbols, code = bytes(SYMBOL_BYTES), b""
    code_at = _align(dynamic_at + len(dynamic))
    for name, listing in _CODE.items():
        value = code_at + len(code)
        body = _assemble(listing, value)
        fields = at[name], GLOBAL_FUNCTION, 0, TEXT_SECTION, value, len(body)
        symbols += struct.pack("<IBBHQQ", *fields)
        code += body
    page = bytearray(PAGE_BYTES)
    for where, part in (
        (0, _headers(dynamic_at, len(dynamic))), (start, hashes), (symbols_at, symbols),
        (versions_at, versions), (definitions_at, definitions), (strings_at, strings),
        (dynamic_at, dynamic), (code_at, code),
    ):  # fmt: skip
        page[where : where + len(part)] = part
    return bytes(page)


def _align(offset: int) -> int:
    return (offset + 15) & ~15


def _chain(count: int) -> list[int]:
    """All symbols in one bucket, one behind the other."""
    return [0, *range(2, count), 0]


def _definition(flags: int, index: int, name: bytes, at: dict[bytes, int], last: bool) -> bytes:
    """Elf64_Verdef with its one Elf64_Verdaux; the first names the object itself (VER_FLG_BASE)."""
    following = 0 if last else 28
    head = struct.pack("<HHHHIII", 1, flags, index, 1, _elf_hash(name), 20, following)
    return head + struct.pack("<II", at[name], 0)


def _headers(dynamic_at: int, dynamic_bytes: int) -> bytes:
    """The ELF header and two program headers: all of the page, and the dynamic section."""
    head = struct.pack(
        "<4sBBBB8xHHIQQQIHHHHHH",
        b"\x7fELF", 2, 1, 1, 0, 3, 62, 1, 0, EHDR_BYTES, 0, 0,
        EHDR_BYTES, PHDR_BYTES, 2, 0, 0, 0,
    )  # fmt: skip
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, PAGE_BYTES, PAGE_BYTES, PAGE_BYTES)
    where = dynamic_at, dynamic_at, dynamic_at, dynamic_bytes, dynamic_bytes
    return head + load + struct.pack("<IIQQQQQQ", 2, 4, *where, 8)


# The time page --------------------------------------------------------------------------------

FAR_NS, MAX_SLEW = 1_000_000, 10
"""Further behind than this, the page jumps; else it gains or loses at most a tenth."""


class TickClock:
    """What the page shows, as it was told last; `follow` makes it show the kernel's clock."""

    def __init__(self, ticks: int, now_ns: int) -> None:
        self._first = ticks, now_ns
        self._ticks, self._base_ns, self.rate = ticks, now_ns, 0

    def shown(self, ticks: int) -> int:
        """MONOTONIC as a program computes it, ns."""
        return self._base_ns + ((ticks - self._ticks) * self.rate >> 32)

    def follow(self, ticks: int, now_ns: int, horizon_ns: int) -> tuple[int, int, int] | None:
        """(ticks, rate, MONOTONIC) for the page, so that it is right `horizon_ns` from now.

        None: the counter does not count.
        """
        passed = ticks - self._first[0]
        if passed <= 0 or now_ns <= self._first[1]:
            return None
        steady = (now_ns - self._first[1] << 32) // passed
        base = self.shown(ticks) if self.rate else now_ns
        behind = now_ns - base
        if behind > FAR_NS:
            base, behind = now_ns, 0
        slew = max(-horizon_ns // MAX_SLEW, min(behind, horizon_ns // MAX_SLEW))
        self.rate = steady * (horizon_ns + slew) // horizon_ns
        self._ticks, self._base_ns = ticks, base
        return ticks, self.rate, base
