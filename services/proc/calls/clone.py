"""How processes and threads begin: clone, fork, vfork, clone3."""

from __future__ import annotations

import contextlib
import struct
from errno import E2BIG, EAGAIN, EINVAL

from bus.errors import PosixError
from services.drivers.cpu import api as cpu
from services.fs.api import Retain
from services.proc import cputimers, lifecycle
from services.proc.abi import (
    CLONE_CHILD_CLEARTID,
    CLONE_CHILD_SETTID,
    CLONE_DETACHED,
    CLONE_FILES,
    CLONE_FS,
    CLONE_PARENT,
    CLONE_PARENT_SETTID,
    CLONE_PIDFD,
    CLONE_SETTLS,
    CLONE_SIGHAND,
    CLONE_SYSVSEM,
    CLONE_THREAD,
    CLONE_VFORK,
    CLONE_VM,
    NSIG,
    RLIM_INFINITY,
    RLIMIT_CPU,
    RLIMIT_NPROC,
    SIGCHLD,
)
from services.proc.capabilities import CAP_SYS_ADMIN, CAP_SYS_RESOURCE
from services.proc.files.pidfd import PidFile
from services.proc.kernel import PID_MAX
from services.proc.park import WaitQueue
from services.proc.signals.core import Actions
from services.proc.table import PARTIAL, syscall
from services.proc.task import Directories, Process, Thread

CLONE_NEW = 0x7E02_0000  # namespaces
CLONE_CLEAR_SIGHAND = 1 << 32
CLONE_ARGS_BYTES = 64
COPY_BYTES = 128
"""What a descriptor takes in a child's table: a deep reservation, made before anything is."""


async def clone(
    parent: Thread,
    flags: int,
    stack: int,
    parent_tid: int,
    child_tid: int,
    tls: int,
    pidfd_at: int = 0,
) -> int:
    """The common part of fork, vfork, clone and clone3; `flags` holds the exit signal."""
    _check_flags(flags)
    kernel = parent.kernel
    _check_number(parent.process)
    if flags & CLONE_PIDFD:
        await parent.extents(pidfd_at, 4, True)  # nothing may fail once the child is there
    if not flags & CLONE_FILES and parent.process.descriptors is not None:
        kernel.admission.more(len(parent.process.descriptors.slots) * COPY_BYTES)
    kernel.fork_count += 1
    if flags & CLONE_THREAD:
        process = parent.process
        tid = kernel.new_pid()
    else:
        process = await _new_process(parent, flags)
        tid = process.pid
    assert process.space is not None
    context = kernel.core.clone_context(parent.context, process.space.root_paddr)
    kernel.core.poke(context, cpu.RAX, 0)
    if stack:
        kernel.core.poke(context, cpu.RSP, stack)
    if flags & CLONE_SETTLS:
        kernel.core.poke(context, cpu.FS_BASE, tls)
    child = Thread(kernel, process, tid, context)
    _inherit(child, parent, flags)
    if flags & CLONE_CHILD_CLEARTID:
        child.clear_tid = child_tid
    word = struct.pack("<i", tid)
    with contextlib.suppress(PosixError):
        if flags & CLONE_PARENT_SETTID:
            await parent.copyout(parent_tid, word)
    with contextlib.suppress(PosixError):
        if flags & CLONE_CHILD_SETTID:
            await child.copyout(child_tid, word)
    if flags & CLONE_PIDFD:
        await _hand_pidfd(parent, process, pidfd_at)
    vfork = bool(flags & CLONE_VFORK) and not flags & CLONE_THREAD
    if vfork:
        process.vfork_done = WaitQueue()
    lifecycle.start_thread(kernel, child, late=parent.killed and bool(flags & CLONE_THREAD))
    if vfork:
        await lifecycle.wait_uninterrupted(parent, process)
    return tid


def _inherit(child: Thread, parent: Thread, flags: int) -> None:
    """What a thread has of its own and starts with a copy of."""
    child.comm = parent.comm
    child.blocked = parent.blocked
    child.scheduling = parent.scheduling
    if child.scheduling.reset_on_fork:
        child.scheduling = child.scheduling.in_child()
        child.process.nice = max(child.process.nice, 0)
    child.slack_ns = (parent.slack_ns[0], parent.slack_ns[0])
    if not flags & CLONE_VM or flags & CLONE_VFORK:
        child.alternate_stack = parent.alternate_stack


async def _hand_pidfd(parent: Thread, process: Process, where: int) -> None:
    try:
        fd = parent.install(PidFile(process, 0), True)
    except PosixError:
        fd = -1  # Linux takes the number before it makes the child; here the child is there
    await parent.copyout(where, struct.pack("<i", fd))


def _check_flags(flags: int) -> None:
    """clone(2), ERRORS: what implies what; namespaces are not there."""
    thread_alone = flags & CLONE_THREAD and not flags & CLONE_SIGHAND
    signals_alone = flags & CLONE_SIGHAND and not flags & CLONE_VM
    if thread_alone or signals_alone or flags & CLONE_NEW:
        raise PosixError(EINVAL)
    if flags & CLONE_PIDFD and flags & (CLONE_THREAD | CLONE_DETACHED):
        raise PosixError(EINVAL)
    if flags & CLONE_CLEAR_SIGHAND and flags & CLONE_SIGHAND:
        raise PosixError(EINVAL)


def _check_number(process: Process) -> None:
    """RLIMIT_NPROC: EAGAIN where an ordinary user has as many threads already."""
    ids, limit = process.credentials, process.limit(RLIMIT_NPROC)
    if not ids.ruid or limit > PID_MAX or ids.can(CAP_SYS_RESOURCE) or ids.can(CAP_SYS_ADMIN):
        return
    processes = process.kernel.processes.values()
    count = sum(len(p.threads) or 1 for p in processes if p.credentials.ruid == ids.ruid)
    if count >= limit:
        raise PosixError(EAGAIN)


async def _new_process(parent: Thread, flags: int) -> Process:
    kernel, old = parent.kernel, parent.process
    assert old.space is not None
    assert old.descriptors is not None
    assert old.directories is not None
    if flags & CLONE_VM:
        space = old.space
        space.users += 1
    else:
        space = await old.space.fork()
    pid = kernel.new_pid()
    heir = old.parent if flags & CLONE_PARENT and old.parent is not None else old
    process = Process(kernel, pid, old)
    process.parent = heir
    process.space = space
    if flags & CLONE_FILES:
        process.descriptors = old.descriptors
        process.descriptors.users += 1
    else:
        process.descriptors = old.descriptors.copy()
    await _share_directories(process, old.directories, bool(flags & CLONE_FS))
    if flags & CLONE_SIGHAND:
        process.actions = old.actions
    elif flags & CLONE_CLEAR_SIGHAND:
        process.actions = old.actions.after_exec()
    else:
        process.actions = Actions(old.actions.table)
    process.exit_signal = flags & 0xFF
    process.comm = old.comm
    process.argv_range, process.env_range, process.auxv = old.argv_range, old.env_range, old.auxv
    process.exe, process.exe_path = old.exe, old.exe_path
    if old.exe is not None:
        await kernel.fs.call(Retain(old.exe))
    process.start_ns = await kernel.timers.now()
    if process.limits[RLIMIT_CPU][0] != RLIM_INFINITY:
        cputimers.watch_limit(process)
    kernel.processes[pid] = process
    heir.children[pid] = process
    return process


async def _share_directories(process: Process, old: Directories, share: bool) -> None:
    if share:
        old.users += 1
        process.directories = old
        return
    fs = process.kernel.fs
    await fs.call(Retain(old.root))
    await fs.call(Retain(old.cwd))
    process.directories = Directories(old.root, old.cwd, old.umask)
    process.directories.cwd_foreign = old.cwd_foreign


@syscall(56, "clone", bound=641 << 10, deferred=True)
async def sys_clone(t: Thread, flags: int, stack: int, ptid: int, ctid: int, tls: int) -> int:
    """clone(2) with the raw argument order of x86-64; a pidfd takes the place of `ptid`."""
    flags &= 0xFFFF_FFFF
    if flags & CLONE_PIDFD and flags & CLONE_PARENT_SETTID:
        raise PosixError(EINVAL)
    return await clone(t, flags, stack, ptid, ctid, tls, ptid)


@syscall(57, "fork", bound=641 << 10, deferred=True)
async def sys_fork(t: Thread) -> int:
    """fork(2)."""
    return await clone(t, SIGCHLD, 0, 0, 0, 0)


@syscall(58, "vfork", bound=641 << 10, deferred=True)
async def sys_vfork(t: Thread) -> int:
    """vfork(2): the parent waits until the child has its own image or is gone."""
    return await clone(t, CLONE_VM | CLONE_VFORK | SIGCHLD, 0, 0, 0, 0)


@syscall(435, "clone3", bound=641 << 10, deferred=True, support=PARTIAL, note="no set_tid, cgroup")
async def sys_clone3(t: Thread, arguments: int, size: int) -> int:
    """clone3(2); set_tid and cgroup are refused with EINVAL."""
    if size < CLONE_ARGS_BYTES:
        raise PosixError(EINVAL)
    if size > 4096:
        raise PosixError(E2BIG)
    raw = await t.copyin(arguments, size)
    words = struct.unpack_from("<8Q", raw)
    flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls = words
    if any(raw[CLONE_ARGS_BYTES:]) or exit_signal > NSIG or flags & (0xFF | CLONE_DETACHED):
        raise PosixError(EINVAL)
    if flags >> 32 & ~(CLONE_CLEAR_SIGHAND >> 32):
        raise PosixError(EINVAL)
    if exit_signal and flags & (CLONE_THREAD | CLONE_PARENT):
        raise PosixError(EINVAL)
    if bool(stack) != bool(stack_size):
        raise PosixError(EINVAL)
    top = stack + stack_size
    return await clone(t, flags | exit_signal, top, parent_tid, child_tid, tls, pidfd)


@syscall(272, "unshare", deferred=True, support=PARTIAL, note="no namespaces: EINVAL")
async def sys_unshare(t: Thread, flags: int) -> int:
    """unshare(2) of directories and descriptors."""
    process, flags = t.process, flags & 0xFFFF_FFFF
    alone = CLONE_THREAD | CLONE_SIGHAND | CLONE_VM
    if flags & ~(alone | CLONE_FS | CLONE_FILES | CLONE_SYSVSEM):
        raise PosixError(EINVAL)
    if flags & alone and len(process.threads) > 1:
        raise PosixError(EINVAL)
    directories, table = process.directories, process.descriptors
    assert directories is not None
    assert table is not None
    if flags & CLONE_FS and directories.users > 1:
        directories.users -= 1
        await _share_directories(process, directories, False)
    if flags & CLONE_FILES and table.users > 1:
        process.descriptors = table.copy()
        table.users -= 1
    return 0
