"""Signatures of the calls on memory, and of System V IPC."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..buffers import bare_vectors, counted, filled_vectors, vectors
from ..clock import TIMESPEC
from ..model import Out, ResultKind, Signature, call
from ..scalars import ADDR, FD, HEX, INT, LONG, UINT, ULONG, flags, value
from ..tables import memory as t
from ..text import address, array, hexadecimal, members, octal, signed, unsigned

if TYPE_CHECKING:
    from ..model import Ctx, Format
    from ..xlat import Table

PAGE_BYTES = 4096
MAP_TYPE, MAP_HUGE_SHIFT, MAP_HUGE_MASK = 0xF, 26, 0x3F
MREMAP_MOVES = 1 | 2  # MREMAP_MAYMOVE | MREMAP_FIXED
IPC_64 = 0x100
_PROT = flags(t.PROT, 64)


def _huge(bits: int, name: str) -> tuple[int, list[str]]:
    """Take a huge page's size out of flags."""
    size = bits >> MAP_HUGE_SHIFT & MAP_HUGE_MASK
    return bits & ~(MAP_HUGE_MASK << MAP_HUGE_SHIFT), [f"{size}<<{name}"] if size else []


def _map_flags(word: int, ctx: Ctx) -> str:
    word = unsigned(word)
    bits, huge = _huge(word & ~MAP_TYPE, "MAP_HUGE_SHIFT")
    names, rest = t.MAP_FLAGS.split(bits)
    others = [*names, *([f"{rest:#x}"] if rest else []), *huge]
    return "|".join([t.MAP_TYPES.value(word & MAP_TYPE), *others])


def _new_address(word: int, ctx: Ctx) -> str:
    return address(word) if ctx.args[3] & MREMAP_MOVES == MREMAP_MOVES else ""


def _residency(word: int, ctx: Ctx) -> str:
    pages = (ctx.args[1] + PAGE_BYTES - 1) // PAGE_BYTES
    return array(word, pages, 1, lambda raw, _: str(raw[0] & 1), ctx)


def _mode_flags(table: Table, word: int, huge_name: str = "") -> str:
    """Write the flags of an IPC object and its permissions."""
    word = unsigned(word)
    bits, huge = _huge(word & ~0o777, huge_name) if huge_name else (word & ~0o777, [])
    names, rest = table.split(bits)
    if rest and not names and not huge_name:
        return f"{rest:#x}{octal(word & 0o777)}"  # as strace does, with no bar between
    return "|".join([*names, *([f"{rest:#x}"] if rest else []), *huge, octal(word & 0o777)])


def _key(word: int, ctx: Ctx) -> str:
    return hexadecimal(unsigned(word)) if unsigned(word) else "IPC_PRIVATE"


def _command(table: Table) -> Format:
    def render(word: int, ctx: Ctx) -> str:
        word = unsigned(word)
        if word & IPC_64:
            return f"IPC_64|{table.value(word & ~IPC_64)}"
        return table.value(word)

    return render


def _sembuf(raw: bytes, ctx: Ctx) -> str:
    number, operation = int.from_bytes(raw[:2], "little"), signed(raw[2] | raw[3] << 8, 16)
    bits = t.SEM_FLAGS.flags(int.from_bytes(raw[4:6], "little"))
    return members(sem_num=str(number), sem_op=str(operation), sem_flg=bits)


def _operations(word: int, ctx: Ctx) -> str:
    return array(word, unsigned(ctx.args[2]), 6, _sembuf, ctx)


def _message(word: int, ctx: Ctx) -> str:
    raw = ctx.fetch(word, 8)
    if raw is None:
        return address(word)
    kind = int.from_bytes(raw, "little", signed=True)
    return members(mtype=str(kind), mtext=counted(word + 8, ctx.args[2], ctx))


def _membarrier_note(ctx: Ctx) -> str | None:
    if unsigned(ctx.args[0]) or ctx.failed or not ctx.result:
        return None
    return t.MEMBARRIER_COMMANDS.flags(ctx.result)


def _membarrier_result(ctx: Ctx) -> ResultKind:
    return ResultKind.DECIMAL if unsigned(ctx.args[0]) else ResultKind.HEX


def _membarrier_cpu(word: int, ctx: Ctx) -> str:
    return INT(word, ctx) if unsigned(ctx.args[1]) & 1 else ""


def _policy(bits: int) -> str:
    """Write a memory policy with its flags."""
    names, rest = t.POLICY_FLAGS.split(bits)
    mode = t.MEMORY_POLICIES.names.get(rest)
    if mode is not None:
        return "|".join([mode, *names])
    return "|".join([*names, f"{rest:#x}"]) if names else t.MEMORY_POLICIES.nameless(bits)


def _policy_at(word: int, ctx: Ctx) -> str:
    raw = ctx.fetch(word, 4)
    if raw is None:
        return address(word)
    return f"[{t.MEMORY_POLICIES.value(int.from_bytes(raw, 'little'))}]"


def _nodes(count_arg: int) -> Format:
    """Make the format of a set of memory nodes, written as the words that it is made of."""

    def render(word: int, ctx: Ctx) -> str:
        most = ctx.args[count_arg]
        if most == 1:
            return address(word)
        return array(word, (most + 62) // 64, 8, lambda raw, _: _node_word(raw), ctx)

    return render


def _node_word(raw: bytes) -> str:
    number = int.from_bytes(raw, "little")
    return f"{number:#016x}" if number else "0" * 16


MEMORY: dict[str, Signature] = {
    "brk": call(ResultKind.HEX, address=ADDR),
    "mmap": call(
        ResultKind.HEX, address=ADDR, length=ULONG, prot=_PROT, flags=_map_flags, fd=FD, offset=HEX
    ),
    "munmap": call(address=ADDR, length=ULONG),
    "mprotect": call(address=ADDR, length=ULONG, prot=_PROT),
    "pkey_mprotect": call(address=ADDR, length=ULONG, prot=_PROT, key=INT),
    "mremap": call(
        ResultKind.HEX, address=ADDR, old=ULONG, new=ULONG, flags=flags(t.MREMAP_FLAGS, 64),
        new_address=_new_address,
    ),
    "remap_file_pages": call(
        address=ADDR, size=ULONG, prot=_PROT, page=ULONG, flags=_map_flags
    ),
    "madvise": call(address=ADDR, length=ULONG, advice=value(t.MADVISE)),
    "msync": call(address=ADDR, length=ULONG, flags=flags(t.MSYNC_FLAGS)),
    "mincore": call(address=ADDR, length=ULONG, residency=Out(_residency)),
    "mlock": call(address=ADDR, length=ULONG),
    "mlock2": call(address=ADDR, length=ULONG, flags=flags(t.MLOCK2_FLAGS)),
    "munlock": call(address=ADDR, length=ULONG),
    "mlockall": call(flags=flags(t.MLOCKALL_FLAGS)),
    "munlockall": call(),
    "get_mempolicy": call(
        mode=Out(_policy_at), nodes=_nodes(2), count=ULONG, address=ADDR,
        flags=flags(t.GET_POLICY_FLAGS, 64),
    ),
    "set_mempolicy": call(
        mode=lambda word, ctx: _policy(unsigned(word)), nodes=_nodes(2), count=ULONG
    ),
    "mbind": call(
        address=ADDR, length=ULONG, mode=lambda word, ctx: _policy(word), nodes=_nodes(4),
        count=ULONG, flags=flags(t.MBIND_FLAGS),
    ),
    "membarrier": call(
        ResultKind.DECIMAL, _membarrier_note, lambda ctx: 3, False, _membarrier_result,
        command=value(t.MEMBARRIER_COMMANDS), flags=flags(t.MEMBARRIER_FLAGS), cpu=_membarrier_cpu,
    ),
    "process_vm_readv": call(
        pid=INT, local=filled_vectors(2), local_count=ULONG, remote=bare_vectors(4),
        remote_count=ULONG, flags=ULONG,
    ),
    "process_vm_writev": call(
        pid=INT, local=vectors(2), local_count=ULONG, remote=bare_vectors(4),
        remote_count=ULONG, flags=ULONG,
    ),
    "shmget": call(
        key=_key, size=ULONG,
        flags=lambda word, ctx: _mode_flags(t.SHMGET_FLAGS, word, "SHM_HUGE_SHIFT"),
    ),
    "shmat": call(ResultKind.HEX, identity=INT, address=ADDR, flags=flags(t.SHMAT_FLAGS)),
    "shmdt": call(address=ADDR),
    "shmctl": call(identity=INT, command=_command(t.SHM_COMMANDS), buffer=ADDR),
    "semget": call(
        key=_key, count=INT, flags=lambda word, ctx: _mode_flags(t.IPC_FLAGS, word)
    ),
    "semop": call(identity=INT, operations=_operations, count=UINT),
    "semtimedop": call(identity=INT, operations=_operations, count=UINT, timeout=TIMESPEC),
    "semctl": call(
        identity=INT, number=INT, command=_command(t.SEM_COMMANDS), argument=ADDR
    ),
    "msgget": call(key=_key, flags=lambda word, ctx: _mode_flags(t.IPC_FLAGS, word)),
    "msgsnd": call(
        identity=INT, message=_message, size=ULONG, flags=flags(t.MSG_FLAGS)
    ),
    "msgrcv": call(
        identity=INT, message=Out(_message), size=ULONG, type=LONG,
        flags=flags(t.MSG_FLAGS),
    ),
    "msgctl": call(identity=INT, command=_command(t.MSG_COMMANDS), buffer=ADDR),
    "rseq": call(area=HEX, size=HEX, flags=HEX, signature=HEX),
}  # fmt: skip
