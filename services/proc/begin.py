"""How a program starts that no program started: the first one, and those of `hardtack exec`.

It gets a process below init, a session of its own, and descriptors 0 to 2 from whoever starts it.
"""

from __future__ import annotations

from errno import EACCES
from typing import TYPE_CHECKING

import attrs
import trio

from bus.errors import PosixError, ServiceUnavailable
from services.drivers.console.api import ReadStream, WriteStream
from services.drivers.cpu import api as cpu
from services.fs.api import At, Foreign, Opened, Release, Resolve, Retain, RootNode
from services.proc import lifecycle
from services.proc.abi import O_LARGEFILE, O_RDONLY, O_RDWR, O_WRONLY, S_IFDIR, S_IFMT, S_IFREG
from services.proc.descriptors import DescriptorTable, OpenFile
from services.proc.files.stream import Driver, StreamFile
from services.proc.image import load
from services.proc.park import WaitQueue
from services.proc.signals import send
from services.proc.task import Credentials, Directories, Process, Session, Thread
from services.proc.tty import jobs, pty
from services.proc.tty.file import TerminalFile

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.proc.kernel import Kernel

CHUNK_BYTES = 65536
SIGHUP = 1


@attrs.frozen
class Program:
    """What is to be run, as whom, where."""

    argv: tuple[bytes, ...]
    env: tuple[bytes, ...]
    cwd: bytes
    credentials: Credentials


async def begin(
    kernel: Kernel,
    program: Program,
    attach: Callable[[Process], Awaitable[dict[int, OpenFile]]],
    loaded: Callable[[Process, bytes], None],
) -> Process:
    """Start it; `attach` makes its files, `loaded` is told before it runs. PosixError."""
    process = Process(kernel, kernel.new_pid(), kernel.init)
    process.credentials = program.credentials
    process.session, process.pgid = Session(process.pid), process.pid
    process.start_ns = await kernel.timers.now()
    process.descriptors = DescriptorTable()
    root = await kernel.fs.call(RootNode())
    await kernel.fs.call(Retain(root))
    process.directories = Directories(root, root, 0o022)
    kernel.processes[process.pid] = process
    assert kernel.init is not None
    kernel.init.children[process.pid] = process
    try:
        await _enter_directory(kernel, process, program.cwd)
        await _load(kernel, process, program, attach, loaded)
    except BaseException:
        await lifecycle.leave_directories(process)
        lifecycle.reap(process)
        raise
    return process


async def _enter_directory(kernel: Kernel, process: Process, cwd: bytes) -> None:
    directories = process.directories
    assert directories is not None
    try:
        opened = await kernel.fs.call(
            Resolve(directories.at, cwd, process.credentials.cred, directory=True, search=True)
        )
    except PosixError as error:
        raise load.Unloadable(
            error.errno, f"working directory {cwd.decode(errors='replace')} cannot be entered"
        ) from None
    if type(opened) is Foreign:
        directories.cwd_foreign = opened.rest
        return
    assert type(opened) is Opened
    await kernel.fs.call(Release(directories.cwd))
    directories.move(opened.node)


async def _find_program(kernel: Kernel, process: Process, name: bytes, env: list[bytes]) -> bytes:
    """Look a bare name up in PATH, as execvp(3) does."""
    if b"/" in name:
        return name
    directories = process.directories
    assert directories is not None
    path = next((e[5:] for e in env if e.startswith(b"PATH=")), b"/usr/bin:/bin")
    last = PosixError(2)
    for folder in path.split(b":"):
        candidate = (folder or b".") + b"/" + name
        try:
            opened = await kernel.fs.call(
                Resolve(directories.at, candidate, process.credentials.cred, execute=True)
            )
        except PosixError as error:
            if error.errno == 13:
                last = error
            continue
        if type(opened) is Opened:
            await kernel.fs.call(Release(opened.node))
            if opened.mode & 0o170000 == 0o100000:
                return candidate
    raise last


async def _why_not(kernel: Kernel, process: Process, at: At, path: bytes) -> PosixError:
    """EACCES, told for a person: a directory, or a file that may not be executed."""
    try:
        found = await kernel.fs.call(Resolve(at, path, process.credentials.cred))
    except PosixError as error:
        return error
    if type(found) is not Opened:
        return PosixError(EACCES)
    await kernel.fs.call(Release(found.node))
    if found.mode & S_IFMT == S_IFDIR:
        return load.Unloadable(EACCES, "it is a directory (name a program in it)")
    if found.mode & S_IFMT != S_IFREG:
        return load.Unloadable(EACCES, "it is not a regular file")
    return load.Unloadable(EACCES, "it has no execute permission (chmod +x it)")


async def _load(
    kernel: Kernel,
    process: Process,
    program: Program,
    attach: Callable[[Process], Awaitable[dict[int, OpenFile]]],
    tell: Callable[[Process, bytes], None],
) -> None:
    argv, env = list(program.argv), list(program.env)
    directories = process.directories
    assert directories is not None
    load.check_arguments(argv, env)
    at: At = directories.at
    path = await _find_program(kernel, process, argv[0], env)
    try:
        found = await load.open_program(process, kernel, at, path, argv)
    except PosixError as error:
        if error.errno == EACCES and not isinstance(error, load.Unloadable):
            raise await _why_not(kernel, process, at, path) from None
        raise
    try:
        loaded = await load.load(kernel, process, found, at, env)
    except BaseException:
        await kernel.fs.call(Release(found.node))
        raise
    process.space = loaded.space
    process.exe, process.exe_path = loaded.node, loaded.path
    process.comm = path.rsplit(b"/", 1)[-1][:15]
    process.argv_range, process.env_range = loaded.built.argv_range, loaded.built.env_range
    process.auxv = loaded.built.auxv
    process.execed = True
    try:
        files = await attach(process)
    except BaseException:
        await loaded.space.leave()
        await kernel.fs.call(Release(found.node))
        raise
    assert process.descriptors is not None
    for fd, file in sorted(files.items()):
        process.descriptors.install(file, False, 1024, fd)
    context = kernel.core.new_context(loaded.space.root_paddr)
    kernel.core.poke(context, cpu.RSP, loaded.sp)
    kernel.core.poke(context, cpu.RIP, loaded.entry)
    tell(process, path)
    lifecycle.start_thread(kernel, Thread(kernel, process, process.pid, context))


# Programs that come by the control socket ---------------------------------------------------------


class _Alarm:
    """Lets a task of ours wait in a wait queue."""

    def __init__(self) -> None:
        self.event = trio.Event()

    def notify(self, events: int) -> None:
        """An `Entry` of a wait queue."""
        self.event.set()


async def _wait(queue: WaitQueue) -> None:
    alarm = _Alarm()
    queue.add(alarm)
    try:
        await alarm.event.wait()
    finally:
        queue.discard(alarm)


class Attached:
    """A program whose streams are those of a driver of its own, maybe through a terminal."""

    def __init__(
        self, kernel: Kernel, console: Driver, terminal: bool, size: tuple[int, int]
    ) -> None:
        self.kernel = kernel
        self._console = console
        self._pty: pty.Pty | None = None
        self._wants_terminal, self._size = terminal, size
        self.process: Process
        self._drained = trio.Event()

    async def begin(self, program: Program) -> None:
        """Start it. PosixError: it cannot be run."""
        try:
            self.process = await begin(self.kernel, program, self._attach, self._loaded)
        except BaseException:
            await self._end_terminal()
            raise

    def _loaded(self, process: Process, path: bytes) -> None:
        process.exit_watch = process.exit_watch or WaitQueue()

    async def _attach(self, process: Process) -> dict[int, OpenFile]:
        if self._wants_terminal:
            return await self._terminal(process)
        files: dict[int, OpenFile] = {}
        for number in range(3):
            flags = O_WRONLY if number else O_RDONLY
            file = StreamFile(self._console, number, flags)
            await file.describe()
            files[number] = file
        return files

    async def _terminal(self, process: Process) -> dict[int, OpenFile]:
        kernel = self.kernel
        terminal = self._pty = await pty.new_pair(kernel, process.credentials.cred)
        terminal.locked, terminal.was_open = False, True
        terminal.resize_to(*self._size)
        node = await pty.resolve(terminal)
        jobs.take(process, terminal)
        assert kernel.nursery is not None
        kernel.nursery.start_soon(self._type, terminal, name=f"input of pts/{terminal.index}")
        kernel.nursery.start_soon(self._carry, terminal, name=f"output of pts/{terminal.index}")
        return dict.fromkeys(range(3), TerminalFile(kernel, node, O_RDWR | O_LARGEFILE, terminal))

    async def _type(self, terminal: pty.Pty) -> None:
        while not terminal.gone:
            try:
                data = await self._console.call(ReadStream(0, CHUNK_BYTES))
            except (PosixError, ServiceUnavailable, trio.ClosedResourceError):
                data = b""
            if not data:
                return
            while data := data[terminal.feed(data) :]:
                await _wait(terminal.roomy)

    async def _carry(self, terminal: pty.Pty) -> None:
        try:
            while True:
                while terminal.out:
                    data = bytes(terminal.out[:CHUNK_BYTES])
                    del terminal.out[: len(data)]
                    terminal.drained()
                    await self._console.call(WriteStream(1, data))
                if terminal.gone:
                    return
                await _wait(terminal.master_queue)
        except (PosixError, ServiceUnavailable, trio.ClosedResourceError):
            terminal.out.clear()  # nobody sees it any more
        finally:
            self._drained.set()

    async def _end_terminal(self) -> None:
        terminal = self._pty
        if terminal is None or terminal.gone:
            return
        terminal.gone = True
        terminal.hang_up()
        if not terminal.opens:
            self.kernel.terminals.pop(terminal.rdev, None)
        terminal.carry()
        await pty.remove_name(terminal)
        await self._drained.wait()

    def resize(self, rows: int, columns: int) -> None:
        """The user's terminal has another size now."""
        if self._pty is not None:
            self._pty.resize_to(rows, columns)

    def signal(self, number: int) -> None:
        """Send a signal to the program and its group."""
        for member in self.kernel.group(self.process.pgid):
            send.to_process(member, send.kernel_info(number))

    def hang_up(self) -> None:
        """Its user has gone."""
        if self._pty is not None:
            self._pty.hang_up()
        else:
            self.signal(SIGHUP)

    async def wait(self) -> int:
        """Its wait(2) status, once it has ended and its last output is out."""
        process = self.process
        assert process.exit_watch is not None
        while not process.zombie:
            await _wait(process.exit_watch)
        await self._end_terminal()
        return process.exit_status
