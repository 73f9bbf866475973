"""What proc's objects cost in bytes, measured when the kernel starts (`bus/census.py`)."""

from __future__ import annotations

import itertools
from sys import getsizeof
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from bus.costs import coroutine_bytes, cost_of
from services.drivers.ram.api import PAGE_BYTES
from services.fs.api import Attr
from services.proc.alarms import ALARM, NOTICE, PosixTimer
from services.proc.descriptors import DESCRIPTOR, DESCRIPTORS, Descriptor, DescriptorTable, OpenFile
from services.proc.files.epoll import ITEM, EpollFile
from services.proc.files.eventfd import EventFile
from services.proc.files.fsfile import FsFile
from services.proc.files.inet import NetSocket
from services.proc.files.inotify import InotifyFile
from services.proc.files.pipe import PipeEnd
from services.proc.files.pipe_core import PIPE, Pipe
from services.proc.files.script import ScriptFile
from services.proc.files.signalfd import SignalFile
from services.proc.files.socket import Socket
from services.proc.files.timerfd import TimerFile
from services.proc.files.unix.endpoint import UnixSocket
from services.proc.files.unix.messages import MESSAGE, Message
from services.proc.files.unix.registry import registry_of
from services.proc.files.unix.rights import PARCEL, Parcel
from services.proc.files.unix.stream import StreamSocket
from services.proc.futex import WAITER, Waiter
from services.proc.park import TIMER, Timer, WaitQueue
from services.proc.signals.core import ACTIONS, SIGNAL, Actions, SigInfo
from services.proc.space import AddressSpace
from services.proc.task import PROCESS, THREAD, Directories, Process, Thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from services.drivers.cpu.api import Core

FAR = 1 << 40
ENTRY_BYTES = 56
"""A place in a large table that has just grown: 24 bytes, of which half are in use, and its index
(CPython's Objects/dictobject.c)."""
ONE_ENTRY_BYTES = getsizeof({1: 1}) - getsizeof({})
METHOD_BYTES = 64
"""A bound method: the callback of an armed timer."""
VIEW_BYTES = getsizeof(memoryview(b""))
"""The flags of code pages, as its user memory sees them."""
TASK_BYTES = 1400
"""A Trio task, its context, its name and its places in Trio's own tables."""


class _Samples:
    """What samples belong to; shared by all, so it is not in any one's price."""

    kernel: Any

    def __init__(self, core: Core) -> None:
        self.numbers: Iterator[int] = itertools.count(FAR)
        ram: Any = SimpleNamespace(bytes=memoryview(b""), words=bytes(PAGE_BYTES), frames=0)
        self.core = core
        self.fs: Any = SimpleNamespace()
        self.kernel = SimpleNamespace(
            ram=ram, net=self.fs, board=self.fs, net_queues={}, extra={}, fs=self.fs
        )
        self.memory: Any = ram.bytes
        self.parent = Process(self.kernel, 1, None)
        self.owner: Any = SimpleNamespace(process=self.parent, kernel=self.kernel)
        self.plain = OpenFile(0)

    def alarm(self) -> PosixTimer:
        """A timer of timer_create(2)."""
        timer = PosixTimer(self.parent, None, 1, next(self.numbers), next(self.numbers))
        timer.interval_ns = next(self.numbers)
        return timer

    def attr(self) -> Attr:
        """A pipe's or socket's own."""
        n = self.numbers
        now = next(n)
        return Attr(next(n), 15, 0o600, 1, 0, 0, 0, 0, 0, 4096, now, now, now, now)

    def process(self) -> Process:
        """One as fork makes it."""
        process = Process(self.kernel, next(self.numbers), self.parent)
        process.actions = self.parent.actions
        process.credentials = self.parent.credentials.changed()
        process.directories = Directories(1, 1, 0o022)
        process.space = AddressSpace(self.kernel.ram, self.fs, self.fs, next(self.numbers), 0)
        process.threads = {next(self.numbers): self.owner}
        process.exe_path = b"/usr/bin/%15d" % next(self.numbers)
        process.auxv = b"%336d" % next(self.numbers)
        process.start_ns = next(self.numbers)
        process.comm = b"%15d" % next(self.numbers)
        return process

    def thread(self) -> Thread:
        """One that has run."""
        process: Any = SimpleNamespace(space=self.plain, comm=b"")
        thread = Thread(self.kernel, process, next(self.numbers), self.core.new_context(0))
        thread.resumed_ns = next(self.numbers)
        return thread

    def watched(self, made: list[EpollFile]) -> Any:
        """A file and the interest in it, of an epoll of its own."""
        epoll, file = EpollFile(), OpenFile(0)
        made.append(epoll)
        file.queue = WaitQueue()
        epoll.add(file, next(self.numbers), 1, next(self.numbers))
        return file

    def unwatched(self) -> Any:
        """The same without interest."""
        file = OpenFile(0)
        file.queue = WaitQueue()
        return file

    def unix_socket(self) -> Socket:
        """A stream socket that is in the registry."""
        socket = StreamSocket(self.owner, 0, self.attr())
        del registry_of(self.kernel).sockets[socket]
        socket.credentials = (next(self.numbers), 0, 0, ())
        return socket

    def inet_socket(self) -> Socket:
        """proc's part of a socket of net's."""
        slot = next(self.numbers)
        opened: Any = SimpleNamespace(protocol=6, socket=1, slot=slot)
        socket = NetSocket(self.owner, opened, 2, 1, 0, self.attr())
        del self.kernel.net_queues[slot]
        return socket


def measure(core: Core) -> None:
    """Find all costs, once a process."""
    if PROCESS.cost_bytes:
        return
    s = _Samples(core)
    n, fs, kernel, owner = s.numbers, s.fs, s.kernel, s.owner
    ACTIONS.measure(Actions)
    PROCESS.measure(s.process, beside_bytes=2 * ENTRY_BYTES + VIEW_BYTES)
    from services.proc.trap import Gate, relay  # the gate imports every room

    running = coroutine_bytes(Gate.run_thread) + coroutine_bytes(relay)
    THREAD.measure(s.thread, beside_bytes=TASK_BYTES + running + 2 * ENTRY_BYTES)
    DESCRIPTOR.measure(lambda: Descriptor(s.plain, False))
    DESCRIPTORS.measure(DescriptorTable)
    PIPE.measure(lambda: Pipe(s.memory))
    PARCEL.measure(lambda: Parcel([], 0))
    MESSAGE.measure(lambda: Message(b"", 768, fs, (next(n), 0, 0)), beside_bytes=16)
    TIMER.measure(lambda: (next(n), Timer(next(n), _nothing)), beside_bytes=32)
    ALARM.measure(s.alarm, beside_bytes=METHOD_BYTES)
    NOTICE.measure(lambda: SigInfo(40, -2, source=s.owner))
    WAITER.measure(
        lambda: ((next(n), next(n)), {Waiter(s.plain, 1, None): None}),  # type: ignore[arg-type]
        beside_bytes=ENTRY_BYTES,
    )
    SIGNAL.measure(lambda: SigInfo(40, -1, 0, bytes(112)), beside_bytes=8)
    pipe = Pipe(s.memory)
    files: dict[type[OpenFile], Callable[[], OpenFile]] = {
        OpenFile: lambda: OpenFile(next(n)),
        FsFile: lambda: FsFile(fs, next(n), 0o100644, 0),
        PipeEnd: lambda: PipeEnd(pipe, 0, s.attr(), fs),
        EventFile: lambda: EventFile(next(n), 0, False),
        TimerFile: lambda: TimerFile(kernel, 1, 0),
        SignalFile: lambda: SignalFile(next(n), 0),
        InotifyFile: lambda: InotifyFile(fs, next(n), 0),
        EpollFile: EpollFile,
        ScriptFile: lambda: ScriptFile(fs, next(n)),
        Socket: lambda: Socket(owner, 1, 0, 0, s.attr()),
    }
    for kind, build in files.items():
        kind.heap.measure(build)
    UnixSocket.heap.measure(s.unix_socket, beside_bytes=ENTRY_BYTES)
    NetSocket.heap.measure(s.inet_socket, beside_bytes=ENTRY_BYTES)
    _measure_items(s)


def _measure_items(s: _Samples) -> None:
    """Interest in a file is a cycle while it lasts, so it has to be ended by hand."""
    made: list[EpollFile] = []
    cost = (
        cost_of(lambda: s.watched(made))
        - cost_of(s.unwatched)
        - EpollFile.heap.cost_bytes
        - ONE_ENTRY_BYTES
    )
    for epoll in made:
        for item in list(epoll.items.values()):
            epoll.remove(item)
        epoll.poll()
    ITEM.price(cost)


def _nothing() -> None:
    """A timer's callback."""
