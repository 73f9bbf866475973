"""Signal-driven input and output: O_ASYNC, F_SETOWN, F_SETSIG (fcntl(2), signal(7)).

A description with O_ASYNC has a `Sigio` in its wait queue. Each wake-up of the queue sends the
owner SIGIO, or the signal that F_SETSIG chose, which then tells the descriptor and the event.
The right to signal the owner is that of who named it, at that time (sigio_perm in Linux).
"""

from __future__ import annotations

import struct
from errno import EINVAL, ESRCH
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc.abi import O_ASYNC, POLLERR, POLLHUP, POLLIN, POLLOUT, POLLPRI, SIGURG
from services.proc.signals import send
from services.proc.signals.core import SigInfo

if TYPE_CHECKING:
    from services.proc.descriptors import OpenFile
    from services.proc.kernel import Kernel
    from services.proc.task import Process, Thread

SIGIO = 29
OWNER_THREAD, OWNER_PROCESS, OWNER_GROUP = 0, 1, 2
"""F_OWNER_TID, F_OWNER_PID, F_OWNER_PGRP."""
BANDS = ((POLLIN, 1), (POLLOUT, 2), (POLLERR, 4), (POLLPRI, 5), (POLLHUP, 6))
"""An event, and the si_code that tells it (POLL_IN, ...)."""
LAST_SIGNAL = 64


class Sigio:
    """Whom a description notifies, and how; an `Entry` of its queue, a `Watcher` of its end."""

    __slots__ = (
        "_armed",
        "_euid",
        "_file",
        "_kernel",
        "_uid",
        "descriptor",
        "kind",
        "owner",
        "signal",
    )

    def __init__(self, kernel: Kernel, file: OpenFile) -> None:
        self._kernel = kernel
        self._file = file
        self._armed = False
        self._uid = self._euid = 0
        self.kind = OWNER_PROCESS
        self.owner = 0
        """A thread's, process's or group's number; 0: nobody."""
        self.signal = 0
        """F_SETSIG; 0: SIGIO without particulars."""
        self.descriptor = 0

    def own(self, thread: Thread, kind: int, owner: int) -> None:
        """F_SETOWN(_EX): ESRCH where nobody has that number; 0 names nobody."""
        kernel = self._kernel
        known = {
            OWNER_THREAD: lambda: owner in kernel.threads,
            OWNER_PROCESS: lambda: owner in kernel.processes,
            OWNER_GROUP: lambda: bool(kernel.group(owner)),
        }
        if owner and not known[kind]():
            raise PosixError(ESRCH)
        self.kind, self.owner = kind, owner
        credentials = thread.process.credentials
        self._uid, self._euid = credentials.ruid, credentials.euid

    def arm(self, on: bool) -> None:
        """O_ASYNC was set or cleared."""
        file = self._file
        if on == self._armed or file.queue is None:
            return
        self._armed = on
        if on:
            file.queue.add(self)
            if file.watchers is None:
                file.watchers = {}
            file.watchers[self] = None
        else:
            self.forget()

    def forget(self) -> None:
        """The description is closed, or no longer O_ASYNC."""
        self._armed = False
        if self._file.queue is not None:
            self._file.queue.discard(self)
        if self._file.watchers is not None:
            self._file.watchers.pop(self, None)

    def notify(self, events: int) -> None:
        """Something has happened: tell the owner."""
        if not self.owner or not self._file.flags & O_ASYNC:
            return
        self.tell(self._info(events or self._file.poll()))

    def tell(self, info: SigInfo) -> None:
        """Send a signal to the owner, if who named it may."""
        if self.kind == OWNER_THREAD:
            thread = self._kernel.threads.get(self.owner)
            if thread is not None and self._may(thread.process):
                send.to_thread(thread, info)
            return
        if self.kind == OWNER_GROUP:
            processes = self._kernel.group(self.owner)
        else:
            process = self._kernel.processes.get(self.owner)
            processes = [process] if process is not None and not process.zombie else []
        for process in processes:
            if self._may(process):
                send.to_process(process, info)

    def _info(self, events: int) -> SigInfo:
        if not self.signal:
            return send.kernel_info(SIGIO)
        code = next((code for bit, code in BANDS if events & bit), 1)
        fields = struct.pack("<qi", events & 0xFFFF, self.descriptor)
        return SigInfo(self.signal, code, 0, fields)

    def _may(self, target: Process) -> bool:
        credentials = target.credentials
        theirs = (credentials.ruid, credentials.suid)
        return self._euid == 0 or self._euid in theirs or self._uid in theirs


def of(thread: Thread, file: OpenFile) -> Sigio:
    """A description's `Sigio`, made when it is first asked for."""
    if file.sigio is None:
        file.sigio = Sigio(thread.kernel, file)
    return file.sigio


def set_async(thread: Thread, file: OpenFile, on: bool) -> None:
    """O_ASYNC, by F_SETFL or FIOASYNC."""
    file.flags = file.flags | O_ASYNC if on else file.flags & ~O_ASYNC
    if on or file.sigio is not None:
        of(thread, file).arm(on)


def set_owner(thread: Thread, file: OpenFile, number: int) -> None:
    """F_SETOWN: a process, or a group where negative; ESRCH, EINVAL."""
    if number == -(1 << 31):
        raise PosixError(EINVAL)
    kind = OWNER_GROUP if number < 0 else OWNER_PROCESS
    of(thread, file).own(thread, kind, abs(number))


def owner_of(file: OpenFile) -> int:
    """F_GETOWN: as F_SETOWN takes it."""
    if file.sigio is None:
        return 0
    return -file.sigio.owner if file.sigio.kind == OWNER_GROUP else file.sigio.owner


def set_signal(thread: Thread, file: OpenFile, number: int, descriptor: int) -> None:
    """F_SETSIG: EINVAL for what is no signal."""
    if not 0 <= number <= LAST_SIGNAL:
        raise PosixError(EINVAL)
    sigio = of(thread, file)
    sigio.signal, sigio.descriptor = number, descriptor


def urgent(file: OpenFile) -> None:
    """Urgent data have come: SIGURG to the owner, with or without O_ASYNC (socket(7))."""
    if file.sigio is not None:
        file.sigio.tell(send.kernel_info(SIGURG))
