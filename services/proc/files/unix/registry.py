"""Which AF_UNIX sockets there are, and their names: one `Registry` for the kernel.

An abstract name belongs to a type of socket, so that a stream and a datagram socket may have the
same, as on Linux; a path to the (device, inode) of its socket file, to which the binding owns a
reference at fs, so that the number stays its own after unlink(2).
"""

from __future__ import annotations

from errno import EADDRINUSE, ECONNREFUSED, EEXIST, EINVAL, ENOSPC, EPROTOTYPE
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.fs.api import (
    Access,
    At,
    Foreign,
    MakeNode,
    Opened,
    Release,
    Resolve,
    Stat,
    StatNode,
    Unlink,
)
from services.proc.abi import AT_FDCWD, S_IFMT, S_IFSOCK
from services.proc.calls import paths
from services.proc.files.unix.address import AUTO_NAMES, auto_name, path_of

if TYPE_CHECKING:
    from bus.core import Port
    from services.fs.api import Attr
    from services.proc.files.unix.endpoint import UnixSocket
    from services.proc.files.unix.rights import Parcel
    from services.proc.kernel import Kernel
    from services.proc.task import Thread

W_OK = 2


class Registry:
    """See the module's docstring."""

    __slots__ = ("_fs", "_next", "abstract", "parcels", "paths", "sockets", "users")

    def __init__(self, fs: Port) -> None:
        self._fs = fs
        self.sockets: dict[UnixSocket, None] = {}
        """All that are open, and those that wait to be accepted."""
        self.abstract: dict[tuple[int, bytes], UnixSocket] = {}
        self.paths: dict[tuple[int, int], UnixSocket] = {}
        self.parcels: dict[Parcel, None] = {}
        """What is in flight, in order of sending."""
        self.users: dict[int, int] = {}
        """How many descriptors each user has in flight."""
        self._next = 0

    def find_abstract(self, name: bytes, type_: int) -> UnixSocket:
        """ECONNREFUSED."""
        found = self.abstract.get((type_, name))
        if found is None:
            raise PosixError(ECONNREFUSED)
        return found

    def bind_abstract(self, socket: UnixSocket, name: bytes) -> None:
        """EADDRINUSE."""
        key = (socket.type, name)
        if key in self.abstract:
            raise PosixError(EADDRINUSE)
        self.abstract[key] = socket
        socket.address = name

    def autobind(self, socket: UnixSocket) -> None:
        """Give a name that is free, unless it has one; ENOSPC."""
        if socket.address:
            return
        for _ in range(AUTO_NAMES):
            self._next = (self._next + 1) % AUTO_NAMES
            name = auto_name(self._next)
            if (socket.type, name) not in self.abstract:
                self.bind_abstract(socket, name)
                return
        raise PosixError(ENOSPC)

    async def forget(self, socket: UnixSocket) -> None:
        """The socket is closed: its name is free, and its reference to a socket file goes."""
        self.sockets.pop(socket, None)
        key = (socket.type, socket.address)
        if self.abstract.get(key) is socket:
            del self.abstract[key]
        if socket.socket_inode is not None:
            del self.paths[socket.socket_inode]
        node, socket.socket_node, socket.socket_inode = socket.socket_node, None, None
        if node is not None:
            await self._fs.call(Release(node))


def registry_of(kernel: Kernel) -> Registry:
    """The kernel's one registry."""
    registry: Registry = kernel.extra.setdefault("unix", Registry(kernel.fs))
    return registry


# Paths ---------------------------------------------------------------------------------------


async def bind_path(thread: Thread, registry: Registry, socket: UnixSocket, name: bytes) -> None:
    """Make the socket file; EADDRINUSE where anything is there, and what mknod(2) says."""
    path, fs = path_of(name), thread.kernel.fs
    cred = thread.process.credentials.cred
    directories = thread.process.directories
    assert directories is not None
    at = paths.base(thread, AT_FDCWD, path)
    mode = S_IFSOCK | 0o777 & ~directories.umask
    try:
        reply = await paths.walk(thread, at, path, lambda at, p: MakeNode(at, p, mode, 0, cred))
        if type(reply) is Foreign:
            thread.kernel.extra["procfs"].refuse(thread, reply, "make")
    except PosixError as error:
        if error.errno == EEXIST:
            raise PosixError(EADDRINUSE) from None
        raise
    if socket.address:
        await paths.walk(thread, at, path, lambda at, p: Unlink(at, p, False, cred))
        raise PosixError(EINVAL)
    opened = await paths.walk(thread, at, path, lambda at, p: Resolve(at, p, cred, False))
    assert type(opened) is Opened
    attr = await fs.call(StatNode(opened.node))
    socket.socket_node = opened.node
    socket.socket_inode = (attr.dev, attr.ino)
    socket.address = name
    registry.paths[socket.socket_inode] = socket


async def find_path(thread: Thread, registry: Registry, name: bytes, type_: int) -> UnixSocket:
    """Whom a path leads to; ECONNREFUSED, EPROTOTYPE, EACCES, ENOENT, ..."""
    path = path_of(name)
    cred = thread.process.credentials.cred
    at = paths.base(thread, AT_FDCWD, path)

    def may_write(at: At, path: bytes) -> Access:
        return Access(at, path, W_OK, cred)

    access = await paths.walk(thread, at, path, may_write)
    if type(access) is Foreign:
        await thread.kernel.extra["procfs"].access(thread, access, W_OK)
    found = await paths.walk(thread, at, path, lambda at, p: Stat(at, p, cred))
    attr: Attr = (
        await thread.kernel.extra["procfs"].stat(thread, found, True)
        if isinstance(found, Foreign)
        else found
    )
    if attr.mode & S_IFMT != S_IFSOCK:
        raise PosixError(ECONNREFUSED)
    socket = registry.paths.get((attr.dev, attr.ino))
    if socket is None:
        raise PosixError(ECONNREFUSED)
    if socket.type != type_:
        raise PosixError(EPROTOTYPE)
    return socket


async def find(thread: Thread, registry: Registry, name: bytes, type_: int) -> UnixSocket:
    """Whom a valid name (`address.check`) belongs to, for a socket of type `type_`."""
    if name[2]:
        return await find_path(thread, registry, name, type_)
    return registry.find_abstract(name, type_)
