"""Opening what a magic link leads to: /proc/self/fd/N, /dev/stdin, /proc/PID/exe (proc(5)).

On Linux that opens the inode again, so the new description has its own offset, flags and rights.
fs opens by path, so the file's own path is tried first, and counts if it leads to the same file;
one that has no path any more (deleted, or a memfd) is opened by its node.
"""

from __future__ import annotations

from errno import EISDIR, ELOOP, ENOENT, ENOTDIR, ENXIO
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.fs.api import (
    Cred,
    Open,
    Opened,
    PathOf,
    Release,
    Retain,
    StatNode,
    Truncate,
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
from services.proc.files.root import whole_tree
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
    if flags & O_DIRECTORY and kind != S_IFDIR:
        raise PosixError(ENOTDIR)
    if not flags & O_PATH:
        if kind == S_IFLNK:
            raise PosixError(ELOOP)
        if kind == S_IFDIR and wanted(flags) & WRITE:
            raise PosixError(EISDIR)
        check_node(attr, cred, wanted(flags))
        if kind == S_IFREG:
            opened = await _by_path(thread, node, (attr.dev, attr.ino), flags)
            if opened is not None:
                return await adopt(thread, opened, flags)
    await fs.call(Retain(node))
    try:
        if flags & O_TRUNC and kind == S_IFREG and not flags & O_PATH:
            await fs.call(Truncate(node, 0, cred))
    except BaseException:
        await fs.call(Release(node))
        raise
    return await adopt(thread, Opened(node, attr.mode, attr.rdev, attr.size), flags)


async def _by_path(
    thread: Thread, node: int, identity: tuple[int, int], flags: int
) -> Opened | None:
    """Open the node's own path, if that still leads to the same file."""
    fs = thread.kernel.fs
    path = await fs.call(PathOf(node, 0))
    try:
        async with whole_tree(thread.kernel) as at:
            opened = await fs.call(Open(at, path, flags & ~O_TRUNC, 0, ROOT))
    except PosixError as error:
        if error.errno in (ENOENT, ENOTDIR):
            return None
        raise
    if type(opened) is not Opened:
        return None
    attr = await fs.call(StatNode(opened.node))
    if (attr.dev, attr.ino) != identity:
        await fs.call(Release(opened.node))
        return None
    if flags & O_TRUNC:
        await fs.call(Truncate(opened.node, 0, thread.process.credentials.cred))
    return opened
