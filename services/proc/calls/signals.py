"""Signals: dispositions, masks, sending, waiting for them."""

from __future__ import annotations

import struct
from errno import EAGAIN, EINTR, EINVAL, ENOMEM, EPERM, ESRCH
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc.abi import NSIG, SI_TKILL, SIGKILL, SIGSTOP, s32
from services.proc.park import Interrupted
from services.proc.signals import deliver, send
from services.proc.signals.core import (
    RESTART_NEVER,
    RESTART_NOHAND,
    UNBLOCKABLE,
    Action,
    SigInfo,
    bit,
)
from services.proc.table import syscall

if TYPE_CHECKING:
    from services.proc.task import Thread

SET_BYTES = 8
MINSIGSTKSZ = 2048
KNOWN_FLAGS = 0xDC00_0807
"""What sa_flags may hold; others are dropped, which tells a program that they are not known."""


def _check_set(size: int) -> None:
    if size != SET_BYTES:
        raise PosixError(EINVAL)


@syscall(13, "rt_sigaction")
async def sys_rt_sigaction(t: Thread, signal: int, new: int, old: int, size: int) -> int:
    """sigaction(2)."""
    _check_set(size)
    number = s32(signal)
    if not 0 < number <= NSIG or (new and number in (SIGKILL, SIGSTOP)):
        raise PosixError(EINVAL)
    actions = t.process.actions
    before = actions.get(number)
    if new:
        handler, flags, restorer, mask = struct.unpack("<QQQQ", await t.copyin(new, 32))
    if old:
        image = struct.pack("<QQQQ", before.handler, before.flags, before.restorer, before.mask)
        await t.copyout(old, image)
    if new:
        known = flags & KNOWN_FLAGS
        actions.set(number, Action(handler, known, restorer, mask & ~UNBLOCKABLE))
        if actions.ignores(number):
            t.process.pending.discard(bit(number))
            for thread in t.process.threads.values():
                thread.pending.discard(bit(number))
    return 0


def set_mask(t: Thread, mask: int) -> None:
    """Replace the signal mask; signals that it lets through are taken before user code runs."""
    t.blocked = mask & ~UNBLOCKABLE
    if (t.pending.mask | t.process.pending.mask) & ~t.blocked:
        t.work = True


@syscall(14, "rt_sigprocmask")
async def sys_rt_sigprocmask(t: Thread, how: int, new: int, old: int, size: int) -> int:
    """sigprocmask(2)."""
    _check_set(size)
    before = t.blocked
    if new:
        (mask,) = struct.unpack("<Q", await t.copyin(new, 8))
        how &= 0xFFFF_FFFF
        if how > 2:
            raise PosixError(EINVAL)
        set_mask(t, (before | mask, before & ~mask, mask)[how])
    if old:
        await t.copyout(old, struct.pack("<Q", before))
    return 0


@syscall(15, "rt_sigreturn", deferred=True, bound=0)
async def sys_rt_sigreturn(t: Thread) -> None:
    """sigreturn(2): a frame that is no good kills the process, as on Linux."""
    try:
        await deliver.sigreturn(t)
    except PosixError:
        send.force(t, send.kernel_info(11))


@syscall(127, "rt_sigpending")
async def sys_rt_sigpending(t: Thread, where: int, size: int) -> int:
    """sigpending(2)."""
    if size > SET_BYTES:
        raise PosixError(EINVAL)
    mask = (t.pending.mask | t.process.pending.mask) & t.blocked
    await t.copyout(where, struct.pack("<Q", mask)[:size])
    return 0


@syscall(130, "rt_sigsuspend", restart=RESTART_NOHAND)
async def sys_rt_sigsuspend(t: Thread, mask: int, size: int) -> int:
    """sigsuspend(2)."""
    _check_set(size)
    (wanted,) = struct.unpack("<Q", await t.copyin(mask, 8))
    t.saved_mask = t.blocked
    t.blocked = wanted & ~UNBLOCKABLE
    t.work = True
    while True:
        await t.wait()


@syscall(34, "pause", restart=RESTART_NOHAND)
async def sys_pause(t: Thread) -> int:
    """pause(2)."""
    while True:
        await t.wait()


def signal_number(signal: int) -> int:
    """A signal, or 0; EINVAL."""
    number = s32(signal)
    if not 0 <= number <= NSIG:
        raise PosixError(EINVAL)
    return number


@syscall(62, "kill", bound=0)
def sys_kill(t: Thread, pid: int, signal: int) -> int:
    """kill(2)."""
    send.kill(t.process, s32(pid), s32(signal))
    return 0


def _thread(t: Thread, tid: int) -> Thread:
    number = s32(tid)
    if number <= 0:
        raise PosixError(EINVAL)
    target = t.kernel.threads.get(number)
    if target is None:
        raise PosixError(ESRCH)
    return target


def _to_thread(t: Thread, tid: int, signal: int) -> int:
    number, target = signal_number(signal), _thread(t, tid)
    if not send.may_signal(t.process, target.process, number):
        raise PosixError(EPERM)
    if number:
        send.to_thread(target, send.user_info(number, t.process, SI_TKILL))
    return 0


@syscall(200, "tkill", bound=0)
def sys_tkill(t: Thread, tid: int, signal: int) -> int:
    """tkill(2)."""
    return _to_thread(t, tid, signal)


@syscall(234, "tgkill", bound=0)
def sys_tgkill(t: Thread, pid: int, tid: int, signal: int) -> int:
    """tgkill(2)."""
    if s32(pid) <= 0:
        raise PosixError(EINVAL)
    if _thread(t, tid).process.pid != s32(pid):
        raise PosixError(ESRCH)
    return _to_thread(t, tid, signal)


async def read_siginfo(t: Thread, signal: int, info: int, same: bool = False) -> SigInfo:
    """A siginfo_t of a program; `same`: it must name the signal itself. EINVAL, EFAULT."""
    raw = await t.copyin(info, 128)
    named, errno, code = struct.unpack_from("<iii", raw)
    number = signal_number(signal)
    if same and named != number:
        raise PosixError(EINVAL)
    return SigInfo(number, code, errno, raw[16:128])


@syscall(129, "rt_sigqueueinfo")
async def sys_rt_sigqueueinfo(t: Thread, pid: int, signal: int, info: int) -> int:
    """rt_sigqueueinfo(2), the call behind sigqueue(3)."""
    sent = await read_siginfo(t, signal, info)
    target = t.kernel.processes.get(s32(pid))
    if target is None:
        raise PosixError(ESRCH)
    if target is not t.process and (sent.code >= 0 or sent.code == SI_TKILL):
        raise PosixError(EPERM)
    if not send.may_signal(t.process, target, sent.signal):
        raise PosixError(EPERM)
    if sent.signal:
        send.to_process(target, sent)
    return 0


@syscall(297, "rt_tgsigqueueinfo")
async def sys_rt_tgsigqueueinfo(t: Thread, pid: int, tid: int, signal: int, info: int) -> int:
    """rt_tgsigqueueinfo(2)."""
    if s32(pid) <= 0 or s32(tid) <= 0:
        raise PosixError(EINVAL)
    sent, target = await read_siginfo(t, signal, info), _thread(t, tid)
    if target.process.pid != s32(pid):
        raise PosixError(ESRCH)
    if target is not t and (sent.code >= 0 or sent.code == SI_TKILL):
        raise PosixError(EPERM)
    if not send.may_signal(t.process, target.process, sent.signal):
        raise PosixError(EPERM)
    if sent.signal:
        send.to_thread(target, sent)
    return 0


@syscall(128, "rt_sigtimedwait", restart=RESTART_NEVER)
async def sys_rt_sigtimedwait(t: Thread, mask: int, info: int, timeout: int, size: int) -> int:
    """sigtimedwait(2): take a pending signal of the set without running its handler."""
    _check_set(size)
    (wanted,) = struct.unpack("<Q", await t.copyin(mask, 8))
    wanted &= ~UNBLOCKABLE
    deadline = None
    if timeout:
        seconds, ns = struct.unpack("<qq", await t.copyin(timeout, 16))
        if seconds < 0 or not 0 <= ns < 1_000_000_000:
            raise PosixError(EINVAL)
        deadline = await t.kernel.timers.now() + seconds * 1_000_000_000 + ns
    found = await _await_signal(t, wanted, deadline)
    if info:
        await t.copyout(info, deliver.pack_info(found))
    return found.signal


async def _await_signal(t: Thread, wanted: int, deadline: int | None) -> SigInfo:
    blocked = t.blocked
    while True:
        found = t.pending.take(wanted) or t.process.pending.take(wanted)
        if found is not None:
            return found
        t.blocked = blocked & ~wanted  # so that their arrival ends the wait
        try:
            if not await t.wait(deadline_ns=deadline):
                raise PosixError(EAGAIN)
        except Interrupted:
            found = t.pending.take(wanted) or t.process.pending.take(wanted)
            if found is None:
                raise PosixError(EINTR) from None
            return found
        finally:
            t.blocked = blocked


@syscall(131, "sigaltstack")
async def sys_sigaltstack(t: Thread, new: int, old: int) -> int:
    """sigaltstack(2)."""
    from services.drivers.cpu.api import RSP

    sp = t.kernel.core.peek(t.context, RSP)
    base, size, flags = t.alternate_stack
    inside = deliver.on_alternate_stack(t, sp)
    if new:
        new_base, new_flags, new_size = struct.unpack("<QixxxxQ", await t.copyin(new, 24))
        mode = new_flags & 0x7FFF_FFFF
        if inside:
            raise PosixError(EPERM)
        if mode not in (0, 1, 2):
            raise PosixError(EINVAL)
        if mode != 2 and new_size < MINSIGSTKSZ:
            raise PosixError(ENOMEM)
    if old:
        shown = flags | (1 if inside else 0)
        await t.copyout(old, struct.pack("<QIxxxxQ", base, shown & 0xFFFF_FFFF, size))
    if new:
        if mode == 2:
            t.alternate_stack = (0, 0, 2)
        else:
            t.alternate_stack = (new_base, new_size, new_flags & 0x8000_0000)
    return 0
