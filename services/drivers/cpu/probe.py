"""Where Unicorn keeps the processor's state, found out at start-up and never assumed.

Unicorn's documented register interface costs 1 to 4 µs a call. The state itself is one block of
memory inside the engine (QEMU's CPUX86State): once its address is known, a register is a word in
a memoryview, and a thread's whole context can be copied in half a microsecond.

Nothing about the layout is taken on trust: registers are written through the documented interface
and looked for in memory, then written in memory and read back through the interface. The fields
that no interface shows (the page fault's error code, the exception in flight, which Unicorn never
clears and which would turn the second page fault into a double fault) are found by provoking
faults whose codes are known. Where anything does not fit, `LayoutUnknown` says what, and the
kernel refuses to start.
"""

from __future__ import annotations

import ctypes
import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from unicorn import x86_const as x86

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

GPRS = (
    x86.UC_X86_REG_RAX,
    x86.UC_X86_REG_RCX,
    x86.UC_X86_REG_RDX,
    x86.UC_X86_REG_RBX,
    x86.UC_X86_REG_RSP,
    x86.UC_X86_REG_RBP,
    x86.UC_X86_REG_RSI,
    x86.UC_X86_REG_RDI,
    *range(x86.UC_X86_REG_R8, x86.UC_X86_REG_R15 + 1),
)

_MAGIC = 0x5AD3_0C1F_7E42_9B60


class LayoutUnknown(Exception):
    """The engine's state could not be located: another version of Unicorn than was tested?"""


@attrs.frozen
class Layout:
    """Byte offsets from the block's start, which is the general registers'."""

    address: int
    rip: int
    fs_base: int
    gs_base: int
    cr2: int
    xmm: int
    xmm_stride: int
    error_code: int
    exception: int
    context_bytes: int
    """How much a context must copy: all that Unicorn's own contexts hold from the block."""


def _writable_ranges(near: int) -> list[tuple[int, int]]:
    """Writable private ranges of this process, the one that holds `near` first."""
    ranges = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        found = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw-p", line)
        if found:
            ranges.append((int(found[1], 16), int(found[2], 16)))
    return sorted(ranges, key=lambda r: not r[0] <= near < r[1])


def _find_everywhere(pattern: bytes, near: int) -> Iterable[int]:
    with open("/proc/self/mem", "rb", buffering=0) as memory:
        for start, end in _writable_ranges(near):
            try:
                memory.seek(start)
                block = memory.read(end - start)
            except OSError:
                continue
            at = block.find(pattern)
            while at >= 0:
                yield start + at
                at = block.find(pattern, at + 1)


def find_registers(uc: Any) -> int:
    """The address of the engine's sixteen general registers, proved in both directions."""
    values = [_MAGIC + 0x1111_1111 * i for i in range(16)]
    for register, value in zip(GPRS, values, strict=True):
        uc.reg_write(register, value)
    pattern = struct.pack("<16Q", *values)
    for address in _find_everywhere(pattern, uc._uch.value):
        last = ctypes.c_uint64.from_address(address + 120)
        uc.reg_write(x86.UC_X86_REG_R15, 0x1234_5678)
        if last.value != 0x1234_5678:
            continue
        last.value = 0x8765_4321
        if uc.reg_read(x86.UC_X86_REG_R15) == 0x8765_4321:
            return address
    raise LayoutUnknown("the general registers are not where they can be found")


def window(address: int, length_bytes: int) -> memoryview:
    """A byte view of the engine's state, and of nothing behind it."""
    return memoryview((ctypes.c_char * length_bytes).from_address(address)).cast("B")


def find_field(uc: Any, view: memoryview, register: int, name: str, width: int = 8) -> int:
    """Where a register that the interface can write lies in the state."""
    candidates: set[int] | None = None
    for value in (_MAGIC >> 1, (_MAGIC >> 2) ^ 0x55):
        uc.reg_write(register, value)
        pattern = value.to_bytes(width, "little")
        block = bytes(view)
        found = {i for i in range(0, len(block) - width, 4) if block[i : i + width] == pattern}
        candidates = found if candidates is None else candidates & found
    if not candidates or len(candidates) != 1:
        raise LayoutUnknown(f"{name} is in {len(candidates or ())} places of the state")
    return candidates.pop()


BELOW_BYTES = 0xA000
"""How far before the registers the core's own fields are looked for."""
FLAGS_BYTES = 0x1C0
"""How far before its pointer to the registers the core's flags may stand."""


def forbid_exits_inside_blocks(uc: Any, state_bytes: int) -> None:
    """Have code translated from here on leave only where a block begins.

    Unicorn's translated code looks after every memory access whether it is to stop, and then
    leaves with an instruction pointer that was not brought up to date: stopped from another
    thread, a program would go on from a stale place. The engine has a switch against that (made
    for another architecture), `no_exit_request`, between `first_tb` and `init_done`, behind
    `cpu_context_size` and `next_pc` (uc_priv.h). `prove_preemption` shows whether it took.
    """
    block = ctypes.string_at(uc._uch.value, 8192)
    size = struct.pack("<i", state_bytes)
    places = [
        at + 18
        for at in range(0, len(block) - 24, 4)
        if block[at : at + 4] == size
        and block[at + 16] <= 1
        and block[at + 17] <= 1
        and block[at + 18 : at + 20] == b"\0\1"
    ]
    if len(places) != 1:
        raise LayoutUnknown(f"the switch against exits inside blocks is in {len(places)} places")
    ctypes.c_uint8.from_address(uc._uch.value + places[0]).value = 1


def below(address: int) -> bytes:
    """What stands before the registers: the core's own fields."""
    return ctypes.string_at(address - BELOW_BYTES, BELOW_BYTES)


def find_exit_fields(address: int, stop: Callable[[], None]) -> tuple[int, int]:
    """Offsets of the exit request and of the countdown: what a stop changes, seen in a trap.

    The core holds the registers' address (`env_ptr`); its flags stand shortly before that.
    """
    own = ctypes.string_at(address - BELOW_BYTES, BELOW_BYTES).find(struct.pack("<Q", address))
    if own < FLAGS_BYTES:
        raise LayoutUnknown("the core does not point to its registers")
    start, length = address - BELOW_BYTES + own - FLAGS_BYTES, BELOW_BYTES - own + FLAGS_BYTES
    before = ctypes.string_at(start, length)
    stop()
    after = ctypes.string_at(start, length)
    changed = [i for i in range(length) if before[i] != after[i]]
    requests = [i for i in changed if (before[i], after[i]) == (0, 1)]
    counts = [i for i in changed if after[i : i + 2] == b"\xff\xff" and not i & 1]
    if len(changed) != 3 or len(requests) != 1 or len(counts) != 1:
        raise LayoutUnknown(f"a stop changes {len(changed)} bytes of the core, not 3")
    return requests[0] - length, counts[0] - length


def find_words(snapshots: list[tuple[bytes, int]]) -> set[int]:
    """Offsets whose 32-bit word has the expected value in every snapshot."""
    limit = min(len(block) for block, _ in snapshots) - 4
    return {
        i
        for i in range(0, limit, 4)
        if all(struct.unpack_from("<i", block, i)[0] == value for block, value in snapshots)
    }


def find_fault_fields(
    provoke: Callable[[int], tuple[bytes, int]], codes: Iterable[int]
) -> tuple[set[int], set[int]]:
    """Offsets that may hold the error code, and the exception in flight.

    `provoke(code)` causes a page fault with that error code on a machine that has had none yet or
    was cleaned, and replies with the state seen in the hook and the vector delivered.
    """
    seen = [(provoke(code)[0], code) for code in codes]
    return find_words(seen), find_words([(block, 14) for block, _ in seen])
