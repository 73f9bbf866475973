"""Formats of signals: sets, actions, siginfo, alternate stacks, sigevent, wait status."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from .clock import clock_ticks
from .model import Out
from .scalars import signal_name
from .tables import signals as t
from .tables.errnos import ERRNOS
from .text import address, hexadecimal, members, signed, unsigned

if TYPE_CHECKING:
    from .model import Ctx, Format

SIGSET_BYTES = 8
SIGINFO_BYTES = 128
_SHORT_NAMES = tuple(t.SIGNALS.names[number].removeprefix("SIG") for number in range(1, 65))
_SIGACTION = struct.Struct("<QQQQ")
_SIGEVENT = struct.Struct("<QiiQQ")
_STACK = struct.Struct("<QI4xQ")
_HANDLERS = {0: "SIG_DFL", 1: "SIG_IGN", (1 << 64) - 1: "SIG_ERR"}
SA_RESTORER = 0x4000000
SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGCHLD, SIGIO, SIGSYS = 4, 5, 7, 8, 11, 17, 29, 31
SI_USER, SI_TIMER, SI_SIGIO, SI_TKILL = 0, -2, -5, -6
_CODES = {
    SIGILL: t.ILL_CODES, SIGTRAP: t.TRAP_CODES, SIGBUS: t.BUS_CODES, SIGFPE: t.FPE_CODES,
    SIGSEGV: t.SEGV_CODES, SIGCHLD: t.CLD_CODES, SIGIO: t.POLL_CODES, SIGSYS: t.SYS_CODES,
}  # fmt: skip


def sigset(mask: int, signals: int = 64) -> str:
    """Write a set of signals, `[INT TERM]`; one of two thirds or more as what it lacks."""
    mark = ""
    if mask.bit_count() >= signals * 2 // 3:
        mark, mask = "~", ~mask
    names = [name for bit, name in enumerate(_SHORT_NAMES[:signals]) if mask >> bit & 1]
    return f"{mark}[{' '.join(names)}]"


def _sigset(size_arg: int, shorter: bool) -> Format:
    def render(word: int, ctx: Ctx) -> str:
        size = ctx.args[size_arg]
        if size > SIGSET_BYTES or (size < SIGSET_BYTES and not shorter):
            return address(word)
        raw = ctx.fetch(word, size)
        if raw is None or not size:
            return address(word)
        return sigset(int.from_bytes(raw, "little"), 8 * size)

    return render


def exact_sigset(size_arg: int) -> Format:
    """Make the format of a signal set whose size has to be the kernel's."""
    return _sigset(size_arg, shorter=False)


def short_sigset(size_arg: int) -> Format:
    """Make the format of a signal set that may be shorter than the kernel's."""
    return _sigset(size_arg, shorter=True)


def SIGACTION(word: int, ctx: Ctx) -> str:
    """Write the kernel's struct sigaction."""
    raw = ctx.fetch(word, _SIGACTION.size)
    if raw is None:
        return address(word)
    handler, bits, restorer, mask = _SIGACTION.unpack(raw)
    fields = {
        "sa_handler": _HANDLERS.get(handler) or address(handler),
        "sa_mask": sigset(mask),
        "sa_flags": t.SIGACTION_FLAGS.flags(bits),
    }
    if bits & SA_RESTORER:
        fields["sa_restorer"] = address(restorer)
    return members(**fields)


def SIGALTSTACK(word: int, ctx: Ctx) -> str:
    """Write a stack_t."""
    raw = ctx.fetch(word, _STACK.size)
    if raw is None:
        return address(word)
    base, bits, size = _STACK.unpack(raw)
    return members(ss_sp=address(base), ss_flags=t.SIGALTSTACK_FLAGS.flags(bits), ss_size=str(size))


def SIGEVENT(word: int, ctx: Ctx) -> str:
    """Write a struct sigevent."""
    raw = ctx.fetch(word, _SIGEVENT.size)
    if raw is None:
        return address(word)
    value, signo, notify, function, attributes = _SIGEVENT.unpack(raw)
    named = notify in (0, 4)
    fields = {"sigev_value": _sigval(value, "sival_")} if value else {}
    fields |= {
        "sigev_signo": signal_name(signo) if named else str(unsigned(signo)),
        "sigev_notify": t.SIGEV_KINDS.value(unsigned(notify)),
    }
    if notify == 4:
        fields["sigev_notify_thread_id"] = str(signed(function))
    elif notify == 2:
        fields["sigev_notify_function"] = address(function)
        fields["sigev_notify_attributes"] = address(attributes)
    return members(**fields)


def _sigval(value: int, prefix: str) -> str:
    return members(**{prefix + "int": str(signed(value)), prefix + "ptr": address(value)})


def _value_fields(value: int) -> dict[str, str]:
    return {"si_int": str(signed(value)), "si_ptr": address(value)}


def _sender_fields(raw: bytes) -> dict[str, str]:
    pid, uid = struct.unpack_from("<iI", raw, 16)
    return {"si_pid": str(pid), "si_uid": "-1" if uid == 0xFFFFFFFF else str(uid)}


def _user_fields(code: int, raw: bytes) -> dict[str, str]:
    first, second, value = struct.unpack_from("<iiQ", raw, 16)
    if code in (SI_USER, SI_TKILL):
        return _sender_fields(raw)
    if code == SI_TIMER:
        timer = {"si_timerid": hexadecimal(unsigned(first)), "si_overrun": str(second)}
        return timer | _value_fields(value)
    if code == SI_SIGIO:
        return _band_fields(raw)
    return _sender_fields(raw) | (_value_fields(value) if value else {})


def _band_fields(raw: bytes) -> dict[str, str]:
    band, fd = struct.unpack_from("<qi", raw, 16)
    return {"si_band": str(band), "si_fd": str(fd)}


def _child_fields(code: int, raw: bytes) -> dict[str, str]:
    status, user, system = struct.unpack_from("<i4xQQ", raw, 24)
    return _sender_fields(raw) | {
        "si_status": str(status) if code == 1 else signal_name(status),
        "si_utime": clock_ticks(user),
        "si_stime": clock_ticks(system),
    }


def _fault_fields(signo: int, code: int, raw: bytes) -> dict[str, str]:
    where, extra, lower, upper = struct.unpack_from("<QQQQ", raw, 16)
    fields = {"si_addr": address(where)}
    if signo == SIGSEGV and code == 3:
        fields |= {"si_lower": address(lower), "si_upper": address(upper)}
    elif signo == SIGSEGV and code == 4:
        fields["si_pkey"] = str(unsigned(lower))
    elif signo == SIGBUS and code in (4, 5):
        fields["si_addr_lsb"] = hexadecimal(unsigned(extra, 16))
    return fields


def _kernel_fields(signo: int, code: int, raw: bytes) -> dict[str, str]:
    if signo == SIGCHLD:
        return _child_fields(code, raw)
    if signo in (SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV):
        return _fault_fields(signo, code, raw)
    if signo == SIGIO:
        return _band_fields(raw) if code in t.POLL_CODES.names else {}
    if signo == SIGSYS:
        where, number, arch = struct.unpack_from("<QiI", raw, 16)
        return {
            "si_call_addr": address(where),
            "si_syscall": str(number),
            "si_arch": t.AUDIT_ARCHES.value(arch),
        }
    pid, uid, value = struct.unpack_from("<iiQ", raw, 16)
    sender = _sender_fields(raw) if pid or uid else {}
    return sender | (_value_fields(value) if value else {})


def siginfo(raw: bytes) -> str:
    """Write a siginfo_t: `{si_signo=SIGSEGV, si_code=SEGV_MAPERR, si_addr=NULL}`."""
    signo, errno, code = struct.unpack_from("<iii", raw)
    if not signo:
        return "{}"
    table = _CODES.get(signo)
    name = t.SI_CODES.names.get(code) or (table.names.get(code) if table else None)
    fields = {"si_signo": signal_name(signo), "si_code": name or f"{unsigned(code):#x}"}
    if errno:
        fields["si_errno"] = ERRNOS[errno][0] if errno in ERRNOS else str(unsigned(errno))
    fields |= _user_fields(code, raw) if code <= 0 else _kernel_fields(signo, code, raw)
    return members(**fields)


def SIGINFO(word: int, ctx: Ctx) -> str:
    """Write a siginfo_t in memory."""
    raw = ctx.fetch(word, SIGINFO_BYTES)
    return address(word) if raw is None else siginfo(raw)


def signal_note(ctx: Ctx) -> str | None:
    """Name the signal that a call returned."""
    return t.SIGNALS.names.get(ctx.result or 0)


_EVENTS_SHIFT = 16


def wait_status(status: int) -> str:
    """Write a wait status: `{WIFEXITED(s) && WEXITSTATUS(s) == 0}`."""
    if status == 0xFFFF:
        return "{WIFCONTINUED(s)}"
    event, low = status >> _EVENTS_SHIFT, status & 0xFFFF
    signo = low & 0x7F
    if low & 0xFF == 0x7F:
        stop = low >> 8
        trap = f"{signal_name(stop & 0x7F)} | 0x80" if stop & 0x80 else signal_name(stop)
        text, rest = f"{{WIFSTOPPED(s) && WSTOPSIG(s) == {trap}}}", 0
    elif not signo:
        text = f"{{WIFEXITED(s) && WEXITSTATUS(s) == {low >> 8}}}"
        rest = low & 0x80
    elif signo < 0x7F:
        dumped = " && WCOREDUMP(s)" if low & 0x80 else ""
        text = f"{{WIFSIGNALED(s) && WTERMSIG(s) == {signal_name(signo)}{dumped}}}"
        rest = low & 0xFF00
    else:
        return f"{status:#x}"
    if event:
        text += f"|{t.PTRACE_EVENTS.value(event)}<<16"
    return text + (f"|{rest:#x}" if rest else "")


def _wait_status(word: int, ctx: Ctx) -> str:
    raw = ctx.fetch(word, 4) if ctx.result else None
    return address(word) if raw is None else f"[{wait_status(int.from_bytes(raw, 'little'))}]"


WAIT_STATUS = Out(_wait_status)


def sigreturn_mask(word: int, ctx: Ctx) -> str:
    """Write the signal mask that rt_sigreturn restores, from the frame at the stack pointer."""
    raw = ctx.peek(ctx.stack_pointer + 296, SIGSET_BYTES)
    if raw is None:
        return address(ctx.stack_pointer)
    return members(mask=sigset(int.from_bytes(raw, "little")))
