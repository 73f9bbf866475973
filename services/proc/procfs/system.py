"""Files of /proc about the whole system (proc(5)), each made from live state when it is read."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from services.fs.api import Caches
from services.proc import identity
from services.proc.procfs.state import is_runnable, uptime_ns
from services.proc.table import CALLS
from services.proc.usage import TICK_NS
from services.vm.api import Frames

if TYPE_CHECKING:
    from services.proc.procfs.entry import Spot

PAGE_KIB = 4
FILE_SYSTEMS = (("nodev", "proc"), ("nodev", "tmpfs"), ("nodev", "hosttree"))
"""What fs can mount, and what is mounted at boot."""
DEVICES = """\
Character devices:
  1 mem
  5 /dev/tty
  5 /dev/console
  5 /dev/ptmx
136 pts

Block devices:
"""


async def meminfo(spot: Spot) -> bytes:
    """/proc/meminfo: frames from vm, caches from fs; there is no swap."""
    frames = await spot.kernel.vm.call(Frames())
    caches = await spot.kernel.fs.call(Caches())
    available = frames.free + caches.pages - caches.dirty_pages
    rows = (
        ("MemTotal", frames.total),
        ("MemFree", frames.free),
        ("MemAvailable", available),
        ("Buffers", 0),
        ("Cached", caches.pages),
        ("SwapCached", 0),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Dirty", caches.dirty_pages),
        ("Writeback", 0),
    )
    return "".join(f"{f'{name}:':16}{n * PAGE_KIB:8} kB\n" for name, n in rows).encode()


async def vmstat(spot: Spot) -> bytes:
    """/proc/vmstat: what is counted here, under the names that Linux has for it."""
    frames = await spot.kernel.vm.call(Frames())
    caches = await spot.kernel.fs.call(Caches())
    used = spot.kernel.usage()
    rows = (
        ("nr_free_pages", frames.free),
        ("nr_file_pages", caches.pages),
        ("nr_dirty", caches.dirty_pages),
        ("pgfault", used.minor_faults + used.major_faults),
        ("pgmajfault", used.major_faults),
    )
    return "".join(f"{name} {count}\n" for name, count in rows).encode()


async def stat(spot: Spot) -> bytes:
    """/proc/stat: one core; what was not on behalf of a thread is idle time."""
    kernel = spot.kernel
    now, used = await uptime_ns(kernel), kernel.usage()
    user, system = used.ticks
    times = f"{user} 0 {system} {max(now - used.cpu_ns, 0) // TICK_NS} 0 0 0 0 0 0"
    running = sum(map(is_runnable, kernel.threads.values()))
    return (
        f"cpu  {times}\ncpu0 {times}\n"
        f"ctxt {used.waits + used.preemptions}\n"
        f"btime {kernel.boot_realtime_ns // 1_000_000_000}\n"
        f"processes {kernel.fork_count + 1}\n"
        f"procs_running {running}\nprocs_blocked 0\n"
    ).encode()


async def uptime(spot: Spot) -> bytes:
    """/proc/uptime: since boot, and how much of it the core was idle; in seconds."""
    now = await uptime_ns(spot.kernel)
    idle = max(now - spot.kernel.usage().cpu_ns, 0)
    return b"%.2f %.2f\n" % (now / 1e9, idle / 1e9)


async def loadavg(spot: Spot) -> bytes:
    """/proc/loadavg."""
    kernel = spot.kernel
    one, five, fifteen = kernel.extra["load"].averages
    running = sum(map(is_runnable, kernel.threads.values()))
    return (
        f"{one:.2f} {five:.2f} {fifteen:.2f} {running}/{len(kernel.threads)} {kernel.last_pid}\n"
    ).encode()


async def version(spot: Spot) -> bytes:
    """/proc/version: where gcc's version stands elsewhere, the Python's that runs the kernel."""
    compiler = f"{platform.python_implementation()} {platform.python_version()}".encode()
    return b"%s version %s (hardtack@hardtack) (%s) %s\n" % (
        identity.SYSNAME,
        identity.RELEASE,
        compiler,
        identity.VERSION,
    )


async def filesystems(spot: Spot) -> bytes:
    """/proc/filesystems."""
    return "".join(f"{device}\t{kind}\n" for device, kind in FILE_SYSTEMS).encode()


async def devices(spot: Spot) -> bytes:
    """/proc/devices."""
    return DEVICES.encode()


async def swaps(spot: Spot) -> bytes:
    """/proc/swaps: none."""
    return b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"


async def cmdline(spot: Spot) -> bytes:
    """/proc/cmdline: what the kernel was started with, as far as it was told."""
    words: tuple[bytes, ...] = spot.kernel.extra.get("command_line", ())
    return b" ".join(words) + b"\n"


# What is Hardtack's own ---------------------------------------------------------------------------


async def calls(spot: Spot) -> bytes:
    """/proc/hardtack/calls: how often each system call was made, by number."""
    counts = spot.kernel.call_counts
    return "".join(
        f"{number} {CALLS[number].name} {count}\n"
        for number, count in enumerate(counts)
        if count and number in CALLS
    ).encode()


async def unknown_calls(spot: Spot) -> bytes:
    """/proc/hardtack/unknown: numbers that were answered with ENOSYS, and how often."""
    counts = spot.kernel.unknown_calls
    return "".join(f"{number} {counts[number]}\n" for number in sorted(counts)).encode()


async def profile(spot: Spot) -> bytes:
    """/proc/hardtack/profile: stacks of the kernel and their samples, by prof's last profile."""
    return spot.kernel.profile.folded().encode()


async def heap(spot: Spot) -> bytes:
    """/proc/hardtack/heap: the kernel's own heap, bytes and counts; then what lives, by kind.

    A line of a kind: service, name, objects, bytes of each, bytes in all; tabs between them.
    """
    ledger = spot.kernel.admission
    rows = (
        ("limit", ledger.limit_bytes),
        ("lastgc", ledger.lastgc),
        ("used", ledger.used),
        ("reserved", ledger.current),
        ("peak", ledger.peak),
        ("waiting", ledger.waiting),
        ("waits", ledger.waits),
        ("deep_failures", ledger.deep_failures),
    )
    kinds = [
        f"{k.service}\t{k.name}\t{k.count}\t{k.cost_bytes}\t{k.live}\n"
        for k in ledger.heap.by_bytes()
    ]
    return "".join([*(f"{name} {value}\n" for name, value in rows), *kinds]).encode()
