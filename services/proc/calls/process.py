"""Processes: clone, fork, vfork, execve, exit, wait4, waitid."""

from __future__ import annotations

import struct
from errno import E2BIG, ECHILD, EINVAL, ESRCH
from typing import TYPE_CHECKING

import trio

from bus.errors import PosixError
from services.drivers.cpu import api as cpu
from services.fs.api import At, Release, Retain
from services.proc import lifecycle
from services.proc.abi import (
    AT_EMPTY_PATH,
    AT_FDCWD,
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
    SIGCHLD,
    s32,
)
from services.proc.calls import paths
from services.proc.descriptors import drop
from services.proc.image import load
from services.proc.park import Interrupted, WaitQueue
from services.proc.signals.core import Actions
from services.proc.signals.deliver import pack_info
from services.proc.table import PARTIAL, syscall
from services.proc.task import Directories, Process, Thread

if TYPE_CHECKING:
    from collections.abc import Iterable

WNOHANG, WUNTRACED, WEXITED, WCONTINUED, WNOWAIT = 1, 2, 4, 8, 0x01000000
WNOTHREAD, WALL, WCLONE = 0x20000000, 0x40000000, 0x80000000
P_ALL, P_PID, P_PGID, P_PIDFD = 0, 1, 2, 3
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


# exec ----------------------------------------------------------------------------------------


async def _strings(t: Thread, vaddr: int) -> list[bytes]:
    """A NULL-terminated array of strings."""
    strings: list[bytes] = []
    total = 0
    while vaddr:
        pointer = int.from_bytes(await t.copyin(vaddr + 8 * len(strings), 8), "little")
        if not pointer:
            break
        string = await t.space.cstr(pointer, load.STRING_MAX_BYTES)
        if string is None:
            raise PosixError(E2BIG)
        total += len(string) + 9
        if total > load.ARG_MAX_BYTES:
            raise PosixError(E2BIG)
        strings.append(string)
    return strings


@syscall(59, "execve", bound=387 << 10, deferred=True)
async def sys_execve(t: Thread, path: int, argv: int, envp: int) -> int | None:
    """execve(2)."""
    name = await paths.path_at(t, path)
    arguments, env = await _strings(t, argv), await _strings(t, envp)
    return await execute(t, paths.base(t, AT_FDCWD, name), name, arguments, env)


@syscall(322, "execveat", bound=387 << 10, deferred=True)
async def sys_execveat(
    t: Thread, dirfd: int, path: int, argv: int, envp: int, flags: int
) -> int | None:
    """execveat(2)."""
    name = await paths.path_at(t, path, empty=bool(flags & AT_EMPTY_PATH))
    arguments, env = await _strings(t, argv), await _strings(t, envp)
    if not name:
        name = b"/proc/self/fd/%d" % s32(dirfd)
    return await execute(t, paths.base(t, dirfd, name), name, arguments, env)


async def execute(
    t: Thread, at: At, path: bytes, argv: list[bytes], env: list[bytes]
) -> int | None:
    """Load the program and switch to it; None, as the registers are the new program's."""
    kernel, process = t.kernel, t.process
    at, path = paths.settle(at, path)
    load.check_arguments(argv, env)
    argv = argv or [b""]
    program = await load.open_program(process, kernel, at, path, argv)
    try:
        loaded = await load.load(kernel, process, program, at, env)
    except BaseException:
        await kernel.fs.call(Release(program.node))
        raise
    await _stop_siblings(t)
    await _close_on_exec(t)
    old, process.space = process.space, loaded.space
    t.space = loaded.space
    if old is not None:
        await old.leave()
    old_exe, process.exe = process.exe, loaded.node
    if old_exe is not None:
        await kernel.fs.call(Release(old_exe))
    process.exe_path = loaded.path
    process.comm = t.comm = path.rsplit(b"/", 1)[-1][:15]
    process.argv_range, process.env_range = loaded.built.argv_range, loaded.built.env_range
    process.auxv = loaded.built.auxv
    process.actions = process.actions.after_exec()
    process.execed = True
    for timer in process.timers.values():
        timer.cancel()
    process.timers.clear()
    t.alternate_stack, t.robust_list, t.clear_tid = (0, 0, 2), (0, 0), 0
    kernel.core.forget(t.context)
    t.context = kernel.core.new_context(loaded.space.root_paddr)
    kernel.core.poke(t.context, cpu.RSP, loaded.sp)
    kernel.core.poke(t.context, cpu.RIP, loaded.entry)
    lifecycle.release_vfork(process)
    return None


async def _stop_siblings(t: Thread) -> None:
    """execve(2): all other threads end; the caller takes over the leader's tid."""
    process, kernel = t.process, t.kernel
    for other in list(process.threads.values()):
        if other is not t:
            lifecycle.kill_thread(other)
    while len(process.threads) > 1:
        try:
            await t.wait(process.child_wait)
        except Interrupted:
            if t.killed:
                raise
            await trio.lowlevel.checkpoint()
    if t.tid != process.pid:
        del kernel.threads[t.tid], process.threads[t.tid]
        t.tid = process.pid
        kernel.threads[t.tid] = process.threads[t.tid] = t


async def _close_on_exec(t: Thread) -> None:
    table = t.process.descriptors
    assert table is not None
    if table.users > 1:
        table.users -= 1
        table = t.process.descriptors = table.copy()
    for fd in sorted(fd for fd, slot in table.slots.items() if slot.cloexec):
        file = table.remove(fd)
        await lifecycle.release_locks(t.process, file.node())
        await drop(file, t)


# exit and wait -------------------------------------------------------------------------------


@syscall(60, "exit", bound=0, deferred=True)
async def sys_exit(t: Thread, status: int) -> None:
    """_exit(2) of one thread; the last one ends the process with its status."""
    if len(t.process.threads) == 1:
        lifecycle.exit_group(t.process, (status & 0xFF) << 8)
    lifecycle.kill_thread(t)


@syscall(231, "exit_group", bound=0, deferred=True)
async def sys_exit_group(t: Thread, status: int) -> None:
    """exit_group(2)."""
    lifecycle.exit_group(t.process, (status & 0xFF) << 8)


def _select(t: Thread, kind: int, number: int, options: int) -> Iterable[Process]:
    children = list(t.process.children.values())
    if kind == P_PID:
        children = [c for c in children if c.pid == number]
    elif kind == P_PGID:
        children = [c for c in children if c.pgid == (number or t.process.pgid)]
    if not options & WALL:
        wants_clone = bool(options & WCLONE)
        children = [c for c in children if (c.exit_signal != SIGCHLD) == wants_clone]
    return children


def _harvest(candidates: Iterable[Process], options: int) -> tuple[Process, int] | None:
    """A child with something to tell, and its wait status."""
    for child in candidates:
        if child.zombie:
            if options & WEXITED:
                return child, child.exit_status
        elif child.stop_report is not None:
            wanted = WCONTINUED if child.stop_report == 0xFFFF else WUNTRACED
            if options & wanted:
                return child, child.stop_report
    return None


async def _wait(t: Thread, kind: int, number: int, options: int) -> tuple[Process, int] | None:
    """Wait as asked; None for WNOHANG with nothing to tell; ECHILD."""
    while True:
        candidates = list(_select(t, kind, number, options))
        if not candidates:
            raise PosixError(ECHILD)
        found = _harvest(candidates, options)
        if found is not None or options & WNOHANG:
            return found
        await t.wait(t.process.child_wait)


def _consume(child: Process, options: int) -> None:
    if options & WNOWAIT:
        return
    if child.zombie:
        lifecycle.reap(child)
    else:
        child.stop_report = None


def rusage(user_ns: int, system_ns: int, faults: tuple[int, int] = (0, 0)) -> bytes:
    """struct rusage (getrusage(2)); what is not counted is zero, as Linux itself does."""
    user_us, system_us = user_ns // 1000, system_ns // 1000
    return struct.pack(
        "<18q", *divmod(user_us, 1_000_000), *divmod(system_us, 1_000_000), 0, 0, 0, 0,
        *faults, *([0] * 8),
    )  # fmt: skip


@syscall(61, "wait4", bound=32 << 10)
async def sys_wait4(t: Thread, pid: int, status: int, options: int, usage: int) -> int:
    """wait4(2)."""
    number, options = s32(pid), options & 0xFFFF_FFFF
    if options & ~(WNOHANG | WUNTRACED | WCONTINUED | WNOTHREAD | WALL | WCLONE):
        raise PosixError(EINVAL)
    if number == -(1 << 31):
        raise PosixError(ESRCH)
    if number == -1:
        kind = P_ALL
    elif number > 0:
        kind = P_PID
    else:
        kind, number = P_PGID, -number
    found = await _wait(t, kind, number, options | WEXITED)
    if found is None:
        return 0
    child, value = found
    if status:
        await t.copyout(status, struct.pack("<I", value))
    if usage:
        await t.copyout(usage, rusage(child.user_ns, child.system_ns))
    _consume(child, options)
    return child.pid


@syscall(247, "waitid", bound=32 << 10)
async def sys_waitid(t: Thread, kind: int, number: int, info: int, options: int, usage: int) -> int:
    """waitid(2); P_PIDFD is refused with EINVAL."""
    kind, number, options = s32(kind), s32(number), options & 0xFFFF_FFFF
    known = WNOHANG | WUNTRACED | WEXITED | WCONTINUED | WNOWAIT | WNOTHREAD | WALL | WCLONE
    if options & ~known or not options & (WUNTRACED | WEXITED | WCONTINUED):
        raise PosixError(EINVAL)
    if kind not in (P_ALL, P_PID, P_PGID) or (kind == P_PID and number <= 0) or number < 0:
        raise PosixError(EINVAL)
    found = await _wait(t, kind, number, options)
    if info:
        if found is None:
            await t.copyout(info, bytes(24))
        else:
            await t.copyout(info, pack_info(lifecycle.child_info(*found)))
    if found is not None:
        if usage:
            await t.copyout(usage, rusage(found[0].user_ns, found[0].system_ns))
        _consume(found[0], options)
    return 0
