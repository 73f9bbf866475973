"""Another program in the same process: execve, execveat."""

from __future__ import annotations

from errno import E2BIG
from typing import TYPE_CHECKING

import trio

from bus.errors import PosixError
from services.drivers.cpu import api as cpu
from services.fs.api import At, Release, StatNode
from services.proc import lifecycle
from services.proc.abi import AT_EMPTY_PATH, AT_FDCWD, S_ISGID, S_ISUID, S_IXGRP, SIGCHLD, s32
from services.proc.calls import paths
from services.proc.descriptors import drop
from services.proc.image import load
from services.proc.park import Interrupted
from services.proc.table import syscall

if TYPE_CHECKING:
    from services.proc.task import Process, Thread


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
        if program.mode & (S_ISUID | S_ISGID) and not process.no_new_privs:
            await _set_ids(process, program)
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
    process.exit_signal, process.barriers = SIGCHLD, 0
    _become(process, program)
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


async def _set_ids(process: Process, program: load.Program) -> None:
    """Whom a set-user-id or set-group-id file makes of the process (execve(2))."""
    attr = await process.kernel.fs.call(StatNode(program.node))
    ids = process.credentials
    if attr.mode & S_ISUID and attr.uid != ids.ruid:
        program.set_uid = attr.uid
    if attr.mode & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP and attr.gid != ids.rgid:
        program.set_gid = attr.gid


def _become(process: Process, program: load.Program) -> None:
    ids = process.credentials
    gained = program.set_uid is not None or program.set_gid is not None
    process.become(ids.after_exec(program.set_uid, program.set_gid))
    process.dumpable = 0 if gained else 1


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
