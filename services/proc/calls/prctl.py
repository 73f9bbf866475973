"""Settings of a process or thread: arch_prctl, prctl, personality."""

from __future__ import annotations

import struct
from errno import EINVAL, ENODEV, EPERM
from typing import TYPE_CHECKING

import attrs

from bus.errors import PosixError
from services.drivers.cpu.api import FS_BASE, GS_BASE
from services.proc import capabilities
from services.proc.abi import NSIG
from services.proc.capabilities import CAP_LAST, CAP_SETPCAP
from services.proc.table import PARTIAL, syscall

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.proc.task import Thread

ARCH_SET_GS, ARCH_SET_FS, ARCH_GET_FS, ARCH_GET_GS = 0x1001, 0x1002, 0x1003, 0x1004
ARCH_GET_CPUID, ARCH_SET_CPUID = 0x1011, 0x1012
_BASES = {
    ARCH_SET_FS: FS_BASE, ARCH_GET_FS: FS_BASE, ARCH_SET_GS: GS_BASE, ARCH_GET_GS: GS_BASE,
}  # fmt: skip


@syscall(158, "arch_prctl", bound=0)
async def sys_arch_prctl(t: Thread, code: int, address: int) -> int:
    """arch_prctl(2): the segment bases; CPUID cannot be forbidden."""
    core, code = t.kernel.core, code & 0xFFFF_FFFF
    if code in (ARCH_SET_FS, ARCH_SET_GS):
        if address >> 47:
            raise PosixError(EPERM)
        core.poke(t.context, _BASES[code], address)
        return 0
    if code in (ARCH_GET_FS, ARCH_GET_GS):
        value = core.peek(t.context, _BASES[code])
        await t.copyout(address, struct.pack("<Q", value))
        return 0
    if code == ARCH_GET_CPUID:
        return 1
    raise PosixError(ENODEV if code == ARCH_SET_CPUID else EINVAL)


Words = tuple[int, int, int, int]
"""The four arguments after the option."""


def _no(words: tuple[int, ...]) -> None:
    """Arguments that must be 0."""
    if any(words):
        raise PosixError(EINVAL)


# Names and signals ----------------------------------------------------------------------------


async def _set_name(t: Thread, words: Words) -> int:
    name = await t.space.cstr(words[0], 16)
    if name is None:
        name = await t.copyin(words[0], 15)
    t.comm = name[:15]
    if t.tid == t.process.pid:
        t.process.comm = t.comm
    return 0


async def _get_name(t: Thread, words: Words) -> int:
    await t.copyout(words[0], t.comm.ljust(16, b"\0")[:16])
    return 0


def _set_death_signal(t: Thread, words: Words) -> int:
    if words[0] > NSIG:
        raise PosixError(EINVAL)
    t.process.death_signal = words[0]
    return 0


async def _get_death_signal(t: Thread, words: Words) -> int:
    await t.copyout(words[0], struct.pack("<i", t.process.death_signal))
    return 0


def _set_subreaper(t: Thread, words: Words) -> int:
    t.process.subreaper = bool(words[0])
    return 0


async def _get_subreaper(t: Thread, words: Words) -> int:
    await t.copyout(words[0], struct.pack("<i", int(t.process.subreaper)))
    return 0


async def _get_tid_address(t: Thread, words: Words) -> int:
    await t.copyout(words[0], struct.pack("<Q", t.clear_tid))
    return 0


# Flags ----------------------------------------------------------------------------------------


def _get_dumpable(t: Thread, words: Words) -> int:
    return t.process.dumpable


def _set_dumpable(t: Thread, words: Words) -> int:
    if words[0] > 1:
        raise PosixError(EINVAL)
    t.process.dumpable = words[0]
    return 0


def _get_no_new_privileges(t: Thread, words: Words) -> int:
    _no(words)
    return int(t.process.no_new_privs)


def _set_no_new_privileges(t: Thread, words: Words) -> int:
    _no(words[1:])
    if words[0] != 1:
        raise PosixError(EINVAL)
    t.process.no_new_privs = True
    return 0


def _get_slack(t: Thread, words: Words) -> int:
    return t.slack_ns[0]


def _set_slack(t: Thread, words: Words) -> int:
    t.slack_ns = (words[0] or t.slack_ns[1], t.slack_ns[1])
    return 0


def _constant(value: int, checked: int = 0) -> Callable[[Thread, Words], int]:
    """What cannot be changed; the first `checked` arguments must be 0."""

    def answer(t: Thread, words: Words) -> int:
        _no(words[:checked])
        return value

    return answer


def _only(value: int) -> Callable[[Thread, Words], int]:
    """May be set to what it is, and to nothing else."""

    def answer(t: Thread, words: Words) -> int:
        if words[0] != value:
            raise PosixError(EINVAL)
        return 0

    return answer


async def _get_tsc(t: Thread, words: Words) -> int:
    await t.copyout(words[0], struct.pack("<i", PR_TSC_ENABLE))
    return 0


# Capabilities ---------------------------------------------------------------------------------


def _with_caps(t: Thread, **sets: int) -> int:
    ids = t.process.credentials
    t.process.become(ids.changed(caps=attrs.evolve(ids.caps, **sets)))
    return 0


def _get_bounding(t: Thread, words: Words) -> int:
    if words[0] > CAP_LAST:
        raise PosixError(EINVAL)
    return t.process.credentials.caps.bounding >> words[0] & 1


def _drop_bounding(t: Thread, words: Words) -> int:
    ids = t.process.credentials
    if not ids.can(CAP_SETPCAP):
        raise PosixError(EPERM)
    if words[0] > CAP_LAST:
        raise PosixError(EINVAL)
    return _with_caps(t, bounding=ids.caps.bounding & ~(1 << words[0]))


def _get_keep_caps(t: Thread, words: Words) -> int:
    return int(bool(t.process.credentials.caps.secure & capabilities.KEEP_CAPS))


def _set_keep_caps(t: Thread, words: Words) -> int:
    secure = t.process.credentials.caps.secure
    if words[0] > 1:
        raise PosixError(EINVAL)
    if secure & capabilities.KEEP_CAPS << 1:
        raise PosixError(EPERM)
    kept = capabilities.KEEP_CAPS if words[0] else 0
    return _with_caps(t, secure=secure & ~capabilities.KEEP_CAPS | kept)


def _get_secure_bits(t: Thread, words: Words) -> int:
    return t.process.credentials.caps.secure


def _set_secure_bits(t: Thread, words: Words) -> int:
    ids, wanted = t.process.credentials, words[0]
    old = ids.caps.secure
    locked = old & capabilities.LOCKS
    changed = (old ^ wanted) & (locked | locked >> 1)
    if changed or wanted & ~capabilities.SECURE_BITS or not ids.can(CAP_SETPCAP):
        raise PosixError(EPERM)
    return _with_caps(t, secure=wanted)


AMBIENT_IS_SET, AMBIENT_RAISE, AMBIENT_LOWER, AMBIENT_CLEAR_ALL = 1, 2, 3, 4


def _ambient(t: Thread, words: Words) -> int:
    what, capability = words[:2]
    caps = t.process.credentials.caps
    if what == AMBIENT_CLEAR_ALL:
        _no(words[1:])
        return _with_caps(t, ambient=0)
    _no(words[2:])
    if capability > CAP_LAST or what not in (AMBIENT_IS_SET, AMBIENT_RAISE, AMBIENT_LOWER):
        raise PosixError(EINVAL)
    if what == AMBIENT_IS_SET:
        return caps.ambient >> capability & 1
    if what == AMBIENT_LOWER:
        return _with_caps(t, ambient=caps.ambient & ~(1 << capability))
    may = caps.permitted & caps.inheritable & 1 << capability
    if not may or caps.secure & capabilities.NO_CAP_AMBIENT_RAISE:
        raise PosixError(EPERM)
    return _with_caps(t, ambient=caps.ambient | 1 << capability)


PR_TSC_ENABLE, MCE_KILL_DEFAULT = 1, 2
_OPTIONS: dict[int, Callable[[Thread, Words], object]] = {
    1: _set_death_signal, 2: _get_death_signal, 3: _get_dumpable, 4: _set_dumpable,
    7: _get_keep_caps, 8: _set_keep_caps,
    13: _constant(0), 14: _only(0),  # timing: statistical
    15: _set_name, 16: _get_name,
    21: _constant(0),  # seccomp: off
    23: _get_bounding, 24: _drop_bounding,
    25: _get_tsc, 26: _only(PR_TSC_ENABLE),
    27: _get_secure_bits, 28: _set_secure_bits, 29: _set_slack, 30: _get_slack,
    34: _constant(MCE_KILL_DEFAULT, 4),
    36: _set_subreaper, 37: _get_subreaper,
    38: _set_no_new_privileges, 39: _get_no_new_privileges,
    40: _get_tid_address,
    42: _constant(0, 4),  # transparent huge pages: there are none to disable
    47: _ambient,
}  # fmt: skip


@syscall(157, "prctl", support=PARTIAL, note="options that concern what is not there are EINVAL")
async def sys_prctl(t: Thread, option: int, a: int, b: int, c: int, d: int) -> int:
    """prctl(2)."""
    serve = _OPTIONS.get(option & 0xFFFF_FFFF)
    if serve is None:
        raise PosixError(EINVAL)
    answer = serve(t, (a, b, c, d))
    if isinstance(answer, int):
        return answer
    result: int = await answer  # type: ignore[misc]
    return result


PERSONA_UNCHANGED = 0xFFFF_FFFF


@syscall(
    135, "personality", bound=0, support=PARTIAL, note="uname obeys; READ_IMPLIES_EXEC is kept"
)
def sys_personality(t: Thread, persona: int) -> int:
    """personality(2). ADDR_NO_RANDOMIZE is obeyed by itself: nothing is randomized."""
    old, persona = t.process.personality, persona & 0xFFFF_FFFF
    if persona != PERSONA_UNCHANGED:
        t.process.personality = persona
    return old
