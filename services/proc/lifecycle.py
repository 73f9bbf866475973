"""How threads and processes begin, stop and end: clone(2), exit(2), wait(2).

A process ends in two steps. `exit_group` decides the status and tells every thread; each thread's
task ends by itself (`thread_gone`), and the last one releases what the process owned and leaves a
zombie for its parent. Nothing here can fail for want of memory: exit always proceeds.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.fs.api import DropLocks, Release
from services.proc import futex
from services.proc.abi import (
    CLD_CONTINUED,
    CLD_DUMPED,
    CLD_EXITED,
    CLD_KILLED,
    CLD_STOPPED,
    POLLIN,
    SIGCHLD,
    SIGCONT,
    SIGHUP,
)
from services.proc.descriptors import drop
from services.proc.park import WaitQueue
from services.proc.signals import send
from services.proc.signals.core import (
    SA_NOCLDSTOP,
    SA_NOCLDWAIT,
    SIG_IGN,
    SigInfo,
)
from services.vm.api import Usage as SpaceUse

if TYPE_CHECKING:
    from services.proc.kernel import Kernel
    from services.proc.task import Process, Thread


def start_thread(kernel: Kernel, thread: Thread, *, late: bool = False) -> None:
    """Enter a thread into the tables and start its task.

    `late`: its group was ended meanwhile, by somebody who did not know of this one.
    """
    kernel.threads[thread.tid] = thread
    thread.process.threads[thread.tid] = thread
    assert kernel.nursery is not None
    gate = kernel.extra["gate"]
    kernel.nursery.start_soon(gate.run_thread, thread, name=f"thread {thread.tid}")
    if late:
        kill_thread(thread)


def exit_group(process: Process, status: int) -> None:
    """exit_group(2), or death by a signal: `status` is the wait status. The first one counts."""
    if not process.exiting:
        process.exiting = True
        process.exit_status = status
        process.stopped = False
    for thread in process.threads.values():
        kill_thread(thread)


def kill_thread(thread: Thread) -> None:
    """Have one thread end as soon as it looks."""
    thread.killed = True
    thread.attend()


async def thread_gone(thread: Thread) -> None:
    """The end of a thread's task: tell who joins it; the last one ends the process."""
    kernel, process = thread.kernel, thread.process
    if thread.suspended is not None:
        thread.suspended[0].close()
        thread.suspended = None
    try:
        await futex.exit_robust(thread)
        if thread.clear_tid:
            await thread.copyout(thread.clear_tid, bytes(4))
            await futex.wake_address(thread, thread.clear_tid, 1)
    except PosixError:
        pass  # the program unmapped it; Linux ignores that too
    kernel.core.forget(thread.context)
    process.threads.pop(thread.tid, None)
    kernel.threads.pop(thread.tid, None)
    _hand_in(thread)
    if not process.threads:
        await _process_gone(process, thread)
    elif process.vfork_done is None:
        process.child_wait.wake()  # execve may wait for its siblings


def _hand_in(thread: Thread) -> None:
    """What the thread has used becomes its process's; so does what it uses from now on."""
    process = thread.process
    thread.kernel.settle(thread)
    if process.ended is None:
        process.ended = thread.usage
    else:
        process.ended.add(thread.usage)
        thread.usage = process.ended


async def _process_gone(process: Process, last: Thread) -> None:
    process.exiting = True
    for timer in (*process.itimers.values(), *process.timers.values()):
        timer.cancel()
    process.itimers.clear()
    if process.timers:
        process.timers.clear()
        process.kernel.timers.prune()
    descriptors, process.descriptors = process.descriptors, None
    if descriptors is not None:
        descriptors.users -= 1
        if descriptors.users == 0:
            for fd in sorted(descriptors.slots):
                file = descriptors.remove(fd)
                await release_locks(process, file.node())
                await drop(file, last)
    await leave_directories(process)
    await _leave_image(process, last)
    _leave_session(process)
    _reparent(process)
    process.kernel.settle(last)
    if process.ended is not None:
        process.kernel.ended.add(process.ended)
    process.zombie = True
    if process.exit_watch is not None:
        process.exit_watch.wake(POLLIN)
    if process.kernel.observe_exit is not None:
        process.kernel.observe_exit(process)
    _announce(process)


async def release_locks(process: Process, node: int | None) -> None:
    """close(2) drops the process's record locks on the file (fcntl(2))."""
    if node is not None and process.kernel.extra.get("record_locks"):
        await process.kernel.fs.call(DropLocks(node, f"process {process.pid}"))


async def leave_directories(process: Process) -> None:
    """Give up root and current directory."""
    directories, process.directories = process.directories, None
    if directories is not None:
        directories.users -= 1
        if directories.users == 0:
            await process.kernel.fs.call(Release(directories.root))
            await process.kernel.fs.call(Release(directories.cwd))


LOOK_AFTER_FAULTS = 128
"""How many page faults make a look at the resident size worth its time (a numpy pass)."""


async def look_at_size(process: Process) -> None:
    """Keep the most that was ever resident (ru_maxrss)."""
    if process.space is not None:
        use = await process.kernel.vm.call(SpaceUse(process.space.number))
        process.peak_bytes = max(process.peak_bytes, use.resident_bytes)


async def _leave_image(process: Process, last: Thread) -> None:
    if last.usage.minor_faults % LOOK_AFTER_FAULTS > LOOK_AFTER_FAULTS // 4:
        await look_at_size(process)
    space, process.space = process.space, None
    if space is not None:
        await space.leave()
    exe, process.exe = process.exe, None
    if exe is not None:
        await process.kernel.fs.call(Release(exe))
    release_vfork(process)


def release_vfork(process: Process) -> None:
    """The child of a vfork has its own space, or is gone: its parent goes on."""
    waiting, process.vfork_done = process.vfork_done, None
    if waiting is not None:
        waiting.wake()


def _leave_session(process: Process) -> None:
    """A session leader's end hangs the terminal up (setsid(2))."""
    terminal = process.session.terminal
    if terminal is not None and process.session.sid == process.pid:
        process.session.terminal = None
        terminal.disown()
        for member in process.kernel.group(terminal.foreground):
            send.to_process(member, send.kernel_info(SIGHUP))
            send.to_process(member, send.kernel_info(SIGCONT))


def _reparent(process: Process) -> None:
    ancestor = process.parent
    while ancestor is not None and not ancestor.subreaper:
        ancestor = ancestor.parent
    heir = ancestor or process.kernel.init
    if heir is None or heir is process:
        return
    for child in list(process.children.values()):
        del process.children[child.pid]
        child.parent = heir
        heir.children[child.pid] = child
        if child.death_signal:
            send.to_process(child, send.kernel_info(child.death_signal))
        if child.zombie:
            _announce(child)


def _announce(process: Process) -> None:
    """Tell the parent, or vanish where nobody wants to know."""
    kernel, parent = process.kernel, process.parent
    if parent is None or parent is kernel.init:
        reap(process)
        if process is kernel.main:
            kernel.run_init_done.wake()
        return
    action = parent.actions.get(SIGCHLD)
    unwanted = action.handler == SIG_IGN or action.flags & SA_NOCLDWAIT
    if process.exit_signal:
        send.to_process(parent, child_info(process, process.exit_status, process.exit_signal))
    if unwanted and process.exit_signal == SIGCHLD:
        reap(process)
    parent.child_wait.wake()


def reap(process: Process) -> None:
    """Take a zombie out of the tables."""
    kernel, parent = process.kernel, process.parent
    kernel.processes.pop(process.pid, None)
    if parent is not None:
        parent.children.pop(process.pid, None)
    if len(kernel.processes) <= 1:
        kernel.all_gone.wake()


def child_info(process: Process, status: int, signal: int = SIGCHLD) -> SigInfo:
    """The SIGCHLD of a change of state; `status` as wait(2) has it."""
    if status == 0xFFFF:
        code, value = CLD_CONTINUED, SIGCONT
    elif status & 0xFF == 0x7F:
        code, value = CLD_STOPPED, status >> 8
    elif status & 0x7F:
        code, value = (CLD_DUMPED if status & 0x80 else CLD_KILLED), status & 0x7F
    else:
        code, value = CLD_EXITED, status >> 8
    head = (process.pid, process.credentials.ruid, value)
    fields = struct.pack("<iIi4xqq", *head, *process.usage().ticks)
    return SigInfo(signal, code, 0, fields)


# Job control ---------------------------------------------------------------------------------


def stop_process(process: Process, signal: int) -> None:
    """A stop signal's default action."""
    if process.stopped or process.exiting:
        return
    process.stopped = True
    process.stop_report = signal << 8 | 0x7F
    for thread in process.threads.values():
        thread.work = True
    _report_stop(process)


def continue_process(process: Process, report: bool) -> None:
    """SIGCONT (or SIGKILL): let the threads go on."""
    process.stopped = False
    if report:
        process.stop_report = 0xFFFF
        _report_stop(process)
    _stopped_queue(process).wake()


def _stopped_queue(process: Process) -> WaitQueue:
    queues: dict[int, WaitQueue] = process.kernel.extra.setdefault("stopped", {})
    return queues.setdefault(process.pid, WaitQueue())


def _report_stop(process: Process) -> None:
    parent = process.parent
    if parent is None or parent is process.kernel.init:
        return
    assert process.stop_report is not None
    if not parent.actions.get(SIGCHLD).flags & SA_NOCLDSTOP:
        send.to_process(parent, child_info(process, process.stop_report))
    parent.child_wait.wake()


async def wait_while_stopped(thread: Thread) -> None:
    """Park until SIGCONT or the end."""
    process = thread.process
    queue = _stopped_queue(process)
    while process.stopped and not thread.killed:
        queue.add(thread.parker)
        thread.parker.arm()
        await thread.parker.park()
        queue.discard(thread.parker)
    if not process.stopped:
        process.kernel.extra["stopped"].pop(process.pid, None)


async def wait_uninterrupted(thread: Thread, process: Process) -> None:
    """vfork: wait until the child has released the space; only death ends it earlier."""
    while process.vfork_done is not None and not thread.killed:
        queue = process.vfork_done
        queue.add(thread.parker)
        thread.parker.arm()
        await thread.parker.park()
        queue.discard(thread.parker)
