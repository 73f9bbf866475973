"""The tree of /proc, declared: every name, its permissions, and the function that makes it.

Only what the kernel can tell truthfully is here; what it does not count or have is absent.
`ProcFs.extend` adds to it for rooms whose state is their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.proc.procfs import cpuinfo, links, maps, mounts, net, process, system
from services.proc.procfs.entry import Folder, Link, Magic, Text
from services.proc.procfs.sysctl import SYS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.proc.procfs.entry import Entry, Spot, Target


def text(name: bytes, read: Callable[[Spot], Awaitable[bytes]], mode: int = 0o444) -> Text:
    """A file that anybody may read."""
    return Text(name=name, mode=mode, read=read)


def private(name: bytes, read: Callable[[Spot], Awaitable[bytes]], mode: int = 0o400) -> Text:
    """A file for those who may trace the process."""
    return Text(name=name, mode=mode, traced=True, read=read)


def magic(name: bytes, target: Callable[[Spot], Target]) -> Magic:
    """A link to an object of the process."""
    return Magic(name=name, mode=0o777, target=target, text=links.text)


NET = Folder(name=b"net", mode=0o555, entries=list(net.ENTRIES))
FD_LINK = Magic(mode=0o700, target=links.descriptor, text=links.text, bits=links.descriptor_bits)
FD_INFO = Text(mode=0o444, read=process.fdinfo)

COMMON: tuple[Entry, ...] = (
    private(b"auxv", process.auxv),
    text(b"cgroup", process.cgroup),
    text(b"cmdline", process.cmdline),
    Text(name=b"comm", mode=0o644, read=process.comm, write=process.set_comm),
    magic(b"cwd", links.cwd),
    private(b"environ", process.environ),
    magic(b"exe", links.exe),
    Folder(name=b"fd", mode=0o500, traced=True, entries=[], family=links.Descriptors(FD_LINK)),
    Folder(name=b"fdinfo", mode=0o555, traced=True, entries=[], family=links.Descriptors(FD_INFO)),
    text(b"limits", process.limits),
    Text(name=b"loginuid", mode=0o644, read=process.unset_id),
    private(b"maps", maps.maps, 0o444),
    text(b"mountinfo", mounts.mountinfo),
    text(b"mounts", mounts.mounts),
    NET,
    Text(
        name=b"oom_score_adj",
        mode=0o644,
        read=process.oom_score_adj,
        write=process.set_oom_score_adj,
    ),
    private(b"personality", process.personality),
    magic(b"root", links.root),
    text(b"sessionid", process.unset_id),
    private(b"smaps", maps.smaps, 0o444),
    text(b"stat", process.stat),
    text(b"statm", process.statm),
    text(b"status", process.status),
    text(b"wchan", process.wchan),
)
"""What a process and each of its threads have."""

TASK = Folder(mode=0o555, entries=list(COMMON))
PROCESS = Folder(
    mode=0o555,
    entries=[
        *COMMON,
        Folder(name=b"task", mode=0o555, entries=[], family=links.Threads(TASK)),
    ],
)

HARDTACK = Folder(
    name=b"hardtack",
    mode=0o555,
    entries=[
        text(b"calls", system.calls),
        text(b"heap", system.heap),
        text(b"profile", system.profile),
        text(b"unknown", system.unknown_calls),
    ],
)

TOP = Folder(
    mode=0o555,
    family=links.Processes(PROCESS),
    entries=[
        text(b"cmdline", system.cmdline),
        text(b"cpuinfo", cpuinfo.cpuinfo),
        text(b"devices", system.devices),
        text(b"filesystems", system.filesystems),
        HARDTACK,
        text(b"loadavg", system.loadavg),
        text(b"meminfo", system.meminfo),
        text(b"vmstat", system.vmstat),
        Link(name=b"mounts", mode=0o777, text=lambda spot: b"self/mounts"),
        Link(name=b"net", mode=0o777, text=lambda spot: b"self/net"),
        Link(name=b"self", mode=0o777, text=links.self_link),
        text(b"stat", system.stat),
        text(b"swaps", system.swaps),
        SYS,
        Link(name=b"thread-self", mode=0o777, text=links.thread_self),
        text(b"uptime", system.uptime),
        text(b"version", system.version),
    ],
)


def numbered(top: Folder) -> dict[Entry, int]:
    """A number for each declared entry, from which inode numbers are made."""
    numbers: dict[Entry, int] = {}
    todo: list[Entry] = [top]
    while todo:
        entry = todo.pop(0)
        if entry in numbers:
            continue
        numbers[entry] = len(numbers) + 1
        if isinstance(entry, Folder):
            todo += entry.entries
            if entry.family is not None:
                todo.append(entry.family.entry)
    return numbers
