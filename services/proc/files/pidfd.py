"""pidfd_open(2): a descriptor that stands for a process, whatever becomes of its number.

It becomes readable when the process has ended; a wait for it (waitid(2), P_PIDFD) or a signal to
it can never reach another process of the same number.
"""

from __future__ import annotations

from errno import ESRCH
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc.abi import O_RDWR, POLLIN
from services.proc.files.anon import AnonFile
from services.proc.park import WaitQueue

if TYPE_CHECKING:
    from services.proc.task import Process


class PidFile(AnonFile):
    """Stands for `process`, and keeps nothing of it but its name."""

    __slots__ = ("process",)
    kind = "pidfd"

    def __init__(self, process: Process, flags: int) -> None:
        super().__init__(O_RDWR | flags)
        self.process = process
        if process.exit_watch is None:
            process.exit_watch = WaitQueue()
        self.queue: WaitQueue = process.exit_watch

    def poll(self) -> int:
        """POLLIN when it has ended."""
        return POLLIN if self.process.zombie else 0

    def target(self) -> Process:
        """The process, while it is there (be it as a zombie); ESRCH."""
        process = self.process
        if process.kernel.processes.get(process.pid) is not process:
            raise PosixError(ESRCH)
        return process

    def fdinfo(self) -> bytes:
        """What /proc/PID/fdinfo adds (proc(5))."""
        process = self.process
        pid = process.pid if process.kernel.processes.get(process.pid) is process else -1
        return b"Pid:\t%d\nNSpid:\t%d\n" % (pid, pid)
