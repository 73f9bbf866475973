"""proc on the bus, and the first program's life.

`run_init` makes process 1, which has no user code and only reaps, and starts the program as its
child with descriptors 0 to 2. When that program has ended, everything else is killed, as when the
first process of a container ends.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TextIO

import attrs
import trio

from bus.errors import PosixError
from services.drivers.clock.api import REALTIME, Now
from services.fs.api import Caches
from services.net.api import Board
from services.proc import audit, costs, lifecycle, table
from services.proc.abi import SIGKILL
from services.proc.api import ListProcesses, ListSuspects, ProcessInfo, Signal, SuspectInfo
from services.proc.begin import Attached, Program, begin
from services.proc.check import check
from services.proc.files import inet
from services.proc.inject import CallInjector
from services.proc.kernel import Kernel
from services.proc.procfs import ProcFs
from services.proc.signals import send
from services.proc.space import AddressSpace
from services.proc.strace import parse_set
from services.proc.task import Credentials, Process
from services.proc.timepage import TimePage
from services.proc.tracer import Tracer
from services.proc.trap import Gate
from services.proc.tty import attach_console
from services.vm.api import Frames, Usage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from bus.admission import Admission
    from bus.core import Bus
    from services.drivers.cpu.api import Core
    from services.drivers.ram.api import Ram
    from services.proc.files.stream import Driver

UNKILLABLE = -1000
"""oom_score_adj of what the killer must spare (proc(5))."""
SLICE_S = 0.005
"""How long a thread may run while others want to."""


class ProcService:
    """Processes, and the gate between programs and the kernel."""

    def __init__(
        self,
        bus: Bus,
        ram: Ram,
        core: Core,
        admission: Admission,
        config: Any = None,
        board: Board | None = None,
    ) -> None:
        costs.measure(core)
        self.kernel = Kernel(bus, ram, core, admission, board or Board())
        inet.plug_in(self.kernel)
        self.kernel.log = lambda text: self._tell(text + "\n")
        self.config = config
        self.kernel.script_limits = getattr(config, "script_limits", self.kernel.script_limits)
        self.kernel.hostname = getattr(config, "hostname", "hardtack").encode()
        self.tracer: Tracer | None = None
        self._trace_output: TextIO | None = None
        self._nodes_at_start = 0
        self._audit, self._audit_file = audit.Audit(), audit.wanted()
        rows = table.build()
        if self._audit_file is not None:
            rows = [None if row is None else attrs.evolve(row) for row in rows]
            self._audit.attach(rows)
        self.gate = Gate(self.kernel, rows)
        self.kernel.extra["gate"] = self.gate
        self.injector = CallInjector(self.gate)
        self.kernel.extra["procfs"] = ProcFs(self.kernel)
        self.kernel.extra["shutdown"] = self._shutdown
        self.handlers: Mapping[type[Any], Callable[[Any], Awaitable[Any]]] = {
            ListProcesses: self.list_processes,
            ListSuspects: self.list_suspects,
            Signal: self.signal,
        }

    async def start(self) -> None:
        """Check the tables, which outlive the service's requests. KernelBug: they do not hold."""
        check(self.kernel)

    def keep(self) -> ProcService:
        """All of it: threads are tasks of `run_init`'s, and go on while requests are held."""
        return self

    async def list_processes(self, call: ListProcesses) -> tuple[ProcessInfo, ...]:
        """ListProcesses."""
        return tuple(
            ProcessInfo(
                p.pid,
                p.parent.pid if p.parent else 0,
                p.comm,
                "Z" if p.zombie else "T" if p.stopped else "S",
                len(p.threads),
                len(p.descriptors.slots) if p.descriptors else 0,
                len(p.children),
                p.usage().user_ns,
            )
            for p in self.kernel.processes.values()
        )

    async def list_suspects(self, call: ListSuspects) -> tuple[SuspectInfo, ...]:
        """ListSuspects."""
        kernel = self.kernel
        return tuple(
            [
                SuspectInfo(
                    p.pid,
                    p.comm,
                    (await kernel.vm.call(Usage(p.space.number))).regions if p.space else 0,
                    len(p.descriptors.slots) if p.descriptors else 0,
                    len(p.threads),
                    sum(child.zombie for child in p.children.values()),
                    len(p.timers),
                    p is kernel.init or p.oom_score_adj <= UNKILLABLE,
                )
                for p in list(kernel.processes.values())
                if not p.zombie
            ]
        )

    async def signal(self, call: Signal) -> None:
        """Signal."""
        process = self.kernel.processes.get(call.pid)
        if process is None:
            raise PosixError(3)
        send.to_process(process, send.kernel_info(call.signal))

    # The first program ------------------------------------------------------------------------

    async def run_init(
        self, argv: tuple[bytes, ...], env: tuple[bytes, ...], cwd: bytes, uid: int, gid: int
    ) -> int:
        """Run the first program to its end; its wait(2) status. PosixError: it cannot be run."""
        kernel = self.kernel
        traced = getattr(self.config, "trace", None)
        if traced is not None:
            self.trace(parse_set(traced or "all"), self.config.trace_file)
        kernel.boot_realtime_ns = await kernel.clock.call(Now(REALTIME))
        kernel.time_page = time_page = TimePage(kernel)
        await time_page.start()
        self._nodes_at_start = (await kernel.fs.call(Caches())).in_use
        kernel.core.start_ticker(SLICE_S)
        try:
            async with trio.open_nursery() as nursery:
                kernel.nursery = nursery
                nursery.start_soon(kernel.timers.serve)
                nursery.start_soon(time_page.keep)
                await kernel.extra["procfs"].start()
                try:
                    await self._start(Program(argv, env, cwd, Credentials(uid, gid)))
                    assert kernel.main is not None
                    status = await self._wait_for_main(kernel.main)
                finally:
                    with trio.CancelScope(shield=True):
                        await self._end_all()
                nursery.cancel_scope.cancel()
        finally:
            kernel.core.stop_ticker()
            kernel.profile.stop()
            kernel.time_page = None
            await time_page.stop()
            kernel.nursery = None
            self.trace(None)
        return status

    def _tell(self, text: str) -> None:
        """Say something on the host's standard error, which may be a terminal that is raw."""
        if self.kernel.extra.get("raw_console") and sys.stderr.isatty():
            text = text.replace("\n", "\r\n")
        sys.stderr.write(text)
        sys.stderr.flush()

    async def _start(self, program: Program) -> None:
        kernel = self.kernel
        init = kernel.init = Process(kernel, kernel.new_pid(), None)
        init.comm = b"init"
        kernel.processes[init.pid] = init

        def loaded(process: Process, path: bytes) -> None:
            kernel.main = process
            if self.tracer is not None:
                self.tracer.first_exec(process, list(program.argv), path, len(program.env))

        await begin(kernel, program, lambda process: attach_console(kernel, process), loaded)

    async def execute(
        self, program: Program, console: Driver, terminal: bool, size: tuple[int, int] = (0, 0)
    ) -> Attached:
        """Start one more program, its streams those of `console`. PosixError: it cannot be run."""
        attached = Attached(self.kernel, console, terminal, size)
        await attached.begin(program)
        return attached

    def trace(self, wanted: Callable[[str], bool] | None, path: str | None = None) -> None:
        """Trace the calls that are wanted from now on, into a file or as --trace; None: none.

        OSError: the file cannot be written.
        """
        output = open(path, "w") if path else None  # noqa: SIM115 (closed when tracing ends)
        if self.tracer is not None:
            self.tracer.detach()
            self.tracer = None
        if self._trace_output is not None:
            self._trace_output.close()
        self._trace_output = output
        if wanted is None:
            return

        def write(text: str) -> None:
            if output is None:
                self._tell(text)
            else:
                output.write(text)

        self.tracer = Tracer(self.kernel, wanted, write)
        self.tracer.attach()

    async def _wait_for_main(self, main: Process) -> int:
        woken = trio.Event()
        kernel = self.kernel

        class Watcher:
            def notify(self, events: int) -> None:
                woken.set()

        kernel.run_init_done.add(Watcher())
        if main.pid in kernel.processes:
            await woken.wait()
        return main.exit_status

    async def _end_all(self) -> None:
        """Kill what is left and wait until it is gone."""
        kernel = self.kernel
        self.kill_all()
        while any(p.threads for p in kernel.processes.values()):
            await trio.lowlevel.checkpoint()
            self.kill_all()
        for process in [p for p in kernel.processes.values() if p.zombie]:
            lifecycle.reap(process)
        for leak in await self._leaks():
            kernel.log(f"hardtack: kernel bug: at the end {leak}")

    async def _leaks(self) -> list[str]:
        """What ended programs have left behind: nothing, if the kernel is right."""
        kernel = self.kernel
        spaces = (await kernel.vm.call(Frames())).spaces
        counts = {
            "process": len(kernel.processes) - 1,
            "thread": len(kernel.threads),
            "futex": len(kernel.futexes),
            "address space": spaces,
            "file node in use": (await kernel.fs.call(Caches())).in_use - self._nodes_at_start,
            "byte of reservations": kernel.admission.outstanding,
        }
        return [f"{count} {what}(s) left" for what, count in counts.items() if count]

    def _shutdown(self, status: int) -> None:
        assert self.kernel.main is not None
        lifecycle.exit_group(self.kernel.main, status)
        self.kill_all()

    def signal_program(self, number: int) -> bool:
        """Send a host's signal to the guest's first program and its group, as a terminal would.

        False: there is none yet.
        """
        main = self.kernel.main
        if main is None:
            return False
        for process in self.kernel.group(main.pgid):
            send.to_process(process, send.kernel_info(number))
        return True

    def kill_all(self) -> None:
        """SIGKILL to every process."""
        for process in list(self.kernel.processes.values()):
            if process.threads:
                lifecycle.exit_group(process, SIGKILL)

    def close(self) -> None:
        """Nothing outlives `run_init`."""
        if self._audit_file is not None:
            self._audit.append(self._audit_file, self.gate.table)


__all__ = ["AddressSpace", "ProcService"]
