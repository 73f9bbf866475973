"""Files of /proc/PID and /proc/PID/task/TID (proc(5)): stat, status, limits, memory as bytes.

A zombie has no memory and no descriptors: what would show them is empty, as on Linux.
"""

from __future__ import annotations

from errno import EACCES, EINVAL, ESRCH
from typing import TYPE_CHECKING

from bus.errors import PosixError
from services.proc import abi
from services.proc.procfs.maps import Sizes, sizes_of
from services.proc.procfs.state import STATE_NAMES, is_runnable, process_state, thread_state
from services.proc.signals.core import SIG_DFL, SIG_IGN, bit
from services.proc.table import CALLS
from services.proc.task import Scheduling
from services.proc.tty.jobs import controlling
from services.proc.usage import NOTHING, TICK_NS

if TYPE_CHECKING:
    from services.proc.procfs.entry import Spot
    from services.proc.space import AddressSpace
    from services.proc.task import Process, Thread

PAGE = 4096
PF_FORKNOEXEC = 0x40
FD_TABLE_STEP = 64
COMM_BYTES = 15
UNSET_ID = 0xFFFF_FFFF
"""loginuid and sessionid of a session that no login made."""


def thread_of(spot: Spot) -> Thread | None:
    """The thread that a file is about: that of task/TID, else the leader."""
    return spot.thread or spot.subject.leader


def name_of(spot: Spot) -> bytes:
    """comm."""
    return spot.thread.comm if spot.thread is not None else spot.subject.comm


def state_of(spot: Spot) -> str:
    """The state's letter."""
    if spot.thread is not None and not spot.subject.zombie:
        return thread_state(spot.thread)
    return process_state(spot.subject)


# Strings in the program's own memory --------------------------------------------------------------


async def peek(space: AddressSpace | None, start: int, end: int) -> bytes:
    """Bytes of a program's memory, up to the first page that is not there."""
    data = b""
    if space is None:
        return data
    while start < end:
        size = min(PAGE - start % PAGE, end - start)
        try:
            data += await space.read(start, size)
        except PosixError:
            break
        start += size
    return data


async def cmdline(spot: Spot) -> bytes:
    """cmdline: the arguments, as the program has them now.

    A program that wrote over the last NUL has set its title: it then ends at the first NUL, which
    may lie in the environment (setproctitle).
    """
    process = spot.subject
    start, end = process.argv_range
    data = await peek(process.space, start, end)
    if data and data[-1] != 0:
        data += await peek(process.space, *process.env_range)
        data = data.split(b"\0", 1)[0] + b"\0"
    return data


async def environ(spot: Spot) -> bytes:
    """environ."""
    return await peek(spot.subject.space, *spot.subject.env_range)


async def auxv(spot: Spot) -> bytes:
    """auxv."""
    return spot.subject.auxv if spot.subject.space is not None else b""


async def comm(spot: Spot) -> bytes:
    """comm."""
    return name_of(spot) + b"\n"


async def set_comm(spot: Spot, data: bytes) -> None:
    """comm: a process may rename its own threads only."""
    process = spot.subject
    if spot.reader.process is not process:
        raise PosixError(EINVAL)
    name = data.split(b"\0")[0][:COMM_BYTES]
    thread = thread_of(spot)
    if thread is not None:
        thread.comm = name
    if thread is None or thread.tid == process.pid:
        process.comm = name


# stat, statm, status ------------------------------------------------------------------------------


def terminal_numbers(process: Process) -> tuple[int, int]:
    """tty_nr and tpgid."""
    terminal = controlling(process)
    return (0, -1) if terminal is None else (terminal.rdev, terminal.foreground)


def signal_sets(spot: Spot) -> tuple[int, int, int, int, int]:
    """Pending for the thread, for the process, blocked, ignored, caught."""
    process, thread = spot.subject, thread_of(spot)
    ignored = caught = 0
    for signal, action in process.actions.table.items():
        if action.handler == SIG_IGN:
            ignored |= bit(signal)
        elif action.handler != SIG_DFL:
            caught |= bit(signal)
    own = thread.pending.mask if thread else 0
    return own, process.pending.mask, thread.blocked if thread else 0, ignored, caught


async def stat(spot: Spot) -> bytes:
    """stat: 52 fields; addresses that are not kept are 0, as where they may not be seen."""
    process = spot.subject
    sizes = await sizes_of(process)
    terminal, group = terminal_numbers(process)
    own, _, blocked, ignored, caught = signal_sets(spot)
    if spot.reader.thread is not None:
        spot.kernel.settle(spot.reader.thread)
    usage = spot.thread.usage if spot.thread else process.usage()
    reaped, low31 = process.reaped or NOTHING, (1 << 31) - 1
    tid = spot.thread.tid if spot.thread else process.pid
    plan = thread.scheduling if (thread := thread_of(spot)) else Scheduling()
    shown = -1 - plan.priority if plan.priority else 20 + process.nice
    fields: list[int] = [
        process.parent.pid if process.parent else 0, process.pgid, process.session.sid,
        terminal, group, 0 if process.execed else PF_FORKNOEXEC,
        usage.minor_faults, reaped.minor_faults, usage.major_faults, reaped.major_faults,
        *usage.ticks, *reaped.ticks,
        shown, process.nice, max(len(process.threads), 1), 0,
        process.start_ns // TICK_NS, sizes.virtual, sizes.resident // PAGE,
        process.limits[abi.RLIMIT_RSS][0], *sizes.code, 0, 0, 0,
        own & low31, blocked & low31, ignored & low31, caught & low31,
        0, 0, 0, process.exit_signal, 0, plan.priority, plan.policy, 0, 0, 0, 0, 0, 0,
        *process.argv_range, *process.env_range, process.exit_status,
    ]  # fmt: skip
    head = b"%d (%s) %s " % (tid, name_of(spot), state_of(spot).encode())
    return head + " ".join(map(str, fields)).encode() + b"\n"


async def statm(spot: Spot) -> bytes:
    """statm, in pages."""
    sizes = await sizes_of(spot.subject)
    code = (sizes.text + PAGE - 1) // PAGE
    shared = (sizes.file + sizes.shared) // PAGE
    data = (sizes.data + sizes.stack) // PAGE
    row = sizes.virtual // PAGE, sizes.resident // PAGE, shared, code, 0, data, 0
    return b"%d %d %d %d %d %d %d\n" % row


def _memory_rows(sizes: Sizes, peak_bytes: int) -> list[tuple[str, str]]:
    rows = (
        ("VmSize", sizes.virtual),
        ("VmHWM", max(peak_bytes, sizes.resident)),
        ("VmRSS", sizes.resident),
        ("RssAnon", sizes.anonymous),
        ("RssFile", sizes.file),
        ("RssShmem", sizes.shared),
        ("VmData", sizes.data),
        ("VmStk", sizes.stack),
        ("VmExe", sizes.text),
        ("VmLib", sizes.libraries),
        ("VmSwap", 0),
    )
    return [(name, f"{value >> 10:8} kB") for name, value in rows]


def _identity_rows(spot: Spot) -> list[tuple[str, object]]:
    process, ids = spot.subject, spot.subject.credentials
    tid = spot.thread.tid if spot.thread else process.pid
    slots = max(process.descriptors.slots, default=0) + 1 if process.descriptors else 0
    return [
        ("State", STATE_NAMES[state_of(spot)]),
        ("Tgid", process.pid),
        ("Ngid", 0),
        ("Pid", tid),
        ("PPid", process.parent.pid if process.parent else 0),
        ("TracerPid", 0),
        ("Uid", f"{ids.ruid}\t{ids.euid}\t{ids.suid}\t{ids.fsuid}"),
        ("Gid", f"{ids.rgid}\t{ids.egid}\t{ids.sgid}\t{ids.fsgid}"),
        ("FDSize", -(-slots // FD_TABLE_STEP) * FD_TABLE_STEP),
        ("Groups", "".join(f"{group} " for group in ids.groups) or " "),
        ("NStgid", process.pid),
        ("NSpid", tid),
        ("NSpgid", process.pgid),
        ("NSsid", process.session.sid),
    ]


def _signal_rows(spot: Spot) -> list[tuple[str, object]]:
    process = spot.subject
    names = ("SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt")
    sets = signal_sets(spot)
    queued = sets[0].bit_count() + sets[1].bit_count()
    return [
        ("Threads", max(len(process.threads), 1)),
        ("SigQ", f"{queued}/{process.limits[abi.RLIMIT_SIGPENDING][0]}"),
        *((name, f"{mask:016x}") for name, mask in zip(names, sets, strict=True)),
    ]


async def status(spot: Spot) -> bytes:
    """status; what the kernel does not count is left out."""
    process = spot.subject
    usage = spot.thread.usage if spot.thread else process.usage()
    caps = process.credentials.caps
    name = name_of(spot).decode("latin-1").replace("\\", "\\\\").replace("\n", "\\n")
    rows: list[tuple[str, object]] = [("Name", name)]
    if process.directories is not None:
        rows.append(("Umask", f"{process.directories.umask:04o}"))
    rows += _identity_rows(spot)
    if process.space is not None:
        rows += _memory_rows(await sizes_of(process), process.peak_bytes)
    rows += _signal_rows(spot)
    rows += [
        ("CapInh", f"{caps.inheritable:016x}"),
        ("CapPrm", f"{caps.permitted:016x}"),
        ("CapEff", f"{caps.effective:016x}"),
        ("CapBnd", f"{caps.bounding:016x}"),
        ("CapAmb", f"{caps.ambient:016x}"),
        ("NoNewPrivs", int(process.no_new_privs)),
        ("Seccomp", 0),
        ("Seccomp_filters", 0),
        ("Cpus_allowed", "1"),
        ("Cpus_allowed_list", "0"),
        ("Mems_allowed", "1"),
        ("Mems_allowed_list", "0"),
        ("voluntary_ctxt_switches", usage.waits),
        ("nonvoluntary_ctxt_switches", usage.preemptions),
    ]
    return "".join(f"{key}:\t{value}\n" for key, value in rows).encode("latin-1")


# The rest -----------------------------------------------------------------------------------------

LIMIT_NAMES: tuple[tuple[str, str], ...] = (
    ("Max cpu time", "seconds"),
    ("Max file size", "bytes"),
    ("Max data size", "bytes"),
    ("Max stack size", "bytes"),
    ("Max core file size", "bytes"),
    ("Max resident set", "bytes"),
    ("Max processes", "processes"),
    ("Max open files", "files"),
    ("Max locked memory", "bytes"),
    ("Max address space", "bytes"),
    ("Max file locks", "locks"),
    ("Max pending signals", "signals"),
    ("Max msgqueue size", "bytes"),
    ("Max nice priority", ""),
    ("Max realtime priority", ""),
    ("Max realtime timeout", "us"),
)
"""In the order of the RLIMIT_ numbers, which is also the file's."""


async def limits(spot: Spot) -> bytes:
    """limits."""
    rows = [("Limit", "Soft Limit", "Hard Limit", "Units")]
    for (name, unit), pair in zip(LIMIT_NAMES, spot.subject.limits, strict=True):
        soft, hard = ("unlimited" if n == abi.RLIM_INFINITY else str(n) for n in pair)
        rows.append((name, soft, hard, unit))
    return "".join(
        f"{name:25} {soft:20} {hard:20} {f'{unit:10}' if unit else ''}\n"
        for name, soft, hard, unit in rows
    ).encode()


async def cgroup(spot: Spot) -> bytes:
    """cgroup: everything is in the one group that there is."""
    return b"0::/\n"


async def wchan(spot: Spot) -> bytes:
    """wchan: the system call that a thread waits in; 0 where it does not wait."""
    thread = thread_of(spot)
    if thread is None or is_runnable(thread) or thread.call_number not in CALLS:
        return b"0"
    return f"sys_{CALLS[thread.call_number].name}".encode()


async def unset_id(spot: Spot) -> bytes:
    """loginuid, sessionid."""
    return b"%d" % UNSET_ID


async def personality(spot: Spot) -> bytes:
    """personality."""
    return b"%08x\n" % spot.subject.personality


async def oom_score_adj(spot: Spot) -> bytes:
    """oom_score_adj."""
    return b"%d\n" % spot.subject.oom_score_adj


async def set_oom_score_adj(spot: Spot, data: bytes) -> None:
    """oom_score_adj: -1000 to 1000; only root makes a process safer than it was."""
    try:
        wanted = int(data.split(b"\0")[0])
    except ValueError:
        raise PosixError(EINVAL) from None
    process = spot.subject
    if not -1000 <= wanted <= 1000:
        raise PosixError(EINVAL)
    if wanted < process.oom_score_adj and spot.reader.cred.uid:
        raise PosixError(EACCES)
    process.oom_score_adj = wanted


async def fdinfo(spot: Spot) -> bytes:
    """fdinfo/N: offset and flags, the mount, the inode, and what the file adds itself."""
    from services.proc.procfs.links import file_of
    from services.proc.procfs.mounts import mount_of

    file = file_of(spot)
    table, fd = spot.subject.descriptors, spot.fd
    thread = spot.reader.thread
    if table is None or fd is None or thread is None:
        raise PosixError(ESRCH)
    flags = file.flags | (abi.O_CLOEXEC if table.slots[fd].cloexec else 0)
    attr = await file.stat(thread)
    mount = await mount_of(spot.kernel, attr.dev)
    more = getattr(file, "fdinfo", None)
    return (
        f"pos:\t{file.offset}\nflags:\t0{flags:o}\nmnt_id:\t{mount}\nino:\t{attr.ino}\n".encode()
        + (more() if more is not None else b"")
    )
