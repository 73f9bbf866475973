"""Calls that make, remove and rename names, and where a process stands in the tree."""

from __future__ import annotations

from errno import EBADF, EINVAL, ENOENT, ENOTDIR, EPERM, ERANGE, EXDEV
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.fs.api import (
    Foreign,
    Link,
    MakeDir,
    MakeNode,
    Opened,
    PathOf,
    Release,
    Rename,
    Resolve,
    Retain,
    StatNode,
    Symlink,
    Unlink,
)
from services.proc.abi import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_REMOVEDIR,
    AT_SYMLINK_FOLLOW,
    S_IFBLK,
    S_IFCHR,
    S_IFDIR,
    S_IFMT,
    S_IFREG,
    s32,
)
from services.proc.calls import paths
from services.proc.table import syscall

if TYPE_CHECKING:
    from bus.message import Request
    from services.fs.api import At
    from services.proc.task import Directories, Thread


def directories_of(t: Thread) -> Directories:
    """The thread's root, current directory and umask."""
    directories = t.process.directories
    assert directories is not None
    return directories


def refuse_foreign(t: Thread, reply: object, change: str = "make") -> None:
    """Nothing can be made or removed in /proc; `change` is make, unlink, rmdir or rename."""
    if type(reply) is Foreign:
        t.kernel.extra["procfs"].refuse(t, reply, change)


async def resolve_node(t: Thread, at: At, path: bytes, follow: bool = True) -> Opened | Foreign:
    """A node for a path, with a reference."""
    cred = t.process.credentials.cred
    return await paths.walk(t, at, path, lambda at, path: Resolve(at, path, cred, follow))


async def _make_directory(t: Thread, dirfd: int, path: int, mode: int) -> int:
    name = await paths.path_at(t, path)
    mode = mode & 0o1777 & ~directories_of(t).umask
    cred = t.process.credentials.cred
    at = paths.base(t, dirfd, name)
    refuse_foreign(t, await paths.walk(t, at, name, lambda at, p: MakeDir(at, p, mode, cred)))
    return 0


@syscall(83, "mkdir")
async def sys_mkdir(t: Thread, path: int, mode: int) -> int:
    """mkdir(2)."""
    return await _make_directory(t, AT_FDCWD, path, mode)


@syscall(258, "mkdirat")
async def sys_mkdirat(t: Thread, dirfd: int, path: int, mode: int) -> int:
    """mkdirat(2)."""
    return await _make_directory(t, dirfd, path, mode)


async def _make_node(t: Thread, dirfd: int, path: int, mode: int, rdev: int) -> int:
    name = await paths.path_at(t, path)
    kind = mode & S_IFMT or S_IFREG
    if kind == S_IFDIR:
        raise PosixError(EPERM)
    cred = t.process.credentials.cred
    if kind in (S_IFCHR, S_IFBLK) and cred.uid:
        raise PosixError(EPERM)
    mode = kind | mode & 0o7777 & ~directories_of(t).umask
    at = paths.base(t, dirfd, name)
    refuse_foreign(
        t, await paths.walk(t, at, name, lambda at, p: MakeNode(at, p, mode, rdev, cred))
    )
    return 0


@syscall(133, "mknod")
async def sys_mknod(t: Thread, path: int, mode: int, rdev: int) -> int:
    """mknod(2)."""
    return await _make_node(t, AT_FDCWD, path, mode & 0xFFFF_FFFF, rdev & 0xFFFF_FFFF)


@syscall(259, "mknodat")
async def sys_mknodat(t: Thread, dirfd: int, path: int, mode: int, rdev: int) -> int:
    """mknodat(2)."""
    return await _make_node(t, dirfd, path, mode & 0xFFFF_FFFF, rdev & 0xFFFF_FFFF)


async def _unlink(t: Thread, dirfd: int, path: int, directory: bool) -> int:
    name = await paths.path_at(t, path)
    cred = t.process.credentials.cred
    at = paths.base(t, dirfd, name)
    change = "rmdir" if directory else "unlink"
    reply = await paths.walk(t, at, name, lambda at, p: Unlink(at, p, directory, cred))
    refuse_foreign(t, reply, change)
    return 0


@syscall(87, "unlink")
async def sys_unlink(t: Thread, path: int) -> int:
    """unlink(2)."""
    return await _unlink(t, AT_FDCWD, path, False)


@syscall(84, "rmdir")
async def sys_rmdir(t: Thread, path: int) -> int:
    """rmdir(2)."""
    return await _unlink(t, AT_FDCWD, path, True)


@syscall(263, "unlinkat")
async def sys_unlinkat(t: Thread, dirfd: int, path: int, flags: int) -> int:
    """unlinkat(2)."""
    if flags & 0xFFFF_FFFF & ~AT_REMOVEDIR:
        raise PosixError(EINVAL)
    return await _unlink(t, dirfd, path, bool(flags & AT_REMOVEDIR))


async def _rename(t: Thread, olddirfd: int, old: int, newdirfd: int, new: int, flags: int) -> int:
    old_name, new_name = await paths.path_at(t, old), await paths.path_at(t, new)
    if flags & ~3 or flags == 3:
        raise PosixError(EINVAL)
    old_at, old_name = paths.settle(paths.base(t, olddirfd, old_name), old_name)
    new_at, new_name = paths.settle(paths.base(t, newdirfd, new_name), new_name)
    request: Request[Foreign | None] = Rename(
        old_at, old_name, new_at, new_name, flags, t.process.credentials.cred
    )
    refuse_foreign(t, await t.kernel.fs.call(request), "rename")
    return 0


@syscall(82, "rename", bound=1102 << 10)
async def sys_rename(t: Thread, old: int, new: int) -> int:
    """rename(2)."""
    return await _rename(t, AT_FDCWD, old, AT_FDCWD, new, 0)


@syscall(264, "renameat", bound=1102 << 10)
async def sys_renameat(t: Thread, olddirfd: int, old: int, newdirfd: int, new: int) -> int:
    """renameat(2)."""
    return await _rename(t, olddirfd, old, newdirfd, new, 0)


@syscall(316, "renameat2", bound=1102 << 10)
async def sys_renameat2(
    t: Thread, olddirfd: int, old: int, newdirfd: int, new: int, flags: int
) -> int:
    """renameat2(2)."""
    return await _rename(t, olddirfd, old, newdirfd, new, flags & 0xFFFF_FFFF)


async def _link(t: Thread, olddirfd: int, old: int, newdirfd: int, new: int, flags: int) -> int:
    if flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH):
        raise PosixError(EINVAL)
    empty = bool(flags & AT_EMPTY_PATH)
    old_name, new_name = await paths.path_at(t, old, empty), await paths.path_at(t, new)
    cred = t.process.credentials.cred
    if old_name:
        at = paths.base(t, olddirfd, old_name)
        found = await resolve_node(t, at, old_name, bool(flags & AT_SYMLINK_FOLLOW))
        if type(found) is Foreign:
            follow = bool(flags & AT_SYMLINK_FOLLOW)
            found = await t.kernel.extra["procfs"].resolve(
                t.process, found, follow, otherwise=EXDEV
            )
        assert type(found) is Opened
        node = found.node
    else:
        node = await node_of(t, olddirfd)
    try:
        target = paths.base(t, newdirfd, new_name)
        refuse_foreign(
            t, await paths.walk(t, target, new_name, lambda at, p: Link(node, at, p, cred))
        )
    finally:
        await t.kernel.fs.call(Release(node))
    return 0


async def node_of(t: Thread, fd: int) -> int:
    """The fs node behind a descriptor (AT_FDCWD: the current directory), with a reference."""
    number = s32(fd)
    node = directories_of(t).cwd if number == AT_FDCWD else t.file(number).node()
    if node is None:
        raise PosixError(EBADF)
    await t.kernel.fs.call(Retain(node))
    return node


@syscall(86, "link")
async def sys_link(t: Thread, old: int, new: int) -> int:
    """link(2)."""
    return await _link(t, AT_FDCWD, old, AT_FDCWD, new, 0)


@syscall(265, "linkat")
async def sys_linkat(
    t: Thread, olddirfd: int, old: int, newdirfd: int, new: int, flags: int
) -> int:
    """linkat(2)."""
    return await _link(t, olddirfd, old, newdirfd, new, flags & 0xFFFF_FFFF)


async def _symlink(t: Thread, target: int, dirfd: int, path: int) -> int:
    text, name = await paths.path_at(t, target), await paths.path_at(t, path)
    cred = t.process.credentials.cred
    at = paths.base(t, dirfd, name)
    refuse_foreign(t, await paths.walk(t, at, name, lambda at, p: Symlink(at, p, text, cred)))
    return 0


@syscall(88, "symlink")
async def sys_symlink(t: Thread, target: int, path: int) -> int:
    """symlink(2)."""
    return await _symlink(t, target, AT_FDCWD, path)


@syscall(266, "symlinkat")
async def sys_symlinkat(t: Thread, target: int, dirfd: int, path: int) -> int:
    """symlinkat(2)."""
    return await _symlink(t, target, dirfd, path)


# Where a process stands -----------------------------------------------------------------------


async def _change_directory(t: Thread, node: int) -> None:
    """Take over the reference to `node`."""
    directories = directories_of(t)
    old = directories.cwd
    directories.move(node)
    directories.cwd_foreign = None
    await t.kernel.fs.call(Release(old))


async def _search(t: Thread, path: bytes) -> Opened | Foreign:
    cred = t.process.credentials.cred
    return await paths.walk(
        t,
        paths.base(t, AT_FDCWD, path),
        path,
        lambda at, p: Resolve(at, p, cred, directory=True, search=True),
    )


@syscall(80, "chdir")
async def sys_chdir(t: Thread, path: int) -> int:
    """chdir(2)."""
    reply = await _search(t, await paths.path_at(t, path))
    if type(reply) is Foreign:
        await t.kernel.extra["procfs"].chdir(t, reply)
        return 0
    assert type(reply) is Opened
    await _change_directory(t, reply.node)
    return 0


@syscall(81, "fchdir")
async def sys_fchdir(t: Thread, fd: int) -> int:
    """fchdir(2)."""
    file = t.file(fd)
    procfs_chdir = getattr(file, "chdir", None)
    if procfs_chdir is not None:
        await procfs_chdir(t)
        return 0
    node = file.directory()
    mode = (await t.kernel.fs.call(StatNode(node))).mode
    if mode & S_IFMT != S_IFDIR:
        raise PosixError(ENOTDIR)
    await _search_node(t, node)
    await t.kernel.fs.call(Retain(node))
    await _change_directory(t, node)
    return 0


async def _search_node(t: Thread, node: int) -> None:
    from services.fs.api import Access, At

    at = At(directories_of(t).root, node)
    await t.kernel.fs.call(Access(at, b".", 1, t.process.credentials.cred))


@syscall(161, "chroot")
async def sys_chroot(t: Thread, path: int) -> int:
    """chroot(2): root only."""
    name = await paths.path_at(t, path)
    reply = await _search(t, name)
    refuse_foreign(t, reply)
    assert type(reply) is Opened
    if t.process.credentials.euid:
        await t.kernel.fs.call(Release(reply.node))
        raise PosixError(EPERM)
    directories = directories_of(t)
    old, directories.root = directories.root, reply.node
    directories.move(directories.cwd)
    await t.kernel.fs.call(Release(old))
    return 0


@syscall(79, "getcwd")
async def sys_getcwd(t: Thread, buffer: int, size: int) -> int:
    """getcwd(2): the length with its NUL."""
    directories = directories_of(t)
    if directories.cwd_foreign is not None:
        path = (b"/proc/" + directories.cwd_foreign).rstrip(b"/")
    else:
        path = await t.kernel.fs.call(PathOf(directories.cwd, directories.root))
        if path.endswith(b" (deleted)"):
            raise PosixError(ENOENT)
    if len(path) + 1 > size:
        raise PosixError(ERANGE)
    await t.copyout(buffer, path + b"\0")
    return len(path) + 1


@syscall(95, "umask")
def sys_umask(t: Thread, mask: int) -> int:
    """umask(2)."""
    directories = directories_of(t)
    old, directories.umask = directories.umask, mask & 0o777
    return old
