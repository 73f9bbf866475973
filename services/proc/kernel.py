"""What all rooms of proc share: ports to other services, the process table, counters.

There is no "current process" here but one: `current` is the thread whose registers are loaded
while the core runs, and may be read only inside a trap, before any await.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bus.collector import Collector
from bus.pauses import PauseWatch
from services.proc.park import Timers, WaitQueue
from services.proc.profile import Profile
from services.proc.signals.core import bit
from services.proc.usage import Usage, total
from services.script.api import Limits

if TYPE_CHECKING:
    from collections.abc import Callable

    import trio

    from bus.admission import Admission
    from bus.core import Bus
    from services.drivers.cpu.api import Core
    from services.drivers.ram.api import Ram
    from services.net.api import Board
    from services.proc.files.socket import Create
    from services.proc.signals.core import SigInfo
    from services.proc.table import Call
    from services.proc.task import Process, Thread
    from services.proc.timepage import TimePage

PID_MAX = 4_194_304


class Kernel:
    """See the module's docstring."""

    def __init__(self, bus: Bus, ram: Ram, core: Core, admission: Admission, board: Board) -> None:
        self.bus = bus
        self.ram = ram
        self.core = core
        self.admission = admission
        self.vm = bus.port("proc", "vm")
        self.fs = bus.port("proc", "fs")
        self.net = bus.port("proc", "net")
        self.board = board
        """Readiness of net's sockets."""
        self.spare_bounces: list[tuple[int, ...]] = []
        """Frames between two files (`files/bounce.py`), kept for the next call."""
        self.net_queues: dict[int, WaitQueue] = {}
        """Who waits for them, by slot on the board."""
        self.script = bus.port("proc", "script")
        self.script_limits = Limits()
        """Of each script; boot sets it."""
        self.clock = bus.port("proc", "clock")
        self.entropy = bus.port("proc", "entropy")
        self.console = bus.port("proc", "console")
        self.timers = Timers(self.clock)
        self.processes: dict[int, Process] = {}
        self.threads: dict[int, Thread] = {}
        self.current: Thread | None = None
        self.nursery: trio.Nursery | None = None
        self.init: Process | None = None
        self.main: Process | None = None
        self.all_gone = WaitQueue()
        self.last_pid = 0
        self.call_counts: list[int] = []
        """How often each system call was made, by number."""
        self.error_counts: list[int] = []
        """How often it was answered with an error, by number."""
        self.latencies: dict[int, list[int]] = {}
        """Of calls that did not wait, by number: how many took up to each of `LATENCY_BOUNDS_S`,
        how many longer, and ns in all; of those that were timed (`meter.py`)."""
        self.unknown_calls: dict[int, int] = {}
        self.fault_count = 0
        self.failed_calls = 0
        """System calls and page faults that failed as a service could not be reached."""
        self.ended = Usage()
        """What processes that are gone have used."""
        self.settle: Callable[[Thread], None] = lambda thread: None
        """Brings the usage of a thread that is making a call up to date; the gate's meter."""
        self.fork_count = 0
        self.collector = Collector(PauseWatch())
        """It is stepped between slices; boot sets the one that rules."""
        self.profile = Profile()
        self.slow_path: Callable[[Thread, Call, tuple[int, ...]], Any] | None = None
        """Set while system calls are traced or injected: every call then goes through it."""
        self.observe_signal: Callable[[Thread, SigInfo], None] | None = None
        self.observe_exit: Callable[[Process], None] | None = None
        self.log: Callable[[str], None] = print
        self.boot_realtime_ns = 0
        self.time_page: TimePage | None = None
        """What the vDSO reads; None until init runs."""
        self.hostname = b"hardtack"
        self.domainname = b"(none)"
        self.futexes: dict[Any, Any] = {}
        self.run_init_done: WaitQueue = WaitQueue()
        self.terminals: dict[int, Any] = {}
        self.families: dict[int, Create] = {}
        """socket(2) of the address families that other rooms plug in; AF_UNIX is always there."""
        self.extra: dict[str, Any] = {}

    def new_pid(self) -> int:
        """A number that is neither a process, a thread, a group nor a session."""
        pid = self.last_pid
        while True:
            pid = pid + 1 if pid < PID_MAX else 300
            if pid not in self.threads and pid not in self.processes:
                self.last_pid = pid
                return pid

    @staticmethod
    def interrupts(thread: Thread) -> bool:
        """Whether a waiting call of `thread` has to end now."""
        if thread.killed:
            return True
        return bool((thread.pending.mask | thread.process.pending.mask) & ~thread.blocked)

    def usage(self) -> Usage:
        """What all processes since boot have used."""
        live = (p.usage() for p in self.processes.values() if not p.zombie)
        return total(self.ended, *live)

    def group(self, pgid: int) -> list[Process]:
        """The live processes of a group."""
        return [p for p in self.processes.values() if p.pgid == pgid and not p.zombie]


__all__ = ["Kernel", "bit"]
