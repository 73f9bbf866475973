"""`--trace`: system calls, signals and ends of processes, written as strace(1) writes them.

While a tracer is attached every call takes the gate's slow path, so that user memory can be
faulted in for the decoders. A call that blocks while another thread's line is printed is split
into `<unfinished ...>` and `<... resumed>`, as by strace -f. So is lua_syscall when its script
makes calls of its own, which stand indented between the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.proc import strace
from services.proc.abi import s64
from services.proc.inject import TAMPERED
from services.proc.numbers import NAMES
from services.proc.signals.core import RESTART_ALWAYS, RESTART_NEVER, RESTART_SYS
from services.proc.strace.text import quote
from services.vm.api import ACCESS_READ, PageMiss

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.proc.kernel import Kernel
    from services.proc.signals.core import SigInfo
    from services.proc.space import AddressSpace
    from services.proc.table import Call
    from services.proc.task import Process, Thread

ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND, ERESTART_RESTARTBLOCK = 512, 513, 514, 516
_TIMED = frozenset(("nanosleep", "clock_nanosleep", "poll", "futex"))
PAGE = 4096
SCRIPT_INDENT = "  "
"""Before the calls that a script makes."""


class _Reader:
    """User memory for the decoders; a page that is not there yet is asked for by `PageMiss`."""

    def __init__(self, space: AddressSpace) -> None:
        self._space = space
        self.bad: set[int] = set()

    def read(self, vaddr: int, length: int) -> bytes | None:
        """Bytes up to the first page that the program itself may not read."""
        end, at = vaddr + length, vaddr
        pieces: list[bytes] = []
        while at < end:
            page = at & -PAGE
            if page in self.bad or at >> 47:
                break
            piece = min(end, page + PAGE) - at
            pieces.append(self._space.memory.read_bytes(at, piece))
            at += piece
        return b"".join(pieces) if pieces or not length else None


class Tracer:
    """Writes lines through `write`; `wanted` tells by name which calls are shown."""

    def __init__(
        self, kernel: Kernel, wanted: Callable[[str], bool], write: Callable[[str], None]
    ) -> None:
        self._kernel = kernel
        self._wanted = wanted
        self._write = write
        self._open: Thread | None = None
        self._split: dict[int, list[str]] = {}
        """Names of the calls that each thread is in: several where one is a script."""

    def attach(self) -> None:
        """Begin to trace every process."""
        kernel = self._kernel
        kernel.slow_path = self._call
        kernel.observe_signal = self._signal
        kernel.observe_exit = self._exit
        kernel.extra["unknown_call"] = self._unknown

    def detach(self) -> None:
        """End it. A call that has begun is shown to its end."""
        kernel = self._kernel
        self._interrupt()
        kernel.slow_path = kernel.observe_signal = kernel.observe_exit = None
        kernel.extra.pop("unknown_call", None)

    def first_exec(self, process: Process, argv: list[bytes], path: bytes, variables: int) -> None:
        """The exec that the kernel did itself, for the first program."""
        shown = ", ".join(quote(word) for word in argv)
        line = f"execve({quote(path)}, [{shown}], {process.env_range[0]:#x} "
        line += f"/* {variables} var{'s' if variables != 1 else ''} */"
        self._write(f"{line}) = 0\n")

    # Lines -----------------------------------------------------------------------------------

    def _prefix(self, tid: int) -> str:
        """strace -f names the pid once there is more than one."""
        return strace.pid_prefix(tid) if len(self._kernel.threads) > 1 else ""

    def _begin(self, thread: Thread, name: str, text: str) -> None:
        self._interrupt()
        begun = self._split.setdefault(thread.tid, [])
        self._write(self._prefix(thread.tid) + SCRIPT_INDENT * len(begun) + text)
        self._open = thread
        begun.append(name)

    def _interrupt(self) -> None:
        """Another line comes: what stands open is unfinished."""
        if self._open is not None:
            self._write(" <unfinished ...>\n")
            self._open = None

    def _end(self, thread: Thread, text: str) -> None:
        begun = self._split[thread.tid]
        name, indent = begun.pop(), SCRIPT_INDENT * len(begun)
        if not begun:
            del self._split[thread.tid]
        if self._open is thread:
            self._open = None
            self._write(text + "\n")
        else:
            self._interrupt()
            self._write(f"{self._prefix(thread.tid)}{indent}<... {name} resumed>{text}\n")

    def _line(self, tid: int, text: str) -> None:
        self._interrupt()
        self._write(f"{self._prefix(tid)}{text}\n")

    # Events ----------------------------------------------------------------------------------

    async def _render(self, space: AddressSpace, make: Callable[[_Reader], str]) -> str:
        reader = _Reader(space)
        while True:
            try:
                return make(reader)
            except PageMiss as miss:
                if space.users == 0 or await space.fault(miss.vaddr, ACCESS_READ) is not None:
                    reader.bad.add(miss.vaddr & -PAGE)

    async def _call(self, thread: Thread, call: Call, arguments: tuple[int, ...]) -> int | None:
        """The gate's slow path: entry, the call, exit."""
        gate = self._kernel.extra["gate"]
        if not self._wanted(call.name):
            result: int | None = await gate.perform(thread, call, arguments)
            return result
        args = _six(arguments)
        saved: dict[str, object] = {}

        def enter(reader: _Reader) -> str:
            saved.clear()
            ctx = strace.Ctx(memory=reader, args=args, saved=saved)
            return strace.render_entry(call.name, args, ctx)

        entry = await self._render(thread.space, enter)
        self._begin(thread, call.name, entry)
        result = await gate.perform(thread, call, arguments)
        shown = _shown(thread, call, result)

        def leave(reader: _Reader) -> str:
            ctx = strace.Ctx(memory=reader, args=args, saved=dict(saved)).at_exit(shown)
            column = len(entry) if self._open is thread else None
            return strace.render_exit(call.name, args, ctx, column)

        note = (thread.extra or {}).pop(TAMPERED, "")
        self._end(thread, await self._render(thread.space, leave) + note)
        return result

    def _unknown(self, thread: Thread, number: int, arguments: tuple[int, ...]) -> None:
        name = NAMES.get(number) or strace.unknown_name(number)
        if self._wanted(name):
            ctx = strace.Ctx(args=_six(arguments))
            line = strace.render_line(name, ctx.args, -38, ctx)
            self._line(thread.tid, line)

    def _signal(self, thread: Thread, info: SigInfo) -> None:
        if info.signal != 9:
            self._line(
                thread.tid, strace.signal_line(info.signal, info.code, info.errno, info.fields)
            )

    def _exit(self, process: Process) -> None:
        self._interrupt()
        status = process.exit_status
        if status & 0x7F:
            text = strace.killed_line(status & 0x7F, bool(status & 0x80))
        else:
            text = strace.exited_line(status >> 8)
        self._write(f"{self._prefix(process.pid)}{text}\n")


def _six(arguments: tuple[int, ...]) -> strace.Args:
    a, b, c, d, e, f = arguments
    return a, b, c, d, e, f


def _shown(thread: Thread, call: Call, result: int | None) -> int | None:
    """The result as strace sees it: kernel-internal restart codes for interrupted calls."""
    if result is None:
        return None if call.name in ("exit", "exit_group") else 0
    result = s64(result & (1 << 64) - 1)
    if result == -4 and thread.restart != RESTART_NEVER:
        if thread.restart == RESTART_ALWAYS:
            return -ERESTARTNOINTR
        if thread.restart == RESTART_SYS:
            return -ERESTARTSYS
        return -(ERESTART_RESTARTBLOCK if call.name in _TIMED else ERESTARTNOHAND)
    return result
