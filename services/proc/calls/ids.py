"""Who a process is: pids, groups, sessions, users, limits, names."""

from __future__ import annotations

import struct
from errno import EACCES, EFAULT, EINVAL, EPERM, ESRCH
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc.abi import RLIMIT_NOFILE, s32
from services.proc.table import PARTIAL, syscall
from services.proc.task import Session

if TYPE_CHECKING:
    from services.proc.task import Credentials, Process, Thread

UNCHANGED = 0xFFFF_FFFF
NR_OPEN = 1 << 20
NGROUPS_MAX = 65536


@syscall(39, "getpid", bound=0)
def sys_getpid(t: Thread) -> int:
    """getpid(2)."""
    return t.process.pid


@syscall(186, "gettid", bound=0)
def sys_gettid(t: Thread) -> int:
    """gettid(2)."""
    return t.tid


@syscall(110, "getppid", bound=0)
def sys_getppid(t: Thread) -> int:
    """getppid(2)."""
    parent = t.process.parent
    return parent.pid if parent else 0


def find(t: Thread, pid: int) -> Process:
    """A process by pid (0: the caller's), or ESRCH."""
    number = s32(pid)
    if number == 0:
        return t.process
    process = t.kernel.processes.get(number)
    if process is None:
        thread = t.kernel.threads.get(number)
        if thread is None:
            raise PosixError(ESRCH)
        process = thread.process
    return process


@syscall(111, "getpgrp", bound=0)
def sys_getpgrp(t: Thread) -> int:
    """getpgrp(2)."""
    return t.process.pgid


@syscall(121, "getpgid", bound=0)
def sys_getpgid(t: Thread, pid: int) -> int:
    """getpgid(2)."""
    return find(t, pid).pgid


@syscall(124, "getsid", bound=0)
def sys_getsid(t: Thread, pid: int) -> int:
    """getsid(2)."""
    return find(t, pid).session.sid


@syscall(109, "setpgid")
def sys_setpgid(t: Thread, pid: int, pgid: int) -> int:
    """setpgid(2)."""
    me, group = t.process, s32(pgid)
    if group < 0:
        raise PosixError(EINVAL)
    target = find(t, pid)
    if target is not me and target.parent is not me:
        raise PosixError(ESRCH)
    if target is not me:
        if target.execed:
            raise PosixError(EACCES)
        if target.session is not me.session:
            raise PosixError(EPERM)
    if target.session.sid == target.pid:
        raise PosixError(EPERM)
    group = group or target.pid
    if group != target.pid and not any(
        p.session is me.session for p in t.kernel.processes.values() if p.pgid == group
    ):
        raise PosixError(EPERM)
    target.pgid = group
    return 0


@syscall(112, "setsid")
def sys_setsid(t: Thread) -> int:
    """setsid(2)."""
    process = t.process
    if any(p.pgid == process.pid for p in t.kernel.processes.values()):
        raise PosixError(EPERM)
    process.session = Session(process.pid)
    process.pgid = process.pid
    return process.pid


@syscall(102, "getuid", bound=0)
def sys_getuid(t: Thread) -> int:
    """getuid(2)."""
    return t.process.credentials.ruid


@syscall(104, "getgid", bound=0)
def sys_getgid(t: Thread) -> int:
    """getgid(2)."""
    return t.process.credentials.rgid


@syscall(107, "geteuid", bound=0)
def sys_geteuid(t: Thread) -> int:
    """geteuid(2)."""
    return t.process.credentials.euid


@syscall(108, "getegid", bound=0)
def sys_getegid(t: Thread) -> int:
    """getegid(2)."""
    return t.process.credentials.egid


def _id(word: int) -> int:
    value = word & 0xFFFF_FFFF
    if value == UNCHANGED:
        raise PosixError(EINVAL)
    return value


@syscall(105, "setuid")
def sys_setuid(t: Thread, uid: int) -> int:
    """setuid(2)."""
    ids, value = t.process.credentials, _id(uid)
    if ids.euid == 0:
        t.process.credentials = ids.changed(ruid=value, euid=value, suid=value)
    elif value in (ids.ruid, ids.suid):
        t.process.credentials = ids.changed(euid=value)
    else:
        raise PosixError(EPERM)
    return 0


@syscall(106, "setgid")
def sys_setgid(t: Thread, gid: int) -> int:
    """setgid(2)."""
    ids, value = t.process.credentials, _id(gid)
    if ids.euid == 0:
        t.process.credentials = ids.changed(rgid=value, egid=value, sgid=value)
    elif value in (ids.rgid, ids.sgid):
        t.process.credentials = ids.changed(egid=value)
    else:
        raise PosixError(EPERM)
    return 0


def _allowed(ids: Credentials, wanted: tuple[int, ...], have: set[int]) -> None:
    if ids.euid and any(w not in have for w in wanted if w != UNCHANGED):
        raise PosixError(EPERM)


def _pick(word: int, old: int) -> int:
    value = word & 0xFFFF_FFFF
    return old if value == UNCHANGED else value


@syscall(113, "setreuid")
def sys_setreuid(t: Thread, ruid: int, euid: int) -> int:
    """setreuid(2)."""
    ids = t.process.credentials
    real, effective = ruid & 0xFFFF_FFFF, euid & 0xFFFF_FFFF
    _allowed(ids, (real,), {ids.ruid, ids.euid})
    _allowed(ids, (effective,), {ids.ruid, ids.euid, ids.suid})
    new_real, new_effective = _pick(ruid, ids.ruid), _pick(euid, ids.euid)
    saved = ids.suid
    if real != UNCHANGED or (effective != UNCHANGED and effective != ids.ruid):
        saved = new_effective
    t.process.credentials = ids.changed(ruid=new_real, euid=new_effective, suid=saved)
    return 0


@syscall(114, "setregid")
def sys_setregid(t: Thread, rgid: int, egid: int) -> int:
    """setregid(2)."""
    ids = t.process.credentials
    real, effective = rgid & 0xFFFF_FFFF, egid & 0xFFFF_FFFF
    _allowed(ids, (real,), {ids.rgid, ids.egid})
    _allowed(ids, (effective,), {ids.rgid, ids.egid, ids.sgid})
    new_real, new_effective = _pick(rgid, ids.rgid), _pick(egid, ids.egid)
    saved = ids.sgid
    if real != UNCHANGED or (effective != UNCHANGED and effective != ids.rgid):
        saved = new_effective
    t.process.credentials = ids.changed(rgid=new_real, egid=new_effective, sgid=saved)
    return 0


@syscall(117, "setresuid")
def sys_setresuid(t: Thread, ruid: int, euid: int, suid: int) -> int:
    """setresuid(2)."""
    ids = t.process.credentials
    wanted = (ruid & UNCHANGED, euid & UNCHANGED, suid & UNCHANGED)
    _allowed(ids, wanted, {ids.ruid, ids.euid, ids.suid})
    t.process.credentials = ids.changed(
        ruid=_pick(ruid, ids.ruid), euid=_pick(euid, ids.euid), suid=_pick(suid, ids.suid)
    )
    return 0


@syscall(119, "setresgid")
def sys_setresgid(t: Thread, rgid: int, egid: int, sgid: int) -> int:
    """setresgid(2)."""
    ids = t.process.credentials
    wanted = (rgid & UNCHANGED, egid & UNCHANGED, sgid & UNCHANGED)
    _allowed(ids, wanted, {ids.rgid, ids.egid, ids.sgid})
    t.process.credentials = ids.changed(
        rgid=_pick(rgid, ids.rgid), egid=_pick(egid, ids.egid), sgid=_pick(sgid, ids.sgid)
    )
    return 0


@syscall(118, "getresuid")
async def sys_getresuid(t: Thread, ruid: int, euid: int, suid: int) -> int:
    """getresuid(2)."""
    ids = t.process.credentials
    for where, value in ((ruid, ids.ruid), (euid, ids.euid), (suid, ids.suid)):
        await t.copyout(where, struct.pack("<I", value))
    return 0


@syscall(120, "getresgid")
async def sys_getresgid(t: Thread, rgid: int, egid: int, sgid: int) -> int:
    """getresgid(2)."""
    ids = t.process.credentials
    for where, value in ((rgid, ids.rgid), (egid, ids.egid), (sgid, ids.sgid)):
        await t.copyout(where, struct.pack("<I", value))
    return 0


@syscall(122, "setfsuid")
def sys_setfsuid(t: Thread, uid: int) -> int:
    """setfsuid(2): replies with the old id."""
    ids, value = t.process.credentials, uid & 0xFFFF_FFFF
    if ids.euid == 0 or value in (ids.ruid, ids.euid, ids.suid, ids.fsuid):
        known = ids.fsuid if value == UNCHANGED else value
        t.process.credentials = ids.changed(fsuid=known, fsgid=ids.fsgid)
    return ids.fsuid


@syscall(123, "setfsgid")
def sys_setfsgid(t: Thread, gid: int) -> int:
    """setfsgid(2): replies with the old id."""
    ids, value = t.process.credentials, gid & 0xFFFF_FFFF
    if ids.euid == 0 or value in (ids.rgid, ids.egid, ids.sgid, ids.fsgid):
        known = ids.fsgid if value == UNCHANGED else value
        t.process.credentials = ids.changed(fsgid=known, fsuid=ids.fsuid)
    return ids.fsgid


@syscall(115, "getgroups")
async def sys_getgroups(t: Thread, size: int, buffer: int) -> int:
    """getgroups(2)."""
    groups, room = t.process.credentials.groups, s32(size)
    if room < 0 or 0 < room < len(groups):
        raise PosixError(EINVAL)
    if room:
        await t.copyout(buffer, struct.pack(f"<{len(groups)}I", *groups))
    return len(groups)


@syscall(116, "setgroups")
async def sys_setgroups(t: Thread, size: int, buffer: int) -> int:
    """setgroups(2)."""
    ids, count = t.process.credentials, size & 0xFFFF_FFFF
    if ids.euid:
        raise PosixError(EPERM)
    if count > NGROUPS_MAX:
        raise PosixError(EINVAL)
    raw = await t.copyin(buffer, 4 * count) if count else b""
    t.process.credentials = ids.changed(groups=struct.unpack(f"<{count}I", raw))
    return 0


CAPABILITY_VERSION = 0x2008_0522
FULL_CAPABILITIES = (1 << 41) - 1


@syscall(125, "capget")
async def sys_capget(t: Thread, header: int, data: int) -> int:
    """capget(2): root has every capability, others none."""
    version, pid = struct.unpack("<Ii", await t.copyin(header, 8))
    if version not in (CAPABILITY_VERSION, 0x2007_1026, 0x1998_0330):
        await t.copyout(header, struct.pack("<I", CAPABILITY_VERSION))
        if not data:
            return 0
        raise PosixError(EINVAL)
    if pid < 0:
        raise PosixError(EINVAL)
    owner = find(t, pid)
    caps = 0 if owner.credentials.euid else FULL_CAPABILITIES
    if data:
        low, high = caps & 0xFFFF_FFFF, caps >> 32
        words = (low, low, 0, high, high, 0) if version != 0x1998_0330 else (low, low, 0)
        await t.copyout(data, struct.pack(f"<{len(words)}I", *words))
    return 0


# Limits --------------------------------------------------------------------------------------


async def _prlimit(t: Thread, process: Process, resource: int, new: int, old: int) -> int:
    resource &= 0xFFFF_FFFF
    if resource > 15:
        raise PosixError(EINVAL)
    before = process.limits[resource]
    if new:
        soft, hard = struct.unpack("<QQ", await t.copyin(new, 16))
        if soft > hard or (resource == RLIMIT_NOFILE and hard > NR_OPEN):
            raise PosixError(EINVAL if soft > hard else EPERM)
        if hard > before[1] and t.process.credentials.euid:
            raise PosixError(EPERM)
    if old:
        await t.copyout(old, struct.pack("<QQ", *before))
    if new:
        process.limits[resource] = (soft, hard)
    return 0


@syscall(97, "getrlimit")
async def sys_getrlimit(t: Thread, resource: int, old: int) -> int:
    """getrlimit(2)."""
    if resource & 0xFFFF_FFFF > 15:
        raise PosixError(EINVAL)
    await t.copyout(old, struct.pack("<QQ", *t.process.limits[resource & 0xFFFF_FFFF]))
    return 0


@syscall(160, "setrlimit")
async def sys_setrlimit(t: Thread, resource: int, new: int) -> int:
    """setrlimit(2)."""
    if not new:
        raise PosixError(EFAULT)
    return await _prlimit(t, t.process, resource, new, 0)


@syscall(302, "prlimit64")
async def sys_prlimit64(t: Thread, pid: int, resource: int, new: int, old: int) -> int:
    """prlimit(2)."""
    process = find(t, pid)
    mine, theirs = t.process.credentials, process.credentials
    if process is not t.process and mine.euid and mine.ruid != theirs.ruid:
        raise PosixError(EPERM)
    return await _prlimit(t, process, resource, new, old)


# Priorities ----------------------------------------------------------------------------------


def _priority_targets(t: Thread, which: int, who: int) -> list[Process]:
    number = s32(who)
    if which == 0:
        return [find(t, who)]
    if which == 1:
        wanted = number or t.process.pgid
        return [p for p in t.kernel.processes.values() if p.pgid == wanted]
    if which == 2:
        uid = number or t.process.credentials.ruid
        return [p for p in t.kernel.processes.values() if p.credentials.ruid == uid]
    raise PosixError(EINVAL)


@syscall(140, "getpriority")
def sys_getpriority(t: Thread, which: int, who: int) -> int:
    """getpriority(2): the raw call replies with 20 - nice."""
    targets = _priority_targets(t, which & 0xFFFF_FFFF, who)
    if not targets:
        raise PosixError(ESRCH)
    return 20 - min(p.nice for p in targets)


@syscall(141, "setpriority", support=PARTIAL, note="kept and shown; the scheduler is fair to all")
def sys_setpriority(t: Thread, which: int, who: int, value: int) -> int:
    """setpriority(2)."""
    targets = _priority_targets(t, which & 0xFFFF_FFFF, who)
    nice = max(-20, min(19, s32(value)))
    if not targets:
        raise PosixError(ESRCH)
    for process in targets:
        if t.process.credentials.euid and nice < process.nice:
            raise PosixError(EACCES)
        process.nice = nice
    return 0
