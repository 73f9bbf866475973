"""Settings of a process or thread: arch_prctl, prctl, personality."""

from __future__ import annotations

import struct
from errno import EINVAL, EPERM
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc.table import PARTIAL, syscall

if TYPE_CHECKING:
    from services.proc.task import Thread

ARCH_SET_GS, ARCH_SET_FS, ARCH_GET_FS, ARCH_GET_GS = 0x1001, 0x1002, 0x1003, 0x1004


@syscall(158, "arch_prctl", bound=0)
async def sys_arch_prctl(t: Thread, code: int, address: int) -> int:
    """arch_prctl(2) for the segment bases."""
    core = t.kernel.core
    code &= 0xFFFF_FFFF
    if code in (ARCH_SET_FS, ARCH_SET_GS):
        if address >> 47:
            raise PosixError(EPERM)
        (core.write_fs_base if code == ARCH_SET_FS else core.write_gs_base)(address)
        return 0
    if code in (ARCH_GET_FS, ARCH_GET_GS):
        value = core.read_fs_base() if code == ARCH_GET_FS else core.read_gs_base()
        await t.copyout(address, struct.pack("<Q", value))
        return 0
    raise PosixError(EINVAL)


PR_SET_PDEATHSIG, PR_GET_PDEATHSIG, PR_GET_DUMPABLE, PR_SET_DUMPABLE = 1, 2, 3, 4
PR_SET_NAME, PR_GET_NAME, PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER = 15, 16, 36, 37
PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS, PR_GET_KEEPCAPS, PR_SET_KEEPCAPS = 38, 39, 7, 8
PR_CAPBSET_READ, PR_SET_TIMERSLACK, PR_GET_TIMERSLACK = 23, 29, 30


@syscall(157, "prctl", support=PARTIAL)
async def sys_prctl(t: Thread, option: int, a: int, b: int, c: int, d: int) -> int:
    """prctl(2): names, death signal, subreaper, dumpable; others are EINVAL."""
    process, option = t.process, option & 0xFFFF_FFFF
    if option == PR_SET_NAME:
        name = await t.space.cstr(a, 16)
        if name is None:
            name = await t.copyin(a, 15)
        t.comm = name[:15]
        if t.tid == process.pid:
            process.comm = t.comm
        return 0
    if option == PR_GET_NAME:
        await t.copyout(a, t.comm.ljust(16, b"\0")[:16])
        return 0
    if option == PR_SET_PDEATHSIG:
        if a > 64:
            raise PosixError(EINVAL)
        process.death_signal = a
        return 0
    if option == PR_GET_PDEATHSIG:
        await t.copyout(a, struct.pack("<i", process.death_signal))
        return 0
    if option == PR_GET_CHILD_SUBREAPER:
        await t.copyout(a, struct.pack("<i", int(process.subreaper)))
        return 0
    return _prctl_plain(t, option, a)


def _prctl_plain(t: Thread, option: int, a: int) -> int:
    process = t.process
    if option == PR_SET_CHILD_SUBREAPER:
        process.subreaper = bool(a)
        return 0
    if option == PR_GET_DUMPABLE:
        return process.dumpable
    if option == PR_SET_DUMPABLE:
        if a > 1:
            raise PosixError(EINVAL)
        process.dumpable = a
        return 0
    if option == PR_CAPBSET_READ:
        if a > 40:
            raise PosixError(EINVAL)
        return 1
    if option == PR_GET_NO_NEW_PRIVS:
        return int(process.no_new_privs)
    if option == PR_SET_NO_NEW_PRIVS:
        if a != 1:
            raise PosixError(EINVAL)
        process.no_new_privs = True
        return 0
    raise PosixError(EINVAL)


@syscall(135, "personality", bound=0)
def sys_personality(t: Thread, persona: int) -> int:
    """personality(2): only PER_LINUX."""
    if persona & 0xFFFF_FFFF not in (0, 0xFFFF_FFFF):
        raise PosixError(EINVAL)
    return 0
