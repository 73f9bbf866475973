"""Are the tables of processes and threads whole? Asked when the service is restarted, and by tests.

Raises KernelBug at the first that is not:
- a process is found by its pid and is its parent's child; only init has no parent;
- a thread is found by its tid and belongs to a process that is there;
- a zombie has neither threads nor memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bus.errors import KernelBug

if TYPE_CHECKING:
    from services.proc.kernel import Kernel


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise KernelBug(f"proc: {what}")


def check(kernel: Kernel) -> None:
    """Raise KernelBug unless the tables agree with each other."""
    for pid, process in kernel.processes.items():
        _require(process.pid == pid, f"process {process.pid} is entered as {pid}")
        parent = process.parent
        if parent is None:
            _require(process is kernel.init, f"process {pid} has no parent")
        else:
            _require(parent.children.get(pid) is process, f"process {pid} is nobody's child")
        for child in process.children.values():
            _require(child.parent is process, f"process {child.pid} has another parent than {pid}")
        for tid, thread in process.threads.items():
            _require(kernel.threads.get(tid) is thread, f"thread {tid} of {pid} is not entered")
        if process.zombie:
            held = process.threads or process.space is not None
            _require(not held, f"zombie {pid} has threads or memory")
    for tid, thread in kernel.threads.items():
        _require(thread.tid == tid, f"thread {thread.tid} is entered as {tid}")
        mine = thread.process.threads.get(tid) is thread
        _require(mine, f"thread {tid} is not one of process {thread.process.pid}")
