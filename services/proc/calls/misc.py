"""The rest: futex, thread state, scheduling, system facts, randomness."""

from __future__ import annotations

import struct
from errno import E2BIG, EAGAIN, EFAULT, EINVAL, ENOSYS, EPERM, ESRCH
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.drivers.entropy.api import Draw
from services.fs.api import Caches
from services.proc import futex, identity
from services.proc.abi import s32
from services.proc.calls.clock import NS, read_clock, read_timespec
from services.proc.calls.ids import find
from services.proc.signals.core import RESTART_NOHAND
from services.proc.table import PARTIAL, syscall
from services.vm.api import Frames

if TYPE_CHECKING:
    from services.proc.task import Thread

INT_MAX = 0x7FFF_FFFF


# Futexes ---------------------------------------------------------------------------------------

FUTEX_PRIVATE, FUTEX_CLOCK_REALTIME = 128, 256
WAIT, WAKE, REQUEUE, CMP_REQUEUE, WAKE_OP, WAIT_BITSET, WAKE_BITSET = 0, 1, 3, 4, 5, 9, 10


@syscall(202, "futex", restart=RESTART_NOHAND, support=PARTIAL, note="no PI futexes")
async def sys_futex(
    t: Thread, vaddr: int, operation: int, value: int, timeout: int, second: int, third: int
) -> int:
    """futex(2)."""
    private = bool(operation & FUTEX_PRIVATE)
    command = operation & 0x7F
    if command == WAKE:
        return await futex.wake(t, vaddr, max(s32(value), 1), private)
    if command in (WAIT, WAIT_BITSET):
        return await _futex_wait(t, vaddr, operation, value, timeout, third)
    if command == WAKE_BITSET:
        if not third & 0xFFFF_FFFF:
            raise PosixError(EINVAL)
        return await futex.wake(t, vaddr, max(s32(value), 1), private, third & 0xFFFF_FFFF)
    counts = (s32(value), s32(timeout))
    if command in (REQUEUE, CMP_REQUEUE):
        if min(counts) < 0:
            raise PosixError(EINVAL)
        expected = third if command == CMP_REQUEUE else None
        return await futex.requeue(t, vaddr, counts, second, private, expected)
    if command == WAKE_OP:
        return await futex.wake_op(t, vaddr, counts, second, private, third)
    raise PosixError(ENOSYS)


async def _futex_wait(
    t: Thread, vaddr: int, operation: int, value: int, timeout: int, bits: int
) -> int:
    private = bool(operation & FUTEX_PRIVATE)
    bitset = operation & 0x7F == WAIT_BITSET
    bits = bits & futex.ANY_BITS if bitset else futex.ANY_BITS
    if not bits:
        raise PosixError(EINVAL)
    deadline = None
    if timeout:
        wanted = await read_timespec(t, timeout)
        deadline = t.restart_deadline
        if deadline is None:
            now = await t.kernel.timers.now()
            if bitset:
                clock = 0 if operation & FUTEX_CLOCK_REALTIME else 1
                deadline = now + max(wanted - await read_clock(t, clock), 0)
            else:
                deadline = now + wanted
        t.restart_deadline = deadline
    result = await futex.wait(t, vaddr, value, private, deadline, bits)
    t.restart_deadline = None
    return result


@syscall(218, "set_tid_address", bound=0)
def sys_set_tid_address(t: Thread, where: int) -> int:
    """set_tid_address(2)."""
    t.clear_tid = where
    return t.tid


@syscall(273, "set_robust_list", bound=0)
def sys_set_robust_list(t: Thread, head: int, size: int) -> int:
    """set_robust_list(2)."""
    if size != 24:
        raise PosixError(EINVAL)
    t.robust_list = (head, size)
    return 0


@syscall(274, "get_robust_list")
async def sys_get_robust_list(t: Thread, tid: int, head: int, size: int) -> int:
    """get_robust_list(2)."""
    target = t.kernel.threads.get(s32(tid)) if s32(tid) else t
    if target is None:
        raise PosixError(ESRCH)
    if target.process is not t.process and t.process.credentials.euid:
        raise PosixError(EPERM)
    await t.copyout(size, struct.pack("<Q", 24))
    await t.copyout(head, struct.pack("<Q", target.robust_list[0]))
    return 0


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


# Scheduling ------------------------------------------------------------------------------------


@syscall(24, "sched_yield", bound=0)
async def sys_sched_yield(t: Thread) -> int:
    """sched_yield(2)."""
    import trio

    await trio.lowlevel.checkpoint()
    return 0


@syscall(204, "sched_getaffinity")
async def sys_sched_getaffinity(t: Thread, pid: int, size: int, mask: int) -> int:
    """sched_getaffinity(2): one core."""
    find(t, pid)
    if size < 8 or size & 7:
        raise PosixError(EINVAL)
    await t.copyout(mask, struct.pack("<Q", 1))
    return 8


@syscall(203, "sched_setaffinity")
async def sys_sched_setaffinity(t: Thread, pid: int, size: int, mask: int) -> int:
    """sched_setaffinity(2): the mask must hold the one core that there is."""
    find(t, pid)
    raw = await t.copyin(mask, min(size, 128))
    if not raw or not raw[0] & 1:
        raise PosixError(EINVAL)
    return 0


@syscall(309, "getcpu")
async def sys_getcpu(t: Thread, cpu: int, node: int, cache: int) -> int:
    """getcpu(2)."""
    for where in (cpu, node):
        if where:
            await t.copyout(where, bytes(4))
    return 0


@syscall(145, "sched_getscheduler")
def sys_sched_getscheduler(t: Thread, pid: int) -> int:
    """sched_getscheduler(2): SCHED_OTHER."""
    find(t, pid)
    return 0


@syscall(144, "sched_setscheduler", support=PARTIAL, note="SCHED_OTHER alone")
async def sys_sched_setscheduler(t: Thread, pid: int, policy: int, parameter: int) -> int:
    """sched_setscheduler(2)."""
    find(t, pid)
    (priority,) = struct.unpack("<i", await t.copyin(parameter, 4))
    if priority or policy & 0xFFFF_FFFF not in (0, 3, 5):
        raise PosixError(EPERM if policy in (1, 2) else EINVAL)
    return 0


@syscall(143, "sched_getparam")
async def sys_sched_getparam(t: Thread, pid: int, parameter: int) -> int:
    """sched_getparam(2)."""
    find(t, pid)
    if not parameter:
        raise PosixError(EINVAL)
    await t.copyout(parameter, bytes(4))
    return 0


@syscall(142, "sched_setparam")
async def sys_sched_setparam(t: Thread, pid: int, parameter: int) -> int:
    """sched_setparam(2): priority 0, as SCHED_OTHER has it."""
    find(t, pid)
    if not parameter:
        raise PosixError(EINVAL)
    if struct.unpack("<i", await t.copyin(parameter, 4))[0]:
        raise PosixError(EINVAL)
    return 0


def _range(policy: int, values: tuple[int, int]) -> int:
    policy &= 0xFFFF_FFFF
    if policy in (1, 2):
        return values[1]
    if policy in (0, 3, 5, 6):
        return values[0]
    raise PosixError(EINVAL)


@syscall(146, "sched_get_priority_max", bound=0)
def sys_sched_get_priority_max(t: Thread, policy: int) -> int:
    """sched_get_priority_max(2)."""
    return _range(policy, (0, 99))


@syscall(147, "sched_get_priority_min", bound=0)
def sys_sched_get_priority_min(t: Thread, policy: int) -> int:
    """sched_get_priority_min(2)."""
    return _range(policy, (0, 1))


# System facts ----------------------------------------------------------------------------------


@syscall(63, "uname")
async def sys_uname(t: Thread, where: int) -> int:
    """uname(2)."""
    fields = identity.utsname(t.kernel)
    await t.copyout(where, b"".join(field.ljust(65, b"\0") for field in fields))
    return 0


@syscall(170, "sethostname")
async def sys_sethostname(t: Thread, name: int, length: int) -> int:
    """sethostname(2)."""
    if t.process.credentials.euid:
        raise PosixError(EPERM)
    if length > 64:
        raise PosixError(EINVAL)
    t.kernel.hostname = await t.copyin(name, length) if length else b""
    return 0


LOAD_SCALE = 1 << 16


@syscall(99, "sysinfo")
async def sys_sysinfo(t: Thread, where: int) -> int:
    """sysinfo(2)."""
    kernel = t.kernel
    frames = await kernel.vm.call(Frames())
    caches = await kernel.fs.call(Caches())
    uptime = await kernel.timers.now() // NS
    averages = getattr(kernel.extra.get("load"), "averages", (0.0, 0.0, 0.0))
    loads = [int(average * LOAD_SCALE) for average in averages]
    image = struct.pack(
        "<qQQQQQQQQQHxxxxxxQQI4x", uptime, *loads, frames.total * 4096, frames.free * 4096, 0,
        caches.pages * 4096, 0, 0, len(kernel.threads), 0, 0, 1,
    )  # fmt: skip
    await t.copyout(where, image)
    return 0


GRND_KNOWN = 7


@syscall(318, "getrandom")
async def sys_getrandom(t: Thread, buffer: int, count: int, flags: int) -> int:
    """getrandom(2)."""
    if flags & 0xFFFF_FFFF & ~GRND_KNOWN or flags & 6 == 6:
        raise PosixError(EINVAL)
    count = min(count, 0x1FF_FFFF)
    done = 0
    while done < count:
        piece = min(count - done, 1 << 16)
        try:
            await t.copyout(buffer + done, await t.kernel.entropy.call(Draw(piece)))
        except PosixError:
            if done:
                return done
            raise
        done += piece
    return done


MEMBARRIER_QUERY, MEMBARRIER_KNOWN = 0, 0x1F


@syscall(324, "membarrier", bound=0)
def sys_membarrier(t: Thread, command: int, flags: int) -> int:
    """membarrier(2): one core runs one thread at a time, which orders everything."""
    command &= 0xFFFF_FFFF
    if flags or command & ~MEMBARRIER_KNOWN or command & (command - 1):
        raise PosixError(EINVAL)
    return MEMBARRIER_KNOWN if command == MEMBARRIER_QUERY else 0


LINUX_REBOOT = {0x4321_FEDC: "power off", 0x0123_4567: "restart", 0xCDEF_0123: "halt"}


@syscall(169, "reboot")
def sys_reboot(t: Thread, magic: int, magic2: int, command: int, argument: int) -> int:
    """reboot(2): every way ends the kernel, which ends the `hardtack` command."""
    if t.process.credentials.euid:
        raise PosixError(EPERM)
    if magic & 0xFFFF_FFFF != 0xFEE1_DEAD or magic2 not in (0x2812_1969, 0x0512_1996):
        raise PosixError(EINVAL)
    if command & 0xFFFF_FFFF in (0, 0x89AB_CDEF):
        return 0
    if command & 0xFFFF_FFFF not in LINUX_REBOOT:
        raise PosixError(EINVAL)
    t.kernel.extra["shutdown"](0)
    return 0


async def _process_memory(
    t: Thread, pid: int, local: tuple[int, int], remote: tuple[int, int], write: bool
) -> int:
    """process_vm_readv(2) and writev: between two spaces, through the caller's own rights."""
    from services.proc.calls.files import iovecs

    target = find(t, pid)
    mine, theirs = t.process.credentials, target.credentials
    if target is not t.process and mine.euid and mine.ruid != theirs.ruid:
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


__all__ = ["E2BIG", "EAGAIN", "EFAULT"]
