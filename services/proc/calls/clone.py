"""How processes and threads begin: clone, fork, vfork, clone3."""

from __future__ import annotations

import struct
from errno import E2BIG, EINVAL

from bus.errors import PosixError
from services.drivers.cpu import api as cpu
from services.fs.api import Retain
from services.proc import cputimers, lifecycle
from services.proc.abi import (
    CLONE_CHILD_CLEARTID,
    CLONE_CHILD_SETTID,
    CLONE_FILES,
    CLONE_FS,
    CLONE_PARENT,
    CLONE_PARENT_SETTID,
    CLONE_SETTLS,
    CLONE_SIGHAND,
    CLONE_THREAD,
    CLONE_VFORK,
    CLONE_VM,
    RLIM_INFINITY,
    RLIMIT_CPU,
    SIGCHLD,
)
from services.proc.park import WaitQueue
from services.proc.signals.core import Actions
from services.proc.table import PARTIAL, syscall
from services.proc.task import Directories, Process, Thread

CLONE_NEW = 0x7E02_0000  # namespaces
CLONE_ARGS_BYTES = 64


async def clone(
    parent: Thread, flags: int, stack: int, parent_tid: int, child_tid: int, tls: int
) -> int:
    """The common part of fork, vfork, clone and clone3; `flags` holds the exit signal."""
    _check_flags(flags)
    kernel = parent.kernel
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
    child.comm = parent.comm
    child.blocked = parent.blocked
    if not flags & CLONE_VM or flags & CLONE_VFORK:
        child.alternate_stack = parent.alternate_stack
    if flags & CLONE_CHILD_CLEARTID:
        child.clear_tid = child_tid
    word = struct.pack("<i", tid)
    if flags & CLONE_PARENT_SETTID:
        await parent.copyout(parent_tid, word)
    if flags & CLONE_CHILD_SETTID:
        await child.copyout(child_tid, word)
    vfork = bool(flags & CLONE_VFORK) and not flags & CLONE_THREAD
    if vfork:
        process.vfork_done = WaitQueue()
    lifecycle.start_thread(kernel, child)
    if vfork:
        await lifecycle.wait_uninterrupted(parent, process)
    return tid


def _check_flags(flags: int) -> None:
    """clone(2), ERRORS: what implies what; namespaces are not there."""
    thread_alone = flags & CLONE_THREAD and not flags & CLONE_SIGHAND
    signals_alone = flags & CLONE_SIGHAND and not flags & CLONE_VM
    if thread_alone or signals_alone or flags & CLONE_NEW:
        raise PosixError(EINVAL)


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
    """clone(2) with the raw argument order of x86-64."""
    return await clone(t, flags & 0xFFFF_FFFF, stack, ptid, ctid, tls)


@syscall(57, "fork", bound=641 << 10, deferred=True)
async def sys_fork(t: Thread) -> int:
    """fork(2)."""
    return await clone(t, SIGCHLD, 0, 0, 0, 0)


@syscall(58, "vfork", bound=641 << 10, deferred=True)
async def sys_vfork(t: Thread) -> int:
    """vfork(2): the parent waits until the child has its own image or is gone."""
    return await clone(t, CLONE_VM | CLONE_VFORK | SIGCHLD, 0, 0, 0, 0)


@syscall(435, "clone3", bound=641 << 10, deferred=True, support=PARTIAL)
async def sys_clone3(t: Thread, arguments: int, size: int) -> int:
    """clone3(2); set_tid, cgroups and pidfds are refused with EINVAL."""
    if size < CLONE_ARGS_BYTES:
        raise PosixError(EINVAL)
    if size > 4096:
        raise PosixError(E2BIG)
    raw = await t.copyin(arguments, size)
    words = struct.unpack_from("<8Q", raw)
    flags, _pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls = words
    if any(raw[CLONE_ARGS_BYTES:]) or exit_signal > 64 or flags & 0xFF:
        raise PosixError(EINVAL)
    if flags & ~0xFFFF_FFFF or flags & 0x1000:
        raise PosixError(EINVAL)
    if bool(stack) != bool(stack_size):
        raise PosixError(EINVAL)
    return await clone(t, flags | exit_signal, stack + stack_size, parent_tid, child_tid, tls)
