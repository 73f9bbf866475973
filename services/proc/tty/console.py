"""The console: the terminal that the `hardtack` command runs on, as the guest's own (console(4)).

One task types what the driver reads; output goes to the driver in the writer's own task, so that
a write has reached the host when it returns. What cannot go out there (a write with O_NONBLOCK or
cut short by a signal, the echo) is carried by a second task. A third follows the window's size.

Where only output is a terminal the driver leaves the host's settings alone, and the host does the
output processing.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import trio

from bus.errors import PosixError, ServiceUnavailable
from services.drivers.console.api import DescribeStream, ReadStream, WaitResize, WriteStream
from services.fs.api import Cred, Opened, Release, Resolve, SetAttr
from services.proc.abi import O_LARGEFILE, O_RDONLY, O_RDWR, O_WRONLY
from services.proc.files.root import whole_tree
from services.proc.files.stream import StreamFile
from services.proc.park import Interrupted
from services.proc.tty import jobs
from services.proc.tty.file import TerminalFile
from services.proc.tty.terminal import Terminal

if TYPE_CHECKING:
    from services.proc.descriptors import OpenFile
    from services.proc.kernel import Kernel
    from services.proc.task import Process, Thread

RDEV = os.makedev(5, 1)
NAME = b"/dev/console"
CHUNK_BYTES = 65536
LAST_WORDS_S = 1.0
ROOT = Cred(0, 0)


class _Alarm:
    """Lets a task of ours wait in a wait queue."""

    def __init__(self) -> None:
        self.event = trio.Event()

    def notify(self, events: int) -> None:
        """An `Entry` of a wait queue."""
        self.event.set()


class Console(Terminal):
    """See the module's docstring; `source` and `target` are the driver's streams."""

    def __init__(self, kernel: Kernel, source: int | None, target: int) -> None:
        super().__init__(kernel, RDEV, NAME)
        self._source = source
        self._target = target
        self._pushing = False
        self._discards = 0
        self.discipline.output.transparent = source is None
        self._wanted = trio.Event()

    def start(self) -> None:
        """Begin to read, to carry and to follow the size."""
        nursery = self.kernel.nursery
        assert nursery is not None
        if self._source is not None:
            nursery.start_soon(self._type, self._source, name="console input")
        nursery.start_soon(self._carry, name="console output")
        nursery.start_soon(self._follow_size, name="console size")

    async def _type(self, source: int) -> None:
        """What the driver reads is typed here; its end is a hang-up."""
        console = self.kernel.console
        while True:
            try:
                data = await console.call(ReadStream(source, CHUNK_BYTES))
            except (PosixError, ServiceUnavailable):
                data = b""
            if not data:
                self.gone = True
                self.hang_up()
                return
            while data := data[self.feed(data) :]:
                alarm = _Alarm()
                self.roomy.add(alarm)
                await alarm.event.wait()
                self.roomy.discard(alarm)

    async def _carry(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            await self.push(None)

    async def _follow_size(self) -> None:
        while True:
            rows, columns = await self.kernel.console.call(WaitResize())
            self.resize_to(rows, columns)

    def show_echo(self) -> None:
        """Echo comes from no writer's task: have it carried."""
        super().show_echo()
        self.carry()

    def emit(self, data: bytes) -> None:
        """The writer pushes."""
        self.out += data

    def carry(self) -> None:
        """Have the output task look."""
        if self.out:
            self._wanted.set()

    async def push(self, thread: Thread | None) -> None:
        """Hand output to the host, waiting as needed; a signal leaves the rest to the task."""
        if self._pushing:
            return
        self._pushing = True
        rest, discards = b"", self._discards
        try:
            while self.out:
                rest, discards = bytes(self.out[:CHUNK_BYTES]), self._discards
                del self.out[:CHUNK_BYTES]
                call = self.kernel.console.call(WriteStream(self._target, rest))
                count = await (call if thread is None else thread.interruptible(call))
                if discards == self._discards:
                    self.out[:0] = rest[count:]
                rest = b""
        except Interrupted:
            pass
        except (PosixError, ServiceUnavailable):
            rest = b""
            self.out.clear()  # nobody sees it any more
        finally:
            if discards == self._discards:
                self.out[:0] = rest
            self._pushing = False
            self.carry()
        self.drained()

    def discard_output(self) -> None:
        """What is being handed over just now is discarded too, as far as the host has not it."""
        self._discards += 1
        super().discard_output()

    async def last_words(self) -> None:
        """A file was closed: do not lose output when the kernel stops soon after."""
        if self.out and not self.opens:
            with trio.move_on_after(LAST_WORDS_S):
                await self.push(None)


async def attach_console(kernel: Kernel, process: Process) -> dict[int, OpenFile]:
    """The first program's descriptors 0, 1 and 2, and its controlling terminal if there is one.

    Each is the console where the host's stream is a terminal, and else a `StreamFile`; one that
    the host has closed stays closed.
    """
    streams = [await kernel.console.call(DescribeStream(stream)) for stream in range(3)]
    terminals = [stream for stream, info in enumerate(streams) if info.terminal]
    files: dict[int, OpenFile] = {}
    if terminals:
        shared = await _open_console(kernel, process, terminals)
        files.update(dict.fromkeys(terminals, shared))
        size = next(info for info in streams if info.terminal)
        shared.terminal.resize_to(size.rows, size.columns)
    for stream in range(3):
        if stream not in files and streams[stream].mode:
            file = StreamFile(kernel.console, stream, O_WRONLY if stream else O_RDONLY)
            await file.describe()
            files[stream] = file
    return files


async def _open_console(kernel: Kernel, process: Process, terminals: list[int]) -> TerminalFile:
    source = 0 if 0 in terminals else None
    target = next(stream for stream in (1, 2, 0) if stream in terminals)
    console = Console(kernel, source, target)
    async with whole_tree(kernel) as at:
        found = await kernel.fs.call(Resolve(at, NAME, ROOT))
    assert type(found) is Opened
    try:
        owner = process.credentials.cred
        if owner.uid:
            await kernel.fs.call(SetAttr(found.node, ROOT, uid=owner.uid))
    except BaseException:
        await kernel.fs.call(Release(found.node))
        raise
    kernel.terminals[RDEV] = console
    kernel.extra["raw_console"] = source is not None
    jobs.take(process, console)
    console.start()
    return TerminalFile(kernel, found.node, O_RDWR | O_LARGEFILE, console)
