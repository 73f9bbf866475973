"""Sending signals: to a thread, to a process, to a group (kill(2), tgkill(2))."""

from __future__ import annotations

import struct
from errno import EINVAL, EPERM, ESRCH
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc.abi import NSIG, SI_KERNEL, SI_USER, SIGCONT, SIGKILL
from services.proc.capabilities import CAP_KILL
from services.proc.signals.core import (
    SIG_DFL,
    SIG_IGN,
    STOP_MASK,
    STOPS,
    Action,
    SigInfo,
    bit,
)

if TYPE_CHECKING:
    from services.proc.task import Process, Thread


def user_info(signal: int, sender: Process, code: int = SI_USER) -> SigInfo:
    """What kill(2) tells the receiver: pid and real uid of the sender."""
    return SigInfo(signal, code, 0, struct.pack("<iI", sender.pid, sender.credentials.ruid))


def kernel_info(signal: int) -> SigInfo:
    """A signal that comes from the kernel itself (terminal, SIGPIPE)."""
    return SigInfo(signal, SI_KERNEL, 0, b"")


def _prepare(process: Process, signal: int) -> None:
    """SIGCONT cancels pending stops and wakes; a stop signal cancels a pending SIGCONT."""
    if signal in (SIGCONT, SIGKILL):
        if signal == SIGCONT:
            _discard(process, STOP_MASK)
        if process.stopped:
            from services.proc.lifecycle import continue_process

            continue_process(process, report=signal == SIGCONT)
    elif signal in STOPS:
        _discard(process, bit(SIGCONT))


def _discard(process: Process, mask: int) -> None:
    process.pending.discard(mask)
    for thread in process.threads.values():
        thread.pending.discard(mask)


def to_process(process: Process, info: SigInfo) -> None:
    """Make a signal pending for a process; any thread that does not block it may take it."""
    if process.zombie or process.exiting:
        return
    signal = info.signal
    _prepare(process, signal)
    mask = bit(signal)
    threads = list(process.threads.values())
    if process.actions.ignores(signal) and not any(t.blocked & mask for t in threads):
        return
    if process.pid == 1:
        return
    if not process.pending.add(info):
        return
    if process.signal_queue is not None:
        process.signal_queue.wake()
    open_to_it = [t for t in threads if not t.blocked & mask]
    chosen = next((t for t in open_to_it if t.parker.parked), None)
    if chosen is None and open_to_it:
        chosen = process.leader if process.leader in open_to_it else open_to_it[0]
    if chosen is not None:
        chosen.attend()


def to_thread(thread: Thread, info: SigInfo) -> None:
    """Make a signal pending for one thread (tgkill, SIGPIPE)."""
    process = thread.process
    if process.zombie or process.exiting or thread.killed:
        return
    _prepare(process, info.signal)
    if process.actions.ignores(info.signal) and not thread.blocked & bit(info.signal):
        return
    if thread.pending.add(info):
        if process.signal_queue is not None:
            process.signal_queue.wake()
        if not thread.blocked & bit(info.signal):
            thread.attend()


def force(thread: Thread, info: SigInfo) -> None:
    """A signal that the thread caused itself and cannot escape: if blocked or ignored, it dies."""
    actions = thread.process.actions
    mask = bit(info.signal)
    if thread.blocked & mask or actions.get(info.signal).handler == SIG_IGN:
        actions.set(info.signal, Action(SIG_DFL))
        thread.blocked &= ~mask
    thread.pending.discard(mask)
    thread.pending.add(info)
    thread.attend()


def may_signal(sender: Process, target: Process, signal: int) -> bool:
    """kill(2): CAP_KILL, equal ids, or SIGCONT within a session."""
    mine, theirs = sender.credentials, target.credentials
    if mine.can(CAP_KILL) or {mine.ruid, mine.euid} & {theirs.ruid, theirs.suid}:
        return True
    return signal == SIGCONT and sender.session is target.session


def kill(sender: Process, pid: int, signal: int) -> None:
    """kill(2) with its four meanings of `pid`; signal 0 only checks."""
    kernel = sender.kernel
    if pid > 0:
        targets = [kernel.processes[pid]] if pid in kernel.processes else []
        if not targets and pid in kernel.threads:
            targets = [kernel.threads[pid].process]
    elif pid == -1:
        targets = [p for p in kernel.processes.values() if p.pid != 1 and p is not sender]
    else:
        wanted = sender.pgid if pid == 0 else -pid
        targets = [p for p in kernel.processes.values() if p.pgid == wanted]
    if not targets:
        raise PosixError(ESRCH)
    if not 0 <= signal <= NSIG:
        raise PosixError(EINVAL)
    allowed = [p for p in targets if may_signal(sender, p, signal)]
    if not allowed and pid != -1:
        raise PosixError(EPERM)
    if signal:
        info = user_info(signal, sender)
        for process in allowed:
            to_process(process, info)
