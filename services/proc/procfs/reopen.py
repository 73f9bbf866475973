"""Opening what a magic link leads to: /proc/self/fd/N, /dev/stdin, /proc/PID/exe (proc(5)).

On Linux that opens the inode again, so the new description has its own offset, flags and rights.
fs opens files and directories by their node, so also what has no path any more (deleted, a memfd).
"""

from __future__ import annotations

from errno import ELOOP, ENOTDIR, ENXIO
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.fs.api import (
    Cred,
    Opened,
    OpenNode,
    Retain,
    StatNode,
)
from services.proc.abi import (
    O_ACCMODE,
    O_CREAT,
    O_DIRECTORY,
    O_EXCL,
    O_NONBLOCK,
    O_PATH,
    O_RDONLY,
    O_TRUNC,
    O_WRONLY,
    S_IFDIR,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
)
from services.proc.files.device import DeviceFile
from services.proc.files.pipe import PipeEnd
from services.proc.files.stream import StreamFile
from services.proc.procfs.access import check_node
from services.proc.procfs.entry import READ, WRITE, Node

if TYPE_CHECKING:
    from services.proc.descriptors import OpenFile
    from services.proc.procfs import entry
    from services.proc.task import Thread

ROOT = Cred(0, 0)


def wanted(flags: int) -> int:
    """What open flags ask for, as permission bits."""
    mode = flags & O_ACCMODE
    want = WRITE if mode == O_WRONLY else READ if mode == O_RDONLY else READ | WRITE
    return want | (WRITE if flags & O_TRUNC else 0)


def node_behind(target: entry.Node | entry.Open) -> int | None:
    """The fs node of what a magic link leads to, if it has one."""
    if isinstance(target, Node):
        return target.node
    file = target.file
    return file.device_node if isinstance(file, DeviceFile) else file.node()


async def reopen(thread: Thread, target: entry.Node | entry.Open, flags: int) -> OpenFile:
    """open(2) through a magic link."""
    node = node_behind(target)
    if node is not None:
        return await _reopen_node(thread, node, flags)
    assert not isinstance(target, Node)
    file = target.file
    if flags & O_DIRECTORY:
        raise PosixError(ENOTDIR)
    if flags & O_PATH:
        raise PosixError(ENXIO)
    if isinstance(file, PipeEnd):
        attr = await file.stat(thread)
        check_node(attr, thread.process.credentials.cred, wanted(flags))
        kept = flags & (O_ACCMODE | O_NONBLOCK)
        return PipeEnd(file.pipe, kept, attr, thread.kernel.fs)
    if isinstance(file, StreamFile):
        again = StreamFile(thread.kernel.console, file.stream, flags & (O_ACCMODE | O_NONBLOCK))
        await again.describe()
        return again
    raise PosixError(ENXIO)


async def _reopen_node(thread: Thread, node: int, flags: int) -> OpenFile:
    from services.proc.calls.files import adopt

    fs, cred = thread.kernel.fs, thread.process.credentials.cred
    flags &= ~(O_CREAT | O_EXCL)
    attr = await fs.call(StatNode(node))
    kind = attr.mode & S_IFMT
    if not flags & O_PATH and kind in (S_IFREG, S_IFDIR):
        return await adopt(thread, await fs.call(OpenNode(node, flags, cred)), flags)
    if flags & O_DIRECTORY and kind != S_IFDIR:
        raise PosixError(ENOTDIR)
    if not flags & O_PATH:
        if kind == S_IFLNK:
            raise PosixError(ELOOP)
        check_node(attr, cred, wanted(flags))
    await fs.call(Retain(node))
    return await adopt(thread, Opened(node, attr.mode, attr.rdev, attr.size), flags)
