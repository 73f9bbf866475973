"""Taking signals before user code runs again: default actions, handler frames, sigreturn.

The frame is the kernel's `struct rt_sigframe` (arch/x86, and sigreturn(2)): return address,
ucontext, siginfo, and the FXSAVE image above them, so that debuggers, unwinders and programs that
look into it find what they expect.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.drivers.cpu import api as cpu
from services.proc.abi import SIGCONT, SIGKILL, SIGSEGV, SIGSTOP
from services.proc.signals import send
from services.proc.signals.core import (
    IGNORED_BY_DEFAULT,
    RESTART_ALWAYS,
    RESTART_NEVER,
    RESTART_SYS,
    SA_NODEFER,
    SA_ONSTACK,
    SA_RESETHAND,
    SA_RESTART,
    SIG_DFL,
    SIG_IGN,
    STOPS,
    UNBLOCKABLE,
    Action,
    SigInfo,
    bit,
)

if TYPE_CHECKING:
    from services.proc.task import Process, Thread

SS_ONSTACK, SS_DISABLE, SS_AUTODISARM = 1, 2, 1 << 31
REDZONE_BYTES, FXSAVE_BYTES, SIGINFO_BYTES = 128, 512, 128
UC_FP_XSTATE_NOT, UC_SIGCONTEXT_SS, UC_STRICT_RESTORE_SS = 0, 2, 4
USER_CS, USER_SS = 0x33, 0x2B  # what Linux shows; the emulator's own selectors differ

_UCONTEXT = struct.Struct("<QQQiiQ18QHHHHQQQQQ64xQ")
"""flags, link, stack (sp, flags, pad, size), registers in sigcontext's order, mask."""
_ORDER = (
    cpu.R8, cpu.R9, cpu.R10, cpu.R11, cpu.R12, cpu.R13, cpu.R14, cpu.R15, cpu.RDI, cpu.RSI,
    cpu.RBP, cpu.RBX, cpu.RDX, cpu.RAX, cpu.RCX, cpu.RSP,
)  # fmt: skip
FRAME_BYTES = 8 + _UCONTEXT.size + SIGINFO_BYTES
FLAGS_USER = 0x0005_0DD5
"""RFLAGS bits that sigreturn may set: CF PF AF ZF SF TF DF OF RF AC."""


def pack_info(info: SigInfo) -> bytes:
    """siginfo_t, 128 bytes."""
    head = struct.pack("<iiii", info.signal, info.errno, info.code, 0)
    return (head + info.fields).ljust(SIGINFO_BYTES, b"\0")


async def attend(thread: Thread) -> bool:
    """Do what is to be done before user code runs: end, stop, default actions, handlers.

    False: the thread has to end.
    """
    from services.proc.lifecycle import wait_while_stopped

    process = thread.process
    handled = False
    while True:
        thread.work = False
        if thread.killed or process.exiting:
            thread.killed = True
            return False
        if process.stopped:
            await wait_while_stopped(thread)
            continue
        open_mask = ~thread.blocked
        info = thread.pending.take(open_mask) or process.pending.take(open_mask)
        if info is None:
            break
        handled |= await _take(thread, info)
    if not handled:
        _settle_call(thread, None)
    if thread.saved_mask is not None:
        thread.blocked, thread.saved_mask = thread.saved_mask, None
        thread.work = thread.kernel.interrupts(thread)
        if thread.work:
            return await attend(thread)
    return True


async def attend_in_call(thread: Thread) -> bool:
    """In the middle of a call: end, stop, default actions, but no handlers.

    True: the call has to end, as a handler is to run or the thread has to end.
    """
    from services.proc.lifecycle import wait_while_stopped

    process = thread.process
    while True:
        if thread.killed or process.exiting:
            return True
        if process.stopped:
            await wait_while_stopped(thread)
            continue
        caught = process.actions.caught
        unhandled = ~(thread.blocked | caught)
        info = thread.pending.take(unhandled) or process.pending.take(unhandled)
        if info is None:
            waiting = thread.pending.mask | process.pending.mask
            return bool(waiting & caught & ~thread.blocked)
        await _take(thread, info)


async def _take(thread: Thread, info: SigInfo) -> bool:
    """Do what the disposition of one signal says; True if a handler was entered."""
    from services.proc.lifecycle import exit_group, stop_process

    process, signal = thread.process, info.signal
    observe = thread.kernel.observe_signal
    if observe is not None:
        observe(thread, info)
    action = process.actions.get(signal)
    if action.handler == SIG_IGN and signal not in (SIGKILL, SIGSTOP):
        return False
    if action.handler != SIG_DFL:
        _settle_call(thread, action)
        if not await _enter_handler(thread, info, action):
            if signal == SIGSEGV:  # its own handler has no stack: nothing is left but death
                process.actions.set(SIGSEGV, Action(SIG_DFL))
            send.force(thread, send.kernel_info(SIGSEGV))
        return True
    if signal in IGNORED_BY_DEFAULT or signal == SIGCONT:
        return False
    if signal in STOPS:
        if signal == SIGSTOP or not orphaned(process):
            stop_process(process, signal)
        return False
    exit_group(process, signal)  # no core file is written, so none is claimed
    return False


def orphaned(process: Process) -> bool:
    """Whether the process group is orphaned: terminal stops are then ignored (setpgid(2))."""
    init = process.kernel.init
    return not any(
        member.parent is not None
        and member.parent is not init
        and member.parent.pgid != process.pgid
        and member.parent.session is process.session
        for member in process.kernel.group(process.pgid)
    )


def _settle_call(thread: Thread, action: Action | None) -> None:
    """Decide how an interrupted call goes on: EINTR stands in RAX, or the SYSCALL is repeated."""
    kind, thread.restart = thread.restart, RESTART_NEVER
    if kind == RESTART_NEVER:
        return
    again = action is None or kind == RESTART_ALWAYS
    if action is not None and kind == RESTART_SYS:
        again = bool(action.flags & SA_RESTART)
    if not again:
        thread.restart_deadline = None
        return
    core, context = thread.kernel.core, thread.context
    core.poke(context, cpu.RIP, core.peek(context, cpu.RIP) - 2)
    core.poke(context, cpu.RAX, thread.call_number)


def on_alternate_stack(thread: Thread, sp: int) -> bool:
    """Whether `sp` lies on the alternate stack."""
    base, size, flags = thread.alternate_stack
    return not flags & SS_DISABLE and base < sp <= base + size


async def _enter_handler(thread: Thread, info: SigInfo, action: Action) -> bool:
    """Build the frame and point the thread at its handler; False if the stack is no good."""
    core, context = thread.kernel.core, thread.context
    core.switch(context)
    fpu, flags = core.read_fpu(), core.read_flags()
    sp = core.peek(context, cpu.RSP)
    base, size, stack_flags = thread.alternate_stack
    shown = stack_flags
    if on_alternate_stack(thread, sp):
        shown |= SS_ONSTACK
    if action.flags & SA_ONSTACK and not stack_flags & SS_DISABLE and not shown & SS_ONSTACK:
        sp = base + size
    else:
        sp -= REDZONE_BYTES
    fpu_at = (sp - FXSAVE_BYTES) & ~63
    frame = ((fpu_at - FRAME_BYTES) & ~15) - 8
    registers = [core.peek(context, register) for register in _ORDER]
    mask = thread.blocked if thread.saved_mask is None else thread.saved_mask
    ucontext = _UCONTEXT.pack(
        UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS, 0, base, shown & 3, 0, size,
        *registers, core.peek(context, cpu.RIP), flags, USER_CS, 0, 0, USER_SS,
        thread.trap[1], thread.trap[0], mask, thread.trap[2], fpu_at, mask,
    )  # fmt: skip
    image = struct.pack("<Q", action.restorer) + ucontext + pack_info(info)
    try:
        await thread.copyout(frame, image + bytes(fpu_at - frame - len(image)) + fpu)
    except PosixError:
        return False
    if stack_flags & SS_AUTODISARM:
        thread.alternate_stack = (0, 0, SS_DISABLE)
    thread.saved_mask = None
    thread.blocked |= action.mask & ~UNBLOCKABLE
    if not action.flags & SA_NODEFER:
        thread.blocked |= bit(info.signal)
    if action.flags & SA_RESETHAND:
        thread.process.actions.set(info.signal, Action(SIG_DFL))
    core.switch(context)
    for register, value in (
        (cpu.RDI, info.signal),
        (cpu.RSI, frame + 8 + _UCONTEXT.size),
        (cpu.RDX, frame + 8),
        (cpu.RAX, 0),
        (cpu.RSP, frame),
        (cpu.RIP, action.handler),
    ):
        core.poke(context, register, value)
    core.write_flags(flags & ~0x0001_0500)  # TF, DF, RF off
    return True


async def sigreturn(thread: Thread) -> None:
    """rt_sigreturn(2): put back what the frame at the stack pointer holds."""
    core, context = thread.kernel.core, thread.context
    frame = core.peek(context, cpu.RSP) - 8
    image = await thread.copyin(frame + 8, _UCONTEXT.size)
    fields = _UCONTEXT.unpack(image)
    stack, registers, rip, flags = fields[2:6], fields[6:22], fields[22], fields[23]
    fpu_at, mask = fields[32], fields[33]
    fpu = await thread.copyin(fpu_at, FXSAVE_BYTES) if fpu_at else None
    core.switch(context)
    for register, value in zip(_ORDER, registers, strict=True):
        core.poke(context, register, value)
    core.poke(context, cpu.RIP, rip)
    core.write_flags((core.read_flags() & ~FLAGS_USER) | (flags & FLAGS_USER) | 0x202)
    if fpu is not None:
        core.write_fpu(fpu)
    thread.alternate_stack = (stack[0], stack[3], stack[1] & SS_DISABLE)
    thread.blocked = mask & ~UNBLOCKABLE
    thread.restart = RESTART_NEVER
    if thread.kernel.interrupts(thread):
        thread.work = True
