"""Processes and threads: who they are and what they own.

Written by their own task unless a field says otherwise. A `Process` is a thread group. What
clone(2) can share stands in an object of its own with a count of users: `AddressSpace`,
`DescriptorTable`, `Directories`, `Actions`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import trio

from bus.census import EMPTY_DICT, kind
from services.fs.api import At
from services.proc.abi import RLIM_INFINITY
from services.proc.credentials import Credentials as Credentials
from services.proc.park import INTERRUPTED, TIMED_OUT, Interrupted, Parker, WaitQueue
from services.proc.signals.core import Actions, Pending
from services.proc.usage import Usage, total

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine

    from services.drivers.cpu.api import Context
    from services.drivers.ram.api import Extent
    from services.proc.alarms import PosixTimer
    from services.proc.cputimers import CpuTimers
    from services.proc.descriptors import DescriptorTable, OpenFile
    from services.proc.kernel import Kernel
    from services.proc.park import Timer
    from services.proc.space import AddressSpace

T = TypeVar("T")
PROCESS = kind("proc", "process")
THREAD = kind("proc", "thread")

DEFAULT_LIMITS: tuple[tuple[int, int], ...] = (
    (RLIM_INFINITY, RLIM_INFINITY),  # CPU
    (RLIM_INFINITY, RLIM_INFINITY),  # FSIZE
    (RLIM_INFINITY, RLIM_INFINITY),  # DATA
    (8 << 20, RLIM_INFINITY),  # STACK
    (0, RLIM_INFINITY),  # CORE
    (RLIM_INFINITY, RLIM_INFINITY),  # RSS
    (32768, 32768),  # NPROC
    (1024, 1048576),  # NOFILE
    (8 << 20, 8 << 20),  # MEMLOCK
    (RLIM_INFINITY, RLIM_INFINITY),  # AS
    (RLIM_INFINITY, RLIM_INFINITY),  # LOCKS
    (32768, 32768),  # SIGPENDING
    (819200, 819200),  # MSGQUEUE
    (0, 0),  # NICE
    (0, 0),  # RTPRIO
    (RLIM_INFINITY, RLIM_INFINITY),  # RTTIME
)


class Directories:
    """Root, current directory (fs nodes) and umask; CLONE_FS shares it."""

    __slots__ = ("at", "cwd", "cwd_foreign", "root", "umask", "users")

    def __init__(self, root: int, cwd: int, umask: int) -> None:
        self.root = root
        self.cwd = cwd
        self.cwd_foreign: bytes | None = None
        """Set while the current directory is in /proc: its path below the mount."""
        self.umask = umask
        self.users = 1
        self.at = At(root, cwd)

    def move(self, cwd: int) -> None:
        """chdir(2); the references are the caller's business."""
        self.cwd = cwd
        self.at = At(self.root, cwd)


TIMER_SLACK_NS = 50_000


@attrs.frozen
class Scheduling:
    """sched(7), ioprio_set(2): kept, inherited and shown; the core is shared fairly by all."""

    policy: int = 0
    priority: int = 0
    reset_on_fork: bool = False
    io_priority: int = 0

    def in_child(self) -> Scheduling:
        """What fork(2) passes on."""
        if not self.reset_on_fork:
            return self
        policy = 0 if self.priority else self.policy
        return Scheduling(policy, 0, False, self.io_priority)


class Session:
    """A session and its controlling terminal (credentials(7), tty_ioctl(4))."""

    __slots__ = ("sid", "terminal")

    def __init__(self, sid: int) -> None:
        self.sid = sid
        self.terminal: Any = None


class Process:
    """A thread group."""

    __slots__ = (
        "actions",
        "alarm",
        "argv_range",
        "auxv",
        "barriers",
        "child_wait",
        "children",
        "comm",
        "cpu_limit",
        "cpu_timers",
        "credentials",
        "death_signal",
        "descriptors",
        "directories",
        "dumpable",
        "ended",
        "env_range",
        "exe",
        "exe_path",
        "execed",
        "exit_signal",
        "exit_status",
        "exit_watch",
        "exiting",
        "itimers",
        "kernel",
        "limits",
        "next_timer",
        "nice",
        "no_new_privs",
        "oom_score_adj",
        "parent",
        "peak_bytes",
        "pending",
        "personality",
        "pgid",
        "pid",
        "reaped",
        "session",
        "signal_queue",
        "space",
        "start_ns",
        "stop_report",
        "stopped",
        "subreaper",
        "threads",
        "timers",
        "timers_charged",
        "vfork_done",
        "zombie",
    )

    def __init__(self, kernel: Kernel, pid: int, parent: Process | None) -> None:
        PROCESS.made()
        self.kernel = kernel
        self.pid = pid
        self.parent = parent
        self.children: dict[int, Process] = {}
        self.threads: dict[int, Thread] = {}
        self.child_wait = WaitQueue()
        self.vfork_done: WaitQueue | None = None
        self.pgid: int = parent.pgid if parent else pid
        self.session: Session = parent.session if parent else Session(pid)
        self.space: AddressSpace | None = None
        self.descriptors: DescriptorTable | None = None
        self.directories: Directories | None = None
        self.credentials: Credentials = parent.credentials if parent else Credentials(0, 0)
        self.actions = Actions()
        self.pending = Pending()
        self.signal_queue: WaitQueue | None = None
        """Woken when a signal becomes pending here or in a thread; None until signalfd(2)."""
        self.limits: list[tuple[int, int]] = list(parent.limits) if parent else list(DEFAULT_LIMITS)
        self.exe: int | None = None
        self.exe_path = b""
        self.comm = b""
        self.argv_range = (0, 0)
        self.env_range = (0, 0)
        self.auxv = b""
        self.exit_signal = 17
        self.exiting = False
        self.zombie = False
        self.execed = False
        self.exit_status = 0
        """Wait status (wait(2)) once `exiting` is set."""
        self.stopped = False
        self.stop_report: int | None = None
        """A wait status for WUNTRACED or WCONTINUED that no wait has taken yet."""
        self.start_ns = 0
        self.ended: Usage | None = None
        """What threads that are gone have used."""
        self.reaped: Usage | None = None
        """What children that were waited for have used, and theirs."""
        self.peak_bytes: int = parent.peak_bytes if parent else 0
        """The most that was resident, as far as anybody looked."""
        self.cpu_limit: Timer | None = None
        """RLIMIT_CPU, where there is one."""
        self.cpu_timers: CpuTimers | None = None
        """Set once something is due when the process has used some time; looked at each slice."""
        self.alarm: Any = None
        self.itimers: dict[int, Any] = {}
        self.timers: dict[int, Any] = {}
        self.timers_charged = EMPTY_DICT
        self.next_timer = 0
        self.nice: int = parent.nice if parent else 0
        self.dumpable: int = parent.dumpable if parent else 1
        self.personality: int = parent.personality if parent else 0
        self.barriers = 0
        """What membarrier(2) was told to expect."""
        self.exit_watch: WaitQueue | None = None
        """Woken when it has become a zombie; None until pidfd_open(2)."""
        self.subreaper = False
        self.no_new_privs: bool = parent.no_new_privs if parent else False
        self.death_signal = 0
        self.oom_score_adj: int = parent.oom_score_adj if parent else 0

    def __del__(self) -> None:
        PROCESS.grew(EMPTY_DICT - self.timers_charged)
        PROCESS.freed()

    def add_timer(self, timer: PosixTimer) -> None:
        """timer_create(2)."""
        self.next_timer += 1
        self.timers[timer.number] = timer
        self.timers_charged = PROCESS.resized(self.timers_charged, self.timers)

    def become(self, credentials: Credentials) -> None:
        """Act for somebody else from now on; who changes sides is not to be looked into."""
        old, self.credentials = self.credentials, credentials
        if (old.euid, old.egid, old.fsuid, old.fsgid) != (
            credentials.euid,
            credentials.egid,
            credentials.fsuid,
            credentials.fsgid,
        ):
            self.dumpable = self.death_signal = 0

    def limit(self, resource: int) -> int:
        """The soft limit (getrlimit(2))."""
        return self.limits[resource][0]

    def usage(self) -> Usage:
        """What all its threads have used, up to their last slices (`kernel.settle`); to read."""
        return total(self.ended, *(thread.usage for thread in self.threads.values()))

    @property
    def leader(self) -> Thread | None:
        """The thread whose tid is the pid, while it lives."""
        return self.threads.get(self.pid)


class Thread:
    """A user thread; the kernel has one task for each."""

    __slots__ = (
        "alternate_stack",
        "blocked",
        "call_number",
        "clear_tid",
        "comm",
        "context",
        "extra",
        "kernel",
        "killed",
        "parker",
        "pending",
        "process",
        "restart",
        "restart_deadline",
        "result",
        "resumed_ns",
        "robust_list",
        "samples",
        "saved_mask",
        "scheduling",
        "scope",
        "slack_ns",
        "space",
        "suspended",
        "system_share",
        "tid",
        "trap",
        "usage",
        "wait_channel",
        "work",
    )

    def __init__(self, kernel: Kernel, process: Process, tid: int, context: Context) -> None:
        THREAD.made()
        self.kernel = kernel
        self.process = process
        self.tid = tid
        self.context = context
        assert process.space is not None
        self.space: AddressSpace = process.space
        self.comm = process.comm
        self.parker = Parker()
        self.pending = Pending()
        self.blocked = 0
        """Signal mask: bit n-1 is signal n."""
        self.saved_mask: int | None = None
        """The mask to go back to after a handler (sigsuspend, ppoll, pselect)."""
        self.alternate_stack = (0, 0, 2)
        self.clear_tid = 0
        self.robust_list = (0, 0)
        self.scope: trio.CancelScope | None = None
        """Around a wait that is Trio's own; cancelled by `attend`."""
        self.work = False
        """Something is to be done before user code runs again; set by anybody."""
        self.killed = False
        self.suspended: tuple[Coroutine[Any, Any, int | None], Any] | None = None
        """A system call that blocked in the trap: its coroutine and what it yielded to Trio."""
        self.result: int | None = None
        """What a call that blocked answered, until it is put into RAX."""
        self.call_number = -1
        self.restart = 0
        """How an interrupted call is to go on (`signals.core`)."""
        self.restart_deadline: int | None = None
        self.wait_channel = ""
        self.trap = (0, 0, 0)
        """Of the last exception that became a signal: vector, error code, fault address (CR2)."""
        self.scheduling = Scheduling()
        self.slack_ns = (TIMER_SLACK_NS, TIMER_SLACK_NS)
        """PR_SET_TIMERSLACK: as it is, and what 0 sets it back to."""
        self.usage = Usage()
        self.resumed_ns = 0
        """When its task last got the host's processor outside of the core (perf_counter)."""
        self.samples = (0, 0)
        """Length of timed slices, and the kernel's part of it, in ns."""
        self.system_share = 0.0
        self.extra: dict[str, Any] | None = None

    def __del__(self) -> None:
        THREAD.freed()

    # User memory: the fast path is one page that is already mapped.

    async def copyin(self, vaddr: int, length_bytes: int) -> bytes:
        """copy_from_user; EFAULT."""
        return await self.space.read(vaddr, length_bytes)

    async def copyout(self, vaddr: int, data: bytes) -> None:
        """copy_to_user; EFAULT."""
        await self.space.write(vaddr, data)

    async def extents(self, vaddr: int, length_bytes: int, write: bool) -> list[Extent]:
        """The physical runs behind a user buffer; EFAULT."""
        return await self.space.extents(vaddr, length_bytes, write)

    # Waiting.

    async def wait(self, *queues: WaitQueue | None, deadline_ns: int | None = None) -> bool:
        """Wait for one of `queues`; False when the deadline came first; `Interrupted`.

        The caller tests its condition again after it. Registration and test may not have an
        await between them.
        """
        parker = self.parker
        parker.arm()
        if self.work and self.kernel.interrupts(self):
            raise Interrupted
        timer = None
        for queue in queues:
            if queue is not None:
                queue.add(parker)
        if deadline_ns is not None:
            timer = self.kernel.timers.at(deadline_ns, lambda: parker.unpark(TIMED_OUT))
        try:
            why = await parker.park()
        finally:
            for queue in queues:
                if queue is not None:
                    queue.discard(parker)
            if timer is not None:
                timer.cancel()
        if why == INTERRUPTED:
            raise Interrupted
        return why != TIMED_OUT

    async def interruptible(self, waiting: Awaitable[T]) -> T:
        """Await something that waits by Trio's own means (a driver), until a signal comes."""
        with trio.CancelScope() as scope:
            if self.work and self.kernel.interrupts(self):
                scope.cancel()
            self.scope = scope
            try:
                return await waiting
            finally:
                self.scope = None
        raise Interrupted

    def attend(self) -> None:
        """Have the thread look at its signals (or its end) before it runs user code again."""
        self.work = True
        if self.kernel.interrupts(self):
            if self.parker.parked:
                self.parker.unpark(INTERRUPTED)
            elif self.scope is not None:
                self.scope.cancel()

    # Descriptors.

    def file(self, fd: int) -> OpenFile:
        """The open file description behind a descriptor, or EBADF."""
        descriptors = self.process.descriptors
        assert descriptors is not None
        return descriptors.get(fd)

    def install(self, file: OpenFile, cloexec: bool, lowest: int = 0) -> int:
        """A new descriptor for `file`; EMFILE."""
        descriptors = self.process.descriptors
        assert descriptors is not None
        return descriptors.install(file, cloexec, self.process.limits[7][0], lowest)
