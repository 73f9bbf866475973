"""Links of /proc: self, and the magic ones that lead to a process's own objects (proc(5))."""

from __future__ import annotations

from errno import ENOENT
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.fs.api import PathOf
from services.proc.files.device import DeviceFile
from services.proc.procfs.entry import Node, Open, Target, Within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.proc.descriptors import OpenFile
    from services.proc.procfs.entry import Entry, Spot


def self_link(spot: Spot) -> bytes:
    """/proc/self."""
    return b"%d" % spot.reader.process.pid


def thread_self(spot: Spot) -> bytes:
    """/proc/thread-self."""
    process, thread = spot.reader.process, spot.reader.thread
    return b"%d/task/%d" % (process.pid, process.pid if thread is None else thread.tid)


async def path_of(spot: Spot, node: int) -> bytes:
    """Where a node is, as the reader sees it."""
    directories = spot.reader.process.directories
    assert directories is not None
    return await spot.kernel.fs.call(PathOf(node, directories.root))


def exe(spot: Spot) -> Target:
    """/proc/PID/exe: the program."""
    node = spot.subject.exe
    if node is None:
        raise PosixError(ENOENT)
    return Node(node)


def cwd(spot: Spot) -> Target:
    """/proc/PID/cwd."""
    directories = spot.subject.directories
    if directories is None:
        raise PosixError(ENOENT)
    if directories.cwd_foreign is not None:
        return Within(directories.cwd_foreign)
    return Node(directories.cwd)


def root(spot: Spot) -> Target:
    """/proc/PID/root."""
    directories = spot.subject.directories
    if directories is None:
        raise PosixError(ENOENT)
    return Node(directories.root)


def file_of(spot: Spot) -> OpenFile:
    """The description behind a descriptor of fd/ or fdinfo/; it may be closed meanwhile."""
    table, fd = spot.subject.descriptors, spot.fd
    if table is None or fd is None or fd not in table.slots:
        raise PosixError(ENOENT)
    return table.slots[fd].file


def descriptor(spot: Spot) -> Target:
    """/proc/PID/fd/N."""
    return Open(file_of(spot))


def descriptor_bits(spot: Spot) -> int:
    """The permissions that fd/N shows tell how it was opened."""
    file = file_of(spot)
    return (0o500 if file.readable else 0) | (0o300 if file.writable else 0)


async def text(spot: Spot) -> bytes:
    """What readlink(2) says of a magic link."""
    target = spot.entry.target(spot)  # type: ignore[attr-defined]
    if isinstance(target, Within):
        return (b"/proc/" + target.rest).rstrip(b"/")
    if isinstance(target, Node):
        return await path_of(spot, target.node)
    file: OpenFile = target.file
    node = file.device_node if isinstance(file, DeviceFile) else file.node()
    return await (file.path() if node is None else path_of(spot, node))


class Descriptors:
    """The family of fd/ and fdinfo/."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry

    def numbers(self, spot: Spot) -> Sequence[int]:
        """Open descriptors."""
        table = spot.subject.descriptors
        return sorted(table.slots) if table is not None else ()

    def enter(self, spot: Spot, number: int) -> Spot | None:
        """One of them."""
        table = spot.subject.descriptors
        if table is None or number not in table.slots:
            return None
        return spot.child(self.entry, b"%d" % number, fd=number)


class Processes:
    """The family of the top directory. A thread's number is found though it is not listed."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry

    def numbers(self, spot: Spot) -> Sequence[int]:
        """Pids."""
        return sorted(spot.kernel.processes)

    def enter(self, spot: Spot, number: int) -> Spot | None:
        """A process, by its pid or the tid of one of its threads."""
        process = spot.kernel.processes.get(number)
        thread = None
        if process is None:
            thread = spot.kernel.threads.get(number)
            if thread is None:
                return None
            process = thread.process
        return spot.child(self.entry, b"%d" % number, process=process, thread=thread)


class Threads:
    """The family of task/."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry

    def numbers(self, spot: Spot) -> Sequence[int]:
        """Tids."""
        return sorted(spot.subject.threads) or [spot.subject.pid]

    def enter(self, spot: Spot, number: int) -> Spot | None:
        """A thread; the leader's place stays when it has ended before the others."""
        thread = spot.subject.threads.get(number)
        if thread is None and number != spot.subject.pid:
            return None
        return spot.child(self.entry, b"%d" % number, thread=thread)
