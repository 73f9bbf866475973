"""execve(2): find the program, map it into a new space, switch the process over.

Until the new space is complete nothing of the old one is touched, so that any error leaves the
caller as it was; after that only death is left.
"""

from __future__ import annotations

from errno import E2BIG, EACCES, EINVAL, ELIBBAD, ENOENT, ENOEXEC, ENOMEM
from typing import TYPE_CHECKING

import attrs

from bus.errors import PosixError
from services.drivers.entropy.api import Draw
from services.fs.api import (
    At,
    DenyWrite,
    Foreign,
    Opened,
    PathOf,
    ReadBytes,
    Release,
    Resolve,
    Retain,
)
from services.proc.abi import RLIMIT_STACK, S_IFMT, S_IFREG
from services.proc.image import elf, stack
from services.proc.space import AddressSpace, with_room
from services.vm.api import (
    MAP_ANONYMOUS,
    MAP_FIXED,
    MAP_GROWSDOWN,
    MAP_PRIVATE,
    MAP_STACK,
    PROT_EXEC,
    PROT_READ,
    PROT_WRITE,
    USER_TOP,
    CreateSpace,
    Map,
    SetLayout,
)

if TYPE_CHECKING:
    from services.proc.kernel import Kernel
    from services.proc.task import Process

PAGE = 4096
PIE_BASE = 0x5555_5555_4000
STACK_TOP = USER_TOP - PAGE
STACK_BYTES = 132 << 10
MAX_STACK_GAP = 16 << 30
SHEBANG_BYTES, SHEBANG_DEPTH = 256, 5
ARG_MAX_BYTES, STRING_MAX_BYTES = 2 << 20, 128 << 10


class Unloadable(PosixError):
    """execve(2) fails; `reason` is for the person who typed the command."""

    __slots__ = ("reason",)

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(number)
        self.reason = reason


@attrs.define
class Program:
    """What is to be run, after `#!` lines were followed.

    Holds a reference to `node`, and keeps others from opening it for writing until the space that
    `load` makes does so.
    """

    node: int
    name: bytes
    argv: list[bytes]
    image: elf.Image
    mode: int = 0
    set_uid: int | None = None
    set_gid: int | None = None


@attrs.frozen
class Loaded:
    """A complete new image, and where it starts."""

    space: AddressSpace
    entry: int
    sp: int
    built: stack.Built
    node: int
    path: bytes


async def open_program(
    process: Process, kernel: Kernel, at: At, path: bytes, argv: list[bytes]
) -> Program:
    """Resolve `path` and follow `#!` (execve(2), Interpreter scripts)."""
    name = path
    for depth in range(SHEBANG_DEPTH):
        try:
            opened = await kernel.fs.call(Resolve(at, path, process.credentials.cred, execute=True))
        except PosixError as error:
            if not depth or error.errno != ENOENT:
                raise
            reason = f"the interpreter that its #! line names, {path.decode(errors='replace')}"
            raise Unloadable(ENOENT, f"{reason}, is not in the root") from None
        if type(opened) is Foreign:
            opened = await kernel.extra["procfs"].resolve(process, opened, execute=True)
        assert type(opened) is Opened
        await _deny_writing(kernel, opened)
        try:
            head = await kernel.fs.call(ReadBytes(opened.node, 0, SHEBANG_BYTES))
            if head[:2] != b"#!":
                image = await read_image(kernel, opened.node, head)
                return Program(opened.node, name, argv, image, opened.mode)
            interpreter, argument = _shebang(head)
        except BaseException:
            await _let_go(kernel, opened.node)
            raise
        await _let_go(kernel, opened.node)
        argv = [interpreter, *([argument] if argument else []), path, *argv[1:]]
        path = interpreter
    raise Unloadable(40, "too many levels of #! interpreters")


async def _deny_writing(kernel: Kernel, opened: Opened) -> None:
    """Nobody may write the file while it is looked at; ETXTBSY if somebody has it open for that."""
    try:
        if opened.mode & S_IFMT != S_IFREG:
            raise Unloadable(EACCES, "not a regular file")
        await kernel.fs.call(DenyWrite(opened.node, True))
    except BaseException:
        await kernel.fs.call(Release(opened.node))
        raise


async def _let_go(kernel: Kernel, node: int) -> None:
    await kernel.fs.call(DenyWrite(node, False))
    await kernel.fs.call(Release(node))


def _shebang(head: bytes) -> tuple[bytes, bytes]:
    line, newline, _ = head[2:].partition(b"\n")
    words = line.strip(b" \t").split(None, 1)
    if not words or (not newline and len(head) == SHEBANG_BYTES and len(words) < 2):
        raise Unloadable(ENOEXEC, "its #! line names no interpreter")
    return words[0], words[1].rstrip(b" \t") if len(words) > 1 else b""


async def read_image(kernel: Kernel, node: int, head: bytes) -> elf.Image:
    """Parse the program behind `node`; ENOEXEC with the reason."""
    try:
        header = elf.parse_header(head)
        table = await kernel.fs.call(ReadBytes(node, header.phoff, header.phnum * elf.PHDR_BYTES))
        return elf.parse_segments(header, table)
    except elf.BadImage as bad:
        raise Unloadable(ENOEXEC, str(bad)) from None
    except OverflowError:
        raise Unloadable(ENOEXEC, "its program headers lie outside the file") from None


async def load(
    kernel: Kernel, process: Process, program: Program, at: At, env: list[bytes]
) -> Loaded:
    """Build a new space for `program`; on any error it is destroyed again."""
    try:
        reply = await with_room(kernel.vm, kernel.fs, CreateSpace())
    except BaseException:
        await kernel.fs.call(DenyWrite(program.node, False))
        raise
    space = AddressSpace(kernel.ram, kernel.vm, kernel.fs, reply.space, reply.root_paddr)
    space.program = program.node
    try:
        return await _fill(kernel, process, program, at, env, space)
    except BaseException:
        await space.leave()
        raise


async def _fill(
    kernel: Kernel,
    process: Process,
    program: Program,
    at: At,
    env: list[bytes],
    space: AddressSpace,
) -> Loaded:
    image = program.image
    stack_limit = min(process.limit(RLIMIT_STACK), MAX_STACK_GAP)
    mmap_top = STACK_TOP - max(stack_limit, 128 << 20) - (1 << 20)
    await kernel.vm.call(SetLayout(space.number, 0, STACK_TOP, stack_limit, mmap_top))
    bias = 0
    if image.header.kind == elf.ET_DYN:
        bias = PIE_BASE - image.span[0] if image.interpreter else 0x7FFF_F7FC_0000
        if image.interpreter is None:
            bias = PIE_BASE - image.span[0]
    path = await kernel.fs.call(PathOf(program.node, at.root))
    await map_image(kernel, space, program.node, image, bias, path)
    entry, base = bias + image.header.entry, 0
    if image.interpreter is not None:
        entry, base = await _map_interpreter(kernel, process, program, at, space)
    brk = bias + image.span[1]
    await kernel.vm.call(SetLayout(space.number, brk, STACK_TOP, stack_limit, mmap_top))
    prot = PROT_READ | PROT_WRITE | (PROT_EXEC if image.executable_stack else 0)
    size = sum(map(len, program.argv)) + sum(map(len, env)) + 16 * (len(program.argv) + len(env))
    stack_bytes = (STACK_BYTES + size + PAGE - 1) & ~(PAGE - 1)
    flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_GROWSDOWN | MAP_STACK
    await kernel.vm.call(
        Map(space.number, STACK_TOP - stack_bytes, stack_bytes, prot, flags, name=b"[stack]")
    )
    ids = process.credentials
    secure = program.set_uid is not None or program.set_gid is not None
    built = stack.build(
        STACK_TOP,
        program.argv,
        env,
        program.name,
        await kernel.entropy.call(Draw(16)),
        [
            *await _map_vdso(kernel, space),
            (stack.AT_HWCAP, 0x078B_FBFD),
            (stack.AT_PAGESZ, PAGE),
            (stack.AT_CLKTCK, stack.CLOCK_TICKS),
            (stack.AT_PHDR, bias + image.phdr_vaddr),
            (stack.AT_PHENT, elf.PHDR_BYTES),
            (stack.AT_PHNUM, image.header.phnum),
            (stack.AT_BASE, base),
            (stack.AT_FLAGS, 0),
            (stack.AT_ENTRY, bias + image.header.entry),
            (stack.AT_UID, ids.ruid),
            (stack.AT_EUID, ids.euid if program.set_uid is None else program.set_uid),
            (stack.AT_GID, ids.rgid),
            (stack.AT_EGID, ids.egid if program.set_gid is None else program.set_gid),
            (stack.AT_SECURE, int(secure)),
            (stack.AT_HWCAP2, 0),
        ],
    )
    if STACK_TOP - built.sp > max(stack_limit // 4, 128 << 10):
        raise Unloadable(E2BIG, "its arguments and environment are too large for the stack")
    await space.write(built.sp, built.image)
    return Loaded(space, entry, built.sp, built, program.node, path)


async def _map_vdso(kernel: Kernel, space: AddressSpace) -> list[tuple[int, int]]:
    """Give the program the time page and the vDSO; what its auxiliary vector says of them."""
    if kernel.time_page is None:
        return []
    return [(stack.AT_SYSINFO_EHDR, await kernel.time_page.map_into(space))]


async def _map_interpreter(
    kernel: Kernel, process: Process, program: Program, at: At, space: AddressSpace
) -> tuple[int, int]:
    """Map the program's own ld.so; replies with (entry, base)."""
    assert program.image.interpreter is not None
    offset, length = program.image.interpreter
    raw = await kernel.fs.call(ReadBytes(program.node, offset, length))
    name = raw.rstrip(b"\0")
    try:
        opened = await kernel.fs.call(Resolve(at, name, process.credentials.cred, execute=True))
    except PosixError as error:
        if error.errno == ENOENT:
            reason = f"its interpreter {name.decode(errors='replace')} is not in the root"
            raise Unloadable(ENOENT, reason) from None
        raise
    assert type(opened) is Opened
    await _deny_writing(kernel, opened)
    try:
        head = await kernel.fs.call(ReadBytes(opened.node, 0, elf.EHDR_BYTES))
        image = await read_image(kernel, opened.node, head)
        if image.interpreter is not None:
            raise Unloadable(ELIBBAD, "its interpreter wants an interpreter")
        bias = 0
        if image.header.kind == elf.ET_DYN:
            low, high = image.span
            hole = await kernel.vm.call(
                Map(space.number, 0, high - low, 0, MAP_PRIVATE | MAP_ANONYMOUS)
            )
            bias = hole.vaddr - low
        await map_image(kernel, space, opened.node, image, bias, name)
        return bias + image.header.entry, bias + image.span[0]
    finally:
        await _let_go(kernel, opened.node)


async def map_image(
    kernel: Kernel, space: AddressSpace, node: int, image: elf.Image, bias: int, path: bytes
) -> None:
    """Map every PT_LOAD privately at `bias`, and zero what is past the file's part."""
    for segment in image.segments:
        prot = (
            (PROT_READ if segment.flags & elf.PF_R else 0)
            | (PROT_WRITE if segment.flags & elf.PF_W else 0)
            | (PROT_EXEC if segment.flags & elf.PF_X else 0)
        )
        start = bias + segment.vaddr
        low = start & ~(PAGE - 1)
        file_end = start + segment.file_bytes
        mapped_end = (file_end + PAGE - 1) & ~(PAGE - 1)
        if segment.file_bytes:
            await kernel.fs.call(Retain(node))
            try:
                reply = await kernel.vm.call(
                    Map(
                        space.number,
                        low,
                        mapped_end - low,
                        prot,
                        MAP_PRIVATE | MAP_FIXED,
                        node,
                        segment.offset & ~(PAGE - 1),
                        name=path,
                    )
                )
            except PosixError as error:
                await kernel.fs.call(Release(node))
                raise Unloadable(error.errno, "its segments cannot be mapped") from None
            if not reply.acquired:
                await kernel.fs.call(Release(node))
            await space.release_files(reply.dropped)
        else:
            mapped_end = low
        end = start + segment.memory_bytes
        if segment.memory_bytes > segment.file_bytes > 0 and segment.flags & elf.PF_W:
            # To the end of the page, not only of .bss: ld.so allocates from what is left of it.
            try:
                await space.write(file_end, bytes(mapped_end - file_end))
            except PosixError as error:
                reason = "it is cut short: a segment lies past the end of the file"
                raise Unloadable(error.errno, reason) from None
        top = (end + PAGE - 1) & ~(PAGE - 1)
        if top > mapped_end:
            flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED
            await kernel.vm.call(Map(space.number, mapped_end, top - mapped_end, prot, flags))


def check_arguments(argv: list[bytes], env: list[bytes]) -> None:
    """E2BIG for absurd amounts (execve(2), Limits on size)."""
    total = sum(map(len, argv)) + sum(map(len, env)) + 9 * (len(argv) + len(env))
    if total > ARG_MAX_BYTES or any(len(s) >= STRING_MAX_BYTES for s in (*argv, *env)):
        raise Unloadable(E2BIG, "its arguments and environment are too large")


__all__ = ["EINVAL", "ENOMEM", "Loaded", "Program", "Unloadable", "load", "open_program"]
