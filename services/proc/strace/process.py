"""Formats of processes: clone, limits, usage, scheduling, capabilities, names, personality."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from .buffers import INT_AT, counted
from .clock import timeval
from .filestat import extension
from .model import Change, Out
from .scalars import signal_name
from .tables import process as t
from .text import address, array, hexadecimal, members, quote_field, signed, unsigned

if TYPE_CHECKING:
    from .model import Ctx

_RLIMIT = struct.Struct("<QQ")
_RUSAGE = struct.Struct("<qQqQ112x")
_CLONE_ARGS = struct.Struct("<8Q")
_CLONE_ARGS_MORE = struct.Struct("<3Q")
_SYSINFO = struct.Struct("<Q9QHxxxxxxQQI")
_SCHED_ATTR = struct.Struct("<4xIQiIQQQII")
_CAP_HEADER = struct.Struct("<Ii")
CPU_SET_MOST = 128
SCHED_ATTR_LEAST = 48
PID_LEVELS_MOST = 32
SCHED_FLAG_KEEP_POLICY, SCHED_FLAG_KEEP_PARAMS = 8, 16
_KEPT_POLICY = SCHED_FLAG_KEEP_POLICY | SCHED_FLAG_KEEP_PARAMS
NGROUPS_MAX = 65536
RLIM_INFINITY = (1 << 64) - 1
CLONE_PIDFD, CLONE_SETTLS, CLONE_PARENT_SETTID = 0x1000, 0x80000, 0x100000
CLONE_CHILD_CLEARTID, CLONE_CHILD_SETTID = 0x200000, 0x1000000
CLONE_INTO_CGROUP = 0x200000000


def CLONE_STACK(word: int, ctx: Ctx) -> str:
    """Write clone's stack."""
    return f"child_stack={address(word)}"


def CLONE_FLAGS(word: int, ctx: Ctx) -> str:
    """Write clone's flags, whose low byte is the signal to send at exit."""
    bits, signo = word & ~0xFF, word & 0xFF
    names = [t.CLONE_FLAGS.flags(bits)] if bits else []
    if signo or not names:
        names.append(signal_name(signo))
    return f"flags={'|'.join(names)}"


def CLONE_PARENT_TID(word: int, ctx: Ctx) -> str:
    """Write where clone stores the child's number or descriptor."""
    if not ctx.args[0] & (CLONE_PARENT_SETTID | CLONE_PIDFD):
        return ""
    return f"parent_tid={INT_AT(word, ctx)}"


def CLONE_TLS(word: int, ctx: Ctx) -> str:
    """Write clone's thread-local storage."""
    return f"tls={address(word)}" if ctx.args[0] & CLONE_SETTLS else ""


def CLONE_CHILD_TID(word: int, ctx: Ctx) -> str:
    """Write where the child's number is stored, or cleared."""
    wanted = ctx.args[0] & (CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID)
    return f"child_tidptr={address(word)}" if wanted else ""


def clone_split(ctx: Ctx) -> int:
    """Say how many of clone's parameters print at entry."""
    waiting = CLONE_PIDFD | CLONE_PARENT_SETTID | CLONE_SETTLS
    return 2 if ctx.args[0] & (waiting | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID) else 5


def _clone_fields(raw: bytes, ctx: Ctx) -> dict[str, str]:
    bits, pidfd, child, parent, signo, stack, size, tls = _CLONE_ARGS.unpack_from(raw)
    fields = {"flags": t.CLONE3_FLAGS.flags(bits)}
    if bits & CLONE_PIDFD:
        fields["pidfd"] = address(pidfd)
    if bits & (CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID):
        fields["child_tid"] = address(child)
    if bits & CLONE_PARENT_SETTID:
        fields["parent_tid"] = address(parent)
    fields["exit_signal"] = signal_name(signo) if signo < 65 else str(signo)
    fields["stack"] = address(stack)
    fields["stack_size"] = hexadecimal(size)
    if bits & CLONE_SETTLS:
        fields["tls"] = address(tls)
    if len(raw) >= _CLONE_ARGS.size + _CLONE_ARGS_MORE.size:
        fields |= _clone_more(bits, raw, ctx)
    return fields


def _clone_more(bits: int, raw: bytes, ctx: Ctx) -> dict[str, str]:
    set_tid, count, cgroup = _CLONE_ARGS_MORE.unpack_from(raw, _CLONE_ARGS.size)
    fields = {}
    if set_tid or count:
        fields["set_tid"] = (
            array(
                set_tid, count, 4, lambda b, _: str(int.from_bytes(b, "little", signed=True)), ctx
            )
            if 0 < count <= PID_LEVELS_MOST
            else address(set_tid)
        )
        fields["set_tid_size"] = str(count)
    if cgroup or bits & CLONE_INTO_CGROUP:
        fields["cgroup"] = str(cgroup)
    return fields


def CLONE3_ARGS(word: int, ctx: Ctx) -> str:
    """Write clone3's struct clone_args."""
    size = ctx.args[1]
    known = min(size, 88)
    raw = ctx.fetch(word, known) if size >= 64 else None
    if raw is None:
        return address(word)
    return members(**_clone_fields(raw, ctx))[:-1] + extension(word, 88, size, ctx) + "}"


def clone3_split(ctx: Ctx) -> int:
    """Say how many of clone3's parameters print at entry."""
    readable = ctx.args[1] >= 64 and ctx.peek(ctx.args[0], min(ctx.args[1], 88)) is not None
    return 1 if readable else 3


def _clone3_change(word: int, ctx: Ctx) -> str:
    raw = ctx.fetch(word, 64) if ctx.args[1] >= 64 else None
    if raw is None:
        return ""
    bits, pidfd, _, parent, *_ = _CLONE_ARGS.unpack(raw)
    fields = {}
    if bits & CLONE_PIDFD:
        fields["pidfd"] = INT_AT(pidfd, ctx)
    if bits & CLONE_PARENT_SETTID:
        fields["parent_tid"] = INT_AT(parent, ctx)
    more = extension(word, 88, ctx.args[1], ctx)
    return f" => {members(**fields)[:-1]}{more if fields else more[2:]}}}" if fields or more else ""


CLONE3_CHANGE = Change(_clone3_change)


def limit(number: int) -> str:
    """Write a resource limit: `8192*1024`, `RLIM64_INFINITY`."""
    if number == RLIM_INFINITY:
        return "RLIM64_INFINITY"
    if number > 1024 and number % 1024 == 0:
        return f"{number // 1024}*1024"
    return str(number)


def RLIMIT(word: int, ctx: Ctx) -> str:
    """Write a struct rlimit."""
    raw = ctx.fetch(word, _RLIMIT.size)
    if raw is None:
        return address(word)
    current, most = _RLIMIT.unpack(raw)
    return members(rlim_cur=limit(current), rlim_max=limit(most))


def RUSAGE(word: int, ctx: Ctx) -> str:
    """Write a struct rusage."""
    raw = ctx.fetch(word, _RUSAGE.size)
    if raw is None:
        return address(word)
    a, b, c, d = _RUSAGE.unpack(raw)
    return f"{{ru_utime={timeval(a, b)}, ru_stime={timeval(c, d)}, ...}}"


def _wait_usage(word: int, ctx: Ctx) -> str:
    return RUSAGE(word, ctx) if ctx.result else address(word)


WAIT_RUSAGE = Out(_wait_usage)


def _sched_attr(raw: bytes, size: int, keeps: bool) -> str:
    """Write a struct sched_attr; `keeps` leaves out what its flags tell to keep as it is."""
    policy, bits, nice, priority, runtime, deadline, period, least, most = _SCHED_ATTR.unpack(
        raw.ljust(_SCHED_ATTR.size, b"\0")
    )
    fields = {"size": str(size)}
    if not (keeps and bits & _KEPT_POLICY) or policy >> 31:
        fields["sched_policy"] = t.SCHED_POLICIES.value(policy)
    fields["sched_flags"] = t.SCHED_FLAGS.flags(bits)
    if not (keeps and bits & SCHED_FLAG_KEEP_PARAMS):
        fields |= {
            "sched_nice": str(nice),
            "sched_priority": str(priority),
            "sched_runtime": str(runtime),
            "sched_deadline": str(deadline),
            "sched_period": str(period),
        }
    if size >= _SCHED_ATTR.size:
        fields |= {"sched_util_min": str(least), "sched_util_max": str(most)}
    return members(**fields)


def SCHED_ATTR(word: int, ctx: Ctx) -> str:
    """Write the struct sched_attr that is set; a size of zero stands for the least."""
    head = ctx.fetch(word, 4)
    if head is None:
        return address(word)
    size = int.from_bytes(head, "little")
    if 0 < size < SCHED_ATTR_LEAST:
        return members(size=str(size))
    raw = ctx.fetch(word, min(size or SCHED_ATTR_LEAST, _SCHED_ATTR.size))
    if raw is None:
        return address(word)
    text = _sched_attr(raw, size, keeps=True)
    return text[:-1] + ", ...}" if size > _SCHED_ATTR.size else text


def _got_sched_attr(word: int, ctx: Ctx) -> str:
    given = unsigned(ctx.args[2])
    raw = ctx.fetch(word, min(max(given, 4), _SCHED_ATTR.size)) if given else None
    if raw is None:
        return address(word)
    size = int.from_bytes(raw[:4], "little")
    if size < SCHED_ATTR_LEAST:
        return members(size=str(size))
    return _sched_attr(raw, size, keeps=False)


GOT_SCHED_ATTR = Out(_got_sched_attr)


def _cpu_set(word: int, size: int, ctx: Ctx) -> str:
    """Write a set of processors: `[0 2]`."""
    raw = ctx.fetch(word, min(size, CPU_SET_MOST)) if size else b""
    if raw is None or not word:
        return address(word)
    mask = int.from_bytes(raw, "little")
    names = [str(cpu) for cpu in range(mask.bit_length()) if mask >> cpu & 1]
    names += ["..."] if size > CPU_SET_MOST else []
    return f"[{' '.join(names)}]"


def CPU_SET(word: int, ctx: Ctx) -> str:
    """Write the set of processors that is set."""
    return _cpu_set(word, unsigned(ctx.args[1]), ctx)


def _got_cpu_set(word: int, ctx: Ctx) -> str:
    return address(word) if ctx.failed else _cpu_set(word, ctx.result or 0, ctx)


GOT_CPU_SET = Out(_got_cpu_set)


def sched_note(ctx: Ctx) -> str | None:
    """Name the scheduling policy that a call returned."""
    return None if ctx.failed else t.SCHED_POLICIES.names.get(ctx.result or 0)


def CAP_HEADER(word: int, ctx: Ctx) -> str:
    """Write a capability header."""
    raw = ctx.peek(word, _CAP_HEADER.size)
    if raw is None:
        return address(word)
    version, pid = _CAP_HEADER.unpack(raw)
    return members(version=t.CAPABILITY_VERSIONS.value(version), pid=str(pid))


def _capabilities(mask: int) -> str:
    """Write two words of capabilities; the unnamed bits of each word stand after its named ones."""
    parts = []
    for base in (0, 32):
        word = mask >> base & 0xFFFFFFFF
        unnamed = 0
        for bit in range(32):
            if word >> bit & 1:
                name = t.CAPABILITIES.names.get(base + bit)
                unnamed |= 0 if name else 1 << bit
                parts += [f"1<<{name}"] if name else []
        if unnamed:
            parts.append(f"{unnamed:#x} /* CAP_??? */")
    return "|".join(parts) or "0"


def CAP_DATA(word: int, ctx: Ctx) -> str:
    """Write the capability sets, as wide as the header's version says."""
    header = ctx.peek(ctx.args[0], 4)
    version = int.from_bytes(header or b"", "little")
    words = 2 if version in (0x20071026, 0x20080522) else 1
    raw = ctx.fetch(word, 12 * words) if header is not None else None
    if raw is None:
        return address(word)
    numbers = struct.unpack(f"<{3 * words}I", raw)
    sets = [sum(numbers[3 * w + kind] << 32 * w for w in range(words)) for kind in range(3)]
    names = ("effective", "permitted", "inheritable")
    return members(**{n: _capabilities(s) for n, s in zip(names, sets, strict=True)})


def _utsname(word: int, ctx: Ctx) -> str:
    raw = ctx.fetch(word, 390)
    if raw is None:
        return address(word)
    system, node = quote_field(raw[:65]), quote_field(raw[65:130])
    return f"{{sysname={system}, nodename={node}, ...}}"


UTSNAME = Out(_utsname)


def HOSTNAME(word: int, ctx: Ctx) -> str:
    """Write a host's name, whole."""
    length = unsigned(ctx.args[1])
    if length > 64:
        return address(word)
    raw = ctx.peek(word, length)
    return address(word) if raw is None else counted(word, length, ctx)


def SYSINFO(word: int, ctx: Ctx) -> str:
    """Write a struct sysinfo."""
    raw = ctx.fetch(word, 112)
    if raw is None:
        return address(word)
    uptime, l1, l2, l3, *rest = _SYSINFO.unpack_from(raw)
    names = ("totalram", "freeram", "sharedram", "bufferram", "totalswap", "freeswap", "procs",
             "totalhigh", "freehigh", "mem_unit")  # fmt: skip
    numbers = {name: str(number) for name, number in zip(names, rest, strict=True)}
    return members(uptime=str(uptime), loads=f"[{l1}, {l2}, {l3}]", **numbers)


def PERSONALITY(word: int, ctx: Ctx) -> str:
    """Write a personality: its type and its flags."""
    word = unsigned(word)
    if word == 0xFFFFFFFF:
        return "0xffffffff"
    kind, bits = t.PERSONALITIES.value(word & 0xFF), word & ~0xFF
    return f"{kind}|{t.PERSONALITY_FLAGS.plain_flags(bits)}" if bits else kind


def personality_note(ctx: Ctx) -> str | None:
    """Name the personality that there was before."""
    return None if ctx.failed else PERSONALITY(ctx.result or 0, ctx)


def GROUPS(word: int, ctx: Ctx) -> str:
    """Write the groups that are set."""
    return _groups(word, signed(ctx.args[0]), ctx)


def _groups(word: int, count: int, ctx: Ctx) -> str:
    if not 0 <= count <= NGROUPS_MAX:
        return address(word)
    return array(word, count, 4, lambda raw, _: _group(raw), ctx)


def _group(raw: bytes) -> str:
    number = int.from_bytes(raw, "little")
    return "-1" if number == 0xFFFFFFFF else str(number)


def _got_groups(word: int, ctx: Ctx) -> str:
    return address(word) if ctx.failed else _groups(word, ctx.result or 0, ctx)


GOT_GROUPS = Out(_got_groups)


def ID_AT(word: int, ctx: Ctx) -> str:
    """Write a user or group number in memory."""
    raw = ctx.fetch(word, 4)
    return address(word) if raw is None else f"[{_group(raw)}]"
