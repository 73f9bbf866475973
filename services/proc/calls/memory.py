"""Memory: mmap, munmap, mprotect, mremap, brk, madvise, msync, mincore, memfd_create."""

from __future__ import annotations

from errno import EACCES, EBADF, EINVAL, ENODEV, ENOMEM, EOPNOTSUPP, EOVERFLOW
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.fs.api import MemFile, Release, Retain, Sync
from services.proc.abi import O_LARGEFILE, O_PATH, O_RDWR, RLIM_INFINITY, RLIMIT_AS, S_IFMT, S_IFREG
from services.proc.files.fsfile import FsFile
from services.proc.table import syscall
from services.vm.api import (
    MAP_ANONYMOUS,
    MAP_FIXED,
    MAP_FIXED_NOREPLACE,
    MAP_POPULATE,
    MAP_PRIVATE,
    MAP_SHARED,
    PROT_WRITE,
    USER_TOP,
    Brk,
    CollectDirty,
    Discard,
    Map,
    Protect,
    Remap,
    Resident,
    Unmap,
    Usage,
)

if TYPE_CHECKING:
    from services.proc.task import Thread

PAGE = 4096
MAP_SHARED_VALIDATE = 3
KNOWN_FLAGS = 0x1F_FFFF


def _round(length: int) -> int:
    return (length + PAGE - 1) & ~(PAGE - 1)


async def _backing(
    t: Thread, shared: bool, flags: int, prot: int, fd: int, offset: int, length: int
) -> tuple[int | None, bool, bytes]:
    """The node behind a mapping (with a reference), whether it may be written, its name."""
    fs = t.kernel.fs
    if flags & MAP_ANONYMOUS:
        if not shared:
            return None, True, b""
        made = await fs.call(MemFile(b"dev/zero", length, t.process.credentials.cred))
        return made.node, True, b"/dev/zero (deleted)"
    file = t.file(fd)
    if file.kind == "zero":
        return await _backing(t, shared, flags | MAP_ANONYMOUS, prot, fd, 0, length)
    node = file.node()
    if node is None or not isinstance(file, FsFile) or file.mode & S_IFMT != S_IFREG:
        raise PosixError(EBADF if file.flags & O_PATH else ENODEV)
    if file.flags & O_PATH:
        raise PosixError(EBADF)
    if not file.readable or (shared and prot & PROT_WRITE and not file.writable):
        raise PosixError(EACCES)
    if offset + length > 1 << 63:
        raise PosixError(EOVERFLOW)
    await fs.call(Retain(node))
    return node, file.writable, await file.path()


async def _check_limit(t: Thread, length: int) -> None:
    limit = t.process.limit(RLIMIT_AS)
    if limit != RLIM_INFINITY:
        usage = await t.kernel.vm.call(Usage(t.space.number))
        if usage.virtual_bytes + length > limit:
            raise PosixError(ENOMEM)


@syscall(9, "mmap", bound=1 << 10)
async def sys_mmap(
    t: Thread, vaddr: int, length: int, prot: int, flags: int, fd: int, offset: int
) -> int:
    """mmap(2)."""
    if offset & (PAGE - 1) or not length or prot & ~0x0300_000F:
        raise PosixError(EINVAL)
    length = _round(length)
    _check_place(vaddr, length, flags)
    await _check_limit(t, length)
    shared = flags & 0xF != MAP_PRIVATE
    node, may_write, name = await _backing(t, shared, flags, prot, fd, offset, length)
    mapped = MAP_SHARED if shared else MAP_PRIVATE
    request = Map(
        t.space.number, vaddr, length, prot & 7, flags & ~0xF | mapped, node,
        0 if node is None or flags & MAP_ANONYMOUS else offset, may_write, name,
    )  # fmt: skip
    try:
        reply = await t.kernel.vm.call(request)
    except BaseException:
        if node is not None:
            await t.kernel.fs.call(Release(node))
        raise
    if node is not None and not reply.acquired:
        await t.kernel.fs.call(Release(node))
    if reply.dropped:
        await t.space.release_files(reply.dropped)
    if flags & MAP_POPULATE and prot & 7:
        await _populate(t, reply.vaddr, length, bool(prot & PROT_WRITE))
    return reply.vaddr


def _check_place(vaddr: int, length: int, flags: int) -> None:
    """mmap(2), ERRORS: the type, and addresses that cannot be."""
    kind = flags & 0xF
    if kind not in (MAP_SHARED, MAP_PRIVATE, MAP_SHARED_VALIDATE):
        raise PosixError(EINVAL)
    if kind == MAP_SHARED_VALIDATE and flags & ~KNOWN_FLAGS:
        raise PosixError(EOPNOTSUPP)
    fixed = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)
    if fixed and vaddr & (PAGE - 1):
        raise PosixError(EINVAL)
    if not 0 < length <= USER_TOP or (fixed and vaddr + length > USER_TOP):
        raise PosixError(ENOMEM)


async def _populate(t: Thread, vaddr: int, length: int, write: bool) -> None:
    for at in range(vaddr, vaddr + length, PAGE):
        try:
            await t.extents(at, 1, write)
        except PosixError:
            return


@syscall(11, "munmap", bound=1 << 10)
async def sys_munmap(t: Thread, vaddr: int, length: int) -> int:
    """munmap(2)."""
    if vaddr & (PAGE - 1) or not length or vaddr + length > USER_TOP:
        raise PosixError(EINVAL)
    dropped = await t.kernel.vm.call(Unmap(t.space.number, vaddr, _round(length)))
    if dropped:
        await t.space.release_files(dropped)
    return 0


@syscall(10, "mprotect", bound=1 << 10)
async def sys_mprotect(t: Thread, vaddr: int, length: int, prot: int) -> int:
    """mprotect(2)."""
    if vaddr & (PAGE - 1) or prot & ~0x0300_000F:
        raise PosixError(EINVAL)
    if vaddr + length > USER_TOP:
        raise PosixError(ENOMEM)
    if length:
        await t.kernel.vm.call(Protect(t.space.number, vaddr, _round(length), prot & 7))
    return 0


@syscall(25, "mremap", bound=1 << 10)
async def sys_mremap(t: Thread, vaddr: int, old: int, new: int, flags: int, target: int) -> int:
    """mremap(2)."""
    if vaddr & (PAGE - 1) or flags & ~7 or not new:
        raise PosixError(EINVAL)
    if new > USER_TOP or old > USER_TOP:
        raise PosixError(ENOMEM)
    if new > old:
        await _check_limit(t, new - old)
    reply = await t.kernel.vm.call(
        Remap(t.space.number, vaddr, _round(old), _round(new), flags, target)
    )
    await t.space.release_files(reply.dropped)
    return reply.vaddr


@syscall(12, "brk", bound=1 << 10)
async def sys_brk(t: Thread, vaddr: int) -> int:
    """brk(2): the raw call replies with the break, also when it could not be moved."""
    return await t.kernel.vm.call(Brk(t.space.number, vaddr))


MADV_DONTNEED, MADV_FREE, MADV_REMOVE = 4, 8, 9
KNOWN_ADVICE = frozenset((0, 1, 2, 3, 4, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21))


@syscall(28, "madvise")
async def sys_madvise(t: Thread, vaddr: int, length: int, advice: int) -> int:
    """madvise(2): DONTNEED and FREE drop pages, other advice changes nothing that can be seen."""
    advice &= 0xFFFF_FFFF
    if vaddr & (PAGE - 1) or advice not in KNOWN_ADVICE or length >> 63:
        raise PosixError(EINVAL)
    if not length:
        return 0
    if vaddr + length > USER_TOP:
        raise PosixError(ENOMEM)
    if advice in (MADV_DONTNEED, MADV_FREE):
        await t.kernel.vm.call(Discard(t.space.number, vaddr, _round(length)))
    else:
        await t.kernel.vm.call(Resident(t.space.number, vaddr, _round(length)))
    return 0


@syscall(26, "msync")
async def sys_msync(t: Thread, vaddr: int, length: int, flags: int) -> int:
    """msync(2)."""
    if vaddr & (PAGE - 1) or flags & ~7 or flags & 5 == 5:
        raise PosixError(EINVAL)
    if not length:
        return 0
    if vaddr + _round(length) > USER_TOP:
        raise PosixError(ENOMEM)
    runs = await t.kernel.vm.call(CollectDirty(t.space.number, vaddr, _round(length)))
    if flags & 4:
        for node in {run.node for run in runs}:
            await t.kernel.fs.call(Sync(node, True))
    return 0


@syscall(27, "mincore")
async def sys_mincore(t: Thread, vaddr: int, length: int, vector: int) -> int:
    """mincore(2)."""
    if vaddr & (PAGE - 1):
        raise PosixError(EINVAL)
    if vaddr + length > USER_TOP:
        raise PosixError(ENOMEM)
    if length:
        answer = await t.kernel.vm.call(Resident(t.space.number, vaddr, _round(length)))
        await t.copyout(vector, answer)
    return 0


async def _lock_range(t: Thread, vaddr: int, length: int) -> int:
    """All memory is resident for good: there is no swap, so a lock has only to fault pages in."""
    start = vaddr & ~(PAGE - 1)
    end = _round(vaddr + length)
    if end > USER_TOP:
        raise PosixError(ENOMEM)
    if end > start:
        await t.kernel.vm.call(Resident(t.space.number, start, end - start))
        await _populate(t, start, end - start, False)
    return 0


@syscall(149, "mlock")
async def sys_mlock(t: Thread, vaddr: int, length: int) -> int:
    """mlock(2)."""
    return await _lock_range(t, vaddr, length)


@syscall(325, "mlock2")
async def sys_mlock2(t: Thread, vaddr: int, length: int, flags: int) -> int:
    """mlock2(2)."""
    if flags & ~1:
        raise PosixError(EINVAL)
    return await _lock_range(t, vaddr, length)


@syscall(150, "munlock")
async def sys_munlock(t: Thread, vaddr: int, length: int) -> int:
    """munlock(2)."""
    start, end = vaddr & ~(PAGE - 1), _round(vaddr + length)
    if end > start:
        await t.kernel.vm.call(Resident(t.space.number, start, end - start))
    return 0


@syscall(151, "mlockall")
def sys_mlockall(t: Thread, flags: int) -> int:
    """mlockall(2): nothing is ever swapped out."""
    if not flags or flags & ~7:
        raise PosixError(EINVAL)
    return 0


@syscall(152, "munlockall")
def sys_munlockall(t: Thread) -> int:
    """munlockall(2)."""
    return 0


@syscall(319, "memfd_create")
async def sys_memfd_create(t: Thread, name: int, flags: int) -> int:
    """memfd_create(2): CLOEXEC=1, ALLOW_SEALING=2."""
    if flags & 0xFFFF_FFFF & ~0x3:
        raise PosixError(EINVAL)
    text = await t.space.cstr(name, 250)
    if text is None:
        raise PosixError(EINVAL)
    made = await t.kernel.fs.call(
        MemFile(b"memfd:" + text, 0, t.process.credentials.cred, bool(flags & 2))
    )
    from services.proc.calls.files import install

    file = FsFile(t.kernel.fs, made.node, made.mode, O_RDWR | O_LARGEFILE, opened=False)
    return await install(t, file, bool(flags & 1))
