"""Another process's memory: process_vm_readv, process_vm_writev."""

from __future__ import annotations

from errno import EINVAL, EPERM, ESRCH
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc.calls.ids import find
from services.proc.procfs.access import may_trace
from services.proc.table import syscall

if TYPE_CHECKING:
    from services.proc.task import Thread


async def _process_memory(
    t: Thread, pid: int, local: tuple[int, int], remote: tuple[int, int], write: bool
) -> int:
    """process_vm_readv(2) and writev: between two spaces, through the caller's own rights."""
    from services.proc.calls.files import iovecs

    target = find(t, pid)
    if not may_trace(t.process, target):
        raise PosixError(EPERM)
    if target.space is None:
        raise PosixError(ESRCH)
    ours = await iovecs(t, *local)
    others = await iovecs(t, *remote)
    room = sum(length for _, length in ours)
    data = bytearray()
    if write:
        for start, length in ours:
            data += await t.copyin(start, length)
        done = 0
        for start, length in others:
            piece = bytes(data[done : done + length])
            await target.space.write(start, piece)
            done += len(piece)
        return done
    for start, length in others:
        wanted = min(length, room - len(data))
        try:
            data += await target.space.read(start, wanted)
        except PosixError:
            if not data:
                raise
            break
    done = 0
    for start, length in ours:
        piece = bytes(data[done : done + length])
        if piece:
            await t.copyout(start, piece)
        done += len(piece)
    return done


@syscall(310, "process_vm_readv")
async def sys_process_vm_readv(
    t: Thread, pid: int, lv: int, ln: int, rv: int, rn: int, flags: int
) -> int:
    """process_vm_readv(2)."""
    if flags:
        raise PosixError(EINVAL)
    return await _process_memory(t, pid, (lv, ln), (rv, rn), False)


@syscall(311, "process_vm_writev")
async def sys_process_vm_writev(
    t: Thread, pid: int, lv: int, ln: int, rv: int, rn: int, flags: int
) -> int:
    """process_vm_writev(2)."""
    if flags:
        raise PosixError(EINVAL)
    return await _process_memory(t, pid, (lv, ln), (rv, rn), True)
