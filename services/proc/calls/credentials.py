"""On whose behalf a process acts: users, groups, capabilities (credentials(7))."""

from __future__ import annotations

import struct
from errno import EINVAL, EPERM
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc.abi import s32
from services.proc.calls.ids import find
from services.proc.capabilities import CAP_SETGID, CAP_SETUID, FULL
from services.proc.table import syscall

if TYPE_CHECKING:
    from services.proc.task import Credentials, Thread

UNCHANGED = 0xFFFF_FFFF
NGROUPS_MAX = 65536


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
    if ids.can(CAP_SETUID):
        t.process.become(ids.changed(ruid=value, euid=value, suid=value))
    elif value in (ids.ruid, ids.suid):
        t.process.become(ids.changed(euid=value))
    else:
        raise PosixError(EPERM)
    return 0


@syscall(106, "setgid")
def sys_setgid(t: Thread, gid: int) -> int:
    """setgid(2)."""
    ids, value = t.process.credentials, _id(gid)
    if ids.can(CAP_SETGID):
        t.process.become(ids.changed(rgid=value, egid=value, sgid=value))
    elif value in (ids.rgid, ids.sgid):
        t.process.become(ids.changed(egid=value))
    else:
        raise PosixError(EPERM)
    return 0


def _allowed(ids: Credentials, cap: int, wanted: tuple[int, ...], have: set[int]) -> None:
    if not ids.can(cap) and any(w not in have for w in wanted if w != UNCHANGED):
        raise PosixError(EPERM)


def _pick(word: int, old: int) -> int:
    value = word & 0xFFFF_FFFF
    return old if value == UNCHANGED else value


@syscall(113, "setreuid")
def sys_setreuid(t: Thread, ruid: int, euid: int) -> int:
    """setreuid(2)."""
    ids = t.process.credentials
    real, effective = ruid & 0xFFFF_FFFF, euid & 0xFFFF_FFFF
    _allowed(ids, CAP_SETUID, (real,), {ids.ruid, ids.euid})
    _allowed(ids, CAP_SETUID, (effective,), {ids.ruid, ids.euid, ids.suid})
    new_real, new_effective = _pick(ruid, ids.ruid), _pick(euid, ids.euid)
    saved = ids.suid
    if real != UNCHANGED or (effective != UNCHANGED and effective != ids.ruid):
        saved = new_effective
    t.process.become(ids.changed(ruid=new_real, euid=new_effective, suid=saved))
    return 0


@syscall(114, "setregid")
def sys_setregid(t: Thread, rgid: int, egid: int) -> int:
    """setregid(2)."""
    ids = t.process.credentials
    real, effective = rgid & 0xFFFF_FFFF, egid & 0xFFFF_FFFF
    _allowed(ids, CAP_SETGID, (real,), {ids.rgid, ids.egid})
    _allowed(ids, CAP_SETGID, (effective,), {ids.rgid, ids.egid, ids.sgid})
    new_real, new_effective = _pick(rgid, ids.rgid), _pick(egid, ids.egid)
    saved = ids.sgid
    if real != UNCHANGED or (effective != UNCHANGED and effective != ids.rgid):
        saved = new_effective
    t.process.become(ids.changed(rgid=new_real, egid=new_effective, sgid=saved))
    return 0


@syscall(117, "setresuid")
def sys_setresuid(t: Thread, ruid: int, euid: int, suid: int) -> int:
    """setresuid(2)."""
    ids = t.process.credentials
    wanted = (ruid & UNCHANGED, euid & UNCHANGED, suid & UNCHANGED)
    _allowed(ids, CAP_SETUID, wanted, {ids.ruid, ids.euid, ids.suid})
    real, effective, saved = map(_pick, wanted, ids.users)
    t.process.become(ids.changed(ruid=real, euid=effective, suid=saved))
    return 0


@syscall(119, "setresgid")
def sys_setresgid(t: Thread, rgid: int, egid: int, sgid: int) -> int:
    """setresgid(2)."""
    ids = t.process.credentials
    wanted = (rgid & UNCHANGED, egid & UNCHANGED, sgid & UNCHANGED)
    _allowed(ids, CAP_SETGID, wanted, {ids.rgid, ids.egid, ids.sgid})
    real, effective, saved = map(_pick, wanted, (ids.rgid, ids.egid, ids.sgid))
    t.process.become(ids.changed(rgid=real, egid=effective, sgid=saved))
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
    if ids.can(CAP_SETUID) or value in (ids.ruid, ids.euid, ids.suid, ids.fsuid):
        known = ids.fsuid if value == UNCHANGED else value
        t.process.become(ids.changed(fsuid=known, fsgid=ids.fsgid))
    return ids.fsuid


@syscall(123, "setfsgid")
def sys_setfsgid(t: Thread, gid: int) -> int:
    """setfsgid(2): replies with the old id."""
    ids, value = t.process.credentials, gid & 0xFFFF_FFFF
    if ids.can(CAP_SETGID) or value in (ids.rgid, ids.egid, ids.sgid, ids.fsgid):
        known = ids.fsgid if value == UNCHANGED else value
        t.process.become(ids.changed(fsgid=known, fsuid=ids.fsuid))
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
    if not ids.can(CAP_SETGID):
        raise PosixError(EPERM)
    if count > NGROUPS_MAX:
        raise PosixError(EINVAL)
    raw = await t.copyin(buffer, 4 * count) if count else b""
    t.process.become(ids.changed(groups=struct.unpack(f"<{count}I", raw)))
    return 0


CAPABILITY_VERSION = 0x2008_0522
_VERSIONS = {0x1998_0330: 1, 0x2007_1026: 2, CAPABILITY_VERSION: 2}
"""How many words of 32 bits each set has."""


async def _cap_header(t: Thread, header: int) -> tuple[int, int]:
    """How many words a set has (0: an unknown version, which was answered), and the pid."""
    (version,) = struct.unpack("<I", await t.copyin(header, 4))
    words = _VERSIONS.get(version, 0)
    if not words:
        await t.copyout(header, struct.pack("<I", CAPABILITY_VERSION))
        return 0, 0
    return words, *struct.unpack("<i", await t.copyin(header + 4, 4))


@syscall(125, "capget")
async def sys_capget(t: Thread, header: int, data: int) -> int:
    """capget(2)."""
    words, pid = await _cap_header(t, header)
    if not words and data:
        raise PosixError(EINVAL)
    if not data:
        return 0
    if pid < 0:
        raise PosixError(EINVAL)
    caps = find(t, pid).credentials.caps
    image = b"".join(
        struct.pack("<3I", *(part >> 32 * word & 0xFFFF_FFFF for part in caps.sets))
        for word in range(words)
    )
    await t.copyout(data, image)
    return 0


@syscall(126, "capset")
async def sys_capset(t: Thread, header: int, data: int) -> int:
    """capset(2) on oneself."""
    words, pid = await _cap_header(t, header)
    if not words:
        raise PosixError(EINVAL)
    if pid and pid not in (t.tid, t.process.pid):
        raise PosixError(EPERM)
    raw = struct.unpack(f"<{3 * words}I", await t.copyin(data, 12 * words))
    sets = [sum(raw[3 * w + i] << 32 * w for w in range(words)) & FULL for i in range(3)]
    ids = t.process.credentials
    caps = ids.caps.with_sets(*sets)
    if caps is None:
        raise PosixError(EPERM)
    t.process.become(ids.changed(caps=caps))
    return 0
