"""Mappings: mmap, munmap, mprotect, mremap, brk, memfd_create."""

from __future__ import annotations

from errno import EACCES, EBADF, EINVAL, ENODEV, ENOMEM, EOPNOTSUPP, EOVERFLOW
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.fs.api import MemFile, Release, Retain
from services.proc.abi import (
    O_LARGEFILE,
    O_PATH,
    O_RDWR,
    RLIM_INFINITY,
    RLIMIT_AS,
    RLIMIT_DATA,
    S_IFMT,
    S_IFREG,
    U64,
)
from services.proc.files.fsfile import FsFile
from services.proc.space import make_room
from services.proc.table import syscall
from services.vm.api import (
    MAP_32BIT,
    MAP_ANONYMOUS,
    MAP_FIXED,
    MAP_FIXED_NOREPLACE,
    MAP_GROWSDOWN,
    MAP_NORESERVE,
    MAP_POPULATE,
    MAP_PRIVATE,
    MAP_SHARED,
    MAP_STACK,
    PROT_WRITE,
    USER_TOP,
    Brk,
    Frames,
    Map,
    MapReply,
    Protect,
    Regions,
    Remap,
    Unmap,
    Usage,
)

if TYPE_CHECKING:
    from services.proc.descriptors import OpenFile
    from services.proc.task import Thread

PAGE = 4096
OFFSET_MAX = (1 << 63) - 1
ENOUGH_FRAMES = 64
"""More tables than a mapping that moves can need, unless it is hundreds of megabytes."""
PROT_GROWS = 0x0300_0000
"""PROT_GROWSDOWN and PROT_GROWSUP."""
MAP_TYPE, MAP_SHARED_VALIDATE = 0xF, 3
MAP_LOCKED, MAP_NONBLOCK, MAP_HUGETLB, MAP_SYNC = 0x2000, 0x10000, 0x40000, 0x80000
VALIDATED = (
    MAP_TYPE | MAP_FIXED | MAP_ANONYMOUS | MAP_32BIT | MAP_GROWSDOWN | MAP_LOCKED | MAP_NORESERVE
    | MAP_POPULATE | MAP_NONBLOCK | MAP_STACK | MAP_HUGETLB | 0x1800 | 0x80 | 0x7C00_0000
)  # fmt: skip
"""What MAP_SHARED_VALIDATE lets pass: Linux's LEGACY_MAP_MASK (mman.h). The numbers are
MAP_DENYWRITE, MAP_EXECUTABLE, MAP_ABOVE4G and the sizes of huge pages."""


def round_up(length: int) -> int:
    """Whole pages, modulo 2**64 as Linux's PAGE_ALIGN."""
    return (length + PAGE - 1) & ~(PAGE - 1) & U64


def _check_file(file: OpenFile, flags: int, prot: int, offset: int, length: int) -> None:
    """mmap(2), ERRORS, in Linux's order: the range, the type, the rights, the kind of file."""
    regular = isinstance(file, FsFile) and file.mode & S_IFMT == S_IFREG
    if regular and offset + length > OFFSET_MAX:
        raise PosixError(EOVERFLOW)
    kind = flags & MAP_TYPE
    if kind not in (MAP_SHARED, MAP_PRIVATE, MAP_SHARED_VALIDATE):
        raise PosixError(EINVAL)
    if kind == MAP_SHARED_VALIDATE and flags & ~VALIDATED:
        raise PosixError(EOPNOTSUPP)
    if kind != MAP_PRIVATE and prot & PROT_WRITE and not file.writable:
        raise PosixError(EACCES)
    if not file.readable:
        raise PosixError(EACCES)
    if not regular and file.kind != "zero":
        raise PosixError(ENODEV)
    if flags & MAP_GROWSDOWN:
        raise PosixError(EINVAL)
    if flags & MAP_SYNC and kind == MAP_PRIVATE:
        raise PosixError(EOPNOTSUPP)


def _check_anonymous(flags: int) -> None:
    kind = flags & MAP_TYPE
    if kind not in (MAP_SHARED, MAP_PRIVATE) or (kind == MAP_SHARED and flags & MAP_GROWSDOWN):
        raise PosixError(EINVAL)
    if flags & MAP_HUGETLB:
        raise PosixError(ENOMEM)  # there is not one huge page


async def _backing(
    t: Thread, file: OpenFile | None, shared: bool, length: int
) -> tuple[int | None, bool, bytes]:
    """The node behind a mapping (with a reference), whether it may be written, its name."""
    fs = t.kernel.fs
    if isinstance(file, FsFile):
        node = file.node()
        await fs.call(Retain(node))
        return node, file.writable, await file.path()
    if not shared:
        return None, True, b""
    made = await fs.call(MemFile(b"dev/zero", length, t.process.credentials.cred))
    return made.node, True, b"/dev/zero (deleted)"


async def _check_limit(t: Thread, length: int, data: bool, over: range | None = None) -> None:
    """RLIMIT_AS and, where it is private and writable, RLIMIT_DATA, for `length` bytes more.

    `over` are the addresses that a fixed mapping takes over: what is there does not count twice.
    """
    limits = (t.process.limit(RLIMIT_AS), t.process.limit(RLIMIT_DATA) if data else RLIM_INFINITY)
    if limits == (RLIM_INFINITY, RLIM_INFINITY):
        return
    usage = await t.kernel.vm.call(Usage(t.space.number))
    if over is not None:
        for region in await t.kernel.vm.call(Regions(t.space.number)):
            length -= max(min(region.end, over.stop) - max(region.start, over.start), 0)
    if usage.virtual_bytes + length > limits[0] or usage.data_bytes + length > limits[1]:
        raise PosixError(ENOMEM)


@syscall(9, "mmap", bound=1 << 10)
async def sys_mmap(
    t: Thread, vaddr: int, length: int, prot: int, flags: int, fd: int, offset: int
) -> int:
    """mmap(2); unknown bits of `prot` mean nothing, as on Linux."""
    if offset & (PAGE - 1):
        raise PosixError(EINVAL)
    file = None
    if not flags & MAP_ANONYMOUS:
        file = t.file(fd)
        if file.flags & O_PATH:
            raise PosixError(EBADF)
        if flags & MAP_HUGETLB:
            raise PosixError(EINVAL)
    if not length:
        raise PosixError(EINVAL)
    length = round_up(length)
    _check_place(vaddr, length, flags)
    if file is None:
        _check_anonymous(flags)
    else:
        _check_file(file, flags, prot, offset, length)
    shared = flags & MAP_TYPE != MAP_PRIVATE
    fixed = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)
    data = bool(prot & PROT_WRITE) and not shared
    await _check_limit(t, length, data, range(vaddr, vaddr + length) if fixed else None)
    node, may_write, name = await _backing(t, file, shared, length)
    mapped = MAP_SHARED if shared else MAP_PRIVATE
    request = Map(
        t.space.number, vaddr, length, prot & 7, flags & ~MAP_TYPE | mapped, node,
        offset if isinstance(file, FsFile) else 0, may_write, name,
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
        await populate(t, reply.vaddr, length, bool(prot & PROT_WRITE))
    return reply.vaddr


def _check_place(vaddr: int, length: int, flags: int) -> None:
    """mmap(2), ERRORS: lengths and addresses that cannot be."""
    fixed = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)
    if not 0 < length <= USER_TOP or (fixed and vaddr > USER_TOP - length):
        raise PosixError(ENOMEM)
    if fixed and vaddr & (PAGE - 1):
        raise PosixError(EINVAL)


async def populate(t: Thread, vaddr: int, length: int, write: bool) -> None:
    """Fault pages in, as many as can be had."""
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
    dropped = await t.kernel.vm.call(Unmap(t.space.number, vaddr, round_up(length)))
    if dropped:
        await t.space.release_files(dropped)
    return 0


@syscall(10, "mprotect", bound=1 << 10)
async def sys_mprotect(t: Thread, vaddr: int, length: int, prot: int) -> int:
    """mprotect(2)."""
    if vaddr & (PAGE - 1) or prot & PROT_GROWS == PROT_GROWS:
        raise PosixError(EINVAL)
    if not length:
        return 0
    length = round_up(length)
    if not length or vaddr + length > U64:
        raise PosixError(ENOMEM)
    if prot & ~(PROT_GROWS | 0xF):
        raise PosixError(EINVAL)
    await t.kernel.vm.call(Protect(t.space.number, vaddr, length, prot))
    return 0


@syscall(25, "mremap", bound=1 << 10)
async def sys_mremap(t: Thread, vaddr: int, old: int, new: int, flags: int, target: int) -> int:
    """mremap(2)."""
    old, new = round_up(old), round_up(new)
    if USER_TOP >= new > old:
        await _check_limit(t, new - old, data=False)
    reply = await _remap(t, Remap(t.space.number, vaddr, old, new, flags, target))
    await t.space.release_files(reply.dropped)
    return reply.vaddr


async def _remap(t: Thread, request: Remap) -> MapReply:
    """ENOMEM can mean addresses or frames: only frames can be had from the page cache."""
    vm = t.kernel.vm
    while True:
        try:
            return await vm.call(request)
        except PosixError as refusal:
            if refusal.errno != ENOMEM or (await vm.call(Frames())).free >= ENOUGH_FRAMES:
                raise
            await make_room(t.kernel.fs)


@syscall(12, "brk", bound=1 << 10)
async def sys_brk(t: Thread, vaddr: int) -> int:
    """brk(2): the raw call replies with the break, also when it could not be moved."""
    vm, space = t.kernel.vm, t.space.number
    if t.process.limit(RLIMIT_AS) & t.process.limit(RLIMIT_DATA) != RLIM_INFINITY:
        now = await vm.call(Brk(space, 0))
        if vaddr > now:
            try:
                await _check_limit(t, round_up(vaddr) - round_up(now), data=True)
            except PosixError:
                return now
    return await vm.call(Brk(space, vaddr))


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
